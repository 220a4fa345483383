# Generated from tests/integration/aio/test_cache_races.py by `make sync`: do not edit.
"""What is overtaken, repeated or undone on its way to the cache does not make it lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from nexgent_db import Database
from nexgent_db._cache_rows import Batch
from nexgent_db.models import SOL_MINT, AgentPosition
from nexgent_db.models.cache import DatabaseIdentity
from nexgent_db.settings import Settings
from tests.integration.sync.factories import TOKEN, Owner, funded_owner
from tests.support.valkey_server import valkey_server


@pytest.fixture
def db(fresh_database_url: str, redis_url: str) -> Iterator[Database]:
    """A database of the test's own, with a cache in a Redis shared by the session."""
    settings = replace(Settings.from_url(fresh_database_url), redis_url=redis_url, cache_prefix=f"{uuid4()}:")
    with Database(settings) as database:
        yield database


@pytest.fixture
def mortal(db: Database) -> Iterator[Database]:
    """A process that commits and dies before it can tell the cache: to the others it looks like one without."""
    with Database(replace(db.settings, redis_url=None)) as database:
        yield database


@pytest.fixture
def owner(db: Database) -> Owner:
    """An agent with 100 SOL, which are cached."""
    made = funded_owner(db)
    assert sol(db, made) == 100
    return made


def sol(db: Database, owner: Owner) -> object:
    """What the cache says of the wallet's SOL."""
    held = db.cache.balance(owner.agent_id, owner.wallet_address, SOL_MINT)
    return None if held is None else held.balance


def bought(db: Database, owner: Owner) -> AgentPosition:
    position = db.trades.buy(owner.buy("1", "1000")).position
    assert position is not None
    return position


def psql(db: Database, statement: str, *values: object) -> None:
    with psycopg.connect(db.settings.conninfo, autocommit=True) as connection:
        connection.execute(statement.encode(), values)


# --- Repeated -------------------------------------------------------------------------------------


def test_who_repeats_the_trade_of_a_dead_process_in_a_block_sees_it(
    db: Database, mortal: Database, owner: Owner
) -> None:
    order = owner.buy("1", "1000")
    mortal.trades.buy(order)
    assert sol(db, owner) == 100
    with db.transaction() as tx, tx.transaction() as inner:
        assert inner.trades.buy(order).replayed
    assert sol(db, owner) == 99


def test_a_repeated_sale_that_a_savepoint_undid_does_not_take_the_position_out_of_its_set(
    db: Database, owner: Owner
) -> None:
    position = bought(db, owner)
    assert db.cache.positions_of_agent(owner.agent_id) == [position]
    order = owner.sell("1000", "2")
    with db.transaction() as tx, pytest.raises(ZeroDivisionError), tx.transaction() as inner:
        inner.trades.sell(order)
        assert inner.trades.sell(order).replayed
        raise ZeroDivisionError
    assert db.cache.positions_of_agent(owner.agent_id) == [position]


# --- Across epochs ----------------------------------------------------------------------------------


def test_what_was_read_before_a_truncation_is_not_filled_in_after_it(db: Database, owner: Owner) -> None:
    position = bought(db, owner)
    link: Any = db.cache._link
    late = Batch(link.keys)
    late.position(position, "fill")
    began = link.now()
    psql(db, "TRUNCATE agent_positions")
    db.cache.maintain()
    assert db.cache.metrics().resets >= 2  # this very process has dealt with it: its epoch is the new one
    db.cache._fill_in(late, began)
    assert db.cache.position(position.id) is None


def test_a_trade_that_is_overtaken_by_a_truncation_does_not_come_back(db: Database, owner: Owner) -> None:
    link: Any = db.cache._link
    began = link.now()
    position = bought(db, owner)
    late = Batch(link.keys)
    late.position(position)
    psql(db, "TRUNCATE agent_positions")
    db.cache.maintain()
    db.cache._follow(late, began)
    assert link.call("EXISTS", link.keys.position(position.id)) == 0
    assert db.cache.metrics().state == "catching up"
    assert db.cache._recover()
    assert db.cache.position(position.id) is None


def test_a_truncation_stays_in_the_queue_until_the_cache_was_emptied(db: Database, owner: Owner) -> None:
    position = bought(db, owner)
    while db.cache.maintain():
        pass
    link: Any = db.cache._link
    lease = f"{link.keys.epoch}:resetter"
    link.call("SET", lease, "of a process that died")
    psql(db, "TRUNCATE agent_positions")
    assert db.cache.maintain() == 0
    assert link.call("EXISTS", link.keys.position(position.id)) == 1
    assert db.cache.lag_s() > 0
    link.call("UNLINK", lease)
    assert db.cache.maintain() == 1
    assert link.call("EXISTS", link.keys.position(position.id)) == 0


