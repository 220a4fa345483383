"""``python -m tests.benchmarks [--json]``: measure on one durable embedded server; exit code 1 if a target is missed.

Where something reads worse than it is, look whether the machine is busy: only ratios can be trusted then.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo
from rich.console import Console
from rich.table import Table

from nexgent_db.embedded import postgres
from nexgent_db.migrations import Migrator
from tests.benchmarks import buys, caches, reads, replays, trips
from tests.benchmarks.result import Result

_TEMPLATE = "bench_template"


def main() -> int:
    """Measure, print, and judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON array instead of the table")
    as_json = parser.parse_args().json
    results: list[Result] = []
    with _server() as server:
        for result in _measure(server):
            results.append(result)
            print(f"  {result.name}", file=sys.stderr)
    if as_json:
        print(json.dumps([{**asdict(result), "ratio": result.ratio, "met": result.met} for result in results]))
    else:
        _show(results)
    missed = [result.name for result in results if result.met is False]
    if missed:
        print(f"missed: {'; '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


def _measure(server: _Server) -> Iterator[Result]:
    for part in (trips.run, reads.run, buys.run, caches.run):
        with server.new_database() as url:
            yield from part(url)
    if replays.HISTORY.is_file():
        yield from replays.run(server.new_database)
    else:
        print(f"no replay: {replays.HISTORY} is not there", file=sys.stderr)


# --- The server ---------------------------------------------------------------------------------


class _Server:
    """A server with a migrated database to copy."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._numbers = itertools.count(1)
        self._execute(f"CREATE DATABASE {_TEMPLATE}")
        Migrator(make_conninfo(url, dbname=_TEMPLATE)).migrate()

    @contextmanager
    def new_database(self) -> Iterator[str]:
        """A migrated database of its own for each measurement, so that none is slowed by what another left."""
        name = f"bench_{next(self._numbers)}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
        try:
            yield make_conninfo(self._url, dbname=name)
        finally:
            self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(statement.encode())


@contextmanager
def _server() -> Iterator[_Server]:
    root = Path(tempfile.mkdtemp(prefix="nexgent-bench-", dir="/tmp"))
    try:
        if os.geteuid() == 0:
            root.chmod(0o711)  # the server runs as "nobody"
        with postgres(root, durable=True) as url:
            yield _Server(url)
    finally:
        shutil.rmtree(root, ignore_errors=True)


# --- The report ---------------------------------------------------------------------------------


def _show(results: Iterable[Result]) -> None:
    table = Table(title="Median of interleaved runs, one server, fsync on")
    table.add_column("measurement")
    for column in ("ours", "baseline", "ratio", "target", "met"):
        table.add_column(column, justify="right")
    for result in results:
        table.add_row(
            f"{result.name} ({result.note})" if result.note else result.name,
            _figure(result.ours, result.unit),
            "" if result.baseline is None else _figure(result.baseline, result.unit),
            "" if result.ratio is None else f"{result.ratio:.2f}",
            _target(result),
            {True: "yes", False: "NO", None: ""}[result.met],
        )
    # A log is as wide as the table needs.
    Console(width=None if sys.stdout.isatty() else 100).print(table)


def _figure(number: float, unit: str) -> str:
    text = f"{number:.2f}" if number != int(number) and number < 100 else f"{number:,.0f}"
    return f"{text} {unit}".rstrip()


def _target(result: Result) -> str:
    unit = result.unit if result.ratio is None else "x"
    if result.at_most is not None:
        return f"≤ {result.at_most:g} {unit}".rstrip()
    if result.at_least is not None:
        return f"≥ {result.at_least:g} {unit}".rstrip()
    return ""


if __name__ == "__main__":
    sys.exit(main())
