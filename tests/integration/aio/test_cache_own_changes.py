"""A block reads what it has changed before its COMMIT: that neither fails the block nor delays it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

import psycopg
import pytest
import pytest_asyncio

from nexgent_db import AsyncDatabase
from nexgent_db.aio.cache import writer
from nexgent_db.errors import DatabaseError
from nexgent_db.models import SOL_MINT
from nexgent_db.settings import Settings
from tests.integration.aio.factories import Owner, funded_owner
from tests.support.faults.unreadable import times_unchecked
from tests.support.servers.valkey_server import ValkeyServer

LOCK_TIMEOUT_S: Final = 20.0
"""For so long the block would wait, and then fail."""
NO_DELAY_S: Final = 10.0


@pytest_asyncio.fixture
async def db(fresh_database_url: str, server: ValkeyServer) -> AsyncIterator[AsyncDatabase]:
    settings = replace(
        Settings.from_url(fresh_database_url), redis_url=server.url, lock_timeout_s=LOCK_TIMEOUT_S, pool_max_size=2
    )
    database = AsyncDatabase(settings)
    database.cache._recovery.recover_soon = lambda: None  # type: ignore[method-assign]  # when the test says
    async with database:
        yield database


@pytest_asyncio.fixture
async def owner(db: AsyncDatabase) -> Owner:
    owner = await funded_owner(db)
    await db.trades.buy(owner.buy("1", "1000"))
    await assert_read_right(db, owner)
    return owner


async def assert_read_right(db: AsyncDatabase, owner: Owner) -> None:
    (agent,) = [each.agent for each in await db.agents.find_by_user_id(owner.user_id)]
    flags = await db.cache.trading_flags(owner.agent_id)
    assert flags.automated_trading_simulation == agent.automated_trading_simulation
    positions = await db.positions.list_by_agent(owner.agent_id)
    assert await db.cache.positions_of_agent(owner.agent_id) == positions
    balances = await db.balances.list_by_wallet(owner.agent_id, owner.wallet_address)
    found = await db.cache.balances_of_wallet(owner.agent_id, owner.wallet_address)
    assert found == sorted(balances, key=lambda row: row.token_address)


async def assert_right_again_from_the_cache(db: AsyncDatabase, owner: Owner) -> None:
    assert await db.cache._recovery.recover()
    await assert_read_right(db, owner)
    hits = db.cache.metrics().hits
    await assert_read_right(db, owner)
    assert (db.cache.metrics().hits, db.cache.metrics().openings) == (hits + 3, 0)


@contextmanager
def locked(db: AsyncDatabase, table: str, mode: str = "ACCESS EXCLUSIVE") -> Iterator[None]:
    """By another transaction, as a migration does."""
    with psycopg.connect(db.settings.conninfo) as psql:
        psql.execute(f"LOCK TABLE {table} IN {mode} MODE".encode())
        yield
        psql.rollback()


@contextmanager
def renamed(db: AsyncDatabase, table: str) -> Iterator[None]:
    with psycopg.connect(db.settings.conninfo, autocommit=True) as psql:
        psql.execute(f"ALTER TABLE {table} RENAME TO {table}_elsewhere".encode())
        yield
        psql.execute(f"ALTER TABLE {table}_elsewhere RENAME TO {table}".encode())


@pytest.mark.parametrize("table", ["agent_balances", "agent_positions"])
async def test_agent_change_does_not_wait_for_locked_table(db: AsyncDatabase, owner: Owner, table: str) -> None:
    with locked(db, table):
        began = time.monotonic()
        agent = await db.agents.set_automated_trading(owner.agent_id, "simulation", False)
        assert time.monotonic() - began < NO_DELAY_S
        assert agent is not None
        assert not agent.automated_trading_simulation
        flags = await db.cache.trading_flags(owner.agent_id)
        assert (flags.source, flags.automated_trading_simulation) == ("database", False)
    await assert_right_again_from_the_cache(db, owner)


async def test_deposit_in_transaction_does_not_wait_for_locked_positions(db: AsyncDatabase, owner: Owner) -> None:
    with locked(db, "agent_positions"):
        began = time.monotonic()
        async with db.transaction() as tx:
            await tx.trades.deposit(owner.deposit("5"))
        assert time.monotonic() - began < NO_DELAY_S
    await assert_right_again_from_the_cache(db, owner)


async def test_unreadable_changes_are_left_to_outbox(db: AsyncDatabase, owner: Owner) -> None:
    with renamed(db, "agent_balances"):
        agent = await db.agents.set_automated_trading(owner.agent_id, "simulation", False)
        assert agent is not None
        assert not agent.automated_trading_simulation
        async with db.transaction(pipeline=True) as tx:
            await tx.agents.update_config(owner.agent_id, {"signals": {"minScore": 4}})
        config = await db.cache.config(owner.agent_id)
        assert config is not None
        assert config.signals.min_score == 4
    await assert_right_again_from_the_cache(db, owner)


async def test_row_changed_by_many_trades_is_read_once_with_its_last_version(db: AsyncDatabase, owner: Owner) -> None:
    async with db.transaction() as tx:
        await tx.trades.deposit(owner.deposit("9"))
        for token in ("TokenA", "TokenB", "TokenC"):
            await tx.trades.buy(owner.buy("1", "10", token=token))
        sold = await tx.trades.sell(owner.sell("10", "2", token="TokenA"))
        changes = await db.cache._writer.changes_of(tx._plain_session, 0)
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
async def test_transaction_timeouts_are_restored_after_reading_changes(
    db: AsyncDatabase, owner: Owner, isolation: Any, readable: bool
) -> None:
    async def lock_timeout(tx: Any) -> str:
        cursor = await tx._connection.execute("SHOW lock_timeout")
        return str((await cursor.fetchone())[0])

    async def read(tx: Any) -> None:
        changes = await db.cache._writer.changes_of(tx._plain_session, 0)
        assert (changes is not None) == readable

    async with db.transaction(isolation=isolation, lock_timeout_s=3) as tx:
        await tx.agents.set_automated_trading(owner.agent_id, "simulation", False)
        if readable:
            await read(tx)
        else:
            with locked(db, "agent_balances"):
                await read(tx)
        assert await lock_timeout(tx) == "3s"
        await tx.agents.set_automated_trading(owner.agent_id, "live", False)
    async with db.transaction() as tx:
        assert await lock_timeout(tx) == f"{LOCK_TIMEOUT_S:.0f}s"
    (agent,) = [each.agent for each in await db.agents.find_by_user_id(owner.user_id)]
    assert (agent.automated_trading_simulation, agent.automated_trading_live) == (False, False)


async def test_aborted_transaction_is_not_taken_for_committed(
    db: AsyncDatabase, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_BACK", b"ROLLBACK TO SAVEPOINT that_is_not_there")
    with locked(db, "agent_balances"), pytest.raises(DatabaseError):
        await db.agents.set_automated_trading(owner.agent_id, "simulation", False)
    assert (await db.cache.trading_flags(owner.agent_id)).automated_trading_simulation
    await assert_read_right(db, owner)


async def test_unreadable_row_does_not_block_other_rows(
    db: AsyncDatabase, owner: Owner, altering_url: Callable[[str], str]
) -> None:
    with (
        psycopg.connect(altering_url(db.settings.conninfo), autocommit=True) as psql,
        times_unchecked(psql, "agent_positions"),
    ):
        psql.execute("UPDATE agent_positions SET last_dca_time = 'infinity'")
        await db.trades.deposit(owner.deposit("5"))
        while await db.cache.maintenance.run_once():
            pass
        assert await db.cache.maintenance.waiting() == 0
        psql.execute("UPDATE agent_positions SET last_dca_time = NULL")
    while await db.cache.maintenance.run_once():
        pass
    await assert_right_again_from_the_cache(db, owner)
