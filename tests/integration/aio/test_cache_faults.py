"""Whatever becomes of Redis, trades commit, their results are right, and what is read is the database's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Final

import psycopg
import pytest
import pytest_asyncio

from nexgent_db import AsyncDatabase
from nexgent_db.aio.cache.recovery import PROBE_S
from nexgent_db.models import SOL_MINT
from nexgent_db.models.cache import DatabaseIdentity, TokenPrice
from nexgent_db.settings import Settings
from tests.integration.aio.factories import TOKEN, Owner, funded_owner, new_owner
from tests.support.faults.concurrently import concurrently_async
from tests.support.faults.faulty_proxy import Fault, FaultyProxy
from tests.support.servers.valkey_server import ValkeyServer
from tests.support.servers.valkey_topologies import older_copy

FAULTS: Final = ["killed", "hung", "refusing", "slow", "alone", "read-only", "full", "garbage", "cut"]


@pytest_asyncio.fixture
async def db(fresh_database_url: str, proxy: FaultyProxy) -> AsyncIterator[AsyncDatabase]:
    """A database of the test's own, with a cache behind a proxy."""
    async with AsyncDatabase(replace(Settings.from_url(fresh_database_url), redis_url=proxy.url)) as database:
        yield database


@pytest_asyncio.fixture
async def owner(db: AsyncDatabase) -> Owner:
    return await funded_owner(db)


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
            case "read-only":
                client.replicaof("127.0.0.1", "1")  # a replica whose master is gone
            case "full":
                client.config_set("maxmemory", "1")
            case "garbage":
                proxy.fault = Fault(garble=b"*1\r\n$5\r\nepoch\r\n")
            case "cut":
                proxy.fault = Fault(cut_after=3)


def repaired(fault: str, server: ValkeyServer, proxy: FaultyProxy) -> None:
    proxy.fault = Fault()
    match fault:
        case "killed":
            server.start()
        case "hung":
            server.wake()
        case "read-only":
            with server.client() as client:
                client.replicaof("NO", "ONE")
        case "alone" | "full":
            with server.client() as client:
                client.config_set("min-replicas-to-write", "0")
                client.config_set("maxmemory", "0")


async def assert_reads_equal_database(db: AsyncDatabase, owner: Owner) -> None:
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
async def test_trades_commit_and_are_read_while_redis_is(
    db: AsyncDatabase, owner: Owner, server: ValkeyServer, proxy: FaultyProxy, fault: str
) -> None:
    await assert_reads_equal_database(db, owner)
    broken(fault, server, proxy)
    try:
        bought = await db.trades.buy(owner.buy("1", "1000"))
        assert (bought.transaction.output_amount, bought.duplicate) == (1000, False)
        await assert_reads_equal_database(db, owner)
        async with db.transaction() as tx:
            await tx.trades.dca_buy(owner.dca_buy("1", "500"))
            await tx.trades.take_profit(owner.take_profit("700", "2"))
        await assert_reads_equal_database(db, owner)
    finally:
        repaired(fault, server, proxy)
    while db.cache.metrics().state != "closed":
        await db.cache._recovery.recover()
    await db.trades.sell(owner.sell("800", "3"))
    await assert_reads_equal_database(db, owner)
    before = db.cache.metrics().hits
    assert await db.cache.positions_of_agent(owner.agent_id) == []
    assert db.cache.metrics().hits == before + 1  # used again, without a restart


@pytest.mark.parametrize("passing", [0, 1, 2, 4, 8, 16, 64, 256])
async def test_truncated_reply_is_never_taken_for_complete(
    db: AsyncDatabase, owner: Owner, proxy: FaultyProxy, passing: int
) -> None:
    await db.trades.buy(owner.buy("1", "1000"))
    await assert_reads_equal_database(db, owner)
    proxy.fault = Fault(cut_after=passing)
    await assert_reads_equal_database(db, owner)
    await db.trades.dca_buy(owner.dca_buy("1", "500"))
    await assert_reads_equal_database(db, owner)


async def test_failed_call_is_not_repeated_before_next_probe(
    db: AsyncDatabase, owner: Owner, server: ValkeyServer
) -> None:
    db.cache._recovery.recover_soon = lambda: None  # type: ignore[method-assign]  # the probe comes when the test says
    server.hang()
    try:
        calls = db.cache.metrics().calls
        await db.trades.buy(owner.buy("1", "1000"))
        await assert_reads_equal_database(db, owner)
        assert db.cache.metrics().calls == calls + 1
        for _ in range(5):
            await db.trades.dca_buy(owner.dca_buy("1", "500"))
            await assert_reads_equal_database(db, owner)
        assert db.cache.metrics().calls == calls + 1
    finally:
        server.wake()
    assert await db.cache._recovery.recover()
    await assert_reads_equal_database(db, owner)


