"""The same sessions, with hooks that are told of every query. Without hooks nothing here is in the way of a query."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection

from nexgent_db.aio._session import Session
from nexgent_db.binding import BoundQuery, Call
from nexgent_db.errors import translate
from nexgent_db.models.trades import TradeOutcome
from nexgent_db.observe._event import Hooks, QueryEvent
from nexgent_db.sqlfiles import Cardinality

COMMIT: Final = "transaction.commit"
"""How the COMMIT of a block is named in its event."""


class ObservedSession(Session):
    """Another session; every query that it has run is told to the hooks, whatever became of it."""

    def __init__(self, session: Session, hooks: Hooks, *, in_block: bool) -> None:
        self._session = session
        self.replays = session.replays
        self._hooks = hooks
        self._in_block = in_block

    async def run(self, bound: BoundQuery, call: Call) -> Any:
        started = time.perf_counter()
        try:
            result = await self._session.run(bound, call)
        except BaseException as error:
            self._tell(bound, started, None, error)
            raise
        outcome = result.outcome if isinstance(result, TradeOutcome) else None
        self._tell(bound, started, _rows(bound, result), None, outcome)
        return result

    async def stream(self, bound: BoundQuery, call: Call) -> AsyncGenerator[Any, None]:
        started = time.perf_counter()
        rows = 0
        try:
            async with aclosing(self._session.stream(bound, call)) as stream:
                async for row in stream:
                    rows += 1
                    yield row
        except GeneratorExit:  # its caller has seen enough
            self._tell(bound, started, rows, None)
            raise
        except BaseException as error:
            self._tell(bound, started, None, error)
            raise
        self._tell(bound, started, rows, None)

    @asynccontextmanager
    async def block(self) -> AsyncIterator[Session]:
        async with self._session.block() as session:
            yield self if session is self._session else session

    def _tell(
        self,
        bound: BoundQuery,
        started: float,
        rows: int | None,
        error: BaseException | None,
        outcome: str | None = None,
    ) -> None:
        self._hooks(QueryEvent(bound.name, time.perf_counter() - started, rows, error, self._in_block, outcome))


def _rows(bound: BoundQuery, result: Any) -> int | None:
    match bound.query.cardinality:
        case Cardinality.MANY:
            return len(result)
        case Cardinality.OPTIONAL:
            return 0 if result is None else 1
        case Cardinality.ONE:
            return 1
        case Cardinality.ROWS:
            affected: int = result
            return affected
        case _:
            return None


@asynccontextmanager
async def observed_commit(connection: AsyncConnection[Any], hooks: Hooks) -> AsyncIterator[None]:
    """The connection's transaction, whose COMMIT is told to the hooks. Raises the DatabaseError that refused it."""
    started: float | None = None
    try:
        async with connection.transaction():
            yield
            started = time.perf_counter()
    except BaseException as error:
        if started is None:  # the block failed, not its COMMIT
            raise
        given = translate(error) if isinstance(error, psycopg.Error) else error
        hooks(QueryEvent(COMMIT, time.perf_counter() - started, None, given, in_block=True))
        if given is error:
            raise
        raise given from error
    if started is not None:
        hooks(QueryEvent(COMMIT, time.perf_counter() - started, None, None, in_block=True))
