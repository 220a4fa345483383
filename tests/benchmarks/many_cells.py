"""Hundreds of cells, migrated in parallel within bounds; one of them cannot be.

``python -m tests.benchmarks.many_cells --cells 200 --jobs 4`` on an embedded server. Fails when a cell is not as it
must be.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections import Counter

import psycopg

from nexgent_db.embedded import postgres
from nexgent_db.migrations import Cells, Migrator
from nexgent_db.migrations.cells import MARK
from nexgent_db.settings import Settings


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--cells", type=int, default=200)
    arguments.add_argument("--jobs", type=int, default=4)
    given = arguments.parse_args()
    names = [f"cell_{number:03}" for number in range(given.cells)]
    broken = names[given.cells // 2]
    with postgres() as server:
        url = Settings.from_url(server).conninfo
        Migrator(url).migrate()
        with psycopg.connect(url, autocommit=True) as connection:
            for name in names:
                connection.execute(f"CREATE SCHEMA {name}".encode())
                connection.execute(f"COMMENT ON SCHEMA {name} IS '{MARK}'".encode())
            connection.execute(f"CREATE TABLE {broken}.users (id integer)".encode())
        cells = Cells(url, jobs=given.jobs)
        print(states(cells))
        sessions = Sessions(url)
        with sessions:
            started = time.perf_counter()
            results = cells.migrate()
            taken = time.perf_counter() - started
        failed = [result for result in results if result.error is not None]
        print(f"{given.cells} cells, {given.jobs} at a time: {taken:.0f} s, at most {sessions.most} sessions")
        print(f"failed: {', '.join(f'{each.name}: {each.error}' for each in failed)}")
        print(states(cells))
        assert [each.name for each in failed] == [broken]
        assert sessions.most <= 4 * given.jobs + 1
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"DROP TABLE {broken}.users".encode())
        again = [result.name for result in cells.migrate()]
        print(f"run again: {', '.join(again)}")
        print(states(cells))
        assert again == [broken]
        assert {cell.state for cell in cells.statuses(names)} == {"up to date"}


def states(cells: Cells) -> str:
    """How many cells are in which state."""
    return ", ".join(f"{count} {state}" for state, count in Counter(cell.state for cell in cells.statuses()).items())


class Sessions:
    """How many other sessions the server has, at most, during the block."""

    def __init__(self, url: str) -> None:
        self.most = 0
        self._url = url
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        query = (
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._over.wait(0.05):
                row = connection.execute(query).fetchone()
                assert row is not None
                self.most = max(self.most, row[0])

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


if __name__ == "__main__":
    main()
