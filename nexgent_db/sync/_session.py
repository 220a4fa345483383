# Generated from nexgent_db/aio/_session.py by `make sync`: do not edit.
"""Runs bound queries: alone on a pooled connection, or inside a transaction block on its own."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

import psycopg
from psycopg import Connection, RawCursor, RawServerCursor

from nexgent_db.binding import BoundQuery, Call
from nexgent_db.errors import BlockMisuse, InvalidInput, SchemaChanged, translate

ROWS_AT_ONCE: Final = 1000
"""How many rows of a stream are fetched in one round trip, and so held in memory."""

_NUMBERS: Final = itertools.count(1)


class Session(ABC):
    """Where a repository's queries go."""

    @abstractmethod
    def run(self, bound: BoundQuery, call: Call) -> Any:
        """Send one query; return what its cardinality promises. Raises DatabaseError, RowCountError."""

    @abstractmethod
    def stream(self, bound: BoundQuery, call: Call) -> Generator[Any, None, None]:
        """Send one query and hand out its rows as they are fetched. Raises DatabaseError at any row."""

    @abstractmethod
    def block(self) -> AbstractContextManager[Session]:
        """The session of a transaction block: this one inside a block, else that of a new block."""


class BlockSession(Session):
    """The session of one transaction block: one connection, until the block is left."""

    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection
        self.ended = False

    def run(self, bound: BoundQuery, call: Call) -> Any:
        if self.ended:
            raise BlockMisuse(f"{bound.name}: its transaction block has ended")
        try:
            return execute(self._connection, bound, call)
        except psycopg.Error as error:
            translated = translate(error, bound.name)
            if isinstance(translated, SchemaChanged):  # the pool shall not hand out its stale statements again
                self._connection.close()
            raise translated from error

    def stream(self, bound: BoundQuery, call: Call) -> Generator[Any, None, None]:
        if self.ended:
            raise BlockMisuse(f"{bound.name}: its transaction block has ended")
        name = f"stream_{next(_NUMBERS)}"
        with RawServerCursor(self._connection, name, row_factory=call.row_factory) as cursor:
            cursor.itersize = ROWS_AT_ONCE
            try:
                cursor.execute(call.text, call.values)
                for row in cursor:
                    yield row
            except psycopg.Error as error:
                raise translate(error, bound.name) from error

    @contextmanager
    def block(self) -> Iterator[Session]:
        yield self


def execute(connection: Connection[Any], bound: BoundQuery, call: Call) -> Any:
    """Run one call on a connection and shape what comes back. The driver's errors pass through.

    Raises InvalidInput for text that is not Unicode.
    """
    cursor = RawCursor(connection, row_factory=call.row_factory)
    try:
        cursor.execute(call.text, call.values)
    except UnicodeEncodeError:  # nothing was sent
        raise InvalidInput(bound.name, "text with half of a surrogate pair cannot be stored") from None
    if bound.shape is not None:
        return bound.shape(cursor.fetchall(), bound.name)
    return cursor.rowcount if bound.counts else None
