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
from nexgent_db.cache.batch import Batch
from nexgent_db.cache.keys import FENCE
from nexgent_db.models import SOL_MINT, AgentPosition
from nexgent_db.models.cache import DatabaseIdentity
from nexgent_db.settings import Settings
from tests.integration.sync.factories import TOKEN, Owner, funded_owner
from tests.support.servers.valkey_server import valkey_server


@pytest.fixture
def db(fresh_database_url: str, redis_url: str) -> Iterator[Database]:
    """A database of the test's own, with a cache in a Redis shared by the session."""
    settings = replace(Settings.from_url(fresh_database_url), redis_url=redis_url, cache_prefix=f"{uuid4()}:")
    with Database(settings) as database:
        yield database


@pytest.fixture
def mortal(db: Database) -> Iterator[Database]:
    """A process that dies between its commit and the cache: to the others it looks like one without a cache."""
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


def test_repeated_trade_of_dead_process_is_read_after_transaction(db: Database, mortal: Database, owner: Owner) -> None:
    order = owner.buy("1", "1000")
    mortal.trades.buy(order)
    assert sol(db, owner) == 100
    with db.transaction() as tx, tx.transaction() as inner:
        assert inner.trades.buy(order).duplicate
    assert sol(db, owner) == 99


def test_rolled_back_repeated_sale_keeps_position_in_set(db: Database, owner: Owner) -> None:
    position = bought(db, owner)
    assert db.cache.positions_of_agent(owner.agent_id) == [position]
    order = owner.sell("1000", "2")
    with db.transaction() as tx, pytest.raises(ZeroDivisionError), tx.transaction() as inner:
        inner.trades.sell(order)
        assert inner.trades.sell(order).duplicate
        raise ZeroDivisionError
    assert db.cache.positions_of_agent(owner.agent_id) == [position]


# --- Across epochs ----------------------------------------------------------------------------------


def test_rows_loaded_before_truncate_are_not_stored(db: Database, owner: Owner) -> None:
    position = bought(db, owner)
    cache_client: Any = db.cache._client
    late = Batch(cache_client.keys)
    late.position(position, "fill")
    began = cache_client.now()
    psql(db, "TRUNCATE agent_positions")
    db.cache.maintenance.run_once()
    assert db.cache.metrics().resets >= 2  # this very process has dealt with it: its epoch is the new one
    db.cache._reader.store(late, began)
    assert db.cache.position(position.id) is None


def test_trade_overtaken_by_truncate_is_not_stored(db: Database, owner: Owner) -> None:
    cache_client: Any = db.cache._client
    began = cache_client.now()
    bought = db.trades.buy(owner.buy("1", "1000"))
    position = bought.position
    assert position is not None
    psql(db, "TRUNCATE agent_positions")
    db.cache.maintenance.run_once()
    db.cache._writer.apply_trade(bought, position.token_address, began)
    assert cache_client.call("EXISTS", cache_client.keys.position(position.id)) == 0
    assert db.cache.metrics().state == "catching up"
    assert db.cache._recovery.recover()
    assert db.cache.position(position.id) is None


def test_flush_entry_stays_in_outbox_until_cache_is_empty(db: Database, owner: Owner) -> None:
    position = bought(db, owner)
    while db.cache.maintenance.run_once():
        pass
    cache_client: Any = db.cache._client
    lease = f"{cache_client.keys.epoch}:resetter"
    cache_client.call("SET", lease, "of a process that died")
    psql(db, "TRUNCATE agent_positions")
    assert db.cache.maintenance.run_once() == 0
    assert cache_client.call("EXISTS", cache_client.keys.position(position.id)) == 1
    assert db.cache.maintenance.lag_s() > 0
    cache_client.call("UNLINK", lease)
    assert db.cache.maintenance.run_once() == 1
    assert cache_client.call("EXISTS", cache_client.keys.position(position.id)) == 0


# --- Evicted ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("applied_by", ["the writer", "maintenance", "a repetition"])
def test_evicted_row_is_not_replaced_by_older_one(
    db: Database, mortal: Database, owner: Owner, applied_by: str
) -> None:
    cache_client: Any = db.cache._client
    began, late = cache_client.now(), Batch(cache_client.keys)
    held = db.balances.find_by_wallet_and_token(owner.wallet_address, SOL_MINT)
    assert held is not None
    late.balance(held, "fill")
    order = owner.buy("1", "1000")
    (db if applied_by == "the writer" else mortal).trades.buy(order)
    if applied_by == "maintenance":
        assert db.cache.maintenance.run_once() > 0
    elif applied_by == "a repetition":  # of what another reader has found meanwhile
        cache_client.call("UNLINK", cache_client.keys.balance(owner.agent_id, owner.wallet_address, SOL_MINT))
        assert sol(db, owner) == 99
        assert db.trades.buy(order).duplicate
    assert sol(db, owner) == 99
    cache_client.call("UNLINK", cache_client.keys.balance(owner.agent_id, owner.wallet_address, SOL_MINT))
    db.cache._reader.store(late, began)
    assert sol(db, owner) == 99


