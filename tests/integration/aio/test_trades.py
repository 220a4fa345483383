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

from nexgent_db import AsyncDatabase
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
from tests.integration.aio.factories import TOKEN, Owner, balance_of, new_owner
from tests.support.builders.purge import purge_agent
from tests.support.oracles.state import broken_rules, rows_of

pytestmark = pytest.mark.usefixtures("consistent_ledger")

OTHER = "TokenBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB2"


# --- Deposits, withdrawals, burns, plain swaps --------------------------------------------------


async def test_deposit_adds_to_balance_and_ledger(db: AsyncDatabase, owner: Owner) -> None:
    result = await db.trades.deposit(owner.deposit("1.000000001", transaction_value_usd="150.5"))
    assert await balance_of(db, owner) == Decimal("1.000000001")
    assert result.balances == (await db.balances.find_by_wallet_and_token(owner.wallet_address, SOL_MINT),)
    assert result.transaction == await db.transactions.find_by_id(result.transaction.id)
    assert result.transaction.transaction_type == "DEPOSIT"
    assert result.transaction.transaction_value_usd == Decimal("150.5")
    assert not result.duplicate


async def test_largest_and_smallest_amounts_are_exact(db: AsyncDatabase, owner: Owner) -> None:
    amounts = ("9283556390534", "0.000000000000000001", "99990000000000000000.5")
    for amount in amounts:
        await db.trades.deposit(owner.deposit(amount, TOKEN))
    assert await balance_of(db, owner, TOKEN) == Decimal("99990009283556390534.500000000000000001")


async def test_withdrawal_debits_wallet_and_stores_destination(db: AsyncDatabase, owner: Owner) -> None:
    await db.trades.deposit(owner.deposit("5"))
    result = await db.trades.withdraw(owner.withdraw("2", destination_address="elsewhere"))
    assert await balance_of(db, owner) == 3
    assert result.transaction.destination_address == "elsewhere"
    assert result.transaction.transaction_type == "WITHDRAWAL"


async def test_burn_of_all_leaves_zero(db: AsyncDatabase, owner: Owner) -> None:
    await db.trades.deposit(owner.deposit("5", TOKEN))
    result = await db.trades.burn(owner.burn("5", TOKEN))
    assert await balance_of(db, owner, TOKEN) == 0
    assert result.transaction.transaction_type == "BURN"


async def test_swap_debits_one_token_and_credits_other(db: AsyncDatabase, owner: Owner) -> None:
    await db.trades.deposit(owner.deposit("5", TOKEN))
    result = await db.trades.swap(owner.swap("2", TOKEN, "7.5", OTHER, slippage="0.5", price_impact="12.3456"))
    assert await balance_of(db, owner, TOKEN) == 3
    assert await balance_of(db, owner, OTHER) == Decimal("7.5")
    assert (result.transaction.slippage, result.transaction.price_impact) == (Decimal("0.5"), Decimal("12.3456"))
    assert {balance.token_address for balance in result.balances} == {TOKEN, OTHER}


async def test_fees_are_debited_in_sol_in_every_trade(db: AsyncDatabase, owner: Owner) -> None:
    fees = {"protocol_fee_sol": "0.000005", "network_fee_sol": "0.01"}
    await db.trades.deposit(owner.deposit("10", **fees))
    await db.trades.withdraw(owner.withdraw("1", **fees))
    await db.trades.buy(owner.buy("2", "100", **fees))
    await db.trades.dca_buy(owner.dca_buy("1", "50", **fees))
    await db.trades.take_profit(owner.take_profit("30", "0.5", **fees))
    await db.trades.swap(owner.swap("10", TOKEN, "1", OTHER, **fees))
    await db.trades.burn(owner.burn("1", OTHER, **fees))
    assert await balance_of(db, owner) == 10 - 1 - 2 - 1 + Decimal("0.5") - 7 * Decimal("0.010005")


async def test_fee_above_proceeds_requires_sol_in_wallet(db: AsyncDatabase, owner: Owner) -> None:
    await db.trades.deposit(owner.deposit("5", TOKEN))
    swap = owner.swap("5", TOKEN, "0.001", SOL_MINT, network_fee_sol="0.002")
    with pytest.raises(InsufficientBalance) as refused:
        await db.trades.swap(swap)
    assert (refused.value.token_address, refused.value.required) == (SOL_MINT, Decimal("0.001"))
    await db.trades.deposit(owner.deposit("0.001"))
    await db.trades.swap(swap)
    assert await balance_of(db, owner) == 0


