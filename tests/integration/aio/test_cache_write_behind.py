"""A trade sends its changes and returns; the next read waits for the reply, and never returns an older row."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

from nexgent_db import AsyncDatabase, AsyncTransaction
from nexgent_db.aio.cache.servers import TIMEOUT_S
from nexgent_db.cache.codec import POSITION
from nexgent_db.models import AgentPosition, PriceUpdate
from nexgent_db.settings import Settings
from tests.integration.aio.caches import catch_up
from tests.integration.aio.factories import Owner, funded_owner, new_owner
from tests.support.faults.concurrently import concurrently_async
from tests.support.servers.valkey_server import ValkeyServer, valkey_server


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    with valkey_server() as running:
        yield running


@pytest.fixture
def server(valkey: ValkeyServer) -> ValkeyServer:
    with valkey.client() as client:
        client.flushall()
    return valkey


@pytest_asyncio.fixture
async def db(database_url: str, server: ValkeyServer) -> AsyncIterator[AsyncDatabase]:
    async with AsyncDatabase(replace(Settings.from_url(database_url), redis_url=server.url)) as database:
        await catch_up(database)
        yield database


@pytest_asyncio.fixture
async def owner(db: AsyncDatabase) -> Owner:
    return await funded_owner(db)


async def bought(db: AsyncDatabase, owner: Owner) -> AgentPosition:
    """A new position, which is cached."""
    position = (await db.trades.buy(owner.buy("1", "1000"))).position
    assert position is not None
    assert await db.cache.position(position.id) == position
    return position


async def test_batch_of_prices_is_one_message(db: AsyncDatabase, owner: Owner, server: ValkeyServer) -> None:
    positions = [(await db.trades.buy(owner.buy("0.1", "10", f"T{number}"))).position for number in range(50)]
    updates = [PriceUpdate(position_id=each.id, price=Decimal("2")) for each in positions if each is not None]
    await db.cache.positions_of_agent(owner.agent_id)
    with server.client() as client:
        client.config_resetstat()
        recorded = await db.positions.record_prices(updates)
        assert len(recorded.changed) == 50
        assert await db.cache.position(recorded.changed[0].id) == recorded.changed[0]
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] == 1


async def increased(db: AsyncDatabase | AsyncTransaction, owner: Owner) -> AgentPosition:
    position = (await db.trades.dca_buy(owner.dca_buy("1", "500"))).position
    assert position is not None
    return position


async def test_trade_does_not_wait_for_redis_but_next_read_does(
    db: AsyncDatabase, owner: Owner, server: ValkeyServer
) -> None:
    await bought(db, owner)
    with server.hanging():
        position = await increased(db, owner)
        assert db.cache.metrics().state == "closed"  # it did not wait, or it would know
        hits = db.cache.metrics().hits
        assert await db.cache.position(position.id) == position
        assert (db.cache.metrics().state, db.cache.metrics().hits) == ("open", hits)


async def test_next_trade_detects_overdue_reply(db: AsyncDatabase, owner: Owner, server: ValkeyServer) -> None:
    await bought(db, owner)
    with server.hanging():
        await increased(db, owner)
        await asyncio.sleep(TIMEOUT_S)
        position = await increased(db, owner)
        assert db.cache.metrics().state == "open"
        assert await db.cache.position(position.id) == position


async def test_reply_received_long_ago_is_not_late(db: AsyncDatabase, owner: Owner) -> None:
    cache_client: Any = db.cache._client
    await bought(db, owner)
    clock = cache_client._clock
    await increased(db, owner)
    await asyncio.sleep(TIMEOUT_S)
    position = await increased(db, owner)
    assert cache_client._clock >= clock  # not set to what was true when the answer was given
    hits = db.cache.metrics().hits
    assert await db.cache.position(position.id) == position
    assert (db.cache.metrics().state, db.cache.metrics().hits) == ("closed", hits + 1)


async def test_connection_closed_by_redis_loses_no_change(
    db: AsyncDatabase, owner: Owner, server: ValkeyServer
) -> None:
    await bought(db, owner)
    with server.client() as client:
        assert client.client_kill_filter(_type="normal", skipme=True)
    position = await increased(db, owner)
    hits = db.cache.metrics().hits
    assert await db.cache.position(position.id) == position
    assert (db.cache.metrics().openings, db.cache.metrics().hits) == (0, hits + 1)


async def test_connection_lost_before_reply_counts_as_unapplied(
    db: AsyncDatabase, owner: Owner, server: ValkeyServer
) -> None:
    await bought(db, owner)
    server.hang()
    position = await increased(db, owner)
    server.kill()
    server.start()
    assert await db.cache.position(position.id) == position
    assert db.cache.metrics().openings == 1
    while not await db.cache._recovery.recover():
        pass
    assert await db.cache.position(position.id) == position


async def test_redis_without_scripts_is_detected(db: AsyncDatabase, owner: Owner, server: ValkeyServer) -> None:
    await bought(db, owner)
    with server.client() as client:
        client.script_flush()
    position = await increased(db, owner)
    assert await db.cache.position(position.id) == position
    assert db.cache.metrics().openings == 1
    assert await db.cache._recovery.recover()
    position = await increased(db, owner)
    assert await db.cache.position(position.id) == position
    assert db.cache.metrics().state == "closed"


async def test_change_refused_for_memory_counts_as_unapplied(
    db: AsyncDatabase, owner: Owner, server: ValkeyServer
) -> None:
    await bought(db, owner)
    with server.configured("maxmemory", "1"):
        position = await increased(db, owner)
        assert db.cache.metrics().state == "closed"
        assert await db.cache.position(position.id) == position
        assert db.cache.metrics().state == "open"


async def test_reader_asks_database_when_change_is_lost_during_flush(
    db: AsyncDatabase, owner: Owner, server: ValkeyServer
) -> None:
    old = await bought(db, owner)
    new = await increased(db, owner)
    cache_client: Any = db.cache._client
    # As if the change had been lost.
    await cache_client.call("SET", cache_client.keys.position(old.id), POSITION.encode(old))
    flush = cache_client._queue.flush

    async def flush_after_another() -> None:
        cache_client.breaker.fail("a change was lost", unapplied_write=True)
        cache_client._queue.flush = flush
        await flush()

    cache_client._queue.flush = flush_after_another
    assert await db.cache.position(new.id) == new


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "in a block"])
async def test_concurrent_traders_read_their_own_trades(db: AsyncDatabase, alone: bool) -> None:
    owners = [await new_owner(db) for _ in range(8)]
    for owner in owners:
        await db.trades.deposit(owner.deposit("100"))
        await bought(db, owner)

    async def trade_and_look(owner: Owner) -> None:
        for _ in range(10):
            if alone:
                position = await increased(db, owner)
            else:
                async with db.transaction() as tx:
                    position = await increased(tx, owner)
            assert await db.cache.position(position.id) == position
            assert await db.cache.positions_of_agent(owner.agent_id) == [position]

    misses = db.cache.metrics().misses
    await concurrently_async([partial(trade_and_look, owner) for owner in owners])
    assert (db.cache.metrics().openings, db.cache.metrics().misses - misses <= len(owners)) == (0, True)
