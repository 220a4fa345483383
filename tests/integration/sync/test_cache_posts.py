# Generated from tests/integration/aio/test_cache_posts.py by `make sync`: do not edit.
"""A trade sends what it changed and goes on; whoever reads then waits for that, and is never told less."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from nexgent_db import Database, Transaction
from nexgent_db._cache_rows import POSITION
from nexgent_db.models import AgentPosition
from nexgent_db.settings import Settings
from nexgent_db.sync._redis_servers import TIMEOUT_S
from tests.integration.sync.factories import Owner, funded_owner, new_owner
from tests.support.concurrently import concurrently
from tests.support.valkey_server import ValkeyServer, valkey_server


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


def increased(db: Database | Transaction, owner: Owner) -> AgentPosition:
    position = db.trades.dca_buy(owner.dca_buy("1", "500")).position
    assert position is not None
    return position


def test_a_trade_does_not_wait_for_redis_but_the_read_after_it_does(
    db: Database, owner: Owner, server: ValkeyServer
) -> None:
    bought(db, owner)
    with server.hanging():
        position = increased(db, owner)
        assert db.cache.metrics().state == "closed"  # it did not wait, or it would know
        hits = db.cache.metrics().hits
        assert db.cache.position(position.id) == position
        assert (db.cache.metrics().state, db.cache.metrics().hits) == ("open", hits)


def test_the_next_trade_finds_a_change_that_was_not_answered_in_time(
    db: Database, owner: Owner, server: ValkeyServer
) -> None:
    bought(db, owner)
    with server.hanging():
        increased(db, owner)
        time.sleep(TIMEOUT_S)
        position = increased(db, owner)
        assert db.cache.metrics().state == "open"
        assert db.cache.position(position.id) == position


def test_an_answer_that_came_long_ago_is_no_late_one(db: Database, owner: Owner) -> None:
    link: Any = db.cache._link
    bought(db, owner)
    clock = link._clock
    increased(db, owner)
    time.sleep(TIMEOUT_S)
    position = increased(db, owner)
    assert link._clock >= clock  # not set to what was true when the answer was given
    hits = db.cache.metrics().hits
    assert db.cache.position(position.id) == position
    assert (db.cache.metrics().state, db.cache.metrics().hits) == ("closed", hits + 1)


def test_a_connection_that_redis_closed_meanwhile_loses_nothing(
    db: Database, owner: Owner, server: ValkeyServer
) -> None:
    bought(db, owner)
    with server.client() as client:
        assert client.client_kill_filter(_type="normal", skipme=True)
    position = increased(db, owner)
    hits = db.cache.metrics().hits
    assert db.cache.position(position.id) == position
    assert (db.cache.metrics().openings, db.cache.metrics().hits) == (0, hits + 1)


def test_a_connection_that_is_cut_before_the_answer_has_not_applied_it(
    db: Database, owner: Owner, server: ValkeyServer
) -> None:
    bought(db, owner)
    server.hang()
    position = increased(db, owner)
    server.kill()
    server.start()
    assert db.cache.position(position.id) == position
    assert db.cache.metrics().openings == 1
    while not db.cache._recover():
        pass
    assert db.cache.position(position.id) == position


def test_a_redis_that_forgot_the_scripts_is_found_out(db: Database, owner: Owner, server: ValkeyServer) -> None:
    bought(db, owner)
    with server.client() as client:
        client.script_flush()
    position = increased(db, owner)
    assert db.cache.position(position.id) == position
    assert db.cache.metrics().openings == 1
    assert db.cache._recover()
    position = increased(db, owner)
    assert db.cache.position(position.id) == position
    assert db.cache.metrics().state == "closed"


def test_a_change_that_memory_did_not_suffice_for_is_not_taken_for_applied(
    db: Database, owner: Owner, server: ValkeyServer
) -> None:
    bought(db, owner)
    with server.configured("maxmemory", "1"):
        position = increased(db, owner)
        assert db.cache.metrics().state == "closed"
        assert db.cache.position(position.id) == position
        assert db.cache.metrics().state == "open"


def test_a_reader_believes_nothing_when_another_one_finds_meanwhile_that_a_change_was_lost(
    db: Database, owner: Owner, server: ValkeyServer
) -> None:
    old = bought(db, owner)
    new = increased(db, owner)
    link: Any = db.cache._link
    link.call("SET", link.keys.position(old.id), POSITION.encode(old))  # as if the change had been lost
    settle = link._posts.settle

    def settle_after_another() -> None:
        link.breaker.fail("a change was lost", missed=True)
        link._posts.settle = settle
        settle()

    link._posts.settle = settle_after_another
    assert db.cache.position(new.id) == new


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "in a block"])
def test_each_of_many_sees_his_own_trade_at_once(db: Database, alone: bool) -> None:
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