async def test_payloads_are_stored_as_given(db: AsyncDatabase, owner: Owner) -> None:
    await db.trades.deposit(owner.deposit("10"))
    payload = {"outAmount": "318", "priceImpactPct": 0.1, "routePlan": [{"percent": 100, "label": "Ω"}], "fee": None}
    result = await db.trades.buy(owner.buy("1", "3", swap_payload=payload, routes=[payload]))
    assert (result.transaction.swap_payload, result.transaction.routes) == (payload, [payload])
    stored = await db.transactions.find_by_id(result.transaction.id)
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
async def test_payload_of_exchange_is_returned_unchanged(db: AsyncDatabase, owner: Owner, payload: Any) -> None:
    await db.trades.deposit(owner.deposit("10"))
    result = await db.trades.swap(owner.swap("1", SOL_MINT, "2", OTHER, swap_payload=payload))
    stored = await db.transactions.find_by_id(result.transaction.id)
    assert stored is not None
    assert stored.swap_payload == payload


# --- Positions ----------------------------------------------------------------------------------


async def test_buy_opens_position(db: AsyncDatabase, owner: Owner) -> None:
    await db.trades.deposit(owner.deposit("10"))
    result = await db.trades.buy(
        owner.buy("2", "3", protocol_fee_sol="0.01", stop_loss_percentage="-32", take_profit_levels=4)
    )
    position = result.position
    assert position is not None
    assert position == await db.positions.find_by_id(position.id)
    assert position.purchase_price == Decimal("0.666666666666666667")  # 2/3, fees aside, correctly rounded
    assert position.peak_price == position.lowest_price == position.purchase_price
    assert position.purchase_amount == position.remaining == 3
    assert position.total_invested_sol == Decimal("2.01")
    assert position.purchase_transaction_id == result.transaction.id
    assert position.current_stop_loss_percentage == -32
    assert position.total_take_profit_levels == 4
    assert result.transaction.output_price == position.purchase_price
    assert await balance_of(db, owner) == Decimal("7.99")
    assert await balance_of(db, owner, TOKEN) == 3


async def test_price_of_1e_12_is_exact(db: AsyncDatabase, owner: Owner) -> None:
    await db.trades.deposit(owner.deposit("10"))
    result = await db.trades.buy(owner.buy("1.4", "1000000000000"))
    assert result.position is not None
    assert result.position.purchase_price == Decimal("0.0000000000014")


