"""What is overtaken, repeated or undone on its way to the cache does not make it lie."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import pytest_asyncio

from nexgent_db import AsyncDatabase
from nexgent_db.cache.batch import Batch
from nexgent_db.cache.keys import FENCE
from nexgent_db.models import SOL_MINT, AgentPosition
from nexgent_db.models.cache import DatabaseIdentity
from nexgent_db.settings import Settings
from tests.integration.aio.factories import TOKEN, Owner, funded_owner
from tests.support.servers.valkey_server import valkey_server


@pytest_asyncio.fixture
async def db(fresh_database_url: str, redis_url: str) -> AsyncIterator[AsyncDatabase]:
    """A database of the test's own, with a cache in a Redis shared by the session."""
    settings = replace(Settings.from_url(fresh_database_url), redis_url=redis_url, cache_prefix=f"{uuid4()}:")
    async with AsyncDatabase(settings) as database:
        yield database


@pytest_asyncio.fixture
async def mortal(db: AsyncDatabase) -> AsyncIterator[AsyncDatabase]:
    """A process that dies between its commit and the cache: to the others it looks like one without a cache."""
    async with AsyncDatabase(replace(db.settings, redis_url=None)) as database:
        yield database


@pytest_asyncio.fixture
async def owner(db: AsyncDatabase) -> Owner:
    """An agent with 100 SOL, which are cached."""
    made = await funded_owner(db)
    assert await sol(db, made) == 100
    return made


async def sol(db: AsyncDatabase, owner: Owner) -> object:
    """What the cache says of the wallet's SOL."""
    held = await db.cache.balance(owner.agent_id, owner.wallet_address, SOL_MINT)
    return None if held is None else held.balance


async def bought(db: AsyncDatabase, owner: Owner) -> AgentPosition:
    position = (await db.trades.buy(owner.buy("1", "1000"))).position
    assert position is not None
    return position


def psql(db: AsyncDatabase, statement: str, *values: object) -> None:
    with psycopg.connect(db.settings.conninfo, autocommit=True) as connection:
        connection.execute(statement.encode(), values)


# --- Repeated -------------------------------------------------------------------------------------


async def test_repeated_trade_of_dead_process_is_read_after_transaction(
    db: AsyncDatabase, mortal: AsyncDatabase, owner: Owner
) -> None:
    order = owner.buy("1", "1000")
    await mortal.trades.buy(order)
    assert await sol(db, owner) == 100
    async with db.transaction() as tx, tx.transaction() as inner:
        assert (await inner.trades.buy(order)).duplicate
    assert await sol(db, owner) == 99


async def test_rolled_back_repeated_sale_keeps_position_in_set(db: AsyncDatabase, owner: Owner) -> None:
    position = await bought(db, owner)
    assert await db.cache.positions_of_agent(owner.agent_id) == [position]
    order = owner.sell("1000", "2")
    async with db.transaction() as tx:
        with pytest.raises(ZeroDivisionError):
            async with tx.transaction() as inner:
                await inner.trades.sell(order)
                assert (await inner.trades.sell(order)).duplicate
                raise ZeroDivisionError
    assert await db.cache.positions_of_agent(owner.agent_id) == [position]


# --- Across epochs ----------------------------------------------------------------------------------


async def test_rows_loaded_before_truncate_are_not_stored(db: AsyncDatabase, owner: Owner) -> None:
    position = await bought(db, owner)
    cache_client: Any = db.cache._client
    late = Batch(cache_client.keys)
    late.position(position, "fill")
    began = cache_client.now()
    psql(db, "TRUNCATE agent_positions")
    await db.cache.maintenance.run_once()
    assert db.cache.metrics().resets >= 2  # this very process has dealt with it: its epoch is the new one
    await db.cache._reader.store(late, began)
    assert await db.cache.position(position.id) is None


async def test_trade_overtaken_by_truncate_is_not_stored(db: AsyncDatabase, owner: Owner) -> None:
    cache_client: Any = db.cache._client
    began = cache_client.now()
    bought = await db.trades.buy(owner.buy("1", "1000"))
    position = bought.position
    assert position is not None
    psql(db, "TRUNCATE agent_positions")
    await db.cache.maintenance.run_once()
    await db.cache._writer.apply_trade(bought, position.token_address, began)
    assert await cache_client.call("EXISTS", cache_client.keys.position(position.id)) == 0
    assert db.cache.metrics().state == "catching up"
    assert await db.cache._recovery.recover()
    assert await db.cache.position(position.id) is None


async def test_flush_entry_stays_in_outbox_until_cache_is_empty(db: AsyncDatabase, owner: Owner) -> None:
    position = await bought(db, owner)
    while await db.cache.maintenance.run_once():
        pass
    cache_client: Any = db.cache._client
    lease = f"{cache_client.keys.epoch}:resetter"
    await cache_client.call("SET", lease, "of a process that died")
    psql(db, "TRUNCATE agent_positions")
    assert await db.cache.maintenance.run_once() == 0
    assert await cache_client.call("EXISTS", cache_client.keys.position(position.id)) == 1
    assert await db.cache.maintenance.lag_s() > 0
    await cache_client.call("UNLINK", lease)
    assert await db.cache.maintenance.run_once() == 1
    assert await cache_client.call("EXISTS", cache_client.keys.position(position.id)) == 0


