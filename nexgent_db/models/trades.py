"""What is asked of a trade and what comes of it.

Amounts are whole tokens (SOL, not lamports). Every order carries a ``request_id``: the same id with the same
content returns the first result; with other content it is refused. It becomes the id of the transaction.
Without one, an order that names its on-chain transaction gets an id derived from that and the wallet, any other
a random one: keep the order to repeat it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Final, Self
from uuid import UUID, uuid4, uuid5

from annotated_types import Ge, Gt
from pydantic import model_validator

from nexgent_db.errors import InvalidInput
from nexgent_db.models._base import (
    SOL_MINT,
    AwareDatetime,
    Field,
    Order,
    Percent,
    Row,
    ShortText,
    TokenAddress,
    TokenNumber,
    TokenSymbol,
    UsdNumber,
    WalletAddress,
)
from nexgent_db.models._storable import NOT_UNICODE, Json
from nexgent_db.models.balances import AgentBalance
from nexgent_db.models.historical_swaps import AgentHistoricalSwap, CloseReason
from nexgent_db.models.positions import AgentPosition
from nexgent_db.models.transactions import AgentTransaction, TransactionType

REQUEST_NAMESPACE: Final = UUID("6f1d0c8e-7c0f-4e0a-9f64-0d5a3b6b1c52")
"""UUID v5 namespace of request ids that are derived from an on-chain transaction."""

Amount = Annotated[TokenNumber, Gt(0)]
Fee = Annotated[TokenNumber, Ge(0)]
Price = Annotated[TokenNumber, Ge(0)]
Counter = Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)]


def request_id_of(wallet_address: str, transaction_hash: str, transaction_leg: int = 0) -> UUID:
    """The request id of one leg of an on-chain transaction, as seen by one wallet: UUID v5 of the three.

    Raises InvalidInput for text that is not Unicode.
    """
    try:
        return uuid5(REQUEST_NAMESPACE, f"{wallet_address}/{transaction_hash}/{transaction_leg}")
    except UnicodeEncodeError:
        raise InvalidInput("wallet_address, transaction_hash", NOT_UNICODE) from None


class WalletOrder(Order):
    """What every order names: the agent, its wallet, and itself. ``transaction_time`` None is the server's now."""

    request_id: UUID
    agent_id: UUID
    wallet_address: WalletAddress
    transaction_time: AwareDatetime | None = None

    @model_validator(mode="before")
    @classmethod
    def _give_it_an_id(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("request_id") is not None:
            return data
        wallet, transaction, leg = (
            data.get(name) for name in ("wallet_address", "transaction_hash", "transaction_leg")
        )
        if wallet is None or transaction is None:
            return {**data, "request_id": uuid4()}
        try:
            return {**data, "request_id": request_id_of(str(wallet), str(transaction), leg or 0)}
        except (InvalidInput, ValueError):  # the fields themselves will be refused
            return {**data, "request_id": uuid4()}


class TradeOrder(WalletOrder):
    """What every trade can say of its transaction. Fees come off the wallet's SOL, whatever is traded."""

    transaction_value_usd: UsdNumber = Decimal(0)
    signal_id: Counter | None = None
    transaction_hash: ShortText | None = None
    transaction_leg: Counter = 0
    protocol_fee_sol: Fee | None = None
    network_fee_sol: Fee | None = None


class _MoveOrder(TradeOrder):
    """An amount of one token that comes or goes."""

    token_address: TokenAddress
    token_symbol: TokenSymbol
    amount: Amount


class DepositOrder(_MoveOrder):
    """An amount arrives in the wallet."""


class WithdrawOrder(_MoveOrder):
    """An amount leaves the wallet, for ``destination_address`` when that is known."""

    destination_address: ShortText | None = None


class BurnOrder(_MoveOrder):
    """An amount is destroyed."""


class _Routed(TradeOrder):
    """What a swap can say of how it was executed; ``swap_payload`` and ``routes`` are stored as given."""

    slippage: Percent | None = None
    price_impact: Percent | None = None
    routes: Json = None
    swap_payload: Json = None


class SwapOrder(_Routed):
    """One token for another, outside of any position. Prices are stored as given."""

    input_mint: TokenAddress
    input_symbol: TokenSymbol
    input_amount: Amount
    input_price: Price | None = None
    output_mint: TokenAddress
    output_symbol: TokenSymbol
    output_amount: Amount
    output_price: Price | None = None

    @model_validator(mode="after")
    def _between_two_tokens(self) -> Self:
        if self.input_mint == self.output_mint:
            raise InvalidInput("output_mint", f"input and output are the same token, {self.input_mint}")
        return self


class _PositionOrder(_Routed):
    """A swap between SOL and the token of a position: ``sol_amount`` before fees, for ``token_amount``."""

    token_address: TokenAddress
    token_symbol: TokenSymbol
    sol_amount: Amount
    token_amount: Amount

    @model_validator(mode="after")
    def _not_of_sol(self) -> Self:
        if self.token_address == SOL_MINT:
            raise InvalidInput("token_address", "a position in SOL itself cannot be held")
        return self


class BuyOrder(_PositionOrder):
    """Opens a position. ``take_profit_levels`` is how many the agent has configured."""

    stop_loss_percentage: Percent | None = None
    take_profit_levels: Counter | None = None


class DcaBuyOrder(_PositionOrder):
    """Adds to the open position; refused when ``expected_dca_count`` is given and not the position's count."""

    take_profit_levels: Counter | None = None
    expected_dca_count: Counter | None = None


class TakeProfitOrder(_PositionOrder):
    """Sells part of the open position, and closes it when nothing remains.

    ``levels_hit`` counts the levels that this sale serves. A ``moon_bag_amount`` is set aside out of what remains:
    take-profits stop at it. Refused when ``expected_levels_hit`` is given and not the position's count.
    """

    levels_hit: Counter = 1
    moon_bag_amount: Annotated[TokenNumber, Ge(0)] | None = None
    expected_levels_hit: Counter | None = None
    close_reason: CloseReason = "take_profit"


class SellOrder(_PositionOrder):
    """Sells all that remains of the open position, moon bag included, and closes it."""

    close_reason: CloseReason = "manual"


class ResetWalletOrder(WalletOrder):
    """Empties a simulation wallet and gives up its positions; then deposits ``opening_sol``, when given."""

    opening_sol: Amount | None = None


class LedgerEntry(_Routed):
    """What ``trades.post`` writes: a transaction that concerns no position."""

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
    """What ``trades.sell`` needs: a take-profit or a full sale."""

    is_take_profit: bool
    levels_hit: Counter = 0
    moon_bag_amount: TokenNumber | None = None
    expected_levels_hit: Counter | None = None
    close_reason: CloseReason


class TradeOutcome(Row):
    """The row that every statement of ``sql/trades.sql`` returns: documents as JSON text, decimals exact.

    ``outcome`` is ``made``, ``replayed``, ``stale``, or the name of a refusal with its ``figures``.
    """

    outcome: str
    figures: str | None
    transaction: str | None
    result: str | None


class TradeResult(Row):
    """What a trade did: its ledger entry, and the rows it changed as it left them.

    ``position`` is the position opened, added to or reduced, None where none is concerned or it was closed;
    ``swap`` is the closed trade, of the position ``closed_position_id``. ``replayed`` when the order had been made
    before: everything else is then the first result, whatever happened since.
    """

    transaction: AgentTransaction
    balances: tuple[AgentBalance, ...]
    position: AgentPosition | None = None
    swap: AgentHistoricalSwap | None = None
    closed_position_id: UUID | None = None
    replayed: bool = False


class ResetResult(Row):
    """What a reset did: one burn for each holding and the opening deposit, and the balances it left."""

    transactions: tuple[AgentTransaction, ...]
    balances: tuple[AgentBalance, ...]
    positions_given_up: int
    closed_position_ids: tuple[UUID, ...] = ()
    replayed: bool = False
