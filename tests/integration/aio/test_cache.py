"""The cache follows every committed change, whoever makes it, and never answers with less than its caller knows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import pytest_asyncio

from nexgent_db import AsyncDatabase
from nexgent_db._cache_rows import POSITION, Batch, Moment
from nexgent_db.models import SOL_MINT, AgentPosition
from nexgent_db.settings import Settings
from tests.integration.aio.factories import TOKEN, Owner, funded_owner, new_owner


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


async def drained(db: AsyncDatabase) -> int:
    """Maintain until nothing waits; how many changes waited."""
    total = 0
    while waiting := await db.cache.maintain():
        total += waiting
    return total


async def hits(db: AsyncDatabase) -> int:
    return db.cache.metrics().hits


async def assert_cached(db: AsyncDatabase, owner: Owner) -> None:
    """Whatever is asked of the cache, the second time from Redis alone, is what the database says."""
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


async def test_a_trade_is_cached_when_it_returns(db: AsyncDatabase, owner: Owner) -> None:
    position = await bought(db, owner)
    before = await hits(db)
    assert await db.cache.position(position.id) == position
    held = await db.cache.balance(owner.agent_id, owner.wallet_address, SOL_MINT)
    assert held is not None
    assert held.balance == 99
    assert await hits(db) == before + 2
    await assert_cached(db, owner)


async def test_every_kind_of_trade_leaves_the_cache_equal_to_the_database(db: AsyncDatabase, owner: Owner) -> None:
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


async def test_a_block_is_cached_after_its_commit_and_not_before(db: AsyncDatabase, owner: Owner) -> None:
    await assert_cached(db, owner)
    async with db.transaction() as tx:
        await tx.trades.buy(owner.buy("1", "1000"))
        await tx.agents.set_automated_trading(owner.agent_id, "simulation", False)
        calls = db.cache.metrics().calls
    assert db.cache.metrics().calls == calls + 1
    flags = await db.cache.trading_flags(owner.agent_id)
    assert (flags.paused("simulation"), flags.paused("live"), flags.source) == (True, False, "cache")
    await assert_cached(db, owner)


async def test_what_a_savepoint_undid_is_not_cached(db: AsyncDatabase, owner: Owner) -> None:
    async with db.transaction() as tx:
        with pytest.raises(ZeroDivisionError):
            async with tx.transaction() as inner:
                await inner.trades.buy(owner.buy("1", "1000"))
                raise ZeroDivisionError
        await tx.trades.withdraw(owner.withdraw("10"))
    await assert_cached(db, owner)
    assert await db.cache.positions_of_agent(owner.agent_id) == []


async def test_a_deleted_agent_is_gone_from_the_cache_with_all_it_had(db: AsyncDatabase, owner: Owner) -> None:
    position = await bought(db, owner)
    await assert_cached(db, owner)
    assert owner.agent_id in await db.cache.active_agents()
    assert await db.cache.positions_of_token(TOKEN)
    await db.agents.delete(owner.agent_id)
    assert await db.cache.position(position.id) is None
    assert await db.cache.positions_of_agent(owner.agent_id) == []
    assert await db.cache.config(owner.agent_id) is None
    assert owner.agent_id not in await db.cache.active_agents()
    assert position.id not in {row.id for row in await db.cache.positions_of_token(TOKEN)}


async def test_a_change_in_psql_reaches_the_cache_by_maintenance(db: AsyncDatabase, owner: Owner) -> None:
    await bought(db, owner)
    await assert_cached(db, owner)
    with psycopg.connect(db.settings.conninfo, autocommit=True) as psql:
        psql.execute("UPDATE agent_positions SET peak_price = 7 WHERE agent_id = %s", [owner.agent_id])
        psql.execute(
            "DELETE FROM agent_balances WHERE wallet_address = %s AND token_address = %s",
            [owner.wallet_address, TOKEN],
        )
    assert await drained(db) >= 2
    (position,) = await db.cache.positions_of_agent(owner.agent_id)
    assert position.peak_price == 7
    await assert_cached(db, owner)


async def test_a_row_that_moves_to_another_agent_leaves_the_first_ones_set(db: AsyncDatabase, owner: Owner) -> None:
    position = await bought(db, owner)
    other = await new_owner(db)
    await db.cache.positions_of_agent(owner.agent_id)
    await db.cache.positions_of_agent(other.agent_id)
    with psycopg.connect(db.settings.conninfo, autocommit=True) as psql:
        psql.execute(
            "UPDATE agent_positions SET agent_id = %s, wallet_address = %s WHERE id = %s",
            [other.agent_id, other.wallet_address, position.id],
        )
    await drained(db)
    assert await db.cache.positions_of_agent(owner.agent_id) == []
    assert [row.id for row in await db.cache.positions_of_agent(other.agent_id)] == [position.id]


async def test_nobody_brings_a_version_of_his_own(db: AsyncDatabase, owner: Owner) -> None:
    with psycopg.connect(db.settings.conninfo, autocommit=True) as psql:
        row = psql.execute(
            "INSERT INTO agent_balances (agent_id, wallet_address, token_address, token_symbol, balance, version)"
            " VALUES (%s, %s, 'x', 'x', 1, 999999999999) RETURNING version",
            [owner.agent_id, owner.wallet_address],
        ).fetchone()
    assert row is not None
    assert row[0] < 999999999999


async def test_truncating_empties_the_cache(db: AsyncDatabase, owner: Owner) -> None:
    position = await bought(db, owner)
    with psycopg.connect(db.settings.conninfo, autocommit=True) as psql:
        psql.execute("TRUNCATE agent_positions")
    await drained(db)
    assert await db.cache.position(position.id) is None


async def test_a_late_write_does_not_bring_back_a_closed_position(db: AsyncDatabase, owner: Owner) -> None:
    position = await bought(db, owner)
    await assert_cached(db, owner)
    await db.trades.sell(owner.sell("1000", "3"))
    link: Any = db.cache._link
    for operation in ("set", "fill"):
        late = Batch(link.keys)
        late.position(position, operation)
        await link.write(late, link.now(), missed=False)
        assert await db.cache.position(position.id) is None
        assert await db.cache.positions_of_agent(owner.agent_id) == []


async def test_what_began_too_long_ago_stores_nothing(db: AsyncDatabase, owner: Owner) -> None:
    position = await bought(db, owner)
    link: Any = db.cache._link
    await link.call("UNLINK", link.keys.position(position.id))
    late = Batch(link.keys)
    late.position(position, "set")
    began = link.now()
    await link.write(late, Moment(began.epoch, began.ms - 61_000), missed=False)
    assert await link.call("EXISTS", link.keys.position(position.id)) == 0
    assert await db.cache.position(position.id) == position


async def test_a_set_is_not_completed_with_what_was_read_before_a_change(db: AsyncDatabase, owner: Owner) -> None:
    link: Any = db.cache._link
    key = link.keys.positions_of_agent(owner.agent_id)
    rows, token = await link.get_set(key, str(owner.agent_id), link.keys.positions)
    assert rows is None
    began = link.now()
    position = await bought(db, owner)  # between the read of nothing and the fill
    late = Batch(link.keys)
    late.complete(key, str(owner.agent_id), token, [])
    await link.write(late, began, missed=False)
    assert await db.cache.positions_of_agent(owner.agent_id) == [position]


@pytest.mark.parametrize("payload", [b"nonsense", b'{"version":9000000000000000000,"id":1}', b"{}", b"\xff\xfe"])
async def test_a_foreign_payload_is_a_miss_and_is_replaced(db: AsyncDatabase, owner: Owner, payload: bytes) -> None:
    position = await bought(db, owner)
    link: Any = db.cache._link
    await link.call("SET", link.keys.position(position.id), payload)
    assert await db.cache.position(position.id) == position
    assert POSITION.decode(await link.call("GET", link.keys.position(position.id))) == position


async def test_another_positions_payload_is_a_miss(db: AsyncDatabase, owner: Owner) -> None:
    one, two = await bought(db, owner), await bought(db, owner, "other")
    link: Any = db.cache._link
    await link.call("SET", link.keys.position(one.id), POSITION.encode(two))
    assert await db.cache.position(one.id) == one


async def test_an_evicted_row_makes_its_set_incomplete(db: AsyncDatabase, owner: Owner) -> None:
    position = await bought(db, owner)
    await assert_cached(db, owner)
    link: Any = db.cache._link
    await link.call("UNLINK", link.keys.position(position.id))
    assert await db.cache.positions_of_agent(owner.agent_id) == [position]
    await assert_cached(db, owner)


async def test_a_reader_with_a_version_is_never_answered_with_less(db: AsyncDatabase, owner: Owner) -> None:
    old = await bought(db, owner)
    new = (await db.trades.dca_buy(owner.dca_buy("1", "500"))).position
    assert new is not None
    link: Any = db.cache._link
    await link.call("SET", link.keys.position(old.id), POSITION.encode(old))  # as if the cache had missed the change
    assert await db.cache.position(old.id) == old
    assert await db.cache.position(old.id, at_least=new.version) == new
    await link.call("SET", link.keys.position(old.id), POSITION.encode(old))
    await db.cache.positions_of_agent(owner.agent_id)
    assert await db.cache.positions_of_agent(owner.agent_id, at_least=new.version) == [new]


async def test_a_repeated_trade_does_not_bring_back_what_has_changed_since(db: AsyncDatabase, owner: Owner) -> None:
    order = owner.buy("1", "1000")
    await db.trades.buy(order)
    await db.trades.sell(owner.sell("1000", "3"))
    link: Any = db.cache._link
    keys = await link.call("KEYS", f"{link.keys.prefix}*:floor")
    await link.call("UNLINK", *keys)  # the deletion is long forgotten
    repeated = await db.trades.buy(order)
    assert repeated.replayed
    assert repeated.position is not None
    assert await db.cache.position(repeated.position.id) is None
    await assert_cached(db, owner)


async def test_a_cache_that_went_away_and_came_back_empty_is_used_again(db: AsyncDatabase, owner: Owner) -> None:
    position = await bought(db, owner)
    link: Any = db.cache._link
    keys = await link.call("KEYS", f"{link.keys.prefix}*")
    await link.call("UNLINK", *keys)
    assert await db.cache.position(position.id) == position
    assert db.cache.metrics().state == "open"
    assert await db.cache._recover()
    await assert_cached(db, owner)


async def test_what_was_missed_is_made_up_for_before_the_cache_is_read_again(db: AsyncDatabase, owner: Owner) -> None:
    position = await bought(db, owner)
    await assert_cached(db, owner)
    link: Any = db.cache._link
    link.breaker.fail("as if it were away", missed=False)
    await db.trades.sell(owner.sell("1000", "3"))
    assert await db.cache.positions_of_agent(owner.agent_id) == []
    assert await link.call("EXISTS", link.keys.position(position.id)) == 1
    assert await db.cache._recover()
    assert await link.call("EXISTS", link.keys.position(position.id)) == 0
    await assert_cached(db, owner)


async def test_without_redis_the_cache_reads_the_database(database_url: str) -> None:
    async with AsyncDatabase(database_url) as db:
        owner = await funded_owner(db)
        position = await bought(db, owner)
        assert await db.cache.position(position.id) == position
        assert await db.cache.positions_of_agent(owner.agent_id) == [position]
        assert not (await db.cache.trading_flags(owner.agent_id)).paused()
        assert db.cache.metrics().state == "absent"
        assert await db.cache.maintain() == 0


async def test_an_agent_that_nobody_knows_counts_as_paused(db: AsyncDatabase) -> None:
    flags = await db.cache.trading_flags(uuid4())
    assert (flags.paused(), flags.paused("live"), flags.source) == (True, True, "nowhere")