# --- Evicted ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("told_by", ["the writer", "maintenance", "a repetition"])
def test_what_was_evicted_does_not_make_room_for_something_older(
    db: Database, mortal: Database, owner: Owner, told_by: str
) -> None:
    link: Any = db.cache._link
    began, late = link.now(), Batch(link.keys)
    held = db.balances.find_by_wallet_and_token(owner.wallet_address, SOL_MINT)
    assert held is not None
    late.balance(held, "fill")
    order = owner.buy("1", "1000")
    (db if told_by == "the writer" else mortal).trades.buy(order)
    if told_by == "maintenance":
        assert db.cache.maintain() > 0
    elif told_by == "a repetition":  # of what another reader has found meanwhile
        link.call("UNLINK", link.keys.balance(owner.agent_id, owner.wallet_address, SOL_MINT))
        assert sol(db, owner) == 99
        assert db.trades.buy(order).replayed
    assert sol(db, owner) == 99
    link.call("UNLINK", link.keys.balance(owner.agent_id, owner.wallet_address, SOL_MINT))
    db.cache._fill_in(late, began)
    assert sol(db, owner) == 99


# --- Without memory -------------------------------------------------------------------------------


def test_what_could_not_be_stored_again_for_want_of_memory_does_not_make_room_for_something_older(
    fresh_database_url: str,
) -> None:
    with valkey_server() as server:
        settings = replace(Settings.from_url(fresh_database_url), redis_url=server.url)
        with Database(settings) as db:
            owner = funded_owner(db)
            link: Any = db.cache._link
            old = bought(db, owner)
            late = Batch(link.keys)  # of a reader who read the database now, and is slow
            late.position(old, "fill")
            began = link.now()
            new = db.trades.dca_buy(owner.dca_buy("1", "500")).position
            assert new is not None
            while db.cache.maintain():
                pass
            with server.configured("maxmemory", "1"):
                again = Batch(link.keys)
                again.position(new, "fill")
                db.cache._fill_in(again, link.now())
                assert db.cache.metrics().state == "open"
            assert db.cache._recover()
            db.cache._fill_in(late, began)
            assert db.cache.position(new.id) == new


# --- Which database it is -------------------------------------------------------------------------


def test_a_trade_while_the_database_is_asked_who_it_is_does_not_make_it_another(db: Database, owner: Owner) -> None:
    link: Any = db.cache._link
    resets = db.cache.metrics().resets

    def identify() -> DatabaseIdentity:
        found = db.cache._queries.identity()
        bought(db, owner)  # by another thread, while the answer is under way
        return found

    db.cache._compare(link, identify)
    assert (db.cache.metrics().state, db.cache.metrics().resets) == ("closed", resets)


def test_a_process_that_knew_nothing_sees_at_its_next_connection_that_the_database_went_back(
    db: Database, owner: Owner
) -> None:
    position = bought(db, owner)
    link: Any = db.cache._link
    known: DatabaseIdentity = link.database
    link.database = known.model_copy(update={"last_version": 0})
    db.cache._seen = (b"", 0)
    link.call("SET", link.keys.watermark, position.version + 1000)  # cached by others before the restore
    for _ in range(10):  # the pool may be opening another one, which is not ended
        psql(
            db,
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name = 'nexgent-db' AND datname = current_database()",
        )
        assert db.health().problem is None  # by a new connection
        if db.cache.metrics().state == "open" or db.cache.metrics().resets == 2:
            break
    assert db.cache._recover()
    assert db.cache.metrics().resets == 2


def test_a_watermark_that_is_no_number_is_not_believed(db: Database, owner: Owner) -> None:
    link: Any = db.cache._link
    link.call("SET", link.keys.watermark, "nonsense")
    link.breaker.fail("as if it were away", missed=False)
    assert db.cache._recover()
    assert db.cache.metrics().resets == 2


# --- With the breaker open ------------------------------------------------------------------------


def test_nothing_is_asked_of_redis_while_the_breaker_is_open(db: Database, owner: Owner) -> None:
    position = bought(db, owner)
    link: Any = db.cache._link
    began = link.now()
    link.breaker.fail("as if it were away", missed=False)
    calls = link.calls
    late = Batch(link.keys)
    late.position(position, "fill")
    db.cache._fill_in(late, began)
    db.trades.dca_buy(owner.dca_buy("1", "500"))
    with db.transaction() as tx:
        tx.trades.sell(owner.sell("1500", "3"))
    assert db.cache.positions_of_agent(owner.agent_id) == []
    assert db.cache.positions_of_token(TOKEN) == []
    assert db.cache.prices([TOKEN]) == {}
    assert link.calls == calls
