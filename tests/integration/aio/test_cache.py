"""The cache shows every committed change of any program, and never returns a row older than its caller knows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import pytest_asyncio

from nexgent_db import AsyncDatabase
from nexgent_db.cache.batch import Batch, CacheTimestamp
from nexgent_db.cache.codec import POSITION
from nexgent_db.models import SOL_MINT, AgentPosition, PriceUpdate
from nexgent_db.settings import Settings
from tests.integration.aio.factories import TOKEN, Owner, funded_owner, new_owner
from tests.support.builders.purge import purge_agent


@pytest_asyncio.fixture
async def db(fresh_database_url: str, redis_url: str) -> AsyncIterator[AsyncDatabase]:
    """A database of the test's own, with a cache in a Redis shared by the session."""
    settings = replace(Settings.from_url(fresh_database_url), redis_url=redis_url, cache_prefix=f"{uuid4()}:")
    async with AsyncDatabase(settings) as database:
        assert database.cache.metrics().state == "closed"
        yield database


@pytest_asyncio.fixture
async def owner(db: AsyncDatabase) -> Owner:
    """An agent with 100 SOL."""
    return await funded_owner(db)


async def bought(db: AsyncDatabase, owner: Owner, token: str = TOKEN) -> AgentPosition:
    position = (await db.trades.buy(owner.buy("1", "1000", token))).position
    assert position is not None
    return position


async def relayed(db: AsyncDatabase) -> int:
    """Relay the whole outbox; the number of relayed changes."""
    total = 0
    while waiting := await db.cache.maintenance.run_once():
        total += waiting
    return total


async def hits(db: AsyncDatabase) -> int:
    return db.cache.metrics().hits


async def assert_cached(db: AsyncDatabase, owner: Owner) -> None:
    """Every read of the cache equals the database; the second time it comes from Redis only."""
    positions = await db.positions.list_by_agent(owner.agent_id)
    balances = await db.balances.list_by_wallet(owner.agent_id, owner.wallet_address)
    for _ in range(2):
        before = await hits(db)
        assert await db.cache.positions_of_agent(owner.agent_id) == positions
        assert await db.cache.balances_of_wallet(owner.agent_id, owner.wallet_address) == sorted(
            balances, key=lambda row: row.token_address
        )
        for position in positions:
            assert await db.cache.position(position.id) == position
        for balance in balances:
            found = await db.cache.balance(owner.agent_id, owner.wallet_address, balance.token_address)
            assert repr(found) == repr(balance).replace("zoneinfo.ZoneInfo(key='UTC')", "datetime.timezone.utc")
        after = await hits(db)
    assert after - before == 2 + len(positions) + len(balances)


async def test_trade_is_cached_on_return(db: AsyncDatabase, owner: Owner) -> None:
    position = await bought(db, owner)
    before = await hits(db)
    assert await db.cache.position(position.id) == position
    held = await db.cache.balance(owner.agent_id, owner.wallet_address, SOL_MINT)
    assert held is not None
    assert held.balance == 99
    assert await hits(db) == before + 2
    await assert_cached(db, owner)


async def test_each_kind_of_trade_leaves_cache_equal_to_database(db: AsyncDatabase, owner: Owner) -> None:
    await assert_cached(db, owner)
    position = await bought(db, owner)
    await assert_cached(db, owner)
    await db.trades.dca_buy(owner.dca_buy("1", "500"))
    await assert_cached(db, owner)
    await db.trades.take_profit(owner.take_profit("500", "2"))
    await assert_cached(db, owner)
    await db.trades.sell(owner.sell("1000", "3"))
    await assert_cached(db, owner)
    assert await db.cache.position(position.id) is None
    assert await db.cache.positions_of_token(TOKEN + "x") == []
    await bought(db, owner)
    await db.trades.reset_wallet(owner.reset("5"))
    await assert_cached(db, owner)


