"""The migrator killed at any moment: a migration is applied and marked, or neither."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nexgent_db.migrations import Migrator
from nexgent_db.testing.databases import Databases
from tests.support.builders.migrating import (
    CHECKOUT,
    Write,
    applied,
    assert_same,
    catalog_of,
    connected,
    log_of,
    one,
    tables,
)


@pytest.fixture
def another_database(nexgent_databases: Databases) -> Iterator[str]:
    """As empty as ``empty_database``."""
    with nexgent_databases.empty() as url:
        yield url


class KillableMigrator:
    """A migrator in a process of its own that kills itself after a given exchange with the server."""

    def __init__(self, conninfo: str, directory: Path, operation: str = "migrate") -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.faults.killable_migrator", conninfo, str(directory), operation],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=CHECKOUT,
        )

    def killed_at(self, moment: int) -> bool:
        """Runs it; returns whether it reached that exchange and was killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(moment, file=self._process.stdin, flush=True)
        status = int(self._process.stdout.readline())
        assert status in (0, -signal.SIGKILL)
        return status != 0

    def __enter__(self) -> KillableMigrator:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def delete_all_objects(conninfo: str) -> None:
    with connected(conninfo) as conn:
        conn.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")


def settle(conninfo: str) -> None:
    """Waits until the server has ended the killed process's sessions."""
    with connected(conninfo) as conn:
        deadline = time.monotonic() + 30
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        while (conn.execute(query).fetchone() or (0,))[0]:
            assert time.monotonic() < deadline, "sessions of a killed process do not end"
            time.sleep(0.005)


def test_killed_migration_is_applied_and_marked_or_neither(empty_database: str, three: Path) -> None:
    migrator = Migrator(empty_database, three)
    expected = {0: [], 1: ["a"], 2: ["a", "b"], 3: ["a", "b", "c"]}
    seen = set()
    with KillableMigrator(empty_database, three) as killable:
        moment = 1
        while killable.killed_at(moment):
            settle(empty_database)
            marked = len(applied(migrator))
            seen.add(marked)
            assert tables(empty_database) == expected[marked], f"killed at moment {moment}"
            migrator.migrate()
            assert tables(empty_database) == expected[3], f"rerun after a kill at moment {moment}"
            assert one(empty_database, "SELECT count(*) FROM a") == 1
            assert log_of(empty_database) == ["apply 0001_a", "apply 0002_b", "apply 0003_c"]
            delete_all_objects(empty_database)
            moment += 1
    assert seen == {0, 1, 2, 3}
    assert moment > 30  # no exchange is overlooked: some ten a migration


def test_killed_rollback_is_done_and_unmarked_or_neither(empty_database: str, three: Path) -> None:
    migrator = Migrator(empty_database, three)
    migrator.migrate()
    expected = {0: [], 1: ["a"], 2: ["a", "b"], 3: ["a", "b", "c"]}
    seen = set()
    with KillableMigrator(empty_database, three, "rollback") as killable:
        moment = 1
        while killable.killed_at(moment):
            settle(empty_database)
            marked = len(applied(migrator))
            seen.add(marked)
            assert tables(empty_database) == expected[marked], f"killed at moment {moment}"
            migrator.migrate()
            moment += 1
    assert seen == {0, 1, 2, 3}


def test_all_migrations_complete_after_repeated_kills(empty_database: str, another_database: str) -> None:
    migrator, undisturbed = Migrator(empty_database), Migrator(another_database)
    names = migrator.pending()
    kills = 0
    with KillableMigrator(empty_database, migrator.directory) as killable:
        while killable.killed_at(41 + 2 * kills):  # each time it goes on from where the last one was killed
            kills += 1
            settle(empty_database)
            done = len(applied(migrator))
            found = catalog_of(empty_database)
            if done:
                undisturbed.migrate(to=names[done - 1])
            expected = catalog_of(another_database)
            # What runs outside of a transaction may have been done and not been marked: it is repeated then.
            if done < len(names) and not transactional(migrator, names[done]) and found != expected:
                undisturbed.migrate(to=names[done])
                expected = catalog_of(another_database)
            assert_same(expected, found, f"after kill {kills}")
    assert kills >= 3
    undisturbed.migrate()
    assert_same(catalog_of(another_database), catalog_of(empty_database), "at the end")
    assert log_of(empty_database) == [f"apply {name}" for name in names]


def transactional(migrator: Migrator, name: str) -> bool:
    """Whether the file and its mark are one transaction."""
    return not (migrator.directory / f"{name}.sql").read_text().startswith("-- transactional: false")


def test_migration_killed_inside_file_leaves_nothing(empty_database: str, write: Write, three: Path) -> None:
    write("0004_slow", "CREATE TABLE slow (n int);\nSELECT pg_sleep(60);")
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys, pathlib; from nexgent_db.migrations import Migrator as M;"
         "M(sys.argv[1], pathlib.Path(sys.argv[2])).migrate()", empty_database, str(three)],
        cwd=CHECKOUT,
    )  # fmt: skip
    try:
        with connected(empty_database) as conn:
            deadline = time.monotonic() + 30
            asleep = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
            while not conn.execute(asleep).fetchone():
                assert time.monotonic() < deadline
                time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    settle(empty_database)  # well before the 60 s: the server looks whether its client is still there
    assert tables(empty_database) == ["a", "b", "c"]
    assert Migrator(empty_database, three).pending() == ["0004_slow"]
