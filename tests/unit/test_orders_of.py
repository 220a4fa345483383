"""Orders made of a wallet or a position: what the object knows is not said twice."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from nexgent_db.errors import InvalidInput
from nexgent_db.models import (
    AgentPosition,
    AgentWallet,
    BuyOrder,
    DcaBuyOrder,
    SellOrder,
    TakeProfitOrder,
    WriteOffOrder,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OWNER: dict[str, Any] = {"agent_id": UUID(int=2), "wallet_address": "wallet"}
TOKEN: dict[str, Any] = {"token_address": "token", "token_symbol": "TOK"}
WALLET = AgentWallet(**OWNER, wallet_type="live", created_at=NOW, updated_at=NOW)
POSITION = AgentPosition(
    **OWNER,
    **TOKEN,
    id=UUID(int=3),
    purchase_transaction_id=UUID(int=4),
    purchase_price=Decimal(1),
    purchase_amount=Decimal(10),
    current_stop_loss_percentage=None,
    peak_price=None,
    last_stop_loss_update=None,
    created_at=NOW,
    updated_at=NOW,
    dca_count=3,
    dca_transaction_ids=[],
    last_dca_time=None,
    lowest_price=None,
    total_invested_sol=Decimal(10),
    remaining_amount=Decimal("7.5"),
    take_profit_levels_hit=2,
    take_profit_transaction_ids=[],
    last_take_profit_time=None,
    moon_bag_activated=False,
    moon_bag_amount=None,
    realized_profit_sol=Decimal(0),
    tp_batch_start_level=0,
    total_take_profit_levels=None,
    version=5,
    proceeds_sol=Decimal(0),
)


def test_buy_of_wallet_has_owner_of_wallet() -> None:
    order = BuyOrder.of(WALLET, "token", "TOK", sol_amount="1.5", token_amount=Decimal(3), signal_id=7)
    expected = BuyOrder(**OWNER, **TOKEN, sol_amount=Decimal("1.5"), token_amount=Decimal(3), signal_id=7)
    assert order == expected.model_copy(update={"request_id": order.request_id})


def test_sale_of_position_is_of_all_that_remains() -> None:
    order = SellOrder.of(POSITION, sol_amount="2", network_fee_sol="0.001")
    assert (order.token_amount, order.network_fee_sol) == (Decimal("7.5"), Decimal("0.001"))
    assert (order.agent_id, order.wallet_address, order.token_address) == (UUID(int=2), "wallet", "token")
    part = SellOrder.of(POSITION, sol_amount=2, token_amount="7.4999999999", up_to_dust=True)
    assert (part.token_amount, part.up_to_dust, part.close_reason) == (Decimal("7.4999999999"), True, "manual")


def test_orders_of_position_expect_its_counters() -> None:
    taken = TakeProfitOrder.of(POSITION, sol_amount="2", token_amount="1", moon_bag_amount="1")
    assert (taken.expected_levels_hit, taken.levels_hit, taken.moon_bag_amount) == (2, 1, Decimal(1))
    added = DcaBuyOrder.of(POSITION, sol_amount="2", token_amount="1")
    assert (added.expected_dca_count, added.token_symbol) == (3, "TOK")


def test_write_off_of_position_names_its_token() -> None:
    order = WriteOffOrder.of(POSITION, transaction_hash="hash")
    assert order == WriteOffOrder(**OWNER, **TOKEN, transaction_hash="hash")


def test_invalid_amount_of_order_is_refused_with_its_figure() -> None:
    with pytest.raises(InvalidInput, match="sol_amount: .*greater than 0, is -1"):
        SellOrder.of(POSITION, sol_amount="-1")
    with pytest.raises(InvalidInput, match="slippage"):
        WriteOffOrder.of(POSITION, slippage="1")  # type: ignore[call-arg]
