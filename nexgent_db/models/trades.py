"""Orders of trades, and their results.

Amounts are whole tokens (SOL, not lamports). Every order has a ``request_id``: the same id with the same content
returns the first result; with other content it is refused. An order made without an id gets one, derived from wallet
and on-chain transaction when it names these, else a new UUID v7. Keep the order to repeat it.

Request ids belong to an agent: orders of two agents with the same one have nothing to do with each other. The
transaction's id is ``order.trade_id``, made of both.

After a lost answer, repeat the order. A result is final. A refusal is not: the first sending may still be on its way in
the network and be executed later. ``expires_at`` limits this: OrderExpired is final.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Self, TypedDict, Unpack
from uuid import UUID

from annotated_types import Ge, Gt
from pydantic import JsonValue, ValidationInfo, field_validator, model_validator

from nexgent_db.errors import InvalidInput
from nexgent_db.models.balances import AgentBalance
from nexgent_db.models.base import (
    SOL_MINT,
    Field,
    Input,
    Percent,
    Row,
    ShortText,
    TokenAddress,
    TokenNumber,
    TokenSymbol,
    UsdNumber,
    WalletAddress,
)
from nexgent_db.models.historical_swaps import AgentHistoricalSwap, CloseReason
from nexgent_db.models.ids import new_id, request_id_of, trade_id_of
from nexgent_db.models.positions import AgentPosition
from nexgent_db.models.storable import Json, Timestamp
from nexgent_db.models.transactions import AgentTransaction, TransactionType
from nexgent_db.models.wallets import AgentWallet

Amount = Annotated[TokenNumber, Gt(0)]
Fee = Annotated[TokenNumber, Ge(0)]
Price = Annotated[TokenNumber, Ge(0)]
Counter = Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)]
SignalId = Annotated[int, Field(strict=True, ge=0, le=2**63 - 1)]


Number = Decimal | str | int
"""Money for ``of``: a Decimal, or text that is a number."""


class TradeDetails(TypedDict, total=False):
    """What any trade may say besides, for ``of``."""

    request_id: UUID
    transaction_time: datetime | None
    expires_at: datetime | None
    transaction_value_usd: Number
    signal_id: int | None
    transaction_hash: str | None
    transaction_leg: int
    protocol_fee_sol: Number | None
    network_fee_sol: Number | None


class SwapDetails(TradeDetails, total=False):
    """What a trade of a position may say besides, for ``of``."""

    slippage: Number | None
    price_impact: Number | None
    routes: JsonValue
    swap_payload: JsonValue


class WalletOrder(Input):
    """The fields of every order: its id, the agent and the wallet. ``transaction_time`` None is the server's now.

    From ``expires_at`` on, by the database's clock, an order that was not executed before is refused with OrderExpired;
    None never expires. ``expires_at`` is not part of the order's content: a refused order may be sent again with a
    later one, and an executed order returns its first result with any.
    """

    request_id: UUID = Field(default_factory=new_id)
    agent_id: UUID
    wallet_address: WalletAddress
    transaction_time: Timestamp | None = None
    expires_at: Timestamp | None = None

    @property
    def trade_id(self) -> UUID:
        """The id of the order's transaction, and of its stored request: see :func:`trade_id_of`."""
        return trade_id_of(self.agent_id, self.request_id)

    @model_validator(mode="before")
    @classmethod
    def _give_it_an_id(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("request_id") is not None:
            return data
        wallet, transaction, leg = (
            data.get(name) for name in ("wallet_address", "transaction_hash", "transaction_leg")
        )
        if wallet is None or transaction is None:
            return {**data, "request_id": new_id()}
        try:
            return {**data, "request_id": request_id_of(str(wallet), str(transaction), leg or 0)}
        except (InvalidInput, ValueError):  # the validation of the fields refuses them later
            return {**data, "request_id": new_id()}


class TradeOrder(WalletOrder):
    """The fields of every trade's transaction. The wallet pays fees in SOL, whatever the trade moves."""

    transaction_value_usd: UsdNumber = Decimal(0)
    signal_id: SignalId | None = None
    transaction_hash: ShortText | None = None
    transaction_leg: Counter = 0
    protocol_fee_sol: Fee | None = None
    network_fee_sol: Fee | None = None


class _MoveOrder(TradeOrder):
    """A change of the balance of one token."""

    token_address: TokenAddress
    token_symbol: TokenSymbol
    amount: Amount


class DepositOrder(_MoveOrder):
    """Adds an amount to the wallet."""


class WithdrawOrder(_MoveOrder):
    """Takes an amount from the wallet, sent to ``destination_address`` when that is known."""

    destination_address: ShortText | None = None


class BurnOrder(_MoveOrder):
    """Destroys an amount of the wallet."""


class _Routed(TradeOrder):
    """How a swap was executed on the chain; ``swap_payload`` and ``routes`` are stored as given."""

    slippage: Percent | None = None
    price_impact: Percent | None = None
    routes: Json = None
    swap_payload: Json = None


class SwapOrder(_Routed):
    """Exchanges one token for another, outside of any position. Prices are stored as given."""

    input_mint: TokenAddress
    input_symbol: TokenSymbol
    input_amount: Amount
    input_price: Price | None = None
    output_mint: TokenAddress
    output_symbol: TokenSymbol
    output_amount: Amount
    output_price: Price | None = None

    @field_validator("output_mint")
    @classmethod
    def _between_two_tokens(cls, mint: str, info: ValidationInfo) -> str:
        if mint == info.data.get("input_mint"):
            raise ValueError(f"input and output are the same token, {mint}")
        return mint


class _PositionOrder(_Routed):
    """A swap between SOL and the token of a position: ``sol_amount`` before fees, for ``token_amount``."""

    token_address: TokenAddress
    token_symbol: TokenSymbol
    sol_amount: Amount
    token_amount: Amount

    @field_validator("token_address")
    @classmethod
    def _not_of_sol(cls, token_address: str) -> str:
        if token_address == SOL_MINT:
            raise ValueError("a position in SOL itself cannot be held")
        return token_address

    @classmethod
    def _of_position(cls, position: AgentPosition, given: Mapping[str, object]) -> Self:
        return cls.model_validate({**_owner_of(position), **_token_of(position), **given})


class BuyOrder(_PositionOrder):
    """Opens a position. ``take_profit_levels`` is the number of levels in the agent's configuration."""

    stop_loss_percentage: Percent | None = None
    take_profit_levels: Counter | None = None

    @classmethod
    def of(
        cls,
        wallet: AgentWallet,
        token_address: str,
        token_symbol: str,
        *,
        sol_amount: Number,
        token_amount: Number,
        stop_loss_percentage: Number | None = None,
        take_profit_levels: int | None = None,
        **details: Unpack[SwapDetails],
    ) -> Self:
        """The order of this wallet. Raises InvalidInput."""
        fields = {
            "token_address": token_address,
            "token_symbol": token_symbol,
            "sol_amount": sol_amount,
            "token_amount": token_amount,
            "stop_loss_percentage": stop_loss_percentage,
            "take_profit_levels": take_profit_levels,
        }
        return cls.model_validate({**_owner_of(wallet), **fields, **details})


class DcaBuyOrder(_PositionOrder):
    """Adds to the open position. Refused when ``expected_dca_count`` is given and differs from the position's count."""

    take_profit_levels: Counter | None = None
    expected_dca_count: Counter | None = None

    @classmethod
    def of(
        cls,
        position: AgentPosition,
        *,
        sol_amount: Number,
        token_amount: Number,
        take_profit_levels: int | None = None,
        **details: Unpack[SwapDetails],
    ) -> Self:
        """The order of this position, refused when another DCA buy was made since it was read. Raises InvalidInput."""
        fields = {
            "sol_amount": sol_amount,
            "token_amount": token_amount,
            "take_profit_levels": take_profit_levels,
            "expected_dca_count": position.dca_count,
        }
        return cls._of_position(position, {**fields, **details})


class TakeProfitOrder(_PositionOrder):
    """Sells part of the open position, and closes it when nothing remains.

    ``levels_hit`` is the number of levels that this sale serves. ``moon_bag_amount`` is the part of the remaining
    amount that take-profits do not sell; one that exceeds the rest by at most 1e-6 is cut to it. Refused when
    ``expected_levels_hit`` is given and differs from the position's count. With ``up_to_dust`` a sale that leaves at
    most a tenth of the dust in the position, or of what the wallet really holds, closes it as :class:`SellOrder` does.
    """

    levels_hit: Counter = 1
    moon_bag_amount: Annotated[TokenNumber, Ge(0)] | None = None
    expected_levels_hit: Counter | None = None
    close_reason: CloseReason = "take_profit"
    up_to_dust: bool = False

    @classmethod
    def of(
        cls,
        position: AgentPosition,
        *,
        sol_amount: Number,
        token_amount: Number,
        levels_hit: int = 1,
        moon_bag_amount: Number | None = None,
        close_reason: CloseReason = "take_profit",
        up_to_dust: bool = False,
        **details: Unpack[SwapDetails],
    ) -> Self:
        """The order of this position, refused when a take-profit was made since it was read. Raises InvalidInput."""
        fields = {
            "sol_amount": sol_amount,
            "token_amount": token_amount,
            "levels_hit": levels_hit,
            "moon_bag_amount": moon_bag_amount,
            "expected_levels_hit": position.take_profit_levels_hit,
            "close_reason": close_reason,
            "up_to_dust": up_to_dust,
        }
        return cls._of_position(position, {**fields, **details})


class SellOrder(_PositionOrder):
    """Sells all that remains of the open position, moon bag included, and closes it.

    With ``up_to_dust`` the amount may differ from the position, and the wallet's balance from the amount, by dust: at
    most 1e-8 tokens, or 1e-14 of the tokens bought when that is more, but no more than a billionth of the amount. Sell
    what the wallet really holds. The balance becomes 0, and the transaction's ``settled_dust`` says by how much the
    sale settled it.
    """

    close_reason: CloseReason = "manual"
    up_to_dust: bool = False

    @classmethod
    def of(
        cls,
        position: AgentPosition,
        *,
        sol_amount: Number,
        token_amount: Number | None = None,
        close_reason: CloseReason = "manual",
        up_to_dust: bool = False,
        **details: Unpack[SwapDetails],
    ) -> Self:
        """The order of this position, of all that remains unless another amount is given. Raises InvalidInput."""
        fields = {
            "sol_amount": sol_amount,
            "token_amount": position.remaining_amount if token_amount is None else token_amount,
            "close_reason": close_reason,
            "up_to_dust": up_to_dust,
        }
        return cls._of_position(position, {**fields, **details})


class WriteOffOrder(TradeOrder):
    """Burns what the wallet holds of a worthless token and closes its position with what was received before."""

    token_address: TokenAddress
    token_symbol: TokenSymbol

    @classmethod
    def of(cls, position: AgentPosition, **details: Unpack[TradeDetails]) -> Self:
        """The order of this position. Raises InvalidInput."""
        return cls.model_validate({**_owner_of(position), **_token_of(position), **details})


class ResetWalletOrder(WalletOrder):
    """Burns every holding of a simulation wallet, deletes its positions, then deposits ``opening_sol`` when given."""

    opening_sol: Amount | None = None


def _owner_of(row: AgentWallet | AgentPosition) -> dict[str, object]:
    return {"agent_id": row.agent_id, "wallet_address": row.wallet_address}


def _token_of(position: AgentPosition) -> dict[str, object]:
    return {"token_address": position.token_address, "token_symbol": position.token_symbol}


class LedgerEntry(_Routed):
    """The input of ``trades.record_transaction``: a transaction that changes no position."""

    transaction_type: TransactionType
    destination_address: ShortText | None = None
    input_mint: TokenAddress
    input_symbol: TokenSymbol
    input_amount: Amount
    input_price: Price | None = None
    output_mint: TokenAddress | None = None
    output_symbol: TokenSymbol | None = None
    output_amount: Amount | None = None
    output_price: Price | None = None


class Sale(_PositionOrder):
    """The input of ``trades.sell``: a take-profit or a full sale."""

    is_take_profit: bool
    levels_hit: Counter = 0
    moon_bag_amount: TokenNumber | None = None
    expected_levels_hit: Counter | None = None
    close_reason: CloseReason
    up_to_dust: bool


class _Outcome(Row):
    """What every function of a trade answers: ``outcome`` is ``made``, ``duplicate``, or the name of a refusal with its
    ``details``, JSON text with exact decimals. Of each changed balance it has the id, the token and the amount."""

    outcome: str
    details: str | None
    version: int | None
    balance_ids: list[UUID] | None
    token_addresses: list[str] | None
    token_symbols: list[str] | None
    balances: list[TokenNumber] | None


class TradeOutcome(_Outcome):
    """The answer of a trade, beside its transaction and the rows that it left."""

    closed_position_id: UUID | None


class ResetOutcome(_Outcome):
    """The answer of a wallet's reset, beside one of its transactions."""

    closed_position_ids: list[UUID] | None


class TradeResult(Row):
    """The result of a trade: its ledger entry, and the rows that it changed, with their new values.

    ``position`` is the position that the trade opened, enlarged or reduced, None when it concerned none or closed it;
    ``swap`` is the historical swap of the closed position ``closed_position_id``. ``duplicate`` is True when the order
    was executed before: the other fields are then the first result, whatever happened since.
    """

    transaction: AgentTransaction
    balances: tuple[AgentBalance, ...]
    position: AgentPosition | None = None
    swap: AgentHistoricalSwap | None = None
    closed_position_id: UUID | None = None
    duplicate: bool = False


class ResetResult(Row):
    """The result of a reset: one burn for each holding, the opening deposit, and the balances afterwards."""

    transactions: tuple[AgentTransaction, ...]
    balances: tuple[AgentBalance, ...]
    positions_given_up: int
    closed_position_ids: tuple[UUID, ...] = ()
    duplicate: bool = False
