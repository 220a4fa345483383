# Generated from tests/integration/aio/test_cache_maintenance.py by `make sync`: do not edit.
"""What is cached is compared with the database, repaired where it differs, filled and emptied whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from nexgent_db import Database
from nexgent_db.cache.codec import BALANCE, POSITION
from nexgent_db.errors import ConfigurationError
from nexgent_db.models import SOL_MINT, AgentPosition
from nexgent_db.models.cache import CacheDifference
from nexgent_db.settings import Settings
from nexgent_db.sync.cache import reconciler
from tests.integration.sync.factories import TOKEN, Owner, funded_owner, new_owner
from tests.support.faults.concurrently import concurrently


@pytest.fixture
def settings(fresh_database_url: str, redis_url: str) -> Settings:
    """A database and a namespace of the test's own."""
    return replace(Settings.from_url(fresh_database_url), redis_url=redis_url, cache_prefix=f"{uuid4()}:")


@pytest.fixture
def db(settings: Settings) -> Iterator[Database]:
    with Database(settings) as database:
        yield database


@pytest.fixture
def owner(db: Database) -> Owner:
    """An agent with 99 SOL and a position, whose sets are cached."""
    made = funded_owner(db)
    db.trades.buy(made.buy("1", "1000"))
    read_all(db, made)
    return made


def read_all(db: Database, owner: Owner) -> None:
    """Every read that the cache offers of the owner's, so that it is cached."""
    for position in db.cache.positions_of_agent(owner.agent_id):
        db.cache.position(position.id)
    db.cache.positions_of_token(TOKEN)
    db.cache.balances_of_wallet(owner.agent_id, owner.wallet_address)
    db.cache.config(owner.agent_id)
    db.cache.trading_flags(owner.agent_id)
    db.cache.active_agents()


def position_of(db: Database, owner: Owner) -> AgentPosition:
    position = db.positions.find_by_wallet_and_token(owner.agent_id, owner.wallet_address, TOKEN)
    assert position is not None
    return position


def differences(db: Database) -> list[tuple[str, str]]:
    """Kind and key, without the prefix, of what a comparison finds."""
    reported: list[CacheDifference] = []
    compared = db.cache.admin.verify(reported.append, patience_s=0)
    assert compared.differences == len(reported)
    return sorted((each.kind, each.key.removeprefix(db.settings.cache_prefix)) for each in reported)


def relayed(db: Database) -> None:
    """Maintain until no change waits."""
    while db.cache.maintenance.run_once():
        pass


def scanned(db: Database) -> None:
    """Maintain through a whole scan pass over all keys, and the round after it."""
    reconciler_: Any = db.cache._reconciler
    reconciler_._cursor, reconciler_._next_pass = b"0", 0.0
    scan_passes = db.cache.metrics().scan_passes
    while db.cache.metrics().scan_passes == scan_passes:
        db.cache.maintenance.run_once()
    db.cache.maintenance.run_once()


# --- Differences ----------------------------------------------------------------------------------

Tamper = Callable[[Database, Owner, Any], list[tuple[str, str]]]