async def test_lost_redis_is_probed_every_half_second(db: AsyncDatabase, owner: Owner, proxy: FaultyProxy) -> None:
    proxy.fault = Fault(refuse=True)
    connections, began = proxy.connections, time.monotonic()
    await db.trades.buy(owner.buy("1", "1000"))
    calls, until = db.cache.metrics().calls, time.monotonic() + 60
    while proxy.connections < connections + 4:
        assert time.monotonic() < until, "no probe looks for it"
        await assert_reads_equal_database(db, owner)
    looked, passed_s = db.cache.metrics().calls - calls, time.monotonic() - began
    assert 3 <= looked <= passed_s / PROBE_S
    proxy.fault = Fault()
    while db.cache.metrics().state != "closed":
        assert time.monotonic() < until, "it is not found again"
        await assert_reads_equal_database(db, owner)


LOST: Final = {
    "the set": ("",),
    "its marker": (":complete",),
    "the token to complete it": (":load_lease",),
    "the set and its token": ("", ":load_lease"),
    "its marker and the token": (":complete", ":load_lease"),
    "the set and its marker": ("", ":complete"),
}


@pytest.mark.parametrize("lost", LOST)
async def test_partly_evicted_set_is_read_right(
    db: AsyncDatabase, owner: Owner, server: ValkeyServer, lost: str
) -> None:
    sets = (
        f"nexgent:agent:{owner.agent_id}:positions",
        f"nexgent:token:{TOKEN.lower()}:positions",
        f"nexgent:wallet:{owner.wallet_address}:balances",
        "nexgent:active_agents",
    )

    def lose() -> None:
        with server.client() as client:
            client.unlink(*(name + part for name in sets for part in LOST[lost]))

    async def assert_all_is_right() -> None:
        await assert_reads_equal_database(db, owner)
        positions = await db.positions.list_by_agent(owner.agent_id)
        for token in (TOKEN, "Another"):
            assert await db.cache.positions_of_token(token) == [row for row in positions if row.token_address == token]
        assert await db.cache.active_agents() == [owner.agent_id]

    await db.agents.set_automated_trading(owner.agent_id, "simulation", True)
    await db.trades.buy(owner.buy("1", "1000", "Another"))
    await assert_all_is_right()  # all are complete by now
    lose()
    await db.trades.buy(owner.buy("1", "1000", TOKEN))  # moves what is left of them
    await assert_all_is_right()
    lose()
    await assert_all_is_right()
    await db.trades.sell(owner.sell("1000", "2", TOKEN))
    lose()
    await assert_all_is_right()
    compared = await db.cache.admin.verify(patience_s=0.1)
    assert (compared.different, compared.compared > 0) == ({}, True)


async def test_two_concurrent_probes_verify_once(db: AsyncDatabase, owner: Owner, server: ValkeyServer) -> None:
    db.cache._recovery.recover_soon = lambda: None  # type: ignore[method-assign]
    server.kill()
    await db.trades.buy(owner.buy("1", "1000"))
    await assert_reads_equal_database(db, owner)
    server.start()
    cache_client: Any = db.cache._client
    in_the_middle = asyncio.Event()

    async def identify() -> DatabaseIdentity:
        in_the_middle.set()
        await asyncio.sleep(0.05)  # the other one begins meanwhile
        return await db.cache._queries.identity()

    async def check_first() -> bool:
        return bool(await cache_client.epoch.verify(identify))

    async def check_second() -> bool:
        await in_the_middle.wait()
        return bool(await cache_client.epoch.verify(db.cache._queries.identity))

    assert await concurrently_async([check_first, check_second]) == [True, True]
    assert await db.cache._recovery.recover()
    assert (db.cache.metrics().state, db.cache.metrics().openings) == ("closed", 1)
    await assert_reads_equal_database(db, owner)


async def test_redis_restarted_with_old_dump_is_reset(db: AsyncDatabase, owner: Owner, server: ValkeyServer) -> None:
    old = (await db.trades.buy(owner.buy("1", "1000"))).position
    assert old is not None
    await assert_reads_equal_database(db, owner)
    server.save()
    await db.trades.sell(owner.sell("1000", "2"))
    new = (await db.trades.buy(owner.buy("3", "70"))).position
    assert new is not None
    server.kill()
    server.start()
    with server.client() as client:
        assert client.exists(f"nexgent:position:{old.id}")  # it would say so
    async with AsyncDatabase(db.settings) as another:
        assert await another.cache.position(old.id) is None
        assert await another.cache.position(new.id, at_least=new.version) == new
        assert another.cache.metrics().resets == 1
    assert await db.cache.position(old.id) is None
    assert await db.cache._recovery.recover()
    await assert_reads_equal_database(db, owner)


