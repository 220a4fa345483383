"""The price loop on real servers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from nexgent_db import AsyncDatabase
from nexgent_db.models import AgentPosition, StopLoss
from tests.examples.engine.price_loop import is_reached, stop_loss_of, tick, tokens_to_watch
from tests.examples.engine.support import PRICE, TOKENS, bought, trips_of
from tests.integration.aio.factories import Owner, funded_owner

TRAILING: dict[str, object] = {
    "stopLoss": {
        "mode": "custom",
        "trailingLevels": [
            {"change": Decimal(100), "stopLoss": Decimal(50)},
            {"change": Decimal(50), "stopLoss": Decimal(10)},
        ],
    }
}


async def position_of(db: AsyncDatabase, owner: Owner, token: str = TOKENS[0]) -> AgentPosition:
    (position,) = [row for row in await db.positions.list_by_agent(owner.agent_id) if row.token_address == token]
    return position


async def test_tick_records_peak_lowest_price_and_stop_loss_of_all_holders(db: AsyncDatabase) -> None:
    owner, other = await funded_owner(db), await funded_owner(db)
    await db.agents.update_config(owner.agent_id, TRAILING)
    for holder in (owner, other):
        await bought(db, holder, *TOKENS[:2])
    assert await tick(db, {TOKENS[0]: PRICE * 2}) == []
    assert await tick(db, {TOKENS[0]: PRICE * Decimal("1.8")}) == []
    position = await position_of(db, owner)
    assert (position.peak_price, position.current_stop_loss_percentage) == (PRICE * 2, 50)
    assert position.last_stop_loss_update is not None
    fixed = await position_of(db, other)
    assert (fixed.peak_price, fixed.current_stop_loss_percentage) == (PRICE * 2, -32)
    untouched = await position_of(db, owner, TOKENS[1])
    assert untouched.peak_price in (None, PRICE)
    assert await db.cache.position(position.id) == position


async def test_positions_at_their_stop_loss_are_returned(db: AsyncDatabase) -> None:
    owner, other = await funded_owner(db), await funded_owner(db)
    await db.agents.update_config(owner.agent_id, TRAILING)
    (mine,), (theirs,) = await bought(db, owner, TOKENS[0]), await bought(db, other, TOKENS[0])
    await tick(db, {TOKENS[0]: PRICE * 2})
    assert [row.id for row in await tick(db, {TOKENS[0]: PRICE * Decimal("1.5")})] == [mine.id]
    fallen = await tick(db, {TOKENS[0]: PRICE * Decimal("0.68")})
    assert {row.id for row in fallen} == {mine.id, theirs.id}


async def test_tokens_with_open_positions_are_watched(db: AsyncDatabase) -> None:
    for _ in range(2):
        await bought(db, await funded_owner(db), *TOKENS[:3])
    assert await tokens_to_watch(db) == TOKENS[:3]


@pytest.mark.parametrize("holders", [1, 20])
async def test_tick_is_two_round_trips_whatever_the_number_of_positions(db: AsyncDatabase, holders: int) -> None:
    for _ in range(holders):
        await bought(db, await funded_owner(db), *TOKENS[:3])
    price = iter(range(100, 1000))

    async def call() -> None:
        await tick(db, {token: PRICE * next(price) for token in TOKENS[:3]})

    assert await trips_of(db, call) == 2


async def test_tick_without_news_takes_no_round_trip(db: AsyncDatabase) -> None:
    assert await trips_of(db, lambda: tick(db, {})) == 0
    assert await trips_of(db, lambda: tick(db, {TOKENS[0]: PRICE})) == 1


@pytest.mark.parametrize(
    ("rules", "peak", "expected"),
    [
        ({}, "2", "-32"),
        ({"enabled": False}, "2", None),
        (TRAILING["stopLoss"], "1.4999", "-32"),
        (TRAILING["stopLoss"], "1.5", "10"),
        (TRAILING["stopLoss"], "2", "50"),
    ],
)
def test_stop_loss_follows_the_highest_price(rules: Any, peak: str, expected: str | None) -> None:
    found = stop_loss_of(StopLoss.model_validate(rules), Decimal(1), Decimal(peak))
    assert found == (None if expected is None else Decimal(expected))


async def test_recorded_stop_loss_counts_when_it_is_higher(db: AsyncDatabase) -> None:
    (position,) = await bought(db, await funded_owner(db), TOKENS[0])
    higher = position.model_copy(update={"current_stop_loss_percentage": Decimal(20)})
    assert not is_reached(position, PRICE, Decimal(-32))
    assert is_reached(higher, PRICE, Decimal(-32))
    assert not is_reached(higher, PRICE, None)
