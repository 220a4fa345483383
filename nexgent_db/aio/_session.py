"""Runs bound queries: alone on a pooled connection, or inside a transaction block on its own."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection, AsyncRawCursor, AsyncRawServerCursor

from nexgent_db.binding import BoundQuery, Call
from nexgent_db.errors import BlockMisuse, InvalidInput, SchemaChanged, translate

ROWS_AT_ONCE: Final = 1000
"""How many rows of a stream are fetched in one round trip, and so held in memory."""

_NUMBERS: Final = itertools.count(1)


class Session(ABC):
    """Where a repository's queries go."""

    @abstractmethod
    async def run(self, bound: BoundQuery, call: Call) -> Any:
        """Send one query; return what its cardinality promises. Raises DatabaseError, RowCountError."""

    @abstractmethod
    def stream(self, bound: BoundQuery, call: Call) -> AsyncGenerator[Any, None]:
        """Send one query and hand out its rows as they are fetched. Raises DatabaseError at any row."""

    @abstractmethod
    def block(self) -> AbstractAsyncContextManager[Session]:
        """The session of a transaction block: this one inside a block, else that of a new block."""


class BlockSession(Session):
    """The session of one transaction block: one connection, until the block is left."""

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        self._connection = connection
        self.ended = False

    async def run(self, bound: BoundQuery, call: Call) -> Any:
        if self.ended:
            raise BlockMisuse(f"{bound.name}: its transaction block has ended")
        try:
            return await execute(self._connection, bound, call)
        except psycopg.Error as error:
            translated = translate(error, bound.name)
            if isinstance(translated, SchemaChanged):  # the pool shall not hand out its stale statements again
                await self._connection.close()
            raise translated from error

    async def stream(self, bound: BoundQuery, call: Call) -> AsyncGenerator[Any, None]:
        if self.ended:
            raise BlockMisuse(f"{bound.name}: its transaction block has ended")
        name = f"stream_{next(_NUMBERS)}"
        async with AsyncRawServerCursor(self._connection, name, row_factory=call.row_factory) as cursor:
            cursor.itersize = ROWS_AT_ONCE
            try:
                await cursor.execute(call.text, call.values)
                async for row in cursor:
                    yield row
            except psycopg.Error as error:
                raise translate(error, bound.name) from error

    @asynccontextmanager
    async def block(self) -> AsyncIterator[Session]:
        yield self


async def execute(connection: AsyncConnection[Any], bound: BoundQuery, call: Call) -> Any:
    """Run one call on a connection and shape what comes back. The driver's errors pass through.

    Raises InvalidInput for text that is not Unicode.
    """
    cursor = AsyncRawCursor(connection, row_factory=call.row_factory)
    try:
        await cursor.execute(call.text, call.values)
    except UnicodeEncodeError:  # nothing was sent
        raise InvalidInput(bound.name, "text with half of a surrogate pair cannot be stored") from None
    if bound.shape is not None:
        return bound.shape(await cursor.fetchall(), bound.name)
    return cursor.rowcount if bound.counts else None
