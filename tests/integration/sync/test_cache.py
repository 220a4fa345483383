# Generated from tests/integration/aio/test_cache.py by `make sync`: do not edit.
"""The cache shows every committed change of any program, and never returns a row older than its caller knows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from nexgent_db import Database
from nexgent_db.cache.batch import Batch, CacheTimestamp
from nexgent_db.cache.codec import POSITION
from nexgent_db.models import SOL_MINT, AgentPosition, PriceUpdate
from nexgent_db.settings import Settings
from tests.integration.sync.factories import TOKEN, Owner, funded_owner, new_owner
from tests.support.builders.purge import purge_agent


@pytest.fixture
def db(fresh_database_url: str, redis_url: str) -> Iterator[Database]:
    """A database of the test's own, with a cache in a Redis shared by the session."""
    settings = replace(Settings.from_url(fresh_database_url), redis_url=redis_url, cache_prefix=f"{uuid4()}:")
    with Database(settings) as database:
        assert database.cache.metrics().state == "closed"
        yield database


@pytest.fixture
def owner(db: Database) -> Owner:
    """An agent with 100 SOL."""
    return funded_owner(db)


def bought(db: Database, owner: Owner, token: str = TOKEN) -> AgentPosition:
    position = db.trades.buy(owner.buy("1", "1000", token)).position
    assert position is not None
    return position


def relayed(db: Database) -> int:
    """Relay the whole outbox; the number of relayed changes."""
    total = 0
    while waiting := db.cache.maintenance.run_once():
        total += waiting
    return total


def hits(db: Database) -> int:
    return db.cache.metrics().hits


def assert_cached(db: Database, owner: Owner) -> None:
    """Every read of the cache equals the database; the second time it comes from Redis only."""
    positions = db.positions.list_by_agent(owner.agent_id)
    balances = db.balances.list_by_wallet(owner.agent_id, owner.wallet_address)
    for _ in range(2):
        before = hits(db)
        assert db.cache.positions_of_agent(owner.agent_id) == positions
        assert db.cache.balances_of_wallet(owner.agent_id, owner.wallet_address) == sorted(
            balances, key=lambda row: row.token_address
        )
        for position in positions:
            assert db.cache.position(position.id) == position
        for balance in balances:
            found = db.cache.balance(owner.agent_id, owner.wallet_address, balance.token_address)
            assert repr(found) == repr(balance).replace("zoneinfo.ZoneInfo(key='UTC')", "datetime.timezone.utc")
        after = hits(db)
    assert after - before == 2 + len(positions) + len(balances)


def test_trade_is_cached_on_return(db: Database, owner: Owner) -> None:
    position = bought(db, owner)
    before = hits(db)
    assert db.cache.position(position.id) == position
    held = db.cache.balance(owner.agent_id, owner.wallet_address, SOL_MINT)
    assert held is not None
    assert held.balance == 99
    assert hits(db) == before + 2
    assert_cached(db, owner)


def test_each_kind_of_trade_leaves_cache_equal_to_database(db: Database, owner: Owner) -> None:
    assert_cached(db, owner)
    position = bought(db, owner)
    assert_cached(db, owner)
    db.trades.dca_buy(owner.dca_buy("1", "500"))
    assert_cached(db, owner)
    db.trades.take_profit(owner.take_profit("500", "2"))
    assert_cached(db, owner)
    db.trades.sell(owner.sell("1000", "3"))
    assert_cached(db, owner)
    assert db.cache.position(position.id) is None
    assert db.cache.positions_of_token(TOKEN + "x") == []
    bought(db, owner)
    db.trades.reset_wallet(owner.reset("5"))
    assert_cached(db, owner)


def test_transaction_is_cached_only_after_commit(db: Database, owner: Owner) -> None:
    assert_cached(db, owner)
    with db.transaction() as tx:
        tx.trades.buy(owner.buy("1", "1000"))
        tx.agents.set_automated_trading(owner.agent_id, "simulation", False)
        calls = db.cache.metrics().calls
    assert db.cache.metrics().calls == calls + 1
    flags = db.cache.trading_flags(owner.agent_id)
    assert (flags.paused("simulation"), flags.paused("live"), flags.source) == (True, False, "cache")
    assert_cached(db, owner)


def test_rolled_back_savepoint_is_not_cached(db: Database, owner: Owner) -> None:
    with db.transaction() as tx:
        with pytest.raises(ZeroDivisionError), tx.transaction() as inner:
            inner.trades.buy(owner.buy("1", "1000"))
            raise ZeroDivisionError
        tx.trades.withdraw(owner.withdraw("10"))
    assert_cached(db, owner)
    assert db.cache.positions_of_agent(owner.agent_id) == []


def test_deleted_agent_takes_its_rows_from_cache(db: Database, owner: Owner) -> None:
    position = bought(db, owner)
    assert_cached(db, owner)
    assert owner.agent_id in db.cache.active_agents()
    assert db.cache.positions_of_token(TOKEN)
    purge_agent(db.settings.conninfo, owner.agent_id)
    relayed(db)
    assert db.cache.position(position.id) is None
    assert db.cache.positions_of_agent(owner.agent_id) == []
    assert db.cache.config(owner.agent_id) is None
    assert owner.agent_id not in db.cache.active_agents()
    assert position.id not in {row.id for row in db.cache.positions_of_token(TOKEN)}


