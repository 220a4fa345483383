"""After Redis or the database has lost changes, the cache is correct within five seconds for readers without a version.

Only maintenance with its usual pauses runs, and readers in another process, which wrote nothing and pass no version.
Only asynchronous, so that the task of maintenance ends with the test.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Final

import psycopg
import pytest
import pytest_asyncio

from nexgent_db import AsyncDatabase
from nexgent_db.errors import DatabaseError
from nexgent_db.models import SOL_MINT, AgentPosition
from nexgent_db.settings import Settings
from tests.integration.aio.factories import TOKEN, Owner, funded_owner
from tests.support.oracles.cache_oracle import differences
from tests.support.servers.postgres_server import PostgresServer, postgres_server
from tests.support.servers.valkey_server import ValkeyServer
from tests.support.servers.valkey_topologies import older_copy

REPAIRED_S: Final = 5.0
"""Within how many seconds every process reads the current rows: as promised."""


@pytest.fixture(scope="module")
def database_server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


@pytest.fixture
def settings(server: ValkeyServer, database_server: PostgresServer) -> Settings:
    return replace(Settings.from_url(database_server.url, {}), redis_url=server.url)


@pytest_asyncio.fixture
async def writer(settings: Settings) -> AsyncIterator[AsyncDatabase]:
    async with AsyncDatabase(settings) as database:
        yield database


@pytest_asyncio.fixture
async def reader(settings: Settings) -> AsyncIterator[AsyncDatabase]:
    async with AsyncDatabase(settings) as database:
        yield database


@pytest_asyncio.fixture(autouse=True)
async def maintenance(settings: Settings) -> AsyncIterator[None]:
    """A third process, which only runs maintenance."""
    async with AsyncDatabase(settings) as database:
        running = asyncio.create_task(database.cache.maintenance.run())
        yield
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


@pytest_asyncio.fixture
async def owner(writer: AsyncDatabase, reader: AsyncDatabase) -> Owner:
    """An agent with 100 SOL, which are cached."""
    made = await funded_owner(writer)
    await read_rows(reader, made)
    return made


async def bought(db: AsyncDatabase, owner: Owner, sol: str) -> AgentPosition:
    position = (await db.trades.buy(owner.buy(sol, "1000"))).position
    assert position is not None
    return position


async def read_rows(db: AsyncDatabase, owner: Owner, *gone: AgentPosition) -> tuple[object, ...]:
    """The rows that a reader without a version gets: the balance, the positions, and the other positions one by one."""
    sol = await db.cache.balance(owner.agent_id, owner.wallet_address, SOL_MINT)
    return (
        None if sol is None else sol.balance,
        await db.cache.positions_of_agent(owner.agent_id),
        [row for row in await db.cache.positions_of_token(TOKEN) if row.agent_id == owner.agent_id],
        *[await db.cache.position(position.id) for position in gone],
    )


async def brought_in(db: AsyncDatabase) -> None:
    """Waits until the outbox is empty, so that no entry of it can restore what Redis has lost."""
    while await db.cache.maintenance.waiting():  # noqa: ASYNC110  # in another process
        await asyncio.sleep(0.02)


def wrong(server: ValkeyServer, settings: Settings) -> list[str]:
    """The cached entries that differ from the database."""
    with server.client() as client, psycopg.connect(settings.conninfo) as psql:
        return differences(client, psql, settings.cache_prefix)


async def assert_repaired(
    server: ValkeyServer,
    reader: AsyncDatabase,
    owner: Owner,
    *,
    sol: int,
    positions: list[AgentPosition],
    gone: list[AgentPosition],
) -> None:
    """Within the time, the cache returns the current rows, and every entry is correct."""
    right = (sol, positions, positions, *[None for _ in gone])
    last: object = None
    try:
        async with asyncio.timeout(REPAIRED_S):
            while True:
                with suppress(DatabaseError):  # connections of before the failover
                    last = await read_rows(reader, owner, *gone)
                    hits = reader.cache.metrics().hits
                    if (
                        last == right == await read_rows(reader, owner, *gone)
                        and reader.cache.metrics().hits >= hits + 3
                    ):
                        break
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"{last} instead of {right}: {reader.cache.metrics()}, {wrong(server, reader.settings)}")
    assert wrong(server, reader.settings) == []


async def test_redis_restarted_empty_serves_all_processes(
    server: ValkeyServer, writer: AsyncDatabase, reader: AsyncDatabase, owner: Owner
) -> None:
    old = await bought(writer, owner, "1")
    await read_rows(reader, owner)
    server.kill()
    await writer.trades.sell(owner.sell("1000", "2"))
    new = await bought(writer, owner, "3")
    server.start()
    await assert_repaired(server, reader, owner, sol=98, positions=[new], gone=[old])


async def test_redis_restarted_with_old_dump_serves_current_rows(
    server: ValkeyServer, writer: AsyncDatabase, reader: AsyncDatabase, owner: Owner
) -> None:
    old = await bought(writer, owner, "1")
    await read_rows(reader, owner)
    server.save()
    await writer.trades.sell(owner.sell("1000", "2"))
    new = await bought(writer, owner, "3")
    await brought_in(writer)
    server.kill()
    server.start()
    await assert_repaired(server, reader, owner, sol=98, positions=[new], gone=[old])


async def test_redis_that_followed_an_older_one_serves_current_rows(
    server: ValkeyServer, writer: AsyncDatabase, reader: AsyncDatabase, owner: Owner
) -> None:
    old = await bought(writer, owner, "1")
    await read_rows(reader, owner)
    with older_copy(server) as follow_it_for_a_while:
        await writer.trades.sell(owner.sell("1000", "2"))
        new = await bought(writer, owner, "3")
        await brought_in(writer)
        follow_it_for_a_while()
    assert any(str(old.id) in line for line in wrong(server, writer.settings))  # and it is the same process
    await assert_repaired(server, reader, owner, sol=98, positions=[new], gone=[old])


async def test_failover_to_older_database_hides_lost_rows(
    server: ValkeyServer, database_server: PostgresServer, writer: AsyncDatabase, reader: AsyncDatabase, owner: Owner
) -> None:
    kept = await bought(writer, owner, "1")
    database_server.stop()
    database_server.save()
    database_server.start()
    await writer.trades.sell(owner.sell("1000", "2"))
    lost = await bought(writer, owner, "3")
    assert await read_rows(reader, owner, lost) == (98, [lost], [lost], lost)
    database_server.stop()
    database_server.go_back()
    database_server.start()
    assert any(str(lost.id) in line for line in wrong(server, writer.settings))  # Redis would say so
    await assert_repaired(server, reader, owner, sol=99, positions=[kept], gone=[lost])
    assert await writer.cache.position(lost.id) is None
