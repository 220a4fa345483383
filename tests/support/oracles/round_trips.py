"""Counts round trips to the server in the driver's own trace of the protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from tempfile import TemporaryFile
from typing import IO, Any

from psycopg import Connection, pq

from nexgent_db import AsyncDatabase, Database


class RoundTrips:
    """The number of round trips, known after the ``with``."""

    def __init__(self) -> None:
        self.count = 0

    def read(self, trace: IO[bytes]) -> None:
        """Count the server's "ready for query" messages in a trace: each ends a reply that the client waits for."""
        trace.seek(0)
        self.count = sum(line.startswith(b"B\t") and b"\tReadyForQuery\t" in line for line in trace)


@contextmanager
def pooled_connection(db: Database) -> Iterator[Connection[Any]]:
    """A connection of the database's pool, as its queries acquire it."""
    lease = db._lease()
    try:
        yield lease.acquire()
    finally:
        lease.release()


@contextmanager
def round_trips(db: Database) -> Iterator[RoundTrips]:
    """Count the round trips of ``db`` inside the ``with``, including those of its pool.

    ``db`` must have a single connection (``pool_max_size=1``): it is the one that is traced.
    """
    assert db.settings.pool_max_size == 1
    counted = RoundTrips()
    with TemporaryFile() as trace:
        with pooled_connection(db) as connection:
            connection.pgconn.trace(trace.fileno())
            connection.pgconn.set_trace_flags(pq.Trace.SUPPRESS_TIMESTAMPS)
        try:
            yield counted
        finally:
            with pooled_connection(db) as connection:
                connection.pgconn.untrace()  # flushes
        counted.read(trace)


@asynccontextmanager
async def async_round_trips(db: AsyncDatabase) -> AsyncIterator[RoundTrips]:
    """The same for an asynchronous database."""
    assert db.settings.pool_max_size == 1
    counted = RoundTrips()
    with TemporaryFile() as trace:
        lease = db._lease()
        connection = await lease.acquire()
        connection.pgconn.trace(trace.fileno())
        connection.pgconn.set_trace_flags(pq.Trace.SUPPRESS_TIMESTAMPS)
        lease.release()
        try:
            yield counted
        finally:
            lease = db._lease()
            connection = await lease.acquire()
            connection.pgconn.untrace()  # flushes
            lease.release()
        counted.read(trace)
