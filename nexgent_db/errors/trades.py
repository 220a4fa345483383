"""Refused trades."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from nexgent_db._text import plain
from nexgent_db.errors.base import NexgentError

__all__ = [
    "IdempotencyConflict",
    "InsufficientBalance",
    "MoonBagTooLarge",
    "NotAFullSale",
    "OrderExpired",
    "Oversell",
    "PositionExists",
    "PositionNotFound",
    "SaleBeforePurchase",
    "StalePosition",
    "TradeRefused",
    "WalletNotFound",
    "WalletNotSimulated",
]


class TradeRefused(NexgentError):
    """A trade was not made; the subclass says why, and its fields have the figures.

    Nothing was changed by this sending. Never retry unchanged: decide again. After a lost answer, an earlier sending
    may still arrive, unless the order has an ``expires_at``.
    """

    http_status = 409


class WalletNotFound(TradeRefused):
    """The agent owns no wallet of this address."""

    http_status = 404

    def __init__(self, wallet_address: str, agent_id: UUID) -> None:
        super().__init__(f"agent {agent_id} has no wallet {wallet_address}")
        self.wallet_address = wallet_address
        self.agent_id = agent_id


class WalletNotSimulated(TradeRefused):
    """Only a simulation wallet can be reset; a live wallet's holdings are on the chain."""

    def __init__(self, wallet_address: str, wallet_type: str) -> None:
        super().__init__(f"wallet {wallet_address} is a {wallet_type} wallet: only a simulation wallet can be reset")
        self.wallet_address = wallet_address
        self.wallet_type = wallet_type


class OrderExpired(TradeRefused):
    """The order's ``expires_at`` has passed on the database's clock; it was not made, and never will be.

    So this refusal is final even after a lost answer: an earlier sending that arrives later is refused as well.

    Nothing was changed, nor will this order change anything. Never retry: make a new order, with an id of its own.
    """

    def __init__(self, request_id: UUID, expires_at: datetime, now: datetime) -> None:
        super().__init__(f"order {request_id} expired at {expires_at.isoformat()}, and it is {now.isoformat()}")
        self.request_id = request_id
        self.expires_at = expires_at
        self.now = now


class IdempotencyConflict(TradeRefused):
    """The id, or the on-chain transaction of this wallet, is already taken by an order of other content."""

    def __init__(self, request_id: UUID, taken_by: str) -> None:
        super().__init__(f"order {request_id} conflicts with {taken_by}")
        self.request_id = request_id
        self.taken_by = taken_by


class InsufficientBalance(TradeRefused):
    """The wallet holds less of the token than the trade takes, fees included."""

    def __init__(self, wallet_address: str, token_address: str, balance: Decimal, required: Decimal) -> None:
        super().__init__(
            f"wallet {wallet_address} holds {plain(balance)} of {token_address}, {plain(required)} required"
        )
        self.wallet_address = wallet_address
        self.token_address = token_address
        self.balance = balance
        self.required = required


class PositionExists(TradeRefused):
    """The wallet has an open position in this token: add to it with a DCA buy."""

    def __init__(self, wallet_address: str, token_address: str, remaining: Decimal) -> None:
        super().__init__(
            f"wallet {wallet_address} already has an open position of {plain(remaining)} in {token_address}:"
            " use dca_buy"
        )
        self.wallet_address = wallet_address
        self.token_address = token_address
        self.remaining = remaining


class PositionNotFound(TradeRefused):
    """The wallet has no open position in this token."""

    http_status = 404

    def __init__(self, wallet_address: str, token_address: str) -> None:
        super().__init__(f"wallet {wallet_address} has no open position in {token_address}")
        self.wallet_address = wallet_address
        self.token_address = token_address


class _AmountRefused(TradeRefused):
    _complaint: str

    def __init__(self, wallet_address: str, token_address: str, remaining: Decimal, requested: Decimal) -> None:
        super().__init__(
            f"{self._complaint}: wallet {wallet_address}, token {token_address},"
            f" remaining {plain(remaining)}, requested {plain(requested)}"
        )
        self.wallet_address = wallet_address
        self.token_address = token_address
        self.remaining = remaining
        self.requested = requested


class Oversell(_AmountRefused):
    """The sale is larger than what remains of the position."""

    _complaint = "more than the position holds"


class NotAFullSale(_AmountRefused):
    """A full sale names less than what remains (a buy may have come between): sell that, or take profit."""

    _complaint = "a full sale must name all that remains"


class MoonBagTooLarge(_AmountRefused):
    """The moon bag to set aside is larger than what would remain after the sale."""

    _complaint = "the moon bag does not fit into what remains"


class SaleBeforePurchase(TradeRefused):
    """The sale's time lies before the purchase's."""

    def __init__(self, wallet_address: str, token_address: str, purchase_time: str, sale_time: str) -> None:
        super().__init__(
            f"position of wallet {wallet_address} in {token_address} was bought at {purchase_time},"
            f" after the sale's time, {sale_time}"
        )
        self.wallet_address = wallet_address
        self.token_address = token_address
        self.purchase_time = purchase_time
        self.sale_time = sale_time


class StalePosition(TradeRefused):
    """The position is not as the order expected: another trade came between."""

    def __init__(self, wallet_address: str, token_address: str, counter: str, expected: int, actual: int) -> None:
        super().__init__(
            f"position of wallet {wallet_address} in {token_address}: {counter} is {actual},"
            f" the order expected {expected}"
        )
        self.wallet_address = wallet_address
        self.token_address = token_address
        self.counter = counter
        self.expected = expected
        self.actual = actual
