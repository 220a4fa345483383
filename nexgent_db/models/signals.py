"""Trading signals, and each agent's execution of them."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Le
from pydantic import AfterValidator, Field, JsonValue, StringConstraints

from nexgent_db.models.base import UUID, AwareDatetime, Input, LongText, Row, TokenAddress, TradingMode
from nexgent_db.models.storable import storable_text

ExecutionStatus = Literal["PENDING", "EXECUTED", "FAILED", "SKIPPED"]
FinalStatus = Literal["EXECUTED", "FAILED", "SKIPPED"]

SignalType = Annotated[str, StringConstraints(min_length=1, max_length=50), AfterValidator(storable_text)]
SignalSymbol = Annotated[str, StringConstraints(max_length=50), AfterValidator(storable_text)]
SignalSource = Annotated[str, StringConstraints(max_length=100), AfterValidator(storable_text)]
SignalStrength = Annotated[int, Field(strict=True), Ge(1), Le(100)]


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
    """One agent's execution of one signal; there is at most one."""

    id: UUID
    signal_id: int
    agent_id: UUID
    status: ExecutionStatus
    transaction_id: UUID | None
    error: str | None
    executed_at: AwareDatetime


class EligibleAgent(Row):
    """An agent that may act on a signal, with its configuration and the wallet of its mode, None when it has none."""

    id: UUID
    name: str
    trading_mode: TradingMode
    trading_config: dict[str, JsonValue] | None
    wallet_address: str | None


class SignalOrder(Input):
    """A signal to store."""

    token_address: TokenAddress
    signal_type: SignalType
    signal_strength: SignalStrength
    symbol: SignalSymbol | None = None
    activation_reason: LongText | None = None
    source: SignalSource | None = None
    user_id: UUID | None = None
