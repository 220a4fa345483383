"""``-- preflight: true``: the file runs before all other pending migrations and may only read."""

from __future__ import annotations

from pathlib import Path

import pytest

from nexgent_db.migrations import MigrationError, Migrator
from tests.support.builders.migrating import Write, applied, connected, log_of, tables

LOOK = """-- preflight: true
DO $$
BEGIN
    RAISE NOTICE 'tables: %', (SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename ~ '^.$');
    IF to_regclass('a') IS NOT NULL AND to_regclass('unfit') IS NOT NULL THEN
        RAISE EXCEPTION 'unfit' USING DETAIL = E'line 1\\nline 2', HINT = 'Mend it.';
    END IF;
END
$$;
"""


def test_preflight_error_stops_run_before_changes(empty_database: str, write: Write, three: Path) -> None:
    migrator = Migrator(empty_database, three)
    migrator.migrate(to="0001_a")
    write("0002_look", LOOK)
    with connected(empty_database) as conn:
        conn.execute("CREATE TABLE unfit (n int)")
    before = log_of(empty_database), tables(empty_database)
    with pytest.raises(MigrationError, match=r"0002_look.sql:2: unfit\. Mend it\.$") as caught:
        migrator.migrate()
    assert caught.value.explanation == "line 1\nline 2"
    assert (log_of(empty_database), tables(empty_database)) == before
    with connected(empty_database) as conn:
        conn.execute("DROP TABLE unfit")
    assert migrator.migrate() == ["0002_b", "0002_look", "0003_c"]


def test_preflight_runs_first_and_in_its_order(empty_database: str, write: Write, three: Path) -> None:
    write("0002_look", LOOK)
    reported = list[str]()
    migrator = Migrator(empty_database, three, on_message=lambda name, text: reported.append(f"{name} {text}"))
    assert migrator.migrate() == ["0001_a", "0002_b", "0002_look", "0003_c"]
    assert reported == ["0002_look NOTICE: tables: 0", "0002_look NOTICE: tables: 2"]


def test_preflight_first_or_beyond_target_runs_once(empty_database: str, write: Write, three: Path) -> None:
    write("0002_look", LOOK)
    reported = list[str]()
    migrator = Migrator(empty_database, three, on_message=lambda name, text: reported.append(text))
    migrator.migrate(to="0002_b")
    assert reported == []
    assert migrator.migrate() == ["0002_look", "0003_c"]
    assert reported == ["NOTICE: tables: 2"]


def test_preflight_that_writes_is_stopped(empty_database: str, write: Write, three: Path) -> None:
    write("0002_look", "-- preflight: true\nCREATE TABLE d (n int);")
    migrator = Migrator(empty_database, three)
    with pytest.raises(MigrationError, match="read-only transaction"):
        migrator.migrate()
    assert applied(migrator) == []


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("-- preflight: true\n-- transactional: false\n", "needs no '-- transactional: false'"),
        ("-- preflight: yes\n", "should say true"),
        ("-- pre-flight: true\n", "did you mean '-- preflight:'"),
    ],
)
def test_ineffective_preflight_directive_is_refused(
    empty_database: str, write: Write, three: Path, head: str, said: str
) -> None:
    write("0002_look", f"{head}DO $$ BEGIN END $$;")
    with pytest.raises(MigrationError, match=said):
        Migrator(empty_database, three).pending()
