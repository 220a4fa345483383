"""Historical swaps: closed positions, with their cost and profit."""

from __future__ import annotations

from typing import Literal

from nexgent_db.models.base import UUID, AwareDatetime, Percent, Row, TokenNumber, UsdNumber

CloseReason = Literal["manual", "stop_loss", "stale_trade", "take_profit", "write_off"]


class AgentHistoricalSwap(Row):
    """A closed trade over the whole life of its position.

    ``amount`` is everything bought. ``sale_price`` is all SOL received, take-profits included and before fees, over
    this amount; each sale's own price stands in its transaction. ``profit_loss_sol`` is everything received, net of
    fees, minus everything invested. ``change_percent`` is this profit over purchase price x amount. ``profit_loss_usd``
    is this profit at the price of SOL that the last sale's value in USD implies; None when its order carried none.
    """

    id: UUID
    agent_id: UUID
    wallet_address: str | None
    token_address: str
    token_symbol: str
    amount: TokenNumber
    purchase_price: TokenNumber
    sale_price: TokenNumber
    change_percent: Percent
    profit_loss_usd: UsdNumber | None
    profit_loss_sol: TokenNumber
    purchase_time: AwareDatetime
    sale_time: AwareDatetime
    purchase_transaction_id: UUID | None
    sale_transaction_id: UUID | None
    signal_id: int | None
    created_at: AwareDatetime
    close_reason: CloseReason | None


class ClosedTrades(Row):
    """The number of closed trades, and their total profit in SOL."""

    closed: int
    profit_loss_sol: TokenNumber
