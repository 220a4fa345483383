# Generated from tests/integration/aio/test_cache_faults.py by `make sync`: do not edit.
"""Whatever becomes of Redis, trades commit, their results are right, and what is read is the database's."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import psycopg
import pytest

from nexgent_db import Database
from nexgent_db.models import SOL_MINT
from nexgent_db.models.cache import DatabaseIdentity, TokenPrice
from nexgent_db.settings import Settings
from nexgent_db.sync.cache.recovery import PROBE_S
from tests.integration.sync.factories import TOKEN, Owner, funded_owner, new_owner
from tests.support.faults.concurrently import concurrently
from tests.support.faults.faulty_proxy import Fault, FaultyProxy
from tests.support.servers.valkey_server import ValkeyServer
from tests.support.servers.valkey_topologies import older_copy

FAULTS: Final = ["killed", "hung", "refusing", "slow", "alone", "read-only", "full", "garbage", "cut"]


@pytest.fixture
def db(fresh_database_url: str, proxy: FaultyProxy) -> Iterator[Database]:
    """A database of the test's own, with a cache behind a proxy."""
    with Database(replace(Settings.from_url(fresh_database_url), redis_url=proxy.url)) as database:
        yield database


@pytest.fixture
def owner(db: Database) -> Owner:
    return funded_owner(db)


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
            case "read-only":
                client.replicaof("127.0.0.1", "1")  # a replica whose master is gone
            case "full":
                client.config_set("maxmemory", "1")
            case "garbage":
                proxy.fault = Fault(garble=b"*1\r\n$5\r\nepoch\r\n")
            case "cut":
                proxy.fault = Fault(cut_after=3)


def repaired(fault: str, server: ValkeyServer, proxy: FaultyProxy) -> None:
    proxy.fault = Fault()
    match fault:
        case "killed":
            server.start()
        case "hung":
            server.wake()
        case "read-only":
            with server.client() as client:
                client.replicaof("NO", "ONE")
        case "alone" | "full":
            with server.client() as client:
                client.config_set("min-replicas-to-write", "0")
                client.config_set("maxmemory", "0")


def assert_reads_equal_database(db: Database, owner: Owner) -> None:
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
def test_trades_commit_and_are_read_while_redis_is(
    db: Database, owner: Owner, server: ValkeyServer, proxy: FaultyProxy, fault: str
) -> None:
    assert_reads_equal_database(db, owner)
    broken(fault, server, proxy)
    try:
        bought = db.trades.buy(owner.buy("1", "1000"))
        assert (bought.transaction.output_amount, bought.duplicate) == (1000, False)
        assert_reads_equal_database(db, owner)
        with db.transaction() as tx:
            tx.trades.dca_buy(owner.dca_buy("1", "500"))
            tx.trades.take_profit(owner.take_profit("700", "2"))
        assert_reads_equal_database(db, owner)
    finally:
        repaired(fault, server, proxy)
    while db.cache.metrics().state != "closed":
        db.cache._recovery.recover()
    db.trades.sell(owner.sell("800", "3"))
    assert_reads_equal_database(db, owner)
    before = db.cache.metrics().hits
    assert db.cache.positions_of_agent(owner.agent_id) == []
    assert db.cache.metrics().hits == before + 1  # used again, without a restart


@pytest.mark.parametrize("passing", [0, 1, 2, 4, 8, 16, 64, 256])
def test_truncated_reply_is_never_taken_for_complete(
    db: Database, owner: Owner, proxy: FaultyProxy, passing: int
) -> None:
    db.trades.buy(owner.buy("1", "1000"))
    assert_reads_equal_database(db, owner)
    proxy.fault = Fault(cut_after=passing)
    assert_reads_equal_database(db, owner)
    db.trades.dca_buy(owner.dca_buy("1", "500"))
    assert_reads_equal_database(db, owner)


def test_failed_call_is_not_repeated_before_next_probe(db: Database, owner: Owner, server: ValkeyServer) -> None:
    db.cache._recovery.recover_soon = lambda: None  # type: ignore[method-assign]  # the probe comes when the test says
    server.hang()
    try:
        calls = db.cache.metrics().calls
        db.trades.buy(owner.buy("1", "1000"))
        assert_reads_equal_database(db, owner)
        assert db.cache.metrics().calls == calls + 1
        for _ in range(5):
            db.trades.dca_buy(owner.dca_buy("1", "500"))
            assert_reads_equal_database(db, owner)
        assert db.cache.metrics().calls == calls + 1
    finally:
        server.wake()
    assert db.cache._recovery.recover()
    assert_reads_equal_database(db, owner)


