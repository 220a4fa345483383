"""The table that ``make chaos`` prints."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from typing import Final

from nexgent_db.testing.in_memory import in_memory
from tests.chaos.outages.rows import Row, rows
from tests.chaos.outages.run import Options, run_row
from tests.chaos.outages.verdict import MARGIN_S, Verdict
from tests.support.servers.postgres_process import migrated_cluster

_HEAD: Final = (
    f"{'outage':38} {'':5} {'longest':>8} {'refused':>8} {'exhausted':>9} {'first':>7} {'every':>7} {'given up':>8}"
    f" {'acked':>6} {'lost':>4} {'half':>4} {'leaks':>6}  {'health':9}  errors"
)
"""Longest wait of a call; refusals (median) and PoolExhausted; first success after the server accepts, and that of the
last caller; wait_for(…, 1); acknowledged trades, those missing, blocks by half; leaked sessions/slots/descriptors;
the last answer of health() meanwhile."""


def run_all(seed: int, *, short: bool = False, only: str = "") -> bool:
    """Run every row whose name has ``only`` in it, and print each as it is done. False when a promise was broken."""
    print(f"outages, seed {seed}\n{_HEAD}", flush=True)
    for name in ("psycopg", "nexgent_db"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # they warn of each connection that is lost
    good = True
    with in_memory(), migrated_cluster() as cluster:
        for row in (row for row in rows(short=short) if only in row.name):
            if reason := row.why_not():
                print(f"{row.name:38} skipped: {reason}", flush=True)
                continue
            for verdict in run_row(row, cluster, Options.short(seed) if short else Options(seed)):
                print(line_of(verdict), flush=True)
                good = good and not verdict.faults
                for fault in verdict.faults:
                    print(f"  found: {verdict.row}, {verdict.flavour}: {fault}", file=sys.stderr, flush=True)
    return good


def line_of(verdict: Verdict) -> str:
    """One line of the table."""
    errors = ", ".join(f"{name}: {count:,}" for name, count in verdict.errors.most_common())
    leaks = f"{verdict.sessions}/{verdict.slots}/{verdict.descriptors}"
    return (
        f"{verdict.row:38} {verdict.flavour:5} {_seconds(verdict.longest_s)} {_seconds(verdict.refused_s)}"
        f" {verdict.exhausted:9,} {_seconds(verdict.first_success_s, 7)} {_seconds(verdict.all_callers_s, 7)}"
        f" {_seconds(verdict.given_up_s)} {verdict.acknowledged:6,} {verdict.missing:4} {verdict.partial:4} {leaks:>6}"
        f"  {verdict.health or '-':9}  {errors}"
    )


def documented(table: Iterable[Row]) -> list[str]:
    """The lines of the page's table: each outage once, however long it lasts."""
    lines = [f"| {row.outage} | {_classes(row)} | {_time_to_error(row)} | {row.first_success_s:g} s |" for row in table]
    return list(dict.fromkeys(lines))


def _classes(row: Row) -> str:
    classes = [*sorted(row.expected), *sorted(row.allowed - row.expected)]
    return ", ".join(f"`{name}`" for name in classes)


def _time_to_error(row: Row) -> str:
    limit = f"statement timeout + {MARGIN_S:g} s"
    return f"{limit}; once known, at once" if row.refuses else limit


def _seconds(value: float | None, width: int = 8) -> str:
    return " " * (width - 1) + "-" if value is None else f"{value:{width - 2}.3f} s"
