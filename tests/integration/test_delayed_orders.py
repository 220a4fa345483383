"""Orders that reach the database late: the network or the wallet's lock delays them after their caller gave up.

A refusal of a repeated order is not final, because the first sending may still arrive; OrderExpired is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from nexgent_db import Database, Settings
from nexgent_db.errors import ConnectionLost, InsufficientBalance, OrderExpired
from nexgent_db.models import SOL_MINT
from tests.integration.sync.factories import Owner, balance_of, new_owner
from tests.support.faults.holding_proxy import HoldingProxy, holding_proxy
from tests.support.oracles.round_trips import pooled_connection
from tests.support.oracles.state import rows_of

PATIENCE_S = 30.0
WAITING = """
    SELECT count(*), min(query_start), max(query_start)
    FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()
"""
LONG_ENOUGH = timedelta(seconds=4)
"""Until the orders expire: they must be waiting by then, on a busy machine too."""


@pytest.fixture
def db(fresh_database_url: str) -> Iterator[Database]:
    """A database object whose connections have no faults."""
    with Database(Settings.from_url(fresh_database_url)) as database:
        yield database


@pytest.fixture
def proxy(fresh_database_url: str) -> Iterator[HoldingProxy]:
    with holding_proxy(fresh_database_url) as between:
        yield between


@pytest.fixture
def clock(fresh_database_url: str) -> Iterator[Callable[[], datetime]]:
    """The server's clock."""
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:

        def now() -> datetime:
            row = connection.execute("SELECT clock_timestamp()").fetchone()
            assert row is not None
            at: datetime = row[0]
            return at

        yield now


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come to it"
        time.sleep(0.01)


# --- Delayed by the network -------------------------------------------------------------------


@contextmanager
def delayed_after_loss_of_reply(proxy: HoldingProxy, send: Callable[[Database], object]) -> Iterator[None]:
    """Inside the ``with`` the caller has lost its connection and the order is in flight; it arrives at the end."""
    lost: list[BaseException] = []

    def caller() -> None:
        try:
            send(through)
        except ConnectionLost as error:
            lost.append(error)

    with Database(replace(Settings.from_url(proxy.url), pool_max_size=1)) as through:
        through.users.find_by_email("nobody@example.org")  # the connection is made
        proxy.hold()
        thread = threading.Thread(target=caller)
        thread.start()
        proxy.wait_until_something_is_held()
        proxy.hang_up()
        thread.join(PATIENCE_S)
        assert lost, "the caller was given an answer"
        yield
        proxy.release()


def test_rejected_repetition_is_not_final_while_first_copy_may_arrive(db: Database, proxy: HoldingProxy) -> None:
    owner = new_owner(db)
    order = owner.withdraw("5")
    with delayed_after_loss_of_reply(proxy, lambda through: through.trades.withdraw(order)):
        with pytest.raises(InsufficientBalance):
            db.trades.withdraw(order)
        db.trades.deposit(owner.deposit("7"))
    assert balance_of(db, owner) == 2
    assert db.trades.withdraw(order).duplicate


def test_order_arriving_after_expiry_is_rejected(
    db: Database, proxy: HoldingProxy, clock: Callable[[], datetime], fresh_database_url: str
) -> None:
    owner = new_owner(db)
    expires_at = clock() + timedelta(milliseconds=200)
    order = owner.withdraw("5", expires_at=expires_at)
    with delayed_after_loss_of_reply(proxy, lambda through: through.trades.withdraw(order)):
        until(lambda: clock() >= expires_at)
        with pytest.raises(OrderExpired):
            db.trades.withdraw(order)
        db.trades.deposit(owner.deposit("7"))
        before = rows_of(fresh_database_url, owner.agent_id)
    assert rows_of(fresh_database_url, owner.agent_id) == before
    assert balance_of(db, owner) == 7


