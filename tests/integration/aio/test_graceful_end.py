"""Closing relays the outbox for a bounded time: nothing that was committed is lost, and what is left is reported."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Final

import psycopg
import pytest
import pytest_asyncio

from nexgent_db import AsyncDatabase
from nexgent_db.errors import BlockMisuse, InvalidInput
from nexgent_db.migrations import Cells
from nexgent_db.settings import Settings
from tests.integration.aio.factories import Owner, new_owner
from tests.support.faults.concurrently import concurrently_async
from tests.support.servers.postgres_server import postgres_server
from tests.support.servers.valkey_server import ValkeyServer

MARGIN_S: Final = 2.0
"""What one more attempt of each kind may take on a busy machine; the drains below take 1 s or 20 s."""


@pytest_asyncio.fixture
async def db(fresh_database_url: str, server: ValkeyServer) -> AsyncIterator[AsyncDatabase]:
    """A database of the test's own with a cache that nobody else relays to."""
    database = AsyncDatabase(replace(Settings.from_url(fresh_database_url), redis_url=server.url))
    await database.open()
    yield database
    await database.close(0)


def waiting(url: str) -> int:
    with psycopg.connect(url) as psql:
        return len(psql.execute("SELECT version FROM cache_outbox").fetchall())


async def test_close_drains_the_outbox(db: AsyncDatabase, fresh_database_url: str) -> None:
    owner = await new_owner(db)
    for _ in range(5):
        await db.trades.deposit(owner.deposit("1"))
    assert waiting(fresh_database_url) > 0
    assert await db.close(20) == 0
    assert waiting(fresh_database_url) == 0


async def test_close_without_drain_leaves_the_outbox(db: AsyncDatabase, fresh_database_url: str) -> None:
    owner = await new_owner(db)
    await db.trades.deposit(owner.deposit("1"))
    before = waiting(fresh_database_url)
    assert await db.close() is None
    assert waiting(fresh_database_url) == before > 0
    assert await db.close(5) is None  # it is closed


async def test_settings_say_how_long_the_end_of_the_block_drains(fresh_database_url: str, server: ValkeyServer) -> None:
    settings = Settings.from_url(fresh_database_url, {"NEXGENT_DB_DRAIN_S": "20"}, redis_url=server.url)
    async with AsyncDatabase(settings) as db:
        owner = await new_owner(db)
        await db.trades.deposit(owner.deposit("1"))
    assert waiting(fresh_database_url) == 0


