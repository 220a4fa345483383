"""Write-offs: the token is worthless, the wallet burns it, and the position closes with what was received before."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from nexgent_db import AsyncDatabase
from nexgent_db.errors import InsufficientBalance, PositionNotFound, SaleBeforePurchase
from tests.integration.aio.factories import TOKEN, Owner, balance_of, funded_owner
from tests.support.faults.concurrently import concurrently_async

pytestmark = pytest.mark.usefixtures("consistent_ledger")


async def bought(db: AsyncDatabase) -> Owner:
    """An owner who invested 2 SOL in 10 tokens."""
    owner = await funded_owner(db)
    await db.trades.buy(owner.buy("2", "10"))
    return owner


async def test_write_off_burns_holding_and_closes_position_at_a_loss(db: AsyncDatabase) -> None:
    owner = await bought(db)
    position = await db.positions.find_by_wallet_and_token(owner.agent_id, owner.wallet_address, TOKEN)
    assert position is not None
    result = await db.trades.write_off(owner.write_off(network_fee_sol="0.001"))
    assert (result.transaction.transaction_type, result.transaction.input_amount) == ("BURN", 10)
    assert result.transaction.realized_profit_sol == Decimal("-2.001")
    assert (result.position, result.closed_position_id) == (None, position.id)
    swap = result.swap
    assert swap is not None
    assert (swap.close_reason, swap.sale_price, swap.amount) == ("write_off", 0, 10)
    assert (swap.profit_loss_sol, swap.profit_loss_usd) == (Decimal("-2.001"), None)
    assert swap.change_percent == Decimal("-100.05")
    assert (swap.purchase_transaction_id, swap.sale_transaction_id) == (
        position.purchase_transaction_id,
        result.transaction.id,
    )
    assert swap == await db.historical_swaps.find_by_id(swap.id)
    assert await balance_of(db, owner, TOKEN) == 0
    assert await db.positions.list_by_agent(owner.agent_id) == []


async def test_write_off_keeps_what_take_profits_received(db: AsyncDatabase) -> None:
    owner = await bought(db)
    await db.trades.take_profit(owner.take_profit("5", "3"))
    result = await db.trades.write_off(owner.write_off())
    assert result.swap is not None
    assert result.swap.profit_loss_sol == 1  # 3 received, 2 invested
    assert result.swap.sale_price == Decimal("0.3")
    assert result.transaction.realized_profit_sol == -1  # the take-profit realised 2
    found = await db.performance.summarise(owner.agent_id)
    assert (found.realized_profit_sol, found.closed_trades, found.cost_basis_sol) == (1, 1, 0)


async def test_write_off_burns_tokens_beside_position(db: AsyncDatabase) -> None:
    owner = await bought(db)
    await db.trades.deposit(owner.deposit("5", TOKEN))
    result = await db.trades.write_off(owner.write_off())
    assert result.transaction.input_amount == 15
    assert await balance_of(db, owner, TOKEN) == 0


async def test_write_off_of_unknown_position_changes_nothing(db: AsyncDatabase) -> None:
    owner = await bought(db)
    with pytest.raises(PositionNotFound):
        await db.trades.write_off(owner.write_off("another"))
    assert await balance_of(db, owner, TOKEN) == 10


async def test_write_off_before_purchase_changes_nothing(db: AsyncDatabase) -> None:
    owner = await bought(db)
    (position,) = await db.positions.list_by_agent(owner.agent_id)
    with pytest.raises(SaleBeforePurchase):
        await db.trades.write_off(owner.write_off(transaction_time=position.created_at - timedelta(days=1)))
    assert await db.positions.list_by_agent(owner.agent_id) == [position]


async def test_write_off_of_empty_balance_names_what_is_missing(db: AsyncDatabase) -> None:
    owner = await bought(db)
    await db.trades.burn(owner.burn("10", TOKEN))
    with pytest.raises(InsufficientBalance, match=r"\b10\b"):
        await db.trades.write_off(owner.write_off())
    assert len(await db.positions.list_by_agent(owner.agent_id)) == 1


async def test_repeated_write_off_returns_first_result(db: AsyncDatabase) -> None:
    owner = await bought(db)
    order = owner.write_off()
    first = await db.trades.write_off(order)
    await db.trades.buy(owner.buy("1", "3"))
    assert await db.trades.write_off(order) == first.model_copy(update={"duplicate": True})
    assert await balance_of(db, owner, TOKEN) == 3


async def test_concurrent_write_off_and_sale_close_position_once(db: AsyncDatabase) -> None:
    for _ in range(10):
        owner = await bought(db)
        written_off, sold = owner.write_off(), owner.sell("10", "1")
        results = await concurrently_async(
            [lambda order=written_off: db.trades.write_off(order), lambda order=sold: db.trades.sell(order)],
            return_exceptions=True,
        )
        assert sorted(isinstance(result, PositionNotFound) for result in results) == [False, True], results
        assert await db.historical_swaps.count_by_agent(owner.agent_id) == 1
