# Generated from tests/integration/aio/test_cache_write_behind.py by `make sync`: do not edit.
"""A trade sends its changes and returns; the next read waits for the reply, and never returns an older row."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from nexgent_db import Database, Transaction
from nexgent_db.cache.codec import POSITION
from nexgent_db.models import AgentPosition, PriceUpdate
from nexgent_db.settings import Settings
from nexgent_db.sync.cache.servers import TIMEOUT_S
from tests.integration.sync.caches import catch_up
from tests.integration.sync.factories import Owner, funded_owner, new_owner
from tests.support.faults.concurrently import concurrently
from tests.support.servers.valkey_server import ValkeyServer, valkey_server


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    with valkey_server() as running:
        yield running


@pytest.fixture
def server(valkey: ValkeyServer) -> ValkeyServer:
    with valkey.client() as client:
        client.flushall()
    return valkey


@pytest.fixture
def db(database_url: str, server: ValkeyServer) -> Iterator[Database]:
    with Database(replace(Settings.from_url(database_url), redis_url=server.url)) as database:
        catch_up(database)
        yield database


@pytest.fixture
def owner(db: Database) -> Owner:
    return funded_owner(db)


def bought(db: Database, owner: Owner) -> AgentPosition:
    """A new position, which is cached."""
    position = db.trades.buy(owner.buy("1", "1000")).position
    assert position is not None
    assert db.cache.position(position.id) == position
    return position


def test_batch_of_prices_is_one_message(db: Database, owner: Owner, server: ValkeyServer) -> None:
    positions = [db.trades.buy(owner.buy("0.1", "10", f"T{number}")).position for number in range(50)]
    updates = [PriceUpdate(position_id=each.id, price=Decimal("2")) for each in positions if each is not None]
    db.cache.positions_of_agent(owner.agent_id)
    with server.client() as client:
        client.config_resetstat()
        recorded = db.positions.record_prices(updates)
        assert len(recorded.changed) == 50
        assert db.cache.position(recorded.changed[0].id) == recorded.changed[0]
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] == 1


def increased(db: Database | Transaction, owner: Owner) -> AgentPosition:
    position = db.trades.dca_buy(owner.dca_buy("1", "500")).position
    assert position is not None
    return position


def test_trade_does_not_wait_for_redis_but_next_read_does(db: Database, owner: Owner, server: ValkeyServer) -> None:
    bought(db, owner)
    with server.hanging():
        position = increased(db, owner)
        assert db.cache.metrics().state == "closed"  # it did not wait, or it would know
        hits = db.cache.metrics().hits
        assert db.cache.position(position.id) == position
        assert (db.cache.metrics().state, db.cache.metrics().hits) == ("open", hits)


def test_next_trade_detects_overdue_reply(db: Database, owner: Owner, server: ValkeyServer) -> None:
    bought(db, owner)
    with server.hanging():
        increased(db, owner)
        time.sleep(TIMEOUT_S)
        position = increased(db, owner)
        assert db.cache.metrics().state == "open"
        assert db.cache.position(position.id) == position


def test_reply_received_long_ago_is_not_late(db: Database, owner: Owner) -> None:
    cache_client: Any = db.cache._client
    bought(db, owner)
    clock = cache_client._clock
    increased(db, owner)
    time.sleep(TIMEOUT_S)
    position = increased(db, owner)
    assert cache_client._clock >= clock  # not set to what was true when the answer was given
    hits = db.cache.metrics().hits
    assert db.cache.position(position.id) == position
    assert (db.cache.metrics().state, db.cache.metrics().hits) == ("closed", hits + 1)


def test_connection_closed_by_redis_loses_no_change(db: Database, owner: Owner, server: ValkeyServer) -> None:
    bought(db, owner)
    with server.client() as client:
        assert client.client_kill_filter(_type="normal", skipme=True)
    position = increased(db, owner)
    hits = db.cache.metrics().hits
    assert db.cache.position(position.id) == position
    assert (db.cache.metrics().openings, db.cache.metrics().hits) == (0, hits + 1)


def test_connection_lost_before_reply_counts_as_unapplied(db: Database, owner: Owner, server: ValkeyServer) -> None:
    bought(db, owner)
    server.hang()
    position = increased(db, owner)
    server.kill()
    server.start()
    assert db.cache.position(position.id) == position
    assert db.cache.metrics().openings == 1
    while not db.cache._recovery.recover():
        pass
    assert db.cache.position(position.id) == position


def test_redis_without_scripts_is_detected(db: Database, owner: Owner, server: ValkeyServer) -> None:
    bought(db, owner)
    with server.client() as client:
        client.script_flush()
    position = increased(db, owner)
    assert db.cache.position(position.id) == position
    assert db.cache.metrics().openings == 1
    assert db.cache._recovery.recover()
    position = increased(db, owner)
    assert db.cache.position(position.id) == position
    assert db.cache.metrics().state == "closed"


def test_change_refused_for_memory_counts_as_unapplied(db: Database, owner: Owner, server: ValkeyServer) -> None:
    bought(db, owner)
    with server.configured("maxmemory", "1"):
        position = increased(db, owner)
        assert db.cache.metrics().state == "closed"
        assert db.cache.position(position.id) == position
        assert db.cache.metrics().state == "open"


def test_reader_asks_database_when_change_is_lost_during_flush(
    db: Database, owner: Owner, server: ValkeyServer
) -> None:
    old = bought(db, owner)
    new = increased(db, owner)
    cache_client: Any = db.cache._client
    # As if the change had been lost.
    cache_client.call("SET", cache_client.keys.position(old.id), POSITION.encode(old))
    flush = cache_client._queue.flush

    def flush_after_another() -> None:
        cache_client.breaker.fail("a change was lost", unapplied_write=True)
        cache_client._queue.flush = flush
        flush()

    cache_client._queue.flush = flush_after_another
    assert db.cache.position(new.id) == new


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "in a block"])
def test_concurrent_traders_read_their_own_trades(db: Database, alone: bool) -> None:
    owners = [new_owner(db) for _ in range(8)]
    for owner in owners:
        db.trades.deposit(owner.deposit("100"))
        bought(db, owner)

    def trade_and_look(owner: Owner) -> None:
        for _ in range(10):
            if alone:
                position = increased(db, owner)
            else:
                with db.transaction() as tx:
                    position = increased(tx, owner)
            assert db.cache.position(position.id) == position
            assert db.cache.positions_of_agent(owner.agent_id) == [position]

    misses = db.cache.metrics().misses
    concurrently([partial(trade_and_look, owner) for owner in owners])
    assert (db.cache.metrics().openings, db.cache.metrics().misses - misses <= len(owners)) == (0, True)
