"""The connection pool: configured sessions, checked before use, waited for within bounds."""

from __future__ import annotations

import select
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg import AsyncConnection
from psycopg.adapt import AdaptersMap
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.numeric import Int8Dumper
from psycopg_pool import AsyncConnectionPool

from nexgent_db.aio._session import BlockSession, Session, execute, of_tenant
from nexgent_db.binding import BoundQuery, Call
from nexgent_db.errors import DatabaseUnavailable, SchemaChanged, translate
from nexgent_db.settings import Settings

MIN_SERVER_VERSION: Final = 150000


def session_conninfo(settings: Settings) -> str:
    """``settings.conninfo`` with the time zone, encoding, limits and keep-alives that every connection gets."""
    parts: dict[str, Any] = {
        "application_name": "nexgent-db",
        "connect_timeout": settings.connect_timeout_s,
        "keepalives_idle": 30,
        **conninfo_to_dict(settings.conninfo),
    }
    options = {
        "TimeZone": "UTC",
        "statement_timeout": _milliseconds(settings.statement_timeout_s),
        "lock_timeout": _milliseconds(settings.lock_timeout_s),
        "idle_in_transaction_session_timeout": _milliseconds(settings.idle_in_transaction_timeout_s),
    }
    # What the URL itself asks for comes last and wins.
    given = [f"-c{name}={value}" for name, value in options.items()]
    parts["options"] = " ".join([*given, str(parts.get("options") or "")]).strip()
    parts["client_encoding"] = "UTF8"
    return make_conninfo("", **parts)


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _adapters() -> AdaptersMap:
    """Every int is bound as bigint: one prepared statement for each query, whatever the size of its numbers."""
    adapters = AdaptersMap(psycopg.adapters)
    adapters.register_dumper(int, Int8Dumper)
    return adapters


class _Context:
    """What psycopg takes adapters from."""

    adapters = _adapters()
    connection = None


async def connect(settings: Settings) -> AsyncConnection[Any]:
    """One connection as the pool makes them. Raises AuthenticationFailed, DatabaseUnavailable."""
    try:
        connection = await AsyncConnection.connect(
            session_conninfo(settings),
            autocommit=True,
            context=_Context(),
            prepare_threshold=settings.prepare_threshold,
        )
    except psycopg.Error as error:
        raise translate(error) from error
    if connection.info.server_version < MIN_SERVER_VERSION:
        version = connection.info.server_version // 10000
        await connection.close()
        raise DatabaseUnavailable(f"the server is PostgreSQL {version}: 15 or newer is needed")
    return connection


def make_pool(
    settings: Settings, configure: Callable[[AsyncConnection[Any]], Awaitable[None]] | None = None
) -> AsyncConnectionPool[AsyncConnection[Any]]:
    """A closed pool of connections in autocommit: a query alone is one round trip."""
    return AsyncConnectionPool(
        session_conninfo(settings),
        kwargs={"autocommit": True, "context": _Context(), "prepare_threshold": settings.prepare_threshold},
        min_size=settings.pool_min_size,
        max_size=settings.pool_max_size,
        timeout=settings.pool_timeout_s,
        max_waiting=settings.pool_max_waiting,
        configure=configure,
        open=False,
        name="nexgent-db",
    )


async def take(pool: AsyncConnectionPool[AsyncConnection[Any]]) -> AsyncConnection[Any]:
    """A connection of the pool that the server has not closed; the dead ones met on the way are replaced.

    (The pool's own ``check`` pauses a second after each dead one.) Raises psycopg_pool.PoolTimeout, TooManyRequests.
    """
    while True:
        connection = await pool.getconn()
        alive = False
        try:
            alive = await _is_alive(connection)
        finally:  # also when the caller gives up here
            if not alive:
                await connection.close()
                await pool.putconn(connection)
        if alive:
            return connection


async def _is_alive(connection: AsyncConnection[Any]) -> bool:
    """Costs no round trip: an idle connection has nothing to read.

    When there is something, it is the server's farewell, or a notice, and one round trip tells which.
    """
    if not _readable(connection.fileno()):
        return True
    with suppress(psycopg.Error):
        await connection.execute("")
    return not connection.closed


def _readable(descriptor: int) -> bool:
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([descriptor], [], [], 0)[0])


class PoolSession(Session):
    """Each query on a connection of its own, committed at once."""

    def __init__(
        self,
        take: Callable[[], Awaitable[AsyncConnection[Any]]],
        give_back: Callable[[AsyncConnection[Any]], Awaitable[None]],
        block: Callable[[], AbstractAsyncContextManager[Session]],
        tenant: UUID | None = None,
    ) -> None:
        self._take = take
        self._give_back = give_back
        self._block = block
        self._tenant = tenant

    async def run(self, bound: BoundQuery, call: Call) -> Any:
        connection = await self._take()
        try:
            return await execute(connection, bound, call, tenant=self._tenant)
        except psycopg.Error as error:
            translated = translate(error, bound.name)
            if not isinstance(translated, SchemaChanged):
                raise translated from error
            return await self._run_anew(connection, bound, call)
        finally:
            await self._give_back(connection)

    async def _run_anew(self, connection: AsyncConnection[Any], bound: BoundQuery, call: Call) -> Any:
        """After a migration changed what a prepared statement returns."""
        try:
            await connection.execute("DEALLOCATE ALL")
            return await execute(connection, bound, call, tenant=self._tenant)
        except psycopg.Error as error:
            raise translate(error, bound.name) from error

    async def stream(self, bound: BoundQuery, call: Call) -> AsyncGenerator[Any, None]:
        connection = await self._take()
        try:
            async with connection.transaction(), aclosing(BlockSession(connection).stream(bound, call)) as stream:
                if self._tenant is not None:
                    await connection.execute(of_tenant(self._tenant))
                async for row in stream:
                    yield row
        finally:
            await self._give_back(connection)

    def block(self) -> AbstractAsyncContextManager[Session]:
        return self._block()
