"""Signals, the agents that are eligible for them, and their executions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from nexgent_db import AsyncDatabase
from nexgent_db.errors import ForeignKeyViolation, InvalidInput
from nexgent_db.models import SignalOrder, TradingSignal
from tests.integration.aio.factories import Owner, new_owner
from tests.support.faults.concurrently import concurrently_async


async def _signal(db: AsyncDatabase, owner: Owner, strength: int = 3) -> TradingSignal:
    return await db.signals.create(
        SignalOrder(token_address="T", signal_type="BUY", signal_strength=strength, user_id=owner.user_id)
    )


async def test_signal_is_stored_as_given(db: AsyncDatabase, owner: Owner) -> None:
    order = SignalOrder(
        token_address="T",
        signal_type="BUY",
        signal_strength=100,
        symbol="SYM",
        activation_reason="because",
        source="here",
        user_id=owner.user_id,
    )
    signal = await db.signals.create(order)
    assert signal == await db.signals.find_by_id(signal.id)
    assert signal.model_dump(include=set(SignalOrder.model_fields)) == dict(order)
    assert await db.signals.find_by_id(2**31 - 1) is None


async def test_signal_requires_strength_in_range_and_existing_user(db: AsyncDatabase) -> None:
    strengths: tuple[Any, ...] = (0, 101, True, 1.0)
    for strength in strengths:
        with pytest.raises(InvalidInput) as refused:
            SignalOrder(token_address="T", signal_type="BUY", signal_strength=strength)
        assert refused.value.field == "signal_strength"
    with pytest.raises(ForeignKeyViolation):
        await db.signals.create(SignalOrder(token_address="T", signal_type="BUY", signal_strength=1, user_id=uuid4()))


async def test_many_signals_are_stored_in_order_and_atomically(db: AsyncDatabase, owner: Owner) -> None:
    orders = [
        SignalOrder(token_address=f"T{number}", signal_type="BUY", signal_strength=1 + number % 100, symbol=None)
        for number in range(2000)
    ]
    made = await db.signals.create_many_of(owner.user_id, orders)
    assert [signal.token_address for signal in made] == [order.token_address for order in orders]
    assert await db.signals.count_by_user(owner.user_id) == 2000
    assert await db.signals.create_many_of(owner.user_id, []) == []
    with pytest.raises(ForeignKeyViolation):
        await db.signals.create_many_of(uuid4(), orders[:3])
    with pytest.raises(InvalidInput):
        await db.signals.create_many_of(owner.user_id, orders * 6)
    assert await db.signals.count_by_user(owner.user_id) == 2000


async def test_only_automated_agents_of_creator_are_eligible(db: AsyncDatabase, owner: Owner) -> None:
    await new_owner(db)  # another user's agent
    paused = await db.agents.create(owner.user_id, "paused")
    await db.agents.update(paused.id, automated_trading_simulation=False)
    live_without_wallet = await db.agents.create(owner.user_id, "live", "live")
    signal = await _signal(db, owner)
    eligible = await db.signals.list_eligible_agents(signal.id)
    assert {agent.id: agent.wallet_address for agent in eligible} == {
        owner.agent_id: owner.wallet_address,
        live_without_wallet.id: None,
    }
    await db.signal_executions.create_pending(signal.id, owner.agent_id)
    assert [agent.id for agent in await db.signals.list_eligible_agents(signal.id)] == [live_without_wallet.id]
    assert await db.signals.list_eligible_agents(2**31 - 1) == []


async def test_deletion_of_signal_deletes_executions_and_keeps_ledger(db: AsyncDatabase, owner: Owner) -> None:
    signal = await _signal(db, owner)
    await db.signal_executions.create_pending(signal.id, owner.agent_id)
    await db.trades.deposit(owner.deposit("10"))
    bought = await db.trades.buy(owner.buy("1", "1", signal_id=signal.id))
    assert await db.signals.delete(signal.id) == 1
    assert await db.signals.delete(signal.id) == 0
    assert await db.signal_executions.find(signal.id, owner.agent_id) is None
    stored = await db.transactions.find_by_id(bought.transaction.id)
    assert stored is not None
    assert stored.signal_id is None


async def test_concurrent_claims_of_signal_succeed_once(db: AsyncDatabase, owner: Owner) -> None:
    for _ in range(10):
        signal = await _signal(db, owner)
        claims = await concurrently_async(
            [lambda signal=signal: db.signal_executions.create_pending(signal.id, owner.agent_id)] * 4
        )
        (claimed,) = [claim for claim in claims if claim is not None]
        assert claimed.status == "PENDING"
        assert await db.signal_executions.find(signal.id, owner.agent_id) == claimed
    with pytest.raises(ForeignKeyViolation):
        await db.signal_executions.create_pending(signal.id, uuid4())


async def test_execution_is_finished_once(db: AsyncDatabase, owner: Owner) -> None:
    deposit = await db.trades.deposit(owner.deposit("10"))
    finals = []
    for finish in ("mark_executed", "mark_failed", "mark_skipped"):
        signal = await _signal(db, owner)
        pending = await db.signal_executions.create_pending(signal.id, owner.agent_id)
        assert pending is not None
        argument = deposit.transaction.id if finish == "mark_executed" else "a reason"
        final = await getattr(db.signal_executions, finish)(pending.id, argument)
        assert final == await db.signal_executions.find(signal.id, owner.agent_id)
        assert await db.signal_executions.mark_failed(pending.id, "too late") is None
        assert await db.signal_executions.mark_executed(pending.id, deposit.transaction.id) is None
        assert await db.signal_executions.list_by_signal(signal.id) == [final]
        finals.append((final.status, final.transaction_id, final.error))
    assert finals == [
        ("EXECUTED", deposit.transaction.id, None),
        ("FAILED", None, "a reason"),
        ("SKIPPED", None, "a reason"),
    ]
    assert await db.signal_executions.mark_failed(uuid4(), "nothing") is None


async def test_concurrent_finishes_of_execution_succeed_once(db: AsyncDatabase, owner: Owner) -> None:
    for _ in range(10):
        signal = await _signal(db, owner)
        pending = await db.signal_executions.create_pending(signal.id, owner.agent_id)
        assert pending is not None
        results = await concurrently_async(
            [
                lambda pending=pending: db.signal_executions.mark_failed(pending.id, "one"),
                lambda pending=pending: db.signal_executions.mark_skipped(pending.id, "two"),
            ]
        )
        assert sorted(result is None for result in results) == [False, True]


async def test_stuck_executions_are_found(db: AsyncDatabase, owner: Owner) -> None:
    signal = await _signal(db, owner)
    pending = await db.signal_executions.create_pending(signal.id, owner.agent_id)
    now = datetime.now(UTC)
    stuck = await db.signal_executions.list_stuck_pending(now + timedelta(minutes=1), limit=10_000)
    assert pending in stuck
    assert all(execution.status == "PENDING" for execution in stuck)
    assert pending not in await db.signal_executions.list_stuck_pending(now - timedelta(hours=1), limit=10_000)
