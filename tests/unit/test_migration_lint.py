"""The migration lint: each rule finds its fault with file and line, and nothing else."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nexgent_db.cli.app import app
from nexgent_db.errors import ConfigurationError, InvalidInput, MigrationError
from nexgent_db.migrations import lint as lint_rules
from nexgent_db.migrations.lint import lint, squawk
from nexgent_db.migrations.scaffold import write_new
from nexgent_db.resources import data_dir

RUN = CliRunner()
HEAD = "-- Why: a test.\n-- Locks: none.\n-- Rollback loses: nothing.\n\n"


def found(directory: Path, up: str, down: str | None = "SELECT 1;", head: str = HEAD) -> list[tuple[str, int, str]]:
    """Rule, line below the head, and file of each finding in one migration."""
    (directory / "0001_x.sql").write_text(head + up)
    if down is not None:
        (directory / "0001_x.rollback.sql").write_text(down)
    below = {"0001_x.sql": head.count("\n")}
    return [
        (each.rule, each.line - below.get(name, 0), name) for each in lint(directory) for name in [Path(each.path).name]
    ]


# --- Heads --------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["Why", "Locks", "Rollback loses"])
def test_head_without_reason_locks_or_rollback_is_found(tmp_path: Path, missing: str) -> None:
    without = "".join(line for line in HEAD.splitlines(keepends=True) if missing not in line)
    assert found(tmp_path, "SELECT 1;", head=without)[0][0] == "header"
    empty = HEAD.replace(f"{missing}: ", f"{missing}:\n-- Other: ")
    assert [rule for rule, *_ in found(tmp_path, "SELECT 1;", head=empty)] == ["header"]
    assert found(tmp_path, "SELECT 1;") == []


def test_comment_below_statement_is_no_head(tmp_path: Path) -> None:
    assert [rule for rule, *_ in found(tmp_path, "SELECT 1;\n" + HEAD, head="")] == ["header"] * 3


def test_irreversible_migration_needs_only_its_reason(tmp_path: Path) -> None:
    head = "-- irreversible: what it deletes is gone\n-- Why: a test.\n-- Locks: none.\n"
    assert found(tmp_path, "SELECT 1;", None, head=head) == []


# --- Names --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE t (\n    n int PRIMARY KEY\n);",
        "CREATE TABLE t (\n    n int, UNIQUE (n)\n);",
        "CREATE TABLE IF NOT EXISTS t (n int,\n    CHECK (n > 0)\n);",
        "CREATE TABLE t (n int\n    REFERENCES other (n) ON DELETE CASCADE\n);",
        "CREATE TABLE t (\n    FOREIGN KEY (n) REFERENCES other (n)\n);",
        "CREATE TABLE t (\n    EXCLUDE USING gist (n WITH &&)\n);",
        "ALTER TABLE t\n    ADD COLUMN m int UNIQUE;",
        "ALTER TABLE t\n    ADD CHECK (n > 0) NOT VALID;",
        "ALTER TABLE t\n    ADD PRIMARY KEY (n);",
        "CREATE DOMAIN d AS int\n    CHECK (value > 0);",
        "CREATE TABLE t (n int CONSTRAINT t_n_key UNIQUE,\n    m int NOT NULL UNIQUE\n);",
    ],
)
def test_constraint_without_name_is_found(tmp_path: Path, sql: str) -> None:
    assert found(tmp_path, sql) == [("named-constraint", 2, "0001_x.sql")]


def test_unnamed_constraint_in_rollback_is_found(tmp_path: Path) -> None:
    assert found(tmp_path, "SELECT 1;", "ALTER TABLE t\n    ADD UNIQUE (n);") == [
        ("named-constraint", 2, "0001_x.rollback.sql")
    ]


def test_named_constraint_and_other_clauses_are_accepted(tmp_path: Path) -> None:
    sql = """\
