"""Turns the answer of a trade into a result or a refusal's error; decides whether two orders are the same.

Pure: shared by the asynchronous and the synchronous trades.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from json.encoder import encode_basestring_ascii
from typing import Any, Final
from uuid import UUID

from nexgent_db.errors import (
    IdempotencyConflict,
    InsufficientBalance,
    MoonBagTooLarge,
    NexgentError,
    NotAFullSale,
    OrderExpired,
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
from nexgent_db.models.trades import (
    BurnOrder,
    DepositOrder,
    LedgerEntry,
    ResetOutcome,
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
from nexgent_db.queries.rows import row_maker


def content_digest(order: WalletOrder) -> bytes:
    """SHA-256 of the order's content: equal numbers and instants count as equal however they are written.

    The request id is not content, nor is ``expires_at``: an order may be sent again with another deadline. Fields that
    are None or False are left out, so a field that is added later with this default does not change old digests.
    """
    parts = [type(order).__name__]
    for name, value in vars(order).items():
        if value is not None and value is not False and name not in _NOT_CONTENT:
            parts.append(name)
            parts.append(_CANONICAL.get(type(value), _document)(value))
    return sha256("\n".join(parts).encode()).digest()


_NOT_CONTENT: Final = ("request_id", "expires_at")


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


def trade_result(order: WalletOrder, row: Sequence[Any]) -> TradeResult:
    """The result of a trade that was made, now or before; raises the TradeRefused that ``row`` describes otherwise."""
    outcome, transaction, *rows = row
    duplicate = _made(order, outcome)
    if transaction is None:
        raise IdempotencyConflict(order.request_id, "an order whose transaction was deleted since")
    position, swap = (*rows, None, None)[:2]
    return _make_result(  # type: ignore[no-any-return]
        (
            _with_payloads(transaction, order),
            _balances(order, outcome, transaction.created_at),
            position,
            swap,
            outcome.closed_position_id,
            duplicate,
        )
    )


def write_off_result(order: WalletOrder, row: Sequence[Any]) -> TradeResult:
    """The result of a write-off, which leaves no position; raises like :func:`trade_result`."""
    outcome, transaction, swap = row
    return trade_result(order, (outcome, transaction, None, swap))


def _with_payloads(transaction: AgentTransaction, order: WalletOrder) -> AgentTransaction:
    """The transaction with the order's payloads: they are not sent back, the digest shows that they are the same."""
    payloads = {name: payload for name in _PAYLOADS if (payload := getattr(order, name, None)) is not None}
    return transaction.model_copy(update=payloads) if payloads else transaction


_PAYLOADS: Final = ("routes", "swap_payload")


def _balances(order: WalletOrder, row: TradeOutcome | ResetOutcome, changed_at: datetime) -> tuple[AgentBalance, ...]:
    """The changed balances, by token. There is none when fees took all of a deposit."""
    columns = row.balance_ids or (), row.token_addresses or (), row.token_symbols or (), row.balances or ()
    return tuple(
        [
            _make_balance((each, order.agent_id, order.wallet_address, token, symbol, balance, changed_at, row.version))
            for each, token, symbol, balance in zip(*columns, strict=True)
        ]
    )


def reset_result(order: WalletOrder, rows: Sequence[Sequence[Any]]) -> ResetResult:
    """The result of a wallet's reset; raises like :func:`trade_result`."""
    outcome = rows[0][0]
    duplicate = _made(order, outcome)
    transactions = tuple([transaction for _, transaction in rows if transaction is not None])
    closed = tuple(outcome.closed_position_ids or ())
    return ResetResult(
        transactions=transactions,
        balances=_balances(order, outcome, transactions[0].created_at) if transactions else (),
        positions_given_up=len(closed),
        closed_position_ids=closed,
        duplicate=duplicate,
    )


def race_lost(order: WalletOrder, error: UniqueViolation) -> NexgentError:
    """The error for a unique key's refusal of a trade: another order uses the id at this moment."""
    if error.constraint in _ID_KEYS:
        return IdempotencyConflict(order.request_id, "another order of this id, made at the same time")
    return error


