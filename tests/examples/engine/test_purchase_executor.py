"""The purchase executor on real servers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from nexgent_db import AsyncDatabase
from nexgent_db.models import SOL_MINT, AgentTradingConfig, SignalOrder, TradingSignal, trade_id_of
from tests.examples.engine import purchase_executor
from tests.examples.engine.purchase_executor import Quote, execute_signal, finish_stuck, size_of
from tests.examples.engine.support import TOKENS, UNTIL_PREPARED
from tests.integration.aio.factories import Owner, balance_of, funded_owner, new_owner
from tests.support.oracles.round_trips import async_round_trips


async def signal_of(db: AsyncDatabase, owner: Owner, token: str = TOKENS[0]) -> TradingSignal:
    return await db.signals.create(
        SignalOrder(token_address=token, signal_type="BUY", signal_strength=3, user_id=owner.user_id)
    )


def quote_of(signal: TradingSignal) -> Quote:
    return Quote(signal.token_address, "MINT", Decimal(1000), Decimal("0.01"))


async def test_signal_is_bought_once_by_every_agent_of_its_creator(db: AsyncDatabase) -> None:
    owner, stranger = await funded_owner(db), await funded_owner(db)
    signal = await signal_of(db, owner)
    (execution,) = await execute_signal(db, signal, quote_of(signal))
    assert (execution.agent_id, execution.status) == (owner.agent_id, "EXECUTED")
    (position,) = await db.positions.list_by_agent(owner.agent_id)
    assert (position.token_address, position.current_stop_loss_percentage) == (TOKENS[0], -32)
    assert Decimal("1.5") <= position.total_invested_sol <= 2
    assert position.purchase_amount == position.total_invested_sol * 1000
    assert await balance_of(db, owner) == 100 - position.total_invested_sol
    trade_id = trade_id_of(owner.agent_id, execution.id)
    assert execution.transaction_id == position.purchase_transaction_id == trade_id
    assert await execute_signal(db, signal, quote_of(signal)) == []
    assert await db.positions.list_by_agent(stranger.agent_id) == []


async def test_signal_that_arrives_in_two_processes_is_bought_once(db: AsyncDatabase) -> None:
    owner = await funded_owner(db)
    signal = await signal_of(db, owner)
    async with AsyncDatabase(db.settings) as other:
        both = await asyncio.gather(*(execute_signal(each, signal, quote_of(signal)) for each in (db, other)))
    assert [execution.status for executions in both for execution in executions] == ["EXECUTED"]
    assert len(await db.positions.list_by_agent(owner.agent_id)) == 1


async def test_paused_agent_does_not_claim_the_signal(db: AsyncDatabase) -> None:
    owner = await funded_owner(db)
    signal = await signal_of(db, owner)
    await db.agents.set_automated_trading(owner.agent_id, "simulation", False)
    wallet = owner.wallet_address
    assert await purchase_executor.purchase(db, owner.agent_id, wallet, signal, quote_of(signal)) is None
    assert await execute_signal(db, signal, quote_of(signal)) == []
    assert await db.signal_executions.list_by_signal(signal.id) == []


@pytest.mark.parametrize(
    ("patch", "change", "reason"),
    [
        ({"signals": {"minScore": 4}}, {}, "strength 3 is below 4"),
        ({"signals": {"allowedSignalTypes": ["SELL"]}}, {}, "signals of type BUY are not allowed"),
        ({"signals": {"tokenFilterMode": "whitelist"}}, {}, "the token filter excludes Mint0"),
        ({"signals": {"tokenFilterMode": "blacklist", "tokenList": TOKENS[:1]}}, {}, "the token filter excludes Mint0"),
        ({}, {"price_impact": Decimal("0.06")}, "price impact 0.06 is above 0.05"),
        ({"purchaseLimits": {"minimumAgentBalance": Decimal(101)}}, {}, "100 SOL are less than 101"),
    ],
)
async def test_agent_whose_configuration_objects_skips_the_signal(
    db: AsyncDatabase, patch: dict[str, object], change: dict[str, Any], reason: str
) -> None:
    owner = await funded_owner(db)
    await db.agents.update_config(owner.agent_id, patch)
    signal = await signal_of(db, owner)
    (execution,) = await execute_signal(db, signal, replace(quote_of(signal), **change))
    assert (execution.status, execution.transaction_id) == ("SKIPPED", None)
    assert execution.error is not None
    assert execution.error.startswith(reason)
    assert await balance_of(db, owner) == 100


async def test_wallet_without_sol_skips_the_signal(db: AsyncDatabase) -> None:
    owner = await new_owner(db)
    signal = await signal_of(db, owner)
    (execution,) = await execute_signal(db, signal, quote_of(signal))
    assert (execution.status, execution.error) == ("SKIPPED", "0 SOL are less than 0.5")


async def test_refused_purchase_fails_with_its_reason(db: AsyncDatabase) -> None:
    owner = await funded_owner(db)
    await db.trades.buy(owner.buy("1", "1000", TOKENS[0]))
    signal = await signal_of(db, owner)
    (execution,) = await execute_signal(db, signal, quote_of(signal))
    assert (execution.status, execution.transaction_id) == ("FAILED", None)
    assert execution.error is not None
    assert TOKENS[0] in execution.error
    assert await balance_of(db, owner) == 99


@pytest.mark.parametrize("purchased", [True, False])
async def test_execution_of_dead_process_is_finished(db: AsyncDatabase, purchased: bool) -> None:
    owner = await funded_owner(db)
    signal = await signal_of(db, owner)
    execution = await purchase_executor.claim(db, signal.id, owner.agent_id)
    assert execution is not None
    order = purchase_executor.order_of(
        execution, owner.wallet_address, AgentTradingConfig(), quote_of(signal), Decimal(100)
    )
    if purchased:
        await db.trades.buy(order)
    now = datetime.now(UTC)
    assert await finish_stuck(db, now) == []
    (finished,) = await finish_stuck(db, now + timedelta(minutes=2))
    assert finished is not None
    assert finished.status == ("EXECUTED" if purchased else "FAILED")
    assert len(await db.positions.list_by_agent(owner.agent_id)) == purchased


@pytest.mark.parametrize(
    ("sol", "lowest", "highest"),
    [("0.3", "0.1", "0.1"), ("5", "0.5", "1"), ("10", "1.5", "1.8"), ("0.05", "0.05", "0.05")],
)
def test_size_of_purchase_is_in_the_range_of_the_wallet(sol: str, lowest: str, highest: str) -> None:
    sizes = {size_of(AgentTradingConfig().position_calculator, Decimal(sol), Decimal("1.8")) for _ in range(50)}
    assert all(Decimal(lowest) <= size <= Decimal(highest) for size in sizes)
    assert (len(sizes) > 1) == (lowest != highest)


async def test_purchase_is_three_round_trips_with_a_cache(db: AsyncDatabase) -> None:
    """The claim, the purchase, its end; and one for the agents that may act. Flags, limits and balance are cached."""
    owner = await funded_owner(db)
    assert await _trips(db, owner) == 4


async def test_purchase_is_six_round_trips_without_a_cache(without_cache: AsyncDatabase) -> None:
    owner = await funded_owner(without_cache)
    assert await _trips(without_cache, owner) == 7


async def _trips(db: AsyncDatabase, owner: Owner) -> int:
    signals = [await signal_of(db, owner, token) for token in TOKENS[: UNTIL_PREPARED + 1]]
    for signal in signals[:-1]:
        await execute_signal(db, signal, quote_of(signal))
    assert await db.cache.balance(owner.agent_id, owner.wallet_address, SOL_MINT) is not None
    async with async_round_trips(db) as counted:
        (execution,) = await execute_signal(db, signals[-1], quote_of(signals[-1]))
    assert execution.status == "EXECUTED"
    return counted.count
