"""The migrator: the folders it accepts and refuses; a failed migration changes nothing."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from nexgent_db import resources
from nexgent_db.errors import ConfigurationError, ConnectionLost, InvalidInput
from nexgent_db.migrations import MigrationError, MigrationLocked, Migrator
from tests.support.builders.migrating import CHECKOUT, Write, connected, log_of, one, tables

# --- A folder of our own ------------------------------------------------------------------------


def test_status_pending_migrate_and_rollback_agree(empty_database: str, three: Path) -> None:
    migrator = Migrator(empty_database, three)
    assert migrator.pending() == ["0001_a", "0002_b", "0003_c"]
    assert migrator.migrate(to="0002_b") == ["0001_a", "0002_b"]
    assert migrator.migrate(to="0001_a") == []  # never backwards
    assert [(s.name, s.applied_at is not None, s.known) for s in migrator.status()] == [
        ("0001_a", True, True),
        ("0002_b", True, True),
        ("0003_c", False, True),
    ]
    applied_at = migrator.status()[0].applied_at
    assert applied_at is not None
    assert abs(applied_at.timestamp() - time.time()) < 60
    assert migrator.migrate() == ["0003_c"]
    assert migrator.migrate() == []
    assert migrator.rollback(2) == ["0003_c", "0002_b"]
    assert tables(empty_database) == ["a"]
    migrator.migrate()
    assert migrator.rollback(to="0001_a") == ["0003_c", "0002_b"]
    assert migrator.rollback() == ["0001_a"]
    assert tables(empty_database) == []


def test_each_step_is_reported_at_start_and_end(empty_database: str, three: Path) -> None:
    steps = list[tuple[str, int, int]]()
    Migrator(empty_database, three, on_step=lambda *step: steps.append(step)).migrate(to="0002_b")
    assert steps == [("0001_a", 0, 2), ("0001_a", 1, 2), ("0002_b", 1, 2), ("0002_b", 2, 2)]


def test_dependencies_are_applied_first(empty_database: str, write: Write, folder: Path) -> None:
    write("0001_late", "-- depends: 0002_early\nINSERT INTO t VALUES (1);")
    write("0002_early", "CREATE TABLE t (n int);")
    assert Migrator(empty_database, folder).migrate() == ["0002_early", "0001_late"]


def test_default_folder_is_migrations_of_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a checkout it is beside the package, in a wheel inside it, and never another one. A missing one raises."""
    assert Migrator("dbname=x").directory == CHECKOUT / "migrations"
    package = tmp_path / "site-packages" / "nexgent_db"
    (package.parent / "migrations").mkdir(parents=True)  # another distribution's
    monkeypatch.setattr(resources, "_PACKAGE", package)
    with pytest.raises(ConfigurationError, match="has no migrations folder"):
        Migrator("dbname=x").status()
    (package / "_migrations").mkdir(parents=True)
    assert Migrator("dbname=x").directory == package / "_migrations"


# --- Folders that are refused -------------------------------------------------------------------


def test_missing_or_empty_folder_is_error(empty_database: str, tmp_path: Path, folder: Path) -> None:
    for directory, problem in ((tmp_path / "nowhere", "does not exist"), (folder, "is empty")):
        migrator = Migrator(empty_database, directory)
        for call in (migrator.status, migrator.pending, migrator.migrate, migrator.rollback):
            with pytest.raises(MigrationError, match=problem):
                call()


