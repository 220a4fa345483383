# Generated from nexgent_db/aio/session.py by `make sync`: do not edit.
"""Runs bound queries: each on a pooled connection, auto-committed, or all on the connection of one transaction."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from typing import Any, Final, Protocol

import psycopg
from psycopg import RawCursor
from psycopg.pq import TransactionStatus

from nexgent_db.cache.batch import CacheTimestamp, changes_cached_rows
from nexgent_db.errors import BlockMisuse, InvalidInput, NexgentError, SchemaChanged, SchemaNotReady, translate
from nexgent_db.models.positions import AgentPosition
from nexgent_db.models.trades import ResetResult, TradeResult
from nexgent_db.poolers import SET_LOCAL, TransactionSettings
from nexgent_db.queries.binding import BoundQuery, Call
from nexgent_db.queries.unreadable import READ_FAILURES, Place, place_at_fault, read_failure
from nexgent_db.sync.connection import PooledConnection
from nexgent_db.sync.cursors import Cursor, acquire_cursor, release_cursor
from nexgent_db.sync.pool import Lease
from nexgent_db.sync.scope import RowScope
from nexgent_db.sync.wal import PrimaryTracker

FETCH_BATCH_SIZE: Final = 1000
"""How many rows of a stream one round trip fetches; no more are in memory at once."""

_NUMBERS: Final = itertools.count(1)
_SEQUENCE_AT_ITS_END: Final = "2200H"
NOT_UNICODE: Final = "text with half of a surrogate pair cannot be stored"

DuplicateTrade = tuple[TradeResult | ResetResult, str | None]
"""The first result of a trade that this call repeated, and the token of its position."""


class TradeCache(Protocol):
    """The cache's side of trades. Never raises."""

    def now(self) -> CacheTimestamp:
        """The time at which a change starts."""
        ...

    def apply_trade(
        self, result: TradeResult | ResetResult, token_address: str | None, started_at: CacheTimestamp
    ) -> None:
        """Send the changes of a committed trade, or of a repeated one."""
        ...

    def apply_positions(self, positions: Sequence[AgentPosition], started_at: CacheTimestamp) -> None:
        """Send committed changes of positions."""
        ...

    def leave_to_outbox(self) -> None:
        """Leave the unknown changes of a committed trade to the outbox."""
        ...


