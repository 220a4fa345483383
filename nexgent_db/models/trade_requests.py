"""Trade requests: which orders were made, and as what."""

from __future__ import annotations

from typing import Literal

from nexgent_db.models._base import UUID, AwareDatetime, Row

Operation = Literal["deposit", "withdrawal", "burn", "swap", "buy", "dca_buy", "take_profit", "sell", "reset_wallet"]


class TradeRequest(Row):
    """A trade that was made: its request id, what it was, and when."""

    id: UUID
    operation: Operation
    created_at: AwareDatetime