@pytest.mark.parametrize(
    ("up", "down", "problem"),
    [
        ("SELECT 1;", None, r"0002_x\.sql: there is no 0002_x\.rollback\.sql"),
        ("-- nothing\n;", "SELECT 1;", r"0002_x\.sql: holds no statement"),
        ("SELECT 1;", "-- nothing", r"0002_x\.rollback\.sql: holds no statement"),
        ("SELECT 1;\nCOMMIT;\nSELECT 2;", "SELECT 1;", r"0002_x\.sql:2: COMMIT"),
        ("SELECT 1;", "/* a /* ; */ ; */\nBEGIN;", r"0002_x\.rollback\.sql:2: BEGIN"),
        ("START TRANSACTION;", "SELECT 1;", r"0002_x\.sql:1: START TRANSACTION"),
        ("SELECT ';';\n\nROLLBACK;", "SELECT 1;", r"0002_x\.sql:3: ROLLBACK"),
        ("COPY t (n) FROM STDIN;\n1\n\\.\n", "SELECT 1;", r"0002_x\.sql:1: COPY"),
        ("\\restrict x7\nSELECT 1;", "SELECT 1;", r"0002_x\.sql:1: \\restrict is a command of psql"),
        ("SELECT 1;\n\\connect other\n", "SELECT 1;", r"0002_x\.sql:2: \\connect is a command of psql"),
        ("SELECT 1 \\gset\n;", "SELECT 1;", r"0002_x\.sql:1: \\gset is a command of psql"),
        ("COPY (SELECT 1) TO stdout;", "SELECT 1;", r"0002_x\.sql:1: COPY"),
        ("-- transactional: no\nSELECT 1;", "SELECT 1;", "should say true or false"),
        ("-- Transactional: false\nSELECT 1;", "SELECT 1;", r"0002_x\.sql:1: 'Transactional' is no directive"),
        ("-- a\n-- depend: 0001_a\nSELECT 1;", "SELECT 1;", r"0002_x\.sql:2: 'depend' is no directive"),
        ("-- depends: 0000_z\nSELECT 1;", "SELECT 1;", "depends on 0000_z, which the folder does not have"),
        ("-- transactional: false\nSELECT 1;\nSELECT 2;", "SELECT 1;", r"0002_x\.sql:3: .*exactly one"),
    ],
)
def test_invalid_file_stops_run_before_start(
    empty_database: str, write: Write, folder: Path, up: str, down: str | None, problem: str
) -> None:
    write("0001_a", "CREATE TABLE a (n int);", "DROP TABLE a;")
    write("0002_x", up, down)
    with pytest.raises(MigrationError, match=problem):
        Migrator(empty_database, folder).migrate()
    assert tables(empty_database) == []


def test_commit_inside_literal_or_comment_is_accepted(empty_database: str, write: Write, folder: Path) -> None:
    up = """\
-- Savepoints, bodies, quotes and comments; a byte order mark and percent signs, too.
SAVEPOINT s;
CREATE TABLE "commit" ("begin" text DEFAULT 'COMMIT; %s %(x)s');
ROLLBACK TO SAVEPOINT s;
CREATE TABLE t (n text DEFAULT E'it\\'s; COMMIT; %', "a;b" text);
CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $x$ BEGIN RETURN 1; END; $x$;
CREATE OR REPLACE FUNCTION g() RETURNS int BEGIN ATOMIC SELECT CASE WHEN TRUE THEN 1 END; SELECT 2; END;
CREATE RULE r AS ON DELETE TO t DO ALSO (SELECT 1; SELECT 2);
DO $$ BEGIN PERFORM 1; /* COMMIT; */ END $$; -- COMMIT;
"""
    write("0001_a", f"\ufeff{up}", "DROP TABLE t;\r\nDROP FUNCTION f();\r\nDROP FUNCTION g();\r\n")
    migrator = Migrator(empty_database, folder)
    migrator.migrate()
    assert tables(empty_database) == ["t"]
    migrator.rollback()
    assert tables(empty_database) == []


def test_other_files_in_folder_are_refused(empty_database: str, three: Path) -> None:
    migrator = Migrator(empty_database, three)
    for name, problem in (
        ("0004_d.py", "migrations are SQL files"),
        ("post-apply.sql", "hooks"),
        ("0004_D.SQL", "lower case"),
        ("0004_d.rollback.sql", "rolls back a migration that is not there"),
    ):
        (three / name).write_text("SELECT 1;")
        with pytest.raises(MigrationError, match=problem):
            migrator.migrate()
        (three / name).unlink()
    (three / "README.md").write_text("for DBAs")
    assert len(migrator.migrate()) == 3


def test_backslash_inside_literal_or_comment_is_accepted(empty_database: str, write: Write, folder: Path) -> None:
    write("0001_a", "-- \\restrict x7\nCREATE TABLE a AS SELECT '\\connect' AS n, E'\\n' AS m, $$\\.$$ AS o;")
    assert Migrator(empty_database, folder).migrate() == ["0001_a"]


def test_file_that_is_not_utf8_is_refused_with_its_line(empty_database: str, three: Path) -> None:
    (three / "0002_b.sql").write_bytes(b"SELECT 1;\nSELECT '\xe9';")
    with pytest.raises(MigrationError, match=r"0002_b\.sql:2: is not UTF-8"):
        Migrator(empty_database, three).migrate()


def test_out_of_order_migration_is_refused(empty_database: str, write: Write, three: Path) -> None:
    migrator = Migrator(empty_database, three)
    migrator.migrate()
    write("0001_between", "CREATE TABLE d (n int);")
    with pytest.raises(MigrationError, match=r"0001_between: not applied, but older than 0003_c, which is"):
        migrator.migrate()
    assert migrator.pending() == ["0001_between"]
    assert "d" not in tables(empty_database)


