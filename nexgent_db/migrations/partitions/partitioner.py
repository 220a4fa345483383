"""Plans and applies the partitioning of a database that lives, and keeps its partitions."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg
from psycopg import errors as pg

from nexgent_db.errors import InvalidInput, MigrationLocked
from nexgent_db.migrations import connection as server
from nexgent_db.migrations.partitions import undo, upkeep
from nexgent_db.migrations.partitions.step import PartitionStep
from nexgent_db.migrations.partitions.steps import Goal, is_partitioned, pending_steps
from nexgent_db.migrations.partitions.tables import (
    TABLES,
    VERSIONS,
    Bound,
    GrowingTable,
    Interval,
    floor_of,
    next_bound,
    table_named,
)
from nexgent_db.migrations.partitions.upkeep import PartitionState, Retired

__all__ = ["Partitioner", "Retired", "StepCallback"]

StepCallback = Callable[[GrowingTable, PartitionStep, float], None]
"""``on_step(table, step, seconds)``: called after each step that was applied."""

_MARGIN: Final = timedelta(days=7)
"""So long before the first partition's end a conversion must be over: rows beyond it are refused until then."""
_RETRY_PAUSE_S: Final = (0.25, 5.0)
_NO_ID: Final = "00000000-0000-0000-0000-000000000000"


def now() -> datetime:
    """The time by which partitions are made ahead."""
    return datetime.now(UTC)


