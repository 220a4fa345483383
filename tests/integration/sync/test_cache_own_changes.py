# Generated from tests/integration/aio/test_cache_own_changes.py by `make sync`: do not edit.
"""A block reads what it has changed before its COMMIT: that neither fails the block nor delays it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

import psycopg
import pytest

from nexgent_db import Database
from nexgent_db.errors import DatabaseError
from nexgent_db.models import SOL_MINT
from nexgent_db.settings import Settings
from nexgent_db.sync.cache import writer
from tests.integration.sync.factories import Owner, funded_owner
from tests.support.faults.unreadable import times_unchecked
from tests.support.servers.valkey_server import ValkeyServer

LOCK_TIMEOUT_S: Final = 20.0
"""For so long the block would wait, and then fail."""
NO_DELAY_S: Final = 10.0


@pytest.fixture
def db(fresh_database_url: str, server: ValkeyServer) -> Iterator[Database]:
    settings = replace(
        Settings.from_url(fresh_database_url), redis_url=server.url, lock_timeout_s=LOCK_TIMEOUT_S, pool_max_size=2
    )
    database = Database(settings)
    database.cache._recovery.recover_soon = lambda: None  # type: ignore[method-assign]  # when the test says
    with database:
        yield database


@pytest.fixture
def owner(db: Database) -> Owner:
    owner = funded_owner(db)
    db.trades.buy(owner.buy("1", "1000"))
    assert_read_right(db, owner)
    return owner


def assert_read_right(db: Database, owner: Owner) -> None:
    (agent,) = [each.agent for each in db.agents.find_by_user_id(owner.user_id)]
    flags = db.cache.trading_flags(owner.agent_id)
    assert flags.automated_trading_simulation == agent.automated_trading_simulation
    positions = db.positions.list_by_agent(owner.agent_id)
    assert db.cache.positions_of_agent(owner.agent_id) == positions
    balances = db.balances.list_by_wallet(owner.agent_id, owner.wallet_address)
    found = db.cache.balances_of_wallet(owner.agent_id, owner.wallet_address)
    assert found == sorted(balances, key=lambda row: row.token_address)


def assert_right_again_from_the_cache(db: Database, owner: Owner) -> None:
    assert db.cache._recovery.recover()
    assert_read_right(db, owner)
    hits = db.cache.metrics().hits
    assert_read_right(db, owner)
    assert (db.cache.metrics().hits, db.cache.metrics().openings) == (hits + 3, 0)


@contextmanager
def locked(db: Database, table: str, mode: str = "ACCESS EXCLUSIVE") -> Iterator[None]:
    """By another transaction, as a migration does."""
    with psycopg.connect(db.settings.conninfo) as psql:
        psql.execute(f"LOCK TABLE {table} IN {mode} MODE".encode())
        yield
        psql.rollback()


@contextmanager
def renamed(db: Database, table: str) -> Iterator[None]:
    with psycopg.connect(db.settings.conninfo, autocommit=True) as psql:
        psql.execute(f"ALTER TABLE {table} RENAME TO {table}_elsewhere".encode())
        yield
        psql.execute(f"ALTER TABLE {table}_elsewhere RENAME TO {table}".encode())


@pytest.mark.parametrize("table", ["agent_balances", "agent_positions"])
def test_agent_change_does_not_wait_for_locked_table(db: Database, owner: Owner, table: str) -> None:
    with locked(db, table):
        began = time.monotonic()
        agent = db.agents.set_automated_trading(owner.agent_id, "simulation", False)
        assert time.monotonic() - began < NO_DELAY_S
        assert agent is not None
        assert not agent.automated_trading_simulation
        flags = db.cache.trading_flags(owner.agent_id)
        assert (flags.source, flags.automated_trading_simulation) == ("database", False)
    assert_right_again_from_the_cache(db, owner)


def test_deposit_in_transaction_does_not_wait_for_locked_positions(db: Database, owner: Owner) -> None:
    with locked(db, "agent_positions"):
        began = time.monotonic()
        with db.transaction() as tx:
            tx.trades.deposit(owner.deposit("5"))
        assert time.monotonic() - began < NO_DELAY_S
    assert_right_again_from_the_cache(db, owner)


def test_unreadable_changes_are_left_to_outbox(db: Database, owner: Owner) -> None:
    with renamed(db, "agent_balances"):
        agent = db.agents.set_automated_trading(owner.agent_id, "simulation", False)
        assert agent is not None
        assert not agent.automated_trading_simulation
        with db.transaction(pipeline=True) as tx:
            tx.agents.update_config(owner.agent_id, {"signals": {"minScore": 4}})
        config = db.cache.config(owner.agent_id)
        assert config is not None
        assert config.signals.min_score == 4
    assert_right_again_from_the_cache(db, owner)


def test_row_changed_by_many_trades_is_read_once_with_its_last_version(db: Database, owner: Owner) -> None:
    with db.transaction() as tx:
        tx.trades.deposit(owner.deposit("9"))
        for token in ("TokenA", "TokenB", "TokenC"):
            tx.trades.buy(owner.buy("1", "10", token=token))
        sold = tx.trades.sell(owner.sell("10", "2", token="TokenA"))
        changes = db.cache._writer.changes_of(tx._plain_session, 0)
    assert changes is not None
    rows = [(change.entity, change.token_address, change.deleted) for change, *_ in changes]
    assert sorted(rows) == [
        ("balance", SOL_MINT, False),
        *(("balance", token, False) for token in ("TokenA", "TokenB", "TokenC")),
        ("position", "TokenA", True),
        ("position", "TokenB", False),
        ("position", "TokenC", False),
    ]
    versions = [change.version for change, *_ in changes]
    assert versions == sorted(versions)
    of_sol = [balance for _, _, balance, _ in changes if balance is not None and balance.token_address == SOL_MINT]
    assert of_sol == [balance for balance in sold.balances if balance.token_address == SOL_MINT]


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
@pytest.mark.parametrize("readable", [True, False])
def test_transaction_timeouts_are_restored_after_reading_changes(
    db: Database, owner: Owner, isolation: Any, readable: bool
) -> None:
    def lock_timeout(tx: Any) -> str:
        cursor = tx._connection.execute("SHOW lock_timeout")
        return str(cursor.fetchone()[0])

    def read(tx: Any) -> None:
        changes = db.cache._writer.changes_of(tx._plain_session, 0)
        assert (changes is not None) == readable

    with db.transaction(isolation=isolation, lock_timeout_s=3) as tx:
        tx.agents.set_automated_trading(owner.agent_id, "simulation", False)
        if readable:
            read(tx)
        else:
            with locked(db, "agent_balances"):
                read(tx)
        assert lock_timeout(tx) == "3s"
        tx.agents.set_automated_trading(owner.agent_id, "live", False)
    with db.transaction() as tx:
        assert lock_timeout(tx) == f"{LOCK_TIMEOUT_S:.0f}s"
    (agent,) = [each.agent for each in db.agents.find_by_user_id(owner.user_id)]
    assert (agent.automated_trading_simulation, agent.automated_trading_live) == (False, False)


def test_aborted_transaction_is_not_taken_for_committed(
    db: Database, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_BACK", b"ROLLBACK TO SAVEPOINT that_is_not_there")
    with locked(db, "agent_balances"), pytest.raises(DatabaseError):
        db.agents.set_automated_trading(owner.agent_id, "simulation", False)
    assert db.cache.trading_flags(owner.agent_id).automated_trading_simulation
    assert_read_right(db, owner)


def test_unreadable_row_does_not_block_other_rows(
    db: Database, owner: Owner, altering_url: Callable[[str], str]
) -> None:
    with (
        psycopg.connect(altering_url(db.settings.conninfo), autocommit=True) as psql,
        times_unchecked(psql, "agent_positions"),
    ):
        psql.execute("UPDATE agent_positions SET last_dca_time = 'infinity'")
        db.trades.deposit(owner.deposit("5"))
        while db.cache.maintenance.run_once():
            pass
        assert db.cache.maintenance.waiting() == 0
        psql.execute("UPDATE agent_positions SET last_dca_time = NULL")
    while db.cache.maintenance.run_once():
        pass
    assert_right_again_from_the_cache(db, owner)
