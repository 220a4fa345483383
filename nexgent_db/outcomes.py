"""What a trade statement answered, as a result or as the refusal's error; and what makes two orders the same.

Pure: shared by the asynchronous and the synchronous trades.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from hashlib import sha256
from types import UnionType
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin
from uuid import UUID

from pydantic import AwareDatetime, BaseModel

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
    content = {name: value for name, value in order if value is not None and name != "request_id"}
    return sha256(_CANONICAL.encode([type(order).__name__, content]).encode()).digest()


def _canonical(value: object) -> str:
    if isinstance(value, Decimal):
        text = format(value, "f")
        return (text.rstrip("0").rstrip(".") if "." in text else text) if value else "0"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no canonical form")


_CANONICAL: Final = json.JSONEncoder(default=_canonical, sort_keys=True, separators=(",", ":"))


def trade_result(order: WalletOrder, row: TradeOutcome) -> TradeResult:
    """The result of a trade that was made, now or before; else raise the TradeRefused that ``row`` stands for."""
    replayed = _made(order, row)
    assert row.transaction is not None
    assert row.result is not None
    result = _decode(row.result)
    # Payloads are not sent back; the digest has shown that they are the same.
    payloads = {name: getattr(order, name, None) for name in ("routes", "swap_payload")}
    position, swap = result.get("position"), result.get("swap")
    made: TradeResult = _RESULT(
        (
            _transaction(_decode(row.transaction) | payloads),
            tuple([_balance(balance) for balance in result["balances"]]),
            None if position is None else _position(position),
            None if swap is None else _swap(swap),
            replayed,
        )
    )
    return made


_RESULT: Final = row_maker(
    TradeResult, ["transaction", "balances", "position", "swap", "replayed"], "results of trades"
)


def reset_result(order: WalletOrder, row: TradeOutcome) -> ResetResult:
    """The same for a wallet's reset."""
    replayed = _made(order, row)
    assert row.result is not None
    result = _decode(row.result)
    return ResetResult(
        transactions=tuple([_transaction(transaction) for transaction in result["transactions"]]),
        balances=tuple([_balance(balance) for balance in result["balances"]]),
        positions_given_up=result["positions_given_up"],
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
    figures = _decode(row.figures or "{}")
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


def _decode(text: str) -> dict[str, Any]:
    document: dict[str, Any] = _DOCUMENTS.raw_decode(text)[0]
    return document


_DOCUMENTS: Final = json.JSONDecoder(parse_float=Decimal)


def _maker(model: type[_Model]) -> Callable[[Mapping[str, Any]], _Model]:
    """What makes models of rows that stand in a document as ``to_jsonb`` writes them.

    They come from the tables, so like rows they are not validated. Columns that a newer migration added are passed
    over: a service may run while the schema grows.
    """
    readers = [(name, _reader(field.annotation)) for name, field in model.model_fields.items()]
    make = row_maker(model, [name for name, _ in readers], f"documents of {model.__name__}")

    def from_document(document: Mapping[str, Any]) -> _Model:
        made: _Model = make(
            [value if (value := document[name]) is None or read is None else read(value) for name, read in readers]
        )
        return made

    return from_document


def _reader(annotation: Any) -> Callable[[Any], Any] | None:
    """What makes a value of this type from what JSON has for it; None: it is one already."""
    if get_origin(annotation) in (Union, UnionType):
        annotation = get_args(annotation)[0]  # the rest is None
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return _READERS.get(annotation)


# A whole number is an int in JSON's eyes, others are Decimals already.
_READERS: Final[dict[Any, Callable[[Any], Any]]] = {
    Decimal: lambda number: Decimal(number) if type(number) is int else number,
    UUID: lru_cache(maxsize=1024)(UUID),  # an agent's stands in every row
    AwareDatetime: datetime.fromisoformat,
}

_transaction = _maker(AgentTransaction)
_balance = _maker(AgentBalance)
_position = _maker(AgentPosition)
_swap = _maker(AgentHistoricalSwap)


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
