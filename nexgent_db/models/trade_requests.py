"""Trade requests: the executed orders and their operations."""

from __future__ import annotations

from typing import Literal

from nexgent_db.models.base import UUID, AwareDatetime, Row

Operation = Literal[
    "deposit", "withdrawal", "burn", "swap", "buy", "dca_buy", "take_profit", "sell", "write_off", "reset_wallet"
]


class TradeRequest(Row):
    """An executed order: its trade's id (``order.trade_id``), its operation and its time."""

    id: UUID
    operation: Operation
    created_at: AwareDatetime
