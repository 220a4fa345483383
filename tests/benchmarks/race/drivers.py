"""The contenders' clients, each as the documentation of its library recommends it.

A client connects to a URL and yields the operation. Peers that are not installed (the extra ``bench``) are None.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import make_dataclass
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import BaseRowFactory, class_row, tuple_row
from psycopg.types.json import Jsonb

from nexgent_db import AsyncDatabase, Database
from tests.benchmarks.race.by_hand import STEPS, Order, values_of
from tests.benchmarks.race.contest import AsyncClient, Client, Disturbed
from tests.benchmarks.race.texts import Statement, Text

try:
    import aiosql
except ImportError:
    aiosql = None
try:
    import asyncpg
except ImportError:
    asyncpg = None

try:
    import psycopg_pool
except ImportError:
    psycopg_pool = None

HAS_AIOSQL: Final = aiosql is not None
HAS_ASYNCPG: Final = asyncpg is not None
HAS_POOL: Final = psycopg_pool is not None


# --- This package ---------------------------------------------------------------------------------


def ours(operation: Callable[[Any, Any], object], **settings: Any) -> Client:
    """A Database; the operation takes it and the item."""

    @contextmanager
    def client(url: str) -> Iterator[Callable[[Any], object]]:
        with Database(url, **settings) as db:
            yield lambda item: operation(db, item)

    return client


def ours_async(operation: Callable[[Any, Any], Any]) -> AsyncClient:
    """An AsyncDatabase; the operation takes it and the item, and returns what is awaited."""

    @asynccontextmanager
    async def client(url: str) -> AsyncIterator[Callable[[Any], Awaitable[object]]]:
        async with AsyncDatabase(url) as db:
            yield lambda item: operation(db, item)

    return client


def ensure_undisturbed(openings: int) -> None:
    """Raises Disturbed when the cache's circuit breaker has opened: then the turn has measured something else."""
    if openings:
        raise Disturbed("the cache's circuit breaker has opened")


# --- psycopg --------------------------------------------------------------------------------------


def psycopg_read(statement: Statement, *, one: bool, row_factory: BaseRowFactory[Any] = tuple_row) -> Client:
    """A connection in autocommit mode and a cursor for each call."""
    text, values = statement.text.pyformat.encode(), statement.values

    @contextmanager
    def client(url: str) -> Iterator[Callable[[Any], object]]:
        with psycopg.connect(url, autocommit=True, row_factory=row_factory) as connection:
            if one:
                yield lambda _: connection.execute(text, values).fetchone()
            else:
                yield lambda _: connection.execute(text, values).fetchall()

    return client


def psycopg_class_row(statement: Statement, columns: list[str], *, one: bool) -> Client:
    """The same with ``class_row`` of a dataclass that has these columns."""
    return psycopg_read(statement, one=one, row_factory=class_row(make_dataclass("Record", columns)))


def psycopg_pool_read(statement: Statement) -> Client:
    """One row through psycopg's own pool."""
    text, values = statement.text.pyformat.encode(), statement.values

    @contextmanager
    def client(url: str) -> Iterator[Callable[[Any], object]]:
        with psycopg_pool.ConnectionPool(url, min_size=1, max_size=10, kwargs={"autocommit": True}) as pool:

            def read(_: Any) -> object:
                with pool.connection() as connection:
                    return connection.execute(text, values).fetchone()

            yield read

    return client


def psycopg_async_read(statement: Statement, *, one: bool) -> AsyncClient:
    """An asynchronous connection in autocommit mode and a cursor for each call."""
    text, values = statement.text.pyformat.encode(), statement.values

    @asynccontextmanager
    async def client(url: str) -> AsyncIterator[Callable[[Any], Awaitable[object]]]:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:

            async def read(_: Any) -> object:
                cursor = await connection.execute(text, values)
                return await (cursor.fetchone() if one else cursor.fetchall())

            yield read

    return client


def psycopg_connected(operation: Callable[[psycopg.Connection[Any]], object]) -> Client:
    """Whatever is done with a connection in autocommit mode."""

    @contextmanager
    def client(url: str) -> Iterator[Callable[[Any], object]]:
        with psycopg.connect(url, autocommit=True) as connection:
            yield lambda _: operation(connection)

    return client


@contextmanager
def psycopg_trade(url: str) -> Iterator[Callable[[Any], object]]:
    """A transaction by hand."""
    with psycopg.connect(url, autocommit=True) as connection:

        def trade(order: Order) -> object:
            with connection.transaction():
                return psycopg_steps(connection, order)

        yield trade


