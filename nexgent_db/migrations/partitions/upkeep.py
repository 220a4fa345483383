"""Partitions made ahead, what lies in the wrong one, and old ones taken away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import psycopg

from nexgent_db.errors import MigrationError
from nexgent_db.migrations.partitions.definition import read_definition
from nexgent_db.migrations.partitions.steps import is_partitioned, partition_statements
from nexgent_db.migrations.partitions.tables import VERSIONS, Bound, GrowingTable, Interval, literal, parsed_bounds

__all__ = ["Partition", "PartitionState", "Retired", "count_rows", "make_ahead", "partitions_of", "retire", "state_of"]

_Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition with its bounds, None for the end of the line; ``rows`` is the planner's estimate."""

    name: str
    low: Bound
    high: Bound
    rows: int


@dataclass(frozen=True, slots=True)
class PartitionState:
    """The partitions of one table, none where it is whole. ``missing`` says that the present has no partition, and what
    lies in the last one therefore; None when all is well."""

    table: str
    partitions: tuple[Partition, ...]
    missing: str | None


@dataclass(frozen=True, slots=True)
class Retired:
    """A partition that was taken away, of which ``kept`` rows stayed. Detached it is a table of this name."""

    name: str
    kept: int
    dropped: bool


_PARTITIONS: Final = """
SELECT c.relname::text, pg_get_expr(c.relpartbound, c.oid), greatest(c.reltuples, 0)::bigint
FROM pg_inherits AS i
JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = to_regclass(%s)
"""


def partitions_of(conn: _Connection, table: GrowingTable) -> list[Partition]:
    """The table's partitions in the order of their bounds."""
    found = [
        Partition(name, *parsed_bounds(bounds, by_version=table.by_version), rows)
        for name, bounds, rows in conn.execute(_PARTITIONS, [table.name])
    ]
    start: Bound = -1 if table.by_version else datetime.min.replace(tzinfo=UTC)
    return sorted(found, key=lambda each: each.low or start)  # type: ignore[arg-type,return-value]


def state_of(conn: _Connection, table: GrowingTable) -> PartitionState:
    """The table's partitions, and what is missing."""
    if not is_partitioned(conn, table.name):
        return PartitionState(table.name, (), None)
    partitions = partitions_of(conn, table)
    last = partitions[-1]
    missing = None
    if last.low is not None and last.high is None:
        present = _present(conn, table)
        stray = count_rows(conn, last.name)
        if present >= last.low:  # type: ignore[operator]
            when = f"version {present}" if table.by_version else f"{present:%Y-%m-%d}"
            missing = f"there is no partition for {when}: rows go to {last.name}, which has {stray}"
    return PartitionState(table.name, tuple(partitions), missing)


def _present(conn: _Connection, table: GrowingTable) -> Bound:
    query = "coalesce(pg_sequence_last_value('row_version_seq'), 1)" if table.by_version else "now()"
    row = conn.execute(f"SELECT {query}").fetchone()
    assert row is not None
    present: Bound = row[0]
    return present


def count_rows(conn: _Connection, name: str, condition: str = "true") -> int:
    """The number of rows of a table or partition, counted."""
    row = conn.execute(f"SELECT count(*) FROM {name} WHERE {condition}").fetchone()  # noqa: S608
    assert row is not None
    return int(row[0])


