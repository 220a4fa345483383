"""Applies this process's commits to the cache: for sessions and transactions, never for users.

Nothing here fails a transaction, or reports a failure to the caller of a committed one. A change that cannot be applied
stays in the outbox, where every change stands; this process reads the database until the change is applied.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import AsyncRawCursor
from psycopg.pq import TransactionStatus

from nexgent_db.aio.cache.queries import CacheQueries
from nexgent_db.aio.cache.recovery import Recovery
from nexgent_db.aio.cache.relay import log
from nexgent_db.aio.cursors import Cursor
from nexgent_db.aio.session import DuplicateTrade, TransactionSession
from nexgent_db.aio.turns import in_turns
from nexgent_db.cache.batch import Batch, CacheTimestamp, Change, latest
from nexgent_db.cache.breaker import CacheUnavailable
from nexgent_db.errors import NexgentError
from nexgent_db.models import AgentTransaction
from nexgent_db.models.cache import CacheChange
from nexgent_db.models.positions import AgentPosition
from nexgent_db.models.trades import ResetResult, TradeResult
from nexgent_db.queries.binding import BoundQuery, Call

if TYPE_CHECKING:
    from nexgent_db.aio.cache.client import CacheClient
    from nexgent_db.aio.connection import PooledConnection

MAX_CHANGES: Final = 1000
"""A transaction with more changes leaves them to the outbox."""
_MAX_NAMED: Final = 5
"""How many of a transaction's rows the log names."""
_LOG: Final = logging.getLogger("nexgent_db.cache")
_SAVEPOINT: Final = b"SAVEPOINT own_changes"
_WAIT_FOR_NO_LOCK: Final = b"""
SELECT
    set_config('nexgent.lock_timeout', current_setting('lock_timeout'), true),
    set_config('lock_timeout', '1ms', true)
"""
_WAIT_AGAIN: Final = b"SELECT set_config('lock_timeout', current_setting('nexgent.lock_timeout'), true)"
_BACK: Final = b"ROLLBACK TO SAVEPOINT own_changes"


