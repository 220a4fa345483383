# Generated from nexgent_db/aio/cache/final_relay.py by `make sync`: do not edit.
"""Relays the outbox when a process ends: over one connection, and for a bounded time."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg

from nexgent_db.cache.breaker import CacheUnavailable
from nexgent_db.errors import NexgentError
from nexgent_db.models.cache import DatabaseIdentity
from nexgent_db.sync.cache.maintenance import MAX_COUNTED
from nexgent_db.sync.cache.queries import CacheQueries
from nexgent_db.sync.cache.recovery import Recovery
from nexgent_db.sync.cache.relay import OutboxRelay, log
from nexgent_db.sync.connection import PooledConnection
from nexgent_db.sync.pool import Lease
from nexgent_db.sync.scope import RowScope
from nexgent_db.sync.session import Session, TransactionSession

PAUSE_S: Final = 0.1
"""How long to wait for Redis, or for another process that relays the same changes, before the next attempt."""
LAST_ANSWER_S: Final = 1.0
"""How long the last question, how many changes are left, may take."""


def relay_until(recovery: Recovery, lease: Lease, scope: RowScope, until: float) -> int | None:
    """Relay what the outbox holds now, until this time of the monotonic clock.

    Returns how many changes wait then, counted up to 100,000: 0 when every change that was there at the beginning is
    applied. None when the database does not answer. Never raises for Redis or the database. What is not relayed stays
    in the outbox. Without Redis nothing is relayed.
    """
    try:
        return _FinalRelay(recovery, lease.acquire(), scope, until).run()
    except (NexgentError, psycopg.Error) as error:
        log(logging.WARNING, "the outbox cannot be relayed", error)
        return None
    finally:
        lease.over = True
        lease.release()


class _FinalRelay:
    def __init__(self, recovery: Recovery, connection: PooledConnection, scope: RowScope, until: float) -> None:
        self._recovery = recovery
        self._connection = connection
        self._scope = scope
        self._until = until
        self._relay = OutboxRelay(recovery.queries, self._transaction, recovery.counters)

    def run(self) -> int:
        last = self._identity().last_version
        while True:
            with self._transaction() as session:
                queries = CacheQueries(session)
                if not queries.has_changes(last):
                    return 0
                if self._recovery.client is None or self._left_s() <= 0:
                    return queries.count_changes(MAX_COUNTED)
            if not self._relayed():
                time.sleep(max(0.0, min(PAUSE_S, self._left_s())))

    def _relayed(self) -> int:
        """The number of changes that one round applied; 0 when Redis cannot be used."""
        client = self._recovery.client
        assert client is not None
        try:
            if not client.breaker.may_write() and not client.epoch.verify(self._identity):
                return 0
            return self._relay.relay(client)
        except CacheUnavailable:
            return 0

    def _identity(self) -> DatabaseIdentity:
        with self._transaction() as session:
            return CacheQueries(session).identity()

    def _left_s(self) -> float:
        return self._until - time.monotonic()

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        """A transaction of the scope, whose answers are waited for no longer than the relay may take."""
        connection = self._connection
        connection.set_transaction_options(settings=self._scope.enter(connection))
        connection.limit_s = max(LAST_ANSWER_S, self._left_s())
        with connection.transaction():
            yield TransactionSession(connection)
