# Generated from tests/integration/aio/test_trade_expiry.py by `make sync`: do not edit.
"""Expired orders: rejected behind the wallet's lock by the database's clock, unless they were executed before."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from nexgent_db import Database
from nexgent_db.errors import (
    IdempotencyConflict,
    InsufficientBalance,
    InvalidInput,
    OrderExpired,
    TradeRefused,
    WalletNotFound,
)
from nexgent_db.models import SOL_MINT, DepositOrder
from tests.integration.sync.factories import TOKEN, Owner, balance_of
from tests.support.oracles.state import rows_of

pytestmark = pytest.mark.usefixtures("consistent_ledger")

PAST = datetime(2001, 1, 1, tzinfo=UTC)
FUTURE = datetime(2999, 1, 1, tzinfo=UTC)
TRADES = ("deposit", "withdraw", "burn", "swap", "buy", "dca_buy", "take_profit", "sell", "reset_wallet")


def order_of(owner: Owner, trade: str, **more: Any) -> Any:
    """A valid order of this kind, for the 100 SOL and the position of 10 tokens that ``prepare`` makes."""
    match trade:
        case "deposit":
            return owner.deposit("1", **more)
        case "withdraw":
            return owner.withdraw("1", **more)
        case "burn":
            return owner.burn("1", **more)
        case "swap":
            return owner.swap("1", SOL_MINT, "1", "Other", **more)
        case "buy":
            return owner.buy("1", "1", "Another", **more)
        case "dca_buy":
            return owner.dca_buy("1", "1", **more)
        case "take_profit":
            return owner.take_profit("1", "1", **more)
        case "sell":
            return owner.sell("10", "1", **more)
        case _:
            return owner.reset("1", **more)


def prepare(db: Database, owner: Owner) -> None:
    db.trades.deposit(owner.deposit("101"))
    db.trades.buy(owner.buy("1", "10"))


def refused(db: Database, database_url: str, owner: Owner, trade: str, order: Any) -> TradeRefused:
    """The refusal of the order, which changed nothing."""
    before = rows_of(database_url, owner.agent_id)
    with pytest.raises(TradeRefused) as caught:
        getattr(db.trades, trade)(order)
    assert rows_of(database_url, owner.agent_id) == before
    return caught.value


@pytest.mark.parametrize("trade", TRADES)
def test_expired_order_changes_nothing_and_later_expiry_executes_it(
    db: Database, owner: Owner, database_url: str, trade: str
) -> None:
    prepare(db, owner)
    order = order_of(owner, trade, expires_at=PAST)
    refusal = refused(db, database_url, owner, trade, order)
    assert isinstance(refusal, OrderExpired)
    assert (refusal.request_id, refusal.expires_at) == (order.request_id, PAST)
    assert abs(refusal.now - datetime.now(UTC)) < timedelta(minutes=5)
    later = getattr(db.trades, trade)(order.model_copy(update={"expires_at": FUTURE}))
    assert not later.duplicate


@pytest.mark.parametrize("trade", TRADES)
def test_executed_order_returns_first_result_after_expiry(
    db: Database, owner: Owner, database_url: str, trade: str
) -> None:
    prepare(db, owner)
    order = order_of(owner, trade, expires_at=FUTURE)
    first = getattr(db.trades, trade)(order)
    before = rows_of(database_url, owner.agent_id)
    for expires_at in (PAST, None, FUTURE - timedelta(days=1)):
        again = getattr(db.trades, trade)(order.model_copy(update={"expires_at": expires_at}))
        assert again == first.model_copy(update={"duplicate": True})
    assert rows_of(database_url, owner.agent_id) == before


def test_expired_order_of_another_agents_wallet_is_not_found(db: Database, owner: Owner, database_url: str) -> None:
    stranger = replace(owner, agent_id=uuid4())
    order = stranger.deposit("1", expires_at=PAST)
    assert isinstance(refused(db, database_url, owner, "deposit", order), WalletNotFound)


def test_expired_order_of_used_id_is_conflict(db: Database, owner: Owner, database_url: str) -> None:
    first = owner.deposit("10", transaction_hash="5xHash")
    db.trades.deposit(first)
    for other in (
        owner.deposit("11", request_id=first.request_id, expires_at=PAST),
        owner.deposit("10", request_id=uuid4(), transaction_hash="5xHash", expires_at=PAST),
    ):
        assert isinstance(refused(db, database_url, owner, "deposit", other), IdempotencyConflict)


def test_expiry_takes_precedence_over_removable_rejections(db: Database, owner: Owner, database_url: str) -> None:
    """The other reasons may no longer hold when the order arrives again; the expiry always will."""
    prepare(db, owner)
    for trade, order in (
        ("withdraw", owner.withdraw("1000", expires_at=PAST)),
        ("buy", owner.buy("1", "1", expires_at=PAST)),
        ("buy", owner.buy("1000", "1", "Another", expires_at=PAST)),
        ("dca_buy", owner.dca_buy("1", "1", "Another", expires_at=PAST)),
        ("dca_buy", owner.dca_buy("1", "1", expected_dca_count=7, expires_at=PAST)),
        ("take_profit", owner.take_profit("11", "1", expires_at=PAST)),
        ("take_profit", owner.take_profit("1", "1", moon_bag_amount="10", expires_at=PAST)),
        ("sell", owner.sell("9", "1", expires_at=PAST)),
        ("sell", owner.sell("10", "1", transaction_time=PAST, expires_at=PAST)),
    ):
        assert isinstance(refused(db, database_url, owner, trade, order), OrderExpired)


def test_unexpired_order_is_rejected_for_other_reason(db: Database, owner: Owner, database_url: str) -> None:
    order = owner.withdraw("1", expires_at=FUTURE)
    assert isinstance(refused(db, database_url, owner, "withdraw", order), InsufficientBalance)


def test_expired_order_leaves_rest_of_transaction(db: Database, owner: Owner) -> None:
    for pipeline in (False, True):
        with db.transaction(pipeline=pipeline) as tx:
            tx.trades.deposit(owner.deposit("2"))
            with pytest.raises(OrderExpired):
                tx.trades.withdraw(owner.withdraw("1", expires_at=PAST))
    assert balance_of(db, owner) == 4


def test_expiry_uses_database_clock(db: Database, owner: Owner, database_url: str) -> None:
    """A minute on either side of the server's now, whatever clock this process has."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    db.trades.deposit(owner.deposit("1", TOKEN, expires_at=row[0] + timedelta(minutes=1)))
    with pytest.raises(OrderExpired):
        db.trades.deposit(owner.deposit("1", TOKEN, expires_at=row[0] - timedelta(minutes=1)))
    assert balance_of(db, owner, TOKEN) == 1


@pytest.mark.parametrize("field", ["expires_at", "transaction_time"])
@pytest.mark.parametrize(
    "time",
    [
        datetime(2030, 1, 1),  # noqa: DTZ001  # naive on purpose
        float("nan"),
        float("inf"),
        "infinity",
        "tomorrow",
        datetime.max.replace(tzinfo=UTC),
        datetime.min.replace(tzinfo=UTC),
    ],
)
def test_unstorable_expiry_is_refused_by_field(owner: Owner, field: str, time: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        DepositOrder(**{**dict(owner.deposit("1")), field: time})
    assert caught.value.field == field
