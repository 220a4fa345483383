"""What is cached is compared with the database, mended where it differs, filled and emptied whole."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import pytest_asyncio

from nexgent_db import AsyncDatabase
from nexgent_db._cache_rows import BALANCE, POSITION
from nexgent_db.aio import _cache_sweep
from nexgent_db.errors import ConfigurationError
from nexgent_db.models import SOL_MINT, AgentPosition
from nexgent_db.models.cache import CacheDifference
from nexgent_db.settings import Settings
from tests.integration.aio.factories import TOKEN, Owner, funded_owner, new_owner
from tests.support.concurrently import concurrently_async


@pytest.fixture
def settings(fresh_database_url: str, redis_url: str) -> Settings:
    """A database and a namespace of the test's own."""
    return replace(Settings.from_url(fresh_database_url), redis_url=redis_url, cache_prefix=f"{uuid4()}:")


@pytest_asyncio.fixture
async def db(settings: Settings) -> AsyncIterator[AsyncDatabase]:
    async with AsyncDatabase(settings) as database:
        yield database


@pytest_asyncio.fixture
async def owner(db: AsyncDatabase) -> Owner:
    """An agent with 99 SOL and a position, whose sets are cached."""
    made = await funded_owner(db)
    await db.trades.buy(made.buy("1", "1000"))
    await read_all(db, made)
    return made


async def read_all(db: AsyncDatabase, owner: Owner) -> None:
    """Every read that the cache offers of the owner's, so that it is cached."""
    for position in await db.cache.positions_of_agent(owner.agent_id):
        await db.cache.position(position.id)
    await db.cache.positions_of_token(TOKEN)
    await db.cache.balances_of_wallet(owner.agent_id, owner.wallet_address)
    await db.cache.config(owner.agent_id)
    await db.cache.trading_flags(owner.agent_id)
    await db.cache.active_agents()


async def position_of(db: AsyncDatabase, owner: Owner) -> AgentPosition:
    position = await db.positions.find_by_wallet_and_token(owner.agent_id, owner.wallet_address, TOKEN)
    assert position is not None
    return position


async def differences(db: AsyncDatabase) -> list[tuple[str, str]]:
    """Kind and key, without the prefix, of what a comparison finds."""
    told: list[CacheDifference] = []
    compared = await db.cache.verify(told.append, patience_s=0)
    assert compared.differences == len(told)
    return sorted((each.kind, each.key.removeprefix(db.settings.cache_prefix)) for each in told)


async def drained(db: AsyncDatabase) -> None:
    """Maintain until no change waits."""
    while await db.cache.maintain():
        pass


async def swept(db: AsyncDatabase) -> None:
    """Maintain through a whole walk over all keys, and the round after it."""
    sweep: Any = db.cache._sweep
    sweep._cursor, sweep._next_walk = b"0", 0.0
    walks = db.cache.metrics().walks
    while db.cache.metrics().walks == walks:
        await db.cache.maintain()
    await db.cache.maintain()


# --- Differences ----------------------------------------------------------------------------------

Tamper = Callable[[AsyncDatabase, Owner, Any], Awaitable[list[tuple[str, str]]]]


