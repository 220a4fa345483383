"""Historical swaps: closed positions, what they cost and what they brought."""

from __future__ import annotations

from typing import Literal

from nexgent_db.models._base import UUID, AwareDatetime, Percent, Row, TokenNumber, UsdNumber

CloseReason = Literal["manual", "stop_loss", "stale_trade", "take_profit"]


class AgentHistoricalSwap(Row):
    """A closed trade over the whole life of its position.

    ``amount`` is all that was bought, ``profit_loss_sol`` everything received net of fees, take-profits
    included, less everything invested, ``change_percent`` that profit over purchase price x amount.
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
    profit_loss_usd: UsdNumber
    profit_loss_sol: TokenNumber
    purchase_time: AwareDatetime
    sale_time: AwareDatetime
    purchase_transaction_id: UUID | None
    sale_transaction_id: UUID | None
    signal_id: int | None
    created_at: AwareDatetime
    close_reason: CloseReason | None


class ClosedTrades(Row):
    """How many trades were closed, and the sum of their profits in SOL."""

    closed: int
    profit_loss_sol: TokenNumber