_ID_KEYS: Final = {"trade_requests_pkey", "agent_transactions_pkey"}


def _made(order: WalletOrder, row: TradeOutcome | ResetOutcome) -> bool:
    """Whether the order is a duplicate. Raises the refusal."""
    if row.outcome == "made" or row.outcome == "duplicate":
        return row.outcome == "duplicate"
    raise _REFUSALS[row.outcome](order, _details(row))


def _details(row: TradeOutcome | ResetOutcome) -> dict[str, Any]:
    """The refusal's details: amounts as Decimals, whole ones too; the counts of a stale position as ints."""
    details: dict[str, Any] = json.loads(row.details or "{}", parse_float=Decimal)
    if row.outcome == "stale_position":
        return details
    return {name: Decimal(value) if isinstance(value, int) else value for name, value in details.items()}


def _token(order: WalletOrder) -> str:
    return str(getattr(order, "token_address"))  # noqa: B009  # only orders of positions are refused for them


def _expired(order: WalletOrder, now: str) -> OrderExpired:
    assert order.expires_at is not None
    return OrderExpired(order.request_id, order.expires_at, datetime.fromisoformat(now))


_REFUSALS: Final[dict[str, Callable[[WalletOrder, dict[str, Any]], TradeRefused]]] = {
    "wallet_not_found": lambda order, _: WalletNotFound(order.wallet_address, order.agent_id),
    "wallet_not_simulated": lambda order, details: WalletNotSimulated(order.wallet_address, **details),
    "idempotency_conflict": lambda order, details: IdempotencyConflict(order.request_id, **details),
    "order_expired": lambda order, details: _expired(order, **details),
    "insufficient_balance": lambda order, details: InsufficientBalance(order.wallet_address, **details),
    "position_exists": lambda order, details: PositionExists(order.wallet_address, _token(order), **details),
    "position_not_found": lambda order, _: PositionNotFound(order.wallet_address, _token(order)),
    "stale_position": lambda order, details: StalePosition(order.wallet_address, _token(order), **details),
    "oversell": lambda order, details: Oversell(order.wallet_address, _token(order), **details),
    "not_a_full_sale": lambda order, details: NotAFullSale(order.wallet_address, _token(order), **details),
    "moon_bag_too_large": lambda order, details: MoonBagTooLarge(order.wallet_address, _token(order), **details),
    "sale_before_purchase": lambda order, details: SaleBeforePurchase(order.wallet_address, _token(order), **details),
}


_make_balance: Final = row_maker(AgentBalance, list(AgentBalance.model_fields), "balances of trades")
_make_result: Final = row_maker(TradeResult, list(TradeResult.model_fields), "results of trades")


def entry_of(order: DepositOrder | WithdrawOrder | BurnOrder | SwapOrder) -> LedgerEntry:
    """The transaction that a trade outside of positions writes."""
    given = dict(order)
    if isinstance(order, SwapOrder):
        return LedgerEntry.model_construct(transaction_type="SWAP", **given)
    input_fields = {f"input_{name}": given.pop(column) for name, column in _INPUT_COLUMNS.items()}
    return LedgerEntry.model_construct(transaction_type=_TRANSACTION_TYPES[type(order)], **input_fields, **given)


_INPUT_COLUMNS: Final = {"mint": "token_address", "symbol": "token_symbol", "amount": "amount"}
_TRANSACTION_TYPES: Final[dict[type[WalletOrder], TransactionType]] = {
    DepositOrder: "DEPOSIT",
    WithdrawOrder: "WITHDRAWAL",
    BurnOrder: "BURN",
}


def sale_of(order: TakeProfitOrder | SellOrder) -> Sale:
    """The sale that a take-profit or a full sale is."""
    return Sale.model_construct(is_take_profit=isinstance(order, TakeProfitOrder), **dict(order))