def test_migration_missing_in_folder_is_reported(empty_database: str, three: Path) -> None:
    migrator = Migrator(empty_database, three)
    migrator.migrate()
    for path in three.glob("0003_c*"):
        path.unlink()
    assert [(s.name, s.known) for s in migrator.status()] == [("0001_a", True), ("0002_b", True), ("0003_c", False)]
    for call in (migrator.migrate, migrator.rollback):
        with pytest.raises(MigrationError, match=r"0003_c: the database has it, .* does not: the database is newer"):
            call()


def test_unknown_targets_and_invalid_counts_are_refused(empty_database: str, three: Path) -> None:
    migrator = Migrator(empty_database, three)
    with pytest.raises(MigrationError, match=r"no migration is called '0003_d'; did you mean 0003_c\?"):
        migrator.migrate(to="0003_d")
    migrator.migrate(to="0002_b")
    with pytest.raises(MigrationError, match="cannot roll back to 0003_c: it is not applied"):
        migrator.rollback(to="0003_c")
    with pytest.raises(MigrationError, match="cannot roll back 3: 2 applied"):
        migrator.rollback(3)
    with pytest.raises(InvalidInput):
        migrator.rollback(0)
    with pytest.raises(InvalidInput):
        migrator.rollback(1, to="0001_a")
    assert tables(empty_database) == ["a", "b"]


# --- A failed migration changes nothing ---------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "line"),
    [
        ("CREATE TABLE ü (n int);\nSELEC 1;", 3),
        ("CREATE TABLE x (n int);\n\n/* why */ SELECT\n    nothing;", 5),  # known only when it is analysed
        ("CREATE TABLE x (n int NOT NULL);\nSELECT 1;\n\nINSERT INTO x VALUES (NULL);", 5),  # has no position
        ("DO $$ BEGIN\n  RAISE EXCEPTION 'no';\nEND $$;", 2),
    ],
)
def test_failed_statement_is_located_and_rolled_back(
    empty_database: str, write: Write, folder: Path, bad: str, line: int
) -> None:
    write("0001_a", "CREATE TABLE a (n int);")
    write("0002_b", f"-- Head.\n{bad}")
    write("0003_c", "CREATE TABLE c (n int);")
    migrator = Migrator(empty_database, folder)
    with pytest.raises(MigrationError, match=rf"0002_b\.sql:{line}: ") as caught:
        migrator.migrate()
    assert caught.value.sqlstate is not None
    assert isinstance(caught.value.__cause__, psycopg.Error)
    assert tables(empty_database) == ["a"]
    assert migrator.pending() == ["0002_b", "0003_c"]
    assert log_of(empty_database) == ["apply 0001_a"]


def test_failed_rollback_changes_nothing(empty_database: str, write: Write, folder: Path) -> None:
    write("0001_a", "CREATE TABLE a (n int);", "DROP TABLE a;\nDROP TABLE nowhere;")
    migrator = Migrator(empty_database, folder)
    migrator.migrate()
    with pytest.raises(MigrationError, match=r'0001_a\.rollback\.sql:2: table "nowhere" does not exist'):
        migrator.rollback()
    assert tables(empty_database) == ["a"]
    assert migrator.pending() == []


def test_constraint_failed_at_commit_changes_nothing(empty_database: str, write: Write, folder: Path) -> None:
    write(
        "0001_a",
        "CREATE TABLE a (n int UNIQUE DEFERRABLE INITIALLY DEFERRED);\nINSERT INTO a VALUES (1), (1);",
    )
    migrator = Migrator(empty_database, folder)
    with pytest.raises(MigrationError, match=r"0001_a\.sql: duplicate key"):
        migrator.migrate()
    assert tables(empty_database) == []
    assert migrator.pending() == ["0001_a"]


def test_session_ended_by_server_changes_nothing(empty_database: str, write: Write, folder: Path) -> None:
    write("0001_a", "CREATE TABLE a (n int);\nSELECT pg_terminate_backend(pg_backend_pid());")
    with pytest.raises(ConnectionLost, match=r"0001_a\.sql:2: the connection ended"):
        Migrator(empty_database, folder).migrate()
    assert tables(empty_database) == []
    assert Migrator(empty_database, folder).pending() == ["0001_a"]