def test_psql_change_is_relayed_by_maintenance(db: Database, owner: Owner) -> None:
    bought(db, owner)
    assert_cached(db, owner)
    with psycopg.connect(db.settings.conninfo, autocommit=True) as psql:
        psql.execute("UPDATE agent_positions SET peak_price = 7 WHERE agent_id = %s", [owner.agent_id])
        psql.execute(
            "DELETE FROM agent_balances WHERE wallet_address = %s AND token_address = %s",
            [owner.wallet_address, TOKEN],
        )
    assert relayed(db) >= 2
    (position,) = db.cache.positions_of_agent(owner.agent_id)
    assert position.peak_price == 7
    assert_cached(db, owner)


def test_position_moved_to_another_agent_leaves_old_set(db: Database, owner: Owner) -> None:
    position = bought(db, owner)
    other = new_owner(db)
    deposit = db.trades.deposit(other.deposit("1"))
    db.cache.positions_of_agent(owner.agent_id)
    db.cache.positions_of_agent(other.agent_id)
    with psycopg.connect(db.settings.conninfo, autocommit=True) as psql:
        psql.execute(
            "UPDATE agent_positions SET agent_id = %s, wallet_address = %s, purchase_transaction_id = %s WHERE id = %s",
            [other.agent_id, other.wallet_address, deposit.transaction.id, position.id],
        )
    relayed(db)
    assert db.cache.positions_of_agent(owner.agent_id) == []
    assert [row.id for row in db.cache.positions_of_agent(other.agent_id)] == [position.id]


def test_version_of_an_insert_is_ignored(db: Database, owner: Owner) -> None:
    with psycopg.connect(db.settings.conninfo, autocommit=True) as psql:
        row = psql.execute(
            "INSERT INTO agent_balances (agent_id, wallet_address, token_address, token_symbol, balance, version)"
            " VALUES (%s, %s, 'x', 'x', 1, 999999999999) RETURNING version",
            [owner.agent_id, owner.wallet_address],
        ).fetchone()
    assert row is not None
    assert row[0] < 999999999999


def test_truncate_empties_cache(db: Database, owner: Owner) -> None:
    position = bought(db, owner)
    with psycopg.connect(db.settings.conninfo, autocommit=True) as psql:
        psql.execute("TRUNCATE agent_positions")
    relayed(db)
    assert db.cache.position(position.id) is None


def test_late_write_does_not_restore_closed_position(db: Database, owner: Owner) -> None:
    position = bought(db, owner)
    assert_cached(db, owner)
    db.trades.sell(owner.sell("1000", "3"))
    cache_client: Any = db.cache._client
    for operation in ("set", "fill"):
        late = Batch(cache_client.keys)
        late.position(position, operation)
        cache_client.write(late, cache_client.now(), committed=False)
        assert db.cache.position(position.id) is None
        assert db.cache.positions_of_agent(owner.agent_id) == []


def test_write_started_a_minute_ago_stores_nothing(db: Database, owner: Owner) -> None:
    position = bought(db, owner)
    cache_client: Any = db.cache._client
    cache_client.call("UNLINK", cache_client.keys.position(position.id))
    late = Batch(cache_client.keys)
    late.position(position, "set")
    began = cache_client.now()
    cache_client.write(late, CacheTimestamp(began.epoch, began.ms - 61_000), committed=False)
    assert cache_client.call("EXISTS", cache_client.keys.position(position.id)) == 0
    assert db.cache.position(position.id) == position


def test_set_changed_during_load_stays_incomplete(db: Database, owner: Owner) -> None:
    cache_client: Any = db.cache._client
    key = cache_client.keys.positions_of_agent(owner.agent_id)
    rows, token = cache_client.get_set(key, str(owner.agent_id), cache_client.keys.positions)
    assert rows is None
    began = cache_client.now()
    position = bought(db, owner)  # between the read of nothing and the fill
    late = Batch(cache_client.keys)
    late.complete(key, str(owner.agent_id), token, [])
    cache_client.write(late, began, committed=False)
    assert db.cache.positions_of_agent(owner.agent_id) == [position]


@pytest.mark.parametrize("payload", [b"nonsense", b'{"version":9000000000000000000,"id":1}', b"{}", b"\xff\xfe"])
def test_foreign_payload_is_a_miss_and_replaced(db: Database, owner: Owner, payload: bytes) -> None:
    position = bought(db, owner)
    cache_client: Any = db.cache._client
    cache_client.call("SET", cache_client.keys.position(position.id), payload)
    assert db.cache.position(position.id) == position
    assert POSITION.decode(cache_client.call("GET", cache_client.keys.position(position.id))) == position


def test_payload_of_another_position_is_a_miss(db: Database, owner: Owner) -> None:
    one, two = bought(db, owner), bought(db, owner, "other")
    cache_client: Any = db.cache._client
    cache_client.call("SET", cache_client.keys.position(one.id), POSITION.encode(two))
    assert db.cache.position(one.id) == one


