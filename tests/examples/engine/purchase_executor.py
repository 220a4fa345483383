"""Purchase executor: a signal arrives, and each agent of its creator buys the token, or records why not.

Flags, configuration and balance come from the cache. The claim is a row of ``signal_executions``, of which there is one
per signal and agent: however often a signal arrives, and in however many processes, an agent buys once. The purchase's
request id is the execution's id. So after a crash between purchase and record, ``finish_stuck`` finds the purchase.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from nexgent_db import AsyncDatabase
from nexgent_db.errors import TradeRefused
from nexgent_db.models import (
    SOL_MINT,
    AgentTradingConfig,
    BuyOrder,
    PositionCalculator,
    SignalExecution,
    Signals,
    TradingSignal,
    trade_id_of,
)
from tests.examples.engine.numbers import value_of

PURCHASE_S: Final = 30
"""A purchase that has not reached the database after so many seconds is refused there."""
LAMPORTS: Final = Decimal(10**9)


@dataclass(frozen=True)
class Quote:
    """What the exchange offers: tokens for one SOL, and the fraction by which a purchase moves the price."""

    token_address: str
    token_symbol: str
    tokens_per_sol: Decimal
    price_impact: Decimal


async def execute_signal(db: AsyncDatabase, signal: TradingSignal, quote: Quote) -> list[SignalExecution]:
    """Let every agent that may act on the signal do so; their executions, finished."""
    agents = await db.signals.list_eligible_agents(signal.id)
    executions = [
        await purchase(db, agent.id, agent.wallet_address, signal, quote)
        for agent in agents
        if agent.wallet_address is not None
    ]
    return [execution for execution in executions if execution is not None]


async def purchase(
    db: AsyncDatabase, agent_id: UUID, wallet_address: str, signal: TradingSignal, quote: Quote
) -> SignalExecution | None:
    """The agent's finished execution; None when the agent is paused, or has claimed the signal before."""
    if (await db.cache.trading_flags(agent_id)).paused():
        return None
    config = await db.cache.config(agent_id)
    balance = await db.cache.balance(agent_id, wallet_address, SOL_MINT)
    execution = None if config is None else await claim(db, signal.id, agent_id)
    if config is None or execution is None:
        return None
    sol = Decimal(0) if balance is None else balance.balance
    reason = objection(config, signal, quote, sol)
    if reason is not None:
        return await db.signal_executions.mark_skipped(execution.id, reason)
    return await buy(db, execution, order_of(execution, wallet_address, config, quote, sol))


async def claim(db: AsyncDatabase, signal_id: int, agent_id: UUID) -> SignalExecution | None:
    """The execution to finish; None when there is one. Redis answers repeated claims, PostgreSQL decides."""
    if await db.cache.coordination.get_execution(signal_id, agent_id) is not None:
        return None
    execution = await db.signal_executions.create_pending(signal_id, agent_id)
    await db.cache.coordination.store_execution(signal_id, agent_id, "PENDING")
    return execution


async def buy(db: AsyncDatabase, execution: SignalExecution, order: BuyOrder) -> SignalExecution | None:
    """Buy and finish the execution: EXECUTED, or FAILED with the database's reason. A lost answer leaves it PENDING."""
    try:
        bought = await db.trades.buy(order)
    except TradeRefused as refused:
        return await db.signal_executions.mark_failed(execution.id, str(refused))
    return await db.signal_executions.mark_executed(execution.id, bought.transaction.id)


async def finish_stuck(db: AsyncDatabase, now: datetime) -> list[SignalExecution | None]:
    """Finish the executions whose process died. Their purchases were made, or have expired."""
    stuck = await db.signal_executions.list_stuck_pending(now - timedelta(seconds=2 * PURCHASE_S))
    finished = []
    for execution in stuck:
        trade_id = trade_id_of(execution.agent_id, execution.id)
        if await db.transactions.find_by_id(trade_id) is None:
            finished.append(
                await db.signal_executions.mark_failed(execution.id, "its process died before the purchase")
            )
        else:
            finished.append(await db.signal_executions.mark_executed(execution.id, trade_id))
    return finished


# --- Decisions, without a server ----------------------------------------------------------------


def objection(config: AgentTradingConfig, signal: TradingSignal, quote: Quote, sol: Decimal) -> str | None:
    """Why the agent does not buy; None when it does."""
    wanted, limits = config.signals, config.purchase_limits
    if signal.signal_strength < wanted.min_score:
        return f"strength {signal.signal_strength} is below {wanted.min_score}"
    if wanted.allowed_signal_types and signal.signal_type not in wanted.allowed_signal_types:
        return f"signals of type {signal.signal_type} are not allowed"
    if not allows_token(wanted, signal.token_address):
        return f"the token filter excludes {signal.token_address}"
    if limits.max_price_impact is not None and quote.price_impact > limits.max_price_impact:
        return f"price impact {quote.price_impact} is above {limits.max_price_impact}"
    if sol < limits.minimum_agent_balance:
        return f"{sol.normalize():f} SOL are less than {limits.minimum_agent_balance}"
    return None


def allows_token(wanted: Signals, token_address: str) -> bool:
    """Whether the agent's list of tokens lets it buy this one."""
    match wanted.token_filter_mode:
        case "whitelist":
            return token_address in wanted.token_list
        case "blacklist":
            return token_address not in wanted.token_list
        case "none":
            return True


def size_of(calculator: PositionCalculator, sol: Decimal, most: Decimal) -> Decimal:
    """How much to spend, in SOL with 9 decimals: the range of the wallet's size, a random amount of it when wished."""
    thresholds, sizes = calculator.sol_balance_thresholds, calculator.position_sizes
    size = sizes.large if sol >= thresholds.large else sizes.medium if sol >= thresholds.medium else sizes.small
    lowest, highest = int(size.min * LAMPORTS), int(size.max * LAMPORTS)
    chosen = random.randint(lowest, highest) if calculator.randomization.enabled else highest
    return min(chosen / LAMPORTS, most, sol)


def order_of(
    execution: SignalExecution, wallet_address: str, config: AgentTradingConfig, quote: Quote, sol: Decimal
) -> BuyOrder:
    """The purchase, which can be sent again: its request id is the execution's."""
    spent = size_of(config.position_calculator, sol, config.purchase_limits.max_purchase_per_token)
    return BuyOrder(
        request_id=execution.id,
        expires_at=execution.executed_at + timedelta(seconds=PURCHASE_S),
        agent_id=execution.agent_id,
        wallet_address=wallet_address,
        signal_id=execution.signal_id,
        token_address=quote.token_address,
        token_symbol=quote.token_symbol,
        sol_amount=spent,
        token_amount=value_of(spent, quote.tokens_per_sol),
        price_impact=quote.price_impact * 100,
        stop_loss_percentage=config.stop_loss.default_percentage if config.stop_loss.enabled else None,
        take_profit_levels=len(config.take_profit.levels) if config.take_profit.enabled else None,
    )