def test_lost_redis_is_probed_every_half_second(db: Database, owner: Owner, proxy: FaultyProxy) -> None:
    proxy.fault = Fault(refuse=True)
    connections, began = proxy.connections, time.monotonic()
    db.trades.buy(owner.buy("1", "1000"))
    calls, until = db.cache.metrics().calls, time.monotonic() + 60
    while proxy.connections < connections + 4:
        assert time.monotonic() < until, "no probe looks for it"
        assert_reads_equal_database(db, owner)
    looked, passed_s = db.cache.metrics().calls - calls, time.monotonic() - began
    assert 3 <= looked <= passed_s / PROBE_S
    proxy.fault = Fault()
    while db.cache.metrics().state != "closed":
        assert time.monotonic() < until, "it is not found again"
        assert_reads_equal_database(db, owner)


LOST: Final = {
    "the set": ("",),
    "its marker": (":complete",),
    "the token to complete it": (":load_lease",),
    "the set and its token": ("", ":load_lease"),
    "its marker and the token": (":complete", ":load_lease"),
    "the set and its marker": ("", ":complete"),
}


@pytest.mark.parametrize("lost", LOST)
def test_partly_evicted_set_is_read_right(db: Database, owner: Owner, server: ValkeyServer, lost: str) -> None:
    sets = (
        f"nexgent:agent:{owner.agent_id}:positions",
        f"nexgent:token:{TOKEN.lower()}:positions",
        f"nexgent:wallet:{owner.wallet_address}:balances",
        "nexgent:active_agents",
    )

    def lose() -> None:
        with server.client() as client:
            client.unlink(*(name + part for name in sets for part in LOST[lost]))

    def assert_all_is_right() -> None:
        assert_reads_equal_database(db, owner)
        positions = db.positions.list_by_agent(owner.agent_id)
        for token in (TOKEN, "Another"):
            assert db.cache.positions_of_token(token) == [row for row in positions if row.token_address == token]
        assert db.cache.active_agents() == [owner.agent_id]

    db.agents.set_automated_trading(owner.agent_id, "simulation", True)
    db.trades.buy(owner.buy("1", "1000", "Another"))
    assert_all_is_right()  # all are complete by now
    lose()
    db.trades.buy(owner.buy("1", "1000", TOKEN))  # moves what is left of them
    assert_all_is_right()
    lose()
    assert_all_is_right()
    db.trades.sell(owner.sell("1000", "2", TOKEN))
    lose()
    assert_all_is_right()
    compared = db.cache.admin.verify(patience_s=0.1)
    assert (compared.different, compared.compared > 0) == ({}, True)


def test_two_concurrent_probes_verify_once(db: Database, owner: Owner, server: ValkeyServer) -> None:
    db.cache._recovery.recover_soon = lambda: None  # type: ignore[method-assign]
    server.kill()
    db.trades.buy(owner.buy("1", "1000"))
    assert_reads_equal_database(db, owner)
    server.start()
    cache_client: Any = db.cache._client
    in_the_middle = threading.Event()

    def identify() -> DatabaseIdentity:
        in_the_middle.set()
        time.sleep(0.05)  # the other one begins meanwhile
        return db.cache._queries.identity()

    def check_first() -> bool:
        return bool(cache_client.epoch.verify(identify))

    def check_second() -> bool:
        in_the_middle.wait()
        return bool(cache_client.epoch.verify(db.cache._queries.identity))

    assert concurrently([check_first, check_second]) == [True, True]
    assert db.cache._recovery.recover()
    assert (db.cache.metrics().state, db.cache.metrics().openings) == ("closed", 1)
    assert_reads_equal_database(db, owner)


def test_redis_restarted_with_old_dump_is_reset(db: Database, owner: Owner, server: ValkeyServer) -> None:
    old = db.trades.buy(owner.buy("1", "1000")).position
    assert old is not None
    assert_reads_equal_database(db, owner)
    server.save()
    db.trades.sell(owner.sell("1000", "2"))
    new = db.trades.buy(owner.buy("3", "70")).position
    assert new is not None
    server.kill()
    server.start()
    with server.client() as client:
        assert client.exists(f"nexgent:position:{old.id}")  # it would say so
    with Database(db.settings) as another:
        assert another.cache.position(old.id) is None
        assert another.cache.position(new.id, at_least=new.version) == new
        assert another.cache.metrics().resets == 1
    assert db.cache.position(old.id) is None
    assert db.cache._recovery.recover()
    assert_reads_equal_database(db, owner)


