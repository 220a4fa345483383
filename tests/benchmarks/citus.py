"""``CITUS_URL=… PLAIN_URL=… python -m tests.benchmarks.citus``: calls on Citus beside plain PostgreSQL, and throughput.

CITUS_URL names the coordinator of two workers, PLAIN_URL an empty database of a server of the same version. A cell is
made on each worker, and dropped at the end. Latency: medians of calls in turns, straight to the cell's node, over the
coordinator, and to the plain server. Throughput: deposits a second of four threads, straight to the nodes, into two
cells of one worker, then into two cells of two workers.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from uuid import uuid4

import psycopg

from nexgent_db import Database
from nexgent_db.migrations import Cells, Migrator
from nexgent_db.migrations.citus_nodes import groups
from nexgent_db.settings import Settings, with_schema
from tests.benchmarks.result import interleaved
from tests.integration.citus.conftest import at
from tests.integration.sync.factories import Owner, funded_owner

_ROUNDS = 30
_CALLS = 10
_CLIENTS = 4
_SECONDS = 10.0


def main() -> None:
    coordinator = Settings.from_url(os.environ["CITUS_URL"]).conninfo
    plain = Settings.from_url(os.environ["PLAIN_URL"]).conninfo
    Migrator(plain).migrate()
    cells = Cells(coordinator)
    names = [f"bench_{uuid4().hex[:6]}_{number}" for number in range(2)]
    try:
        for name in names:
            cells.create(name)
        with psycopg.connect(coordinator) as connection:
            first, second = sorted(groups(connection))[:2]
        for name in names:
            cells.move(name, first)
        node = with_schema(at(coordinator, first), names[0])
        latencies({"plain": plain, "node": node, "coordinator": with_schema(coordinator, names[0])})
        for places in ([first, first], [first, second]):
            cells.move(names[1], places[1])
            urls = [with_schema(at(coordinator, place), name) for name, place in zip(names, places, strict=True)]
            print(f"{len(set(places))} workers: {throughput(urls):.0f} deposits a second")
    finally:
        for name in set(names) & set(cells.names()):
            cells.drop(name, with_data=True)


def latencies(urls: dict[str, str]) -> None:
    """Print the median of each call, in milliseconds, and as a multiple of that on plain PostgreSQL."""
    with ExitStack() as stack:
        opened = {
            name: stack.enter_context(Database(replace(Settings.from_url(url), pool_max_size=1)))
            for name, url in urls.items()
        }
        by_database = {name: _calls(db, funded_owner(db)) for name, db in opened.items()}
        calls = {what: {name: each[what] for name, each in by_database.items()} for what in by_database["plain"]}
        for what, contestants in calls.items():
            taken = interleaved(contestants, rounds=_ROUNDS, calls=_CALLS)
            medians = {name: 1000 * statistics.median(each) for name, each in taken.items()}
            print(what, *(f"{name} {ms:.2f} ms ({ms / medians['plain']:.1f}x)" for name, ms in medians.items()))


def _calls(db: Database, owner: Owner) -> dict[str, Callable[[], object]]:
    return {
        "find a user": lambda: db.users.find_by_id(owner.user_id),
        "deposit": lambda: db.trades.deposit(owner.deposit("1")),
        "buy": lambda: db.trades.buy(owner.buy("0.001", "1", f"T{uuid4().hex}")),
    }


def throughput(urls: Sequence[str]) -> float:
    """Deposits a second of the threads, each of which trades in every cell in turn."""
    with ExitStack() as stack:
        opened = [
            stack.enter_context(Database(replace(Settings.from_url(url), pool_max_size=_CLIENTS))) for url in urls
        ]
        owners = [[funded_owner(db) for db in opened] for _ in range(_CLIENTS)]
        until = time.monotonic() + _SECONDS

        def trade(number: int) -> int:
            done = 0
            while time.monotonic() < until:
                turn = done % len(opened)
                opened[turn].trades.deposit(owners[number][turn].deposit("1"))
                done += 1
            return done

        with ThreadPoolExecutor(_CLIENTS) as threads:
            return sum(threads.map(trade, range(_CLIENTS))) / _SECONDS


if __name__ == "__main__":
    main()