class Session(ABC):
    """Runs a repository's queries."""

    cache: TradeCache | None = None
    """Cache notified of auto-committed trades. None without a cache and inside transactions, which notify after commit.
    """

    duplicates: list[DuplicateTrade] | None = None
    """Duplicates acknowledged in this transaction, and in inner ones that were not undone: a read after the COMMIT must
    see them. None outside of transactions."""

    @abstractmethod
    def run(self, bound: BoundQuery, call: Call) -> Any:
        """Send one query; return what its cardinality promises. Raises DatabaseError, RowCountError."""

    def run_many(self, calls: Sequence[tuple[BoundQuery, Call]], answers: list[Any]) -> None:
        """Run queries in their order and append what each returns: an error is of query ``len(answers)``."""
        for bound, call in calls:
            answers.append(self.run(bound, call))

    @abstractmethod
    def stream(self, bound: BoundQuery, call: Call) -> Generator[Any, None, None]:
        """Send one query and yield its rows as they are fetched. Raises DatabaseError at any row."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[Session]:
        """The session of a transaction: this session inside a transaction, else the session of a new one."""


class TransactionSession(Session):
    """The session of one transaction, on one connection, until the transaction ends."""

    def __init__(self, connection: PooledConnection, around: TransactionSession | None = None) -> None:
        self._connection = connection
        self.ended = False
        self.wrote_cached = False
        """May the transaction have changed cached rows?"""
        self.duplicates: list[DuplicateTrade] = []
        self._around = around

    def run(self, bound: BoundQuery, call: Call) -> Any:
        """Send one query in the transaction. Raises BlockMisuse after its end, DatabaseError, RowCountError."""
        if self.ended:
            raise BlockMisuse(f"{bound.name}: its transaction has ended")
        if changes_cached_rows(bound):
            self.expect_changes()
        try:
            return execute(self._connection, bound, call)
        except psycopg.Error as error:
            translated = _translated(self._connection, error, bound.name)
            if isinstance(translated, SchemaChanged):  # the pool must not hand out its stale statements again
                self._connection.close()
            raise translated from error

    def run_many(self, calls: Sequence[tuple[BoundQuery, Call]], answers: list[Any]) -> None:
        """As in Session, but all queries are sent before the first answer is read. Raises what ``run`` raises."""
        if self.ended:
            raise BlockMisuse("the transaction has ended")
        if any(changes_cached_rows(bound) for bound, _ in calls):
            self.expect_changes()
        cursors = [acquire_cursor(self._connection, call.text) for _, call in calls]
        try:
            with self._connection.pipeline():
                for cursor, (bound, call) in zip(cursors, calls, strict=True):
                    _send(cursor, bound, call)
                for cursor, (bound, call) in zip(cursors, calls, strict=True):
                    answers.append(read_answer(cursor, bound, call, alone=False))
                    release_cursor(cursor, call.text)
        except psycopg.Error as error:
            name = calls[min(len(answers), len(calls) - 1)][0].name
            translated = _translated(self._connection, error, name)
            if isinstance(translated, SchemaChanged):
                self._connection.close()
            raise translated from error

    def expect_changes(self) -> None:
        """Read the changes of cached rows before the COMMIT, here and in the transactions around."""
        if not self.wrote_cached:
            self.wrote_cached = True
            if self._around is not None:
                self._around.expect_changes()

    def stream(self, bound: BoundQuery, call: Call) -> Generator[Any, None, None]:
        """Fetch rows from a server-side cursor, FETCH_BATCH_SIZE at a time. Raises BlockMisuse, DatabaseError."""
        if self.ended:
            raise BlockMisuse(f"{bound.name}: its transaction has ended")
        name = b'"stream_%d"' % next(_NUMBERS)
        declare = Call(b"DECLARE " + name + b" CURSOR FOR " + call.text, call.values, call.row_factory)
        fetch = Call(b"FETCH FORWARD %d FROM %s" % (FETCH_BATCH_SIZE, name), (), call.row_factory)
        try:
            _send(Cursor(self._connection), bound, declare, prepare=False)
            while rows := self._fetch(bound, fetch):
                for row in rows:
                    yield row
                if len(rows) < FETCH_BATCH_SIZE:
                    break
        except psycopg.Error as error:
            raise _translated(self._connection, error, bound.name) from error
        except GeneratorExit:  # the caller stops before the last row
            self._close_cursor(name)
            raise
        self._close_cursor(name)

    def _fetch(self, bound: BoundQuery, call: Call) -> list[Any]:
        if self.ended:
            raise BlockMisuse(f"{bound.name}: its transaction has ended")
        cursor = Cursor(self._connection)
        _send(cursor, bound, call, prepare=False)
        cursor.wait_for_answer()
        return _read(cursor, bound, call, lambda rows, _: rows, alone=False)  # type: ignore[no-any-return]

    def _close_cursor(self, name: bytes) -> None:
        """Close the server's cursor. A transaction that has ended or failed has none."""
        usable = self._connection.pgconn.transaction_status == TransactionStatus.INTRANS
        if not self.ended and (usable or self._connection.pgconn.pipeline_status):
            with suppress(psycopg.Error):  # the next statement, or the end of the transaction, raises it
                self._connection.execute(b"CLOSE " + name)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """This session, which is in a transaction already."""
        yield self


