# Generated from tests/integration/aio/test_cache.py by `make sync`: do not edit.
"""The cache follows every committed change, whoever makes it, and never answers with less than its caller knows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from nexgent_db import Database
from nexgent_db._cache_rows import POSITION, Batch, Moment
from nexgent_db.models import SOL_MINT, AgentPosition
from nexgent_db.settings import Settings
from tests.integration.sync.factories import TOKEN, Owner, funded_owner, new_owner


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


def drained(db: Database) -> int:
    """Maintain until nothing waits; how many changes waited."""
    total = 0
    while waiting := db.cache.maintain():
        total += waiting
    return total


def hits(db: Database) -> int:
    return db.cache.metrics().hits


def assert_cached(db: Database, owner: Owner) -> None:
    """Whatever is asked of the cache, the second time from Redis alone, is what the database says."""
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


def test_a_trade_is_cached_when_it_returns(db: Database, owner: Owner) -> None:
    position = bought(db, owner)
    before = hits(db)
    assert db.cache.position(position.id) == position
    held = db.cache.balance(owner.agent_id, owner.wallet_address, SOL_MINT)
    assert held is not None
    assert held.balance == 99
    assert hits(db) == before + 2
    assert_cached(db, owner)


def test_every_kind_of_trade_leaves_the_cache_equal_to_the_database(db: Database, owner: Owner) -> None:
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


def test_a_block_is_cached_after_its_commit_and_not_before(db: Database, owner: Owner) -> None:
    assert_cached(db, owner)
    with db.transaction() as tx:
        tx.trades.buy(owner.buy("1", "1000"))
        tx.agents.set_automated_trading(owner.agent_id, "simulation", False)
        calls = db.cache.metrics().calls
    assert db.cache.metrics().calls == calls + 1
    flags = db.cache.trading_flags(owner.agent_id)
    assert (flags.paused("simulation"), flags.paused("live"), flags.source) == (True, False, "cache")
    assert_cached(db, owner)


def test_what_a_savepoint_undid_is_not_cached(db: Database, owner: Owner) -> None:
    with db.transaction() as tx:
        with pytest.raises(ZeroDivisionError), tx.transaction() as inner:
            inner.trades.buy(owner.buy("1", "1000"))
            raise ZeroDivisionError
        tx.trades.withdraw(owner.withdraw("10"))
    assert_cached(db, owner)
    assert db.cache.positions_of_agent(owner.agent_id) == []


def test_a_deleted_agent_is_gone_from_the_cache_with_all_it_had(db: Database, owner: Owner) -> None:
    position = bought(db, owner)
    assert_cached(db, owner)
    assert owner.agent_id in db.cache.active_agents()
    assert db.cache.positions_of_token(TOKEN)
    db.agents.delete(owner.agent_id)
    assert db.cache.position(position.id) is None
    assert db.cache.positions_of_agent(owner.agent_id) == []
    assert db.cache.config(owner.agent_id) is None
    assert owner.agent_id not in db.cache.active_agents()
    assert position.id not in {row.id for row in db.cache.positions_of_token(TOKEN)}


def test_a_change_in_psql_reaches_the_cache_by_maintenance(db: Database, owner: Owner) -> None:
    bought(db, owner)
    assert_cached(db, owner)
    with psycopg.connect(db.settings.conninfo, autocommit=True) as psql:
        psql.execute("UPDATE agent_positions SET peak_price = 7 WHERE agent_id = %s", [owner.agent_id])
        psql.execute(
            "DELETE FROM agent_balances WHERE wallet_address = %s AND token_address = %s",
            [owner.wallet_address, TOKEN],
        )
    assert drained(db) >= 2
    (position,) = db.cache.positions_of_agent(owner.agent_id)
    assert position.peak_price == 7
    assert_cached(db, owner)


def test_a_row_that_moves_to_another_agent_leaves_the_first_ones_set(db: Database, owner: Owner) -> None:
    position = bought(db, owner)
    other = new_owner(db)
    db.cache.positions_of_agent(owner.agent_id)
    db.cache.positions_of_agent(other.agent_id)
    with psycopg.connect(db.settings.conninfo, autocommit=True) as psql:
        psql.execute(
            "UPDATE agent_positions SET agent_id = %s, wallet_address = %s WHERE id = %s",
            [other.agent_id, other.wallet_address, position.id],
        )
    drained(db)
    assert db.cache.positions_of_agent(owner.agent_id) == []
    assert [row.id for row in db.cache.positions_of_agent(other.agent_id)] == [position.id]


def test_nobody_brings_a_version_of_his_own(db: Database, owner: Owner) -> None:
    with psycopg.connect(db.settings.conninfo, autocommit=True) as psql:
        row = psql.execute(
            "INSERT INTO agent_balances (agent_id, wallet_address, token_address, token_symbol, balance, version)"
            " VALUES (%s, %s, 'x', 'x', 1, 999999999999) RETURNING version",
            [owner.agent_id, owner.wallet_address],
        ).fetchone()
    assert row is not None
    assert row[0] < 999999999999


def test_truncating_empties_the_cache(db: Database, owner: Owner) -> None:
    position = bought(db, owner)
    with psycopg.connect(db.settings.conninfo, autocommit=True) as psql:
        psql.execute("TRUNCATE agent_positions")
    drained(db)
    assert db.cache.position(position.id) is None


def test_a_late_write_does_not_bring_back_a_closed_position(db: Database, owner: Owner) -> None:
    position = bought(db, owner)
    assert_cached(db, owner)
    db.trades.sell(owner.sell("1000", "3"))
    link: Any = db.cache._link
    for operation in ("set", "fill"):
        late = Batch(link.keys)
        late.position(position, operation)
        link.write(late, link.now(), missed=False)
        assert db.cache.position(position.id) is None
        assert db.cache.positions_of_agent(owner.agent_id) == []


def test_what_began_too_long_ago_stores_nothing(db: Database, owner: Owner) -> None:
    position = bought(db, owner)
    link: Any = db.cache._link
    link.call("UNLINK", link.keys.position(position.id))
    late = Batch(link.keys)
    late.position(position, "set")
    began = link.now()
    link.write(late, Moment(began.epoch, began.ms - 61_000), missed=False)
    assert link.call("EXISTS", link.keys.position(position.id)) == 0
    assert db.cache.position(position.id) == position


def test_a_set_is_not_completed_with_what_was_read_before_a_change(db: Database, owner: Owner) -> None:
    link: Any = db.cache._link
    key = link.keys.positions_of_agent(owner.agent_id)
    rows, token = link.get_set(key, str(owner.agent_id), link.keys.positions)
    assert rows is None
    began = link.now()
    position = bought(db, owner)  # between the read of nothing and the fill
    late = Batch(link.keys)
    late.complete(key, str(owner.agent_id), token, [])
    link.write(late, began, missed=False)
    assert db.cache.positions_of_agent(owner.agent_id) == [position]


@pytest.mark.parametrize("payload", [b"nonsense", b'{"version":9000000000000000000,"id":1}', b"{}", b"\xff\xfe"])
def test_a_foreign_payload_is_a_miss_and_is_replaced(db: Database, owner: Owner, payload: bytes) -> None:
    position = bought(db, owner)
    link: Any = db.cache._link
    link.call("SET", link.keys.position(position.id), payload)
    assert db.cache.position(position.id) == position
    assert POSITION.decode(link.call("GET", link.keys.position(position.id))) == position


def test_another_positions_payload_is_a_miss(db: Database, owner: Owner) -> None:
    one, two = bought(db, owner), bought(db, owner, "other")
    link: Any = db.cache._link
    link.call("SET", link.keys.position(one.id), POSITION.encode(two))
    assert db.cache.position(one.id) == one


def test_an_evicted_row_makes_its_set_incomplete(db: Database, owner: Owner) -> None:
    position = bought(db, owner)
    assert_cached(db, owner)
    link: Any = db.cache._link
    link.call("UNLINK", link.keys.position(position.id))
    assert db.cache.positions_of_agent(owner.agent_id) == [position]
    assert_cached(db, owner)


def test_a_reader_with_a_version_is_never_answered_with_less(db: Database, owner: Owner) -> None:
    old = bought(db, owner)
    new = db.trades.dca_buy(owner.dca_buy("1", "500")).position
    assert new is not None
    link: Any = db.cache._link
    link.call("SET", link.keys.position(old.id), POSITION.encode(old))  # as if the cache had missed the change
    assert db.cache.position(old.id) == old
    assert db.cache.position(old.id, at_least=new.version) == new
    link.call("SET", link.keys.position(old.id), POSITION.encode(old))
    db.cache.positions_of_agent(owner.agent_id)
    assert db.cache.positions_of_agent(owner.agent_id, at_least=new.version) == [new]


def test_a_repeated_trade_does_not_bring_back_what_has_changed_since(db: Database, owner: Owner) -> None:
    order = owner.buy("1", "1000")
    db.trades.buy(order)
    db.trades.sell(owner.sell("1000", "3"))
    link: Any = db.cache._link
    keys = link.call("KEYS", f"{link.keys.prefix}*:floor")
    link.call("UNLINK", *keys)  # the deletion is long forgotten
    repeated = db.trades.buy(order)
    assert repeated.replayed
    assert repeated.position is not None
    assert db.cache.position(repeated.position.id) is None
    assert_cached(db, owner)


def test_a_cache_that_went_away_and_came_back_empty_is_used_again(db: Database, owner: Owner) -> None:
    position = bought(db, owner)
    link: Any = db.cache._link
    keys = link.call("KEYS", f"{link.keys.prefix}*")
    link.call("UNLINK", *keys)
    assert db.cache.position(position.id) == position
    assert db.cache.metrics().state == "open"
    assert db.cache._recover()
    assert_cached(db, owner)


def test_what_was_missed_is_made_up_for_before_the_cache_is_read_again(db: Database, owner: Owner) -> None:
    position = bought(db, owner)
    assert_cached(db, owner)
    link: Any = db.cache._link
    link.breaker.fail("as if it were away", missed=False)
    db.trades.sell(owner.sell("1000", "3"))
    assert db.cache.positions_of_agent(owner.agent_id) == []
    assert link.call("EXISTS", link.keys.position(position.id)) == 1
    assert db.cache._recover()
    assert link.call("EXISTS", link.keys.position(position.id)) == 0
    assert_cached(db, owner)


def test_without_redis_the_cache_reads_the_database(database_url: str) -> None:
    with Database(database_url) as db:
        owner = funded_owner(db)
        position = bought(db, owner)
        assert db.cache.position(position.id) == position
        assert db.cache.positions_of_agent(owner.agent_id) == [position]
        assert not db.cache.trading_flags(owner.agent_id).paused()
        assert db.cache.metrics().state == "absent"
        assert db.cache.maintain() == 0


def test_an_agent_that_nobody_knows_counts_as_paused(db: Database) -> None:
    flags = db.cache.trading_flags(uuid4())
    assert (flags.paused(), flags.paused("live"), flags.source) == (True, True, "nowhere")
