# Generated from nexgent_db/aio/reader.py by `make sync`: do not edit.
"""What a service reads replicas with: the repositories, transactions of one snapshot, the position and the figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nexgent_db.models.replicas import ReplicaMetrics
from nexgent_db.observe._event import Hooks
from nexgent_db.sync.access import Repositories
from nexgent_db.sync.connection import PooledConnection
from nexgent_db.sync.observed import ObservedSession
from nexgent_db.sync.reading import ReadingSession
from nexgent_db.sync.transaction import Transaction

__all__ = ["Reader"]


class Reader(Repositories):
    """The repositories over the replicas, for reading: ``db.replica``, or ``db.reads(at_least=token_or_version)``.

    Each call is answered by a replica that has everything which the caller has written or read: for ``db.replica`` what
    this process has through ``db``, for ``db.reads()`` what the token or version stands for and what was read through
    the same object. It waits for a replica ``replica_wait_s`` at most; then the primary answers, as it does when no
    replica is there or none is configured. What ``db.cache`` returned from Redis has no position and is not waited for:
    give the row's version to ``db.reads()``.

    A call is one round trip, a stream or transaction some more; for a version, the first one asks the primary as well.
    No answer is cached, and the cache is not read.

    Raises ReadOnlyBlock, before anything is sent, for a method that changes or locks rows, trades among them; for a
    function that does so in its body, when the server refuses it. Otherwise what queries raise. A stream or transaction
    whose replica goes away raises ConnectionLost: start it again.
    """

    def __init__(self, reading: ReadingSession, hooks: Hooks, begin: Callable[[PooledConnection], Transaction]) -> None:
        self._reading = reading
        self._begin = begin
        super().__init__(ObservedSession(reading, hooks, in_transaction=False) if hooks else reading)

    @property
    def position(self) -> str:
        """A token of what was written or read: give it to ``db.reads()``, here or in another process. Asks no server.

        It has at most 27 of the characters ``0-9a-f.``: it fits a cookie. A client that forges a later position sends
        its reads to the primary, so sign the token where that matters.
        """
        return self._reading.mark.token

    @contextmanager
    def transaction(self, *, statement_timeout_s: float | None = None) -> Iterator[Transaction]:
        """A read-only transaction on one server, whose queries all see one snapshot (repeatable read).

        Raises what queries raise; ReadOnlyBlock for a write, from the server.
        """
        with self._reading.connection("transaction", statement_timeout_s) as connection:
            transaction = self._begin(connection)
            try:
                yield transaction
            finally:
                transaction._plain_session.ended = True

    def metrics(self) -> ReplicaMetrics:
        """The reads of this process by who answered them, and the state of each replica. Asks no server."""
        return self._reading.replicas.metrics()
