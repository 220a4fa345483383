"""Concurrent migrators, and sessions that use the changed tables: who waits for whom, how long, with which message."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from nexgent_db.errors import DatabaseUnavailable
from nexgent_db.migrations import MigrationError, MigrationLocked, Migrator, runner
from nexgent_db.migrations.files import LAST_LEGACY_MIGRATION
from tests.support.builders.migrating import Write, assert_same, catalog_of, connected, log_of, one, tables
from tests.support.oracles.legacy_schema import expected_history


@pytest.mark.parametrize("migrators", [2, 8])
def test_concurrent_migrators_apply_each_migration_once(empty_database: str, migrators: int) -> None:
    start = threading.Barrier(migrators)

    def migrate(_: int) -> list[str]:
        start.wait()
        return Migrator(empty_database).migrate(to=LAST_LEGACY_MIGRATION)

    with ThreadPoolExecutor(migrators) as pool:
        done = list(pool.map(migrate, range(migrators)))
    names = [name for names in done for name in names]
    assert len(names) == 18
    assert len(set(names)) == 18
    assert log_of(empty_database) == [f"apply {name}" for name in sorted(names)]
    assert_same(expected_history(), catalog_of(empty_database), "after them all")


def test_concurrent_migrators_without_lock_apply_nothing_twice(
    empty_database: str, three: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mark's unique key is the second guard: a session, and the lock with it, can be lost at any time."""
    Migrator(empty_database, three).migrate()  # yoyo's tables
    Migrator(empty_database, three).rollback(3)

    @contextmanager
    def unguarded(self: Migrator) -> Iterator[psycopg.Connection[Any]]:
        with connected(self._conninfo) as conn:
            yield conn

    monkeypatch.setattr(Migrator, "_migration_lock", unguarded)
    start = threading.Barrier(4)

    def migrate(_: int) -> list[str]:
        start.wait()
        try:
            return Migrator(empty_database, three).migrate()
        except MigrationError as e:
            assert "was applied by another session meanwhile" in str(e)  # noqa: PT017
            return []

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrate, range(4)))
    Migrator(empty_database, three).migrate()
    assert one(empty_database, "SELECT count(*) FROM a") == 1
    assert sorted(log_of(empty_database)[-3:]) == ["apply 0001_a", "apply 0002_b", "apply 0003_c"]


def test_lock_timeout_names_other_migrator(empty_database: str, three: Path) -> None:
    with Migrator(empty_database, three)._migration_lock() as held:
        began = time.monotonic()
        with pytest.raises(MigrationLocked, match=r"another migrator did not finish within 0\.3 s") as caught:
            Migrator(empty_database, three, lock_wait_s=0.3).migrate()
        assert 0.3 <= time.monotonic() - began < 5
        assert f"backend {held.info.backend_pid}, role {held.info.user}, nexgent-db migrate" in str(caught.value)
        assert ", since 20" in str(caught.value)
        assert Migrator(empty_database, three).pending() == ["0001_a", "0002_b", "0003_c"]  # reading needs no lock
    assert len(Migrator(empty_database, three, lock_wait_s=0.3).migrate()) == 3


def test_migrator_stops_after_losing_lock(empty_database: str, three: Path) -> None:
    def end_lock_session(name: str, done: int, total: int) -> None:
        if (name, done) == ("0001_a", 1):
            with connected(empty_database) as conn:
                conn.execute(
                    "SELECT pg_terminate_backend(l.pid, 5000) FROM pg_locks AS l WHERE l.locktype = 'advisory'"
                    " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                )

    with pytest.raises(DatabaseUnavailable, match="the connection ended"):
        Migrator(empty_database, three, on_step=end_lock_session).migrate()
    assert tables(empty_database) == ["a"]
    assert Migrator(empty_database, three).migrate() == ["0002_b", "0003_c"]


def test_lock_timeout_is_retried_up_to_limit(
    empty_database: str, write: Write, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_RETRY_PAUSE_S", (0.02, 0.02))
    write("0001_a", "CREATE TABLE a (n int);")
    write("0002_b", "CREATE TABLE b (n int);\nALTER TABLE a ADD COLUMN m int;")
    migrator = Migrator(empty_database, folder, lock_timeout_s=0.05, attempts=3)
    migrator.migrate(to="0001_a")
    with psycopg.connect(empty_database) as reader:
        reader.execute("SELECT * FROM a")
        with pytest.raises(MigrationLocked, match=r"0002_b\.sql:2: canceling statement due to lock timeout") as caught:
            migrator.migrate()
        assert str(caught.value).endswith("gave up after 3 attempts")
        assert tables(empty_database) == ["a"]

        patient = Migrator(empty_database, folder, lock_timeout_s=0.05, attempts=200)
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(patient.migrate)
            time.sleep(0.3)
            assert not done.done()
            reader.rollback()
            assert done.result(timeout=30) == ["0002_b"]