class PoolSession(Session):
    """Runs each query on any connection of the pool and commits it at once."""

    def __init__(
        self,
        lease: Callable[[], Lease],
        transaction: Callable[[], AbstractContextManager[Session]],
        scope: RowScope,
    ) -> None:
        self._lease = lease
        self._transaction = transaction
        self._scope = scope

    def run(self, bound: BoundQuery, call: Call) -> Any:
        """Send one query on a connection of the pool, committed at once. Raises DatabaseError, RowCountError."""
        lease = self._lease()
        try:
            connection = lease.acquire()
            settings = self._scope.enter(connection)
            if (own := self._scope.own_call(bound, call)) is not None:
                call, settings = own, None
            try:
                return execute(connection, bound, call, settings)
            except psycopg.Error as error:
                translated = _translated(connection, error, bound.name)
                if not isinstance(translated, SchemaChanged):
                    raise translated from error
                return self._run_anew(connection, bound, call, settings)
        finally:
            lease.over = True
            lease.release()

    def _run_anew(
        self, connection: PooledConnection, bound: BoundQuery, call: Call, settings: TransactionSettings | None
    ) -> Any:
        """Prepare the statements again, after a migration has changed the result type of one."""
        try:
            connection.forget_statements()
            return execute(connection, bound, call, settings)
        except psycopg.Error as error:
            raise _translated(connection, error, bound.name) from error

    def stream(self, bound: BoundQuery, call: Call) -> Generator[Any, None, None]:
        """Fetch rows in a transaction of their own. Raises DatabaseError at any row."""
        lease = self._lease()
        try:
            connection = lease.acquire()
            connection.set_transaction_options(settings=self._scope.enter(connection))
            with connection.transaction(), closing(TransactionSession(connection).stream(bound, call)) as stream:
                for row in stream:
                    yield row
        except psycopg.Error as error:  # of BEGIN or COMMIT
            raise translate(error, bound.name) from error
        finally:
            lease.over = True
            lease.release()

    def transaction(self) -> AbstractContextManager[Session]:
        """A new transaction on a connection of the pool."""
        return self._transaction()


class CachedSession(Session):
    """A pool's session that sends changes to the cache. The result of a trade, or of a batch of prices, names its
    changes; any other statement that changes cached rows runs in a transaction, which reads them before its COMMIT."""

    def __init__(self, session: Session, cache: TradeCache) -> None:
        self._session = session
        self.cache = cache

    def run(self, bound: BoundQuery, call: Call) -> Any:
        """Run one statement; one that changes cached rows runs in a transaction that also reads the changes."""
        if bound.query.file == "trades" or not changes_cached_rows(bound):
            return self._session.run(bound, call)
        with self.transaction() as session:
            return session.run(bound, call)

    def stream(self, bound: BoundQuery, call: Call) -> Generator[Any, None, None]:
        """Stream rows. Reads change no cached row."""
        return self._session.stream(bound, call)

    def transaction(self) -> AbstractContextManager[Session]:
        """One transaction for several statements."""
        return self._session.transaction()


def execute(
    connection: PooledConnection, bound: BoundQuery, call: Call, settings: TransactionSettings | None = None
) -> Any:
    """Run one call on a connection and return its rows in the query's shape. Outside of transactions the
    connection's settings go with it, and then ``settings``.

    The driver's errors pass through: the server refused the statement, or the connection was lost. Raises InvalidInput
    for text that is not Unicode. Once the answer was received, raises CommittedButUnread when the statement was not
    part of a transaction and may have written, else UnreadableValue or RowCountError.
    """
    alone = connection.pgconn.transaction_status == TransactionStatus.IDLE
    cursor = acquire_cursor(connection, call.text, alone=alone)
    tracker = connection.tracker if alone else None
    if settings is None and tracker is None and (not alone or connection.transaction_settings is None):
        _send(cursor, bound, call, alone=alone)
    else:
        try:
            _send_together(connection, cursor, bound, call, settings, tracker)
        except psycopg.errors.ActiveSqlTransaction:  # nothing was done: the isolation was not as expected
            if connection.transaction_settings is None or connection.sets_isolation:
                raise
            connection.sets_isolation = True
            _send_together(connection, cursor, bound, call, settings, tracker)
    answer = read_answer(cursor, bound, call, alone=alone)
    release_cursor(cursor, call.text, alone=alone)
    return answer


