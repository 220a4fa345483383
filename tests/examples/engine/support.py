"""What the tests of these services have in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal

from nexgent_db import AsyncDatabase
from nexgent_db.models import AgentPosition
from tests.integration.aio.factories import Owner
from tests.support.oracles.round_trips import async_round_trips

TOKENS = [f"Mint{number}{'a' * 35}" for number in range(10)]
UNTIL_PREPARED = 5
"""So many calls until the driver has prepared every statement, and what can be cached is."""


async def bought(db: AsyncDatabase, owner: Owner, *tokens: str) -> list[AgentPosition]:
    """Open positions of 1 SOL for 1,000 tokens each."""
    positions = [(await db.trades.buy(owner.buy("1", "1000", token))).position for token in tokens]
    return [position for position in positions if position is not None]


async def trips_of(db: AsyncDatabase, call: Callable[[], Awaitable[object]]) -> int:
    """The round trips to PostgreSQL of one call that was made before."""
    for _ in range(UNTIL_PREPARED):
        await call()
    async with async_round_trips(db) as counted:
        await call()
    return counted.count


PRICE = Decimal("0.001")
"""The price of ``bought``, in SOL per token."""
