"""Snapshot job: every hour the value of every wallet of all agents of all users, for the curves of the dashboard.

A page of agents takes four round trips: the agents, the SOL of their wallets, their positions, the snapshots. A second
run for an hour replaces that hour's snapshots.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Final

from nexgent_db import AsyncDatabase
from nexgent_db.models import (
    SOL_MINT,
    AgentFilter,
    AgentPosition,
    AgentWallet,
    AgentWithWallets,
    BalanceSnapshotOrder,
    PositionFilter,
    TokenPrice,
)
from tests.examples.engine.numbers import EXACT, value_of

LONGEST_PAGE: Final = 9_999
AGENTS: Final = 500
"""A page of agents: their positions fit a page as well, unless they hold 20 each."""


async def take_snapshots(db: AsyncDatabase, hour: datetime, page_size: int = AGENTS) -> int:
    """Store the value of every wallet of every agent, page by page; the number of stored snapshots."""
    taken, cursor = 0, None
    while True:
        page = await db.agents.page_all(AgentFilter(has_wallet=True), page_size, cursor)
        taken += await snapshot_agents(db, page.items, hour)
        if (cursor := page.next) is None:
            return taken


async def snapshot_agents(db: AsyncDatabase, agents: Sequence[AgentWithWallets], hour: datetime) -> int:
    """Store the value of each wallet of up to 1,000 agents; the number of stored snapshots. Three round trips."""
    wallets = [wallet for agent in agents for wallet in agent.wallets]
    if not wallets:
        return 0
    balances = await db.balances.list_by_wallets(SOL_MINT, [wallet.wallet_address for wallet in wallets])
    sol = {balance.wallet_address: balance.balance for balance in balances}
    positions = await open_positions(db, PositionFilter(agent_ids=[agent.agent.id for agent in agents]))
    held: dict[str, list[AgentPosition]] = defaultdict(list)
    for position in positions:
        held[position.wallet_address].append(position)
    prices = await db.cache.prices.get_many(sorted({position.token_address for position in positions}))
    return await db.balance_snapshots.create_many(
        [
            snapshot_of(wallet, sol.get(wallet.wallet_address, Decimal(0)), held[wallet.wallet_address], prices, hour)
            for wallet in wallets
        ]
    )


async def open_positions(db: AsyncDatabase, filter: PositionFilter) -> list[AgentPosition]:
    """All of these positions: one round trip for up to 9,999."""
    page = await db.positions.page_open(filter, LONGEST_PAGE)
    positions = page.items
    while page.next is not None:
        page = await db.positions.page_open(filter, LONGEST_PAGE, page.next)
        positions += page.items
    return positions


def snapshot_of(
    wallet: AgentWallet,
    sol: Decimal,
    positions: Sequence[AgentPosition],
    prices: dict[str, TokenPrice],
    hour: datetime,
) -> BalanceSnapshotOrder:
    """The wallet's value. A position whose token has no price counts as what it cost."""
    value = profit = Decimal(0)
    with localcontext(EXACT):
        for position in positions:
            price = prices.get(position.token_address)
            worth = cost_of(position) if price is None else value_of(position.remaining_amount, price.price_sol)
            value += worth
            profit += worth - cost_of(position)
        return BalanceSnapshotOrder(
            agent_id=wallet.agent_id,
            wallet_address=wallet.wallet_address,
            snapshot_timestamp=hour,
            portfolio_balance_sol=sol + value,
            sol_balance=sol,
            positions_value_sol=value,
            unrealized_pnl_sol=profit,
        )


def cost_of(position: AgentPosition) -> Decimal:
    """What the remaining amount cost: invested, less what sales brought, plus the profit in that."""
    with localcontext(EXACT):
        return position.total_invested_sol - position.proceeds_sol + position.realized_profit_sol
