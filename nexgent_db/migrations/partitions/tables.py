"""Which tables are partitioned, by which column, and how their partitions are bounded and named."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from nexgent_db.errors import InvalidInput

__all__ = [
    "KEYS_TABLE",
    "TABLES",
    "VERSIONS",
    "Bound",
    "GrowingTable",
    "Interval",
    "literal",
    "next_bound",
    "table_named",
]

Interval = Literal["week", "month", "quarter", "year"]
Bound = datetime | int | None
"""A bound of a partition: a time, a version, or None for the end of the line (MINVALUE or MAXVALUE)."""

KEYS_TABLE: Final = "agent_transaction_keys"
VERSIONS: Final = 10_000_000
"""How many versions one partition of the outbox has."""


@dataclass(frozen=True, slots=True)
class GrowingTable:
    """A table that only grows. ``key`` is the column of its partitions; ``primary_key`` has to contain it.

    ``retires``: its old partitions may be taken away. The ledger's may not: each balance is the sum of its
    transactions. ``kept`` says which rows of an old partition stay all the same.
    """

    name: str
    key: str
    primary_key: tuple[str, ...]
    retires: bool = False
    kept: str | None = None

    @property
    def by_version(self) -> bool:
        """Whether the key is a version; else it is a time."""
        return self.key == "version"

    @property
    def first(self) -> str:
        """The partition with everything before the others: the table as it was."""
        return f"{self.name}_first"

    @property
    def later(self) -> str:
        """The partition with everything after the others, so that no row is ever refused."""
        return f"{self.name}_later"

    @property
    def first_check(self) -> str:
        """The constraint that spares ATTACH the scan."""
        return f"{self.name}_first_check"


TABLES: Final = (
    GrowingTable("agent_transactions", "transaction_time", ("id", "transaction_time")),
    GrowingTable("agent_historical_swaps", "sale_time", ("id", "sale_time")),
    GrowingTable("trade_requests", "created_at", ("id", "created_at"), retires=True, kept="operation = 'reset_wallet'"),
    GrowingTable("agent_balance_snapshots", "snapshot_timestamp", ("id", "snapshot_timestamp"), retires=True),
    GrowingTable("cache_outbox", "version", ("version",), retires=True),
)
"""In the order in which they are partitioned: the keys of transactions come with the first."""


def table_named(name: str) -> GrowingTable:
    """The table of this name. Raises InvalidInput."""
    for table in TABLES:
        if table.name == name:
            return table
    raise InvalidInput("table", f"{name} is not one of {', '.join(table.name for table in TABLES)}")


def literal(bound: Bound, end: Literal["MINVALUE", "MAXVALUE"]) -> str:
    """The bound in SQL."""
    if bound is None:
        return end
    if isinstance(bound, int):
        return str(bound)
    return f"'{bound.astimezone(UTC):%Y-%m-%d %H:%M:%S+00}'"


_BOUNDS: Final = re.compile(r"FROM \((?:MINVALUE|'([^']+)')\) TO \((?:MAXVALUE|'([^']+)')\)")


def parsed_bounds(text: str, *, by_version: bool) -> tuple[Bound, Bound]:
    """The bounds of ``FOR VALUES FROM (…) TO (…)`` as the server prints them."""
    found = _BOUNDS.search(text)
    if found is None:  # DEFAULT, which this package never makes
        return None, None
    low, high = (None if each is None else _bound(each, by_version=by_version) for each in found.groups())
    return low, high


def _bound(text: str, *, by_version: bool) -> Bound:
    return int(text) if by_version else datetime.fromisoformat(text).astimezone(UTC)


def floor_of(time: datetime, interval: Interval) -> datetime:
    """The beginning of the interval that ``time`` is in, in UTC."""
    day = time.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if interval == "week":
        return datetime.fromordinal(day.toordinal() - day.weekday()).replace(tzinfo=UTC)
    if interval == "month":
        return day.replace(day=1)
    if interval == "quarter":
        return day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)
    return day.replace(month=1, day=1)


def next_bound(bound: datetime, interval: Interval) -> datetime:
    """The end of the interval that ``bound`` is in."""
    if interval == "week":
        start = floor_of(bound, interval)
        return datetime.fromordinal(start.toordinal() + 7).replace(tzinfo=UTC)
    months = {"month": 1, "quarter": 3, "year": 12}[interval]
    start = floor_of(bound, interval)
    place = start.year * 12 + start.month - 1 + months
    return start.replace(year=place // 12, month=place % 12 + 1)


def ranges(table: GrowingTable, start: Bound, until: Bound, interval: Interval) -> Iterator[tuple[str, Bound, Bound]]:
    """The partitions from ``start`` to the one that ``until`` is in: name, lower and upper bound."""
    while True:
        if isinstance(start, int) and isinstance(until, int):
            end: Bound = start + VERSIONS
            name = f"{table.name}_{start}"
            if start > until:
                return
        elif isinstance(start, datetime) and isinstance(until, datetime):
            end = next_bound(start, interval)
            name = f"{table.name}_{start:%Y_%m_%d}"
            if start > until:
                return
        else:
            raise AssertionError((start, until))
        yield name, start, end
        start = end