def test_session_state_of_file_does_not_reach_next(empty_database: str, write: Write, folder: Path) -> None:
    write(
        "0001_a",
        "CREATE SCHEMA other;\nSET search_path = other;\nSET standard_conforming_strings = off;\n"
        "CREATE TEMPORARY TABLE kept (n int);\nPREPARE kept AS SELECT 1;\nLISTEN kept;\n"
        "DECLARE kept CURSOR WITH HOLD FOR SELECT 1;\nSELECT pg_advisory_lock(1);\nSET ROLE pg_read_all_data;",
    )
    write(
        "0002_b",
        """
        CREATE TABLE b AS
        SELECT
            current_user = session_user AS own_role,
            current_setting('search_path') AS search_path,
            current_setting('standard_conforming_strings') AS strings,
            to_regclass('pg_temp.kept')::text AS temporary,
            (SELECT count(*) FROM pg_prepared_statements) AS prepared,
            (SELECT count(*) FROM pg_cursors) AS cursors,
            (SELECT count(*) FROM pg_listening_channels()) AS channels,
            (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) AS locks;
        """,
    )
    Migrator(empty_database, folder).migrate()
    assert tables(empty_database) == ["b"]
    with psycopg.connect(empty_database) as conn:
        left = conn.execute("SELECT * FROM b").fetchone()
    assert left == (True, '"$user", public', "on", None, 0, 0, 0, 0)


def test_long_file_is_sent_whole(empty_database: str, write: Write, folder: Path) -> None:
    """One savepoint per statement, as yoyo has it, ends near 12,850 of them."""
    write("0001_a", "CREATE TABLE a (n int);\n" + "INSERT INTO a VALUES (1);\n" * 20_000, "DROP TABLE a;")
    Migrator(empty_database, folder).migrate()
    assert one(empty_database, "SELECT count(*) FROM a") == 20_000


# --- Outside of a transaction -------------------------------------------------------------------

CONCURRENT_INDEX = "-- transactional: false\nCREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS a_n_key ON a (n);"
DROP_IT = "DROP INDEX CONCURRENTLY IF EXISTS a_n_key;"


def test_concurrent_index_is_built_while_migrators_wait(empty_database: str, write: Write, folder: Path) -> None:
    write("0001_a", "CREATE TABLE a (n int);\nINSERT INTO a SELECT generate_series(1, 100000);", "DROP TABLE a;")
    write("0002_index", CONCURRENT_INDEX, DROP_IT)
    write("0003_b", "CREATE TABLE b (n int);", "DROP TABLE b;")
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: Migrator(empty_database, folder, lock_wait_s=60).migrate(), range(4)))
    assert sorted(name for names in done for name in names) == ["0001_a", "0002_index", "0003_b"]
    assert Migrator(empty_database, folder).rollback(3) == ["0003_b", "0002_index", "0001_a"]


def test_invalid_index_is_reported_and_never_marked(empty_database: str, write: Write, folder: Path) -> None:
    write("0001_a", "CREATE TABLE a (n int);\nINSERT INTO a VALUES (1), (1);", "DROP TABLE a;")
    write("0002_index", CONCURRENT_INDEX, DROP_IT)
    migrator = Migrator(empty_database, folder)
    with pytest.raises(MigrationError, match=r"0002_index\.sql:2: could not create unique index"):
        migrator.migrate()
    with pytest.raises(MigrationError, match=r"not run: INVALID index public\.a_n_key"):
        migrator.migrate()  # IF NOT EXISTS would have been content with it
    assert migrator.pending() == ["0002_index"]
    with connected(empty_database) as conn:
        conn.execute("DROP INDEX CONCURRENTLY a_n_key")
        conn.execute("DELETE FROM a")
    assert migrator.migrate() == ["0002_index"]


def test_failed_non_transactional_statement_runs_no_rollback(empty_database: str, write: Write, folder: Path) -> None:
    """yoyo runs it, and so dropped an existing table."""
    with connected(empty_database) as conn:
        conn.execute("CREATE TABLE precious (n int)")
    failing = "-- transactional: false\nDO $$ BEGIN RAISE EXCEPTION 'full'; END $$;"
    write("0001_a", failing, "DROP TABLE IF EXISTS precious;")
    with pytest.raises(MigrationError, match=r"0001_a\.sql:2: full"):
        Migrator(empty_database, folder).migrate()
    assert tables(empty_database) == ["precious"]


def test_concurrent_index_in_transaction_error_names_directive(empty_database: str, write: Write, folder: Path) -> None:
    write("0001_a", "CREATE TABLE a (n int);\nCREATE INDEX CONCURRENTLY i ON a (n);")
    with pytest.raises(MigrationError, match=r"0001_a\.sql:2: .*declare '-- transactional: false'"):
        Migrator(empty_database, folder).migrate()


# --- Settings in the head of a file -------------------------------------------------------------

TIMEOUTS = "concat_ws(' ', current_setting('lock_timeout'), current_setting('statement_timeout'))"