def psycopg_steps(connection: psycopg.Connection[Any], order: Order) -> object:
    """The statements of an order, in the transaction that is open."""
    values = values_of(order, Jsonb)
    row = None
    for step in STEPS[type(order)]:
        row = connection.execute(step.text.pyformat.encode(), values).fetchone()
        step.judge(values, row)
    return row


# --- asyncpg --------------------------------------------------------------------------------------


async def _asyncpg_connect(url: str) -> Any:
    parts = conninfo_to_dict(url)
    return await asyncpg.connect(
        host=parts["host"], port=int(parts.get("port") or 5432), user=parts["user"], database=parts["dbname"]
    )


def asyncpg_read(statement: Statement, *, one: bool) -> AsyncClient:
    """A connection; records as they are."""
    text, values = statement.text.numbered, statement.positional

    @asynccontextmanager
    async def client(url: str) -> AsyncIterator[Callable[[Any], Awaitable[object]]]:
        connection = await _asyncpg_connect(url)
        try:
            if one:
                yield lambda _: connection.fetchrow(text, *values)
            else:
                yield lambda _: connection.fetch(text, *values)
        finally:
            await connection.close()

    return client


@asynccontextmanager
async def asyncpg_trade(url: str) -> AsyncIterator[Callable[[Any], Awaitable[object]]]:
    """A transaction by hand."""
    connection = await _asyncpg_connect(url)

    async def trade(order: Order) -> object:
        values = values_of(order, json.dumps)
        row = None
        async with connection.transaction():
            for step in STEPS[type(order)]:
                row = await connection.fetchrow(step.text.numbered, *[values[name] for name in step.text.names])
                step.judge(values, row)
        return row

    try:
        yield trade
    finally:
        await connection.close()


def asyncpg_stream(statement: Statement) -> AsyncClient:
    """A cursor in a transaction; the number of its rows."""

    @asynccontextmanager
    async def client(url: str) -> AsyncIterator[Callable[[Any], Awaitable[object]]]:
        connection = await _asyncpg_connect(url)

        async def read(_: Any) -> object:
            rows = 0
            async with connection.transaction():
                async for _record in connection.cursor(
                    statement.text.numbered, *statement.positional, prefetch=STREAM_ROWS
                ):
                    rows += 1
            return rows

        try:
            yield read
        finally:
            await connection.close()

    return client


@asynccontextmanager
async def asyncpg_copy(url: str) -> AsyncIterator[Callable[[Any], Awaitable[object]]]:
    """COPY of signals, which returns no rows."""
    connection = await _asyncpg_connect(url)

    async def copy(item: dict[str, Any]) -> object:
        await connection.copy_records_to_table("trading_signals", records=item["rows"], columns=item["columns"])
        return len(item["rows"])

    try:
        yield copy
    finally:
        await connection.close()


# --- aiosql ---------------------------------------------------------------------------------------


def _aiosql_source(name: str, text: Text, operation: str) -> str:
    return f"-- name: {name}({', '.join(text.names)}){operation}\n{text.named};\n"


def aiosql_read(statement: Statement, *, one: bool) -> Client:
    """A query of a file, on a psycopg connection."""
    queries = aiosql.from_str(_aiosql_source("read", statement.text, "^" if one else ""), "psycopg")

    @contextmanager
    def client(url: str) -> Iterator[Callable[[Any], object]]:
        with psycopg.connect(url, autocommit=True) as connection:
            if one:
                yield lambda _: queries.read(connection, **statement.values)
            else:
                yield lambda _: list(queries.read(connection, **statement.values))

    return client


@contextmanager
def aiosql_trade(url: str) -> Iterator[Callable[[Any], object]]:
    """A transaction of named queries."""
    source = [
        _aiosql_source(f"{kind.__name__}_{number}", step.text, "^")
        for kind, steps in STEPS.items()
        for number, step in enumerate(steps)
    ]
    queries = aiosql.from_str("\n".join(source), "psycopg")
    bound = {
        kind: [(step, getattr(queries, f"{kind.__name__}_{number}")) for number, step in enumerate(steps)]
        for kind, steps in STEPS.items()
    }
    with psycopg.connect(url, autocommit=True) as connection:

        def trade(order: Order) -> object:
            values = values_of(order, Jsonb)
            row = None
            with connection.transaction():
                for step, query in bound[type(order)]:
                    row = query(connection, **{name: values[name] for name in step.text.names})
                    step.judge(values, row)
            return row

        yield trade


STREAM_ROWS: Final = 1000
"""How many rows of a stream a contender fetches at once."""
