# Generated from tests/integration/aio/test_execute_many.py by `make sync`: do not edit.
"""Many orders at once: a result or a refusal for each, in a few round trips, without deadlocks."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from nexgent_db import Database
from nexgent_db.errors import (
    BlockMisuse,
    InsufficientBalance,
    InvalidInput,
    NumericOverflow,
    PositionNotFound,
    TradeRefused,
    WalletNotFound,
)
from nexgent_db.models import SOL_MINT, SignalOrder
from nexgent_db.models.trades import ResetResult, TradeResult, WalletOrder
from nexgent_db.settings import Settings
from nexgent_db.sync.repositories import trades
from tests.integration.sync.factories import TOKEN, Owner, balance_of, funded_owner, new_owner, new_owners
from tests.support.builders.pages import ROOT
from tests.support.faults.concurrently import concurrently
from tests.support.oracles.state import broken_rules, rows_of


@pytest.fixture
def db(fresh_database_url: str) -> Iterator[Database]:
    """A database of the test's own."""
    with Database(replace(Settings.from_url(fresh_database_url), pool_max_size=8)) as database:
        yield database


def figures(outcome: Any) -> Any:
    """What a caller acts on, without ids and times."""
    if isinstance(outcome, TradeRefused):
        return type(outcome), str(outcome)
    if isinstance(outcome, ResetResult):
        return [(each.token_address, each.balance) for each in outcome.balances], outcome.positions_given_up
    position = outcome.position
    return (
        outcome.transaction.transaction_type,
        [(each.token_address, each.balance) for each in outcome.balances],
        position and (position.remaining_amount, position.purchase_price, position.realized_profit_sol),
        outcome.swap and outcome.swap.profit_loss_sol,
        outcome.duplicate,
    )


def every_kind(owner: Owner) -> list[WalletOrder]:
    deposit = owner.deposit("10")
    return [
        deposit,
        owner.withdraw("1"),
        owner.burn("1"),
        owner.swap("1", SOL_MINT, "5", "Other"),
        owner.buy("2", "8"),
        owner.buy("2", "8"),
        owner.dca_buy("1", "8"),
        owner.take_profit("4", "1"),
        owner.sell("99", "1"),
        owner.sell("12", "3"),
        owner.sell("12", "3"),
        owner.withdraw("1000"),
        deposit,
        owner.reset("7"),
    ]


def test_batch_does_what_single_trades_do(db: Database, fresh_database_url: str) -> None:
    one, other = new_owner(db), new_owner(db)
    singles: list[Any] = []
    for order in every_kind(one):
        try:
            method = type(order).__name__.removesuffix("Order")
            name = {"DcaBuy": "dca_buy", "TakeProfit": "take_profit", "ResetWallet": "reset_wallet"}.get(method)
            singles.append(getattr(db.trades, name or method.lower())(order))
        except TradeRefused as refused:
            singles.append(refused)
    batch = db.trades.execute_many(every_kind(other))
    said = [str(figures(each)).replace(one.wallet_address, "w") for each in singles]
    assert [str(figures(each)).replace(other.wallet_address, "w") for each in batch] == said
    assert [type(each).__name__ for each in batch].count("TradeResult") == 9
    assert broken_rules(fresh_database_url) == {}


def test_one_signal_five_hundred_agents(db: Database, fresh_database_url: str) -> None:
    owners = new_owners(db, 500)
    signal = db.signals.create(SignalOrder(token_address=TOKEN, signal_type="BUY", signal_strength=3))
    deposits = db.trades.execute_many([owner.deposit("10") for owner in owners])
    assert [each.balances[0].balance for each in deposits if isinstance(each, TradeResult)] == [10] * 500
    orders = [owner.buy("0.1", "5", signal_id=signal.id) for owner in owners]
    results = db.trades.execute_many(orders)
    bought = [each.transaction for each in results if isinstance(each, TradeResult)]
    assert [(each.id, each.signal_id) for each in bought] == [(order.trade_id, signal.id) for order in orders]
    wallets = [owner.wallet_address for owner in owners]
    for token, amount in ((SOL_MINT, Decimal("9.9")), (TOKEN, Decimal(5))):
        balances = db.balances.list_by_wallets(token, wallets)
        assert [each.balance for each in balances] == [amount] * 500
    assert broken_rules(fresh_database_url) == {}


def test_wallets_trade_many_times_in_one_batch(db: Database, fresh_database_url: str) -> None:
    owners = [funded_owner(db) for _ in range(25)]
    orders = [owner.buy("0.1", "5", f"token {number}") for number in range(20) for owner in owners]
    results = db.trades.execute_many(orders)
    assert [each.transaction.id for each in results if isinstance(each, TradeResult)] == [
        order.trade_id for order in orders
    ]
    assert {balance_of(db, owner) for owner in owners} == {98}
    assert broken_rules(fresh_database_url) == {}


def test_refusal_leaves_others_executed(db: Database) -> None:
    owner, stranger = funded_owner(db), new_owner(db)
    orders = [owner.withdraw("60"), owner.withdraw("60"), stranger.sell("1", "1"), owner.withdraw("40")]
    made, refused, missing, last = db.trades.execute_many(orders)
    assert isinstance(made, TradeResult)
    assert isinstance(refused, InsufficientBalance)
    assert refused.balance == 40
    assert isinstance(missing, PositionNotFound)
    assert isinstance(last, TradeResult)
    assert balance_of(db, owner) == 0