def make_ahead(conn: _Connection, table: GrowingTable, until: Bound, interval: Interval) -> list[str]:
    """Makes the missing partitions up to the one with ``until`` in it, inside the caller's transaction.

    The last partition gives way: it is detached, its rows go to where they belong, and a new one follows the others.
    Raises MigrationError when there is no such last partition.
    """
    before = partitions_of(conn, table)
    if not before or before[-1].high is not None or before[-1].low is None:
        raise MigrationError(f"{table.name} has no partition for what comes after all others: make {table.later} again")
    later = before[-1]
    if later.low > until:  # type: ignore[operator]
        return []
    definition = read_definition(conn, table.name)
    conn.execute("LOCK TABLE agents IN EXCLUSIVE MODE")
    conn.execute(f"LOCK TABLE {table.name} IN ACCESS EXCLUSIVE MODE")
    statements = [
        f"ALTER TABLE {table.name} DETACH PARTITION {later.name}",
        f"ALTER TABLE {later.name} RENAME TO {later.name}_old",
        *partition_statements(table, definition, later.low, until, interval),
    ]
    _execute(conn, statements)
    if count_rows(conn, f"{later.name}_old") > 0:
        # The rows are in the ledger as they were: their keys, and what their triggers did, stay.
        _execute(conn, _moved(table, definition.columns, f"{later.name}_old", definition.row_triggers))
    conn.execute(f"DROP TABLE {later.name}_old")
    names = {each.name for each in before}
    return [each.name for each in partitions_of(conn, table) if each.name not in names]


def _moved(table: GrowingTable, columns: Sequence[str], source: str, triggers: Sequence[str] | object) -> Iterator[str]:
    assert isinstance(triggers, dict)
    for name in triggers:
        yield f"ALTER TABLE {table.name} DISABLE TRIGGER {name}"
    listed = ", ".join(columns)
    yield f"INSERT INTO {table.name} ({listed}) SELECT {listed} FROM {source}"  # noqa: S608
    for name in triggers:
        yield f"ALTER TABLE {table.name} ENABLE TRIGGER {name}"


def retire(conn: _Connection, table: GrowingTable, before: datetime | None, *, drop: bool) -> list[Retired]:
    """Takes away the partitions that end at ``before`` or earlier, inside the caller's transaction.

    A new, empty first partition takes their place, so that a late row has one.
    """
    conn.execute("LOCK TABLE agents IN EXCLUSIVE MODE")
    conn.execute(f"LOCK TABLE {table.name} IN ACCESS EXCLUSIVE MODE")
    limit: Bound = before
    if table.by_version:
        present = _present(conn, table)
        assert isinstance(present, int)
        limit = present - VERSIONS
    old = [each for each in partitions_of(conn, table) if each.high is not None and each.high <= limit]  # type: ignore[operator]
    if not old or (len(old) == 1 and old[0].low is None and count_rows(conn, old[0].name) == 0):
        return []
    kept = table.kept or "false"
    if table.by_version and any(count_rows(conn, each.name) for each in old):
        return []  # a change that the cache has not got yet
    definition = read_definition(conn, table.name)
    end = old[-1].high
    renamed: list[tuple[str, int]] = []
    for each in old:
        _execute(conn, [f"ALTER TABLE {table.name} DETACH PARTITION {each.name}"])
        name = each.name
        if each.low is None:
            name = f"{each.name}_until_{end:%Y_%m_%d}" if isinstance(end, datetime) else f"{each.name}_until_{end}"
            _execute(conn, [f"ALTER TABLE {each.name} RENAME TO {name}"])
        renamed.append((name, count_rows(conn, name, kept)))
    conn.execute(
        f"CREATE TABLE {table.first} PARTITION OF {table.name}"
        f" FOR VALUES FROM (MINVALUE) TO ({literal(end, 'MAXVALUE')})".encode()
    )
    conn.execute(f"ALTER TABLE {table.first} OWNER TO {definition.owner}".encode())
    for name, staying in renamed:
        if staying:
            moved = list(_moved(table, definition.columns, f"{name} WHERE {kept}", definition.row_triggers))
            _execute(conn, moved)
        if drop or table.by_version:
            conn.execute(f"DROP TABLE {name}")
    return [Retired(name, staying, drop or table.by_version) for name, staying in renamed]


def _execute(conn: _Connection, statements: Sequence[str] | Iterator[str]) -> None:
    for statement in statements:
        conn.execute(statement.encode())
