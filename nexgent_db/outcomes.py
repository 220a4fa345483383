"""What a trade statement answered, as a result or as the refusal's error; and what makes two orders the same.

Pure: shared by the asynchronous and the synchronous trades.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from json.encoder import encode_basestring_ascii
from types import UnionType
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin
from uuid import UUID

import msgspec
from pydantic import AwareDatetime, BaseModel, JsonValue

from nexgent_db.binding import row_maker
from nexgent_db.errors import (
    IdempotencyConflict,
    InsufficientBalance,
    MoonBagTooLarge,
    NexgentError,
    NotAFullSale,
    Oversell,
    PositionExists,
    PositionNotFound,
    SaleBeforePurchase,
    StalePosition,
    TradeRefused,
    UniqueViolation,
    WalletNotFound,
    WalletNotSimulated,
)
from nexgent_db.models.balances import AgentBalance
from nexgent_db.models.historical_swaps import AgentHistoricalSwap
from nexgent_db.models.positions import AgentPosition
from nexgent_db.models.trades import (
    BurnOrder,
    DepositOrder,
    LedgerEntry,
    ResetResult,
    Sale,
    SellOrder,
    SwapOrder,
    TakeProfitOrder,
    TradeOutcome,
    TradeResult,
    WalletOrder,
    WithdrawOrder,
)
from nexgent_db.models.transactions import AgentTransaction, TransactionType

_Model = TypeVar("_Model", bound=BaseModel)


def content_digest(order: WalletOrder) -> bytes:
    """SHA-256 of what the order asks for: equal numbers and instants count as equal however they are written.

    The request id is no part of it. What is not given is none either: a field that orders get later, None by default,
    does not make old orders different.
    """
    parts = [type(order).__name__]
    for name, value in vars(order).items():
        if value is not None and name != "request_id":
            parts.append(name)
            parts.append(_CANONICAL.get(type(value), _document)(value))
    return sha256("\n".join(parts).encode()).digest()


def _number(value: Decimal) -> str:
    text = format(value, "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text) if value else "0"


_document: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode

# One line for each value, so that no two contents read the same: texts and documents are written as JSON.
_CANONICAL: Final[dict[type, Callable[[Any], str]]] = {
    Decimal: _number,
    UUID: lambda value: value.hex,
    datetime: lambda value: value.astimezone(UTC).isoformat(),
    str: encode_basestring_ascii,
    int: repr,
    bool: repr,
}


def trade_result(order: WalletOrder, row: TradeOutcome) -> TradeResult:
    """The result of a trade that was made, now or before; else raise the TradeRefused that ``row`` stands for."""
    replayed = _made(order, row)
    if row.transaction is None:
        raise IdempotencyConflict(order.request_id, "an order whose transaction somebody has deleted since")
    transaction = _TRANSACTION.decode(row.transaction)
    # Payloads are not sent back; the digest has shown that they are the same.
    transaction.routes = getattr(order, "routes", None)
    transaction.swap_payload = getattr(order, "swap_payload", None)
    result = _RESULT.decode(row.result or "")
    made: TradeResult = _make_result(
        (
            _transaction(transaction),
            tuple([_balance(balance) for balance in result.balances]),
            None if result.position is None else _position(result.position),
            None if result.swap is None else _swap(result.swap),
            result.closed_position_id,
            replayed,
        )
    )
    return made


def reset_result(order: WalletOrder, row: TradeOutcome) -> ResetResult:
    """The same for a wallet's reset."""
    replayed = _made(order, row)
    result = _RESET.decode(row.result or "")
    return ResetResult(
        transactions=tuple([_transaction(transaction) for transaction in result.transactions]),
        balances=tuple([_balance(balance) for balance in result.balances]),
        positions_given_up=result.positions_given_up,
        closed_position_ids=tuple(result.closed_position_ids),
        replayed=replayed,
    )


def race_lost(order: WalletOrder, error: UniqueViolation) -> NexgentError:
    """What a unique key's refusal means for a trade: the id is being used for another wallet at this moment."""
    if error.constraint in _ID_KEYS:
        return IdempotencyConflict(order.request_id, "another order of this id, made at the same time")
    return error


_ID_KEYS: Final = {"trade_requests_pkey", "agent_transactions_pkey"}


def _made(order: WalletOrder, row: TradeOutcome) -> bool:
    """True for a replay, False for a first time; raise for a refusal."""
    if row.outcome in ("made", "replayed"):
        return row.outcome == "replayed"
    assert row.figures is not None
    raise _REFUSALS[row.outcome](order, _figures(row))


def _figures(row: TradeOutcome) -> dict[str, Any]:
    """Amounts as Decimals, whole ones too; what a stale position counts as the whole numbers they are."""
    figures: dict[str, Any] = json.loads(row.figures or "{}", parse_float=Decimal)
    if row.outcome == "stale_position":
        return figures
    return {name: Decimal(value) if isinstance(value, int) else value for name, value in figures.items()}