def read_answer(cursor: Cursor, bound: BoundQuery, call: Call, *, alone: bool) -> Any:
    """What the query returns, once its answer has arrived; None without waiting for a query that returns nothing."""
    if bound.shape is not None:
        cursor.wait_for_answer()
        return _read(cursor, bound, call, bound.shape, alone=alone)
    if bound.counts:
        cursor.wait_for_answer()
        return cursor.rowcount
    return None


def _read(
    cursor: Cursor, bound: BoundQuery, call: Call, shape: Callable[[Sequence[Any], str], Any], *, alone: bool
) -> Any:
    """Read the rows of an answer that was received whole: an error here is never the server's."""
    try:
        cursor.row_factory = call.row_factory
        return shape(cursor.fetch_whole(), bound.name)
    except READ_FAILURES as error:
        place = _place_at_fault(cursor)
        failure = read_failure(bound, cursor.pgresult, error, place, committed=alone)
        if failure is error:
            raise
        raise failure from failure.__cause__


def _place_at_fault(cursor: Cursor) -> Place:
    """Where the value at fault stands. Asks the server for the table's name, unless the transaction has failed."""
    connection = cursor.connection
    column, table = place_at_fault(connection, cursor.pgresult)
    if table and connection.pgconn.transaction_status in (TransactionStatus.IDLE, TransactionStatus.INTRANS):
        with suppress(psycopg.Error):
            answer = connection.execute(b"SELECT relname::text FROM pg_class WHERE oid = %d" % table)
            return Place(column, (answer.fetchone() or (None,))[0])
    return Place(column, None)


def _send(cursor: Cursor, bound: BoundQuery, call: Call, *, alone: bool = False, prepare: bool | None = None) -> None:
    try:
        cursor.execute(call.text, call.values, prepare=prepare)
    except UnicodeEncodeError:  # nothing was sent
        raise InvalidInput(bound.name, NOT_UNICODE) from None
    except psycopg.Error:
        if not alone or cursor.pgresult is None:
            raise
        # The answer arrived, so the statement is committed; the driver failed to deallocate another prepared one.
        cursor.connection.close()


def send_settings(connection: PooledConnection, settings: TransactionSettings | None) -> None:
    """In a pipeline: send what the next statement's own transaction has to set, behind a pooler as well."""
    if connection.sets_isolation:
        connection.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
    if connection.transaction_settings is not None:
        connection.execute(connection.transaction_settings.statement_alone)
    if settings is not None:
        RawCursor(connection).execute(SET_LOCAL, settings.parameters)


def _send_together(
    connection: PooledConnection,
    cursor: Cursor,
    bound: BoundQuery,
    call: Call,
    settings: TransactionSettings | None,
    tracker: PrimaryTracker | None,
) -> None:
    """Send the settings and the statement in one pipeline, which the server runs as one transaction without
    BEGIN, and after its end the question for the position in the log."""
    position = None
    try:
        with connection.pipeline():
            send_settings(connection, settings)
            cursor.execute(call.text, call.values)
            if tracker is not None:
                position = tracker.ask(connection)
    except UnicodeEncodeError:  # nothing was sent
        raise InvalidInput(bound.name, NOT_UNICODE) from None
    except psycopg.Error:
        if tracker is None or cursor.pgresult is None:
            raise
        # The answer arrived, so the statement is committed; only its position is unknown.
    if tracker is not None:
        tracker.note(position)


def _translated(connection: PooledConnection, error: psycopg.Error, name: str) -> NexgentError:
    """The driver's error as ours; one about a missing object names the cell."""
    translated = translate(error, name, read_only=bool(connection.read_only))
    if connection.prepared.schema is not None and isinstance(translated, SchemaNotReady):
        translated.args = (f"schema {connection.prepared.schema}: {translated}",)
    if error.sqlstate == _SEQUENCE_AT_ITS_END:
        translated.args = (
            f"{name}: the cell is on another node of Citus, and only that gives versions of rows: connect to it for"
            f" transactions with trades (nexgent-db cells list): {translated}",
        )
    return translated
