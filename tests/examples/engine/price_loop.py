"""Price loop: every 1.5 seconds the new prices are recorded, and the positions at their stop loss are found.

A tick takes two round trips to PostgreSQL, whatever the number of positions: one lists the positions in the tokens that
moved, of all agents; one records prices and stop losses of all of them. The agents' configurations come from the cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from uuid import UUID

from nexgent_db import AsyncDatabase
from nexgent_db.models import AgentPosition, PositionFilter, PriceUpdate, StopLoss
from tests.examples.engine.numbers import change_percent
from tests.examples.engine.snapshots import open_positions


async def tick(db: AsyncDatabase, prices: Mapping[str, Decimal]) -> list[AgentPosition]:
    """Record these tokens' prices in SOL; the positions that have reached their stop loss, to be sold."""
    if not prices:
        return []
    positions = await open_positions(db, PositionFilter(token_addresses=list(prices)))
    rules = await stop_losses(db, {position.agent_id for position in positions})
    updates = [
        update_of(position, prices[position.token_address], rules.get(position.agent_id)) for position in positions
    ]
    if updates:
        await db.positions.record_prices(updates)
    return [
        position
        for position, update in zip(positions, updates, strict=True)
        if is_reached(position, update.price, update.stop_loss_percentage)
    ]


async def tokens_to_watch(db: AsyncDatabase) -> list[str]:
    """The tokens whose prices the loop needs, each once, in constant memory."""
    return [token.token_address async for token in db.positions.stream_open_tokens()]


async def stop_losses(db: AsyncDatabase, agent_ids: set[UUID]) -> dict[UUID, StopLoss]:
    """Each agent's rules of the stop loss."""
    configs = {agent_id: await db.cache.config(agent_id) for agent_id in agent_ids}
    return {agent_id: config.stop_loss for agent_id, config in configs.items() if config is not None}


# --- Decisions, without a server ----------------------------------------------------------------


def update_of(position: AgentPosition, price: Decimal, rules: StopLoss | None) -> PriceUpdate:
    """The new price, and the stop loss that follows from the highest one. The database keeps a higher stop loss."""
    peak = max(price, position.peak_price or position.purchase_price)
    return PriceUpdate(
        position_id=position.id,
        price=price,
        stop_loss_percentage=None if rules is None else stop_loss_of(rules, position.purchase_price, peak),
    )


def stop_loss_of(rules: StopLoss, purchase_price: Decimal, peak: Decimal) -> Decimal | None:
    """The change since the purchase, in percent, at which to sell; None when the agent uses no stop loss."""
    if not rules.enabled:
        return None
    risen = change_percent(purchase_price, peak)
    levels = rules.trailing_levels if rules.mode == "custom" else ()
    return next((level.stop_loss for level in levels if risen >= level.change), rules.default_percentage)


def is_reached(position: AgentPosition, price: Decimal, stop_loss: Decimal | None) -> bool:
    """Whether the price is at the stop loss or below: the new one, or the one recorded before when that is higher."""
    recorded = position.current_stop_loss_percentage
    known = [each for each in (stop_loss, recorded) if each is not None]
    return stop_loss is not None and change_percent(position.purchase_price, price) <= max(known)