async def test_transaction_is_cached_only_after_commit(db: AsyncDatabase, owner: Owner) -> None:
    await assert_cached(db, owner)
    async with db.transaction() as tx:
        await tx.trades.buy(owner.buy("1", "1000"))
        await tx.agents.set_automated_trading(owner.agent_id, "simulation", False)
        calls = db.cache.metrics().calls
    assert db.cache.metrics().calls == calls + 1
    flags = await db.cache.trading_flags(owner.agent_id)
    assert (flags.paused("simulation"), flags.paused("live"), flags.source) == (True, False, "cache")
    await assert_cached(db, owner)


async def test_rolled_back_savepoint_is_not_cached(db: AsyncDatabase, owner: Owner) -> None:
    async with db.transaction() as tx:
        with pytest.raises(ZeroDivisionError):
            async with tx.transaction() as inner:
                await inner.trades.buy(owner.buy("1", "1000"))
                raise ZeroDivisionError
        await tx.trades.withdraw(owner.withdraw("10"))
    await assert_cached(db, owner)
    assert await db.cache.positions_of_agent(owner.agent_id) == []


async def test_deleted_agent_takes_its_rows_from_cache(db: AsyncDatabase, owner: Owner) -> None:
    position = await bought(db, owner)
    await assert_cached(db, owner)
    assert owner.agent_id in await db.cache.active_agents()
    assert await db.cache.positions_of_token(TOKEN)
    purge_agent(db.settings.conninfo, owner.agent_id)
    await relayed(db)
    assert await db.cache.position(position.id) is None
    assert await db.cache.positions_of_agent(owner.agent_id) == []
    assert await db.cache.config(owner.agent_id) is None
    assert owner.agent_id not in await db.cache.active_agents()
    assert position.id not in {row.id for row in await db.cache.positions_of_token(TOKEN)}


async def test_psql_change_is_relayed_by_maintenance(db: AsyncDatabase, owner: Owner) -> None:
    await bought(db, owner)
    await assert_cached(db, owner)
    with psycopg.connect(db.settings.conninfo, autocommit=True) as psql:
        psql.execute("UPDATE agent_positions SET peak_price = 7 WHERE agent_id = %s", [owner.agent_id])
        psql.execute(
            "DELETE FROM agent_balances WHERE wallet_address = %s AND token_address = %s",
            [owner.wallet_address, TOKEN],
        )
    assert await relayed(db) >= 2
    (position,) = await db.cache.positions_of_agent(owner.agent_id)
    assert position.peak_price == 7
    await assert_cached(db, owner)


async def test_position_moved_to_another_agent_leaves_old_set(db: AsyncDatabase, owner: Owner) -> None:
    position = await bought(db, owner)
    other = await new_owner(db)
    deposit = await db.trades.deposit(other.deposit("1"))
    await db.cache.positions_of_agent(owner.agent_id)
    await db.cache.positions_of_agent(other.agent_id)
    with psycopg.connect(db.settings.conninfo, autocommit=True) as psql:
        psql.execute(
            "UPDATE agent_positions SET agent_id = %s, wallet_address = %s, purchase_transaction_id = %s WHERE id = %s",
            [other.agent_id, other.wallet_address, deposit.transaction.id, position.id],
        )
    await relayed(db)
    assert await db.cache.positions_of_agent(owner.agent_id) == []
    assert [row.id for row in await db.cache.positions_of_agent(other.agent_id)] == [position.id]


async def test_version_of_an_insert_is_ignored(db: AsyncDatabase, owner: Owner) -> None:
    with psycopg.connect(db.settings.conninfo, autocommit=True) as psql:
        row = psql.execute(
            "INSERT INTO agent_balances (agent_id, wallet_address, token_address, token_symbol, balance, version)"
            " VALUES (%s, %s, 'x', 'x', 1, 999999999999) RETURNING version",
            [owner.agent_id, owner.wallet_address],
        ).fetchone()
    assert row is not None
    assert row[0] < 999999999999


async def test_truncate_empties_cache(db: AsyncDatabase, owner: Owner) -> None:
    position = await bought(db, owner)
    with psycopg.connect(db.settings.conninfo, autocommit=True) as psql:
        psql.execute("TRUNCATE agent_positions")
    await relayed(db)
    assert await db.cache.position(position.id) is None


