# Generated from nexgent_db/aio/_session.py by `make sync`: do not edit.
"""Runs bound queries: alone on a pooled connection, or inside a transaction block on its own."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, Protocol
from uuid import UUID

import psycopg
from psycopg import Connection, RawCursor, RawServerCursor

from nexgent_db._cache_rows import Moment, changes_cached_rows
from nexgent_db.binding import BoundQuery, Call
from nexgent_db.errors import BlockMisuse, InvalidInput, SchemaChanged, translate
from nexgent_db.models.trades import ResetResult, TradeResult

ROWS_AT_ONCE: Final = 1000
"""How many rows of a stream are fetched in one round trip, and so held in memory."""

_NUMBERS: Final = itertools.count(1)
_OF_TENANT: Final = "SELECT set_config('nexgent.user_id', $1, true)"

Replay = tuple[TradeResult | ResetResult, str | None]
"""A trade that had been made before, and its position's token."""


class TradeCache(Protocol):
    """What wants to know of committed trades."""

    def now(self) -> Moment:
        """The moment from which on a change counts as begun."""
        ...

    def apply_trade(self, result: TradeResult | ResetResult, token_address: str | None, began: Moment) -> None:
        """A trade was committed, or had been. Never raises."""
        ...


class Session(ABC):
    """Where a repository's queries go."""

    cache: TradeCache | None = None
    """What trades that are committed at once are told to; None without a cache, and in blocks, which tell it all."""

    replays: list[Replay] | None = None
    """Trades of earlier that were acknowledged in a block, and in those within it that were not undone: their callers
    must see them after it. None outside of blocks."""

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

    def __init__(self, connection: Connection[Any], around: BlockSession | None = None) -> None:
        self._connection = connection
        self.ended = False
        self.wrote_cached = False
        """May the block have changed cached rows?"""
        self.replays: list[Replay] = []
        self._around = around

    def run(self, bound: BoundQuery, call: Call) -> Any:
        if self.ended:
            raise BlockMisuse(f"{bound.name}: its transaction block has ended")
        if changes_cached_rows(bound):
            self._note_change()
        try:
            return execute(self._connection, bound, call)
        except psycopg.Error as error:
            translated = translate(error, bound.name)
            if isinstance(translated, SchemaChanged):  # the pool shall not hand out its stale statements again
                self._connection.close()
            raise translated from error

    def _note_change(self) -> None:
        if not self.wrote_cached:
            self.wrote_cached = True
            if self._around is not None:
                self._around._note_change()

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


def execute(connection: Connection[Any], bound: BoundQuery, call: Call, *, tenant: UUID | None = None) -> Any:
    """Run one call on a connection, for one user where there is a ``tenant``, and shape what comes back.

    The driver's errors pass through. Raises InvalidInput for text that is not Unicode.
    """
    cursor = RawCursor(connection, row_factory=call.row_factory)
    try:
        if tenant is None and call.first is None:
            cursor.execute(call.text, call.values)
        else:
            _execute_together(connection, cursor, call, tenant)
    except UnicodeEncodeError:  # nothing was sent
        raise InvalidInput(bound.name, "text with half of a surrogate pair cannot be stored") from None
    if bound.shape is not None:
        return bound.shape(cursor.fetchall(), bound.name)
    return cursor.rowcount if bound.counts else None


def _execute_together(connection: Connection[Any], cursor: RawCursor[Any], call: Call, tenant: UUID | None) -> None:
    """What a pipeline sends up to its end is one transaction to the server, without BEGIN and COMMIT."""
    around = connection.pgconn.pipeline_status
    try:
        with connection.pipeline():
            if tenant is not None:
                RawCursor(connection).execute(_OF_TENANT, [str(tenant)])
            if call.first is not None:
                RawCursor(connection).execute(call.first.text, call.first.values)
            cursor.execute(call.text, call.values)
    finally:
        if connection.pgconn.pipeline_status and not around:  # given up in the middle: nobody shall get it again
            connection.close()


def of_tenant(tenant: UUID) -> bytes:
    """The statement that gives a transaction block to one user."""
    return f"SET LOCAL nexgent.user_id = '{tenant}'".encode()