CREATE TABLE t (
    n int NOT NULL CONSTRAINT t_n_key UNIQUE NULLS NOT DISTINCT,
    "unique" text DEFAULT 'CHECK (n)', -- UNIQUE
    exclude boolean,
    CONSTRAINT "T pkey" PRIMARY KEY (n),
    CONSTRAINT t_n_fkey FOREIGN KEY (n) REFERENCES other (n) ON DELETE CASCADE,
    CONSTRAINT t_n_check CHECK (n > 0)
);
ALTER TABLE t
    DROP CONSTRAINT t_n_check,
    ADD CONSTRAINT t_m_check CHECK (n > 1) NOT VALID,
    VALIDATE CONSTRAINT t_m_check;
CREATE POLICY p ON t USING (n > 0) WITH CHECK (n > 0);
GRANT REFERENCES ON t TO other;
CREATE TEMPORARY TABLE scratch (n int PRIMARY KEY);
"""
    assert found(tmp_path, sql) == []


@pytest.mark.parametrize(
    "sql", ["CREATE INDEX ON t (n);", "CREATE UNIQUE INDEX ON t (n);", "CREATE INDEX CONCURRENTLY ON t (n);"]
)
def test_index_without_name_is_found(tmp_path: Path, sql: str) -> None:
    assert found(tmp_path, f"SELECT 1;\n{sql}") == [("named-index", 2, "0001_x.sql")]
    for named in ("i ON", '"On" ON', "IF NOT EXISTS i ON"):
        assert found(tmp_path, sql.replace("ON", named)) == []


# --- Locks --------------------------------------------------------------------------------------

LOOKS = "DO $$ BEGIN IF EXISTS (SELECT FROM t) THEN\n    RAISE EXCEPTION 'rows'; END IF; END $$;\n"


def test_look_before_unlocked_alteration_is_found(tmp_path: Path) -> None:
    for alters in ("ALTER TABLE t DROP COLUMN n;", "DROP TABLE t;"):
        assert found(tmp_path, f"SELECT 1;\n{LOOKS}{alters}") == [("unlocked-look", 2, "0001_x.sql")]
        assert found(tmp_path, "SELECT 1;", f"{LOOKS}{alters}") == [("unlocked-look", 1, "0001_x.rollback.sql")]
        assert found(tmp_path, f"LOCK TABLE t IN ACCESS EXCLUSIVE MODE;\n{LOOKS}{alters}") == []
        assert found(tmp_path, f"{alters}\n{LOOKS}") == []


# --- Collation ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE UNIQUE INDEX i ON t (\n    lower(a));",
        "CREATE INDEX i ON t (a)\n    WHERE upper(b || 'x') = 'X';",
        "ALTER TABLE t ADD CONSTRAINT t_a_check\n    CHECK (a ILIKE 'x%');",
        "ALTER TABLE t ADD CONSTRAINT t_a_check\n    CHECK (a COLLATE \"C\" = 'x' AND a ~* 'x');",
        'SELECT a COLLATE "C", a\n    !~~* \'x\', b COLLATE "C" FROM t;',
        "CREATE VIEW v AS SELECT\n    initcap(a) AS a FROM t;",
        "CREATE TABLE t (a text,\n    b text GENERATED ALWAYS AS (casefold(a)) STORED);",
        "CREATE FUNCTION f() RETURNS text LANGUAGE plpgsql SET search_path = s AS $$BEGIN\nRETURN lower('I'); END $$;",
        "DO $a$ BEGIN EXECUTE $b$ SELECT\n    lower(a) FROM t $b$; END $a$;",
        "CREATE POLICY p ON t USING (\n    lower(a) = lower(current_setting('x') COLLATE \"C\"));",
    ],
)
def test_folding_by_locale_is_found(tmp_path: Path, sql: str) -> None:
    assert found(tmp_path, sql) == [("database-collation", 2, "0001_x.sql")]


def test_folding_by_letters_of_ascii_is_accepted(tmp_path: Path) -> None:
    sql = """\