@pytest.mark.parametrize("noticed", ["by maintenance", "by new connections"])
async def test_redis_that_followed_an_older_one_is_reset(
    db: AsyncDatabase, owner: Owner, server: ValkeyServer, noticed: str
) -> None:
    await db.trades.buy(owner.buy("1", "1000"))
    await assert_reads_equal_database(db, owner)
    with older_copy(server) as follow_it_for_a_while:
        await db.trades.dca_buy(owner.dca_buy("1", "500"))
        await assert_reads_equal_database(db, owner)
        follow_it_for_a_while()
    if noticed == "by maintenance":
        db.cache.maintenance._next_check = 0.0
        await db.cache.maintenance.run_once()
    else:
        with server.client() as client:
            client.client_kill_filter(_type="normal", skipme=True)
    await assert_reads_equal_database(db, owner)
    while db.cache.metrics().state != "closed":
        await db.cache._recovery.recover()
    assert db.cache.metrics().resets == 2
    await assert_reads_equal_database(db, owner)


async def test_each_read_takes_two_round_trips_at_most(db: AsyncDatabase, owner: Owner, server: ValkeyServer) -> None:
    position = None
    for number in range(60):
        position = (await db.trades.buy(owner.buy("0.1", "1000", f"Token{number}"))).position
    assert position is not None
    cache, agent, wallet = db.cache, owner.agent_id, owner.wallet_address
    reads = {
        "position": lambda: cache.position(position.id),
        "positions_of_agent": lambda: cache.positions_of_agent(agent),
        "positions_of_token": lambda: cache.positions_of_token("Token7"),
        "balance": lambda: cache.balance(agent, wallet, SOL_MINT),
        "balances_of_wallet": lambda: cache.balances_of_wallet(agent, wallet),
        "config": lambda: cache.config(agent),
        "trading_flags": lambda: cache.trading_flags(agent),
        "active_agents": lambda: cache.active_agents(),
        "prices": lambda: cache.prices.get_many([f"Token{number}" for number in range(60)]),
    }
    with server.client() as client:
        for name, read in reads.items():
            for expected, lost in ((1, False), (2, True), (1, False)):
                if lost:
                    kept = (b"epoch", b"watermark")
                    gone = [key for key in client.scan_iter("nexgent:*") if not key.encode().endswith(kept)]
                    client.unlink(*gone)
                elif expected == 1:
                    await read()
                client.config_resetstat()
                await read()
                stats = client.info("commandstats")
                calls = {
                    command: stats.get(f"cmdstat_{command}", {}).get("calls", 0) for command in ("evalsha", "mget")
                }
                trips = calls["evalsha"]
                if name not in ("positions_of_agent", "positions_of_token", "balances_of_wallet"):
                    trips += calls["mget"]  # those of a set are the script's own
                assert 1 <= trips <= expected, (name, stats)


async def test_prices_without_redis_raise_nothing(db: AsyncDatabase, owner: Owner, server: ValkeyServer) -> None:
    price = TokenPrice.model_validate(
        {
            "token_address": TOKEN,
            "price_sol": "0.000000000001",
            "price_usd": "1",
            "last_updated": "2026-11-25T00:00:00Z",
        }
    )
    assert await db.cache.prices.set(price)
    assert await db.cache.prices.get_many([TOKEN]) == {TOKEN: price}
    server.kill()
    assert await db.cache.prices.get_many([TOKEN]) == {}
    assert not await db.cache.prices.set(price)
    server.start()
    assert await db.cache._recovery.recover()
    assert await db.cache.prices.set(price)
    assert await db.cache.prices.get_many([TOKEN]) == {TOKEN: price}


async def test_agent_is_paused_when_neither_server_answers(fresh_database_url: str, server: ValkeyServer) -> None:
    settings = replace(Settings.from_url(fresh_database_url), redis_url=server.url, pool_timeout_s=0.2)
    async with AsyncDatabase(settings) as db:
        owner = await new_owner(db)
        assert not (await db.cache.trading_flags(owner.agent_id)).paused()
        server.kill()
        with psycopg.connect(settings.conninfo, autocommit=True) as psql:
            psql.execute("ALTER TABLE agents RENAME TO agents_out_of_reach")
            flags = await db.cache.trading_flags(owner.agent_id)
            psql.execute("ALTER TABLE agents_out_of_reach RENAME TO agents")
        assert (flags.paused(), flags.source) == (True, "nowhere")
        assert not (await db.cache.trading_flags(owner.agent_id)).paused()
