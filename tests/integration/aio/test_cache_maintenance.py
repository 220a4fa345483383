"""What is cached is compared with the database, repaired where it differs, filled and emptied whole."""

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
from nexgent_db.aio.cache import reconciler
from nexgent_db.cache.codec import BALANCE, POSITION
from nexgent_db.errors import ConfigurationError
from nexgent_db.models import SOL_MINT, AgentPosition
from nexgent_db.models.cache import CacheDifference
from nexgent_db.settings import Settings
from tests.integration.aio.factories import TOKEN, Owner, funded_owner, new_owner
from tests.support.faults.concurrently import concurrently_async


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
    reported: list[CacheDifference] = []
    compared = await db.cache.admin.verify(reported.append, patience_s=0)
    assert compared.differences == len(reported)
    return sorted((each.kind, each.key.removeprefix(db.settings.cache_prefix)) for each in reported)


async def relayed(db: AsyncDatabase) -> None:
    """Maintain until no change waits."""
    while await db.cache.maintenance.run_once():
        pass


async def scanned(db: AsyncDatabase) -> None:
    """Maintain through a whole scan pass over all keys, and the round after it."""
    reconciler_: Any = db.cache._reconciler
    reconciler_._cursor, reconciler_._next_pass = b"0", 0.0
    scan_passes = db.cache.metrics().scan_passes
    while db.cache.metrics().scan_passes == scan_passes:
        await db.cache.maintenance.run_once()
    await db.cache.maintenance.run_once()


# --- Differences ----------------------------------------------------------------------------------

Tamper = Callable[[AsyncDatabase, Owner, Any], Awaitable[list[tuple[str, str]]]]


