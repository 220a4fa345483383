# Generated from tests/integration/aio/test_cache_faults.py by `make sync`: do not edit.
"""Whatever becomes of Redis, trades commit, their results are right, and what is read is the database's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import pytest

from nexgent_db import Database
from nexgent_db.settings import Settings
from tests.integration.sync.factories import Owner, new_owner
from tests.support.faulty_proxy import Fault, FaultyProxy, faulty_proxy
from tests.support.valkey_server import ValkeyServer, valkey_server

FAULTS: Final = ["killed", "hung", "refusing", "slow", "alone", "full", "garbage", "cut"]


@pytest.fixture
def server() -> Iterator[ValkeyServer]:
    with valkey_server() as running:
        yield running


@pytest.fixture
def proxy(server: ValkeyServer) -> Iterator[FaultyProxy]:
    with faulty_proxy(server.socket) as between:
        yield between


@pytest.fixture
def db(fresh_database_url: str, proxy: FaultyProxy) -> Iterator[Database]:
    """A database of the test's own, with a cache behind a proxy."""
    with Database(replace(Settings.from_url(fresh_database_url), redis_url=proxy.url)) as database:
        yield database


@pytest.fixture
def owner(db: Database) -> Owner:
    made = new_owner(db)
    db.trades.deposit(made.deposit("100"))
    return made


def broken(fault: str, server: ValkeyServer, proxy: FaultyProxy) -> None:
    """From now on."""
    with server.client() as client:
        match fault:
            case "killed":
                server.kill()
            case "hung":
                server.hang()
            case "refusing":
                proxy.fault = Fault(refuse=True)
            case "slow":
                proxy.fault = Fault(delay_s=0.2)
            case "alone":
                client.config_set("min-replicas-to-write", "1")
            case "full":
                client.config_set("maxmemory", "1")
            case "garbage":
                proxy.fault = Fault(garble=b"*1\r\n$5\r\nepoch\r\n")
            case "cut":
                proxy.fault = Fault(cut_after=3)


def mended(fault: str, server: ValkeyServer, proxy: FaultyProxy) -> None:
    proxy.fault = Fault()
    match fault:
        case "killed":
            server.start()
        case "hung":
            server.wake()
        case "alone" | "full":
            with server.client() as client:
                client.config_set("min-replicas-to-write", "0")
                client.config_set("maxmemory", "0")


def assert_told_what_the_database_says(db: Database, owner: Owner) -> None:
    positions = db.positions.list_by_agent(owner.agent_id)
    balances = db.balances.list_by_wallet(owner.agent_id, owner.wallet_address)
    assert db.cache.positions_of_agent(owner.agent_id) == positions
    assert db.cache.balances_of_wallet(owner.agent_id, owner.wallet_address) == sorted(
        balances, key=lambda row: row.token_address
    )
    for position in positions:
        assert db.cache.position(position.id) == position
    flags = db.cache.trading_flags(owner.agent_id)
    assert not flags.paused()


@pytest.mark.parametrize("fault", FAULTS)
def test_trades_commit_and_are_seen_by_their_process_while_redis_is(
    db: Database, owner: Owner, server: ValkeyServer, proxy: FaultyProxy, fault: str
) -> None:
    assert_told_what_the_database_says(db, owner)
    broken(fault, server, proxy)
    try:
        bought = db.trades.buy(owner.buy("1", "1000"))
        assert (bought.transaction.output_amount, bought.replayed) == (1000, False)
        assert_told_what_the_database_says(db, owner)
        with db.transaction() as tx:
            tx.trades.dca_buy(owner.dca_buy("1", "500"))
            tx.trades.take_profit(owner.take_profit("700", "2"))
        assert_told_what_the_database_says(db, owner)
    finally:
        mended(fault, server, proxy)
    assert db.cache._recover() or db.cache.metrics().state != "closed"
    while db.cache.metrics().state != "closed":
        db.cache._recover()
    db.trades.sell(owner.sell("800", "3"))
    assert_told_what_the_database_says(db, owner)
    before = db.cache.metrics().hits
    assert db.cache.positions_of_agent(owner.agent_id) == []
    assert db.cache.metrics().hits == before + 1  # used again, without a restart
