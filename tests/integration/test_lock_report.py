"""The lock report: a migration's locks, measured on a copy before it runs on a busy database."""

from __future__ import annotations

from pathlib import Path

import pytest

from nexgent_db.migrations import MigrationError, Migrator
from nexgent_db.migrations.files import read_folder
from nexgent_db.migrations.lock_report import LockReport, TableLock, lock_reports
from tests.support.builders.migrating import Write, connected, tables

ACCESS_EXCLUSIVE = "ACCESS EXCLUSIVE"


class Last:
    """Measures one more migration, on tables ``a`` (with a row) and ``b``."""

    def __init__(self, conninfo: str, write: Write, folder: Path) -> None:
        self._conninfo, self._write, self._folder = conninfo, write, folder
        write("0001_a", "CREATE TABLE a (n int);\nINSERT INTO a VALUES (1);\nCREATE TABLE b (n int);")
        write("0002_index", "CREATE INDEX a_n_idx ON a (n);")

    def __call__(self, sql: str) -> LockReport:
        self._write("0003_last", sql, "-- transactional: true\nSELECT 1;")
        *_, found = lock_reports(self._conninfo, read_folder(self._folder))
        return found


@pytest.fixture
def last(empty_database: str, write: Write, folder: Path) -> Last:
    return Last(empty_database, write, folder)


def strongest(found: LockReport) -> dict[str, str]:
    return {lock.table: lock.mode for lock in found.locks}


def test_locks_on_existing_and_new_tables_are_distinguished(last: Last) -> None:
    found = last("ALTER TABLE a ADD COLUMN m int;\nCREATE TABLE c (n int);\nALTER TABLE c ADD COLUMN m int;")
    assert TableLock("a", ACCESS_EXCLUSIVE, new=False) in found.locks
    assert {lock.mode for lock in found.locks if lock.new and lock.table == "c"} >= {ACCESS_EXCLUSIVE}
    assert found.blocked == {"a"}
    assert (found.rewritten, found.read) == (frozenset(), frozenset())


def test_strongest_lock_comes_last(last: Last) -> None:
    found = last("LOCK TABLE a IN SHARE UPDATE EXCLUSIVE MODE;\nINSERT INTO b SELECT n FROM a;\nDROP INDEX a_n_idx;")
    assert [lock.mode for lock in found.locks if lock.table == "a"] == [
        "ACCESS SHARE",
        "SHARE UPDATE EXCLUSIVE",
        ACCESS_EXCLUSIVE,
    ]
    assert strongest(found) == {"a": ACCESS_EXCLUSIVE, "b": "ROW EXCLUSIVE"}


def test_lock_on_dropped_table_is_reported(last: Last) -> None:
    assert last("DROP TABLE b;").blocked == {"b"}


@pytest.mark.parametrize(
    ("mode", "writers_wait", "readers_wait"),
    [
        ("SHARE UPDATE EXCLUSIVE", False, False),
        ("SHARE", True, False),
        ("SHARE ROW EXCLUSIVE", True, False),
        ("EXCLUSIVE", True, False),
        ("ACCESS EXCLUSIVE", True, True),
    ],
)
def test_lock_mode_determines_blocked_statements(last: Last, mode: str, writers_wait: bool, readers_wait: bool) -> None:
    (lock,) = last(f"LOCK TABLE a IN {mode} MODE;").locks
    assert (lock.mode, lock.writers_wait, lock.readers_wait) == (mode, writers_wait, readers_wait)


def test_rewritten_table_is_reported(last: Last) -> None:
    rewriting = last("ALTER TABLE a ALTER COLUMN n TYPE numeric;")
    assert rewriting.rewritten == {"a"}
    assert rewriting.blocked == {"a"}


def test_validated_check_reports_table_read(last: Last) -> None:
    found = last("ALTER TABLE a ADD CONSTRAINT a_check CHECK (n > 0);")
    assert (found.blocked, found.read, found.rewritten) == ({"a"}, {"a"}, frozenset())


# --- Outside of a transaction -------------------------------------------------------------------


def test_concurrent_index_build_waits_for_writers_and_blocks_none(last: Last) -> None:
    found = last("-- transactional: false\nCREATE INDEX CONCURRENTLY IF NOT EXISTS b_n_idx ON b (n);")
    assert strongest(found) == {"b": "SHARE UPDATE EXCLUSIVE"}
    assert found.waited_for_writers
    assert found.blocked == frozenset()


def test_writer_blocking_lock_is_found_outside_transaction(last: Last) -> None:
    found = last("-- transactional: false\nREINDEX TABLE a;")
    assert found.blocked == {"a"}
    assert found.waited_for_writers


def test_lock_compatible_with_writers_never_waits(last: Last) -> None:
    found = last("-- transactional: false\nDO $$ BEGIN UPDATE a SET n = 2; COMMIT; UPDATE a SET n = 3; END $$;")
    assert not found.waited_for_writers
    assert found.locks == ()


def test_migration_failing_on_copy_is_reported_without_hanging(last: Last) -> None:
    with pytest.raises(MigrationError, match=r'0003_last\.sql: relation "nowhere" does not exist'):
        last("-- transactional: false\nCREATE INDEX CONCURRENTLY IF NOT EXISTS i ON nowhere (n);")


# --- On a copy ----------------------------------------------------------------------------------


def test_copy_matches_database_and_database_is_only_read(empty_database: str, write: Write, three: Path) -> None:
    """A schema of the same database serves as the copy."""
    write("0004_d", "ALTER TABLE a ADD COLUMN m int;\nALTER TABLE c ADD COLUMN m int;")
    migrator = Migrator(empty_database, three)
    migrator.migrate(to="0002_b")
    with connected(empty_database) as conn:
        conn.execute("CREATE SCHEMA copy")
    copy = f"{empty_database} options=-csearch_path=copy"
    found = migrator.lock_report(copy)
    assert [(each.name, each.blocked) for each in found] == [("0003_c", frozenset()), ("0004_d", {"a", "c"})]
    assert tables(copy) == ["a", "b", "c"]
    assert tables(empty_database) == ["a", "b"]
    assert migrator.pending() == ["0003_c", "0004_d"]


def test_plan_without_pending_migrations_needs_no_copy(empty_database: str, three: Path) -> None:
    migrator = Migrator(empty_database, three)
    migrator.migrate()
    assert migrator.lock_report("host=127.0.0.1 port=1 dbname=nowhere") == []
