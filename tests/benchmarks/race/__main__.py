"""``python -m tests.benchmarks.race``: this package beside other clients, on one durable embedded server.

The exit code is 1 when a target is missed, 2 when no workload has a given name. Only the ratios are reliable.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from nexgent_db.sync.repositories.trades import Trades
from tests.benchmarks.race import alchemy, drivers, others, pgbench, reads, trades
from tests.benchmarks.race.arena import Scale, library, market
from tests.benchmarks.race.chart import chart
from tests.benchmarks.race.contest import Workload, contest
from tests.benchmarks.race.report import Race, machine_of, show
from tests.benchmarks.race.targets import TARGETS, Target, judge
from tests.benchmarks.server import Server, durable_server

NAMES: Final = (*reads.NAMES, *others.CACHED, *trades.NAMES, others.BULK, others.REPLAY)
"""All workloads, in the order in which they are run."""


def main(arguments: Sequence[str] | None = None, targets: Sequence[Target] = TARGETS) -> int:
    """Run the race, print it, and judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.race", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the tables")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="workloads whose names begin so")
    parser.add_argument("--rounds", type=int, default=9, help="rounds of which the median counts (default: 9)")
    parser.add_argument("--chart", type=Path, metavar="FILE.svg", help="write a chart as well")
    parser.add_argument("--scale", type=float, default=1.0, help="part of the rows and calls, to see that it runs")
    parser.add_argument("--list", action="store_true", help="print the names of the workloads")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or not 0 < options.scale <= 1:
        parser.error("--rounds begins with 1, --scale is above 0 and at most 1")
    names = [name for name in NAMES if not options.only or name.startswith(tuple(options.only))]
    if options.list:
        print("\n".join(names))
        return 0
    if not names:
        print(f"no workload begins with {' or '.join(options.only)}; --list prints all", file=sys.stderr)
        return 2
    race = run(names, options.rounds, Scale(options.scale), targets)
    if options.chart is not None:
        options.chart.write_text(chart(race), encoding="utf-8")
    if options.json:
        print(json.dumps(race.document()))
    else:
        show(race)
    for verdict in race.missed:
        print(f"missed: {verdict.target.name}: {verdict.ratio:.2f}, {verdict.target.limit}", file=sys.stderr)
    return 1 if race.missed else 0


def run(names: Sequence[str], rounds: int, scale: Scale, targets: Sequence[Target] = TARGETS) -> Race:
    """The figures of these workloads."""
    left_out: list[str] = []

    def show_progress(number: int, workload: Workload) -> None:
        print(f"  round {number + 1} of {rounds}: {workload.name}", file=sys.stderr)

    with durable_server() as server, ExitStack() as around:
        workloads = list(_workloads(server, scale, frozenset(names), around, left_out))
        assert {workload.name for workload in workloads} <= set(NAMES)
        measured = contest([workload for workload in workloads if workload.name in names], rounds, show_progress)
        completed = min((len(one.rounds) for one in measured), default=0)
        return Race(machine_of(server.url), completed, measured, list(judge(measured, targets)), left_out)


def _workloads(
    server: Server, scale: Scale, names: frozenset[str], around: ExitStack, left_out: list[str]
) -> Iterator[Workload]:
    """At least those of the names: the databases are made that they need."""
    redis = around.enter_context(others.redis_url())
    left_out += _missing(redis)
    if names.intersection(reads.NAMES + others.CACHED):
        reading = around.enter_context(library(server, scale))
        yield from reads.workloads(reading, around)
        if redis is not None:
            yield from others.cached_reads(reading, redis)
    if names.intersection((*trades.NAMES, others.BULK)):
        trading = around.enter_context(market(server, scale))
        yield from trades.workloads(trading, redis, around)
        yield others.bulk(trading)
    if others.REPLAY in names and redis is not None and others.HISTORY.is_file():
        yield others.replay_history(server, redis, scale)


def _missing(redis: str | None) -> Iterator[str]:
    """What cannot take part here, and why."""
    peers = {
        "asyncpg": drivers.HAS_ASYNCPG,
        "SQLAlchemy": alchemy.HAS_SQLALCHEMY,
        "aiosql": drivers.HAS_AIOSQL,
        "psycopg-pool": drivers.HAS_POOL,
    }
    for name, there in peers.items():
        if not there:
            yield f"{name}: not installed; `make race` installs it"
    if pgbench.program() is None:
        yield "pgbench: neither beside the embedded server nor on PATH"
    if not hasattr(Trades, "execute_many"):
        yield "execute_many: the trades have no such method yet"
    if redis is None:
        yield "cached reads, a buy with the cache, the replay: no Valkey or Redis server to start"
    elif not others.HISTORY.is_file():
        yield "the replay: the real history is not there"


if __name__ == "__main__":
    sys.exit(main())
