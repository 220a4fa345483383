"""Cells beside one schema: latency of calls and trades per second, on one PostgreSQL or on Citus.

``python -m tests.benchmarks.cells`` on an embedded server; with DATABASE_URL, or CITUS_URL, on that one. Cells are
made, and dropped at the end; the database's own schema must have all migrations, or gets them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from uuid import uuid4

from nexgent_db import Database
from nexgent_db.embedded import postgres
from nexgent_db.migrations import Cells, Migrator
from nexgent_db.settings import Settings, with_schema
from tests.integration.sync.factories import Owner, funded_owner

REPEATS = 300


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--cells", type=int, default=10)
    arguments.add_argument("--clients", type=int, default=8)
    arguments.add_argument("--seconds", type=float, default=5.0)
    arguments.add_argument("--nodes", default="", help="of Citus, host:port with commas: cells go to them in turn")
    arguments.add_argument("--only-throughput", action="store_true")
    given = arguments.parse_args()
    with server() as url, made(url, given.cells, [node for node in given.nodes.split(",") if node]) as names:
        if not given.only_throughput:
            latencies(url, names)
        throughput(url, names, given.clients, given.seconds)


@contextmanager
def server() -> Iterator[str]:
    if url := os.environ.get("CITUS_URL") or os.environ.get("DATABASE_URL"):
        yield Settings.from_url(url).conninfo
        return
    with postgres() as url:
        yield Settings.from_url(url).conninfo


@contextmanager
def made(url: str, count: int, nodes: Sequence[str]) -> Iterator[list[str]]:
    Migrator(url).migrate()
    cells = Cells(url)
    names = [f"bench_{uuid4().hex[:6]}_{number}" for number in range(count)]
    started = time.perf_counter()
    try:
        for number, name in enumerate(names):
            cells.create(name, nodes[number % len(nodes)] if nodes else None)
        print(f"{count} cells made, {(time.perf_counter() - started) / count:.2f} s each")
        for cell in cells.statuses(names):
            print(f"  {cell.name}: {cell.state} {cell.node or ''}")
        yield names
    finally:
        for name in set(names) & set(cells.names()):
            cells.drop(name, with_data=True)


def latencies(url: str, names: Sequence[str]) -> None:
    one = replace(Settings.from_url(url), pool_max_size=1)
    with Database(one) as whole, Database(with_schema(url, names[0])) as alone:
        cells = [whole.for_schema(name) for name in names]
        shown("one schema", whole, [whole])
        shown("?schema=", alone, [alone])
        shown("for_schema, one cell", cells[0], cells[:1])
        shown(f"for_schema, {len(names)} cells in turn", cells[0], cells)


def shown(title: str, first: Database, databases: Sequence[Database]) -> None:
    del first
    owners = [funded_owner(db) for db in databases]
    find = median_us(lambda n: databases[n].users.find_by_id(owners[n].user_id), len(databases))
    deposit = median_us(lambda n: databases[n].trades.deposit(owners[n].deposit("1")), len(databases))

    def in_transaction(number: int) -> object:
        with databases[number].transaction() as tx:
            return tx.users.find_by_id(owners[number].user_id)

    transaction = median_us(in_transaction, len(databases))
    buy = median_us(lambda n: databases[n].trades.buy(owners[n].buy("0.001", "1", f"T{uuid4().hex}")), len(databases))
    figures = {"find": find, "deposit": deposit, "buy": buy, "transaction": transaction}
    print(f"{title:34} {'   '.join(f'{name} {us:6.0f} us' for name, us in figures.items())}")


def median_us(operation: Callable[[int], object], count: int) -> float:
    for number in range(count):
        for _ in range(4):
            operation(number)
    taken = list[float]()
    for repeat in range(REPEATS):
        started = time.perf_counter()
        operation(repeat % count)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken) * 1e6


def throughput(url: str, names: Sequence[str], clients: int, seconds: float) -> None:
    """Deposits per second of this many threads, each with wallets of its own in every cell."""
    with Database(replace(Settings.from_url(url), pool_max_size=clients)) as whole:
        cells = [whole.for_schema(name) for name in names]
        owners = [[funded_owner(db) for db in cells] for _ in range(clients)]
        until = time.monotonic() + seconds

        def trade(mine: Sequence[Owner]) -> int:
            done = 0
            while time.monotonic() < until:
                number = done % len(cells)
                cells[number].trades.deposit(mine[number].deposit("1"))
                done += 1
            return done

        with ThreadPoolExecutor(clients) as threads:
            total = sum(threads.map(trade, owners))
        print(f"{clients} clients, {len(names)} cells: {total / seconds:.0f} deposits/s")


if __name__ == "__main__":
    main()
