"""A trade sends what it changed and goes on; whoever reads then waits for that, and is never told less."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

from nexgent_db import AsyncDatabase, AsyncTransaction
from nexgent_db._cache_rows import POSITION
from nexgent_db.aio._redis_servers import TIMEOUT_S
from nexgent_db.models import AgentPosition
from nexgent_db.settings import Settings
from tests.integration.aio.factories import Owner, funded_owner, new_owner
from tests.support.concurrently import concurrently_async
from tests.support.valkey_server import ValkeyServer, valkey_server


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


async def increased(db: AsyncDatabase | AsyncTransaction, owner: Owner) -> AgentPosition:
    position = (await db.trades.dca_buy(owner.dca_buy("1", "500"))).position
    assert position is not None
    return position


async def test_a_trade_does_not_wait_for_redis_but_the_read_after_it_does(
    db: AsyncDatabase, owner: Owner, server: ValkeyServer
) -> None:
    await bought(db, owner)
    with server.hanging():
        position = await increased(db, owner)
        assert db.cache.metrics().state == "closed"  # it did not wait, or it would know
        hits = db.cache.metrics().hits
        assert await db.cache.position(position.id) == position
        assert (db.cache.metrics().state, db.cache.metrics().hits) == ("open", hits)


async def test_the_next_trade_finds_a_change_that_was_not_answered_in_time(
    db: AsyncDatabase, owner: Owner, server: ValkeyServer
) -> None:
    await bought(db, owner)
    with server.hanging():
        await increased(db, owner)
        await asyncio.sleep(TIMEOUT_S)
        position = await increased(db, owner)
        assert db.cache.metrics().state == "open"
        assert await db.cache.position(position.id) == position


async def test_an_answer_that_came_long_ago_is_no_late_one(db: AsyncDatabase, owner: Owner) -> None:
    link: Any = db.cache._link
    await bought(db, owner)
    clock = link._clock
    await increased(db, owner)
    await asyncio.sleep(TIMEOUT_S)
    position = await increased(db, owner)
    assert link._clock >= clock  # not set to what was true when the answer was given
    hits = db.cache.metrics().hits
    assert await db.cache.position(position.id) == position
    assert (db.cache.metrics().state, db.cache.metrics().hits) == ("closed", hits + 1)


async def test_a_connection_that_redis_closed_meanwhile_loses_nothing(
    db: AsyncDatabase, owner: Owner, server: ValkeyServer
) -> None:
    await bought(db, owner)
    with server.client() as client:
        assert client.client_kill_filter(_type="normal", skipme=True)
    position = await increased(db, owner)
    hits = db.cache.metrics().hits
    assert await db.cache.position(position.id) == position
    assert (db.cache.metrics().openings, db.cache.metrics().hits) == (0, hits + 1)


async def test_a_connection_that_is_cut_before_the_answer_has_not_applied_it(
    db: AsyncDatabase, owner: Owner, server: ValkeyServer
) -> None:
    await bought(db, owner)
    server.hang()
    position = await increased(db, owner)
    server.kill()
    server.start()
    assert await db.cache.position(position.id) == position
    assert db.cache.metrics().openings == 1
    while not await db.cache._recover():
        pass
    assert await db.cache.position(position.id) == position


async def test_a_redis_that_forgot_the_scripts_is_found_out(
    db: AsyncDatabase, owner: Owner, server: ValkeyServer
) -> None:
    await bought(db, owner)
    with server.client() as client:
        client.script_flush()
    position = await increased(db, owner)
    assert await db.cache.position(position.id) == position
    assert db.cache.metrics().openings == 1
    assert await db.cache._recover()
    position = await increased(db, owner)
    assert await db.cache.position(position.id) == position
    assert db.cache.metrics().state == "closed"


async def test_a_change_that_memory_did_not_suffice_for_is_not_taken_for_applied(
    db: AsyncDatabase, owner: Owner, server: ValkeyServer
) -> None:
    await bought(db, owner)
    with server.configured("maxmemory", "1"):
        position = await increased(db, owner)
        assert db.cache.metrics().state == "closed"
        assert await db.cache.position(position.id) == position
        assert db.cache.metrics().state == "open"


async def test_a_reader_believes_nothing_when_another_one_finds_meanwhile_that_a_change_was_lost(
    db: AsyncDatabase, owner: Owner, server: ValkeyServer
) -> None:
    old = await bought(db, owner)
    new = await increased(db, owner)
    link: Any = db.cache._link
    await link.call("SET", link.keys.position(old.id), POSITION.encode(old))  # as if the change had been lost
    settle = link._posts.settle

    async def settle_after_another() -> None:
        link.breaker.fail("a change was lost", missed=True)
        link._posts.settle = settle
        await settle()

    link._posts.settle = settle_after_another
    assert await db.cache.position(new.id) == new


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "in a block"])
async def test_each_of_many_sees_his_own_trade_at_once(db: AsyncDatabase, alone: bool) -> None:
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
