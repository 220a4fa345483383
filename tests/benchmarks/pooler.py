"""``python -m tests.benchmarks.pooler``: what PgBouncer in transaction mode costs, beside a direct connection.

Ways take turns call by call, on one connection each, so that a busy machine slows all alike; the ratios are of medians.
``unprepared`` is a direct connection without prepared statements, as older poolers allow none. ``bare`` is the driver
alone through the pooler, with nothing set for each transaction: the difference to it is what this package adds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Final

import psycopg
from rich.console import Console
from rich.table import Table

from nexgent_db import Database, Settings
from tests.benchmarks.server import durable_server
from tests.integration.sync.factories import Owner, new_owner
from tests.support.servers.pgbouncer import keeps_statements, pgbouncer, pgbouncer_program

ROUNDS: Final = 500
_BARE: Final = "bare driver, pooled"


def main() -> None:
    """Measure and print."""
    if pgbouncer_program() is None:
        raise SystemExit("no PgBouncer: apt-get install pgbouncer")
    with durable_server() as server, server.new_database() as url, ExitStack() as stack:
        (pooled,) = stack.enter_context(pgbouncer([url], server_sessions=4))
        direct = replace(Settings.from_url(url, {}), pool_max_size=1)
        ways = {
            "direct": direct,
            "direct, unprepared": replace(direct, prepare_threshold=None),
            "pooled": replace(direct, conninfo=pooled),
        }
        if keeps_statements():
            (keeping,) = stack.enter_context(pgbouncer([url], server_sessions=4, kept_statements=200))
            ways["pooled, prepared"] = replace(direct, conninfo=keeping)
        databases = {name: stack.enter_context(Database(settings)) for name, settings in ways.items()}
        bare = stack.enter_context(psycopg.connect(pooled, autocommit=True, prepare_threshold=None))
        owner = new_owner(databases["direct"])
        for _ in range(2):
            databases["direct"].trades.deposit(owner.deposit("1000000"))
        table = Table(title=f"median of {ROUNDS} calls, ms (and as a ratio to direct)")
        for column in ("operation", *databases, _BARE):
            table.add_column(column)
        for name, calls in _operations(databases, owner, bare):
            medians = _medians(calls)
            table.add_row(
                name, *(f"{ms:.3f} ({ms / medians['direct']:.2f}x)" for ms in medians.values()),
            )  # fmt: skip
    Console(width=150).print(table)


def _operations(
    databases: dict[str, Database], owner: Owner, bare: psycopg.Connection[tuple[object, ...]]
) -> Iterator[tuple[str, dict[str, Callable[[], object]]]]:
    def read(db: Database) -> Callable[[], object]:
        return lambda: db.users.find_by_id(owner.user_id)

    def deposit(db: Database) -> Callable[[], object]:
        return lambda: db.trades.deposit(owner.deposit("1"))

    def transaction(db: Database) -> Callable[[], object]:
        def run() -> None:
            with db.transaction() as tx:
                tx.users.find_by_id(owner.user_id)
                tx.trades.deposit(owner.deposit("1"))

        return run

    columns = "id, email, created_at, failed_login_attempts, locked_until"
    yield (
        "a read by key",
        {
            **{name: read(db) for name, db in databases.items()},
            _BARE: lambda: bare.execute(f"SELECT {columns} FROM users WHERE id = %s", [owner.user_id]).fetchone(),
        },
    )
    yield "a deposit", {name: deposit(db) for name, db in databases.items()}
    yield "a transaction of both", {name: transaction(db) for name, db in databases.items()}


def _medians(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """In milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(ROUNDS + 20):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            if number >= 20:
                times[name].append(time.perf_counter() - started)
    return {name: 1000 * statistics.median(each) for name, each in times.items()}


if __name__ == "__main__":
    main()
