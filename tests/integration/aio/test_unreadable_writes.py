"""Writes with unreadable rows: the error says that the write was committed, or the transaction is rolled back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import pytest_asyncio

from nexgent_db import AsyncDatabase, Settings
from nexgent_db.errors import CommittedButUnread, UnreadableValue
from nexgent_db.models import BalanceSnapshotOrder, SignalOrder
from tests.integration.aio.factories import Owner, new_owner
from tests.support.faults.unreadable import unreadable


@pytest_asyncio.fixture
async def db(fresh_database_url: str) -> AsyncIterator[AsyncDatabase]:
    """A database of the test's own."""
    async with AsyncDatabase(fresh_database_url) as database:
        yield database


@dataclass(frozen=True)
class Write:
    """A write, a column that it returns, and a condition on the table's rows that holds for what it wrote."""

    name: str
    make: Callable[[Any, Owner], Awaitable[None]]
    table: str
    column: str
    wrote: str


SIGNAL = SignalOrder(token_address="T", signal_type="buy", signal_strength=1)
AT = datetime(2026, 1, 1, tzinfo=UTC)


def snapshot(owner: Owner) -> BalanceSnapshotOrder:
    figures = dict.fromkeys(("portfolio_balance_sol", "sol_balance", "positions_value_sol", "unrealized_pnl_sol"), "1")
    at: dict[str, Any] = {"wallet_address": owner.wallet_address, "snapshot_timestamp": AT, **figures}
    return BalanceSnapshotOrder(agent_id=owner.agent_id, **at)


async def create_user(on: Any, owner: Owner) -> None:
    await on.users.create("new@x.org")


async def update_user(on: Any, owner: Owner) -> None:
    await on.users.update(owner.user_id, email="new@x.org")


async def fail_login(on: Any, owner: Owner) -> None:
    await on.users.record_failed_login(owner.user_id)


async def create_agent(on: Any, owner: Owner) -> None:
    await on.agents.create(owner.user_id, "new")


async def update_agent(on: Any, owner: Owner) -> None:
    await on.agents.update(owner.agent_id, name="new")


async def stop_trading(on: Any, owner: Owner) -> None:
    await on.agents.set_automated_trading(owner.agent_id, "live", False)


async def create_wallet(on: Any, owner: Owner) -> None:
    await on.wallets.create("W", owner.agent_id, "live")


async def create_signal(on: Any, owner: Owner) -> None:
    await on.signals.create(SIGNAL)


async def create_signals(on: Any, owner: Owner) -> None:
    await on.signals.create_many_of(owner.user_id, [SIGNAL])


async def upsert_snapshot(on: Any, owner: Owner) -> None:
    await on.balance_snapshots.upsert(snapshot(owner))


async def create_key(on: Any, owner: Owner) -> None:
    await on.api_keys.create(owner.user_id, "new")


STOP_TRADING = Write("agents.set_automated_trading", stop_trading, "agents", "updated_at", "NOT automated_trading_live")
WRITES = [
    Write("users.create", create_user, "users", "created_at", "email = 'new@x.org'"),
    Write("users.update", update_user, "users", "created_at", "email = 'new@x.org'"),
    Write("users.record_failed_login", fail_login, "users", "created_at", "failed_login_attempts = 1"),
    Write("agents.create", create_agent, "agents", "created_at", "name = 'new'"),
    Write("agents.update", update_agent, "agents", "updated_at", "name = 'new'"),
    STOP_TRADING,
    Write("wallets.create", create_wallet, "agent_wallets", "created_at", "wallet_address = 'W'"),
    Write("signals.create", create_signal, "trading_signals", "created_at", "token_address = 'T'"),
    Write("signals.create_many", create_signals, "trading_signals", "updated_at", "token_address = 'T'"),
    Write("balance_snapshots.upsert", upsert_snapshot, "agent_balance_snapshots", "snapshot_timestamp", "true"),
    Write("api_keys.store", create_key, "api_keys", "last_used_at", "name = 'new'"),
]


def written(url: str, write: Write) -> bool:
    with psycopg.connect(url) as connection:
        found = connection.execute(f"SELECT count(*) FROM {write.table} WHERE {write.wrote}").fetchone()
    assert found is not None
    return bool(found[0])


@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.name)
async def test_unreadable_committed_write_raises(db: AsyncDatabase, fresh_database_url: str, write: Write) -> None:
    owner = await new_owner(db)
    assert not written(fresh_database_url, write)
    with unreadable(fresh_database_url, write.table, write.column), pytest.raises(CommittedButUnread) as caught:
        await write.make(db, owner)
    assert (caught.value.query, caught.value.request_id) == (write.name, None)
    assert str(caught.value) == (
        f"{write.name} was committed, but its result could not be read:"
        f" column {write.column} of table {write.table} holds a value that Python has no form for"
    )
    cause = caught.value.__cause__
    assert isinstance(cause, UnreadableValue)
    assert (cause.query, cause.column) == (write.name, write.column)
    assert isinstance(cause.__cause__, psycopg.DataError)
    assert written(fresh_database_url, write)


@pytest.mark.parametrize("pipeline", [False, True], ids=["block", "pipeline"])
@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.name)
async def test_unreadable_write_in_transaction_is_rolled_back(
    db: AsyncDatabase, fresh_database_url: str, write: Write, pipeline: bool
) -> None:
    owner = await new_owner(db)
    with unreadable(fresh_database_url, write.table, write.column):
        with pytest.raises(UnreadableValue) as caught:
            async with db.transaction(pipeline=pipeline) as tx:
                await write.make(tx, owner)
        assert (caught.value.query, caught.value.column) == (write.name, write.column)
        assert not written(fresh_database_url, write)
    await write.make(db, owner)
    assert written(fresh_database_url, write)


async def test_unreadable_cached_write_is_rolled_back(fresh_database_url: str, redis_url: str) -> None:
    settings = replace(Settings.from_url(fresh_database_url), redis_url=redis_url, cache_prefix=f"{uuid4()}:")
    async with AsyncDatabase(settings) as cached:
        owner = await new_owner(cached)
        with unreadable(fresh_database_url, "agents", "updated_at"), pytest.raises(UnreadableValue):
            await STOP_TRADING.make(cached, owner)
        assert not written(fresh_database_url, STOP_TRADING)