async def older_position(db: AsyncDatabase, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    old = await position_of(db, owner)
    await db.trades.dca_buy(owner.dca_buy("1", "500"))
    await drained(db)
    await redis.call("SET", redis.keys.position(old.id), POSITION.encode(old))
    return [("stale", f"position:{old.id}")]


async def position_from_the_future(db: AsyncDatabase, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    row = await position_of(db, owner)
    future = row.model_copy(update={"version": row.version + 7, "peak_price": Decimal(5)})
    await redis.call("SET", redis.keys.position(row.id), POSITION.encode(future))
    return [("ahead", f"position:{row.id}")]


async def another_scale(db: AsyncDatabase, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    row = await db.balances.find_by_wallet_and_token(owner.wallet_address, SOL_MINT)
    assert row is not None
    altered = row.model_copy(update={"balance": row.balance.normalize()})
    assert altered == row
    key = redis.keys.balance(owner.agent_id, owner.wallet_address, SOL_MINT)
    await redis.call("SET", key, BALANCE.encode(altered))
    return [("altered", key.removeprefix(redis.keys.prefix))]


async def nonsense(db: AsyncDatabase, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    key = redis.keys.balance(owner.agent_id, owner.wallet_address, SOL_MINT)
    await redis.call("SET", key, b"\xff nonsense")
    return [("unreadable", key.removeprefix(redis.keys.prefix))]


async def ghost_of_a_position(db: AsyncDatabase, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    ghost = (await position_of(db, owner)).model_copy(update={"id": uuid4()})
    await redis.call("SET", redis.keys.position(ghost.id), POSITION.encode(ghost))
    return [("ghost", f"position:{ghost.id}")]


async def ghost_of_a_balance(db: AsyncDatabase, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    key = redis.keys.balance(owner.agent_id, owner.wallet_address, "a:token:with:colons")
    await redis.call("SET", key, b'{"version":7}')
    return [("ghost", key.removeprefix(redis.keys.prefix))]


async def ghost_of_an_agent(db: AsyncDatabase, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    ghost = uuid4()
    await redis.call("SET", redis.keys.trading_mode(ghost), "live")
    return [("ghost", f"config:{ghost}")]


async def unpaused(db: AsyncDatabase, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    await db.agents.set_automated_trading(owner.agent_id, "simulation", False)
    await drained(db)
    await redis.call("SET", redis.keys.automated_trading(owner.agent_id, "simulation"), "1")
    return [("altered", f"config:{owner.agent_id}")]


async def another_config(db: AsyncDatabase, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    payload = await redis.call("GET", redis.keys.config(owner.agent_id))
    await redis.call("SET", redis.keys.config(owner.agent_id), payload.replace(b"}", b',"signals":{}}', 1))
    return [("altered", f"config:{owner.agent_id}")]


async def another_member(db: AsyncDatabase, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    key = redis.keys.positions_of_agent(owner.agent_id)
    await redis.call("SREM", key, str((await position_of(db, owner)).id))
    await redis.call("SADD", key, str(uuid4()))
    return [("members", f"agent:{owner.agent_id}:positions")]


async def fewer_members(db: AsyncDatabase, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    key = redis.keys.balances_of_wallet(owner.wallet_address)
    await redis.call("SREM", key, SOL_MINT)
    await redis.call("SET", f"{key}:complete", f"1 {owner.agent_id} {owner.wallet_address}")
    return [("members", f"wallet:{owner.wallet_address}:balances")]


async def nobodys_set(db: AsyncDatabase, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    await redis.call("SET", redis.keys.positions_of_token(TOKEN) + ":complete", b"0 \xff")
    return [("members", f"token:{TOKEN.lower()}:positions")]


async def no_active_agents(db: AsyncDatabase, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    await redis.call("UNLINK", redis.keys.active_agents)
    await redis.call("SET", f"{redis.keys.active_agents}:complete", "0 all")
    return [("members", "active_agents")]


@pytest.fixture(
    params=[
        older_position,
        position_from_the_future,
        another_scale,
        nonsense,
        ghost_of_a_position,
        ghost_of_a_balance,
        ghost_of_an_agent,
        unpaused,
        another_config,
        another_member,
        fewer_members,
        nobodys_set,
        no_active_agents,
    ],
    ids=lambda tamper: tamper.__name__,
)
def tamper(request: pytest.FixtureRequest) -> Tamper:
    """Makes one cached entry differ from the database."""
    found: Tamper = request.param
    return found


async def test_verify_tells_each_difference_and_repair_mends_it(
    db: AsyncDatabase, owner: Owner, tamper: Tamper
) -> None:
    assert await differences(db) == []
    expected = await tamper(db, owner, db.cache._link)
    assert await differences(db) == expected
    repaired = await db.cache.repair(patience_s=0)
    assert (repaired.differences, repaired.mended) == (1, 1)
    assert await differences(db) == []


async def test_maintenance_mends_each_difference(db: AsyncDatabase, owner: Owner, tamper: Tamper) -> None:
    await drained(db)
    before = db.cache.metrics()
    expected = await tamper(db, owner, db.cache._link)
    await swept(db)
    after = db.cache.metrics()
    assert await differences(db) == []
    assert after.ghosts - before.ghosts == sum(kind == "ghost" for kind, _ in expected)
    assert after.repaired - before.repaired == 1


async def test_a_set_without_its_rows_is_no_difference_but_is_completed(db: AsyncDatabase, owner: Owner) -> None:
    link: Any = db.cache._link
    position = await position_of(db, owner)
    await link.call("UNLINK", link.keys.position(position.id))
    assert await differences(db) == []
    await swept(db)
    hits = db.cache.metrics().hits
    assert await db.cache.positions_of_agent(owner.agent_id) == [position]
    assert db.cache.metrics().hits == hits + 1


async def test_trades_on_their_way_are_no_differences(db: AsyncDatabase, owner: Owner, settings: Settings) -> None:
    done: list[bool] = []

    async def trade() -> None:
        for _ in range(40):
            await db.trades.dca_buy(owner.dca_buy("0.1", "10"))
            await db.trades.buy(owner.buy("0.1", "1000", "other"))
            await db.trades.sell(owner.sell("1000", "0.1", "other"))
        done.append(True)

    async def compare() -> None:
        async with AsyncDatabase(settings) as other:
            while not done:
                compared = await other.cache.verify(patience_s=0.4)
                assert compared.different == {}
                assert compared.compared >= 5

    await concurrently_async([trade, compare])


async def test_one_process_at_a_time_walks(db: AsyncDatabase, settings: Settings) -> None:
    link: Any = db.cache._link
    await link.call("SET", link.keys.sweeper, "another", "PX", 60_000)
    for _ in range(3):
        await db.cache.maintain()
    assert db.cache.metrics().walks == 0
    await link.call("UNLINK", link.keys.sweeper)
    await swept(db)
    assert db.cache.metrics().walks == 1


async def test_a_walk_does_not_begin_at_every_round(db: AsyncDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cache_sweep, "WALK_S", 3600.0)
    await swept(db)
    compared = db.cache.metrics().compared
    for _ in range(3):
        await db.cache.maintain()
    assert db.cache.metrics().compared == compared


# --- The whole ------------------------------------------------------------------------------------


async def test_a_warm_cache_answers_every_read(db: AsyncDatabase, owner: Owner) -> None:
    fill(db.settings.conninfo, owner, 1200)
    await db.cache.reset()
    told: list[tuple[int, int]] = []
    warmed = await db.cache.warm(lambda done, total: told.append((done, total)))
    assert warmed.rows == 1 + 1202 + 1201  # the agent, its balances, its positions
    assert told[-1][0] == told[-1][1]
    hits, misses = db.cache.metrics().hits, db.cache.metrics().misses
    await read_all(db, owner)
    assert len(await db.cache.positions_of_agent(owner.agent_id)) == 1201
    assert db.cache.metrics().misses == misses
    assert db.cache.metrics().hits > hits
    assert await differences(db) == []


async def test_sets_that_are_too_many_at_once_are_completed_and_one_that_is_too_large_is_not(
    db: AsyncDatabase, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    owners = [owner, *[await new_owner(db) for _ in range(3)]]
    for each in owners[1:]:
        await db.trades.deposit(each.deposit("100"))
        await db.trades.buy(each.buy("1", "1000"))
    fill(db.settings.conninfo, owners[-1], 2)
    await db.cache.reset()
    monkeypatch.setattr(_cache_sweep, "MOST_MEMBERS", 3)
    await db.cache.warm()
    hits = db.cache.metrics().hits
    for each in owners:
        assert len(await db.cache.balances_of_wallet(each.agent_id, each.wallet_address)) == (
            2 if each != owners[-1] else 4
        )
    assert db.cache.metrics().hits == hits + 3
    assert await differences(db) == [("members", f"wallet:{owners[-1].wallet_address}:balances")]  # by the last read


async def test_warming_does_not_undo_what_is_newer(db: AsyncDatabase, owner: Owner) -> None:
    link: Any = db.cache._link
    queries: Any = db.cache._queries
    read = queries.page_of_positions

    async def read_before_a_sale(after: UUID, limit: int) -> list[AgentPosition]:
        rows: list[AgentPosition] = await read(after, limit)
        if rows:
            await db.trades.sell(owner.sell("1000", "2"))
        return rows

    queries.page_of_positions = read_before_a_sale
    position = await position_of(db, owner)
    await db.cache.warm()
    assert await link.call("EXISTS", link.keys.position(position.id)) == 0
    assert await differences(db) == []


async def test_status_counts_keys_and_what_all_processes_did(db: AsyncDatabase, owner: Owner) -> None:
    waiting = (await db.cache.status()).waiting
    assert waiting > 0
    await drained(db)
    link: Any = db.cache._link
    await link.call("SET", link.keys.lock("x"), "somebody")
    db.cache._next_check = 0.0
    await db.cache.maintain()
    status = await db.cache.status()
    assert (status.state, status.waiting, status.lag_s) == ("closed", 0, 0)
    assert status.keys["positions"] == 1
    assert status.keys["balances"] == 2
    assert status.keys["configurations"] == 1
    assert status.keys["sets"] == 4
    assert status.keys["helpers"] == 1
    assert status.statistics["drained"] >= waiting
    metrics = db.cache.metrics()
    assert status.hit_rate == metrics.hits / (metrics.hits + metrics.misses)


async def test_a_reset_empties_the_cache_but_for_the_helpers(db: AsyncDatabase, owner: Owner) -> None:
    link: Any = db.cache._link
    await link.call("SET", link.keys.lock("x"), "somebody")
    await db.cache.reset()
    assert (await db.cache.status()).keys == {"helpers": 1, "other": 1}  # the epoch
    await read_all(db, owner)
    assert await differences(db) == []


async def test_without_redis_there_is_no_whole(database_url: str) -> None:
    async with AsyncDatabase(database_url) as db:
        for refused in (db.cache.warm, db.cache.verify, db.cache.repair, db.cache.status, db.cache.reset):
            with pytest.raises(ConfigurationError, match="REDIS_URL is not set"):
                await refused()


def fill(url: str, owner: Owner, rows: int) -> None:
    """So many more positions and balances of the owner's, each in a token of its own."""
    with psycopg.connect(url, autocommit=True) as psql:
        for statement in (
            "INSERT INTO agent_balances (agent_id, wallet_address, token_address, token_symbol, balance)"
            " SELECT %(agent_id)s, %(wallet)s, 't' || n, 'T', n FROM generate_series(1, %(rows)s) AS n",
            "INSERT INTO agent_transactions (id, agent_id, wallet_address, transaction_type, transaction_value_usd,"
            " transaction_time) SELECT md5(n::text)::uuid, %(agent_id)s, %(wallet)s, 'SWAP', 1, now()"
            " FROM generate_series(1, %(rows)s) AS n",
            "INSERT INTO agent_positions (agent_id, wallet_address, token_address, token_symbol, purchase_price,"
            " purchase_transaction_id, purchase_amount, total_invested_sol)"
            " SELECT %(agent_id)s, %(wallet)s, 't' || n, 'T', 1, md5(n::text)::uuid, n, n"
            " FROM generate_series(1, %(rows)s) AS n",
        ):
            psql.execute(statement, {"agent_id": owner.agent_id, "wallet": owner.wallet_address, "rows": rows})


# --- What nobody has taken ------------------------------------------------------------------------


async def test_a_process_that_opens_knows_what_was_committed_before(
    db: AsyncDatabase, owner: Owner, settings: Settings
) -> None:
    with psycopg.connect(settings.conninfo, autocommit=True) as psql:
        psql.execute("UPDATE agent_positions SET peak_price = 7")
    async with AsyncDatabase(settings) as other:
        (position,) = await other.cache.positions_of_agent(owner.agent_id)
        assert position.peak_price == 7
        assert other.cache.metrics().hits == 1


async def test_without_a_cache_old_changes_become_one_that_empties_a_later_cache(
    db: AsyncDatabase, owner: Owner, settings: Settings
) -> None:
    await db.close()
    uncached = replace(settings, redis_url=None)
    async with AsyncDatabase(uncached) as other:
        await other.trades.dca_buy(owner.dca_buy("1", "500"))
        assert await other.cache.maintain() == 0  # younger than an hour: somebody may have a cache
        with psycopg.connect(settings.conninfo, autocommit=True) as psql:
            psql.execute("UPDATE cache_outbox SET created_at = created_at - interval '2 hours'")
            waiting = psql.execute("SELECT count(*) FROM cache_outbox").fetchone()
        other.cache._next_forgetting = 0.0
        assert (await other.cache.maintain(),) == waiting
        other.cache._next_forgetting = 0.0
        assert await other.cache.maintain() == 0
        with psycopg.connect(settings.conninfo) as psql:
            assert psql.execute("SELECT entity FROM cache_outbox").fetchall() == [("everything",)]
        expected = await position_of(other, owner)
    async with AsyncDatabase(settings) as later:
        assert later.cache.metrics().resets == 1
        assert await later.cache.positions_of_agent(owner.agent_id) == [expected]
        assert await differences(later) == []


# --- A cache that is not this database's ----------------------------------------------------------


async def test_a_database_that_went_back_is_known_by_the_watermark(db: AsyncDatabase, owner: Owner) -> None:
    link: Any = db.cache._link
    await link.call("SET", link.keys.watermark, "999999999999")
    db.cache._next_check = 0.0
    await db.cache.maintain()
    assert db.cache.metrics().state == "open"
    assert await db.cache._recover()
    assert db.cache.metrics().resets == 2  # the first when there was nothing yet
    await read_all(db, owner)
    assert await differences(db) == []


async def test_a_watermark_that_is_no_number_empties_the_cache(db: AsyncDatabase, owner: Owner) -> None:
    link: Any = db.cache._link
    await link.call("SET", link.keys.watermark, "nonsense")
    link.breaker.fail("as if it were away", missed=False)
    assert await db.cache._recover()
    assert db.cache.metrics().resets == 2
    assert await differences(db) == []