def test_trade_is_acknowledged_when_connection_ends_after_reply(
    db: Database, proxy: HoldingProxy, fresh_database_url: str
) -> None:
    """The driver limits its prepared statements: after the reply to one more, it makes the server drop another."""
    owner = new_owner(db)
    order = owner.deposit("5")
    one = replace(Settings.from_url(proxy.url), pool_max_size=1, prepare_threshold=0)
    with Database(one) as through, ThreadPoolExecutor(1) as threads:
        through.users.find_by_id(owner.user_id)
        with pooled_connection(through) as connection:
            connection.prepared_max = 1
        proxy.hold(after=2)  # the statement, and its execution
        sent = threads.submit(through.trades.deposit, order)
        proxy.wait_until_something_is_held()
        assert balance_of(db, owner) == 5
        proxy.hang_up()
        made = sent.result(PATIENCE_S)
        proxy.release()
        assert (made.balances[0].balance, made.duplicate) == (5, False)
        assert through.trades.deposit(order).duplicate


# --- Behind the wallet's lock -------------------------------------------------------------------

ORDERS: dict[str, Callable[[Owner, datetime], Any]] = {
    "deposit": lambda owner, at: owner.deposit("1", expires_at=at),
    "withdraw": lambda owner, at: owner.withdraw("1", expires_at=at),
    "burn": lambda owner, at: owner.burn("1", expires_at=at),
    "swap": lambda owner, at: owner.swap("1", SOL_MINT, "1", "Other", expires_at=at),
    "buy": lambda owner, at: owner.buy("1", "1", "Another", expires_at=at),
    "dca_buy": lambda owner, at: owner.dca_buy("1", "1", expires_at=at),
    "take_profit": lambda owner, at: owner.take_profit("1", "1", expires_at=at),
    "sell": lambda owner, at: owner.sell("10", "1", expires_at=at),
    "reset_wallet": lambda owner, at: owner.reset("1", expires_at=at),
}


def alone(db: Database, trade: str, order: Any) -> None:
    getattr(db.trades, trade)(order)


def in_a_block(db: Database, trade: str, order: Any) -> None:
    with db.transaction() as tx:
        getattr(tx.trades, trade)(order)


@pytest.mark.parametrize("send", [alone, in_a_block])
def test_order_waiting_past_expiry_is_rejected(
    db: Database, fresh_database_url: str, clock: Callable[[], datetime], send: Callable[[Database, str, Any], None]
) -> None:
    """Each statement starts before the expiry and gets the wallet's lock after it."""
    owners = {trade: new_owner(db) for trade in ORDERS}
    for owner in owners.values():
        db.trades.deposit(owner.deposit("101"))
        db.trades.buy(owner.buy("1", "10"))

    with (
        Database(replace(Settings.from_url(fresh_database_url), pool_max_size=len(ORDERS), lock_timeout_s=60)) as many,
        psycopg.connect(fresh_database_url) as rival,
        psycopg.connect(fresh_database_url, autocommit=True) as observer,
        ThreadPoolExecutor(len(ORDERS)) as threads,
    ):
        rival.execute("SELECT FROM agent_wallets FOR UPDATE")
        expires_at = clock() + LONG_ENOUGH
        sent = {trade: threads.submit(send, many, trade, ORDERS[trade](owners[trade], expires_at)) for trade in ORDERS}
        until(lambda: observer.execute(WAITING).fetchone()[0] == len(ORDERS))  # type: ignore[index]
        _, _, last_start = observer.execute(WAITING).fetchone()  # type: ignore[misc]
        assert last_start < expires_at
        until(lambda: clock() >= expires_at)
        rival.commit()
        before = {trade: rows_of(fresh_database_url, owner.agent_id) for trade, owner in owners.items()}
        for trade, outcome in sent.items():
            assert isinstance(outcome.exception(PATIENCE_S), OrderExpired), trade
    assert {trade: rows_of(fresh_database_url, owner.agent_id) for trade, owner in owners.items()} == before
