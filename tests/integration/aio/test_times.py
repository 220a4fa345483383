"""Times outside of Python's calendar: no caller and no other program can store one, so every row can be read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from psycopg import sql

from nexgent_db import AsyncDatabase
from nexgent_db.errors import CheckViolation, InvalidInput
from tests.integration.aio.factories import Owner, balance_of, new_owner
from tests.support.faults.unreadable import BEYOND, times_unchecked

WEST = timezone(timedelta(hours=-5))
EAST = timezone(timedelta(hours=5))


@pytest_asyncio.fixture
async def db(fresh_database_url: str) -> AsyncIterator[AsyncDatabase]:
    async with AsyncDatabase(fresh_database_url) as database:
        yield database


@pytest_asyncio.fixture
async def trader(db: AsyncDatabase) -> Owner:
    """An agent with 100 SOL and a position of 10 tokens."""
    owner = await new_owner(db)
    await db.trades.deposit(owner.deposit("101"))
    await db.trades.buy(owner.buy("1", "10"))
    return owner


async def test_every_stored_time_has_a_check(db: AsyncDatabase, fresh_database_url: str) -> None:
    """Of each table, but those that only the package itself reads and writes: their times are the server's clock."""
    with psycopg.connect(fresh_database_url) as connection:
        columns = connection.execute(
            "SELECT c.relname, a.attname, coalesce(pg_get_constraintdef(k.oid), '') FROM pg_attribute AS a"
            " JOIN pg_class AS c ON c.oid = a.attrelid AND c.relkind = 'r'"
            " LEFT JOIN pg_constraint AS k ON k.conrelid = c.oid AND k.conname = c.relname || '_times_check'"
            " WHERE c.relnamespace = 'public'::regnamespace AND a.atttypid = 'timestamptz'::regtype"
            " AND c.relname !~ '^_'"
        ).fetchall()
    assert len(columns) > 25
    unchecked = [(table, column) for table, column, check in columns if column not in check]
    assert [
        each for each in unchecked if each[0] not in ("cache_outbox", "cache_outbox_changes", "ledger_purges")
    ] == []


@pytest.mark.parametrize("value", BEYOND)
@pytest.mark.usefixtures("trader")
async def test_other_programs_cannot_store_one(db: AsyncDatabase, fresh_database_url: str, value: str) -> None:
    columns = {"users": "locked_until", "agents": "updated_at", "agent_positions": "last_dca_time"}
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        for table, column in columns.items():
            statement = sql.SQL("UPDATE {} SET {} = {}").format(
                sql.Identifier(table), sql.Identifier(column), sql.Literal(value)
            )
            with pytest.raises(psycopg.errors.CheckViolation, match=f"{table}_times_check"):
                connection.execute(statement)
    assert len(await db.users.list(limit=10)) == 1


async def test_trade_over_such_a_row_changes_nothing(db: AsyncDatabase, trader: Owner, fresh_database_url: str) -> None:
    """A row of a time before its table had the check. The trade would be committed, and its result not be readable."""
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        with times_unchecked(connection, "agent_positions"):
            connection.execute("UPDATE agent_positions SET last_dca_time = 'infinity'")
        with pytest.raises(CheckViolation) as refused:
            await db.trades.take_profit(trader.take_profit("1", "1"))
        assert (refused.value.table, refused.value.constraint) == ("agent_positions", "agent_positions_times_check")
        assert await balance_of(db, trader) == 100
        assert len(await db.transactions.list_by_agent(trader.agent_id)) == 2
        connection.execute("UPDATE agent_positions SET last_dca_time = NULL")
    assert (await db.trades.take_profit(trader.take_profit("1", "1"))).position is not None


@pytest.mark.parametrize(
    "time",
    [
        datetime.max.replace(tzinfo=UTC),
        datetime.max.replace(tzinfo=WEST),
        datetime.min.replace(tzinfo=UTC),
        datetime.min.replace(tzinfo=EAST),
        datetime(9999, 12, 31, tzinfo=EAST),
    ],
    ids=str,
)
async def test_time_beyond_calendar_is_refused_before_it_is_sent(
    db: AsyncDatabase, trader: Owner, time: datetime
) -> None:
    calls: list[Any] = [
        lambda: db.trades.deposit(trader.deposit("1", transaction_time=time)),
        lambda: db.api_keys.create(trader.user_id, "a key", expires_at=time),
    ]
    for call in calls:
        with pytest.raises(InvalidInput):
            await call()
    assert await balance_of(db, trader) == 100


@pytest.mark.parametrize(
    "time", [datetime(1, 1, 2, tzinfo=UTC), datetime(9998, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)]
)
async def test_first_and_last_time_come_back(db: AsyncDatabase, trader: Owner, time: datetime) -> None:
    result = await db.trades.deposit(trader.deposit("1", transaction_time=time))
    assert result.transaction.transaction_time == time
    assert time in [row.transaction_time for row in await db.transactions.list_by_agent(trader.agent_id)]
