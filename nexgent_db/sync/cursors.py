# Generated from nexgent_db/aio/cursors.py by `make sync`: do not edit.
"""Cursors that are used again.

psycopg keeps what it needs to adapt a query's values and columns in the query's cursor. Making it anew for each call
takes a tenth of a short read's time, so a connection keeps the cursors of its last calls, by the text of their query.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from psycopg import RawCursor
from psycopg.rows import tuple_row

if TYPE_CHECKING:
    from nexgent_db.sync.connection import PooledConnection

ROWS_BATCH_SIZE: Final = 500
"""A row of 29 columns takes some 10 us to read."""
MAX_CURSORS: Final = 200
"""How many cursors one connection keeps, a few kB each."""


class Cursor(RawCursor[Any]):
    """A cursor that separates two steps: receiving the answer, where the server may refuse, and reading its rows."""

    connection: PooledConnection

    def __init__(self, connection: PooledConnection) -> None:
        super().__init__(connection, row_factory=tuple_row)

    def wait_for_answer(self) -> None:
        """Inside a pipeline, receive the answer; outside, it has arrived. Raises the server's errors up to here."""
        self._fetch_pipeline()

    def fetch_whole(self) -> list[Any]:
        """All rows of an answer that has arrived. Other threads run after every ROWS_BATCH_SIZE."""
        rows = self.fetchmany(ROWS_BATCH_SIZE)
        while len(rows) < self.rowcount:
            time.sleep(0)
            rows += self.fetchmany(ROWS_BATCH_SIZE)
        return rows

    def forget_answer(self) -> None:
        """Free the memory of the last answer."""
        self._reset()
        self._tx.set_pgresult(None)


class CursorCache:
    """The idle cursors of one connection, by the text of their query."""

    def __init__(self) -> None:
        self._idle: dict[bytes, list[Cursor]] = {}
        self._count = 0

    def pop(self, text: bytes) -> Cursor | None:
        """An idle cursor of this query. Its next call must be given the same object as text."""
        if not (idle := self._idle.get(text)):
            return None
        self._count -= 1
        return idle.pop()

    def add(self, text: bytes, cursor: Cursor) -> None:
        """Keep a cursor; when there are MAX_CURSORS already, drop these."""
        if self._count >= MAX_CURSORS:
            self.clear()
        self._idle.setdefault(text, []).append(cursor)
        self._count += 1

    def clear(self) -> None:
        """Drop all cursors."""
        self._idle.clear()
        self._count = 0


def acquire_cursor(connection: PooledConnection, text: bytes, *, alone: bool = False) -> Cursor:
    """A cursor for one call of a query, ``alone`` outside of a transaction.

    What a cursor keeps depends on the form of values, so a transaction that has changed that gets a new cursor.
    """
    usable = alone or connection.has_first_formats()
    return (connection.cursors.pop(text) if usable else None) or Cursor(connection)


def release_cursor(cursor: Cursor, text: bytes, *, alone: bool = False) -> None:
    """Keep the cursor for the next call, once the answer was read. A cursor that is not released is simply gone."""
    connection = cursor.connection
    if alone or connection.has_first_formats():
        cursor.forget_answer()
        connection.cursors.add(text, cursor)
