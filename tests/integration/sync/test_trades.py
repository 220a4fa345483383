# Generated from tests/integration/aio/test_trades.py by `make sync`: do not edit.
"""Each trade: its effects, its rejections, and that a rejection or a repetition changes nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from nexgent_db import Database
from nexgent_db.errors import (
    IdempotencyConflict,
    InsufficientBalance,
    InvalidInput,
    MoonBagTooLarge,
    NotAFullSale,
    NumericOverflow,
    Oversell,
    PositionExists,
    PositionNotFound,
    SaleBeforePurchase,
    StalePosition,
    TradeRefused,
    WalletNotFound,
    WalletNotSimulated,
)
from nexgent_db.models import SOL_MINT, DepositOrder
from tests.integration.sync.factories import TOKEN, Owner, balance_of, new_owner
from tests.support.builders.purge import purge_agent
from tests.support.oracles.state import broken_rules, rows_of

pytestmark = pytest.mark.usefixtures("consistent_ledger")

OTHER = "TokenBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB2"


# --- Deposits, withdrawals, burns, plain swaps --------------------------------------------------


def test_deposit_adds_to_balance_and_ledger(db: Database, owner: Owner) -> None:
    result = db.trades.deposit(owner.deposit("1.000000001", transaction_value_usd="150.5"))
    assert balance_of(db, owner) == Decimal("1.000000001")
    assert result.balances == (db.balances.find_by_wallet_and_token(owner.wallet_address, SOL_MINT),)
    assert result.transaction == db.transactions.find_by_id(result.transaction.id)
    assert result.transaction.transaction_type == "DEPOSIT"
    assert result.transaction.transaction_value_usd == Decimal("150.5")
    assert not result.duplicate


def test_largest_and_smallest_amounts_are_exact(db: Database, owner: Owner) -> None:
    amounts = ("9283556390534", "0.000000000000000001", "99990000000000000000.5")
    for amount in amounts:
        db.trades.deposit(owner.deposit(amount, TOKEN))
    assert balance_of(db, owner, TOKEN) == Decimal("99990009283556390534.500000000000000001")


def test_withdrawal_debits_wallet_and_stores_destination(db: Database, owner: Owner) -> None:
    db.trades.deposit(owner.deposit("5"))
    result = db.trades.withdraw(owner.withdraw("2", destination_address="elsewhere"))
    assert balance_of(db, owner) == 3
    assert result.transaction.destination_address == "elsewhere"
    assert result.transaction.transaction_type == "WITHDRAWAL"


def test_burn_of_all_leaves_zero(db: Database, owner: Owner) -> None:
    db.trades.deposit(owner.deposit("5", TOKEN))
    result = db.trades.burn(owner.burn("5", TOKEN))
    assert balance_of(db, owner, TOKEN) == 0
    assert result.transaction.transaction_type == "BURN"


def test_swap_debits_one_token_and_credits_other(db: Database, owner: Owner) -> None:
    db.trades.deposit(owner.deposit("5", TOKEN))
    result = db.trades.swap(owner.swap("2", TOKEN, "7.5", OTHER, slippage="0.5", price_impact="12.3456"))
    assert balance_of(db, owner, TOKEN) == 3
    assert balance_of(db, owner, OTHER) == Decimal("7.5")
    assert (result.transaction.slippage, result.transaction.price_impact) == (Decimal("0.5"), Decimal("12.3456"))
    assert {balance.token_address for balance in result.balances} == {TOKEN, OTHER}


def test_fees_are_debited_in_sol_in_every_trade(db: Database, owner: Owner) -> None:
    fees = {"protocol_fee_sol": "0.000005", "network_fee_sol": "0.01"}
    db.trades.deposit(owner.deposit("10", **fees))
    db.trades.withdraw(owner.withdraw("1", **fees))
    db.trades.buy(owner.buy("2", "100", **fees))
    db.trades.dca_buy(owner.dca_buy("1", "50", **fees))
    db.trades.take_profit(owner.take_profit("30", "0.5", **fees))
    db.trades.swap(owner.swap("10", TOKEN, "1", OTHER, **fees))
    db.trades.burn(owner.burn("1", OTHER, **fees))
    assert balance_of(db, owner) == 10 - 1 - 2 - 1 + Decimal("0.5") - 7 * Decimal("0.010005")


def test_fee_above_proceeds_requires_sol_in_wallet(db: Database, owner: Owner) -> None:
    db.trades.deposit(owner.deposit("5", TOKEN))
    swap = owner.swap("5", TOKEN, "0.001", SOL_MINT, network_fee_sol="0.002")
    with pytest.raises(InsufficientBalance) as refused:
        db.trades.swap(swap)
    assert (refused.value.token_address, refused.value.required) == (SOL_MINT, Decimal("0.001"))
    db.trades.deposit(owner.deposit("0.001"))
    db.trades.swap(swap)
    assert balance_of(db, owner) == 0


def test_payloads_are_stored_as_given(db: Database, owner: Owner) -> None:
    db.trades.deposit(owner.deposit("10"))
    payload = {"outAmount": "318", "priceImpactPct": 0.1, "routePlan": [{"percent": 100, "label": "Ω"}], "fee": None}
    result = db.trades.buy(owner.buy("1", "3", swap_payload=payload, routes=[payload]))
    assert (result.transaction.swap_payload, result.transaction.routes) == (payload, [payload])
    stored = db.transactions.find_by_id(result.transaction.id)
    assert stored == result.transaction


MADE_UP_PAYLOADS = [
    Path(__file__).parents[2] / f"data/swap_payloads/{name}.json" for name in ("quote", "order", "swap")
]
# Recorded answers are tried as well where they stand beside the checkout.
RECORDED_PAYLOADS = sorted((Path(__file__).parents[4] / "shared/data/jupiter").glob("*.json"))


@pytest.mark.parametrize(
    "payload",
    [pytest.param(json.loads(path.read_text()), id=path.stem) for path in (*MADE_UP_PAYLOADS, *RECORDED_PAYLOADS)],
)
def test_payload_of_exchange_is_returned_unchanged(db: Database, owner: Owner, payload: Any) -> None:
    db.trades.deposit(owner.deposit("10"))
    result = db.trades.swap(owner.swap("1", SOL_MINT, "2", OTHER, swap_payload=payload))
    stored = db.transactions.find_by_id(result.transaction.id)
    assert stored is not None
    assert stored.swap_payload == payload


# --- Positions ----------------------------------------------------------------------------------


def test_buy_opens_position(db: Database, owner: Owner) -> None:
    db.trades.deposit(owner.deposit("10"))
    result = db.trades.buy(
        owner.buy("2", "3", protocol_fee_sol="0.01", stop_loss_percentage="-32", take_profit_levels=4)
    )
    position = result.position
    assert position is not None
    assert position == db.positions.find_by_id(position.id)
    assert position.purchase_price == Decimal("0.666666666666666667")  # 2/3, fees aside, correctly rounded
    assert position.peak_price == position.lowest_price == position.purchase_price
    assert position.purchase_amount == position.remaining == 3
    assert position.total_invested_sol == Decimal("2.01")
    assert position.purchase_transaction_id == result.transaction.id
    assert position.current_stop_loss_percentage == -32
    assert position.total_take_profit_levels == 4
    assert result.transaction.output_price == position.purchase_price
    assert balance_of(db, owner) == Decimal("7.99")
    assert balance_of(db, owner, TOKEN) == 3


def test_price_of_1e_12_is_exact(db: Database, owner: Owner) -> None:
    db.trades.deposit(owner.deposit("10"))
    result = db.trades.buy(owner.buy("1.4", "1000000000000"))
    assert result.position is not None
    assert result.position.purchase_price == Decimal("0.0000000000014")


def test_dca_buy_averages_price_over_total_invested(db: Database, owner: Owner) -> None:
    db.trades.deposit(owner.deposit("10"))
    db.trades.buy(owner.buy("2", "3"))
    bought = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    result = db.trades.dca_buy(
        owner.dca_buy("1", "4", network_fee_sol="0.1", take_profit_levels=3, transaction_time=bought)
    )
    position = result.position
    assert position is not None
    assert position.purchase_amount == 7
    assert position.total_invested_sol == Decimal("3.1")
    assert position.purchase_price == Decimal("0.442857142857142857")  # 3.1 / 7
    assert position.remaining_amount == 7
    assert position.lowest_price == Decimal("0.25")
    assert (position.dca_count, position.dca_transaction_ids) == (1, [result.transaction.id])
    assert position.last_dca_time == bought
    assert (position.tp_batch_start_level, position.total_take_profit_levels) == (0, 3)
    assert result.transaction.is_dca


def test_dca_after_take_profit_starts_new_batch(db: Database, owner: Owner) -> None:
    db.trades.deposit(owner.deposit("10"))
    db.trades.buy(owner.buy("2", "4", take_profit_levels=4))
    db.trades.take_profit(owner.take_profit("1", "1", levels_hit=2))
    result = db.trades.dca_buy(owner.dca_buy("1", "2", take_profit_levels=4))
    assert result.position is not None
    assert result.position.remaining_amount == 5
    assert (result.position.tp_batch_start_level, result.position.total_take_profit_levels) == (2, 6)


def test_take_profit_reduces_position_and_realises_profit(db: Database, owner: Owner) -> None:
    db.trades.deposit(owner.deposit("10"))
    db.trades.buy(owner.buy("3", "9", protocol_fee_sol="0.03"))
    result = db.trades.take_profit(
        owner.take_profit("3", "4", network_fee_sol="0.5", moon_bag_amount="2", levels_hit=1)
    )
    position = result.position
    assert position is not None
    assert position.remaining_amount == 6
    assert position.proceeds_sol == Decimal("3.5")
    assert position.realized_profit_sol == Decimal("3.5") - Decimal("1.01")  # cost basis: 3/9 of 3.03
    assert (position.take_profit_levels_hit, position.take_profit_transaction_ids) == (1, [result.transaction.id])
    assert (position.moon_bag_activated, position.moon_bag_amount) == (True, 2)
    assert position.last_take_profit_time == result.transaction.transaction_time
    assert result.transaction.is_take_profit
    assert result.swap is None


def test_sell_closes_position_with_profit_of_all_sales(db: Database, owner: Owner) -> None:
    db.trades.deposit(owner.deposit("10"))
    bought = datetime(2025, 5, 1, tzinfo=UTC)
    bought_by = db.trades.buy(owner.buy("3", "9", protocol_fee_sol="0.03", transaction_time=bought))
    db.trades.dca_buy(owner.dca_buy("1", "1", transaction_time=bought + timedelta(hours=1)))
    db.trades.take_profit(
        owner.take_profit("5", "4", network_fee_sol="0.5", transaction_time=bought + timedelta(hours=2))
    )
    sold = bought + timedelta(days=1)
    result = db.trades.sell(
        owner.sell("5", "2", network_fee_sol="0.1", transaction_time=sold, transaction_value_usd="300")
    )
    swap = result.swap
    assert swap is not None
    assert swap == db.historical_swaps.find_by_id(swap.id)
    profit = Decimal("3.5") + Decimal("1.9") - Decimal("4.03")
    assert swap.profit_loss_sol == profit
    assert swap.profit_loss_usd == profit * 150
    assert swap.change_percent == (100 * profit / Decimal("4.03")).quantize(Decimal("0.0001"))
    assert (swap.amount, swap.purchase_price, swap.sale_price) == (10, Decimal("0.403"), Decimal("0.6"))
    assert (swap.purchase_time, swap.sale_time) == (bought, sold)
    assert (swap.purchase_transaction_id, swap.sale_transaction_id) == (
        bought_by.transaction.id,
        result.transaction.id,
    )
    assert swap.close_reason == "manual"
    assert result.position is None
    assert db.positions.find_by_wallet_and_token(owner.agent_id, owner.wallet_address, TOKEN) is None
    assert balance_of(db, owner, TOKEN) == 0


def test_take_profit_of_rest_closes_position(db: Database, owner: Owner) -> None:
    db.trades.deposit(owner.deposit("10"))
    db.trades.buy(owner.buy("3", "9"))
    result = db.trades.take_profit(owner.take_profit("9", "4"))
    assert result.position is None
    assert result.swap is not None
    assert (result.swap.close_reason, result.swap.profit_loss_sol) == ("take_profit", 1)


def test_sold_token_can_be_bought_again(db: Database, owner: Owner) -> None:
    db.trades.deposit(owner.deposit("10"))
    for _ in range(3):
        db.trades.buy(owner.buy("1", "3"))
        db.trades.sell(owner.sell("3", "2"))
    assert balance_of(db, owner) == 13
    assert len(db.historical_swaps.list_by_agent(owner.agent_id)) == 3


def test_reset_burns_holdings_and_deposits_opening_sol(db: Database, owner: Owner) -> None:
    db.trades.deposit(owner.deposit("10"))
    db.trades.deposit(owner.deposit("5", OTHER))
    db.trades.deposit(owner.deposit("0.000000000000000001", "Dust"))
    db.trades.buy(owner.buy("3", "9"))
    order = owner.reset("100")
    result = db.trades.reset_wallet(order)
    assert result.positions_given_up == 1
    assert sorted(t.transaction_type for t in result.transactions) == ["BURN", "BURN", "BURN", "BURN", "DEPOSIT"]
    assert [balance_of(db, owner, token) for token in (SOL_MINT, TOKEN, OTHER, "Dust")] == [100, 0, 0, 0]
    assert db.positions.list_by_agent(owner.agent_id) == []
    again = db.trades.reset_wallet(order)
    assert again.duplicate
    assert again.model_copy(update={"duplicate": False}) == result


def test_reset_of_empty_wallet_deposits_only(db: Database, owner: Owner) -> None:
    result = db.trades.reset_wallet(owner.reset("7"))
    assert [t.transaction_type for t in result.transactions] == ["DEPOSIT"]
    assert balance_of(db, owner) == 7
    emptied = db.trades.reset_wallet(owner.reset())
    assert [t.transaction_type for t in emptied.transactions] == ["BURN"]
    assert balance_of(db, owner) == 0


# --- Refusals -----------------------------------------------------------------------------------


def _refusal(db: Database, database_url: str, owner: Owner, method: str, order: Any) -> TradeRefused:
    """The refusal of an order, after seeing that it changed nothing: alone, and in a transaction that goes on."""
    before = rows_of(database_url, owner.agent_id)
    with pytest.raises(TradeRefused) as alone:
        getattr(db.trades, method)(order)
    assert rows_of(database_url, owner.agent_id) == before
    with db.transaction() as tx:
        with pytest.raises(type(alone.value)):
            getattr(tx.trades, method)(order)
        assert tx.users.find_by_id(owner.user_id) is not None  # the transaction is not aborted
    assert rows_of(database_url, owner.agent_id) == before
    return alone.value


def test_oversell_changes_nothing(db: Database, owner: Owner, database_url: str) -> None:
    db.trades.deposit(owner.deposit("10"))
    db.trades.buy(owner.buy("1", "3"))
    for method, order in (("sell", owner.sell("3.1", "2")), ("take_profit", owner.take_profit("3.1", "2"))):
        refused = _refusal(db, database_url, owner, method, order)
        assert isinstance(refused, Oversell)
        assert (refused.remaining, refused.requested) == (3, Decimal("3.1"))


def test_full_sale_of_part_is_refused(db: Database, owner: Owner, database_url: str) -> None:
    db.trades.deposit(owner.deposit("10"))
    db.trades.buy(owner.buy("1", "3"))
    refused = _refusal(db, database_url, owner, "sell", owner.sell("2.9", "2"))
    assert isinstance(refused, NotAFullSale)
    assert (refused.remaining, refused.requested) == (3, Decimal("2.9"))


@pytest.mark.parametrize("method", ["withdraw", "burn"])
def test_withdrawal_above_balance_is_refused(db: Database, owner: Owner, database_url: str, method: str) -> None:
    db.trades.deposit(owner.deposit("10"))
    order = getattr(owner, method)("10.000000000000000001")
    refused = _refusal(db, database_url, owner, method, order)
    assert isinstance(refused, InsufficientBalance)
    assert (refused.balance, refused.required) == (10, Decimal("10.000000000000000001"))
    assert "holds 10 of" in str(refused)


def test_token_never_held_has_balance_zero(db: Database, owner: Owner, database_url: str) -> None:
    refused = _refusal(db, database_url, owner, "swap", owner.swap("1", OTHER, "1", TOKEN))
    assert isinstance(refused, InsufficientBalance)
    assert (refused.token_address, refused.balance, refused.required) == (OTHER, 0, 1)


def test_buy_without_sol_for_fees_is_refused(db: Database, owner: Owner, database_url: str) -> None:
    db.trades.deposit(owner.deposit("1"))
    refused = _refusal(db, database_url, owner, "buy", owner.buy("1", "3", network_fee_sol="0.000000001"))
    assert isinstance(refused, InsufficientBalance)
    assert refused.required == Decimal("1.000000001")


def test_second_buy_of_token_is_refused(db: Database, owner: Owner, database_url: str) -> None:
    db.trades.deposit(owner.deposit("10"))
    db.trades.buy(owner.buy("1", "3"))
    refused = _refusal(db, database_url, owner, "buy", owner.buy("1", "3"))
    assert isinstance(refused, PositionExists)
    assert refused.remaining == 3


def test_dca_and_sale_without_position_are_refused(db: Database, owner: Owner, database_url: str) -> None:
    db.trades.deposit(owner.deposit("10"))
    db.trades.deposit(owner.deposit("10", TOKEN))
    for method, order in (
        ("dca_buy", owner.dca_buy("1", "1")),
        ("take_profit", owner.take_profit("1", "1")),
        ("sell", owner.sell("1", "1")),
    ):
        assert isinstance(_refusal(db, database_url, owner, method, order), PositionNotFound)


def test_sale_without_tokens_in_wallet_is_refused(db: Database, owner: Owner, database_url: str) -> None:
    db.trades.deposit(owner.deposit("10"))
    db.trades.buy(owner.buy("1", "3"))
    db.trades.withdraw(owner.withdraw("1", TOKEN))
    refused = _refusal(db, database_url, owner, "sell", owner.sell("3", "2"))
    assert isinstance(refused, InsufficientBalance)
    assert (refused.token_address, refused.balance, refused.required) == (TOKEN, 2, 3)


def test_take_profits_stop_at_moon_bag(db: Database, owner: Owner, database_url: str) -> None:
    db.trades.deposit(owner.deposit("10"))
    db.trades.buy(owner.buy("1", "10"))
    refused = _refusal(db, database_url, owner, "take_profit", owner.take_profit("5", "1", moon_bag_amount="5.1"))
    assert isinstance(refused, MoonBagTooLarge)
    assert (refused.remaining, refused.requested) == (5, Decimal("5.1"))
    db.trades.take_profit(owner.take_profit("5", "1", moon_bag_amount="1"))
    refused = _refusal(db, database_url, owner, "take_profit", owner.take_profit("5", "1"))
    assert isinstance(refused, MoonBagTooLarge)
    result = db.trades.take_profit(owner.take_profit("4", "1"))
    assert result.position is not None  # the moon bag keeps it open
    assert result.position.remaining_amount == 1
    assert db.trades.sell(owner.sell("1", "9")).swap is not None


def test_stale_counter_is_refused(db: Database, owner: Owner, database_url: str) -> None:
    db.trades.deposit(owner.deposit("10"))
    db.trades.buy(owner.buy("1", "10"))
    for method, order in (
        ("dca_buy", owner.dca_buy("1", "1", expected_dca_count=2)),
        ("take_profit", owner.take_profit("1", "1", expected_levels_hit=2)),
    ):
        refused = _refusal(db, database_url, owner, method, order)
        assert isinstance(refused, StalePosition)
        assert (refused.expected, refused.actual) == (2, 0)
    db.trades.dca_buy(owner.dca_buy("1", "1", expected_dca_count=0))
    db.trades.take_profit(owner.take_profit("1", "1", expected_levels_hit=0))


def test_sale_before_purchase_is_refused(db: Database, owner: Owner, database_url: str) -> None:
    bought = datetime(2025, 5, 1, tzinfo=UTC)
    db.trades.deposit(owner.deposit("10"))
    db.trades.buy(owner.buy("1", "10", transaction_time=bought))
    early = owner.sell("10", "1", transaction_time=bought - timedelta(microseconds=1))
    assert isinstance(_refusal(db, database_url, owner, "sell", early), SaleBeforePurchase)


def test_sale_without_time_is_not_before_purchase(db: Database, owner: Owner) -> None:
    bought = datetime(2100, 1, 1, tzinfo=UTC)
    db.trades.deposit(owner.deposit("10"))
    db.trades.buy(owner.buy("1", "10", transaction_time=bought))
    result = db.trades.sell(owner.sell("10", "1"))
    assert result.swap is not None
    assert result.swap.sale_time == result.transaction.transaction_time == bought


def test_wallet_of_other_agent_is_not_found(db: Database, owner: Owner, database_url: str) -> None:
    db.trades.deposit(owner.deposit("10"))
    stranger = new_owner(db)
    thief = Owner(stranger.user_id, stranger.agent_id, owner.wallet_address)
    refused = _refusal(db, database_url, owner, "withdraw", thief.withdraw("1"))
    assert isinstance(refused, WalletNotFound)
    assert refused.agent_id == stranger.agent_id
    nowhere = Owner(owner.user_id, owner.agent_id, "nowhere")
    for method, order in (
        ("buy", nowhere.buy("1", "1")),
        ("dca_buy", nowhere.dca_buy("1", "1")),
        ("sell", nowhere.sell("1", "1")),
        ("reset_wallet", nowhere.reset()),
    ):
        assert isinstance(_refusal(db, database_url, owner, method, order), WalletNotFound)


def test_reset_of_live_wallet_is_refused(db: Database, database_url: str) -> None:
    live = new_owner(db, "live")
    db.trades.deposit(live.deposit("1"))
    refused = _refusal(db, database_url, live, "reset_wallet", live.reset())
    assert isinstance(refused, WalletNotSimulated)
    assert refused.wallet_type == "live"


def test_balance_overflow_is_refused(db: Database, owner: Owner, database_url: str) -> None:
    db.trades.deposit(owner.deposit("99999999999999999999", TOKEN))
    before = rows_of(database_url, owner.agent_id)
    with pytest.raises(NumericOverflow):
        db.trades.deposit(owner.deposit("1", TOKEN))
    assert rows_of(database_url, owner.agent_id) == before


# --- Repeated orders ----------------------------------------------------------------------------


def test_repeated_order_returns_first_result_after_later_trades(db: Database, owner: Owner, database_url: str) -> None:
    deposit, buy = owner.deposit("10"), owner.buy("1", "10", swap_payload={"a": [0.1]})
    dca, take, sell = owner.dca_buy("1", "2"), owner.take_profit("3", "1"), owner.sell("9", "4")
    orders = (("deposit", deposit), ("buy", buy), ("dca_buy", dca), ("take_profit", take), ("sell", sell))
    first = [getattr(db.trades, method)(order) for method, order in orders]
    before = rows_of(database_url, owner.agent_id)
    for (method, order), result in zip(orders, first, strict=True):
        again = getattr(db.trades, method)(order)
        assert again.duplicate
        assert again.model_copy(update={"duplicate": False}) == result
    assert rows_of(database_url, owner.agent_id) == before


def test_repeated_order_with_equal_values_returns_first_result(db: Database, owner: Owner) -> None:
    at = datetime(2025, 5, 1, 12, tzinfo=UTC)
    order = owner.deposit("10.50", transaction_time=at)
    db.trades.deposit(order)
    same = owner.deposit("10.5", transaction_time=at.astimezone(), request_id=order.request_id)
    assert db.trades.deposit(same).duplicate


@pytest.mark.parametrize(
    "change",
    [
        {"amount": "11"},
        {"token": TOKEN},
        {"transaction_value_usd": "1"},
        {"network_fee_sol": "0"},
        {"transaction_time": datetime(2025, 1, 1, tzinfo=UTC)},
        {"transaction_hash": "other"},
    ],
)
def test_same_id_with_other_content_is_conflict(
    db: Database, owner: Owner, database_url: str, change: dict[str, Any]
) -> None:
    first = owner.deposit("10")
    db.trades.deposit(first)
    other = owner.deposit(**{"amount": "10", **change}, request_id=first.request_id)
    refused = _refusal(db, database_url, owner, "deposit", other)
    assert isinstance(refused, IdempotencyConflict)
    assert refused.request_id == first.request_id


def test_same_id_for_other_operation_is_conflict(db: Database, owner: Owner, database_url: str) -> None:
    first = owner.deposit("10")
    db.trades.deposit(first)
    for method, order in (
        ("withdraw", owner.withdraw("10", request_id=first.request_id)),
        ("buy", owner.buy("1", "1", request_id=first.request_id)),
        ("reset_wallet", owner.reset(request_id=first.request_id)),
    ):
        assert isinstance(_refusal(db, database_url, owner, method, order), IdempotencyConflict)


def test_repeated_order_with_deleted_transaction_is_conflict(db: Database, owner: Owner, database_url: str) -> None:
    order = owner.deposit("1")
    db.trades.deposit(order)
    with psycopg.connect(database_url) as connection:
        connection.execute("SET session_replication_role = replica")  # the ledger is append-only
        connection.execute("DELETE FROM agent_transactions WHERE id = %s", [order.trade_id])
    refused = _refusal(db, database_url, owner, "deposit", order)
    assert isinstance(refused, IdempotencyConflict)
    purge_agent(database_url, owner.agent_id)  # the ledger was broken on purpose


def test_on_chain_transaction_is_recorded_once_per_wallet(db: Database, owner: Owner, database_url: str) -> None:
    first = owner.deposit("10", transaction_hash="5xHash")
    db.trades.deposit(first)
    assert owner.deposit("10", transaction_hash="5xHash").request_id == first.request_id
    assert db.trades.deposit(owner.deposit("10", transaction_hash="5xHash")).duplicate
    other_id = owner.deposit("10", transaction_hash="5xHash", request_id=uuid4())
    refused = _refusal(db, database_url, owner, "deposit", other_id)
    assert isinstance(refused, IdempotencyConflict)
    assert str(first.trade_id) in str(refused)
    db.trades.deposit(owner.deposit("10", transaction_hash="5xHash", transaction_leg=1))
    stranger = new_owner(db)
    db.trades.deposit(stranger.deposit("10", transaction_hash="5xHash"))
    assert balance_of(db, owner) == 20


# --- Bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount": 1.5}, "amount"),
        ({"amount": True}, "amount"),
        ({"amount": "NaN"}, "amount"),
        ({"amount": Decimal("Infinity")}, "amount"),
        ({"amount": "0.0000000000000000001"}, "amount"),
        ({"amount": "100000000000000000000"}, "amount"),
        ({"amount": "0"}, "amount"),
        ({"amount": "-1"}, "amount"),
        ({"amount": "ten"}, "amount"),
        ({"network_fee_sol": "-0.1"}, "network_fee_sol"),
        ({"transaction_value_usd": "0.000000001"}, "transaction_value_usd"),
        ({"token_symbol": "x" * 300}, "token_symbol"),
        ({"token_symbol": ""}, "token_symbol"),
        ({"token_address": ""}, "token_address"),
        ({"wallet_address": "w" * 45}, "wallet_address"),
        ({"transaction_time": datetime(2025, 1, 1)}, "transaction_time"),  # noqa: DTZ001  # naive on purpose
        ({"transaction_hash": "x" * 300}, "transaction_hash"),
        ({"transaction_leg": -1}, "transaction_leg"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_order_with_inexact_amount_is_refused(owner: Owner, change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        DepositOrder(**{**dict(owner.deposit("1")), **change})
    assert refused.value.field == field


def test_nul_in_text_is_invalid_input(db: Database, owner: Owner) -> None:
    with pytest.raises(InvalidInput, match="NUL"):
        db.trades.deposit(owner.deposit("1", transaction_hash="a\0b"))


def test_position_in_sol_and_swap_of_one_token_are_refused(owner: Owner) -> None:
    with pytest.raises(InvalidInput, match="SOL itself"):
        owner.buy("1", "1", SOL_MINT)
    with pytest.raises(InvalidInput, match="same token"):
        owner.swap("1", TOKEN, "1", TOKEN)


# --- In a transaction ---------------------------------------------------------------------------------


def test_trades_of_transaction_are_atomic(db: Database, owner: Owner, database_url: str) -> None:
    with db.transaction() as tx:
        tx.trades.deposit(owner.deposit("10"))
        tx.trades.buy(owner.buy("1", "3"))
        tx.trades.dca_buy(owner.dca_buy("1", "3"))
    assert balance_of(db, owner, TOKEN) == 6
    before = rows_of(database_url, owner.agent_id)
    with pytest.raises(ZeroDivisionError), db.transaction() as tx:
        tx.trades.sell(owner.sell("6", "5"))
        raise ZeroDivisionError
    assert rows_of(database_url, owner.agent_id) == before


def test_checks_detect_tampering(fresh_database_url: str) -> None:
    with Database(fresh_database_url) as own:
        owner = new_owner(own)
        own.trades.deposit(owner.deposit("10"))
        own.trades.buy(owner.buy("1", "3"))
        assert broken_rules(fresh_database_url) == {}
        with psycopg.connect(fresh_database_url) as connection:
            connection.execute("UPDATE agent_balances SET balance = balance + 1e-18 WHERE token_address = sol_mint()")
            connection.execute("UPDATE agent_positions SET remaining_amount = 0")
        assert broken_rules(fresh_database_url).keys() == {
            "balances_equal_their_ledger",
            "positions_have_something_left",
            "positions_equal_their_transactions",
        }
