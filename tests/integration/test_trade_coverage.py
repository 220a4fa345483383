"""Every branch of every PL/pgSQL function of the schema is reached by trades through the public API.

The ways of trades are in tests/support/builders/trade_ways.py. The steps below are those of other writers, most of them
with SQL.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from nexgent_db import Database, errors
from nexgent_db.testing.databases import Databases
from tests.integration.sync.factories import funded_owner, new_owner
from tests.support.builders.trade_ways import WAYS, adopted_transaction, bought, new_signal
from tests.support.oracles.branch_coverage import instrument, take_reached

Step = Callable[[Database, psycopg.Connection[Any]], None]
STEPS: dict[str, Step] = {}


def step(function: Step) -> Step:
    """Another way through the functions, by its name."""
    STEPS[function.__name__] = function
    return function


@contextmanager
def refused_by_database(condition: str) -> Iterator[None]:
    """The statement is refused, with this in the message."""
    with pytest.raises(psycopg.Error, match=condition):
        yield


@step
def pruned_request(db: Database, _: psycopg.Connection[Any]) -> None:
    deposit = db.trades.deposit(new_owner(db).deposit("5"))
    db.trade_requests.prune(deposit.transaction.created_at + timedelta(microseconds=1))


@step
def compacted_outbox(db: Database, _: psycopg.Connection[Any]) -> None:
    bought(db)
    while db.cache.maintenance.compact_outbox(0.0) > 1:
        pass
    assert db.cache.maintenance.compact_outbox(1_000_000.0) == 0


@step
def balance_changed_without_the_lock(db: Database, sql: psycopg.Connection[Any]) -> None:
    owner = funded_owner(db)
    failures: list[BaseException] = []

    def withdraw() -> None:
        try:
            db.trades.withdraw(owner.withdraw("60"))
        except errors.NexgentError as error:
            failures.append(error)

    thread = threading.Thread(target=withdraw)
    with sql.transaction():
        sql.execute("UPDATE agent_balances SET balance = 50 WHERE wallet_address = %s", [owner.wallet_address])
        thread.start()
        row = sql.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        until(sql, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid)))", [row[0]])
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert [*map(type, failures)] == [errors.InsufficientBalance], failures


@step
def balance_inserted_without_the_lock(db: Database, sql: psycopg.Connection[Any]) -> None:
    owner = new_owner(db)
    failures: list[BaseException] = []

    def deposit() -> None:
        try:
            db.trades.deposit(owner.deposit("5"))
        except errors.NexgentError as error:
            failures.append(error)

    thread = threading.Thread(target=deposit)
    with sql.transaction():
        sql.execute(
            "INSERT INTO agent_balances (agent_id, wallet_address, token_address, token_symbol, balance)"
            " VALUES (%s, %s, sol_mint(), 'SOL', 1)",
            [owner.agent_id, owner.wallet_address],
        )
        thread.start()
        row = sql.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        until(sql, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid)))", [row[0]])
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert [*map(type, failures)] == [errors.TransactionConflict], failures
    db.trades.deposit(owner.deposit("5"))


# --- Other writers --------------------------------------------------------------------------------


def until(sql: psycopg.Connection[Any], query: str, parameters: list[Any]) -> None:
    """Ask until the answer is true, half a minute at most."""
    end = datetime.now(UTC) + timedelta(seconds=30)
    while datetime.now(UTC) < end:
        row = sql.execute(query.encode(), parameters).fetchone()
        if row is not None and row[0]:
            return
        sql.execute("SELECT pg_sleep(0.01)")
    pytest.fail(f"never true: {query}")


@step
def row_written_by_hand(db: Database, sql: psycopg.Connection[Any]) -> None:
    owner = bought(db)
    sql.execute("UPDATE agent_balances SET last_updated = now() WHERE agent_id = %s", [owner.agent_id])
    sql.execute("UPDATE agent_positions SET updated_at = now() WHERE agent_id = %s", [owner.agent_id])
    sql.execute("UPDATE agents SET name = 'renamed' WHERE id = %s", [owner.agent_id])


@step
def row_deleted_by_hand(db: Database, sql: psycopg.Connection[Any]) -> None:
    owner = bought(db)
    for table in ("agent_balances", "agent_positions"):
        sql.execute(f"DELETE FROM {table} WHERE agent_id = %s".encode(), [owner.agent_id])
    empty = db.agents.create(owner.user_id, "empty")
    sql.execute("DELETE FROM agents WHERE id = %s", [empty.id])


@step
def truncated_table(_: Database, sql: psycopg.Connection[Any]) -> None:
    sql.execute("TRUNCATE agent_balances")


@step
def truncated_ledger(_: Database, sql: psycopg.Connection[Any]) -> None:
    with refused_by_database("TRUNCATE of agent_historical_swaps is refused"):
        sql.execute("TRUNCATE agent_historical_swaps")


@step
def deleted_signal(db: Database, sql: psycopg.Connection[Any]) -> None:
    owner, id_ = new_owner(db), uuid4()
    signal_id = new_signal(sql)
    adopted_transaction(sql, owner, id_, signal_id=signal_id)
    sql.execute("DELETE FROM trading_signals WHERE id = %s", [signal_id])


@step
def changed_ledger(db: Database, sql: psycopg.Connection[Any]) -> None:
    owner, id_ = new_owner(db), uuid4()
    adopted_transaction(sql, owner, id_)
    with refused_by_database("UPDATE of agent_transactions"):
        sql.execute("UPDATE agent_transactions SET input_amount = 2 WHERE id = %s", [id_])
    with refused_by_database("DELETE of agent_transactions"):
        sql.execute("DELETE FROM agent_transactions WHERE id = %s", [id_])


@step
def purged_agent(db: Database, sql: psycopg.Connection[Any]) -> None:
    owner = bought(db)
    sql.execute("SELECT purge_agent_v1(%s, 'a test')", [owner.agent_id])


@step
def agent_purged_in_batches(db: Database, sql: psycopg.Connection[Any]) -> None:
    owner, finished = bought(db), None
    while finished is None:
        row = sql.execute("SELECT finished_at FROM purge_agent_batch_v1(%s, 'a test', 1)", [owner.agent_id]).fetchone()
        assert row is not None
        (finished,) = row


@step
def purge_of_nobody_in_batches(_: Database, sql: psycopg.Connection[Any]) -> None:
    with refused_by_database("there is no agent"):
        sql.execute("SELECT purge_agent_batch_v1(%s, 'a test', 1)", [uuid4()])


@step
def purge_of_nobody(_: Database, sql: psycopg.Connection[Any]) -> None:
    with refused_by_database("there is no agent"):
        sql.execute("SELECT purge_agent_v1(%s, 'a test')", [uuid4()])


@step
def entry_without_a_wallet(db: Database, sql: psycopg.Connection[Any]) -> None:
    with refused_by_database("needs a wallet"):
        adopted_transaction(sql, new_owner(db), uuid4(), wallet_address=None)


@step
def position_with_the_purchase_of_another(db: Database, sql: psycopg.Connection[Any]) -> None:
    owner, other = bought(db), new_owner(db)
    with refused_by_database("is no purchase of agent"):
        sql.execute(
            "UPDATE agent_positions SET agent_id = %s, wallet_address = %s WHERE agent_id = %s",
            [other.agent_id, other.wallet_address, owner.agent_id],
        )


@step
def position_moved_with_its_purchase(db: Database, sql: psycopg.Connection[Any]) -> None:
    owner = bought(db)
    sql.execute("UPDATE agent_positions SET agent_id = agent_id WHERE agent_id = %s", [owner.agent_id])


@step
def changed_address(db: Database, _: psycopg.Connection[Any]) -> None:
    owner = bought(db)
    assert db.wallets.change_address(owner.agent_id, owner.wallet_address, f"C{uuid4().hex}") is not None


@step
def unchanged_address(db: Database, _: psycopg.Connection[Any]) -> None:
    owner = bought(db)
    assert db.wallets.change_address(owner.agent_id, owner.wallet_address, owner.wallet_address) is not None


@step
def changed_address_of_nobody(db: Database, _: psycopg.Connection[Any]) -> None:
    assert db.wallets.change_address(uuid4(), "W0", "W1") is None


@step
def entry_moved_while_its_wallet_stays(db: Database, sql: psycopg.Connection[Any]) -> None:
    owner = bought(db)
    other = db.wallets.create(f"L{uuid4().hex}", owner.agent_id, "live")
    sql.execute("SELECT set_config('nexgent.changed_wallet', %s, false)", [owner.wallet_address])
    with refused_by_database("UPDATE of agent_transactions"):
        sql.execute(
            "UPDATE agent_transactions SET wallet_address = %s WHERE wallet_address = %s",
            [other.wallet_address, owner.wallet_address],
        )
    sql.execute("RESET nexgent.changed_wallet")


# --- The tests ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reached(nexgent_databases: Databases, nexgent_template_url: str) -> tuple[set[str], dict[str, set[str]]]:
    """All branches, and those that each way and each step reaches."""
    with (
        nexgent_databases.copy(nexgent_template_url) as url,
        psycopg.connect(url, autocommit=True) as sql,
        Database(url) as db,
    ):
        branches = instrument(sql)
        by_step: dict[str, set[str]] = {}
        for name, make in WAYS.items():
            make(db, sql).go()
            by_step[name] = take_reached(sql, branches)
        for name, run in STEPS.items():
            run(db, sql)
            by_step[name] = take_reached(sql, branches)
    return set(branches), by_step


def test_every_branch_of_every_function_is_reached(reached: tuple[set[str], dict[str, set[str]]]) -> None:
    branches, by_step = reached
    assert len(branches) > 100
    assert sorted(branches - set[str]().union(*by_step.values())) == []


def test_branch_is_unreached_without_its_step(reached: tuple[set[str], dict[str, set[str]]]) -> None:
    branches, by_step = reached
    others = set[str]().union(*(found for name, found in by_step.items() if name != "oversell"))
    assert [each.partition(": ")[2] for each in branches - others] == ["ELSIF left_over < 0 THEN"]
