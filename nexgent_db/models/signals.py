"""Trading signals and what each agent made of them."""

from __future__ import annotations

from typing import Literal

from nexgent_db.models._base import UUID, AwareDatetime, Row

ExecutionStatus = Literal["PENDING", "EXECUTED", "FAILED", "SKIPPED"]


class TradingSignal(Row):
    """A suggestion to trade a token. ``signal_strength`` is 1 to 100; only its creator's agents act on it."""

    id: int
    created_at: AwareDatetime
    updated_at: AwareDatetime
    token_address: str
    symbol: str | None
    signal_type: str
    activation_reason: str | None
    signal_strength: int
    source: str | None
    user_id: UUID | None


class SignalExecution(Row):
    """What one agent did with one signal; there is one at the most."""

    id: UUID
    signal_id: int
    agent_id: UUID
    status: ExecutionStatus
    transaction_id: UUID | None
    error: str | None
    executed_at: AwareDatetime
