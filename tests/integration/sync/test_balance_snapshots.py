# Generated from tests/integration/aio/test_balance_snapshots.py by `make sync`: do not edit.
"""Balance snapshots: upserts, time series, deletion of old ones."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from nexgent_db import Database, Settings
from nexgent_db.errors import ForeignKeyViolation, InvalidInput
from nexgent_db.models import BalanceSnapshotOrder
from tests.integration.sync.factories import Owner, new_owner
from tests.support.faults.concurrently import concurrently

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


def test_second_snapshot_of_hour_replaces_first(db: Database, owner: Owner) -> None:
    first = db.balance_snapshots.upsert(_order(owner, NOON, "1.000000001"))
    second = db.balance_snapshots.upsert(_order(owner, NOON, "2"))
    assert (first.id, first.portfolio_balance_sol) == (second.id, Decimal("1.000000001"))
    assert second.portfolio_balance_sol == 2
    assert second.updated_at > first.updated_at
    assert db.balance_snapshots.find_latest(owner.agent_id, owner.wallet_address) == second


def test_concurrent_snapshots_leave_one(db: Database, owner: Owner) -> None:
    orders = [_order(owner, NOON, str(number)) for number in range(4)]
    made = concurrently([lambda order=order: db.balance_snapshots.upsert(order) for order in orders])
    assert len({snapshot.id for snapshot in made}) == 1


def test_many_snapshots_are_stored_atomically(db: Database, owner: Owner) -> None:
    orders = [_order(owner, NOON + timedelta(hours=hour), str(hour)) for hour in range(500)]
    again = [_order(owner, NOON, "7"), _order(owner, NOON, "8")]
    assert db.balance_snapshots.create_many([*orders, *again]) == 500
    listed = db.balance_snapshots.list_hourly(owner.agent_id, owner.wallet_address, NOON)
    assert [snapshot.sol_balance for snapshot in listed] == [8, *range(1, 500)]
    stranger = new_owner(db)
    foreign = _order(owner, NOON, "9", agent_id=stranger.agent_id)
    with pytest.raises(ForeignKeyViolation):
        db.balance_snapshots.create_many([_order(owner, NOON, "10"), foreign])
    with pytest.raises(InvalidInput):
        db.balance_snapshots.create_many(orders * 21)
    latest = db.balance_snapshots.list_hourly(owner.agent_id, owner.wallet_address, NOON, limit=1)
    assert latest[0].sol_balance == 8


def test_hourly_list_starts_at_since_and_daily_list_is_at_midnight_utc(
    db: Database, owner: Owner, database_url: str
) -> None:
    db.balance_snapshots.create_many([_order(owner, NOON + timedelta(hours=hour)) for hour in range(60)])
    mine = owner.agent_id, owner.wallet_address
    since = NOON + timedelta(hours=36)
    hourly = db.balance_snapshots.list_hourly(*mine, since)
    assert [snapshot.snapshot_timestamp for snapshot in hourly] == [since + timedelta(hours=hour) for hour in range(24)]
    midnights = [datetime(2025, 5, day, tzinfo=UTC) for day in (2, 3)]
    options = f"{conninfo_to_dict(database_url).get('options', '')} -cTimeZone=Asia/Kathmandu"
    elsewhere = replace(Settings.from_url(database_url), conninfo=make_conninfo(database_url, options=options))
    with Database(elsewhere) as far:
        for database in (db, far):
            daily = database.balance_snapshots.list_daily(*mine)
            assert [snapshot.snapshot_timestamp for snapshot in daily] == midnights


def test_old_snapshots_are_deleted_in_bounded_batches(fresh_database_url: str) -> None:
    with Database(fresh_database_url) as db:
        owner = new_owner(db)
        db.balance_snapshots.create_many([_order(owner, NOON + timedelta(hours=hour)) for hour in range(25)])
        before = NOON + timedelta(hours=20)
        gone = concurrently([lambda: db.balance_snapshots.delete_older_than(before, limit=8)] * 2)
        assert all(number <= 8 for number in gone)
        while (number := db.balance_snapshots.delete_older_than(before, limit=8)) == 8:
            pass
        assert number < 8
        left = db.balance_snapshots.list_hourly(owner.agent_id, owner.wallet_address, NOON)
        assert [snapshot.snapshot_timestamp for snapshot in left] == [
            before + timedelta(hours=hour) for hour in range(5)
        ]


def test_snapshot_of_another_agents_wallet_is_refused(db: Database, owner: Owner) -> None:
    stranger = new_owner(db)
    with pytest.raises(ForeignKeyViolation) as refused:
        db.balance_snapshots.upsert(_order(owner, NOON, agent_id=stranger.agent_id))
    assert refused.value.constraint == "agent_balance_snapshots_agent_id_wallet_address_fkey"
