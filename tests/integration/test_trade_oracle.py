"""The oracle of the chaos tests finds each lie: one is planted for each of its counts, behind the package's back."""

from __future__ import annotations

import copy
import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Final
from uuid import UUID

import psycopg
import pytest

from nexgent_db import Database
from nexgent_db.errors import ConnectionLost
from nexgent_db.models import SOL_MINT
from nexgent_db.settings import Settings
from nexgent_db.testing.databases import Databases
from tests.chaos.isolation import IsolatedThreads
from tests.chaos.mixed import LIMITS, Samples
from tests.chaos.one_wallet import count_deadlocks
from tests.chaos.sending import execute
from tests.chaos.wallets import Wallet
from tests.chaos.worker import stale_rows
from tests.integration.sync.factories import Owner, funded_owner, new_owner
from tests.support.builders.trade_ways import KINDS
from tests.support.faults.concurrently import concurrently
from tests.support.faults.cutting_proxy import cutting_proxy
from tests.support.oracles.trade_oracle import COUNTS, Findings, Intent, Record, examine, examine_cache
from tests.support.servers.valkey_server import ValkeyServer, valkey_server

PREFIX: Final = "oracle:"
ORDERS: Final = 250
PATIENCE_S: Final = 30.0
History = tuple[str, Record]


@pytest.fixture(scope="module")
def history(nexgent_databases: Databases, nexgent_template_url: str) -> Iterator[History]:
    """A database with orders of every kind, and their caller's record."""
    with nexgent_databases.copy(nexgent_template_url) as url:
        with Database(url) as db:
            wallet = Wallet(new_owner(db), random.Random(3))
            drawn = [wallet.draw() for _ in range(ORDERS)]
            execute(db, "transaction", [(one.kind, one.order) for one in drawn])
        assert {one.kind for one in drawn if not one.intent.refused} >= set(KINDS) - {"reset_wallet"}
        assert any(one.intent.refused for one in drawn)
        yield url, wallet.record


def examined(databases: Databases, history: History, *lies: str, record: Record | None = None) -> Findings:
    """What the oracle finds after these statements, with triggers and foreign keys off."""
    findings = Findings()
    with databases.copy(history[0]) as url, psycopg.connect(url) as database:
        database.execute("SET session_replication_role = replica")
        for lie in lies:
            changed = database.execute(lie.encode(), {"wallet": history[1].wallet_address})
            assert changed.rowcount >= 1, f"nothing was planted: {lie}"
        database.commit()
        examine(database, [record or history[1]], findings)
    return findings


def test_true_history_has_no_finding(nexgent_databases: Databases, history: History) -> None:
    assert examined(nexgent_databases, history).lines() == []


