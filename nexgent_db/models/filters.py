"""Filters of lists: None means any value. Making a filter raises InvalidInput for an unknown name or invalid value."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from nexgent_db.models.base import (
    MANY,
    UUID,
    AwareDatetime,
    BigInt,
    Input,
    ShortText,
    TokenAddress,
    TokenNumber,
    TokenSymbol,
    TradingMode,
    UsdNumber,
    WalletAddress,
    fault_at,
)
from nexgent_db.models.transactions import TransactionType

Ids = Annotated[list[UUID], Field(min_length=1, max_length=1000)]
Tokens = Annotated[list[TokenAddress], Field(min_length=1, max_length=MANY)]
Strength = Annotated[int, Field(ge=1, le=100)]


class _Filter(Input):
    """The base of filters. Ranges include both ends."""

    @model_validator(mode="after")
    def _ranges_are_not_reversed(self) -> Self:
        for lowest_name in type(self).model_fields:
            highest_name = lowest_name.replace("_from", "_to").replace("min_", "max_")
            lowest, highest = getattr(self, lowest_name), getattr(self, highest_name)
            if highest_name != lowest_name and lowest is not None and highest is not None and lowest > highest:
                raise fault_at(lowest_name, f"{lowest} is above {highest_name}, {highest}", lowest)
        return self


class AgentFilter(_Filter):
    """A filter of agents. ``automated_trading`` is that of the agent's trading mode; ``wallet_type`` is a type of which
    the agent has a wallet.
    """

    trading_mode: TradingMode | None = None
    automated_trading: bool | None = None
    has_wallet: bool | None = None
    wallet_type: TradingMode | None = None


class PositionFilter(_Filter):
    """A filter of all agents' open positions. Tokens are compared in their exact case."""

    agent_ids: Ids | None = None
    token_addresses: Tokens | None = None


class TransactionFilter(_Filter):
    """A filter of an agent's transactions."""

    wallet_address: WalletAddress | None = None
    transaction_type: TransactionType | None = None
    time_from: AwareDatetime | None = None
    time_to: AwareDatetime | None = None
    signal_id: BigInt | None = None
    is_dca: bool | None = None
    is_take_profit: bool | None = None


class SwapFilter(_Filter):
    """A filter of an agent's historical swaps."""

    wallet_address: WalletAddress | None = None
    token_address: TokenAddress | None = None
    token_symbol: TokenSymbol | None = None
    purchase_time_from: AwareDatetime | None = None
    purchase_time_to: AwareDatetime | None = None
    sale_time_from: AwareDatetime | None = None
    sale_time_to: AwareDatetime | None = None
    signal_id: BigInt | None = None
    purchase_transaction_ids: Ids | None = None
    sale_transaction_ids: Ids | None = None
    min_profit_loss_sol: TokenNumber | None = None
    max_profit_loss_sol: TokenNumber | None = None
    min_profit_loss_usd: UsdNumber | None = None
    max_profit_loss_usd: UsdNumber | None = None


class SignalFilter(_Filter):
    """A filter of a user's signals."""

    token_address: TokenAddress | None = None
    signal_type: ShortText | None = None
    source: ShortText | None = None
    min_signal_strength: Strength | None = None
    max_signal_strength: Strength | None = None
    created_from: AwareDatetime | None = None
    created_to: AwareDatetime | None = None