async def test_late_write_does_not_restore_closed_position(db: AsyncDatabase, owner: Owner) -> None:
    position = await bought(db, owner)
    await assert_cached(db, owner)
    await db.trades.sell(owner.sell("1000", "3"))
    cache_client: Any = db.cache._client
    for operation in ("set", "fill"):
        late = Batch(cache_client.keys)
        late.position(position, operation)
        await cache_client.write(late, cache_client.now(), committed=False)
        assert await db.cache.position(position.id) is None
        assert await db.cache.positions_of_agent(owner.agent_id) == []


async def test_write_started_a_minute_ago_stores_nothing(db: AsyncDatabase, owner: Owner) -> None:
    position = await bought(db, owner)
    cache_client: Any = db.cache._client
    await cache_client.call("UNLINK", cache_client.keys.position(position.id))
    late = Batch(cache_client.keys)
    late.position(position, "set")
    began = cache_client.now()
    await cache_client.write(late, CacheTimestamp(began.epoch, began.ms - 61_000), committed=False)
    assert await cache_client.call("EXISTS", cache_client.keys.position(position.id)) == 0
    assert await db.cache.position(position.id) == position


async def test_set_changed_during_load_stays_incomplete(db: AsyncDatabase, owner: Owner) -> None:
    cache_client: Any = db.cache._client
    key = cache_client.keys.positions_of_agent(owner.agent_id)
    rows, token = await cache_client.get_set(key, str(owner.agent_id), cache_client.keys.positions)
    assert rows is None
    began = cache_client.now()
    position = await bought(db, owner)  # between the read of nothing and the fill
    late = Batch(cache_client.keys)
    late.complete(key, str(owner.agent_id), token, [])
    await cache_client.write(late, began, committed=False)
    assert await db.cache.positions_of_agent(owner.agent_id) == [position]


@pytest.mark.parametrize("payload", [b"nonsense", b'{"version":9000000000000000000,"id":1}', b"{}", b"\xff\xfe"])
async def test_foreign_payload_is_a_miss_and_replaced(db: AsyncDatabase, owner: Owner, payload: bytes) -> None:
    position = await bought(db, owner)
    cache_client: Any = db.cache._client
    await cache_client.call("SET", cache_client.keys.position(position.id), payload)
    assert await db.cache.position(position.id) == position
    assert POSITION.decode(await cache_client.call("GET", cache_client.keys.position(position.id))) == position


async def test_payload_of_another_position_is_a_miss(db: AsyncDatabase, owner: Owner) -> None:
    one, two = await bought(db, owner), await bought(db, owner, "other")
    cache_client: Any = db.cache._client
    await cache_client.call("SET", cache_client.keys.position(one.id), POSITION.encode(two))
    assert await db.cache.position(one.id) == one


async def test_evicted_row_makes_set_incomplete(db: AsyncDatabase, owner: Owner) -> None:
    position = await bought(db, owner)
    await assert_cached(db, owner)
    cache_client: Any = db.cache._client
    await cache_client.call("UNLINK", cache_client.keys.position(position.id))
    assert await db.cache.positions_of_agent(owner.agent_id) == [position]
    await assert_cached(db, owner)


async def test_read_with_at_least_never_returns_older_row(db: AsyncDatabase, owner: Owner) -> None:
    old = await bought(db, owner)
    new = (await db.trades.dca_buy(owner.dca_buy("1", "500"))).position
    assert new is not None
    cache_client: Any = db.cache._client
    await cache_client.call(
        "SET", cache_client.keys.position(old.id), POSITION.encode(old)
    )  # as if the cache had missed the change
    assert await db.cache.position(old.id) == old
    assert await db.cache.position(old.id, at_least=new.version) == new
    await cache_client.call("SET", cache_client.keys.position(old.id), POSITION.encode(old))
    await db.cache.positions_of_agent(owner.agent_id)
    assert await db.cache.positions_of_agent(owner.agent_id, at_least=new.version) == [new]