async def test_dca_buy_averages_price_over_total_invested(db: AsyncDatabase, owner: Owner) -> None:
    await db.trades.deposit(owner.deposit("10"))
    await db.trades.buy(owner.buy("2", "3"))
    bought = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    result = await db.trades.dca_buy(
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


async def test_dca_after_take_profit_starts_new_batch(db: AsyncDatabase, owner: Owner) -> None:
    await db.trades.deposit(owner.deposit("10"))
    await db.trades.buy(owner.buy("2", "4", take_profit_levels=4))
    await db.trades.take_profit(owner.take_profit("1", "1", levels_hit=2))
    result = await db.trades.dca_buy(owner.dca_buy("1", "2", take_profit_levels=4))
    assert result.position is not None
    assert result.position.remaining_amount == 5
    assert (result.position.tp_batch_start_level, result.position.total_take_profit_levels) == (2, 6)


async def test_take_profit_reduces_position_and_realises_profit(db: AsyncDatabase, owner: Owner) -> None:
    await db.trades.deposit(owner.deposit("10"))
    await db.trades.buy(owner.buy("3", "9", protocol_fee_sol="0.03"))
    result = await db.trades.take_profit(
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


async def test_sell_closes_position_with_profit_of_all_sales(db: AsyncDatabase, owner: Owner) -> None:
    await db.trades.deposit(owner.deposit("10"))
    bought = datetime(2025, 5, 1, tzinfo=UTC)
    bought_by = await db.trades.buy(owner.buy("3", "9", protocol_fee_sol="0.03", transaction_time=bought))
    await db.trades.dca_buy(owner.dca_buy("1", "1", transaction_time=bought + timedelta(hours=1)))
    await db.trades.take_profit(
        owner.take_profit("5", "4", network_fee_sol="0.5", transaction_time=bought + timedelta(hours=2))
    )
    sold = bought + timedelta(days=1)
    result = await db.trades.sell(
        owner.sell("5", "2", network_fee_sol="0.1", transaction_time=sold, transaction_value_usd="300")
    )
    swap = result.swap
    assert swap is not None
    assert swap == await db.historical_swaps.find_by_id(swap.id)
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
    assert await db.positions.find_by_wallet_and_token(owner.agent_id, owner.wallet_address, TOKEN) is None
    assert await balance_of(db, owner, TOKEN) == 0


async def test_take_profit_of_rest_closes_position(db: AsyncDatabase, owner: Owner) -> None:
    await db.trades.deposit(owner.deposit("10"))
    await db.trades.buy(owner.buy("3", "9"))
    result = await db.trades.take_profit(owner.take_profit("9", "4"))
    assert result.position is None
    assert result.swap is not None
    assert (result.swap.close_reason, result.swap.profit_loss_sol) == ("take_profit", 1)


async def test_sold_token_can_be_bought_again(db: AsyncDatabase, owner: Owner) -> None:
    await db.trades.deposit(owner.deposit("10"))
    for _ in range(3):
        await db.trades.buy(owner.buy("1", "3"))
        await db.trades.sell(owner.sell("3", "2"))
    assert await balance_of(db, owner) == 13
    assert len(await db.historical_swaps.list_by_agent(owner.agent_id)) == 3


async def test_reset_burns_holdings_and_deposits_opening_sol(db: AsyncDatabase, owner: Owner) -> None:
    await db.trades.deposit(owner.deposit("10"))
    await db.trades.deposit(owner.deposit("5", OTHER))
    await db.trades.deposit(owner.deposit("0.000000000000000001", "Dust"))
    await db.trades.buy(owner.buy("3", "9"))
    order = owner.reset("100")
    result = await db.trades.reset_wallet(order)
    assert result.positions_given_up == 1
    assert sorted(t.transaction_type for t in result.transactions) == ["BURN", "BURN", "BURN", "BURN", "DEPOSIT"]
    assert [await balance_of(db, owner, token) for token in (SOL_MINT, TOKEN, OTHER, "Dust")] == [100, 0, 0, 0]
    assert await db.positions.list_by_agent(owner.agent_id) == []
    again = await db.trades.reset_wallet(order)
    assert again.duplicate
    assert again.model_copy(update={"duplicate": False}) == result


async def test_reset_of_empty_wallet_deposits_only(db: AsyncDatabase, owner: Owner) -> None:
    result = await db.trades.reset_wallet(owner.reset("7"))
    assert [t.transaction_type for t in result.transactions] == ["DEPOSIT"]
    assert await balance_of(db, owner) == 7
    emptied = await db.trades.reset_wallet(owner.reset())
    assert [t.transaction_type for t in emptied.transactions] == ["BURN"]
    assert await balance_of(db, owner) == 0


# --- Refusals -----------------------------------------------------------------------------------


async def _refusal(db: AsyncDatabase, database_url: str, owner: Owner, method: str, order: Any) -> TradeRefused:
    """The refusal of an order, after seeing that it changed nothing: alone, and in a transaction that goes on."""
    before = rows_of(database_url, owner.agent_id)
    with pytest.raises(TradeRefused) as alone:
        await getattr(db.trades, method)(order)
    assert rows_of(database_url, owner.agent_id) == before
    async with db.transaction() as tx:
        with pytest.raises(type(alone.value)):
            await getattr(tx.trades, method)(order)
        assert await tx.users.find_by_id(owner.user_id) is not None  # the transaction is not aborted
    assert rows_of(database_url, owner.agent_id) == before
    return alone.value


async def test_oversell_changes_nothing(db: AsyncDatabase, owner: Owner, database_url: str) -> None:
    await db.trades.deposit(owner.deposit("10"))
    await db.trades.buy(owner.buy("1", "3"))
    for method, order in (("sell", owner.sell("3.1", "2")), ("take_profit", owner.take_profit("3.1", "2"))):
        refused = await _refusal(db, database_url, owner, method, order)
        assert isinstance(refused, Oversell)
        assert (refused.remaining, refused.requested) == (3, Decimal("3.1"))


async def test_full_sale_of_part_is_refused(db: AsyncDatabase, owner: Owner, database_url: str) -> None:
    await db.trades.deposit(owner.deposit("10"))
    await db.trades.buy(owner.buy("1", "3"))
    refused = await _refusal(db, database_url, owner, "sell", owner.sell("2.9", "2"))
    assert isinstance(refused, NotAFullSale)
    assert (refused.remaining, refused.requested) == (3, Decimal("2.9"))


@pytest.mark.parametrize("method", ["withdraw", "burn"])
async def test_withdrawal_above_balance_is_refused(
    db: AsyncDatabase, owner: Owner, database_url: str, method: str
) -> None:
    await db.trades.deposit(owner.deposit("10"))
    order = getattr(owner, method)("10.000000000000000001")
    refused = await _refusal(db, database_url, owner, method, order)
    assert isinstance(refused, InsufficientBalance)
    assert (refused.balance, refused.required) == (10, Decimal("10.000000000000000001"))
    assert "holds 10 of" in str(refused)


async def test_token_never_held_has_balance_zero(db: AsyncDatabase, owner: Owner, database_url: str) -> None:
    refused = await _refusal(db, database_url, owner, "swap", owner.swap("1", OTHER, "1", TOKEN))
    assert isinstance(refused, InsufficientBalance)
    assert (refused.token_address, refused.balance, refused.required) == (OTHER, 0, 1)


async def test_buy_without_sol_for_fees_is_refused(db: AsyncDatabase, owner: Owner, database_url: str) -> None:
    await db.trades.deposit(owner.deposit("1"))
    refused = await _refusal(db, database_url, owner, "buy", owner.buy("1", "3", network_fee_sol="0.000000001"))
    assert isinstance(refused, InsufficientBalance)
    assert refused.required == Decimal("1.000000001")


async def test_second_buy_of_token_is_refused(db: AsyncDatabase, owner: Owner, database_url: str) -> None:
    await db.trades.deposit(owner.deposit("10"))
    await db.trades.buy(owner.buy("1", "3"))
    refused = await _refusal(db, database_url, owner, "buy", owner.buy("1", "3"))
    assert isinstance(refused, PositionExists)
    assert refused.remaining == 3


async def test_dca_and_sale_without_position_are_refused(db: AsyncDatabase, owner: Owner, database_url: str) -> None:
    await db.trades.deposit(owner.deposit("10"))
    await db.trades.deposit(owner.deposit("10", TOKEN))
    for method, order in (
        ("dca_buy", owner.dca_buy("1", "1")),
        ("take_profit", owner.take_profit("1", "1")),
        ("sell", owner.sell("1", "1")),
    ):
        assert isinstance(await _refusal(db, database_url, owner, method, order), PositionNotFound)


async def test_sale_without_tokens_in_wallet_is_refused(db: AsyncDatabase, owner: Owner, database_url: str) -> None:
    await db.trades.deposit(owner.deposit("10"))
    await db.trades.buy(owner.buy("1", "3"))
    await db.trades.withdraw(owner.withdraw("1", TOKEN))
    refused = await _refusal(db, database_url, owner, "sell", owner.sell("3", "2"))
    assert isinstance(refused, InsufficientBalance)
    assert (refused.token_address, refused.balance, refused.required) == (TOKEN, 2, 3)


async def test_take_profits_stop_at_moon_bag(db: AsyncDatabase, owner: Owner, database_url: str) -> None:
    await db.trades.deposit(owner.deposit("10"))
    await db.trades.buy(owner.buy("1", "10"))
    refused = await _refusal(db, database_url, owner, "take_profit", owner.take_profit("5", "1", moon_bag_amount="5.1"))
    assert isinstance(refused, MoonBagTooLarge)
    assert (refused.remaining, refused.requested) == (5, Decimal("5.1"))
    await db.trades.take_profit(owner.take_profit("5", "1", moon_bag_amount="1"))
    refused = await _refusal(db, database_url, owner, "take_profit", owner.take_profit("5", "1"))
    assert isinstance(refused, MoonBagTooLarge)
    result = await db.trades.take_profit(owner.take_profit("4", "1"))
    assert result.position is not None  # the moon bag keeps it open
    assert result.position.remaining_amount == 1
    assert (await db.trades.sell(owner.sell("1", "9"))).swap is not None


async def test_stale_counter_is_refused(db: AsyncDatabase, owner: Owner, database_url: str) -> None:
    await db.trades.deposit(owner.deposit("10"))
    await db.trades.buy(owner.buy("1", "10"))
    for method, order in (
        ("dca_buy", owner.dca_buy("1", "1", expected_dca_count=2)),
        ("take_profit", owner.take_profit("1", "1", expected_levels_hit=2)),
    ):
        refused = await _refusal(db, database_url, owner, method, order)
        assert isinstance(refused, StalePosition)
        assert (refused.expected, refused.actual) == (2, 0)
    await db.trades.dca_buy(owner.dca_buy("1", "1", expected_dca_count=0))
    await db.trades.take_profit(owner.take_profit("1", "1", expected_levels_hit=0))


async def test_sale_before_purchase_is_refused(db: AsyncDatabase, owner: Owner, database_url: str) -> None:
    bought = datetime(2025, 5, 1, tzinfo=UTC)
    await db.trades.deposit(owner.deposit("10"))
    await db.trades.buy(owner.buy("1", "10", transaction_time=bought))
    early = owner.sell("10", "1", transaction_time=bought - timedelta(microseconds=1))
    assert isinstance(await _refusal(db, database_url, owner, "sell", early), SaleBeforePurchase)


async def test_sale_without_time_is_not_before_purchase(db: AsyncDatabase, owner: Owner) -> None:
    bought = datetime(2100, 1, 1, tzinfo=UTC)
    await db.trades.deposit(owner.deposit("10"))
    await db.trades.buy(owner.buy("1", "10", transaction_time=bought))
    result = await db.trades.sell(owner.sell("10", "1"))
    assert result.swap is not None
    assert result.swap.sale_time == result.transaction.transaction_time == bought


async def test_wallet_of_other_agent_is_not_found(db: AsyncDatabase, owner: Owner, database_url: str) -> None:
    await db.trades.deposit(owner.deposit("10"))
    stranger = await new_owner(db)
    thief = Owner(stranger.user_id, stranger.agent_id, owner.wallet_address)
    refused = await _refusal(db, database_url, owner, "withdraw", thief.withdraw("1"))
    assert isinstance(refused, WalletNotFound)
    assert refused.agent_id == stranger.agent_id
    nowhere = Owner(owner.user_id, owner.agent_id, "nowhere")
    for method, order in (
        ("buy", nowhere.buy("1", "1")),
        ("dca_buy", nowhere.dca_buy("1", "1")),
        ("sell", nowhere.sell("1", "1")),
        ("reset_wallet", nowhere.reset()),
    ):
        assert isinstance(await _refusal(db, database_url, owner, method, order), WalletNotFound)


async def test_reset_of_live_wallet_is_refused(db: AsyncDatabase, database_url: str) -> None:
    live = await new_owner(db, "live")
    await db.trades.deposit(live.deposit("1"))
    refused = await _refusal(db, database_url, live, "reset_wallet", live.reset())
    assert isinstance(refused, WalletNotSimulated)
    assert refused.wallet_type == "live"


async def test_balance_overflow_is_refused(db: AsyncDatabase, owner: Owner, database_url: str) -> None:
    await db.trades.deposit(owner.deposit("99999999999999999999", TOKEN))
    before = rows_of(database_url, owner.agent_id)
    with pytest.raises(NumericOverflow):
        await db.trades.deposit(owner.deposit("1", TOKEN))
    assert rows_of(database_url, owner.agent_id) == before


# --- Repeated orders ----------------------------------------------------------------------------


async def test_repeated_order_returns_first_result_after_later_trades(
    db: AsyncDatabase, owner: Owner, database_url: str
) -> None:
    deposit, buy = owner.deposit("10"), owner.buy("1", "10", swap_payload={"a": [0.1]})
    dca, take, sell = owner.dca_buy("1", "2"), owner.take_profit("3", "1"), owner.sell("9", "4")
    orders = (("deposit", deposit), ("buy", buy), ("dca_buy", dca), ("take_profit", take), ("sell", sell))
    first = [await getattr(db.trades, method)(order) for method, order in orders]
    before = rows_of(database_url, owner.agent_id)
    for (method, order), result in zip(orders, first, strict=True):
        again = await getattr(db.trades, method)(order)
        assert again.duplicate
        assert again.model_copy(update={"duplicate": False}) == result
    assert rows_of(database_url, owner.agent_id) == before


async def test_repeated_order_with_equal_values_returns_first_result(db: AsyncDatabase, owner: Owner) -> None:
    at = datetime(2025, 5, 1, 12, tzinfo=UTC)
    order = owner.deposit("10.50", transaction_time=at)
    await db.trades.deposit(order)
    same = owner.deposit("10.5", transaction_time=at.astimezone(), request_id=order.request_id)
    assert (await db.trades.deposit(same)).duplicate


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
async def test_same_id_with_other_content_is_conflict(
    db: AsyncDatabase, owner: Owner, database_url: str, change: dict[str, Any]
) -> None:
    first = owner.deposit("10")
    await db.trades.deposit(first)
    other = owner.deposit(**{"amount": "10", **change}, request_id=first.request_id)
    refused = await _refusal(db, database_url, owner, "deposit", other)
    assert isinstance(refused, IdempotencyConflict)
    assert refused.request_id == first.request_id


async def test_same_id_for_other_operation_is_conflict(db: AsyncDatabase, owner: Owner, database_url: str) -> None:
    first = owner.deposit("10")
    await db.trades.deposit(first)
    for method, order in (
        ("withdraw", owner.withdraw("10", request_id=first.request_id)),
        ("buy", owner.buy("1", "1", request_id=first.request_id)),
        ("reset_wallet", owner.reset(request_id=first.request_id)),
    ):
        assert isinstance(await _refusal(db, database_url, owner, method, order), IdempotencyConflict)


async def test_repeated_order_with_deleted_transaction_is_conflict(
    db: AsyncDatabase, owner: Owner, database_url: str
) -> None:
    order = owner.deposit("1")
    await db.trades.deposit(order)
    with psycopg.connect(database_url) as connection:
        connection.execute("SET session_replication_role = replica")  # the ledger is append-only
        connection.execute("DELETE FROM agent_transactions WHERE id = %s", [order.trade_id])
    refused = await _refusal(db, database_url, owner, "deposit", order)
    assert isinstance(refused, IdempotencyConflict)
    purge_agent(database_url, owner.agent_id)  # the ledger was broken on purpose


async def test_on_chain_transaction_is_recorded_once_per_wallet(
    db: AsyncDatabase, owner: Owner, database_url: str
) -> None:
    first = owner.deposit("10", transaction_hash="5xHash")
    await db.trades.deposit(first)
    assert owner.deposit("10", transaction_hash="5xHash").request_id == first.request_id
    assert (await db.trades.deposit(owner.deposit("10", transaction_hash="5xHash"))).duplicate
    other_id = owner.deposit("10", transaction_hash="5xHash", request_id=uuid4())
    refused = await _refusal(db, database_url, owner, "deposit", other_id)
    assert isinstance(refused, IdempotencyConflict)
    assert str(first.trade_id) in str(refused)
    await db.trades.deposit(owner.deposit("10", transaction_hash="5xHash", transaction_leg=1))
    stranger = await new_owner(db)
    await db.trades.deposit(stranger.deposit("10", transaction_hash="5xHash"))
    assert await balance_of(db, owner) == 20


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
async def test_order_with_inexact_amount_is_refused(owner: Owner, change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        DepositOrder(**{**dict(owner.deposit("1")), **change})
    assert refused.value.field == field


async def test_nul_in_text_is_invalid_input(db: AsyncDatabase, owner: Owner) -> None:
    with pytest.raises(InvalidInput, match="NUL"):
        await db.trades.deposit(owner.deposit("1", transaction_hash="a\0b"))


async def test_position_in_sol_and_swap_of_one_token_are_refused(owner: Owner) -> None:
    with pytest.raises(InvalidInput, match="SOL itself"):
        owner.buy("1", "1", SOL_MINT)
    with pytest.raises(InvalidInput, match="same token"):
        owner.swap("1", TOKEN, "1", TOKEN)


# --- In a transaction ---------------------------------------------------------------------------------


async def test_trades_of_transaction_are_atomic(db: AsyncDatabase, owner: Owner, database_url: str) -> None:
    async with db.transaction() as tx:
        await tx.trades.deposit(owner.deposit("10"))
        await tx.trades.buy(owner.buy("1", "3"))
        await tx.trades.dca_buy(owner.dca_buy("1", "3"))
    assert await balance_of(db, owner, TOKEN) == 6
    before = rows_of(database_url, owner.agent_id)
    with pytest.raises(ZeroDivisionError):
        async with db.transaction() as tx:
            await tx.trades.sell(owner.sell("6", "5"))
            raise ZeroDivisionError
    assert rows_of(database_url, owner.agent_id) == before


async def test_checks_detect_tampering(fresh_database_url: str) -> None:
    async with AsyncDatabase(fresh_database_url) as own:
        owner = await new_owner(own)
        await own.trades.deposit(owner.deposit("10"))
        await own.trades.buy(owner.buy("1", "3"))
        assert broken_rules(fresh_database_url) == {}
        with psycopg.connect(fresh_database_url) as connection:
            connection.execute("UPDATE agent_balances SET balance = balance + 1e-18 WHERE token_address = sol_mint()")
            connection.execute("UPDATE agent_positions SET remaining_amount = 0")
        assert broken_rules(fresh_database_url).keys() == {
            "balances_equal_their_ledger",
            "positions_have_something_left",
            "positions_equal_their_transactions",
        }
