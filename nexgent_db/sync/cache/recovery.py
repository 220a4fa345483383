# Generated from nexgent_db/aio/cache/recovery.py by `make sync`: do not edit.
"""Decides whether the cache may be used, finds Redis again after a failure, and verifies the database."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final

from nexgent_db._concurrency import Background, reset_after_fork
from nexgent_db.cache.breaker import CacheUnavailable, State
from nexgent_db.errors import NexgentError
from nexgent_db.models.cache import DatabaseIdentity
from nexgent_db.sync.cache.metrics import Counters
from nexgent_db.sync.cache.queries import CacheQueries
from nexgent_db.sync.cache.relay import OutboxRelay, log
from nexgent_db.sync.session import Session

if TYPE_CHECKING:
    from nexgent_db.sync.cache.client import CacheClient

PROBE_S: Final = 0.5
"""The pause between two attempts to find Redis."""
OPENING_S: Final = 1.0
"""How long opening relays the outbox. Reads go to the database until the outbox is relayed."""
_LOG: Final = logging.getLogger("nexgent_db.cache")


class Recovery:
    """The parts of the cache get their client here: only one that may be used at the moment. ``client`` is None without
    Redis."""

    def __init__(
        self,
        client: CacheClient | None,
        queries: CacheQueries,
        transaction: Callable[[], AbstractContextManager[Session]],
    ) -> None:
        self.client = client
        self.queries = queries
        self.counters = Counters()
        self.maintained = True
        """False from the stop of maintenance to its next start."""
        self.closed = False
        self.relay = OutboxRelay(queries, transaction, self.counters)
        self._background = Background()
        if client is not None:
            reset_after_fork(self)

    def reset_after_fork(self) -> None:
        """In a child process: start anew. The next read looks for Redis, as after a failure."""
        self._background.reset_after_fork()
        self.counters.reset()

    def open(self) -> None:
        """Find Redis; when it does not answer, go on in the background. Never raises for Redis."""
        self.closed = False
        self._background.open()
        if self.client is not None and not self.recover(OPENING_S):
            self.recover_soon()

    def open_soon(self) -> None:
        """Find Redis in the background; until then every read goes to the database."""
        self.closed = False
        self._background.open()
        if self.client is not None:
            self._background.start(self.recover, PROBE_S, at_once=True)

    def close(self) -> None:
        """Stop the background's work, and close the connections to Redis."""
        self.closed = True
        self._background.close()
        if self.client is not None:
            self.client.close()

    # --- The client -------------------------------------------------------------------------------

    def readable(self) -> CacheClient | None:
        """The client, when the cache holds every change of this process; else None, and Redis is looked for."""
        if self.client is None or self.client.breaker.may_read:
            return self.client
        self.recover_soon()
        return None

    def answering(self) -> CacheClient | None:
        """The client, unless Redis has failed and was not reached since; else None, and Redis is looked for."""
        if self.client is None or self.client.breaker.answers:
            return self.client
        self.recover_soon()
        return None

    # --- After a failure --------------------------------------------------------------------------

    def recover_soon(self) -> None:
        """Look for Redis in the background. Never raises: without a free thread, the next caller tries again."""
        try:
            self._background.start(self.recover, PROBE_S, at_once=False)
        except Exception as error:
            log(logging.ERROR, "the search for Redis cannot be started", error)

    def recover(self, patience_s: float = math.inf) -> bool:
        """Try once to reach Redis and to relay the waiting changes, within this time; whether the cache may be read."""
        client = self.client
        assert client is not None
        until = time.monotonic() + patience_s
        try:
            if not client.breaker.may_write() and not client.epoch.verify(self.queries.identity):
                return False
            if not client.breaker.may_read:  # what this process has committed so far stands in the outbox
                unapplied_writes = client.breaker.unapplied_writes
                last = self.queries.identity().last_version
                while self.queries.has_changes(last):
                    if self.relay.relay(client) == 0:
                        time.sleep(0.02)  # another process relays them
                    if not client.breaker.may_write() or time.monotonic() > until:
                        return False
                client.clear_local()  # another process may have relayed this one's changes; their reports come later
                client.breaker.mark_caught_up(unapplied_writes)
        except (CacheUnavailable, NexgentError) as error:
            _LOG.info("the cache is not back yet: %s", error)
            return False
        except Exception as error:  # the probe must go on, and a service must start
            log(logging.ERROR, "the cache cannot be used", error)
            return False
        return client.breaker.may_read

    # --- The right database -----------------------------------------------------------------------

    def verify_database(self, client: CacheClient, identify: Callable[[], DatabaseIdentity]) -> None:
        """Compare the database with the one that the cache belongs to; invalidate the epoch when they differ.

        Raises CacheUnavailable, and what ``identify`` raises.
        """
        known, sent = client.epoch.database, client.highest_sent  # before the database answers, others go on
        if known is None or client.breaker.state is State.OPEN:
            return  # the verification of the epoch compares them anyway
        watermark = client.epoch.watermark()
        database = identify()
        if client.epoch.database is not known:
            return
        if database.name == known.name and database.last_version >= max(known.last_version, sent, watermark):
            client.epoch.database = database
            return
        client.epoch.database = None
        client.epoch.invalidate("the database is another one, or went back to an earlier state")
        self.recover_soon()
