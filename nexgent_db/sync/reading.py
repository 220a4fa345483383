# Generated from nexgent_db/aio/reading.py by `make sync`: do not edit.
"""Reads on replicas, never older than what the caller has written or read; the primary answers when none has it.

A read is one round trip: a gate, the statement and the position that it has seen, in one pipeline. The gate waits, on
the replica, until that has applied the log up to the needed position; after the bound it fails, and with it the
statement, which is not executed. A standby makes a commit visible before it counts it as applied.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from typing import Any

import psycopg
from psycopg import IsolationLevel

from nexgent_db._wal import HighWaterMark, WalPosition, lsn_of, lsn_text
from nexgent_db.errors import (
    DatabaseUnavailable,
    InvalidInput,
    PoolExhausted,
    ReadOnlyBlock,
    SchemaChanged,
    SchemaNotReady,
    TooManyConnections,
    TransactionConflict,
    translate,
)
from nexgent_db.poolers import TransactionSettings
from nexgent_db.queries.binding import BoundQuery, Call
from nexgent_db.queries.reading import ensure_reads
from nexgent_db.sync.connection import PooledConnection
from nexgent_db.sync.cursors import Cursor, acquire_cursor, release_cursor
from nexgent_db.sync.gate import NO_STANDBY, NOT_A_BOOLEAN, Gate, GateClosed, pass_gate
from nexgent_db.sync.pool import Lease
from nexgent_db.sync.replicas import Replica, ReplicaSet, Unfit, locate
from nexgent_db.sync.scope import RowScope
from nexgent_db.sync.session import NOT_UNICODE, Session, TransactionSession, read_answer, send_settings
from nexgent_db.sync.wal import PRIMARY_POSITION, REPLICA_POSITION, SynchronizedPipeline, replica_position


class ReadingSession(Session):
    """Runs each query on a replica that has what the caller has written or read, else on the primary, read-only.

    ``mark`` is the caller's. It rises by what is read here, and so does that of the whole database object.
    """

    def __init__(
        self,
        replicas: ReplicaSet,
        lease: Callable[[], Lease],
        mark: HighWaterMark,
        scope: RowScope,
    ) -> None:
        self.replicas = replicas
        self._lease = lease
        self.mark = mark
        self._scope = scope

    def run(self, bound: BoundQuery, call: Call) -> Any:
        """Send one query. Raises ReadOnlyBlock before anything is sent, DatabaseError, RowCountError."""
        ensure_reads(bound)
        lease = self._lease()
        needed, behind = self._needed(), False
        for replica in self.replicas.candidates(needed):
            held = replica.pool.lease()
            try:
                return self._run_on(replica, held, bound, call, needed)
            except Unfit as unfit:
                if behind := unfit.behind:
                    break  # the bound is reached
            finally:
                held.over = True
                held.release()
        self.replicas.count_primary(behind=behind)
        try:
            return self._run_on_primary(lease, bound, call)
        finally:
            lease.over = True
            lease.release()

    def _run_on(self, replica: Replica, held: Lease, bound: BoundQuery, call: Call, needed: WalPosition) -> Any:
        """Raises Unfit when the replica does not answer this read."""
        with self._failures_of(replica, held, needed, bound.name):
            connection = held.acquire()
            settings = self._scope.enter(connection)
            gate = Gate.of_replica(needed, self.replicas.wait_s)
            answer, opened, closed = _run(connection, bound, call, settings, gate, REPLICA_POSITION)
            self._note(replica, lsn_of(opened[1]), closed)
        return answer

    def _run_on_primary(self, lease: Lease, bound: BoundQuery, call: Call) -> Any:
        try:
            connection = lease.acquire()
            settings = self._scope.enter(connection)
            gate = Gate.of_primary(self.mark, self.replicas.wait_s)
            try:
                answer, opened, closed = _run(connection, bound, call, settings, gate, PRIMARY_POSITION)
            except psycopg.Error as error:
                if not isinstance(translate(error, bound.name), SchemaChanged):
                    raise
                connection.execute("DEALLOCATE ALL")
                answer, opened, closed = _run(connection, bound, call, settings, gate, PRIMARY_POSITION)
        except psycopg.Error as error:
            raise translate(error, bound.name, read_only=True) from error
        self._note_primary(gate, opened, closed)
        return answer

    def stream(self, bound: BoundQuery, call: Call) -> Generator[Any, None, None]:
        """Fetch rows in a transaction of their own, on one server. Raises as ``run``; DatabaseError at any row."""
        ensure_reads(bound)
        with (
            self.connection(bound.name) as connection,
            closing(TransactionSession(connection).stream(bound, call)) as stream,
        ):
            for row in stream:
                yield row

    def transaction(self) -> AbstractContextManager[Session]:
        """Only methods that write need one of their own. Raises ReadOnlyBlock."""
        raise ReadOnlyBlock("it changes rows, and replicas only read: call it on the database")

    @contextmanager
    def connection(
        self, name: str | None = None, statement_timeout_s: float | None = None
    ) -> Iterator[PooledConnection]:
        """A connection in a read-only transaction of one snapshot, which has what the caller has written or read.

        Raises DatabaseError.
        """
        primary = self._lease()
        needed, behind = self._needed(), False
        connection: PooledConnection | None = None
        with ExitStack() as stack:
            for replica in self.replicas.candidates(needed):
                begun = self._on_replica(replica, needed, name, statement_timeout_s)
                try:
                    connection = stack.enter_context(begun)
                    break
                except Unfit as unfit:
                    if behind := unfit.behind:
                        break
            if connection is None:
                self.replicas.count_primary(behind=behind)
                connection = stack.enter_context(self._on_primary(primary, name, statement_timeout_s))
            yield connection

    @contextmanager
    def _on_replica(
        self, replica: Replica, needed: WalPosition, name: str | None, statement_timeout_s: float | None
    ) -> Iterator[PooledConnection]:
        """The same on this replica. Raises Unfit when it does not begin."""
        held = replica.pool.lease()
        try:
            with ExitStack() as stack:
                with self._failures_of(replica, held, needed, name):
                    connection = held.acquire()
                    settings = self._scope.enter(connection)
                    pass_gate(connection, Gate.of_replica(needed, self.replicas.wait_s))
                    stack.enter_context(_one_snapshot(connection, settings, statement_timeout_s))
                    closed = connection.execute(REPLICA_POSITION).fetchone()
                    self._note(replica, replica.lsn, closed)
                yield connection
        except psycopg.Error as error:
            raise translate(error, name, read_only=True) from error
        finally:
            held.over = True
            held.release()

    @contextmanager
    def _on_primary(
        self, held: Lease, name: str | None, statement_timeout_s: float | None
    ) -> Iterator[PooledConnection]:
        try:
            connection = held.acquire()
            settings = self._scope.enter(connection)
            gate = Gate.of_primary(self.mark, self.replicas.wait_s)
            if gate.confirms is not None:
                self._confirm(gate, pass_gate(connection, gate))
            with _one_snapshot(connection, settings, statement_timeout_s):
                self._raise_to_primary(connection.execute(PRIMARY_POSITION).fetchone())
                yield connection
        except psycopg.Error as error:
            raise translate(error, name, read_only=True) from error
        finally:
            held.over = True
            held.release()

    # --- One replica ------------------------------------------------------------------------------

    @contextmanager
    def _failures_of(self, replica: Replica, held: Lease, needed: WalPosition, name: str | None) -> Iterator[None]:
        """Turn what only concerns this replica into Unfit, and leave it out. Raises Unfit, DatabaseError."""
        try:
            yield
        except GateClosed as closed:
            if NO_STANDBY in str(closed):
                replica.leave_out("promoted", "it is no standby any more")
                raise Unfit("promoted") from None
            replica.leave_out("lagging", f"a read waited for {lsn_text(needed.lsn)} in vain")
            raise Unfit("behind") from None
        except (PoolExhausted, TooManyConnections):
            raise Unfit("busy") from None
        except DatabaseUnavailable as error:
            if replica.state in ("ok", "lagging"):
                replica.leave_out("gone", str(error))
            raise Unfit("gone") from None
        except psycopg.Error as error:
            translated = translate(error, name, read_only=True)
            if isinstance(translated, DatabaseUnavailable):
                if (slot := held.slot) is not None and slot.connection is not None and slot.connection.silent:
                    replica.leave_out("gone", str(translated))
                raise Unfit("gone") from None  # a server that has ended is left out by the next attempt to connect
            if isinstance(translated, TransactionConflict | SchemaNotReady):  # it applies a migration, or did not yet
                self.replicas.conflicts += 1
                raise Unfit("conflict") from None
            raise translated from error

    # --- Positions --------------------------------------------------------------------------------

    def _needed(self) -> WalPosition:
        """What the answer must have. Asks the primary when that is unknown, unless it alone answers."""
        if self.mark.unknown and self.replicas.configured:
            locate(self._lease(), self.mark)
        return self.mark.position

    def _note(self, replica: Replica, applied: int, closed: Any) -> None:
        """Count a read on a replica, and raise the marks to what it has seen. Raises Unfit after a promotion."""
        seen = replica_position(closed, replica.timeline)
        if seen is None:
            replica.leave_out("promoted", "it is no standby any more")
            raise Unfit("promoted")
        replica.seen_at(applied)
        replica.reads += 1
        self.replicas.replica_reads += 1
        self._raise_to(seen, on_replica=True)

    def _note_primary(self, gate: Gate, opened: Any, closed: Any) -> None:
        self._confirm(gate, opened)
        self._raise_to_primary(closed)

    def _raise_to_primary(self, closed: Any) -> None:
        if closed[0] is not None:
            self._raise_to(WalPosition.of_primary(closed[0]))

    def _confirm(self, gate: Gate, opened: Any) -> None:
        if gate.confirms is not None and opened[0]:
            self.mark.confirm(gate.confirms)

    def _raise_to(self, position: WalPosition, *, on_replica: bool = False) -> None:
        self.mark.raise_to(position, on_replica=on_replica)
        self.replicas.mark.raise_to(position, on_replica=on_replica)


@contextmanager
def _one_snapshot(
    connection: PooledConnection, settings: TransactionSettings | None, statement_timeout_s: float | None
) -> Iterator[None]:
    """A read-only transaction, whose first query takes its snapshot: a position that is asked for then is behind it."""
    connection.set_transaction_options(IsolationLevel.REPEATABLE_READ, True, False, statement_timeout_s)
    with connection.transaction():
        if statement_timeout_s is not None:
            milliseconds = max(1, round(statement_timeout_s * 1000))
            connection.execute(f"SET LOCAL statement_timeout = {milliseconds}")
        if settings is not None:
            connection.execute(settings.statement)
        yield


def _run(
    connection: PooledConnection,
    bound: BoundQuery,
    call: Call,
    settings: TransactionSettings | None,
    gate: Gate,
    position: bytes,
) -> tuple[Any, Any, Any]:
    """Run one read in one pipeline: what it returns, the row of the gate, and that of the position after it.

    Raises psycopg.Error, InvalidInput, UnreadableValue, RowCountError.
    """
    before = acquire_cursor(connection, gate.text, alone=True)
    cursor = acquire_cursor(connection, call.text, alone=True)
    after = acquire_cursor(connection, position, alone=True)
    try:
        with connection.pipeline() as pipeline:
            before.execute(gate.text, gate.parameters)
            if gate.limit_s is not None:
                pipeline.command_queue.append(connection.pgconn.send_flush_request)
            send_settings(connection, settings)
            cursor.execute(call.text, call.values)
            after.execute(position)
            if gate.limit_s is not None:
                _wait_for(before, connection, pipeline, gate.limit_s)
    except UnicodeEncodeError:
        raise InvalidInput(bound.name, NOT_UNICODE) from None
    except psycopg.Error as error:
        if before.pgresult is None and error.sqlstate == NOT_A_BOOLEAN:
            raise GateClosed(str(error)) from None
        raise
    opened, closed = before.fetchone(), after.fetchone()
    answer = read_answer(cursor, bound, call, alone=False)
    for each, text in ((before, gate.text), (cursor, call.text), (after, position)):
        release_cursor(each, text, alone=True)
    return answer, opened, closed


def _wait_for(cursor: Cursor, connection: PooledConnection, pipeline: SynchronizedPipeline, limit_s: float) -> None:
    """Receive the first answer. Closes the connection and raises OperationalError after ``limit_s``."""
    try:
        connection.wait(pipeline.receive_first(cursor), timeout=limit_s)
    except psycopg.errors._WaitTimeout:
        connection.silent = True
        connection.finish()
        raise psycopg.OperationalError(f"the replica did not answer within {limit_s} s: connection closed") from None
