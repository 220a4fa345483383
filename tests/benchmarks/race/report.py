"""The report of a race: a table, a JSON document, and what machine it was."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console
from rich.table import Table

from tests.benchmarks.race.contest import Measured
from tests.benchmarks.race.targets import Verdict


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the race was run, without a name by which the machine could be found."""

    date: str
    processor: str
    cores: int
    postgres: str
    python: str
    load: float
    """The average number of processes that ran or wanted to, over the last 15 minutes; the race itself makes 1 to 2."""

    def __str__(self) -> str:
        cores = f"{self.cores} core{'s' if self.cores > 1 else ''}"
        versions = f"PostgreSQL {self.postgres}, Python {self.python}"
        return f"{self.date}, {self.processor}, {cores}, load {self.load:.0f}, {versions}"


@dataclass(frozen=True, slots=True)
class Race:
    """All figures of a run."""

    machine: Machine
    rounds: int
    measured: Sequence[Measured]
    verdicts: Sequence[Verdict]
    left_out: Sequence[str]

    @property
    def missed(self) -> list[Verdict]:
        """The targets that were missed."""
        return [verdict for verdict in self.verdicts if not verdict.met]

    def document(self) -> dict[str, Any]:
        """For ``--json``. Times are seconds of one unit: a call, or a row of a stream, a batch or a bulk."""
        return {
            "date": self.machine.date,
            "machine": {
                "processor": self.machine.processor,
                "cores": self.machine.cores,
                "postgres": self.machine.postgres,
                "python": self.machine.python,
                "load": self.machine.load,
            },
            "rounds": self.rounds,
            "results": [
                {
                    "workload": one.workload,
                    "contender": one.contender,
                    "seconds": one.seconds,
                    "rounds": one.rounds,
                }
                for one in self.measured
            ],
            "targets": [
                {
                    "target": verdict.target.name,
                    "at_most": verdict.target.at_most,
                    "at_least": verdict.target.at_least,
                    "ratio": verdict.ratio,
                    "met": verdict.met,
                }
                for verdict in self.verdicts
            ],
            "left_out": list(self.left_out),
        }


def machine_of(url: str) -> Machine:
    """This machine, and the server at the URL."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SHOW server_version").fetchone()
    assert row is not None
    return Machine(
        date=datetime.now(UTC).date().isoformat(),
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        postgres=str(row[0]).split()[0],
        python=platform.python_version(),
        load=round(os.getloadavg()[2], 1),
    )


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def show(race: Race) -> None:
    """Print two tables: every contender of every workload, and the targets."""
    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(_results(race))
    if race.verdicts:
        console.print(_targets(race))
    for line in race.left_out:
        console.print(f"left out: {line}", highlight=False)


def _results(race: Race) -> Table:
    table = Table(title=f"Median of {race.rounds} interleaved rounds\n{race.machine}", title_justify="left")
    table.add_column("workload")
    table.add_column("contender")
    for column in ("time", "a second", "times ours"):
        table.add_column(column, justify="right")
    before = ""
    for one in race.measured:
        if one.workload != before and before:
            table.add_section()
        ours = baseline_of(race.measured, one.workload)
        table.add_row(
            "" if one.workload == before else one.workload,
            one.contender,
            duration(one.seconds),
            f"{1 / one.seconds:,.0f}",
            f"{one.seconds / ours:.2f}",
        )
        before = one.workload
    return table


def _targets(race: Race) -> Table:
    table = Table(title="Targets", title_justify="left")
    table.add_column("target")
    for column in ("limit", "ratio", "met"):
        table.add_column(column, justify="right")
    for verdict in race.verdicts:
        table.add_row(
            verdict.target.name,
            verdict.target.limit,
            f"{verdict.ratio:.2f}",
            "met" if verdict.met else "[bold red]missed[/]",
        )
    return table


def baseline_of(measured: Sequence[Measured], workload: str) -> float:
    """Our seconds in this workload: of the synchronous client, or of the first contender where it has no such."""
    of_workload = [one for one in measured if one.workload == workload]
    return next((one for one in of_workload if one.contender == "ours"), of_workload[0]).seconds


def duration(seconds: float) -> str:
    """With the unit that suits it."""
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.2f} {unit}"
    return f"{seconds * 1e6:.1f} µs" if seconds < 1e-4 else f"{seconds * 1e6:.0f} µs"