class Partitioner:
    """Partitions the tables that only grow. No row is refused: one without a partition of its own goes to the last one.

    ``conninfo`` is as the migrator's, of the tables' owner or the migrator's role; its ``options=-csearch_path=…``
    decides the schema. ``lock_timeout_s`` bounds each wait for a table's lock, and so how long trades queue behind it;
    a step that exceeds it is rolled back and tried again, ``attempts`` times. ``lock_wait_s`` bounds the wait for
    another migrator: the migration lock is held throughout.

    Raises ConfigurationError for a malformed ``conninfo``; nothing is connected yet.
    """

    def __init__(
        self,
        conninfo: str,
        tables: Collection[str] = (),
        *,
        interval: Interval = "month",
        ahead: int = 3,
        on_step: StepCallback | None = None,
        lock_wait_s: float = 300.0,
        lock_timeout_s: float = 0.5,
        attempts: int = 40,
    ) -> None:
        if ahead < 1:
            raise InvalidInput("ahead", "at least 1")
        self._conninfo = server.prepared(conninfo)
        asked = {table_named(name) for name in tables} or set(TABLES)
        self._tables = tuple(table for table in TABLES if table in asked)
        self._interval = interval
        self._ahead = ahead
        self._on_step = on_step
        self._lock_wait_s = lock_wait_s
        self._lock_timeout_s = lock_timeout_s
        self._attempts = attempts

    # --- Reading --------------------------------------------------------------------------------

    def plan(self, first_ends: datetime | None = None) -> list[tuple[GrowingTable, PartitionStep]]:
        """The steps that ``apply`` would take now, with their SQL, table by table. Reads only.

        Raises MigrationError where it refuses, DatabaseUnavailable or AuthenticationFailed.
        """
        with self._connected() as conn:
            planned: list[tuple[GrowingTable, PartitionStep]] = []
            for table in self._tables:
                keys_planned = any(before.name == "agent_transactions" for before, _ in planned)
                goal = self._goal(conn, table, first_ends)
                planned += [(table, step) for step in pending_steps(conn, table, goal, keys_planned=keys_planned)]
            return planned

    def states(self) -> list[PartitionState]:
        """Each table: partitioned or not, its partitions, and whether the present has one of its own. Reads only."""
        with self._connected() as conn:
            return [upkeep.state_of(conn, table) for table in self._tables]

    # --- Writing --------------------------------------------------------------------------------

    def apply(self, first_ends: datetime | None = None) -> int:
        """Takes the pending steps; returns how many there were. After an interruption, call it again: it goes on.

        The table as it is becomes the first partition, up to ``first_ends``: by default the end of an interval that is
        a week away or more. Rows beyond it are refused while the conversion runs, and go to partitions of their own
        after it. Raises InvalidInput for a ``first_ends`` that is not in the future while there are rows,
        MigrationError where it refuses and for a failing step, MigrationLocked when a long transaction holds a lock;
        what was done before stays.
        """
        done = 0
        with self._locked() as conn:
            for table in self._tables:
                while steps := pending_steps(conn, table, self._goal(conn, table, first_ends)):
                    self._take(conn, table, steps[0])
                    done += 1
                if done:
                    conn.execute(f"ANALYZE {table.name}")
        return done

    def undo(self, max_rows: int = 100_000) -> int:
        """Makes the tables whole again, the last first; returns how many steps it took. Goes on after an interruption.

        The rows of all partitions but the first are copied into that one, while the table is locked: more than
        ``max_rows`` of them are refused with InvalidInput. Else raises as ``apply``.
        """
        done = 0
        with self._locked() as conn:
            for table in reversed(self._tables):
                while steps := undo.undo_steps(conn, table, max_rows):
                    self._take(conn, table, steps[0])
                    done += 1
        return done

    def maintain(self) -> list[str]:
        """Makes the partitions ahead that are missing; returns their names.

        Rows that already lie in the last partition, because none was made in time, move to the one that they belong to,
        in the same transaction. Raises as ``apply``.
        """
        made: list[str] = []
        with self._locked() as conn:
            for table in self._tables:
                if is_partitioned(conn, table.name):
                    until = self._until(conn, table)
                    self._in_transaction(
                        conn,
                        lambda table=table, until=until: made.extend(  # type: ignore[misc]
                            upkeep.make_ahead(conn, table, until, self._interval)
                        ),
                    )
                    conn.execute(f"ANALYZE {table.name}")
        return made

    def retire(self, table: str, before: datetime | None = None, *, drop: bool = False) -> list[Retired]:
        """Takes away the partitions whose rows are all older than ``before``: detached, or dropped.

        Of trade_requests the resets stay. The outbox has no time: its empty partitions below the last version go, and
        are always dropped. Raises InvalidInput for a table of the ledger, whose rows are what balances consist of, and
        for a ``before`` that is missing; else as ``apply``.
        """
        growing = table_named(table)
        if not growing.retires:
            raise InvalidInput("table", f"{table} is the ledger: a balance is the sum of all its rows, so none goes")
        if before is None and not growing.by_version:
            raise InvalidInput("before", "must be given: everything older goes")
        retired: list[Retired] = []
        with self._locked() as conn:
            self._in_transaction(conn, lambda: retired.extend(upkeep.retire(conn, growing, before, drop=drop)))
        return retired

    # --- Inside ---------------------------------------------------------------------------------

    def _goal(self, conn: psycopg.Connection[Any], table: GrowingTable, first_ends: datetime | None) -> Goal:
        until = self._until(conn, table)
        if isinstance(until, int):
            first = until // VERSIONS - self._ahead + 1
            return Goal(first * VERSIONS, until, self._interval)
        if first_ends is None:
            first_ends = next_bound(now() + _MARGIN, self._interval)
        elif first_ends <= now() and not is_partitioned(conn, table.name) and _has_rows(conn, table):
            raise InvalidInput("first_ends", f"{first_ends:%Y-%m-%d} is not in the future, and {table.name} has rows")
        assert isinstance(until, datetime)
        return Goal(first_ends, max(until, first_ends), self._interval)

    def _until(self, conn: psycopg.Connection[Any], table: GrowingTable) -> Bound:
        """What the last partition that is made ahead must have in it."""
        if table.by_version:
            last = server.value(conn, "SELECT coalesce(pg_sequence_last_value('row_version_seq'), 1)")
            return int(last) + self._ahead * VERSIONS
        until = floor_of(now(), self._interval)
        for _ in range(self._ahead):
            until = next_bound(until, self._interval)
        return until

    @contextmanager
    def _connected(self) -> Iterator[psycopg.Connection[Any]]:
        with server.connect(self._conninfo) as conn, server.translated(conn):
            schema = server.value(conn, "SELECT quote_ident(current_schema())")
            conn.execute("SELECT set_config('search_path', %s, false)", [f"{schema}, pg_temp"])
            yield conn

    @contextmanager
    def _locked(self) -> Iterator[psycopg.Connection[Any]]:
        def report(_: str) -> None:
            """Waiting is bounded; the error names the holder."""

        with server.migration_lock(self._conninfo, self._lock_wait_s, report), self._connected() as conn:
            server.never_idle(conn)
            conn.execute("SET statement_timeout = 0")
            yield conn

    def _take(self, conn: psycopg.Connection[Any], table: GrowingTable, step: PartitionStep) -> None:
        started = time.monotonic()
        if step.kind == "alone":
            conn.execute("SET lock_timeout = 0")  # it waits beside the others, and nobody behind it
            conn.execute(step.statements[0].encode())
        elif step.kind == "batches":
            self._in_batches(conn, step.statements)
        else:
            if step.kind == "wait":
                self._wait_for_older(conn)
            self._in_transaction(conn, lambda: _execute(conn, step.statements))
        if self._on_step is not None:
            self._on_step(table, step, time.monotonic() - started)

    def _in_batches(self, conn: psycopg.Connection[Any], statements: Sequence[str]) -> None:
        last: object = _NO_ID
        while last is not None:

            def one(after: object = last) -> object:
                conn.execute("LOCK TABLE agent_wallets IN SHARE MODE")
                return server.value(conn, statements[0], after)

            last = self._in_transaction(conn, one)
        self._in_transaction(conn, lambda: _execute(conn, statements[1:]))

    def _in_transaction(self, conn: psycopg.Connection[Any], work: Callable[[], object]) -> object:
        """Does the work in one transaction, again after a lock that was not granted in time."""
        pause, longest = _RETRY_PAUSE_S
        for attempt in range(1, self._attempts + 1):
            try:
                with conn.transaction():
                    conn.execute(f"SET LOCAL lock_timeout = {int(self._lock_timeout_s * 1000)}")
                    return work()
            except (pg.LockNotAvailable, pg.DeadlockDetected):
                if attempt == self._attempts:
                    raise
                time.sleep(pause)
                pause = min(1.5 * pause, longest)
        raise AssertionError

    def _wait_for_older(self, conn: psycopg.Connection[Any]) -> None:
        """Waits until the transactions of now have ended: the virtual ids of other roles' sessions are visible too."""
        until = time.monotonic() + self._lock_wait_s
        query = (
            "SELECT DISTINCT virtualtransaction FROM pg_locks WHERE locktype = 'virtualxid' AND pid <> pg_backend_pid()"
            " AND database IS NOT DISTINCT FROM NULL AND virtualtransaction = virtualxid"
        )
        older = {each for (each,) in conn.execute(query)}
        while older & {each for (each,) in conn.execute(query)}:
            if time.monotonic() > until:
                raise MigrationLocked("a long transaction of before did not end: end it, and run this again")
            time.sleep(0.05)


def _execute(conn: psycopg.Connection[Any], statements: Sequence[str]) -> None:
    for statement in statements:
        conn.execute(statement.encode())


def _has_rows(conn: psycopg.Connection[Any], table: GrowingTable) -> bool:
    return server.value(conn, f"SELECT true FROM {table.name} LIMIT 1") is not None  # noqa: S608