async def older_position(db: AsyncDatabase, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    old = await position_of(db, owner)
    await db.trades.dca_buy(owner.dca_buy("1", "500"))
    await relayed(db)
    await redis.call("SET", redis.keys.position(old.id), POSITION.encode(old))
    return [("stale", f"position:{old.id}")]


async def position_from_the_future(db: AsyncDatabase, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    row = await position_of(db, owner)
    future = row.model_copy(update={"version": row.version + 7, "peak_price": Decimal(5)})
    await redis.call("SET", redis.keys.position(row.id), POSITION.encode(future))
    return [("newer_than_database", f"position:{row.id}")]


async def another_scale(db: AsyncDatabase, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    row = await db.balances.find_by_wallet_and_token(owner.wallet_address, SOL_MINT)
    assert row is not None
    altered = row.model_copy(update={"balance": row.balance.normalize()})
    assert altered == row
    key = redis.keys.balance(owner.agent_id, owner.wallet_address, SOL_MINT)
    await redis.call("SET", key, BALANCE.encode(altered))
    return [("content_mismatch", key.removeprefix(redis.keys.prefix))]


async def nonsense(db: AsyncDatabase, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    key = redis.keys.balance(owner.agent_id, owner.wallet_address, SOL_MINT)
    await redis.call("SET", key, b"\xff nonsense")
    return [("unreadable", key.removeprefix(redis.keys.prefix))]


async def orphan_of_a_position(db: AsyncDatabase, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    orphan = (await position_of(db, owner)).model_copy(update={"id": uuid4()})
    await redis.call("SET", redis.keys.position(orphan.id), POSITION.encode(orphan))
    return [("orphan", f"position:{orphan.id}")]


async def orphan_of_a_balance(db: AsyncDatabase, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    key = redis.keys.balance(owner.agent_id, owner.wallet_address, "a:token:with:colons")
    await redis.call("SET", key, b'{"version":7}')
    return [("orphan", key.removeprefix(redis.keys.prefix))]


async def orphan_of_an_agent(db: AsyncDatabase, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    orphan = uuid4()
    await redis.call("SET", redis.keys.trading_mode(orphan), "live")
    return [("orphan", f"config:{orphan}")]


async def unpaused(db: AsyncDatabase, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    await db.agents.set_automated_trading(owner.agent_id, "simulation", False)
    await relayed(db)
    await redis.call("SET", redis.keys.automated_trading(owner.agent_id, "simulation"), "1")
    return [("content_mismatch", f"config:{owner.agent_id}")]


async def another_config(db: AsyncDatabase, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    payload = await redis.call("GET", redis.keys.config(owner.agent_id))
    await redis.call("SET", redis.keys.config(owner.agent_id), payload.replace(b"}", b',"signals":{}}', 1))
    return [("content_mismatch", f"config:{owner.agent_id}")]


async def another_member(db: AsyncDatabase, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    key = redis.keys.positions_of_agent(owner.agent_id)
    await redis.call("SREM", key, str((await position_of(db, owner)).id))
    await redis.call("SADD", key, str(uuid4()))
    return [("membership_mismatch", f"agent:{owner.agent_id}:positions")]


async def fewer_members(db: AsyncDatabase, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    key = redis.keys.balances_of_wallet(owner.wallet_address)
    await redis.call("SREM", key, SOL_MINT)
    await redis.call("SET", f"{key}:complete", f"1 {owner.agent_id} {owner.wallet_address}")
    return [("membership_mismatch", f"wallet:{owner.wallet_address}:balances")]


async def unknown_set(db: AsyncDatabase, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    await redis.call("SET", redis.keys.positions_of_token(TOKEN) + ":complete", b"0 \xff")
    return [("membership_mismatch", f"token:{TOKEN.lower()}:positions")]


async def no_active_agents(db: AsyncDatabase, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    await redis.call("UNLINK", redis.keys.active_agents)
    await redis.call("SET", f"{redis.keys.active_agents}:complete", "0 all")
    return [("membership_mismatch", "active_agents")]


@pytest.fixture(
    params=[
        older_position,
        position_from_the_future,
        another_scale,
        nonsense,
        orphan_of_a_position,
        orphan_of_a_balance,
        orphan_of_an_agent,
        unpaused,
        another_config,
        another_member,
        fewer_members,
        unknown_set,
        no_active_agents,
    ],
    ids=lambda tamper: tamper.__name__,
)
def tamper(request: pytest.FixtureRequest) -> Tamper:
    """Makes one cached entry differ from the database."""
    found: Tamper = request.param
    return found


async def test_difference_is_reported_by_verify_and_repaired_by_repair(
    db: AsyncDatabase, owner: Owner, tamper: Tamper
) -> None:
    assert await differences(db) == []
    expected = await tamper(db, owner, db.cache._client)
    assert await differences(db) == expected
    repaired = await db.cache.admin.repair(patience_s=0)
    assert (repaired.differences, repaired.repaired) == (1, 1)
    assert await differences(db) == []


async def test_difference_is_repaired_by_maintenance(db: AsyncDatabase, owner: Owner, tamper: Tamper) -> None:
    await relayed(db)
    before = db.cache.metrics()
    expected = await tamper(db, owner, db.cache._client)
    await scanned(db)
    after = db.cache.metrics()
    assert await differences(db) == []
    assert after.orphans - before.orphans == sum(kind == "orphan" for kind, _ in expected)
    assert after.repaired - before.repaired == 1


async def test_set_without_its_rows_is_completed_without_a_difference(db: AsyncDatabase, owner: Owner) -> None:
    cache_client: Any = db.cache._client
    position = await position_of(db, owner)
    await cache_client.call("UNLINK", cache_client.keys.position(position.id))
    assert await differences(db) == []
    await scanned(db)
    hits = db.cache.metrics().hits
    assert await db.cache.positions_of_agent(owner.agent_id) == [position]
    assert db.cache.metrics().hits == hits + 1


async def test_concurrent_trades_are_no_differences(db: AsyncDatabase, owner: Owner, settings: Settings) -> None:
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
                compared = await other.cache.admin.verify(patience_s=0.4)
                assert compared.different == {}
                assert compared.compared >= 5

    await concurrently_async([trade, compare])


async def test_scanner_lease_lets_one_process_scan(db: AsyncDatabase, settings: Settings) -> None:
    cache_client: Any = db.cache._client
    await cache_client.call("SET", cache_client.keys.scanner, "another", "PX", 60_000)
    for _ in range(3):
        await db.cache.maintenance.run_once()
    assert db.cache.metrics().scan_passes == 0
    await cache_client.call("UNLINK", cache_client.keys.scanner)
    await scanned(db)
    assert db.cache.metrics().scan_passes == 1


async def test_scan_pass_does_not_start_every_round(db: AsyncDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler, "SCAN_PASS_S", 3600.0)
    await scanned(db)
    compared = db.cache.metrics().compared
    for _ in range(3):
        await db.cache.maintenance.run_once()
    assert db.cache.metrics().compared == compared


# --- The whole ------------------------------------------------------------------------------------


async def test_warm_cache_answers_every_read(db: AsyncDatabase, owner: Owner) -> None:
    fill(db.settings.conninfo, owner, 1200)
    await db.cache.admin.reset()
    reported: list[tuple[int, int]] = []
    warmed = await db.cache.admin.warm(lambda done, total: reported.append((done, total)))
    assert warmed.rows == 1 + 1202 + 1201  # the agent, its balances, its positions
    assert reported[-1][0] == reported[-1][1]
    hits, misses = db.cache.metrics().hits, db.cache.metrics().misses
    await read_all(db, owner)
    assert len(await db.cache.positions_of_agent(owner.agent_id)) == 1201
    assert db.cache.metrics().misses == misses
    assert db.cache.metrics().hits > hits
    assert await differences(db) == []


async def test_warm_completes_many_sets_except_too_large_ones(
    db: AsyncDatabase, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    owners = [owner, *[await new_owner(db) for _ in range(3)]]
    for each in owners[1:]:
        await db.trades.deposit(each.deposit("100"))
        await db.trades.buy(each.buy("1", "1000"))
    fill(db.settings.conninfo, owners[-1], 2)
    await db.cache.admin.reset()
    monkeypatch.setattr(reconciler, "MAX_MEMBERS", 3)
    await db.cache.admin.warm()
    hits = db.cache.metrics().hits
    for each in owners:
        assert len(await db.cache.balances_of_wallet(each.agent_id, each.wallet_address)) == (
            2 if each != owners[-1] else 4
        )
    assert db.cache.metrics().hits == hits + 3
    assert await differences(db) == [
        ("membership_mismatch", f"wallet:{owners[-1].wallet_address}:balances")
    ]  # by the last read


async def test_warm_keeps_newer_rows(db: AsyncDatabase, owner: Owner) -> None:
    cache_client: Any = db.cache._client
    queries: Any = db.cache._queries
    read = queries.page_of_positions

    async def read_before_a_sale(after: UUID, limit: int) -> list[AgentPosition]:
        rows: list[AgentPosition] = await read(after, limit)
        if rows:
            await db.trades.sell(owner.sell("1000", "2"))
        return rows

    queries.page_of_positions = read_before_a_sale
    position = await position_of(db, owner)
    await db.cache.admin.warm()
    assert await cache_client.call("EXISTS", cache_client.keys.position(position.id)) == 0
    assert await differences(db) == []


async def test_status_counts_keys_and_work_of_all_processes(db: AsyncDatabase, owner: Owner) -> None:
    waiting = (await db.cache.admin.status()).waiting
    assert waiting > 0
    await relayed(db)
    cache_client: Any = db.cache._client
    await cache_client.call("SET", cache_client.keys.lock("x"), "another process")
    db.cache.maintenance._next_check = 0.0
    await db.cache.maintenance.run_once()
    status = await db.cache.admin.status()
    assert (status.state, status.waiting, status.lag_s) == ("closed", 0, 0)
    assert status.keys["positions"] == 1
    assert status.keys["balances"] == 2
    assert status.keys["configurations"] == 1
    assert status.keys["sets"] == 4
    assert status.keys["coordination"] == 1
    assert status.statistics["relayed"] >= waiting
    metrics = db.cache.metrics()
    assert status.hit_rate == metrics.hits / (metrics.hits + metrics.misses)


async def test_reset_empties_cache_except_coordination(db: AsyncDatabase, owner: Owner) -> None:
    cache_client: Any = db.cache._client
    await cache_client.call("SET", cache_client.keys.lock("x"), "another process")
    await db.cache.admin.reset()
    assert (await db.cache.admin.status()).keys == {"coordination": 1, "other": 1}  # the epoch
    await read_all(db, owner)
    assert await differences(db) == []


async def test_admin_without_redis_is_refused(database_url: str) -> None:
    async with AsyncDatabase(database_url) as db:
        for refused in (
            db.cache.admin.warm,
            db.cache.admin.verify,
            db.cache.admin.repair,
            db.cache.admin.status,
            db.cache.admin.reset,
        ):
            with pytest.raises(ConfigurationError, match="REDIS_URL is not set"):
                await refused()


def fill(url: str, owner: Owner, rows: int) -> None:
    """So many more positions and balances of the owner's, each in a token of its own."""
    with psycopg.connect(url, autocommit=True) as psql:
        for statement in (
            "INSERT INTO agent_balances (agent_id, wallet_address, token_address, token_symbol, balance)"
            " SELECT %(agent_id)s, %(wallet)s, 't' || n, 'T', n FROM generate_series(1, %(rows)s) AS n",
            "INSERT INTO agent_transactions (id, agent_id, wallet_address, transaction_type, transaction_value_usd,"
            " transaction_time, input_mint, input_amount, output_mint, output_amount)"
            " SELECT md5(n::text)::uuid, %(agent_id)s, %(wallet)s, 'SWAP', 1, now(), 'SOL', 1, 't' || n, n"
            " FROM generate_series(1, %(rows)s) AS n",
            "INSERT INTO agent_positions (agent_id, wallet_address, token_address, token_symbol, purchase_price,"
            " purchase_transaction_id, purchase_amount, remaining_amount, total_invested_sol)"
            " SELECT %(agent_id)s, %(wallet)s, 't' || n, 'T', 1, md5(n::text)::uuid, n, n, n"
            " FROM generate_series(1, %(rows)s) AS n",
        ):
            psql.execute(statement, {"agent_id": owner.agent_id, "wallet": owner.wallet_address, "rows": rows})


# --- Changes that wait ----------------------------------------------------------------------------


async def test_opened_process_reads_earlier_commits(db: AsyncDatabase, owner: Owner, settings: Settings) -> None:
    with psycopg.connect(settings.conninfo, autocommit=True) as psql:
        psql.execute("UPDATE agent_positions SET peak_price = 7")
    async with AsyncDatabase(settings) as other:
        (position,) = await other.cache.positions_of_agent(owner.agent_id)
        assert position.peak_price == 7
        assert other.cache.metrics().hits == 1


async def test_outbox_compacted_without_cache_empties_later_cache(
    db: AsyncDatabase, owner: Owner, settings: Settings
) -> None:
    await db.close()
    uncached = replace(settings, redis_url=None)
    async with AsyncDatabase(uncached) as other:
        await other.trades.dca_buy(owner.dca_buy("1", "500"))
        assert await other.cache.maintenance.run_once() == 0  # younger than an hour: another process may have a cache
        with psycopg.connect(settings.conninfo, autocommit=True) as psql:
            psql.execute("UPDATE cache_outbox SET created_at = now() - interval '2 hours'")
            waiting = psql.execute("SELECT count(*) FROM cache_outbox").fetchone()
        other.cache.maintenance._next_compaction = 0.0
        assert (await other.cache.maintenance.run_once(),) == waiting
        other.cache.maintenance._next_compaction = 0.0
        assert await other.cache.maintenance.run_once() == 0
        with psycopg.connect(settings.conninfo) as psql:
            assert psql.execute("SELECT entity FROM cache_outbox").fetchall() == [("everything",)]
        expected = await position_of(other, owner)
    async with AsyncDatabase(settings) as later:
        assert later.cache.metrics().resets == 1
        assert await later.cache.positions_of_agent(owner.agent_id) == [expected]
        assert await differences(later) == []


# --- A cache that is not this database's ----------------------------------------------------------


async def test_database_that_went_back_is_detected_by_watermark(db: AsyncDatabase, owner: Owner) -> None:
    cache_client: Any = db.cache._client
    await cache_client.call("SET", cache_client.keys.watermark, "999999999999")
    db.cache.maintenance._next_check = 0.0
    await db.cache.maintenance.run_once()
    assert db.cache.metrics().state == "open"
    assert await db.cache._recovery.recover()
    assert db.cache.metrics().resets == 2  # the first when there was nothing yet
    await read_all(db, owner)
    assert await differences(db) == []


async def test_malformed_watermark_empties_cache(db: AsyncDatabase, owner: Owner) -> None:
    cache_client: Any = db.cache._client
    await cache_client.call("SET", cache_client.keys.watermark, "nonsense")
    cache_client.breaker.fail("as if it were away", unapplied_write=False)
    assert await db.cache._recovery.recover()
    assert db.cache.metrics().resets == 2
    assert await differences(db) == []