A_DEPOSIT: Final = "(SELECT id FROM agent_transactions WHERE transaction_type = 'DEPOSIT' LIMIT 1)"
LIES: Final = {
    "request deleted": ("lost", f"DELETE FROM trade_requests WHERE id = {A_DEPOSIT}"),
    "transaction deleted": ("lost", f"DELETE FROM agent_transactions WHERE id = {A_DEPOSIT}"),
    "executed twice": (
        "doubled",
        "INSERT INTO agent_transactions SELECT (t).* FROM (SELECT jsonb_populate_record(t,"
        " jsonb_build_object('id', gen_random_uuid())) AS t FROM agent_transactions AS t"
        f" WHERE id = {A_DEPOSIT}) AS doubled",
    ),
    "transaction that nobody sent": (
        "phantom",
        "INSERT INTO agent_transactions SELECT (t).* FROM (SELECT jsonb_populate_record(t,"
        " jsonb_build_object('id', gen_random_uuid(), 'input_symbol', 'X')) AS t FROM agent_transactions AS t"
        f" WHERE id = {A_DEPOSIT}) AS phantom",
    ),
    "request that nobody sent": (
        "phantom",
        "INSERT INTO trade_requests SELECT (r).* FROM (SELECT jsonb_populate_record(r,"
        " jsonb_build_object('id', gen_random_uuid())) AS r FROM trade_requests AS r"
        f" WHERE id = {A_DEPOSIT}) AS phantom",
    ),
    "balance changed": (
        "balance differs from ledger",
        "UPDATE agent_balances SET balance = balance + 1 WHERE wallet_address = %(wallet)s AND token_symbol <> 'SOL'",
    ),
    "balance and ledger changed alike": (
        "balance differs from ledger",
        "WITH t AS (UPDATE agent_transactions SET input_amount = input_amount + 1"
        f" WHERE id = {A_DEPOSIT} RETURNING input_mint)"
        " UPDATE agent_balances SET balance = balance + 1 FROM t WHERE token_address = t.input_mint",
    ),
    "position changed": ("position differs", "UPDATE agent_positions SET remaining_amount = remaining_amount / 2"),
    "position deleted": ("position differs", "DELETE FROM agent_positions"),
    "swap deleted": (
        "close without swap",
        "DELETE FROM agent_historical_swaps WHERE id IN (SELECT id FROM agent_historical_swaps LIMIT 1)",
    ),
    "swap of an open position": (
        "close without swap",
        "UPDATE agent_historical_swaps SET purchase_transaction_id ="
        " (SELECT purchase_transaction_id FROM agent_positions LIMIT 1)"
        " WHERE id IN (SELECT id FROM agent_historical_swaps LIMIT 1)",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_planted_lie_is_found(nexgent_databases: Databases, history: History, lie: str) -> None:
    count, statement = LIES[lie]
    found = examined(nexgent_databases, history, statement)
    assert found.counts[count] >= 1, found.lines()


def test_executed_refusal_is_a_phantom(nexgent_databases: Databases, history: History) -> None:
    record = copy.deepcopy(history[1])
    made = next(one for one in record.intents.values() if one.kind == "deposit" and not one.refused)
    record.intents[made.trade_id] = Intent(made.trade_id, made.kind, made.number, refused=True)
    found = examined(nexgent_databases, history, record=record)
    assert found.counts["phantom"] >= 1


# --- The cache -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with valkey_server() as running:
        yield running


@pytest.fixture
def cached(database_url: str, server: ValkeyServer) -> Iterator[Database]:
    """A database whose cache is this test's own."""
    with server.client() as client:
        client.flushall()
    settings = replace(Settings.from_url(database_url, {}, redis_url=server.url), cache_prefix=PREFIX)
    with Database(settings) as db:
        yield db


def read_all(db: Database, owner: Owner, position_id: UUID) -> None:
    """Have the rows cached."""
    db.cache.position(position_id)
    db.cache.balance(owner.agent_id, owner.wallet_address, SOL_MINT)


def cached_key(client: Any, pattern: str, segments: int, read: Callable[[], object]) -> str:
    """A cached row's key, after as many reads as it takes: a busy Redis is not asked for a while."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if names := [name for name in client.keys(pattern) if name.count(":") == segments]:
            return str(min(names))
        read()
        time.sleep(0.01)
    raise AssertionError(f"nothing is cached as {pattern}")


@pytest.mark.parametrize(
    ("count", "key", "segments"),
    [("wrong cache entry", "balance:*", 4), ("orphaned cache entry", "position:*", 2)],
)
def test_planted_cache_entry_is_found(
    fresh_database_url: str, server: ValkeyServer, count: str, key: str, segments: int
) -> None:
    prefix = f"{count.split()[0]}:"
    settings = replace(Settings.from_url(fresh_database_url, {}, redis_url=server.url), cache_prefix=prefix)
    with Database(settings) as db, server.client() as client, psycopg.connect(fresh_database_url) as database:
        owner = funded_owner(db)
        position = db.trades.buy(owner.buy("1", "10")).position
        assert position is not None
        findings = Findings()
        examine_cache(client, database, prefix, findings)
        assert findings.lines() == []
        name = cached_key(client, f"{prefix}{key}", segments, lambda: read_all(db, owner, position.id))
        text = client.get(name)
        if count == "orphaned cache entry":
            client.set(name.replace(str(position.id), str(owner.user_id)), text)
        else:
            client.set(name, json.dumps({**json.loads(text), "balance": "123"}))
        examine_cache(client, database, prefix, findings)
    assert findings.counts[count] == 1, findings.lines()


def test_row_older_than_its_writer_was_told_is_found(cached: Database, server: ValkeyServer) -> None:
    owner = funded_owner(cached)
    orders = [("deposit", owner.deposit("1"))]
    first = execute(cached, "single", orders)
    assert stale_rows(cached, orders, first) == []
    with server.client() as client:
        pattern = f"{PREFIX}balance:{owner.agent_id}:{owner.wallet_address}:*"
        name = cached_key(client, pattern, 4, lambda: stale_rows(cached, orders, first))
        older = client.get(name)
        orders = [("deposit", owner.deposit("1"))]
        second = execute(cached, "single", orders)
        assert stale_rows(cached, orders, second) == []
        client.set(name, older)
    assert len(stale_rows(cached, orders, second)) == 1


def test_every_count_has_its_lie() -> None:
    planted = {count for count, _ in LIES.values()}
    assert planted | {"wrong cache entry", "orphaned cache entry", "stale read"} == set(COUNTS)


# --- The other parts' own checks -----------------------------------------------------------------------


def test_proxy_cuts_reply_after_commit_and_new_id_is_doubled(database_url: str) -> None:
    with Database(database_url) as setup, cutting_proxy(database_url, random.Random(1)) as proxy:
        owner = new_owner(setup)
        with Database(proxy.url) as db:
            db.trades.deposit(owner.deposit("1"))
            order = owner.deposit("2").model_copy(update={"token_symbol": "7"})
            proxy.cut_next(trade=True)
            with pytest.raises(ConnectionLost):
                db.trades.deposit(order)
            assert proxy.cuts == 1
            assert setup.transactions.find_by_id(order.trade_id) is not None
            assert db.trades.deposit(order).duplicate
            db.trades.deposit(order.model_copy(update={"request_id": owner.agent_id}))  # the caller's mistake
    findings = Findings()
    record = Record(owner.wallet_address)
    record.add(Intent(order.trade_id, "deposit", 7))
    with psycopg.connect(database_url) as database:
        examine(database, [record], findings)
    assert findings.counts["doubled"] == 1


def test_read_committed_transactions_fail_the_check_of_snapshots(fresh_database_url: str, server: ValkeyServer) -> None:
    threads = IsolatedThreads(fresh_database_url, server, "read committed", seed=1)
    threads.run(60)
    assert [one for one in threads.anomalies if "changed inside a transaction" in one]


_LOCK: Final = "SELECT pg_advisory_xact_lock(%s)"


def test_deadlock_is_counted(fresh_database_url: str) -> None:
    before = count_deadlocks(fresh_database_url)
    with psycopg.connect(fresh_database_url) as one, psycopg.connect(fresh_database_url) as other:
        for connection, held in ((one, 1), (other, 2)):
            connection.execute("SET deadlock_timeout = '50ms'")
            connection.execute(_LOCK, [held])
        waits = [partial(one.execute, _LOCK, [2]), partial(other.execute, _LOCK, [1])]
        errors = concurrently(waits, return_exceptions=True)
        assert [error for error in errors if isinstance(error, psycopg.errors.DeadlockDetected)]
    assert count_deadlocks(fresh_database_url) == before + 1


@pytest.mark.parametrize("name", LIMITS)
def test_growth_is_found(name: str) -> None:
    samples = Samples()
    for number in range(40):
        samples.add(**{one: 100.0 + (400 * number if one == name else 0) for one in LIMITS})
    assert [line.split()[0] for line in samples.grown()] == [name]
