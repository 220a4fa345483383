# Generated from tests/integration/aio/test_refusal_order.py by `make sync`: do not edit.
"""An order with two faults is refused for the one that the page names first, and for the other without it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import combinations
from typing import Any, Final

import pytest

from nexgent_db import Database, errors
from nexgent_db.errors import (
    IdempotencyConflict,
    InsufficientBalance,
    MoonBagTooLarge,
    NotAFullSale,
    OrderExpired,
    Oversell,
    PositionExists,
    PositionNotFound,
    SaleBeforePurchase,
    StalePosition,
    TradeRefused,
    WalletNotFound,
    WalletNotSimulated,
)
from nexgent_db.models import SOL_MINT
from tests.integration.sync.factories import Owner, balance_of, funded_owner, new_owner
from tests.support.builders.pages import ROOT

PAGE: Final = ROOT / "docs" / "pages" / "concepts" / "trades.md"
PAST: Final = datetime(2001, 1, 1, tzinfo=UTC)

Faults = dict[type[TradeRefused], dict[str, Any]]
"""How to change a good order, so that it is refused with this."""

HUGE: Final = Decimal(1000)
NO_POSITION: Final = {"token_address": "Another"}
OWN_FAULTS: Final[dict[str, Faults]] = {
    "deposit": {},
    "withdraw": {InsufficientBalance: {"amount": HUGE}},
    "burn": {InsufficientBalance: {"amount": HUGE}},
    "swap": {InsufficientBalance: {"input_amount": HUGE}},
    "buy": {PositionExists: {}, InsufficientBalance: {"sol_amount": HUGE}},
    "dca_buy": {
        PositionNotFound: NO_POSITION,
        StalePosition: {"expected_dca_count": 7},
        InsufficientBalance: {"sol_amount": HUGE},
    },
    "take_profit": {
        PositionNotFound: NO_POSITION,
        StalePosition: {"expected_levels_hit": 7},
        Oversell: {"token_amount": Decimal(11)},
        MoonBagTooLarge: {"moon_bag_amount": Decimal(10)},
        SaleBeforePurchase: {"transaction_time": PAST},
        InsufficientBalance: {"protocol_fee_sol": HUGE},
    },
    "sell": {
        PositionNotFound: NO_POSITION,
        Oversell: {"token_amount": Decimal(11)},
        NotAFullSale: {"token_amount": Decimal(9)},
        SaleBeforePurchase: {"transaction_time": PAST},
        InsufficientBalance: {"protocol_fee_sol": HUGE},
    },
    "write_off": {PositionNotFound: NO_POSITION, SaleBeforePurchase: {"transaction_time": PAST}},
    "reset_wallet": {},
}


def documented() -> list[type[TradeRefused]]:
    """The refusals in the order in which the page has them."""
    (text,) = re.findall(r"are checked in this order.*?(?=^\[Errors\])", PAGE.read_text(encoding="utf-8"), re.S | re.M)
    return [getattr(errors, name) for name in re.findall(r"\(`(\w+)`\)", text)]


@pytest.fixture
def owner(db: Database) -> Iterator[Owner]:
    """An agent with 99 SOL and a position of 10 tokens."""
    owner = funded_owner(db)
    db.trades.buy(owner.buy("1", "10"))
    yield owner
    assert balance_of(db, owner) == 99


def refusal_of(db: Database, trade: str, order: Any) -> type[TradeRefused]:
    with pytest.raises(TradeRefused) as caught:
        getattr(db.trades, trade)(order)
    return type(caught.value)


def general_faults(db: Database, owner: Owner) -> Faults:
    """Those that an order of any kind can have."""
    used = owner.deposit("1", "Other")
    db.trades.deposit(used)
    return {
        WalletNotFound: {"wallet_address": new_owner(db).wallet_address},
        IdempotencyConflict: {"request_id": used.request_id},
        OrderExpired: {"expires_at": PAST},
    }


def good_order(owner: Owner, trade: str) -> Any:
    match trade:
        case "swap":
            return owner.swap("1", SOL_MINT, "1", "Other")
        case "deposit" | "withdraw" | "burn":
            return getattr(owner, trade)("1")
        case "sell":
            return owner.sell("10", "1")
        case "write_off":
            return owner.write_off()
        case "reset_wallet":
            return owner.reset("1")
        case _:
            return getattr(owner, trade)("1", "1")


@pytest.mark.parametrize("trade", OWN_FAULTS)
def test_first_of_two_faults_is_that_of_the_page(db: Database, owner: Owner, trade: str) -> None:
    order = good_order(owner, trade)
    faults = general_faults(db, owner) | OWN_FAULTS[trade]
    if PositionExists in faults:
        order, faults[PositionExists] = order.model_copy(update=NO_POSITION), {"token_address": order.token_address}
    places = {kind: place for place, kind in enumerate(documented())}
    for one, other in combinations(faults, 2):
        first, second = sorted((one, other), key=places.__getitem__)
        if not faults[first].keys() & faults[second].keys():  # else it can have one of them alone
            both = order.model_copy(update=faults[first] | faults[second])
            assert refusal_of(db, trade, both) is first, (first, second)
    for kind, change in faults.items():
        assert refusal_of(db, trade, order.model_copy(update=change)) is kind


def test_live_wallet_is_refused_after_the_general_faults(db: Database) -> None:
    live = new_owner(db, "live")
    faults = general_faults(db, live)
    for kind, change in faults.items():
        assert refusal_of(db, "reset_wallet", live.reset("1").model_copy(update=change)) is kind
    assert refusal_of(db, "reset_wallet", live.reset("1")) is WalletNotSimulated


def test_write_off_of_nothing_is_refused_after_one_before_the_purchase(db: Database, owner: Owner) -> None:
    order = owner.write_off()
    db.trades.burn(owner.burn("10", order.token_address))
    assert refusal_of(db, "write_off", order.model_copy(update={"transaction_time": PAST})) is SaleBeforePurchase
    assert refusal_of(db, "write_off", order) is InsufficientBalance


def test_page_has_every_refusal() -> None:
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, TradeRefused)}
    assert len(documented()) == len(set(documented()))
    assert set(documented()) == kinds - {TradeRefused}
