"""``python -m tests.benchmarks [--json]``: figures of this package alone; exit code 1 if a limit is not kept.

Round trips per operation, trades while Redis is dead, the speed and memory of a replay. How it compares with other
clients is ``tests.benchmarks.race``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from tests.benchmarks import caches, replays, trips
from tests.benchmarks.result import Result
from tests.benchmarks.server import Server, durable_server


def main() -> int:
    """Measure, print, and judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON array instead of the table")
    as_json = parser.parse_args().json
    results: list[Result] = []
    with durable_server() as server:
        for result in _measure(server):
            results.append(result)
            print(f"  {result.name}", file=sys.stderr)
    if as_json:
        print(json.dumps([{**asdict(result), "met": result.met} for result in results]))
    else:
        _show(results)
    missed = [result.name for result in results if result.met is False]
    if missed:
        print(f"missed: {'; '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


def _measure(server: Server) -> Iterator[Result]:
    for part in (trips.run, caches.run):
        with server.new_database() as url:
            yield from part(url)
    if replays.HISTORY.is_file():
        yield from replays.run(server.new_database)
    else:
        print(f"no replay: {replays.HISTORY} is not there", file=sys.stderr)


# --- The report ---------------------------------------------------------------------------------


def _show(results: Iterable[Result]) -> None:
    table = Table(title="One server, fsync on")
    table.add_column("measurement")
    for column in ("figure", "limit", "met"):
        table.add_column(column, justify="right")
    for result in results:
        table.add_row(
            f"{result.name} ({result.note})" if result.note else result.name,
            _figure(result.figure, result.unit),
            _limit(result),
            {True: "yes", False: "NO", None: ""}[result.met],
        )
    # A log is as wide as the table needs.
    Console(width=None if sys.stdout.isatty() else 100).print(table)


def _figure(number: float, unit: str) -> str:
    text = f"{number:.2f}" if number != int(number) and number < 100 else f"{number:,.0f}"
    return f"{text} {unit}".rstrip()


def _limit(result: Result) -> str:
    if result.at_most is not None:
        return f"≤ {result.at_most:g} {result.unit}".rstrip()
    if result.at_least is not None:
        return f"≥ {result.at_least:g} {result.unit}".rstrip()
    return ""


if __name__ == "__main__":
    sys.exit(main())