@pytest.mark.parametrize("noticed", ["by maintenance", "by new connections"])
def test_redis_that_followed_an_older_one_is_reset(
    db: Database, owner: Owner, server: ValkeyServer, noticed: str
) -> None:
    db.trades.buy(owner.buy("1", "1000"))
    assert_reads_equal_database(db, owner)
    with older_copy(server) as follow_it_for_a_while:
        db.trades.dca_buy(owner.dca_buy("1", "500"))
        assert_reads_equal_database(db, owner)
        follow_it_for_a_while()
    if noticed == "by maintenance":
        db.cache.maintenance._next_check = 0.0
        db.cache.maintenance.run_once()
    else:
        with server.client() as client:
            client.client_kill_filter(_type="normal", skipme=True)
    assert_reads_equal_database(db, owner)
    while db.cache.metrics().state != "closed":
        db.cache._recovery.recover()
    assert db.cache.metrics().resets == 2
    assert_reads_equal_database(db, owner)


def test_each_read_takes_two_round_trips_at_most(db: Database, owner: Owner, server: ValkeyServer) -> None:
    position = None
    for number in range(60):
        position = db.trades.buy(owner.buy("0.1", "1000", f"Token{number}")).position
    assert position is not None
    cache, agent, wallet = db.cache, owner.agent_id, owner.wallet_address
    reads = {
        "position": lambda: cache.position(position.id),
        "positions_of_agent": lambda: cache.positions_of_agent(agent),
        "positions_of_token": lambda: cache.positions_of_token("Token7"),
        "balance": lambda: cache.balance(agent, wallet, SOL_MINT),
        "balances_of_wallet": lambda: cache.balances_of_wallet(agent, wallet),
        "config": lambda: cache.config(agent),
        "trading_flags": lambda: cache.trading_flags(agent),
        "active_agents": lambda: cache.active_agents(),
        "prices": lambda: cache.prices.get_many([f"Token{number}" for number in range(60)]),
    }
    with server.client() as client:
        for name, read in reads.items():
            for expected, lost in ((1, False), (2, True), (1, False)):
                if lost:
                    kept = (b"epoch", b"watermark")
                    gone = [key for key in client.scan_iter("nexgent:*") if not key.encode().endswith(kept)]
                    client.unlink(*gone)
                elif expected == 1:
                    read()
                client.config_resetstat()
                read()
                stats = client.info("commandstats")
                calls = {
                    command: stats.get(f"cmdstat_{command}", {}).get("calls", 0) for command in ("evalsha", "mget")
                }
                trips = calls["evalsha"]
                if name not in ("positions_of_agent", "positions_of_token", "balances_of_wallet"):
                    trips += calls["mget"]  # those of a set are the script's own
                assert 1 <= trips <= expected, (name, stats)


def test_prices_without_redis_raise_nothing(db: Database, owner: Owner, server: ValkeyServer) -> None:
    price = TokenPrice.model_validate(
        {
            "token_address": TOKEN,
            "price_sol": "0.000000000001",
            "price_usd": "1",
            "last_updated": "2026-11-25T00:00:00Z",
        }
    )
    assert db.cache.prices.set(price)
    assert db.cache.prices.get_many([TOKEN]) == {TOKEN: price}
    server.kill()
    assert db.cache.prices.get_many([TOKEN]) == {}
    assert not db.cache.prices.set(price)
    server.start()
    assert db.cache._recovery.recover()
    assert db.cache.prices.set(price)
    assert db.cache.prices.get_many([TOKEN]) == {TOKEN: price}


def test_agent_is_paused_when_neither_server_answers(fresh_database_url: str, server: ValkeyServer) -> None:
    settings = replace(Settings.from_url(fresh_database_url), redis_url=server.url, pool_timeout_s=0.2)
    with Database(settings) as db:
        owner = new_owner(db)
        assert not db.cache.trading_flags(owner.agent_id).paused()
        server.kill()
        with psycopg.connect(settings.conninfo, autocommit=True) as psql:
            psql.execute("ALTER TABLE agents RENAME TO agents_out_of_reach")
            flags = db.cache.trading_flags(owner.agent_id)
            psql.execute("ALTER TABLE agents_out_of_reach RENAME TO agents")
        assert (flags.paused(), flags.source) == (True, "nowhere")
        assert not db.cache.trading_flags(owner.agent_id).paused()
