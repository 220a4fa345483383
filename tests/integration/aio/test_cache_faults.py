"""Whatever becomes of Redis, trades commit, their results are right, and what is read is the database's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Final

import pytest
import pytest_asyncio

from nexgent_db import AsyncDatabase
from nexgent_db.settings import Settings
from tests.integration.aio.factories import Owner, new_owner
from tests.support.faulty_proxy import Fault, FaultyProxy, faulty_proxy
from tests.support.valkey_server import ValkeyServer, valkey_server

FAULTS: Final = ["killed", "hung", "refusing", "slow", "alone", "full", "garbage", "cut"]


@pytest.fixture
def server() -> Iterator[ValkeyServer]:
    with valkey_server() as running:
        yield running


@pytest.fixture
def proxy(server: ValkeyServer) -> Iterator[FaultyProxy]:
    with faulty_proxy(server.socket) as between:
        yield between


@pytest_asyncio.fixture
async def db(fresh_database_url: str, proxy: FaultyProxy) -> AsyncIterator[AsyncDatabase]:
    """A database of the test's own, with a cache behind a proxy."""
    async with AsyncDatabase(replace(Settings.from_url(fresh_database_url), redis_url=proxy.url)) as database:
        yield database


@pytest_asyncio.fixture
async def owner(db: AsyncDatabase) -> Owner:
    made = await new_owner(db)
    await db.trades.deposit(made.deposit("100"))
    return made


def broken(fault: str, server: ValkeyServer, proxy: FaultyProxy) -> None:
    """From now on."""
    with server.client() as client:
        match fault:
            case "killed":
                server.kill()
            case "hung":
                server.hang()
            case "refusing":
                proxy.fault = Fault(refuse=True)
            case "slow":
                proxy.fault = Fault(delay_s=0.2)
            case "alone":
                client.config_set("min-replicas-to-write", "1")
            case "full":
                client.config_set("maxmemory", "1")
            case "garbage":
                proxy.fault = Fault(garble=b"*1\r\n$5\r\nepoch\r\n")
            case "cut":
                proxy.fault = Fault(cut_after=3)


def mended(fault: str, server: ValkeyServer, proxy: FaultyProxy) -> None:
    proxy.fault = Fault()
    match fault:
        case "killed":
            server.start()
        case "hung":
            server.wake()
        case "alone" | "full":
            with server.client() as client:
                client.config_set("min-replicas-to-write", "0")
                client.config_set("maxmemory", "0")


async def assert_told_what_the_database_says(db: AsyncDatabase, owner: Owner) -> None:
    positions = await db.positions.list_by_agent(owner.agent_id)
    balances = await db.balances.list_by_wallet(owner.agent_id, owner.wallet_address)
    assert await db.cache.positions_of_agent(owner.agent_id) == positions
    assert await db.cache.balances_of_wallet(owner.agent_id, owner.wallet_address) == sorted(
        balances, key=lambda row: row.token_address
    )
    for position in positions:
        assert await db.cache.position(position.id) == position
    flags = await db.cache.trading_flags(owner.agent_id)
    assert not flags.paused()


@pytest.mark.parametrize("fault", FAULTS)
async def test_trades_commit_and_are_seen_by_their_process_while_redis_is(
    db: AsyncDatabase, owner: Owner, server: ValkeyServer, proxy: FaultyProxy, fault: str
) -> None:
    await assert_told_what_the_database_says(db, owner)
    broken(fault, server, proxy)
    try:
        bought = await db.trades.buy(owner.buy("1", "1000"))
        assert (bought.transaction.output_amount, bought.replayed) == (1000, False)
        await assert_told_what_the_database_says(db, owner)
        async with db.transaction() as tx:
            await tx.trades.dca_buy(owner.dca_buy("1", "500"))
            await tx.trades.take_profit(owner.take_profit("700", "2"))
        await assert_told_what_the_database_says(db, owner)
    finally:
        mended(fault, server, proxy)
    assert await db.cache._recover() or db.cache.metrics().state != "closed"
    while db.cache.metrics().state != "closed":
        await db.cache._recover()
    await db.trades.sell(owner.sell("800", "3"))
    await assert_told_what_the_database_says(db, owner)
    before = db.cache.metrics().hits
    assert await db.cache.positions_of_agent(owner.agent_id) == []
    assert db.cache.metrics().hits == before + 1  # used again, without a restart
