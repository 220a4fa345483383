"""Counts round trips to the server in the driver's own trace of the protocol."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import IO

from psycopg import pq

from nexgent_db import Database


class RoundTrips:
    """How often the server was asked and has answered, once the block is left."""

    def __init__(self) -> None:
        self.count = 0

    def read(self, trace: IO[bytes]) -> None:
        """Count the server's "ready for query" of a trace: it ends every answer, and whoever asked waits for it."""
        trace.seek(0)
        self.count = sum(line.startswith(b"B\t") and b"\tReadyForQuery\t" in line for line in trace)


@contextmanager
def round_trips(db: Database) -> Iterator[RoundTrips]:
    """Count those of everything that is done with ``db`` in the block, its pool's own included.

    ``db`` must have a single connection (``pool_max_size=1``): it is the one that is traced.
    """
    assert db.settings.pool_max_size == 1
    counted = RoundTrips()
    with TemporaryFile() as trace:
        with db._checkout() as connection:
            connection.pgconn.trace(trace.fileno())
            connection.pgconn.set_trace_flags(pq.Trace.SUPPRESS_TIMESTAMPS)
        try:
            yield counted
        finally:
            with db._checkout() as connection:
                connection.pgconn.untrace()  # flushes
        counted.read(trace)