async def test_list_with_at_least_has_every_row_of_that_version(
    db: AsyncDatabase, owner: Owner, fresh_database_url: str
) -> None:
    """A trade, or a batch of prices, gives several rows one version; a read of one of them caches this one alone."""
    positions = [await bought(db, owner, token) for token in ("one", "two")]
    for key in ("one", "two", SOL_MINT):
        await db.cache.balance(owner.agent_id, owner.wallet_address, key)
    await db.cache.positions_of_agent(owner.agent_id)
    await db.cache.balances_of_wallet(owner.agent_id, owner.wallet_address)
    async with AsyncDatabase(replace(Settings.from_url(fresh_database_url), redis_url=None)) as other:
        updates = [PriceUpdate(position_id=position.id, price=Decimal("2")) for position in positions]
        changed = (await other.positions.record_prices(updates)).changed
        seen = await db.cache.position(changed[0].id, at_least=changed[0].version)
        assert seen == changed[0]
        listed = await db.cache.positions_of_agent(owner.agent_id, at_least=changed[0].version)
        assert sorted(listed, key=lambda row: row.id) == sorted(changed, key=lambda row: row.id)
        sold = await other.trades.take_profit(owner.take_profit("400", "1", "one"))
        version = sold.balances[0].version
        sol = await db.cache.balance(owner.agent_id, owner.wallet_address, SOL_MINT, at_least=version)
        assert sol in sold.balances
        balances = await db.cache.balances_of_wallet(owner.agent_id, owner.wallet_address, at_least=version)
        assert balances == await other.balances.list_by_wallet(owner.agent_id, owner.wallet_address)


async def test_repeated_trade_does_not_restore_older_rows(db: AsyncDatabase, owner: Owner) -> None:
    order = owner.buy("1", "1000")
    await db.trades.buy(order)
    await db.trades.sell(owner.sell("1000", "3"))
    cache_client: Any = db.cache._client
    keys = await cache_client.call("KEYS", f"{cache_client.keys.prefix}*:fence")
    await cache_client.call("UNLINK", *keys)  # the deletion is long forgotten
    repeated = await db.trades.buy(order)
    assert repeated.duplicate
    assert repeated.position is not None
    assert await db.cache.position(repeated.position.id) is None
    await assert_cached(db, owner)


async def test_cache_returned_empty_is_used_again(db: AsyncDatabase, owner: Owner) -> None:
    position = await bought(db, owner)
    cache_client: Any = db.cache._client
    keys = await cache_client.call("KEYS", f"{cache_client.keys.prefix}*")
    await cache_client.call("UNLINK", *keys)
    assert await db.cache.position(position.id) == position
    assert db.cache.metrics().state == "open"
    assert await db.cache._recovery.recover()
    await assert_cached(db, owner)


async def test_unapplied_writes_are_relayed_before_next_read(db: AsyncDatabase, owner: Owner) -> None:
    position = await bought(db, owner)
    await assert_cached(db, owner)
    cache_client: Any = db.cache._client
    cache_client.breaker.fail("as if it were away", unapplied_write=False)
    await db.trades.sell(owner.sell("1000", "3"))
    assert await db.cache.positions_of_agent(owner.agent_id) == []
    assert await cache_client.call("EXISTS", cache_client.keys.position(position.id)) == 1
    assert await db.cache._recovery.recover()
    assert await cache_client.call("EXISTS", cache_client.keys.position(position.id)) == 0
    await assert_cached(db, owner)


async def test_reads_without_redis_use_database(database_url: str) -> None:
    async with AsyncDatabase(database_url) as db:
        owner = await funded_owner(db)
        position = await bought(db, owner)
        assert await db.cache.position(position.id) == position
        assert await db.cache.positions_of_agent(owner.agent_id) == [position]
        assert not (await db.cache.trading_flags(owner.agent_id)).paused()
        assert db.cache.metrics().state == "absent"
        assert await db.cache.maintenance.run_once() == 0


async def test_unknown_agent_is_paused(db: AsyncDatabase) -> None:
    flags = await db.cache.trading_flags(uuid4())
    assert (flags.paused(), flags.paused("live"), flags.source) == (True, True, "nowhere")