class CacheWriter:
    """Sends committed changes to the cache."""

    def __init__(self, recovery: Recovery) -> None:
        self._recovery = recovery

    @property
    def accepts_writes(self) -> bool:
        """May changes be applied now? When not, the breaker counts an unapplied write."""
        client = self._recovery.client
        return client is not None and client.breaker.may_write()

    @property
    def seen(self) -> int:
        """A version that was cached in this epoch: every version that is given from now on is above it."""
        client = self._recovery.client
        return 0 if client is None else client.highest_sent

    def now(self) -> CacheTimestamp:
        """The start of a change."""
        client = self._recovery.client
        return CacheTimestamp(b"", 0) if client is None else client.now()

    def distrust_database(self) -> None:
        """On a new connection, when Redis has not answered: verify the database before the cache is used again."""
        client = self._recovery.client
        if client is not None and client.breaker.answers:
            client.breaker.fail("the database of a new connection is not verified", unapplied_write=True)
            self._recovery.recover_soon()

    @property
    def answers(self) -> bool:
        """Does Redis answer, by its last call?"""
        client = self._recovery.client
        return client is not None and client.breaker.answers

    async def verify_database(self, session: TransactionSession) -> None:
        """On a new connection: make sure that the database is still the one that the cache belongs to. Never raises.

        After a failover to an older state, or a restore, the epoch is invalidated for every process.
        """
        client = self._recovery.client
        if client is None:
            return
        try:
            await self._recovery.verify_database(client, CacheQueries(session).identity)
        except NexgentError as error:
            _LOG.warning("the database does not report its identity: %s", error)
        except CacheUnavailable:
            self._recovery.recover_soon()
        except Exception as error:  # the connection is good; what the cache holds is unknown
            log(logging.WARNING, "the cache's database cannot be verified", error)
            self.leave_to_outbox()

    async def apply_trade(
        self, result: TradeResult | ResetResult, token_address: str | None, started_at: CacheTimestamp
    ) -> None:
        """Send the changes of a committed trade in one message; a later call reads the reply. Never raises."""
        client = self._recovery.client
        if client is None:
            return

        async def fill(batch: Batch) -> None:
            batch.trade(result, token_address)

        try:
            await self._apply(client, fill, started_at)
        except BaseException as error:
            self._leave(error, "trade", [str(transaction.id) for transaction in _transactions_of(result)])
            if not isinstance(error, Exception):  # a cancelled caller does not know of the trade
                raise

    async def apply_positions(self, positions: Sequence[AgentPosition], started_at: CacheTimestamp) -> None:
        """Send the changes of committed positions in one message, as ``apply_trade`` does. Never raises."""
        client = self._recovery.client
        if client is None:
            return

        async def fill(batch: Batch) -> None:
            await in_turns(batch.position, positions)

        try:
            await self._apply(client, fill, started_at)
        except BaseException as error:
            self._leave(error, "batch of prices", [str(position.id) for position in positions])
            if not isinstance(error, Exception):
                raise

    async def changes_of(self, session: TransactionSession, seen: int) -> list[Change] | None:
        """The changes of the session's transaction, to be applied after its COMMIT: one round trip to the database.

        None when they cannot be read: the transaction is then as it was before, and may be committed. The query waits
        for no lock. Raises what queries raise when the transaction cannot go on.
        """
        connection, bound = session._connection, CacheQueries.queries["own_changes"]
        try:
            changes: list[Change] = await _read_aside(connection, bound, bound.call((seen, MAX_CHANGES + 1), {}))
        except Exception as error:
            if connection.info.transaction_status is not TransactionStatus.INTRANS:
                raise  # its COMMIT would be a ROLLBACK
            # A serializable transaction may conflict by this read, as by any other: its COMMIT decides.
            level = logging.DEBUG if isinstance(error, psycopg.errors.SerializationFailure) else logging.WARNING
            log(level, "a transaction's changes cannot be read, they are left to the outbox", error)
            return None
        return changes

    def leave_to_outbox(self) -> None:
        """After a commit with unknown changes: read the database until the outbox is relayed. Never raises."""
        client = self._recovery.client
        if client is not None:
            client.breaker.add_unapplied_write()
            self._recovery.recover_soon()

    async def apply_changes(
        self, changes: Sequence[Change], replays: Sequence[DuplicateTrade], started_at: CacheTimestamp
    ) -> None:
        """Send committed changes, and repeated trades, as ``apply_trade`` does. Never raises."""
        client = self._recovery.client
        if client is None:
            return
        if len(changes) > MAX_CHANGES or any(change.entity == "everything" for change, *_ in changes):
            self.leave_to_outbox()
            return

        async def fill(batch: Batch) -> None:
            await in_turns(batch.change, latest(changes))
            await in_turns(lambda replay: batch.trade(*replay), replays)

        try:
            await self._apply(client, fill, started_at)
        except BaseException as error:
            self._leave(error, "transaction", [_name_of(change) for change, *_ in changes])
            if not isinstance(error, Exception):
                raise

    async def _apply(
        self, client: CacheClient, fill: Callable[[Batch], Awaitable[None]], started_at: CacheTimestamp
    ) -> None:
        """Send committed changes, in the order of the calls. Raises CacheUnavailable, and more."""
        if not client.breaker.may_write():
            self._recovery.recover_soon()
            return
        batch = Batch(client.keys)
        await fill(batch)
        if batch:
            await self._send(client, batch, started_at)

    async def _send(self, client: CacheClient, batch: Batch, started_at: CacheTimestamp) -> None:
        await client.send(batch, started_at)

    def _leave(self, error: BaseException, what: str, names: Sequence[str]) -> None:
        """After a failure: the commit stands, and so do its changes in the outbox."""
        self.leave_to_outbox()
        message = f"a {what} was committed (%s), but not applied to the cache: it is left to the outbox"
        named = ", ".join(names[:_MAX_NAMED]) + ("…" if len(names) > _MAX_NAMED else "")
        log(logging.WARNING, message, error, named)


def _transactions_of(result: TradeResult | ResetResult) -> Sequence[AgentTransaction]:
    return result.transactions if isinstance(result, ResetResult) else (result.transaction,)


def _name_of(change: CacheChange) -> str:
    return f"{change.entity} {change.row_id}" + ("" if change.entity == "agent" else f" of agent {change.agent_id}")


async def _read_aside(connection: PooledConnection, bound: BoundQuery, call: Call) -> Any:
    """Run a query in the connection's transaction, in one round trip; when the query fails, the transaction goes on.

    The query waits for no lock: the transaction holds those of the tables that it changed, not of all tables that the
    query reads, and a migration may hold another one for long.
    """
    cursor, around = Cursor(connection), AsyncRawCursor(connection)
    try:
        async with connection.pipeline():
            await around.execute(_SAVEPOINT)
            await around.execute(_WAIT_FOR_NO_LOCK)
            await cursor.execute(call.text, call.values)
            await around.execute(_WAIT_AGAIN)
    except psycopg.Error:
        if not connection.closed:
            await connection.execute(_BACK)  # which also restores lock_timeout
        raise
    finally:
        if connection.pgconn.pipeline_status:  # cancelled inside the pipeline: no caller may get this connection again
            await connection.close()
    assert bound.shape is not None
    cursor.row_factory = call.row_factory
    return bound.shape(await cursor.fetch_whole(), bound.name)
