# Generated from tests/integration/aio/test_concurrent_trades.py by `make sync`: do not edit.
"""Concurrent trades on a real server: none is lost or doubled, no SOL is created, and none deadlocks."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from nexgent_db import Database, Settings, Transaction
from nexgent_db.errors import (
    IdempotencyConflict,
    NotAFullSale,
    PositionExists,
    PositionNotFound,
    TradeRefused,
    TransactionConflict,
    WalletNotFound,
)
from nexgent_db.models import SOL_MINT, TradeResult
from tests.integration.sync.factories import Owner, balance_of, new_owner
from tests.support.faults.concurrently import concurrently
from tests.support.oracles.state import broken_rules

WRITERS = 16
ROUNDS = 20


@pytest.fixture
def crowd(database_url: str) -> Iterator[Database]:
    """A database with a connection for each writer."""
    with Database(replace(Settings.from_url(database_url), pool_max_size=WRITERS)) as database:
        yield database


METHODS = ("deposit", "deposit", "withdraw", "burn", "buy", "dca_buy", "take_profit", "sell", "swap")


def _random_order(db: Database, owner: Owner, dice: random.Random) -> tuple[str, Any]:
    """A random trade of forty tokens, with fees that do not divide evenly; about half are refused."""
    method, token = dice.choice(METHODS), f"token{dice.randrange(40)}"
    sol = str(Decimal(dice.randrange(1, 3_000_000)).scaleb(-9))
    amount = str(Decimal(dice.randrange(1, 50)) / 4)
    fees = {"network_fee_sol": "0.000005001", "protocol_fee_sol": "0.000000999"}
    match method:
        case "deposit" if dice.random() < 0.5:
            order: Any = owner.deposit(amount, token)
        case "deposit" | "withdraw":
            order = getattr(owner, method)(sol, **fees)
        case "burn":
            order = owner.burn(amount, token)
        case "buy" | "dca_buy":
            order = getattr(owner, method)(sol, amount, token, **fees)
        case "take_profit":
            order = owner.take_profit(amount, sol, token, **fees)
        case "sell":
            position = db.positions.find_by_wallet_and_token(owner.agent_id, owner.wallet_address, token)
            order = owner.sell("1" if position is None else str(position.remaining), sol, token, **fees)
        case _:
            order = owner.swap(amount, token, amount, f"token{dice.randrange(40, 50)}", **fees)
    return method, order


def test_mixed_trades_by_sixteen_writers_keep_wallet_consistent(crowd: Database, database_url: str) -> None:
    owner = new_owner(crowd)
    crowd.trades.deposit(owner.deposit("1"))

    def trade(seed: int) -> Counter[str]:
        dice = random.Random(seed)
        outcomes: Counter[str] = Counter()
        for _ in range(10_000 // WRITERS):
            method, order = _random_order(crowd, owner, dice)
            try:
                result: TradeResult = getattr(crowd.trades, method)(order)
            except TradeRefused as refused:
                outcomes[type(refused).__name__] += 1
            else:
                assert not result.duplicate
                outcomes[method] += 1
        return outcomes

    outcomes = sum(concurrently([lambda seed=seed: trade(seed) for seed in range(WRITERS)]), Counter())
    assert outcomes.total() == 10_000
    for method in ("deposit", "withdraw", "burn", "buy", "dca_buy", "take_profit", "sell", "swap"):
        assert outcomes[method] > 50, outcomes
    assert broken_rules(database_url) == {}


def test_concurrent_first_deposits_both_count(crowd: Database) -> None:
    owner = new_owner(crowd)
    for number in range(ROUNDS):
        token = f"new{number}"
        orders = [owner.deposit("1.5", token), owner.deposit("2.5", token)]
        concurrently([lambda order=order: crowd.trades.deposit(order) for order in orders])
        assert balance_of(crowd, owner, token) == 4


def test_concurrent_sale_and_dca_buy_are_serialised(crowd: Database, database_url: str) -> None:
    owner = new_owner(crowd)
    crowd.trades.deposit(owner.deposit("1000"))
    for number in range(ROUNDS):
        token = f"raced{number}"
        crowd.trades.buy(owner.buy("1", "10", token))
        sell, dca = owner.sell("10", "2", token), owner.dca_buy("1", "5", token)
        sold, added = concurrently(
            [lambda sell=sell: crowd.trades.sell(sell), lambda dca=dca: crowd.trades.dca_buy(dca)],
            return_exceptions=True,
        )
        first_sold = isinstance(sold, TradeResult) and isinstance(added, PositionNotFound)
        first_added = isinstance(added, TradeResult) and isinstance(sold, NotAFullSale)
        assert first_sold or first_added, (sold, added)
        assert balance_of(crowd, owner, token) == (0 if first_sold else 15)
    assert broken_rules(database_url) == {}


def test_concurrent_copies_of_buy_execute_once(crowd: Database, database_url: str) -> None:
    owner = new_owner(crowd)
    crowd.trades.deposit(owner.deposit("1000"))
    for number in range(ROUNDS):
        order = owner.buy("1", "10", f"twice{number}")
        results = concurrently([lambda order=order: crowd.trades.buy(order)] * 4)
        assert sorted(result.duplicate for result in results) == [False, True, True, True]
        assert len({result.transaction.id for result in results}) == 1
    assert balance_of(crowd, owner) == 1000 - ROUNDS
    assert broken_rules(database_url) == {}


def test_concurrent_buys_of_token_open_one_position(crowd: Database) -> None:
    owner = new_owner(crowd)
    crowd.trades.deposit(owner.deposit("1000"))
    for number in range(ROUNDS):
        orders = [owner.buy("1", "10", f"same{number}") for _ in range(2)]
        results = concurrently(
            [lambda order=order: crowd.trades.buy(order) for order in orders], return_exceptions=True
        )
        assert sorted(type(result).__name__ for result in results) == ["PositionExists", "TradeResult"]
    assert balance_of(crowd, owner) == 1000 - ROUNDS
    assert issubclass(PositionExists, TradeRefused)


def test_concurrent_orders_with_one_id_for_two_wallets_of_an_agent_execute_once(
    crowd: Database, database_url: str
) -> None:
    owner = new_owner(crowd)
    live = crowd.wallets.create(f"live-{owner.agent_id}", owner.agent_id, "live")
    owners = [owner, replace(owner, wallet_address=live.wallet_address)]
    for _ in range(ROUNDS):
        request_id = uuid4()
        orders = [owner.deposit("1", request_id=request_id) for owner in owners]
        results = concurrently(
            [lambda order=order: crowd.trades.deposit(order) for order in orders], return_exceptions=True
        )
        assert sorted(type(result).__name__ for result in results) == ["IdempotencyConflict", "TradeResult"]
    total = sum([balance_of(crowd, owner) for owner in owners])
    assert total == ROUNDS
    assert issubclass(IdempotencyConflict, TradeRefused)
    assert broken_rules(database_url) == {}


def test_purge_of_trading_agent_deletes_its_trades(crowd: Database, database_url: str) -> None:
    for _ in range(ROUNDS // 2):
        owner = new_owner(crowd)
        crowd.trades.deposit(owner.deposit("10"))

        def trade(owner: Owner = owner) -> None:
            for number in range(5):
                crowd.trades.buy(owner.buy("1", "1", f"token{number}"))

        def delete(owner: Owner = owner) -> None:
            with psycopg.Connection.connect(database_url, autocommit=True) as psql:
                psql.execute("SELECT purge_agent_v1(%s, 'a test')", [owner.agent_id])

        for result in concurrently([trade, delete, trade], return_exceptions=True):
            assert result is None or isinstance(result, WalletNotFound | PositionExists), result
        assert balance_of(crowd, owner) == 0
    assert broken_rules(database_url) == {}


def test_deadlocked_transactions_are_retried(crowd: Database, database_url: str) -> None:
    one, two = new_owner(crowd), new_owner(crowd)
    for owner in (one, two):
        crowd.trades.deposit(owner.deposit("100"))

    def move(giver: Owner, taker: Owner) -> None:
        def both(tx: Transaction) -> None:
            tx.trades.withdraw(giver.withdraw("1"))
            tx.trades.deposit(taker.deposit("1"))

        for _ in range(4):
            crowd.run_transaction(both, attempts=20)

    concurrently([lambda: move(one, two), lambda: move(two, one)])
    assert [balance_of(crowd, owner, SOL_MINT) for owner in (one, two)] == [100, 100]
    assert broken_rules(database_url) == {}


def test_late_repeatable_read_transaction_is_conflict(crowd: Database) -> None:
    owner = new_owner(crowd)
    crowd.trades.deposit(owner.deposit("10"))
    rival = Database(crowd.settings)
    with rival, pytest.raises(TransactionConflict), crowd.transaction(isolation="repeatable read") as tx:
        assert tx.users.find_by_id(owner.user_id) is not None  # takes the snapshot
        rival.trades.withdraw(owner.withdraw("9"))
        tx.trades.withdraw(owner.withdraw("9"))
    assert balance_of(crowd, owner) == 1
