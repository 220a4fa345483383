"""A pooled connection: its states, their transitions, and a limit on every wait for the server.

=================  ===================================================  ================================================
state              meaning                                              transitions
=================  ===================================================  ================================================
RELEASED           idle in the pool                                     a lease acquires it: ACQUIRED; bytes are pending
                                                                        (a notice, a shutdown): one round trip decides
                                                                        between ACQUIRED and DEAD
ACQUIRED           a lease has it, no transaction is open               statement: IN_USE; release: RELEASED
IN_USE             a wait for the server is under way                   answer: ACQUIRED, IN_TRANSACTION or IN_PIPELINE;
                                                                        interruption: DOUBTFUL; limit reached: DEAD
IN_TRANSACTION     idle inside a transaction                            COMMIT or ROLLBACK: ACQUIRED; release: DEAD
IN_PIPELINE        libpq or the driver is in pipeline mode              the pipeline ends: ACQUIRED or IN_TRANSACTION;
                                                                        interruption, release: DEAD
DOUBTFUL           a wait was interrupted, or a server that accepts     the server confirms the cancellation in time:
                   no writes refused one                                ACQUIRED or IN_TRANSACTION; release: DEAD
DEAD               closed, or the parent's after a fork                 none
=================  ===================================================  ================================================

So one rule covers every way out of a transaction, a query or a stream: a connection that is released as ACQUIRED, with
its first session settings, goes back to the pool. Any other is closed, and the server rolls back its open transaction.

The state is read from libpq and the driver, not stored beside them. Only what neither knows is stored: that a wait has
started and not ended in order. It is noted before the wait, so an interruption between any two lines leaves it noted.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from enum import Enum
from types import TracebackType
from typing import Any, Final, TypeVar

import psycopg
from psycopg import AsyncTransaction, IsolationLevel, capabilities, generators, sql, waiting
from psycopg.abc import PQGen
from psycopg.pq import ExecStatus, Format, PipelineStatus, TransactionStatus
from psycopg.pq.abc import PGresult

from nexgent_db._concurrency import async_caller, async_deadline, replace_inherited_socket
from nexgent_db.aio.cursors import CursorCache
from nexgent_db.aio.prepared import PreparedBySchema
from nexgent_db.aio.unread import limited, poll
from nexgent_db.aio.wal import SynchronizedPipeline, TrackedConnection
from nexgent_db.errors import AnswerTooLong, BlockMisuse
from nexgent_db.errors.translation import LIMIT_REACHED
from nexgent_db.poolers import TransactionSettings

T = TypeVar("T")

_LOG: Final = logging.getLogger("nexgent_db")

ANSWER_MARGIN_S: Final = 2.0
"""A caller waits this much longer for an answer than the server may work on the statement."""
CANCEL_S: Final = 0.4
"""An interrupted wait ends within twice this: once for the cancel request, once for the server's answer."""
_INTERVAL_S: Final = 0.1
"""How often a wait checks for signals."""
_REPORTED: Final = (
    b"TimeZone",
    b"DateStyle",
    b"IntervalStyle",
    b"client_encoding",
    b"standard_conforming_strings",  # the last of the _FORMATS
    b"session_authorization",
    b"search_path",  # from PostgreSQL 18 on
    b"in_hot_standby",
    b"default_transaction_read_only",
)
"""The settings whose changes the server reports unasked, so comparing them costs no round trip."""
_FORMATS: Final = 5
"""How many of them decide on the form of values."""


class ConnectionState(Enum):
    """The state of a pooled connection: see the module's table."""

    RELEASED = "released"
    ACQUIRED = "acquired"
    IN_USE = "in use"
    IN_TRANSACTION = "in transaction"
    IN_PIPELINE = "in pipeline"
    DOUBTFUL = "doubtful"
    DEAD = "dead"


# Read at every release, and Python 3.11 looks an enumeration's members up slowly.
_ACQUIRED: Final = ConnectionState.ACQUIRED
_IDLE: Final = int(TransactionStatus.IDLE)
_ACTIVE: Final = int(TransactionStatus.ACTIVE)
_UNKNOWN: Final = int(TransactionStatus.UNKNOWN)
_NO_PIPELINE: Final = int(PipelineStatus.OFF)


