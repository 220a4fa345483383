"""``python -m tests.benchmarks.upgrade [--transactions N] [--swaps N]``: migrate a large database while clients trade.

With ``--reader-s 2`` a report runs beside them and locks one table after the other for two seconds each. That is longer
than a migration waits for a table, so it is rolled back and tried again.

Makes a database after the legacy migrations in a throw-away embedded server, applies every migration of ours, and
prints for each how long it took and how long a client's statement waited meanwhile. Exit code 1 when one waited a
second or longer in a migration that is not listed as rewriting, when a client met an error, or when a row has not
survived.
"""

from __future__ import annotations

import argparse
import sys
import time
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

from rich.console import Console
from rich.table import Table

from nexgent_db.embedded import postgres
from nexgent_db.migrations import Migrator
from tests.support.builders.many_rows import REWRITING, TABLES, Size, digest, fill, user_id
from tests.support.faults.old_client import LongReader, OldClients, Sent

_LIMIT_S: Final = 1.0
_CALM_S: Final = 5.0
_CLIENTS_USER: Final = 1


@dataclass(slots=True)
class Step:
    """A migration under way, or the calm before the first one."""

    name: str
    began: float
    took_s: float = 0.0
    attempts: int = 1
    statements: int = 0
    slowest: Sent | None = None

    @property
    def waited_s(self) -> float:
        """How long the client's slowest statement took."""
        return self.slowest.waited_s if self.slowest else 0.0


@dataclass(slots=True)
class Upgrade:
    """The result: the steps in order, and the faults (empty lists in a correct upgrade)."""

    steps: list[Step]
    errors: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def too_long(self) -> list[Step]:
        """The migrations in which a statement waited for the limit or longer, the rewriting ones among them."""
        return [step for step in self.steps if step.waited_s >= _LIMIT_S]


def upgrade(url: str, *, clients: int, calm_s: float, reader_s: float) -> Upgrade:
    """Migrates a filled database to the newest version while this many clients trade, and a report reads."""
    before = digest(url, apart_from_user=_CLIENTS_USER)
    steps = [Step("(before the first migration)", time.monotonic())]

    def on_step(name: str, done: int, total: int) -> None:
        if steps[-1].name == name:
            steps[-1].took_s = time.monotonic() - steps[-1].began
            print(f"  {done:>3} of {total}  {steps[-1].took_s:8.2f} s  {name}", file=sys.stderr)
        else:
            steps.append(Step(name, time.monotonic()))

    def on_message(name: str, text: str) -> None:
        if "; attempt " in text:
            steps[-1].attempts += 1
            print(f"             {name}: {text}", file=sys.stderr)

    with ExitStack() as stack:
        running = stack.enter_context(OldClients(url, user_id(_CLIENTS_USER), connections=clients))
        readers = [stack.enter_context(LongReader(url, TABLES, seconds=reader_s))] if reader_s else []
        time.sleep(calm_s)
        steps[0].took_s = calm_s
        Migrator(url, on_step=on_step, on_message=on_message).migrate()
    _attribute(steps, running.sent)
    return Upgrade(
        steps,
        [f"{type(error).__name__}: {error}" for error in (*running.errors, *(e for r in readers for e in r.errors))],
        [*_lost(before, digest(url, apart_from_user=_CLIENTS_USER)), *running.lost()],
    )


def _attribute(steps: list[Step], statements: list[Sent]) -> None:
    """Each statement to the step in which it was halfway: a long one waited for that one's locks."""
    begins = [step.began for step in steps]
    for sent in statements:
        step = steps[max(0, bisect_right(begins, sent.at + sent.waited_s / 2) - 1)]
        step.statements += 1
        if sent.waited_s > step.waited_s:
            step.slowest = sent


def _lost(before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]]) -> Iterator[str]:
    for table, (rows, total) in before.items():
        if after[table] != (rows, total):
            yield f"{table}: {rows:,} rows before, {after[table][0]:,} after" + (
                ", with other contents" if after[table][0] == rows else ""
            )


# --- The report ---------------------------------------------------------------------------------


def main() -> int:
    """Make the database, migrate it, print, and judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.upgrade", description=__doc__)
    parser.add_argument("--transactions", type=int, default=Size().transactions, help="default %(default)s")
    parser.add_argument("--swaps", type=int, default=Size().swaps, help="default %(default)s")
    parser.add_argument("--clients", type=int, default=2, help="connections that trade (default %(default)s)")
    parser.add_argument(
        "--reader-s", type=float, default=0.0, help="how long a report locks each table (default: no report)"
    )
    given = parser.parse_args()
    size = Size(given.transactions, given.swaps)
    with postgres() as url:
        for table in fill(url, size):
            print(f"  filled {table}", file=sys.stderr)
        result = upgrade(url, clients=given.clients, calm_s=_CALM_S, reader_s=given.reader_s)
    _show(result, size)
    unlisted = [step for step in result.too_long() if step.name not in REWRITING]
    return 1 if unlisted or result.errors or result.lost else 0


def _show(result: Upgrade, size: Size) -> None:
    console = Console(width=None if sys.stdout.isatty() else 130)
    table = Table(title=f"{size.transactions:,} transactions, {size.swaps:,} swaps")
    table.add_column("migration")
    for column in ("took s", "attempts", "statements", "longest wait s"):
        table.add_column(column, justify="right")
    table.add_column("of")
    for step in result.steps:
        slowest = step.slowest
        table.add_row(
            step.name,
            f"{step.took_s:.2f}",
            str(step.attempts),
            str(step.statements),
            f"{step.waited_s:.3f}",
            slowest.what if slowest else "",
        )
    console.print(table)
    for step in result.steps:
        if (rows := REWRITING.get(step.name)) is not None:
            millions = size.counts()[rows] / 1e6
            console.print(f"{step.name}: {step.took_s / millions:.1f} s for a million {rows}")
    others = [step.waited_s for step in result.steps if step.name not in REWRITING]
    console.print(f"Longest wait of a client's statement: {max(step.waited_s for step in result.steps):.3f} s;")
    console.print(f"without the migrations that are listed as rewriting: {max(others):.3f} s.")
    for step in result.too_long():
        listed = "listed as rewriting" if step.name in REWRITING else "NOT LISTED"
        console.print(f"Over {_LIMIT_S:g} s: {step.name}: {step.waited_s:.2f} s ({listed})")
    for problem in (*result.errors, *result.lost):
        console.print(f"WRONG: {problem}")


if __name__ == "__main__":
    sys.exit(main())