def test_evicted_row_makes_set_incomplete(db: Database, owner: Owner) -> None:
    position = bought(db, owner)
    assert_cached(db, owner)
    cache_client: Any = db.cache._client
    cache_client.call("UNLINK", cache_client.keys.position(position.id))
    assert db.cache.positions_of_agent(owner.agent_id) == [position]
    assert_cached(db, owner)


def test_read_with_at_least_never_returns_older_row(db: Database, owner: Owner) -> None:
    old = bought(db, owner)
    new = db.trades.dca_buy(owner.dca_buy("1", "500")).position
    assert new is not None
    cache_client: Any = db.cache._client
    cache_client.call(
        "SET", cache_client.keys.position(old.id), POSITION.encode(old)
    )  # as if the cache had missed the change
    assert db.cache.position(old.id) == old
    assert db.cache.position(old.id, at_least=new.version) == new
    cache_client.call("SET", cache_client.keys.position(old.id), POSITION.encode(old))
    db.cache.positions_of_agent(owner.agent_id)
    assert db.cache.positions_of_agent(owner.agent_id, at_least=new.version) == [new]


def test_list_with_at_least_has_every_row_of_that_version(db: Database, owner: Owner, fresh_database_url: str) -> None:
    """A trade, or a batch of prices, gives several rows one version; a read of one of them caches this one alone."""
    positions = [bought(db, owner, token) for token in ("one", "two")]
    for key in ("one", "two", SOL_MINT):
        db.cache.balance(owner.agent_id, owner.wallet_address, key)
    db.cache.positions_of_agent(owner.agent_id)
    db.cache.balances_of_wallet(owner.agent_id, owner.wallet_address)
    with Database(replace(Settings.from_url(fresh_database_url), redis_url=None)) as other:
        updates = [PriceUpdate(position_id=position.id, price=Decimal("2")) for position in positions]
        changed = other.positions.record_prices(updates).changed
        seen = db.cache.position(changed[0].id, at_least=changed[0].version)
        assert seen == changed[0]
        listed = db.cache.positions_of_agent(owner.agent_id, at_least=changed[0].version)
        assert sorted(listed, key=lambda row: row.id) == sorted(changed, key=lambda row: row.id)
        sold = other.trades.take_profit(owner.take_profit("400", "1", "one"))
        version = sold.balances[0].version
        sol = db.cache.balance(owner.agent_id, owner.wallet_address, SOL_MINT, at_least=version)
        assert sol in sold.balances
        balances = db.cache.balances_of_wallet(owner.agent_id, owner.wallet_address, at_least=version)
        assert balances == other.balances.list_by_wallet(owner.agent_id, owner.wallet_address)


def test_repeated_trade_does_not_restore_older_rows(db: Database, owner: Owner) -> None:
    order = owner.buy("1", "1000")
    db.trades.buy(order)
    db.trades.sell(owner.sell("1000", "3"))
    cache_client: Any = db.cache._client
    keys = cache_client.call("KEYS", f"{cache_client.keys.prefix}*:fence")
    cache_client.call("UNLINK", *keys)  # the deletion is long forgotten
    repeated = db.trades.buy(order)
    assert repeated.duplicate
    assert repeated.position is not None
    assert db.cache.position(repeated.position.id) is None
    assert_cached(db, owner)


def test_cache_returned_empty_is_used_again(db: Database, owner: Owner) -> None:
    position = bought(db, owner)
    cache_client: Any = db.cache._client
    keys = cache_client.call("KEYS", f"{cache_client.keys.prefix}*")
    cache_client.call("UNLINK", *keys)
    assert db.cache.position(position.id) == position
    assert db.cache.metrics().state == "open"
    assert db.cache._recovery.recover()
    assert_cached(db, owner)


def test_unapplied_writes_are_relayed_before_next_read(db: Database, owner: Owner) -> None:
    position = bought(db, owner)
    assert_cached(db, owner)
    cache_client: Any = db.cache._client
    cache_client.breaker.fail("as if it were away", unapplied_write=False)
    db.trades.sell(owner.sell("1000", "3"))
    assert db.cache.positions_of_agent(owner.agent_id) == []
    assert cache_client.call("EXISTS", cache_client.keys.position(position.id)) == 1
    assert db.cache._recovery.recover()
    assert cache_client.call("EXISTS", cache_client.keys.position(position.id)) == 0
    assert_cached(db, owner)


def test_reads_without_redis_use_database(database_url: str) -> None:
    with Database(database_url) as db:
        owner = funded_owner(db)
        position = bought(db, owner)
        assert db.cache.position(position.id) == position
        assert db.cache.positions_of_agent(owner.agent_id) == [position]
        assert not db.cache.trading_flags(owner.agent_id).paused()
        assert db.cache.metrics().state == "absent"
        assert db.cache.maintenance.run_once() == 0


def test_unknown_agent_is_paused(db: Database) -> None:
    flags = db.cache.trading_flags(uuid4())
    assert (flags.paused(), flags.paused("live"), flags.source) == (True, True, "nowhere")
