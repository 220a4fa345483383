"""The ledger of a replay: which orders it accepts, and what they leave."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from nexgent_db.models.base import SOL_MINT
from nexgent_db.models.trades import TradeOrder
from nexgent_db.replay.accounts import accounts_of
from nexgent_db.replay.events import Line, SwapEvent, TransferEvent
from nexgent_db.replay.ledger import Ledger, Position
from nexgent_db.replay.rules import order_of, position_token

(ACCOUNT,) = accounts_of("wallet", 1)
ABOUT: dict[str, Any] = {"wallet": "wallet", "time": "2026-01-02T00:00:00Z", "tx_hash": "hash"}


def transfer(kind: str, mint: str, amount: str) -> TransferEvent:
    return TransferEvent.model_validate(
        ABOUT | {"kind": kind, "mint": mint, "symbol": "S", "amount": amount, "amount_usd": "2"}
    )


def swap(given: str, amount: str, received: str, of: str, **changes: Any) -> SwapEvent:
    event = {"kind": "swap", "input_mint": given, "input_symbol": "IN", "input_amount": amount, "input_usd": "3"}
    event |= {"output_mint": received, "output_symbol": "OUT", "output_amount": of}
    return SwapEvent.model_validate(ABOUT | event | changes)


def order(ledger: Ledger, event: SwapEvent | TransferEvent) -> TradeOrder:
    made = order_of(Line(1, 0, event, 0), ACCOUNT, ledger.remaining(position_token(event)))
    assert made is not None
    return made


def held(sol: str = "0", **tokens: str) -> Ledger:
    """A ledger with SOL, and with a position in each token of which it holds all."""
    amounts = {token: Decimal(amount) for token, amount in tokens.items()}
    positions = {token: Position(amount) for token, amount in amounts.items()}
    return Ledger(balances={SOL_MINT: Decimal(sol), **amounts}, positions=positions)


@pytest.mark.parametrize(
    ("ledger", "event", "accepted"),
    [
        (held(), transfer("transfer_in", "native", "1"), True),
        (held("1"), transfer("transfer_out", "native", "1"), True),
        (held("1"), transfer("transfer_out", "native", "1.1"), False),
        (held(), transfer("transfer_out", "token", "1"), False),
        (held("1"), swap("native", "1", "token", "5"), True),
        (held("1"), swap("native", "1.1", "token", "5"), False),
        (held("1", token="5"), swap("native", "1.1", "token", "5"), False),
        (held("0", token="5"), swap("token", "4", "native", "1"), True),
        (held("0", token="5"), swap("token", "5", "native", "1"), True),
        (held("0"), swap("token", "5", "native", "1"), False),
        (held("0", token="5"), swap("token", "5", "other", "1"), True),
        (held("0", token="5"), swap("token", "6", "other", "1"), False),
        (Ledger(unlimited_sol=True), swap("native", "9", "token", "1"), True),
        (Ledger(unlimited_sol=True), transfer("transfer_out", "token", "1"), False),
    ],
)
def test_order_that_wallet_cannot_pay_is_not_accepted(
    ledger: Ledger, event: SwapEvent | TransferEvent, accepted: bool
) -> None:
    assert ledger.accepts(order(ledger, event)) is accepted


def test_sale_of_spent_position_is_not_accepted() -> None:
    ledger = held("0", token="5")
    ledger.apply(order(ledger, swap("token", "3", "other", "1")))  # no sale: the position keeps its rest
    assert ledger.remaining("token") == 5
    assert not ledger.accepts(order(ledger, swap("token", "5", "native", "1")))


def test_sale_before_known_purchase_is_not_accepted() -> None:
    ledger = held("1")
    ledger.apply(order(ledger, swap("native", "1", "token", "5")))
    early = order(ledger, swap("token", "5", "native", "1", time="2026-01-01T00:00:00Z"))
    assert not ledger.accepts(early)
    assert held("0", token="5").accepts(early)  # the time of a purchase that was read is not known


def test_ledger_follows_orders() -> None:
    ledger = held("10")
    for event in (
        swap("native", "4", "token", "10"),
        swap("native", "2", "token", "5"),
        swap("token", "6", "native", "3"),
        transfer("transfer_in", "native", "0.5"),
    ):
        ledger.apply(order(ledger, event))
    assert ledger.remaining("token") == 9
    assert ledger.balances == {SOL_MINT: Decimal("7.5"), "token": Decimal(9)}

    ledger.apply(order(ledger, swap("token", "9", "native", "1")))
    assert (ledger.remaining("token"), ledger.balances) == (None, {SOL_MINT: Decimal("8.5")})
