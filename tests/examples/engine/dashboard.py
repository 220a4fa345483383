"""Dashboard lists: what the web page shows a user of an agent. One round trip for each list, however long it is.

Give it the database of the logged-in user, ``db.for_tenant(user_id)``: PostgreSQL then shows no row of another user,
whatever agent a request names.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from nexgent_db import AsyncDatabase
from nexgent_db.models import AgentHistoricalSwap, Page, Performance, SwapFilter


@dataclass(frozen=True)
class OpenTrade:
    """A line of the list of positions. ``invested_sol`` includes fees and later purchases."""

    token_symbol: str
    bought_at: datetime
    transaction_hash: str | None
    invested_sol: Decimal
    remaining_amount: Decimal
    realized_profit_sol: Decimal


async def open_trades(db: AsyncDatabase, agent_id: UUID) -> list[OpenTrade]:
    """The agent's open positions, newest first, with the transactions that opened them."""
    return [
        OpenTrade(
            token_symbol=position.token_symbol,
            bought_at=purchase.transaction_time,
            transaction_hash=purchase.transaction_hash,
            invested_sol=position.total_invested_sol,
            remaining_amount=position.remaining_amount,
            realized_profit_sol=position.realized_profit_sol,
        )
        for position, purchase in await db.positions.list_with_purchase(agent_id)
    ]


async def take_profit_line(db: AsyncDatabase, agent_id: UUID) -> str:
    """The line above the list of positions."""
    summary = await db.positions.summarise_take_profits(agent_id)
    return (
        f"{summary.with_take_profits} of {summary.open_positions} positions took profit:"
        f" {summary.realized_profit_sol.normalize():f} SOL, {summary.moon_bags} moon bags"
    )


async def closed_trades(db: AsyncDatabase, agent_id: UUID, cursor: str | None = None) -> Page[AgentHistoricalSwap]:
    """A page of the agent's profitable trades, the latest sale first. The page's ``next`` is the next cursor."""
    return await db.historical_swaps.page_by_agent(agent_id, SwapFilter(min_profit_loss_sol=Decimal(0)), 25, cursor)


async def performance(db: AsyncDatabase, agent_id: UUID, now: datetime) -> tuple[Performance, Performance]:
    """The agent's profit of the last 24 hours, and of all time."""
    day = await db.performance.summarise(agent_id, since=now - timedelta(days=1))
    return day, await db.performance.summarise(agent_id)
