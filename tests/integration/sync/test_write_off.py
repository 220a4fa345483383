# Generated from tests/integration/aio/test_write_off.py by `make sync`: do not edit.
"""Write-offs: the token is worthless, the wallet burns it, and the position closes with what was received before."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from nexgent_db import Database
from nexgent_db.errors import InsufficientBalance, PositionNotFound, SaleBeforePurchase
from tests.integration.sync.factories import TOKEN, Owner, balance_of, funded_owner
from tests.support.faults.concurrently import concurrently

pytestmark = pytest.mark.usefixtures("consistent_ledger")


def bought(db: Database) -> Owner:
    """An owner who invested 2 SOL in 10 tokens."""
    owner = funded_owner(db)
    db.trades.buy(owner.buy("2", "10"))
    return owner


def test_write_off_burns_holding_and_closes_position_at_a_loss(db: Database) -> None:
    owner = bought(db)
    position = db.positions.find_by_wallet_and_token(owner.agent_id, owner.wallet_address, TOKEN)
    assert position is not None
    result = db.trades.write_off(owner.write_off(network_fee_sol="0.001"))
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
    assert swap == db.historical_swaps.find_by_id(swap.id)
    assert balance_of(db, owner, TOKEN) == 0
    assert db.positions.list_by_agent(owner.agent_id) == []


def test_write_off_keeps_what_take_profits_received(db: Database) -> None:
    owner = bought(db)
    db.trades.take_profit(owner.take_profit("5", "3"))
    result = db.trades.write_off(owner.write_off())
    assert result.swap is not None
    assert result.swap.profit_loss_sol == 1  # 3 received, 2 invested
    assert result.swap.sale_price == Decimal("0.3")
    assert result.transaction.realized_profit_sol == -1  # the take-profit realised 2
    found = db.performance.summarise(owner.agent_id)
    assert (found.realized_profit_sol, found.closed_trades, found.cost_basis_sol) == (1, 1, 0)


def test_write_off_burns_tokens_beside_position(db: Database) -> None:
    owner = bought(db)
    db.trades.deposit(owner.deposit("5", TOKEN))
    result = db.trades.write_off(owner.write_off())
    assert result.transaction.input_amount == 15
    assert balance_of(db, owner, TOKEN) == 0


def test_write_off_of_unknown_position_changes_nothing(db: Database) -> None:
    owner = bought(db)
    with pytest.raises(PositionNotFound):
        db.trades.write_off(owner.write_off("another"))
    assert balance_of(db, owner, TOKEN) == 10


def test_write_off_before_purchase_changes_nothing(db: Database) -> None:
    owner = bought(db)
    (position,) = db.positions.list_by_agent(owner.agent_id)
    with pytest.raises(SaleBeforePurchase):
        db.trades.write_off(owner.write_off(transaction_time=position.created_at - timedelta(days=1)))
    assert db.positions.list_by_agent(owner.agent_id) == [position]


def test_write_off_of_empty_balance_names_what_is_missing(db: Database) -> None:
    owner = bought(db)
    db.trades.burn(owner.burn("10", TOKEN))
    with pytest.raises(InsufficientBalance, match=r"\b10\b"):
        db.trades.write_off(owner.write_off())
    assert len(db.positions.list_by_agent(owner.agent_id)) == 1


def test_repeated_write_off_returns_first_result(db: Database) -> None:
    owner = bought(db)
    order = owner.write_off()
    first = db.trades.write_off(order)
    db.trades.buy(owner.buy("1", "3"))
    assert db.trades.write_off(order) == first.model_copy(update={"duplicate": True})
    assert balance_of(db, owner, TOKEN) == 3


def test_concurrent_write_off_and_sale_close_position_once(db: Database) -> None:
    for _ in range(10):
        owner = bought(db)
        written_off, sold = owner.write_off(), owner.sell("10", "1")
        results = concurrently(
            [lambda order=written_off: db.trades.write_off(order), lambda order=sold: db.trades.sell(order)],
            return_exceptions=True,
        )
        assert sorted(isinstance(result, PositionNotFound) for result in results) == [False, True], results
        assert db.historical_swaps.count_by_agent(owner.agent_id) == 1
