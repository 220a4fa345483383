"""Balance snapshots: upserts, time series, deletion of old ones."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from nexgent_db import AsyncDatabase, Settings
from nexgent_db.errors import ForeignKeyViolation, InvalidInput
from nexgent_db.models import BalanceSnapshotOrder
from tests.integration.aio.factories import Owner, new_owner
from tests.support.faults.concurrently import concurrently_async

NOON = datetime(2025, 5, 1, 12, tzinfo=UTC)


def _order(owner: Owner, moment: datetime, sol: str = "1", **more: Any) -> BalanceSnapshotOrder:
    content: dict[str, Any] = {
        "agent_id": owner.agent_id,
        "wallet_address": owner.wallet_address,
        "snapshot_timestamp": moment,
        "portfolio_balance_sol": sol,
        "sol_balance": sol,
        "positions_value_sol": "0",
        "unrealized_pnl_sol": "-0.000000001",
    }
    return BalanceSnapshotOrder(**content | more)


async def test_second_snapshot_of_hour_replaces_first(db: AsyncDatabase, owner: Owner) -> None:
    first = await db.balance_snapshots.upsert(_order(owner, NOON, "1.000000001"))
    second = await db.balance_snapshots.upsert(_order(owner, NOON, "2"))
    assert (first.id, first.portfolio_balance_sol) == (second.id, Decimal("1.000000001"))
    assert second.portfolio_balance_sol == 2
    assert second.updated_at > first.updated_at
    assert await db.balance_snapshots.find_latest(owner.agent_id, owner.wallet_address) == second


async def test_concurrent_snapshots_leave_one(db: AsyncDatabase, owner: Owner) -> None:
    orders = [_order(owner, NOON, str(number)) for number in range(4)]
    made = await concurrently_async([lambda order=order: db.balance_snapshots.upsert(order) for order in orders])
    assert len({snapshot.id for snapshot in made}) == 1


async def test_many_snapshots_are_stored_atomically(db: AsyncDatabase, owner: Owner) -> None:
    orders = [_order(owner, NOON + timedelta(hours=hour), str(hour)) for hour in range(500)]
    again = [_order(owner, NOON, "7"), _order(owner, NOON, "8")]
    assert await db.balance_snapshots.create_many([*orders, *again]) == 500
    listed = await db.balance_snapshots.list_hourly(owner.agent_id, owner.wallet_address, NOON)
    assert [snapshot.sol_balance for snapshot in listed] == [8, *range(1, 500)]
    stranger = await new_owner(db)
    foreign = _order(owner, NOON, "9", agent_id=stranger.agent_id)
    with pytest.raises(ForeignKeyViolation):
        await db.balance_snapshots.create_many([_order(owner, NOON, "10"), foreign])
    with pytest.raises(InvalidInput):
        await db.balance_snapshots.create_many(orders * 21)
    latest = await db.balance_snapshots.list_hourly(owner.agent_id, owner.wallet_address, NOON, limit=1)
    assert latest[0].sol_balance == 8


async def test_hourly_list_starts_at_since_and_daily_list_is_at_midnight_utc(
    db: AsyncDatabase, owner: Owner, database_url: str
) -> None:
    await db.balance_snapshots.create_many([_order(owner, NOON + timedelta(hours=hour)) for hour in range(60)])
    mine = owner.agent_id, owner.wallet_address
    since = NOON + timedelta(hours=36)
    hourly = await db.balance_snapshots.list_hourly(*mine, since)
    assert [snapshot.snapshot_timestamp for snapshot in hourly] == [since + timedelta(hours=hour) for hour in range(24)]
    midnights = [datetime(2025, 5, day, tzinfo=UTC) for day in (2, 3)]
    options = f"{conninfo_to_dict(database_url).get('options', '')} -cTimeZone=Asia/Kathmandu"
    elsewhere = replace(Settings.from_url(database_url), conninfo=make_conninfo(database_url, options=options))
    async with AsyncDatabase(elsewhere) as far:
        for database in (db, far):
            daily = await database.balance_snapshots.list_daily(*mine)
            assert [snapshot.snapshot_timestamp for snapshot in daily] == midnights


async def test_old_snapshots_are_deleted_in_bounded_batches(fresh_database_url: str) -> None:
    async with AsyncDatabase(fresh_database_url) as db:
        owner = await new_owner(db)
        await db.balance_snapshots.create_many([_order(owner, NOON + timedelta(hours=hour)) for hour in range(25)])
        before = NOON + timedelta(hours=20)
        gone = await concurrently_async([lambda: db.balance_snapshots.delete_older_than(before, limit=8)] * 2)
        assert all(number <= 8 for number in gone)
        while (number := await db.balance_snapshots.delete_older_than(before, limit=8)) == 8:
            pass
        assert number < 8
        left = await db.balance_snapshots.list_hourly(owner.agent_id, owner.wallet_address, NOON)
        assert [snapshot.snapshot_timestamp for snapshot in left] == [
            before + timedelta(hours=hour) for hour in range(5)
        ]


async def test_snapshot_of_another_agents_wallet_is_refused(db: AsyncDatabase, owner: Owner) -> None:
    stranger = await new_owner(db)
    with pytest.raises(ForeignKeyViolation) as refused:
        await db.balance_snapshots.upsert(_order(owner, NOON, agent_id=stranger.agent_id))
    assert refused.value.constraint == "agent_balance_snapshots_agent_id_wallet_address_fkey"
