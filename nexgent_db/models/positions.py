"""Positions: tokens bought and not yet sold. A closed position is deleted; its historical swap remains."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from annotated_types import Ge, Gt

from nexgent_db.models.base import UUID, AwareDatetime, BigInt, Input, Percent, Row, TokenNumber


class AgentPosition(Row):
    """An open position of a wallet in one token. Prices are SOL per token, amounts whole tokens."""

    id: UUID
    agent_id: UUID
    wallet_address: str
    token_address: str
    token_symbol: str
    purchase_transaction_id: UUID
    purchase_price: TokenNumber
    purchase_amount: TokenNumber
    current_stop_loss_percentage: Percent | None
    peak_price: TokenNumber | None
    last_stop_loss_update: AwareDatetime | None
    created_at: AwareDatetime
    updated_at: AwareDatetime
    dca_count: int
    dca_transaction_ids: list[UUID]
    last_dca_time: AwareDatetime | None
    lowest_price: TokenNumber | None
    total_invested_sol: TokenNumber
    remaining_amount: TokenNumber
    take_profit_levels_hit: int
    take_profit_transaction_ids: list[UUID]
    last_take_profit_time: AwareDatetime | None
    moon_bag_activated: bool
    moon_bag_amount: TokenNumber | None
    realized_profit_sol: TokenNumber
    tp_batch_start_level: int
    total_take_profit_levels: int | None
    version: int
    proceeds_sol: TokenNumber

    @property
    def remaining(self) -> Decimal:
        """The amount left to sell: ``remaining_amount``."""
        return self.remaining_amount


class OpenPositions(Row):
    """The number of open positions, and the total profit that their take-profits have realised, in SOL."""

    open: int
    realized_profit_sol: TokenNumber


class PriceUpdate(Input):
    """The price of a position's token now, in SOL, and the stop loss that follows it, in percent of the purchase price.

    The position's peak price only rises and its lowest price only falls. Its stop loss only rises, unless
    ``may_lower_stop_loss``; None leaves it. With ``expected_version`` nothing is recorded for a position that has
    changed since it was read in that version.
    """

    position_id: UUID
    price: Annotated[TokenNumber, Gt(0)]
    stop_loss_percentage: Annotated[Percent, Ge(-100)] | None = None
    may_lower_stop_loss: bool = False
    expected_version: BigInt | None = None


class RecordedPrices(Row):
    """What a batch of prices has done. Positions that are in none of the three did not change.

    ``changed`` has their new rows, ``stale`` the present rows of those with another version than the expected one;
    ``closed`` has the ids of those that are not open, or belong to another user.
    """

    changed: tuple[AgentPosition, ...] = ()
    stale: tuple[AgentPosition, ...] = ()
    closed: tuple[UUID, ...] = ()


class PriceOutcome(Row):
    """What became of one price, beside the position: ``changed``, ``stale``, ``closed`` or a refusal."""

    outcome: str
    position_id: UUID


class OpenToken(Row):
    """A token in which positions are open, and the number of these positions, of all agents."""

    token_address: str
    positions: int


class TakeProfitSummary(Row):
    """The take-profits of an agent's open positions, in one row.

    ``with_take_profits`` counts the positions of which a part was sold by take-profit, ``levels_hit`` the levels that
    these sales served, ``moon_bags`` the positions whose moon bag is activated. ``realized_profit_sol`` is the profit
    of these sales, ``proceeds_sol`` what they brought, net of fees. ``last_take_profit_time`` is None without one.
    """

    open_positions: int
    with_take_profits: int
    levels_hit: int
    moon_bags: int
    realized_profit_sol: TokenNumber
    proceeds_sol: TokenNumber
    last_take_profit_time: AwareDatetime | None