@pytest.mark.parametrize("fault", ["killed", "hung"])
async def test_dead_redis_takes_no_longer_than_the_drain(
    db: AsyncDatabase, fresh_database_url: str, server: ValkeyServer, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    owner = await new_owner(db)
    await db.trades.deposit(owner.deposit("1"))
    if fault == "killed":
        server.kill()
    else:
        server.hang()
    started = time.monotonic()
    with caplog.at_level(logging.WARNING, "nexgent_db"):
        left = await db.close(1)
    assert 1 <= time.monotonic() - started < 1 + MARGIN_S
    assert left == waiting(fresh_database_url) > 0
    assert f"closed with {left} changes in cache_outbox" in caplog.text


async def test_redis_that_comes_back_in_time_gets_the_changes(
    db: AsyncDatabase, fresh_database_url: str, server: ValkeyServer
) -> None:
    owner = await new_owner(db)
    server.kill()
    await db.trades.deposit(owner.deposit("1"))
    server.start()
    assert await db.close(20) == 0
    assert waiting(fresh_database_url) == 0


async def test_without_redis_what_is_left_is_counted_at_once(fresh_database_url: str) -> None:
    db = AsyncDatabase(fresh_database_url)
    await db.open()
    await new_owner(db)
    started = time.monotonic()
    assert await db.close(20) == waiting(fresh_database_url) > 0
    assert time.monotonic() - started < MARGIN_S


async def test_calls_in_flight_commit_and_are_drained_too(db: AsyncDatabase, fresh_database_url: str) -> None:
    """Eight transactions are open when the database is closed: each is there whole, and the outbox is empty."""
    owners = [await new_owner(db) for _ in range(8)]
    begun, acknowledged = list[Owner](), list[Owner]()

    async def trade(owner: Owner) -> int | None:
        async with db.transaction() as tx:
            await tx.trades.deposit(owner.deposit("1"))
            begun.append(owner)
            await asyncio.sleep(0.3)
            await tx.trades.deposit(owner.deposit("2"))
        acknowledged.append(owner)
        return None

    async def close() -> int | None:
        for _ in range(1000):
            if len(begun) == len(owners):
                break
            await asyncio.sleep(0.01)
        return await db.close(20)

    calls: list[Callable[[], Awaitable[int | None]]] = [partial(trade, owner) for owner in owners]
    await concurrently_async([*calls, close])
    assert waiting(fresh_database_url) == 0
    with psycopg.connect(fresh_database_url) as psql:
        balances = psql.execute("SELECT balance FROM agent_balances").fetchall()
    assert balances == [(3,)] * len(acknowledged) == [(3,)] * len(owners)


@pytest.mark.parametrize("fault", ["killed", "frozen"])
async def test_database_that_is_gone_is_not_waited_for(server: ValkeyServer, fault: str) -> None:
    with postgres_server() as postgres:
        db = AsyncDatabase(replace(Settings.from_url(postgres.url), redis_url=server.url))
        await db.open()
        await new_owner(db)
        frozen = [] if fault == "killed" else [postgres.pid, *postgres.children()]
        if fault == "killed":
            postgres.kill()
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        try:
            started = time.monotonic()
            assert await db.close(1) is None
            assert time.monotonic() - started < 1 + MARGIN_S
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)


async def test_cells_are_drained_within_the_same_time(db: AsyncDatabase, fresh_database_url: str) -> None:
    names = ["cell_1", "cell_2"]
    for name in names:
        Cells(fresh_database_url).create(name)
        cell = db.for_schema(name)
        owner = await new_owner(cell)
        await cell.trades.deposit(owner.deposit("1"))
    assert await db.close(20) == 0
    with psycopg.connect(fresh_database_url) as psql:
        for name in names:
            assert psql.execute(f'SELECT count(*) FROM "{name}".cache_outbox').fetchone() == (0,)


@pytest.mark.parametrize("drain_s", [-1, math.nan, math.inf])
async def test_senseless_time_closes_nothing(db: AsyncDatabase, drain_s: float) -> None:
    with pytest.raises(InvalidInput, match="drain_s"):
        await db.close(drain_s)
    assert (await db.health()).ok


async def test_part_of_a_database_is_not_closed(db: AsyncDatabase) -> None:
    with pytest.raises(BlockMisuse):
        await db.for_schema("public").close(1)


async def test_maintenance_ends_when_the_database_is_closed(db: AsyncDatabase) -> None:
    ended = list[float]()

    async def maintain() -> None:
        await db.cache.maintenance.run(60.0)
        ended.append(time.monotonic())

    async def close() -> None:
        await asyncio.sleep(0.3)
        await db.close(1)

    started = time.monotonic()
    await concurrently_async([maintain, close])
    assert ended[0] - started < 30
    await db.cache.maintenance.run()  # closed: ends at once


async def test_maintenance_stops_and_starts_again(db: AsyncDatabase) -> None:
    async def maintain() -> None:
        await db.cache.maintenance.run(60.0)
        await db.cache.maintenance.run(60.0)

    async def stop() -> None:
        for _ in range(2):
            await asyncio.sleep(0.4)
            db.cache.maintenance.stop()

    started = time.monotonic()
    await concurrently_async([maintain, stop])
    assert time.monotonic() - started < 30
    assert (await db.health()).ok