def test_each_file_uses_timeouts_of_its_head(empty_database: str, write: Write, folder: Path) -> None:
    write("0001_a", f"CREATE TABLE seen AS SELECT 1 AS n, {TIMEOUTS} AS limits;", "DROP TABLE seen;")
    write("0002_b", f"-- lock_timeout: 500ms\n-- statement_timeout: 2min\nINSERT INTO seen SELECT 2, {TIMEOUTS};")
    way_back = f"-- lock_timeout: 7s\nINSERT INTO seen SELECT 4, {TIMEOUTS};"
    write("0003_c", f"INSERT INTO seen SELECT 3, {TIMEOUTS};", way_back)
    migrator = Migrator(empty_database, folder, lock_timeout_s=3, statement_timeout_s=50)
    migrator.migrate()
    migrator.rollback()
    with connected(empty_database) as conn:
        limits = conn.execute("SELECT limits FROM seen ORDER BY n").fetchall()
    assert limits == [("3s 50s",), ("500ms 2min",), ("3s 50s",), ("7s 50s",)]


def test_statement_timeout_is_located_and_rolled_back(empty_database: str, write: Write, folder: Path) -> None:
    write("0001_a", "-- statement_timeout: 100ms\nCREATE TABLE a (n int);\nSELECT pg_sleep(60);")
    with pytest.raises(MigrationError, match=r"0001_a\.sql:\d: canceling statement due to statement timeout") as caught:
        Migrator(empty_database, folder).migrate()
    assert caught.value.sqlstate == "57014"
    assert tables(empty_database) == []


def test_lock_wait_uses_timeout_of_file(empty_database: str, write: Write, folder: Path) -> None:
    write("0001_a", "CREATE TABLE a (n int);")
    write("0002_b", "-- lock_timeout: 50ms\nALTER TABLE a ADD COLUMN m int;")
    migrator = Migrator(empty_database, folder, lock_timeout_s=600, attempts=1)
    migrator.migrate(to="0001_a")
    with psycopg.connect(empty_database) as reader:
        reader.execute("SELECT * FROM a")
        with pytest.raises(MigrationLocked, match=r"0002_b\.sql:2: canceling statement due to lock timeout"):
            migrator.migrate()
    assert migrator.migrate() == ["0002_b"]


@pytest.mark.parametrize("value", ["5", "0s", "-1s", "1.5s", "5 seconds", "25d", "", "5s later"])
def test_invalid_timeout_directive_is_refused(empty_database: str, write: Write, folder: Path, value: str) -> None:
    write("0001_a", f"-- Head.\n-- lock_timeout: {value}\nSELECT 1;")
    with pytest.raises(MigrationError, match=r"0001_a\.sql:2: "):
        Migrator(empty_database, folder).pending()


def test_irreversible_migration_is_applied_and_not_rolled_back(empty_database: str, write: Write, three: Path) -> None:
    write("0004_d", "-- irreversible: the rows are gone\nDELETE FROM a;", None)
    write("0005_e", "CREATE TABLE e (n int);", "DROP TABLE e;")
    migrator = Migrator(empty_database, three)
    assert len(migrator.migrate()) == 5
    for call in (lambda: migrator.rollback(2), lambda: migrator.rollback(to="0001_a")):
        with pytest.raises(MigrationError, match=r"0004_d\.sql: cannot be rolled back: the rows are gone"):
            call()
        assert tables(empty_database) == ["a", "b", "c", "e"]  # not even the one that could be
    assert migrator.rollback() == ["0005_e"]


def test_irreversible_requires_reason_and_no_rollback_file(empty_database: str, write: Write, folder: Path) -> None:
    write("0001_a", "-- irreversible:\nSELECT 1;", None)
    with pytest.raises(MigrationError, match=r"0001_a\.sql:1: .* should say why it cannot be rolled back"):
        Migrator(empty_database, folder).pending()
    write("0001_a", "-- irreversible: because\nSELECT 1;", "SELECT 1;")
    with pytest.raises(MigrationError, match=r"is declared irreversible, but there is 0001_a\.rollback\.sql"):
        Migrator(empty_database, folder).pending()


def test_each_migration_is_logged_once(empty_database: str, three: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        Migrator(empty_database, three).migrate()
        Migrator(empty_database, three).rollback(1)
    said = [record.getMessage() for record in caplog.records]
    for name in ("0001_a", "0002_b", "0003_c"):
        assert [line for line in said if name in line and "rollback" not in line] == [f"apply {name}"]
    assert [line for line in said if "rollback" in line] == ["rollback 0003_c"]
