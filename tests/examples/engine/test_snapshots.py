"""The snapshot job on real servers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest

from nexgent_db import AsyncDatabase
from nexgent_db.models import AgentBalanceSnapshot, AgentWithWallets, TokenPrice
from tests.examples.engine import snapshots
from tests.examples.engine.snapshots import snapshot_agents, take_snapshots
from tests.examples.engine.support import TOKENS, bought, trips_of
from tests.integration.aio.factories import Owner, funded_owner, new_owner

HOUR = datetime(2026, 5, 1, 12, tzinfo=UTC)


async def agents_of(db: AsyncDatabase, owners: list[Owner]) -> list[AgentWithWallets]:
    found = [await db.agents.find_by_id(owner.agent_id) for owner in owners]
    return [agent for agent in found if agent is not None]


async def priced(db: AsyncDatabase, token: str, price_sol: str) -> None:
    price = TokenPrice(
        token_address=token,
        price_sol=Decimal(price_sol),
        price_usd=Decimal(1),
        last_updated=datetime.now(UTC),
    )
    assert await db.cache.prices.set(price)


async def latest(db: AsyncDatabase, owner: Owner) -> AgentBalanceSnapshot:
    found = await db.balance_snapshots.find_latest(owner.agent_id, owner.wallet_address)
    assert found is not None
    return found


async def test_snapshot_is_sol_and_value_of_positions(db: AsyncDatabase) -> None:
    owner, empty = await funded_owner(db), await new_owner(db)
    await bought(db, owner, *TOKENS[:2])
    await db.trades.take_profit(owner.take_profit("500", "0.9", TOKENS[0]))
    await priced(db, TOKENS[0], "0.002")  # the other token has no price
    assert await snapshot_agents(db, await agents_of(db, [owner, empty]), HOUR) == 2
    found = await latest(db, owner)
    assert (found.snapshot_timestamp, found.sol_balance) == (HOUR, Decimal("98.9"))
    assert found.positions_value_sol == 2  # 500 tokens at 0.002 SOL, and 1 SOL as it was paid
    assert found.unrealized_pnl_sol == Decimal("0.5")  # half of the first position cost 0.5 SOL
    assert found.portfolio_balance_sol == Decimal("100.9")
    assert (await latest(db, empty)).portfolio_balance_sol == 0


async def test_value_of_the_smallest_and_largest_figures_is_exact(db: AsyncDatabase) -> None:
    owner = await new_owner(db)
    await db.trades.deposit(owner.deposit("12345678901234567890.123456789012345678"))
    await db.trades.buy(owner.buy("0.000000000000000001", "9283556390534.000000000000000001", TOKENS[0]))
    await priced(db, TOKENS[0], "0.000000000001")
    await snapshot_agents(db, await agents_of(db, [owner]), HOUR)
    found = await latest(db, owner)
    assert found.positions_value_sol == Decimal("9.283556390534")
    assert found.portfolio_balance_sol == Decimal("12345678901234567899.407013179546345677")


async def test_repeated_hour_replaces_its_snapshot(db: AsyncDatabase) -> None:
    owner = await funded_owner(db)
    agents = await agents_of(db, [owner])
    await snapshot_agents(db, agents, HOUR)
    await db.trades.withdraw(owner.withdraw("40"))
    await snapshot_agents(db, agents, HOUR)
    await snapshot_agents(db, agents, HOUR + timedelta(hours=1))
    listed = await db.balance_snapshots.list_hourly(owner.agent_id, owner.wallet_address, HOUR)
    assert [each.sol_balance for each in listed] == [60, 60]


@pytest.mark.parametrize("page_size", [1, 2, 500])
async def test_every_wallet_of_every_user_has_a_snapshot(db: AsyncDatabase, page_size: int) -> None:
    owners = [await funded_owner(db) for _ in range(5)]
    await db.agents.create(owners[0].user_id, "bare")
    await db.wallets.create(f"L{uuid4().hex}", owners[0].agent_id, "live")
    assert await take_snapshots(db, HOUR, page_size) == 6
    for owner in owners:
        assert (await latest(db, owner)).portfolio_balance_sol == 100


async def test_job_is_four_round_trips_for_a_page_of_agents(db: AsyncDatabase) -> None:
    for _ in range(6):
        await bought(db, await funded_owner(db), *TOKENS[:2])
    assert await trips_of(db, lambda: take_snapshots(db, HOUR, 6)) == 4
    assert await trips_of(db, lambda: take_snapshots(db, HOUR, 2)) == 12


async def test_agents_without_wallets_take_no_round_trip(db: AsyncDatabase) -> None:
    owner = await new_owner(db)
    agent = await db.agents.find_by_id((await db.agents.create(owner.user_id, "bare")).id)
    assert agent is not None
    assert await trips_of(db, lambda: snapshot_agents(db, [agent], HOUR)) == 0


async def test_page_of_agents_is_three_round_trips_whatever_they_hold(db: AsyncDatabase) -> None:
    owners = [await funded_owner(db) for _ in range(12)]
    for owner in owners[1:]:
        await bought(db, owner, *TOKENS[:3])
        await db.wallets.create(f"L{uuid4().hex}", owner.agent_id, "live")
    agents = await agents_of(db, owners)
    assert await trips_of(db, lambda: snapshot_agents(db, agents[:1], HOUR)) == 3
    assert await trips_of(db, lambda: snapshot_agents(db, agents, HOUR)) == 3


async def test_more_positions_than_a_page_are_all_counted(db: AsyncDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "LONGEST_PAGE", 2)
    owner = await funded_owner(db)
    await bought(db, owner, *TOKENS[:5])
    await snapshot_agents(db, await agents_of(db, [owner]), HOUR)
    assert (await latest(db, owner)).positions_value_sol == 5