def test_error_undoes_whole_batch(db: Database, fresh_database_url: str) -> None:
    owner = funded_owner(db)
    before = rows_of(fresh_database_url, owner.agent_id)
    huge = "9" * 20
    orders = [owner.withdraw("1"), owner.deposit(huge), owner.deposit(huge), owner.withdraw("1")]
    with pytest.raises(NumericOverflow):
        db.trades.execute_many(orders)
    assert rows_of(fresh_database_url, owner.agent_id) == before


def test_chunks_are_committed_one_after_another(
    db: Database, fresh_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trades, "CHUNK_SIZE", 3)
    owner = funded_owner(db)
    reported: list[tuple[int, int]] = []
    orders = [owner.withdraw("1") for _ in range(8)]
    db.trades.execute_many(orders, atomic=False, progress=lambda done, of: reported.append((done, of)))
    assert reported == [(3, 8), (6, 8), (8, 8)]
    huge = "9" * 20
    broken = [*[owner.withdraw("1") for _ in range(4)], owner.deposit(huge), owner.deposit(huge)]
    with pytest.raises(NumericOverflow):
        db.trades.execute_many(broken, atomic=False)
    assert balance_of(db, owner) == 100 - 8 - 3
    again = db.trades.execute_many(broken[:4], atomic=False)
    assert [each.duplicate for each in again if isinstance(each, TradeResult)] == [True, True, True, False]


@pytest.mark.parametrize("pipeline", [False, True])
def test_batch_is_part_of_open_transaction(db: Database, pipeline: bool) -> None:
    owner = funded_owner(db)
    with pytest.raises(ZeroDivisionError), db.transaction(pipeline=pipeline) as tx:
        tx.trades.execute_many([owner.withdraw("1"), owner.withdraw("2")], atomic=False)
        assert tx.trades.withdraw(owner.withdraw("3")).balances[0].balance == 94
        raise ZeroDivisionError
    assert balance_of(db, owner) == 100


def test_bad_batches_are_refused_before_anything_is_sent(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = funded_owner(db)
    broken: Any = [owner.withdraw("1"), owner.withdraw("1"), "withdraw 1"]
    with pytest.raises(InvalidInput, match=r"orders\[2\].*an order expected, str given"):
        db.trades.execute_many(broken)
    with pytest.raises(InvalidInput, match="order: BuyOrder expected, WithdrawOrder given"):
        db.trades.buy(owner.withdraw("1"))  # type: ignore[arg-type]
    monkeypatch.setattr(trades, "MAX_ATOMIC_ORDERS", 3)
    with pytest.raises(InvalidInput, match="4 are too many for one transaction, which takes 3"):
        db.trades.execute_many([owner.withdraw("1") for _ in range(4)])
    assert db.trades.execute_many([]) == []
    assert balance_of(db, owner) == 100


def test_batch_above_the_documented_limit_is_refused_before_anything_is_sent(fresh_database_url: str) -> None:
    closed = Database(fresh_database_url)
    order = Owner(uuid4(), uuid4(), "W").withdraw("1")
    with pytest.raises(InvalidInput, match="orders: 10001 are too many for one transaction, which takes 10000"):
        closed.trades.execute_many([order] * 10_001)
    with pytest.raises(BlockMisuse, match="is not open"):  # what it would send with
        closed.trades.execute_many([order] * 10_000)
    page = ROOT / "docs" / "pages" / "concepts" / "trades.md"
    assert f"one transaction, of up to {trades.MAX_ATOMIC_ORDERS:,} orders" in page.read_text(encoding="utf-8")


def test_batches_and_singles_do_not_deadlock(db: Database, fresh_database_url: str) -> None:
    owners = [funded_owner(db) for _ in range(6)]

    def batches(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(10):
            chosen = chance.sample(owners, 5)
            db.trades.execute_many([owner.swap("0.1", SOL_MINT, "1", TOKEN) for owner in chosen])

    def singles(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(40):
            db.trades.swap(chance.choice(owners).swap("0.1", SOL_MINT, "1", TOKEN))

    concurrently([lambda s=s: batches(s) for s in range(4)] + [lambda s=s: singles(s) for s in range(2)])
    total = sum([balance_of(db, owner) for owner in owners])
    assert total == 600 - (4 * 10 * 5 + 2 * 40) / 10
    assert broken_rules(fresh_database_url) == {}


def test_wallet_of_another_tenant_is_not_found(db: Database) -> None:
    owner, other = funded_owner(db), funded_owner(db)
    stolen = replace(owner, wallet_address=other.wallet_address)
    made, refused = db.trades.execute_many([owner.withdraw("1"), stolen.withdraw("1")])
    assert isinstance(made, TradeResult)
    assert isinstance(refused, WalletNotFound)


def test_cache_follows_batch(fresh_database_url: str, redis_url: str) -> None:
    settings = replace(Settings.from_url(fresh_database_url), redis_url=redis_url, cache_prefix=f"{uuid4()}:")
    with Database(settings) as cached:
        owners = [funded_owner(cached) for _ in range(3)]
        orders = [owner.buy("1", "10") for owner in owners]
        cached.trades.execute_many(orders)
        for owner in owners:
            assert cached.cache.positions_of_agent(owner.agent_id) == cached.positions.list_by_agent(owner.agent_id)
            balance = cached.cache.balance(owner.agent_id, owner.wallet_address, SOL_MINT)
            assert balance is not None
            assert balance.balance == 99
        again = cached.trades.execute_many(orders)
        assert [each.duplicate for each in again if isinstance(each, TradeResult)] == [True] * 3
