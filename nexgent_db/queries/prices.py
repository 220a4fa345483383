"""Turns a batch of prices into the columns that are sent, and its answer into what has changed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from uuid import UUID

from nexgent_db.errors import InvalidInput
from nexgent_db.models.base import list_of
from nexgent_db.models.positions import AgentPosition, PriceOutcome, PriceUpdate, RecordedPrices

Columns = tuple[list[UUID], list[Decimal], list[Decimal | None], list[bool], list[int | None]]


def price_columns(prices: Sequence[PriceUpdate]) -> Columns:
    """A list for each column. Raises InvalidInput for what is no price, for too many, for a position given twice."""
    list_of(PriceUpdate, prices, "prices")
    places: dict[UUID, int] = {}
    for place, update in enumerate(prices):
        first = places.setdefault(update.position_id, place)
        if first != place:
            raise InvalidInput("prices", f"position {update.position_id} is given twice, at {first} and {place}")
    return (
        list(places),
        [update.price for update in prices],
        [update.stop_loss_percentage for update in prices],
        [update.may_lower_stop_loss for update in prices],
        [update.expected_version for update in prices],
    )


def recorded_prices(
    prices: Sequence[PriceUpdate], rows: Sequence[tuple[PriceOutcome, AgentPosition | None]]
) -> RecordedPrices:
    """What the batch has done. Raises InvalidInput for a stop loss above the price, when nothing has changed."""
    positions: dict[str, list[AgentPosition]] = {"changed": [], "stale": []}
    closed = []
    for result, position in rows:
        if position is None:
            closed.append(result.position_id)
        elif result.outcome == "stop_loss_above_price":
            raise _above_price(prices, position)
        else:
            positions[result.outcome].append(position)
    return RecordedPrices(changed=tuple(positions["changed"]), stale=tuple(positions["stale"]), closed=tuple(closed))


def _above_price(prices: Sequence[PriceUpdate], position: AgentPosition) -> InvalidInput:
    place, update = next((place, update) for place, update in enumerate(prices) if update.position_id == position.id)
    return InvalidInput(
        f"prices[{place}].stop_loss_percentage",
        f"a stop loss {update.stop_loss_percentage} % off the purchase price {position.purchase_price.normalize():f} is"
        f" above the price {update.price:f} of position {position.id}",
    )