CREATE INDEX i ON t (lower(a COLLATE "C"), lower((a || b) COLLATE "C"));
SELECT a COLLATE "C" ILIKE 'x', a ILIKE 'x' COLLATE "C", a ~* ('x' COLLATE "C") FROM t;
SELECT lower(period_range), upper(tstzrange(a, b)), a AS lower, 'lower(a)', "upper"(a COLLATE "C") FROM t; -- lower(a)
CREATE FUNCTION f() RETURNS text LANGUAGE sql SET search_path = s AS
$$ SELECT upper('i' COLLATE "C"), a ~ 'x', a ~~ 'x' FROM t $$;
"""
    assert found(tmp_path, sql) == []


# --- Files that the migrator refuses ------------------------------------------------------------


@pytest.mark.parametrize(
    ("up", "line"),
    [
        ("SELECT 1;\nCOMMIT;", 2),
        ("BEGIN;\nSELECT 1;", 1),
        ("SELECT 1;\n\nROLLBACK;", 3),
        ("SELECT 1;\nSTART TRANSACTION;", 2),
    ],
)
def test_commit_in_file_is_found(tmp_path: Path, up: str, line: int) -> None:
    assert found(tmp_path, up) == [("invalid", line, "0001_x.sql")]


def test_missing_rollback_without_reason_is_found(tmp_path: Path) -> None:
    ((rule, _, _),) = found(tmp_path, "SELECT 1;", None)
    assert rule == "invalid"
    (without_reason,) = found(tmp_path, "SELECT 1;", None, head=f"-- irreversible:\n{HEAD}")
    assert without_reason[0] == "invalid"


def test_second_non_transactional_statement_is_found(tmp_path: Path) -> None:
    head = f"-- transactional: false\n{HEAD}"
    up = "DROP INDEX CONCURRENTLY IF EXISTS i;\n"
    down = "-- transactional: true\nSELECT 1;"
    assert found(tmp_path, up, down, head) == []
    assert found(tmp_path, up + up, down, head) == [("invalid", 2, "0001_x.sql")]


def test_every_file_is_checked_and_then_the_folder(tmp_path: Path) -> None:
    for name, text in (("0002_y", "COMMIT;"), ("0001_x", "BEGIN;")):
        (tmp_path / f"{name}.sql").write_text(text)
        (tmp_path / f"{name}.rollback.sql").write_text("SELECT 1;")
    assert [Path(each.path).name for each in lint(tmp_path)] == ["0001_x.sql", "0002_y.sql"]
    for name in ("0001_x", "0002_y"):
        (tmp_path / f"{name}.sql").write_text(f"-- depends: 0009_z\n{HEAD}SELECT 1;")
    (only,) = lint(tmp_path)
    assert "depends on 0009_z" in only.text
    with pytest.raises(MigrationError, match="does not exist"):
        lint(tmp_path / "nowhere")


# --- squawk -------------------------------------------------------------------------------------


def test_squawk_receives_transaction_flag_of_file(tmp_path: Path) -> None:
    """An index that is not built concurrently is its business, and so is one that would have to be outside."""
    found(tmp_path, "ALTER TABLE t ADD COLUMN n int;\nCREATE INDEX i ON t (n);")
    (only,) = squawk(tmp_path)
    assert (only.rule, only.line, only.path) == (
        "require-concurrent-index-creation",
        HEAD.count("\n") + 2,
        str(tmp_path / "0001_x.sql"),
    )
    found(tmp_path, "CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (n);\nSELECT 1;")
    assert "ban-concurrent-index-creation-in-transaction" in {each.rule for each in squawk(tmp_path)}
    found(tmp_path, "CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (n);", head=f"-- transactional: false\n{HEAD}",
          down="DROP INDEX CONCURRENTLY IF EXISTS i;")  # fmt: skip
    assert squawk(tmp_path) == []


def test_missing_or_failing_squawk_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found(tmp_path, "SELECT 1;", head="")
    monkeypatch.setattr(lint_rules, "_EXCLUDED", "no-such-rule")
    with pytest.raises(ConfigurationError, match="squawk ended with 2: .*no-such-rule"):
        squawk(tmp_path)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(ConfigurationError, match="squawk is not installed: pip install squawk-cli"):
        squawk(tmp_path)
    done = RUN.invoke(app, ["lint-migrations", str(tmp_path)])
    assert isinstance(done.exception, ConfigurationError)
    assert done.stdout.count(": header: ") == 3  # what was found without it
    assert RUN.invoke(app, ["lint-migrations", "--no-squawk", str(tmp_path)]).exit_code == 1


# --- The command --------------------------------------------------------------------------------


def test_own_migrations_have_no_findings() -> None:
    done = RUN.invoke(app, ["lint-migrations"])
    assert done.exit_code == 0, done.stdout
    assert done.stdout == f"{data_dir('migrations')}: nothing found\n"


def test_legacy_migrations_are_exempt_by_name_only(tmp_path: Path) -> None:
    for path in data_dir("migrations").glob("20251212112507_*"):
        shutil.copy(path, tmp_path)
    up = tmp_path / "20251212112507_remove_price_sol_from_trading_signals.sql"
    up.write_text("CREATE INDEX ON trading_signals (id);")
    assert [each.rule for each in lint(tmp_path)] == ["named-index"]
    assert squawk(tmp_path) == []
    for path in list(tmp_path.iterdir()):
        path.rename(path.with_name(path.name.replace("remove", "delete")))
    assert [each.rule for each in lint(tmp_path)].count("header") == 3
    assert squawk(tmp_path) != []


def test_findings_are_lines_with_file_and_line_or_one_object(tmp_path: Path) -> None:
    found(tmp_path, "SELECT 1;\nCREATE INDEX ON t (n);")
    done = RUN.invoke(app, ["lint-migrations", str(tmp_path), "--no-squawk"])
    assert done.exit_code == 1
    assert (
        done.stdout == f"{tmp_path}/0001_x.sql:6: named-index: an index without a name: write CREATE INDEX <name> ON\n"
    )
    as_json = RUN.invoke(app, ["lint-migrations", str(tmp_path), "--no-squawk", "--json"])
    (only,) = json.loads(as_json.stdout)["findings"]
    assert (only["line"], only["rule"]) == (6, "named-index")


# --- new ----------------------------------------------------------------------------------------

NOON = datetime(2027, 1, 2, 12, tzinfo=UTC)


def test_new_migration_is_last_and_has_template_head(tmp_path: Path) -> None:
    found(tmp_path, "SELECT 1;")
    up, down = write_new(tmp_path, "add_notes", NOON)
    assert (up.name, down.name) == ("20270102120000_add_notes.sql", "20270102120000_add_notes.rollback.sql")
    assert up.read_text() == "-- Why:\n-- Locks:\n-- Rollback loses:\n\n"
    (finding,) = lint(tmp_path)
    assert finding.text == "holds no statement"  # nobody applies it by mistake
    for path in (up, down):
        path.write_text(path.read_text() + "SELECT 1;\n")
    assert [each.rule for each in lint(tmp_path)] == ["header"] * 3


def test_new_migration_is_later_than_future_migration(tmp_path: Path) -> None:
    first, _ = write_new(tmp_path, "a", NOON)
    second, _ = write_new(tmp_path, "b", datetime(2026, 1, 1, tzinfo=UTC))
    assert [path.name for path in (first, second)] == ["20270102120000_a.sql", "20270102120001_b.sql"]
    (tmp_path / "99999999999999_c.sql").touch()
    with pytest.raises(MigrationError, match="99999999999999_c does not begin with a time"):
        write_new(tmp_path, "d", NOON)


@pytest.mark.parametrize(
    "name", ["", "Add", "a-b", "a b", "_a", "a_", "a__b", "1a", "../a", "ä", "a.rollback", "x" * 81]
)
def test_invalid_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match="name: lower-case letters"):
        write_new(tmp_path, name, NOON)
    assert list(tmp_path.iterdir()) == []


def test_taken_name_is_refused_at_any_time(tmp_path: Path) -> None:
    write_new(tmp_path, "add_notes", NOON)
    with pytest.raises(InvalidInput, match="name: 20270102120000_add_notes has it"):
        write_new(tmp_path, "add_notes", datetime(2028, 1, 1, tzinfo=UTC))
    assert len(list(tmp_path.iterdir())) == 2


def test_new_reports_written_files(tmp_path: Path) -> None:
    done = RUN.invoke(app, ["new", "add_notes", "--directory", str(tmp_path)])
    assert done.exit_code == 0
    assert sorted(done.stdout.split()) == sorted(map(str, tmp_path.iterdir()))
