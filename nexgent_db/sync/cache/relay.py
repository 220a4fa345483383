# Generated from nexgent_db/aio/cache/relay.py by `make sync`: do not edit.
"""Relays the outbox: applies committed changes to the cache and deletes them from the table ``cache_outbox``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Final

from nexgent_db._text import described, visible
from nexgent_db.cache.batch import Batch, Change, latest
from nexgent_db.cache.breaker import CacheUnavailable
from nexgent_db.errors import CommittedButUnread, NexgentError, UnreadableValue
from nexgent_db.sync.cache.metrics import Counters
from nexgent_db.sync.cache.queries import CacheQueries
from nexgent_db.sync.session import Session
from nexgent_db.sync.turns import in_turns

if TYPE_CHECKING:
    from nexgent_db.sync.cache.client import CacheClient

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
        transaction: Callable[[], AbstractContextManager[Session]],
        counters: Counters,
    ) -> None:
        self._queries = queries
        self._transaction = transaction
        self._counters = counters

    def relay(self, client: CacheClient) -> int:
        """Apply the oldest changes and delete them from the outbox; their number. Raises CacheUnavailable.

        When a row cannot be read, such as one with an infinite time, all changes are compacted into a flush entry, and
        the cache is emptied: otherwise no later change would ever be applied.
        """
        try:
            return self._relay(client)
        except (_Unreadable, UnreadableValue, CommittedButUnread) as error:
            log(logging.WARNING, "changes cannot be read: the cache is emptied instead", error)
            self._queries.compact_outbox(RELAY_BATCH_SIZE, 0.0)
            return self._relay(client)

    def _relay(self, client: CacheClient) -> int:
        started_at = client.now()
        with self._transaction() as session:
            changes = CacheQueries(session).take_changes(RELAY_BATCH_SIZE)
            if not changes:
                return 0
            if any(change.entity == "everything" for change, *_ in changes):
                # Nothing is written then: a table may have been truncated, and that entry relayed, since this read.
                if not client.epoch.reset():
                    raise CacheUnavailable("another process empties the cache")
            elif batch := _batch_of(changes, client):
                self._counters.repaired += client.write(batch, started_at, committed=True)
        self._counters.relayed += len(changes)
        return len(changes)

    def compact(self, age_s: float) -> int:
        """Replace entries of this age by one flush entry; their number, COMPACTION_BATCH_SIZE at most.

        A process with a cache, now or later, empties the cache before it reads it again.
        """
        return self._queries.compact_outbox(COMPACTION_BATCH_SIZE, age_s)


class _Unreadable(Exception):
    """A row of the database has no cached form."""


def _batch_of(changes: Sequence[Change], client: CacheClient) -> Batch:
    batch = Batch(client.keys)
    try:
        in_turns(batch.change, latest(changes))
    except Exception as error:
        raise _Unreadable(str(error)) from error
    return batch


def log(level: int, message: str, error: BaseException, *arguments: object) -> None:
    """Log an error; a failure of the log itself is ignored."""
    with suppress(Exception):
        known = isinstance(error, (CacheUnavailable, NexgentError))
        _LOG.log(level, f"{message}: %s", *arguments, visible(repr(error)) if known else described(error))
