"""Performance: historical swaps and take-profits of open positions, over all time and since a given time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

from nexgent_db import AsyncDatabase
from tests.integration.aio.factories import Owner

NOW = datetime(2025, 5, 10, tzinfo=UTC)


def _ago(hours: int) -> datetime:
    return NOW - timedelta(hours=hours)


async def _history(db: AsyncDatabase, owner: Owner) -> None:
    """Two trades closed long ago (+1, -0.5), one lately (+0.25); one open with an old and a late take-profit."""
    await db.trades.deposit(owner.deposit("100", transaction_time=_ago(100)))
    for token, bought, sold, got in (("A", 90, 80, "2"), ("B", 90, 70, "0.5"), ("C", 50, 3, "1.25")):
        await db.trades.buy(owner.buy("1", "10", token, transaction_time=_ago(bought)))
        await db.trades.sell(
            owner.sell("10", got, token, transaction_time=_ago(sold), transaction_value_usd=str(Decimal(got) * 150))
        )
    await db.trades.buy(owner.buy("3", "9", "D", transaction_time=_ago(60), network_fee_sol="0.003"))
    await db.trades.take_profit(owner.take_profit("3", "2", "D", transaction_time=_ago(40)))
    await db.trades.take_profit(owner.take_profit("2", "1.5", "D", transaction_time=_ago(2)))


async def test_all_time_performance_is_exact(db: AsyncDatabase, owner: Owner) -> None:
    await _history(db, owner)
    found = await db.performance.summarise(owner.agent_id)
    first = 2 - Decimal("1.001")
    second = Decimal("1.5") - Decimal("0.667333333333333333")
    assert found.realized_profit_sol == 1 - Decimal("0.5") + Decimal("0.25") + first + second
    assert found.realized_profit_usd == Decimal("0.75") * 150
    assert (found.closed_trades, found.won_trades, found.open_positions) == (3, 2, 1)
    assert found.win_rate_percent == Decimal("66.6667")
    assert found.average_return_percent == Decimal("25")
    assert found.cost_basis_sol == Decimal("1.334666666666666667")  # 4/9 of 3.003


async def test_performance_since_counts_only_later_trades(db: AsyncDatabase, owner: Owner) -> None:
    await _history(db, owner)
    found = await db.performance.summarise(owner.agent_id, owner.wallet_address, since=_ago(24))
    assert found.realized_profit_sol == Decimal("0.25") + Decimal("1.5") - Decimal("0.667333333333333333")
    assert (found.closed_trades, found.won_trades, found.win_rate_percent) == (1, 1, 100)
    assert found.average_return_percent == 25
    assert found.open_positions == 1


async def test_profits_of_sales_sum_to_position_profit(db: AsyncDatabase, owner: Owner) -> None:
    await _history(db, owner)
    closed = await db.trades.sell(owner.sell("4", "1", "D", transaction_time=NOW))
    assert closed.swap is not None
    sales = [
        transaction.realized_profit_sol
        for transaction in await db.transactions.list_by_agent(owner.agent_id)
        if transaction.input_mint == "D"
    ]
    assert len(sales) == 3
    assert sum(profit for profit in sales if profit is not None) == closed.swap.profit_loss_sol
    found = await db.performance.summarise(owner.agent_id)
    assert found.realized_profit_sol == Decimal("0.75") + closed.swap.profit_loss_sol
    assert found.open_positions == found.cost_basis_sol == 0


async def test_rates_are_none_without_trades(db: AsyncDatabase, owner: Owner) -> None:
    for agent_id, wallet in ((owner.agent_id, None), (owner.agent_id, "elsewhere"), (uuid4(), None)):
        found = await db.performance.summarise(agent_id, wallet)
        assert found.realized_profit_sol == found.closed_trades == 0
        assert found.win_rate_percent is None
        assert found.average_return_percent is None
