"""Relays the outbox: applies committed changes to the cache and deletes them from the table ``cache_outbox``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import TYPE_CHECKING, Final

from nexgent_db._text import described, visible
from nexgent_db.aio.cache.metrics import Counters
from nexgent_db.aio.cache.queries import CacheQueries
from nexgent_db.aio.session import Session
from nexgent_db.aio.turns import in_turns
from nexgent_db.cache.batch import Batch, Change, latest
from nexgent_db.cache.breaker import CacheUnavailable
from nexgent_db.errors import CommittedButUnread, NexgentError, UnreadableValue

if TYPE_CHECKING:
    from nexgent_db.aio.cache.client import CacheClient

RELAY_BATCH_SIZE: Final = 500
"""How many changes one relay takes from the outbox, and holds in memory."""
COMPACTED_AGE_S: Final = 3600.0
"""Without Redis, older outbox entries are compacted into one flush entry: to empty the cache later is cheaper."""
COMPACTION_BATCH_SIZE: Final = 10_000
_LOG: Final = logging.getLogger("nexgent_db.cache")


class OutboxRelay:
    """Relays the oldest changes, RELAY_BATCH_SIZE at a time. Raises what queries raise."""

    def __init__(
        self,
        queries: CacheQueries,
        transaction: Callable[[], AbstractAsyncContextManager[Session]],
        counters: Counters,
    ) -> None:
        self._queries = queries
        self._transaction = transaction
        self._counters = counters

    async def relay(self, client: CacheClient) -> int:
        """Apply the oldest changes and delete them from the outbox; their number. Raises CacheUnavailable.

        When a row cannot be read, such as one with an infinite time, all changes are compacted into a flush entry, and
        the cache is emptied: otherwise no later change would ever be applied.
        """
        try:
            return await self._relay(client)
        except (_Unreadable, UnreadableValue, CommittedButUnread) as error:
            log(logging.WARNING, "changes cannot be read: the cache is emptied instead", error)
            await self._queries.compact_outbox(RELAY_BATCH_SIZE, 0.0)
            return await self._relay(client)

    async def _relay(self, client: CacheClient) -> int:
        started_at = client.now()
        async with self._transaction() as session:
            changes = await CacheQueries(session).take_changes(RELAY_BATCH_SIZE)
            if not changes:
                return 0
            if any(change.entity == "everything" for change, *_ in changes):
                # Nothing is written then: a table may have been truncated, and that entry relayed, since this read.
                if not await client.epoch.reset():
                    raise CacheUnavailable("another process empties the cache")
            elif batch := await _batch_of(changes, client):
                self._counters.repaired += await client.write(batch, started_at, committed=True)
        self._counters.relayed += len(changes)
        return len(changes)

    async def compact(self, age_s: float) -> int:
        """Replace entries of this age by one flush entry; their number, COMPACTION_BATCH_SIZE at most.

        A process with a cache, now or later, empties the cache before it reads it again.
        """
        return await self._queries.compact_outbox(COMPACTION_BATCH_SIZE, age_s)


class _Unreadable(Exception):
    """A row of the database has no cached form."""


async def _batch_of(changes: Sequence[Change], client: CacheClient) -> Batch:
    batch = Batch(client.keys)
    try:
        await in_turns(batch.change, latest(changes))
    except Exception as error:
        raise _Unreadable(str(error)) from error
    return batch


def log(level: int, message: str, error: BaseException, *arguments: object) -> None:
    """Log an error; a failure of the log itself is ignored."""
    with suppress(Exception):
        known = isinstance(error, (CacheUnavailable, NexgentError))
        _LOG.log(level, f"{message}: %s", *arguments, visible(repr(error)) if known else described(error))