def test_row_with_evicted_fence_is_not_replaced_by_older_one(db: Database, owner: Owner) -> None:
    cache_client: Any = db.cache._client
    began, late = cache_client.now(), Batch(cache_client.keys)
    held = db.balances.find_by_wallet_and_token(owner.wallet_address, SOL_MINT)
    assert held is not None
    late.balance(held, "fill")
    db.trades.buy(owner.buy("1", "1000"))
    assert sol(db, owner) == 99
    key = cache_client.keys.balance(owner.agent_id, owner.wallet_address, SOL_MINT)
    assert cache_client.call("UNLINK", f"{key}{FENCE}") == 1
    db.cache._reader.store(late, began)
    assert sol(db, owner) == 99


# --- Without memory -------------------------------------------------------------------------------


def test_row_refused_for_memory_is_not_replaced_by_older_one(
    fresh_database_url: str,
) -> None:
    with valkey_server() as server:
        settings = replace(Settings.from_url(fresh_database_url), redis_url=server.url)
        with Database(settings) as db:
            owner = funded_owner(db)
            cache_client: Any = db.cache._client
            old = bought(db, owner)
            late = Batch(cache_client.keys)  # of a reader who read the database now, and is slow
            late.position(old, "fill")
            began = cache_client.now()
            new = db.trades.dca_buy(owner.dca_buy("1", "500")).position
            assert new is not None
            while db.cache.maintenance.run_once():
                pass
            with server.configured("maxmemory", "1"):
                again = Batch(cache_client.keys)
                again.position(new, "fill")
                db.cache._reader.store(again, cache_client.now())
                assert db.cache.metrics().state == "open"
            assert db.cache._recovery.recover()
            db.cache._reader.store(late, began)
            assert db.cache.position(new.id) == new


# --- Which database it is -------------------------------------------------------------------------


def test_trade_during_identity_query_keeps_epoch(db: Database, owner: Owner) -> None:
    cache_client: Any = db.cache._client
    resets = db.cache.metrics().resets

    def identify() -> DatabaseIdentity:
        found = db.cache._queries.identity()
        bought(db, owner)  # by another thread, while the answer is under way
        return found

    db.cache._recovery.verify_database(cache_client, identify)
    assert (db.cache.metrics().state, db.cache.metrics().resets) == ("closed", resets)


def test_new_connection_detects_database_that_went_back(db: Database, owner: Owner) -> None:
    position = bought(db, owner)
    cache_client: Any = db.cache._client
    known: DatabaseIdentity = cache_client.epoch.database
    cache_client.epoch.database = known.model_copy(update={"last_version": 0})
    cache_client._highest_sent = (b"", 0)
    cache_client.call(
        "SET", cache_client.keys.watermark, position.version + 1000
    )  # cached by others before the restore
    for _ in range(10):  # the pool may be opening another one, which is not ended
        psql(
            db,
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name = 'nexgent-db' AND datname = current_database()",
        )
        assert db.health().problem is None  # by a new connection
        if db.cache.metrics().state == "open" or db.cache.metrics().resets == 2:
            break
    assert db.cache._recovery.recover()
    assert db.cache.metrics().resets == 2


def test_malformed_watermark_forces_reset(db: Database, owner: Owner) -> None:
    cache_client: Any = db.cache._client
    cache_client.call("SET", cache_client.keys.watermark, "nonsense")
    cache_client.breaker.fail("as if it were away", unapplied_write=False)
    assert db.cache._recovery.recover()
    assert db.cache.metrics().resets == 2


# --- With the breaker open ------------------------------------------------------------------------


def test_open_breaker_asks_redis_nothing(db: Database, owner: Owner) -> None:
    position = bought(db, owner)
    cache_client: Any = db.cache._client
    began = cache_client.now()
    cache_client.breaker.fail("as if it were away", unapplied_write=False)
    calls = cache_client.calls
    late = Batch(cache_client.keys)
    late.position(position, "fill")
    db.cache._reader.store(late, began)
    db.trades.dca_buy(owner.dca_buy("1", "500"))
    with db.transaction() as tx:
        tx.trades.sell(owner.sell("1500", "3"))
    assert db.cache.positions_of_agent(owner.agent_id) == []
    assert db.cache.positions_of_token(TOKEN) == []
    assert db.cache.prices.get_many([TOKEN]) == {}
    assert cache_client.calls == calls