def older_position(db: Database, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    old = position_of(db, owner)
    db.trades.dca_buy(owner.dca_buy("1", "500"))
    relayed(db)
    redis.call("SET", redis.keys.position(old.id), POSITION.encode(old))
    return [("stale", f"position:{old.id}")]


def position_from_the_future(db: Database, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    row = position_of(db, owner)
    future = row.model_copy(update={"version": row.version + 7, "peak_price": Decimal(5)})
    redis.call("SET", redis.keys.position(row.id), POSITION.encode(future))
    return [("newer_than_database", f"position:{row.id}")]


def another_scale(db: Database, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    row = db.balances.find_by_wallet_and_token(owner.wallet_address, SOL_MINT)
    assert row is not None
    altered = row.model_copy(update={"balance": row.balance.normalize()})
    assert altered == row
    key = redis.keys.balance(owner.agent_id, owner.wallet_address, SOL_MINT)
    redis.call("SET", key, BALANCE.encode(altered))
    return [("content_mismatch", key.removeprefix(redis.keys.prefix))]


def nonsense(db: Database, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    key = redis.keys.balance(owner.agent_id, owner.wallet_address, SOL_MINT)
    redis.call("SET", key, b"\xff nonsense")
    return [("unreadable", key.removeprefix(redis.keys.prefix))]


def orphan_of_a_position(db: Database, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    orphan = position_of(db, owner).model_copy(update={"id": uuid4()})
    redis.call("SET", redis.keys.position(orphan.id), POSITION.encode(orphan))
    return [("orphan", f"position:{orphan.id}")]


def orphan_of_a_balance(db: Database, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    key = redis.keys.balance(owner.agent_id, owner.wallet_address, "a:token:with:colons")
    redis.call("SET", key, b'{"version":7}')
    return [("orphan", key.removeprefix(redis.keys.prefix))]


def orphan_of_an_agent(db: Database, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    orphan = uuid4()
    redis.call("SET", redis.keys.trading_mode(orphan), "live")
    return [("orphan", f"config:{orphan}")]


def unpaused(db: Database, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    db.agents.set_automated_trading(owner.agent_id, "simulation", False)
    relayed(db)
    redis.call("SET", redis.keys.automated_trading(owner.agent_id, "simulation"), "1")
    return [("content_mismatch", f"config:{owner.agent_id}")]


def another_config(db: Database, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    payload = redis.call("GET", redis.keys.config(owner.agent_id))
    redis.call("SET", redis.keys.config(owner.agent_id), payload.replace(b"}", b',"signals":{}}', 1))
    return [("content_mismatch", f"config:{owner.agent_id}")]


def another_member(db: Database, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    key = redis.keys.positions_of_agent(owner.agent_id)
    redis.call("SREM", key, str(position_of(db, owner).id))
    redis.call("SADD", key, str(uuid4()))
    return [("membership_mismatch", f"agent:{owner.agent_id}:positions")]


def fewer_members(db: Database, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    key = redis.keys.balances_of_wallet(owner.wallet_address)
    redis.call("SREM", key, SOL_MINT)
    redis.call("SET", f"{key}:complete", f"1 {owner.agent_id} {owner.wallet_address}")
    return [("membership_mismatch", f"wallet:{owner.wallet_address}:balances")]


def unknown_set(db: Database, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    redis.call("SET", redis.keys.positions_of_token(TOKEN) + ":complete", b"0 \xff")
    return [("membership_mismatch", f"token:{TOKEN.lower()}:positions")]


def no_active_agents(db: Database, owner: Owner, redis: Any) -> list[tuple[str, str]]:
    redis.call("UNLINK", redis.keys.active_agents)
    redis.call("SET", f"{redis.keys.active_agents}:complete", "0 all")
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


def test_difference_is_reported_by_verify_and_repaired_by_repair(db: Database, owner: Owner, tamper: Tamper) -> None:
    assert differences(db) == []
    expected = tamper(db, owner, db.cache._client)
    assert differences(db) == expected
    repaired = db.cache.admin.repair(patience_s=0)
    assert (repaired.differences, repaired.repaired) == (1, 1)
    assert differences(db) == []


def test_difference_is_repaired_by_maintenance(db: Database, owner: Owner, tamper: Tamper) -> None:
    relayed(db)
    before = db.cache.metrics()
    expected = tamper(db, owner, db.cache._client)
    scanned(db)
    after = db.cache.metrics()
    assert differences(db) == []
    assert after.orphans - before.orphans == sum(kind == "orphan" for kind, _ in expected)
    assert after.repaired - before.repaired == 1


def test_set_without_its_rows_is_completed_without_a_difference(db: Database, owner: Owner) -> None:
    cache_client: Any = db.cache._client
    position = position_of(db, owner)
    cache_client.call("UNLINK", cache_client.keys.position(position.id))
    assert differences(db) == []
    scanned(db)
    hits = db.cache.metrics().hits
    assert db.cache.positions_of_agent(owner.agent_id) == [position]
    assert db.cache.metrics().hits == hits + 1


def test_concurrent_trades_are_no_differences(db: Database, owner: Owner, settings: Settings) -> None:
    done: list[bool] = []

    def trade() -> None:
        for _ in range(40):
            db.trades.dca_buy(owner.dca_buy("0.1", "10"))
            db.trades.buy(owner.buy("0.1", "1000", "other"))
            db.trades.sell(owner.sell("1000", "0.1", "other"))
        done.append(True)

    def compare() -> None:
        with Database(settings) as other:
            while not done:
                compared = other.cache.admin.verify(patience_s=0.4)
                assert compared.different == {}
                assert compared.compared >= 5

    concurrently([trade, compare])


def test_scanner_lease_lets_one_process_scan(db: Database, settings: Settings) -> None:
    cache_client: Any = db.cache._client
    cache_client.call("SET", cache_client.keys.scanner, "another", "PX", 60_000)
    for _ in range(3):
        db.cache.maintenance.run_once()
    assert db.cache.metrics().scan_passes == 0
    cache_client.call("UNLINK", cache_client.keys.scanner)
    scanned(db)
    assert db.cache.metrics().scan_passes == 1


def test_scan_pass_does_not_start_every_round(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler, "SCAN_PASS_S", 3600.0)
    scanned(db)
    compared = db.cache.metrics().compared
    for _ in range(3):
        db.cache.maintenance.run_once()
    assert db.cache.metrics().compared == compared


# --- The whole ------------------------------------------------------------------------------------


def test_warm_cache_answers_every_read(db: Database, owner: Owner) -> None:
    fill(db.settings.conninfo, owner, 1200)
    db.cache.admin.reset()
    reported: list[tuple[int, int]] = []
    warmed = db.cache.admin.warm(lambda done, total: reported.append((done, total)))
    assert warmed.rows == 1 + 1202 + 1201  # the agent, its balances, its positions
    assert reported[-1][0] == reported[-1][1]
    hits, misses = db.cache.metrics().hits, db.cache.metrics().misses
    read_all(db, owner)
    assert len(db.cache.positions_of_agent(owner.agent_id)) == 1201
    assert db.cache.metrics().misses == misses
    assert db.cache.metrics().hits > hits
    assert differences(db) == []


def test_warm_completes_many_sets_except_too_large_ones(
    db: Database, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    owners = [owner, *[new_owner(db) for _ in range(3)]]
    for each in owners[1:]:
        db.trades.deposit(each.deposit("100"))
        db.trades.buy(each.buy("1", "1000"))
    fill(db.settings.conninfo, owners[-1], 2)
    db.cache.admin.reset()
    monkeypatch.setattr(reconciler, "MAX_MEMBERS", 3)
    db.cache.admin.warm()
    hits = db.cache.metrics().hits
    for each in owners:
        assert len(db.cache.balances_of_wallet(each.agent_id, each.wallet_address)) == (2 if each != owners[-1] else 4)
    assert db.cache.metrics().hits == hits + 3
    assert differences(db) == [
        ("membership_mismatch", f"wallet:{owners[-1].wallet_address}:balances")
    ]  # by the last read


def test_warm_keeps_newer_rows(db: Database, owner: Owner) -> None:
    cache_client: Any = db.cache._client
    queries: Any = db.cache._queries
    read = queries.page_of_positions

    def read_before_a_sale(after: UUID, limit: int) -> list[AgentPosition]:
        rows: list[AgentPosition] = read(after, limit)
        if rows:
            db.trades.sell(owner.sell("1000", "2"))
        return rows

    queries.page_of_positions = read_before_a_sale
    position = position_of(db, owner)
    db.cache.admin.warm()
    assert cache_client.call("EXISTS", cache_client.keys.position(position.id)) == 0
    assert differences(db) == []


def test_status_counts_keys_and_work_of_all_processes(db: Database, owner: Owner) -> None:
    waiting = db.cache.admin.status().waiting
    assert waiting > 0
    relayed(db)
    cache_client: Any = db.cache._client
    cache_client.call("SET", cache_client.keys.lock("x"), "another process")
    db.cache.maintenance._next_check = 0.0
    db.cache.maintenance.run_once()
    status = db.cache.admin.status()
    assert (status.state, status.waiting, status.lag_s) == ("closed", 0, 0)
    assert status.keys["positions"] == 1
    assert status.keys["balances"] == 2
    assert status.keys["configurations"] == 1
    assert status.keys["sets"] == 4
    assert status.keys["coordination"] == 1
    assert status.statistics["relayed"] >= waiting
    metrics = db.cache.metrics()
    assert status.hit_rate == metrics.hits / (metrics.hits + metrics.misses)


def test_reset_empties_cache_except_coordination(db: Database, owner: Owner) -> None:
    cache_client: Any = db.cache._client
    cache_client.call("SET", cache_client.keys.lock("x"), "another process")
    db.cache.admin.reset()
    assert db.cache.admin.status().keys == {"coordination": 1, "other": 1}  # the epoch
    read_all(db, owner)
    assert differences(db) == []


def test_admin_without_redis_is_refused(database_url: str) -> None:
    with Database(database_url) as db:
        for refused in (
            db.cache.admin.warm,
            db.cache.admin.verify,
            db.cache.admin.repair,
            db.cache.admin.status,
            db.cache.admin.reset,
        ):
            with pytest.raises(ConfigurationError, match="REDIS_URL is not set"):
                refused()


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


def test_opened_process_reads_earlier_commits(db: Database, owner: Owner, settings: Settings) -> None:
    with psycopg.connect(settings.conninfo, autocommit=True) as psql:
        psql.execute("UPDATE agent_positions SET peak_price = 7")
    with Database(settings) as other:
        (position,) = other.cache.positions_of_agent(owner.agent_id)
        assert position.peak_price == 7
        assert other.cache.metrics().hits == 1


def test_outbox_compacted_without_cache_empties_later_cache(db: Database, owner: Owner, settings: Settings) -> None:
    db.close()
    uncached = replace(settings, redis_url=None)
    with Database(uncached) as other:
        other.trades.dca_buy(owner.dca_buy("1", "500"))
        assert other.cache.maintenance.run_once() == 0  # younger than an hour: another process may have a cache
        with psycopg.connect(settings.conninfo, autocommit=True) as psql:
            psql.execute("UPDATE cache_outbox SET created_at = now() - interval '2 hours'")
            waiting = psql.execute("SELECT count(*) FROM cache_outbox").fetchone()
        other.cache.maintenance._next_compaction = 0.0
        assert (other.cache.maintenance.run_once(),) == waiting
        other.cache.maintenance._next_compaction = 0.0
        assert other.cache.maintenance.run_once() == 0
        with psycopg.connect(settings.conninfo) as psql:
            assert psql.execute("SELECT entity FROM cache_outbox").fetchall() == [("everything",)]
        expected = position_of(other, owner)
    with Database(settings) as later:
        assert later.cache.metrics().resets == 1
        assert later.cache.positions_of_agent(owner.agent_id) == [expected]
        assert differences(later) == []


# --- A cache that is not this database's ----------------------------------------------------------


def test_database_that_went_back_is_detected_by_watermark(db: Database, owner: Owner) -> None:
    cache_client: Any = db.cache._client
    cache_client.call("SET", cache_client.keys.watermark, "999999999999")
    db.cache.maintenance._next_check = 0.0
    db.cache.maintenance.run_once()
    assert db.cache.metrics().state == "open"
    assert db.cache._recovery.recover()
    assert db.cache.metrics().resets == 2  # the first when there was nothing yet
    read_all(db, owner)
    assert differences(db) == []


def test_malformed_watermark_empties_cache(db: Database, owner: Owner) -> None:
    cache_client: Any = db.cache._client
    cache_client.call("SET", cache_client.keys.watermark, "nonsense")
    cache_client.breaker.fail("as if it were away", unapplied_write=False)
    assert db.cache._recovery.recover()
    assert db.cache.metrics().resets == 2
    assert differences(db) == []