def _token(order: WalletOrder) -> str:
    return str(getattr(order, "token_address"))  # noqa: B009  # only orders of positions are refused for them


_REFUSALS: Final[dict[str, Callable[[WalletOrder, dict[str, Any]], TradeRefused]]] = {
    "wallet_not_found": lambda order, _: WalletNotFound(order.wallet_address, order.agent_id),
    "wallet_not_simulated": lambda order, figures: WalletNotSimulated(order.wallet_address, **figures),
    "idempotency_conflict": lambda order, figures: IdempotencyConflict(order.request_id, **figures),
    "insufficient_balance": lambda order, figures: InsufficientBalance(order.wallet_address, **figures),
    "position_exists": lambda order, figures: PositionExists(order.wallet_address, _token(order), **figures),
    "position_not_found": lambda order, _: PositionNotFound(order.wallet_address, _token(order)),
    "stale_position": lambda order, figures: StalePosition(order.wallet_address, _token(order), **figures),
    "oversell": lambda order, figures: Oversell(order.wallet_address, _token(order), **figures),
    "not_a_full_sale": lambda order, figures: NotAFullSale(order.wallet_address, _token(order), **figures),
    "moon_bag_too_large": lambda order, figures: MoonBagTooLarge(order.wallet_address, _token(order), **figures),
    "sale_before_purchase": lambda order, figures: SaleBeforePurchase(order.wallet_address, _token(order), **figures),
}


# --- Documents ----------------------------------------------------------------------------------
#
# Rows that stand in a result as to_jsonb writes them. They come from the tables, so like rows they are not validated
# further. Columns that a newer migration added are passed over: a service may run while the schema grows.


def _struct(model: type[BaseModel]) -> type[Any]:
    """The model's fields for the decoder, which reads numbers as the Decimals they are, digit by digit."""
    return msgspec.defstruct(
        model.__name__,
        [
            (name, plain_type(field.annotation), None) if name in _PAYLOADS else (name, plain_type(field.annotation))
            for name, field in model.model_fields.items()
        ],
        kw_only=True,
    )


def plain_type(annotation: Any) -> Any:
    """The type without what only pydantic understands."""
    if annotation == JsonValue:
        return Any
    if annotation is AwareDatetime:
        return Annotated[datetime, msgspec.Meta(tz=True)]
    if get_origin(annotation) is Annotated:
        return plain_type(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return Union[tuple(plain_type(part) for part in get_args(annotation))]  # noqa: UP007  # made of a list
    return annotation


def _maker(model: type[_Model]) -> Callable[[Any], _Model]:
    make = row_maker(model, list(model.model_fields), f"documents of {model.__name__}")
    return lambda struct: make(msgspec.structs.astuple(struct))


_PAYLOADS: Final = ("routes", "swap_payload")

_TransactionDocument = _struct(AgentTransaction)
_BalanceDocument = _struct(AgentBalance)

_TRANSACTION: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(_TransactionDocument)
_RESULT: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(
    msgspec.defstruct(
        "Result",
        [
            ("balances", list[_BalanceDocument]),  # type: ignore[valid-type]
            ("position", _struct(AgentPosition) | None, None),
            ("swap", _struct(AgentHistoricalSwap) | None, None),
            ("closed_position_id", UUID | None, None),
        ],
    )
)
_RESET: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(
    msgspec.defstruct(
        "Reset",
        [
            ("transactions", list[_TransactionDocument]),  # type: ignore[valid-type]
            ("balances", list[_BalanceDocument]),  # type: ignore[valid-type]
            ("positions_given_up", int),
            ("closed_position_ids", list[UUID], []),
        ],
    )
)

_transaction = _maker(AgentTransaction)
_balance = _maker(AgentBalance)
_position = _maker(AgentPosition)
_swap = _maker(AgentHistoricalSwap)
_make_result: Final = row_maker(TradeResult, list(TradeResult.model_fields), "results of trades")


def entry_of(order: DepositOrder | WithdrawOrder | BurnOrder | SwapOrder) -> LedgerEntry:
    """The transaction that a trade outside of positions writes."""
    given = dict(order)
    if isinstance(order, SwapOrder):
        return LedgerEntry.model_construct(transaction_type="SWAP", **given)
    moved = {f"input_{name}": given.pop(column) for name, column in _MOVED.items()}
    return LedgerEntry.model_construct(transaction_type=_MOVES[type(order)], **moved, **given)


_MOVED: Final = {"mint": "token_address", "symbol": "token_symbol", "amount": "amount"}
_MOVES: Final[dict[type[WalletOrder], TransactionType]] = {
    DepositOrder: "DEPOSIT",
    WithdrawOrder: "WITHDRAWAL",
    BurnOrder: "BURN",
}


def sale_of(order: TakeProfitOrder | SellOrder) -> Sale:
    """The sale that a take-profit or a full sale is."""
    return Sale.model_construct(is_take_profit=isinstance(order, TakeProfitOrder), **dict(order))