class PooledTransaction(AsyncTransaction):
    """The driver's transaction, but a rollback that does not finish closes the connection.

    The driver only logs an exception that stops a rollback, a signal's too: the outer transaction would then commit the
    changes that the inner one should undo.
    """

    _conn: PooledConnection

    def _exit_gen(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> PQGen[bool]:
        if exc_val is None:
            return (yield from super()._exit_gen(exc_type, exc_val, exc_tb))
        undone = False
        try:
            handled = yield from self._rollback_gen(exc_val)
            undone = True
        except psycopg.Error as error:
            _LOG.info("rollback failed, the connection is closed: %s", type(error).__name__)
            return False
        finally:
            if not undone:
                self._conn.finish()
        return handled


class _Pipeline(SynchronizedPipeline):
    """The driver's pipeline, but an interrupted end closes the connection: the next caller would get its answers.

    The driver only logs an interruption, a signal's exception too, when another exception leaves the pipeline.
    """

    _conn: PooledConnection

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        left_by = exc_val
        try:
            async with self._lock:
                await self._conn.wait(self._exit_gen())
        except psycopg.Error as error:  # the server refused a statement; the other answers were read
            left_by = left_by or error
            if exc_val is None:
                raise
        except BaseException:
            self._conn.finish()
            raise
        finally:
            self._exit(left_by)


class PooledConnection(TrackedConnection):
    """A connection whose every wait ends: with the answer, an error, or ConnectionLost from a silent server."""

    _pool = None  # so the driver does not warn when the program ends before the connection is closed

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._prepared = self.prepared = PreparedBySchema()
        self.max_answer_bytes = 0
        """How long an answer may be; 0: any length."""
        self.limit_s: float | None = None
        """How long to wait for one answer; None: without limit, because the server has no statement_timeout."""
        self.released = False
        self.silent = False
        """Was it closed because the server did not answer in time?"""
        self.last_caller: object = None
        """The task that waited for the server last: an open transaction belongs to it."""
        self._default_limit_s: float | None = None
        self._statement_timeout_s: float | None = None
        self._waiting = False
        self._doubtful = False
        self._inherited = False
        self._owner_pid = os.getpid()
        self._settings: tuple[bytes | None, ...] = ()
        self.transaction_settings: TransactionSettings | None = None
        """What each transaction has to set for itself, because a pooler shares the session; None: nothing."""
        self.sets_isolation = False
        """Must each call outside of transactions set its isolation, because sessions begin with another one?"""
        self._opening: TransactionSettings | None = None
        self.tenant_settings: dict[str | None, TransactionSettings] = {}
        """What else each transaction for a user has to set, once this connection was found to show one user's rows: by
        the search path of the cell, None for the session's own."""
        self.cursors = CursorCache()
        """Cursors to use again, while the session has its first settings."""
        self._poll: Callable[[], Sequence[object]] | None = None

    @property
    def state(self) -> ConnectionState:
        """The present state, as libpq and the driver report it."""
        transaction = self.pgconn.transaction_status
        if self._inherited or transaction == _UNKNOWN:  # the connection is closed
            return ConnectionState.DEAD
        if self._doubtful:
            return ConnectionState.DOUBTFUL
        if self._waiting or transaction == _ACTIVE:
            return ConnectionState.IN_USE
        if self._pipeline is not None or self.pgconn.pipeline_status != _NO_PIPELINE:
            return ConnectionState.IN_PIPELINE
        if self._num_transactions or transaction != _IDLE:
            return ConnectionState.IN_TRANSACTION
        return ConnectionState.RELEASED if self.released else _ACQUIRED

    def may_be_released(self) -> bool:
        """Is it as good as new: acquired, with nothing open or pending, and with its first session settings?"""
        return self.state is _ACQUIRED and self.has_first_settings()

    def has_first_settings(self) -> bool:
        """Are the settings on which the meaning of SQL and of answers depends still the first ones?"""
        return self._reported() == self._settings

    def release(self) -> None:
        """ACQUIRED to RELEASED: resets the options of the last transaction."""
        self.set_transaction_options()
        self.limit_s = self._default_limit_s
        self.last_caller = None
        self.prepared.enter(None)
        self.released = True

    def acquire(self) -> None:
        """RELEASED to ACQUIRED."""
        self.released = False

    def has_pending_bytes(self) -> bool:
        """Has the server sent something that nobody has read? Costs no round trip."""
        if self._poll is None:
            self._poll = poll(self.fileno())
        return bool(self._poll())

    def set_transaction_options(
        self,
        isolation: IsolationLevel | None = None,
        read_only: bool = False,
        deferrable: bool = False,
        statement_timeout_s: float | None = None,
        settings: TransactionSettings | None = None,
    ) -> None:
        """Set the options of the next BEGIN, the settings that go with it after ``transaction_settings``, and the limit
        of its answers. The driver's own setters would wait."""
        shared = self.transaction_settings is not None  # then the session's default may be anything
        self._isolation_level = isolation or (IsolationLevel.READ_COMMITTED if shared else None)
        self._read_only = read_only or None
        self._deferrable = deferrable or None
        self._begin_statement = b""
        self._opening = settings
        self._statement_timeout_s = statement_timeout_s
        if statement_timeout_s is not None and self.limit_s is not None:
            self.limit_s = max(self.limit_s, statement_timeout_s + ANSWER_MARGIN_S)

    def begin_life(self, limit_s: float | None) -> None:
        """Note the limit of answers, and the session's settings, which are the first ones from now on."""
        self.limit_s = self._default_limit_s = limit_s
        self._settings = self._reported()

    def has_first_formats(self) -> bool:
        """Are the settings on which the form of values depends still the first ones?"""
        return self._reported()[:_FORMATS] == self._settings[:_FORMATS]

    def _reported(self) -> tuple[bytes | None, ...]:
        return tuple(map(self.pgconn.parameter_status, _REPORTED))

    @asynccontextmanager
    async def transaction(
        self, savepoint_name: str | None = None, force_rollback: bool = False
    ) -> AsyncIterator[AsyncTransaction]:
        """The driver's transaction; a rollback that does not finish closes the connection."""
        transaction = PooledTransaction(self, savepoint_name, force_rollback)
        if self._pipeline:
            async with self.pipeline(), transaction, self.pipeline():
                yield transaction
        else:
            async with transaction:
                yield transaction

    def _exec_command(self, command: Any, result_format: Format = Format.TEXT) -> PQGen[PGresult | None]:
        """The driver's, but BEGIN is sent together with the settings of its transaction, in one round trip.

        Behind a pooler, the answer to any command may come after the news that its session has ended.
        """
        begins = bool(command) and command is self._begin_statement
        settings = [each.statement for each in (self.transaction_settings, self._opening) if each] if begins else []
        if not settings and (self.transaction_settings is None or self.tracker is not None):
            result: PGresult | None = yield from super()._exec_command(command, result_format)
            return result
        if self._pipeline is not None:  # which takes one statement at a time
            for each in (command, *settings):
                yield from super()._exec_command(each, result_format)
            return None
        self._check_connection_ok()
        text = (
            command
            if isinstance(command, bytes)
            else (sql.SQL(command) if isinstance(command, str) else command).as_bytes(self)
        )
        self.pgconn.send_query(b"; ".join([text, *settings]))
        results: list[PGresult] = yield from generators.execute(self.pgconn)
        for result in results:
            if result.status == ExecStatus.FATAL_ERROR:
                raise psycopg.errors.error_from_result(result, encoding=self.pgconn._encoding)
        return results[-1]

    async def forget_statements(self) -> None:
        """Prepare each statement anew. Behind a pooler, which keeps them for other clients, prepare none any more."""
        if self.transaction_settings is None:
            await self.execute("DEALLOCATE ALL")
        else:
            self.prepare_threshold = None

    def pipeline(self) -> Any:
        """The driver's pipeline; an interrupted end closes the connection."""
        if self._pipeline is None:
            self._pipeline = _Pipeline(self)
        return super().pipeline()

    # --- Waits ------------------------------------------------------------------------------------

    async def wait(
        self,
        gen: PQGen[T],
        interval: float = _INTERVAL_S,
        timeout: float | None = None,  # noqa: ASYNC109  # the driver's
    ) -> T:
        """The driver's wait for the server, within ``limit_s``.

        Raises BlockMisuse in a forked child; AnswerTooLong, and psycopg.OperationalError when the server stays silent:
        both close the connection. A cancelled task, or an interrupted thread, gets its exception within twice
        CANCEL_S.
        """
        if self._inherited:
            raise BlockMisuse(
                f"begun in process {self._owner_pid}, which forked; this is process {os.getpid()}: begin one of its own"
            )
        limit = self._wait_limit_s() if timeout is None else timeout
        if self.max_answer_bytes:
            gen = limited(gen, self.pgconn.socket, self.max_answer_bytes)
        self._waiting = True
        self.last_caller = async_caller()
        started = time.monotonic()
        try:
            result = await waiting.wait_async(gen, self.pgconn.socket, interval=interval, timeout=limit)
        except psycopg.errors._WaitTimeout:
            if timeout is not None:  # the driver chose this limit itself, for notifications for example
                self._waiting = False
                raise
            self.silent = True
            self._finish_amid(gen)
            raise psycopg.OperationalError(f"the server did not answer within {limit} s: connection closed") from None
        except AnswerTooLong:
            self._finish_amid(gen)
            raise
        except psycopg.Error as error:
            self._waiting = False
            if error.sqlstate == "25006" and self.accepts_no_writes():
                self._doubtful = True  # the next connection may reach the new primary
            if error.sqlstate == "57014":  # counted here from before it is sent: never shorter than on the server
                own_s = self._statement_timeout_s or (self._default_limit_s or math.inf) - ANSWER_MARGIN_S
                if time.monotonic() - started >= own_s:
                    error.add_note(LIMIT_REACHED)
            raise
        except BaseException:
            self._doubtful = True
            await self._interrupted(gen)
            raise
        self._waiting = False
        return result

    def _wait_limit_s(self) -> float | None:
        """The limit of one wait. In a pipeline a wait covers several statements, each with a limit of its own."""
        if self._pipeline is None or self.limit_s is None:
            return self.limit_s
        statements = 1 + len(self._pipeline.command_queue) + len(self._pipeline.result_queue)
        margin_s = ANSWER_MARGIN_S if self.limit_s > ANSWER_MARGIN_S else 0.0
        return statements * (self.limit_s - margin_s) + margin_s

    async def _interrupted(self, gen: PQGen[Any]) -> None:
        """Ask the server to cancel its statement; close the connection unless the server confirms in time."""
        confirmed = False
        try:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                confirmed = await self._cancelled(gen)
        finally:
            if confirmed:
                self._waiting = self._doubtful = False
            else:
                self._finish_amid(gen)

    def _finish_amid(self, gen: PQGen[Any]) -> None:
        """Close, and end the driver's generator here: later it would raise where no caller could catch it."""
        self.finish()
        with suppress(psycopg.Error):
            gen.close()

    async def _cancelled(self, gen: PQGen[Any]) -> bool:
        """Has the server ended the statement, and the driver read its whole answer?"""
        try:
            if capabilities.has_cancel_safe():  # libpq before 17 has no cancel request with a time limit
                async with async_deadline(CANCEL_S):
                    await self.cancel_safe(timeout=CANCEL_S)
            if self._pipeline is not None:
                return False  # it is unknown which of its statements were cancelled
            await waiting.wait_async(gen, self.pgconn.socket, interval=_INTERVAL_S, timeout=CANCEL_S)
        except psycopg.errors.QueryCanceled:
            pass
        except (psycopg.Error, TimeoutError):
            return False
        return self.pgconn.transaction_status in (
            TransactionStatus.IDLE,
            TransactionStatus.INTRANS,
            TransactionStatus.INERROR,
        )

    def accepts_no_writes(self) -> bool:
        """Is the server a standby, or read-only, by its last report?"""
        names = (b"in_hot_standby", b"default_transaction_read_only")
        return any(self.pgconn.parameter_status(name) == b"on" for name in names)

    # --- The end ----------------------------------------------------------------------------------

    def finish(self) -> None:
        """Close at once, without waiting; the server rolls back an open transaction."""
        self._closed = True
        self.cursors.clear()  # they refer to this connection
        if not self._inherited:
            self.pgconn.finish()

    async def close(self) -> None:
        """The driver's name for :meth:`finish`."""
        self.finish()

    def abandon(self) -> None:
        """In a forked child: drop the parent's socket without sending a byte, and refuse every use."""
        self._inherited = self._closed = True
        self.last_caller = None  # no caller of this process is inside one of the parent's transactions
        with suppress(psycopg.Error):  # it was closed before the fork
            replace_inherited_socket(self.pgconn.socket)
