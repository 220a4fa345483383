"""Money figures after take-profits and DCA buys: cost basis, sale price, profits over time, signals of sales."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nexgent_db import AsyncDatabase
from nexgent_db.models import Performance, SignalOrder
from tests.integration.aio.factories import TOKEN, Owner, balance_of, funded_owner
from tests.support.faults.concurrently import concurrently_async

BLOCKED = "SELECT FROM pg_locks WHERE NOT granted AND %s = ANY(pg_blocking_pids(pid))"

pytestmark = pytest.mark.usefixtures("consistent_ledger")

NOW = datetime.now(UTC).replace(microsecond=0)


def days_ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


async def test_cost_basis_is_what_is_not_received_back(db: AsyncDatabase) -> None:
    owner = await funded_owner(db)
    await db.trades.buy(owner.buy("1", "100"))
    await db.trades.take_profit(owner.take_profit("50", "1"))
    await db.trades.dca_buy(owner.dca_buy("0.5", "100"))
    found = await db.performance.summarise(owner.agent_id)
    assert found.cost_basis_sol == 1  # invested 1.5 - received 1 + realised 0.5
    worth = Decimal("1.2")
    expected = found.realized_profit_sol + worth - found.cost_basis_sol
    closed = await db.trades.sell(owner.sell("150", str(worth)))
    assert closed.swap is not None
    assert expected == closed.swap.profit_loss_sol == Decimal("0.7")
    after = await db.performance.summarise(owner.agent_id)
    assert (after.realized_profit_sol, after.cost_basis_sol) == (Decimal("0.7"), 0)


async def test_take_profit_counts_in_its_own_window_only(db: AsyncDatabase) -> None:
    owner = await funded_owner(db)
    await db.trades.buy(owner.buy("10", "100", transaction_time=days_ago(9)))
    await db.trades.take_profit(owner.take_profit("50", "50", transaction_time=days_ago(5)))
    await db.trades.sell(owner.sell("50", "5", transaction_time=days_ago(1)))
    lately = await db.performance.summarise(owner.agent_id, since=days_ago(2))
    assert (lately.realized_profit_sol, lately.closed_trades) == (0, 1)
    before = await db.performance.summarise(owner.agent_id, until=days_ago(2))
    assert (before.realized_profit_sol, before.closed_trades) == (45, 0)
    assert (await db.performance.summarise(owner.agent_id)).realized_profit_sol == 45


async def test_sale_price_is_all_sol_received_over_all_tokens_bought(db: AsyncDatabase) -> None:
    owner = await funded_owner(db)
    await db.trades.buy(owner.buy("1", "100"))
    await db.trades.take_profit(owner.take_profit("50", "0.7", network_fee_sol="0.1"))
    closed = await db.trades.sell(owner.sell("50", "0.4"))
    assert closed.swap is not None
    assert closed.swap.sale_price == Decimal("0.011")
    assert closed.transaction.input_price == Decimal("0.008")


@pytest.mark.parametrize(
    ("value_usd", "profit_usd"), [("150", Decimal(75)), ("0", None), (None, None)], ids=["given", "zero", "left_out"]
)
async def test_profit_in_usd_is_known_only_with_value_in_usd(
    db: AsyncDatabase, value_usd: str | None, profit_usd: Decimal | None
) -> None:
    owner = await funded_owner(db)
    await db.trades.buy(owner.buy("0.5", "100"))
    order = owner.sell("100", "1") if value_usd is None else owner.sell("100", "1", transaction_value_usd=value_usd)
    closed = await db.trades.sell(order)
    assert closed.swap is not None
    assert closed.swap.profit_loss_usd == profit_usd
    assert (await db.performance.summarise(owner.agent_id)).realized_profit_usd == profit_usd
    assert (await db.trades.sell(order)).swap == closed.swap


# --- Any partition of time ------------------------------------------------------------------------


async def traded(db: AsyncDatabase, steps: list[tuple[str, int, int]]) -> Owner:
    """An owner after these steps, one every day from day -len(steps) on: what is done, of how much, for how much."""
    owner = await funded_owner(db)
    held = 0
    for number, (what, amount, sol) in enumerate(steps):
        day: dict[str, Any] = {"transaction_time": days_ago(len(steps) - number)}
        price = str(Decimal(sol) / 1000)
        if held == 0:
            await db.trades.buy(owner.buy(price, str(amount), **day))
            held = amount
        elif what == "buy":
            await db.trades.dca_buy(owner.dca_buy(price, str(amount), **day))
            held += amount
        elif amount < held:
            await db.trades.take_profit(owner.take_profit(str(amount), price, **day))
            held -= amount
        else:
            await db.trades.sell(owner.sell(str(held), price, **day, transaction_value_usd=price))
            held = 0
    return owner


def total(parts: list[Performance]) -> tuple[Decimal, Decimal, int, int]:
    return (
        sum((part.realized_profit_sol for part in parts), Decimal(0)),
        sum((part.realized_profit_usd or Decimal(0) for part in parts), Decimal(0)),
        sum(part.closed_trades for part in parts),
        sum(part.won_trades for part in parts),
    )


@given(
    steps=st.lists(st.tuples(st.sampled_from(["buy", "sell"]), st.integers(1, 30), st.integers(1, 900)), max_size=12),
    cuts=st.sets(st.integers(0, 13), max_size=4),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_summaries_of_any_partition_add_up_to_whole(
    db: AsyncDatabase, steps: list[tuple[str, int, int]], cuts: set[int]
) -> None:
    owner = await traded(db, steps)
    bounds = [None, *(days_ago(cut) for cut in sorted(cuts, reverse=True)), None]
    parts = [
        await db.performance.summarise(owner.agent_id, owner.wallet_address, since, until)
        for since, until in pairwise(bounds)
    ]
    whole = await db.performance.summarise(owner.agent_id)
    assert total(parts) == total([whole])
    positions = await db.positions.list_by_agent(owner.agent_id)
    invested = sum((position.total_invested_sol - position.proceeds_sol for position in positions), Decimal(0))
    assert await balance_of(db, owner) - 100 == whole.realized_profit_sol - whole.cost_basis_sol
    assert whole.cost_basis_sol == invested + sum((row.realized_profit_sol for row in positions), Decimal(0))


# --- Signals of sales -----------------------------------------------------------------------------


async def new_signal(db: AsyncDatabase, owner: Owner) -> int:
    signal = await db.signals.create(
        SignalOrder(token_address=TOKEN, signal_type="BUY", signal_strength=3, user_id=owner.user_id)
    )
    return signal.id


async def test_sale_without_signal_has_signal_of_purchase(db: AsyncDatabase) -> None:
    owner = await funded_owner(db)
    signal, other = await new_signal(db, owner), await new_signal(db, owner)
    await db.trades.buy(owner.buy("1", "100", signal_id=signal))
    assert (await db.trades.take_profit(owner.take_profit("10", "1"))).transaction.signal_id == signal
    assert (await db.trades.take_profit(owner.take_profit("10", "1", signal_id=other))).transaction.signal_id == other
    closed = await db.trades.sell(owner.sell("80", "1"))
    assert closed.swap is not None
    assert closed.transaction.signal_id == closed.swap.signal_id == signal


@pytest.mark.parametrize("given_again", [False, True])
@pytest.mark.parametrize("closes", ["sell", "write_off", "take_profit"])
async def test_signal_deleted_at_same_moment_is_left_out(db: AsyncDatabase, closes: str, given_again: bool) -> None:
    owner = await funded_owner(db)
    signal = await new_signal(db, owner)
    await db.trades.buy(owner.buy("1", "100", signal_id=signal))
    more: dict[str, Any] = {"signal_id": signal} if given_again else {}
    order = owner.write_off(**more) if closes == "write_off" else getattr(owner, closes)("100", "1", **more)
    with psycopg.connect(db.settings.conninfo) as other:
        other.execute("DELETE FROM trading_signals WHERE id = %s", [signal])
        pid = other.info.backend_pid

        async def commit_when_sale_waits() -> None:
            while not other.execute(BLOCKED, [pid]).fetchall():
                await db.users.find_by_id(UUID(int=0))
            other.commit()

        result, _ = await concurrently_async([lambda: getattr(db.trades, closes)(order), commit_when_sale_waits])
    assert result.swap is not None
    assert (result.transaction.signal_id, result.swap.signal_id) == (None, None)


async def test_signal_of_recorded_sale_is_deleted_after_it(db: AsyncDatabase) -> None:
    owner = await funded_owner(db)
    signal = await new_signal(db, owner)
    await db.trades.buy(owner.buy("1", "100", signal_id=signal))
    closed = await db.trades.sell(owner.sell("100", "1"))
    assert await db.signals.delete(signal) == 1
    found = await db.transactions.find_by_id(closed.transaction.id)
    assert found is not None
    assert found.signal_id is None