# --- Evicted ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("applied_by", ["the writer", "maintenance", "a repetition"])
async def test_evicted_row_is_not_replaced_by_older_one(
    db: AsyncDatabase, mortal: AsyncDatabase, owner: Owner, applied_by: str
) -> None:
    cache_client: Any = db.cache._client
    began, late = cache_client.now(), Batch(cache_client.keys)
    held = await db.balances.find_by_wallet_and_token(owner.wallet_address, SOL_MINT)
    assert held is not None
    late.balance(held, "fill")
    order = owner.buy("1", "1000")
    await (db if applied_by == "the writer" else mortal).trades.buy(order)
    if applied_by == "maintenance":
        assert await db.cache.maintenance.run_once() > 0
    elif applied_by == "a repetition":  # of what another reader has found meanwhile
        await cache_client.call("UNLINK", cache_client.keys.balance(owner.agent_id, owner.wallet_address, SOL_MINT))
        assert await sol(db, owner) == 99
        assert (await db.trades.buy(order)).duplicate
    assert await sol(db, owner) == 99
    await cache_client.call("UNLINK", cache_client.keys.balance(owner.agent_id, owner.wallet_address, SOL_MINT))
    await db.cache._reader.store(late, began)
    assert await sol(db, owner) == 99


async def test_row_with_evicted_fence_is_not_replaced_by_older_one(db: AsyncDatabase, owner: Owner) -> None:
    cache_client: Any = db.cache._client
    began, late = cache_client.now(), Batch(cache_client.keys)
    held = await db.balances.find_by_wallet_and_token(owner.wallet_address, SOL_MINT)
    assert held is not None
    late.balance(held, "fill")
    await db.trades.buy(owner.buy("1", "1000"))
    assert await sol(db, owner) == 99
    key = cache_client.keys.balance(owner.agent_id, owner.wallet_address, SOL_MINT)
    assert await cache_client.call("UNLINK", f"{key}{FENCE}") == 1
    await db.cache._reader.store(late, began)
    assert await sol(db, owner) == 99


# --- Without memory -------------------------------------------------------------------------------


async def test_row_refused_for_memory_is_not_replaced_by_older_one(
    fresh_database_url: str,
) -> None:
    with valkey_server() as server:
        settings = replace(Settings.from_url(fresh_database_url), redis_url=server.url)
        async with AsyncDatabase(settings) as db:
            owner = await funded_owner(db)
            cache_client: Any = db.cache._client
            old = await bought(db, owner)
            late = Batch(cache_client.keys)  # of a reader who read the database now, and is slow
            late.position(old, "fill")
            began = cache_client.now()
            new = (await db.trades.dca_buy(owner.dca_buy("1", "500"))).position
            assert new is not None
            while await db.cache.maintenance.run_once():
                pass
            with server.configured("maxmemory", "1"):
                again = Batch(cache_client.keys)
                again.position(new, "fill")
                await db.cache._reader.store(again, cache_client.now())
                assert db.cache.metrics().state == "open"
            assert await db.cache._recovery.recover()
            await db.cache._reader.store(late, began)
            assert await db.cache.position(new.id) == new


# --- Which database it is -------------------------------------------------------------------------


async def test_trade_during_identity_query_keeps_epoch(db: AsyncDatabase, owner: Owner) -> None:
    cache_client: Any = db.cache._client
    resets = db.cache.metrics().resets

    async def identify() -> DatabaseIdentity:
        found = await db.cache._queries.identity()
        await bought(db, owner)  # by another task, while the answer is under way
        return found

    await db.cache._recovery.verify_database(cache_client, identify)
    assert (db.cache.metrics().state, db.cache.metrics().resets) == ("closed", resets)


async def test_new_connection_detects_database_that_went_back(db: AsyncDatabase, owner: Owner) -> None:
    position = await bought(db, owner)
    cache_client: Any = db.cache._client
    known: DatabaseIdentity = cache_client.epoch.database
    cache_client.epoch.database = known.model_copy(update={"last_version": 0})
    cache_client._highest_sent = (b"", 0)
    await cache_client.call(
        "SET", cache_client.keys.watermark, position.version + 1000
    )  # cached by others before the restore
    for _ in range(10):  # the pool may be opening another one, which is not ended
        psql(
            db,
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name = 'nexgent-db' AND datname = current_database()",
        )
        assert (await db.health()).problem is None  # by a new connection
        if db.cache.metrics().state == "open" or db.cache.metrics().resets == 2:
            break
    assert await db.cache._recovery.recover()
    assert db.cache.metrics().resets == 2


async def test_malformed_watermark_forces_reset(db: AsyncDatabase, owner: Owner) -> None:
    cache_client: Any = db.cache._client
    await cache_client.call("SET", cache_client.keys.watermark, "nonsense")
    cache_client.breaker.fail("as if it were away", unapplied_write=False)
    assert await db.cache._recovery.recover()
    assert db.cache.metrics().resets == 2


# --- With the breaker open ------------------------------------------------------------------------


async def test_open_breaker_asks_redis_nothing(db: AsyncDatabase, owner: Owner) -> None:
    position = await bought(db, owner)
    cache_client: Any = db.cache._client
    began = cache_client.now()
    cache_client.breaker.fail("as if it were away", unapplied_write=False)
    calls = cache_client.calls
    late = Batch(cache_client.keys)
    late.position(position, "fill")
    await db.cache._reader.store(late, began)
    await db.trades.dca_buy(owner.dca_buy("1", "500"))
    async with db.transaction() as tx:
        await tx.trades.sell(owner.sell("1500", "3"))
    assert await db.cache.positions_of_agent(owner.agent_id) == []
    assert await db.cache.positions_of_token(TOKEN) == []
    assert await db.cache.prices.get_many([TOKEN]) == {}
    assert cache_client.calls == calls
