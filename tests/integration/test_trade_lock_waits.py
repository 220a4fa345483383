"""A trade that waits for another writer of its wallet uses the balances that this one leaves, in two round trips."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal

import psycopg
import pytest

from nexgent_db import Database
from nexgent_db.errors import InsufficientBalance
from nexgent_db.models import SOL_MINT
from nexgent_db.settings import Settings
from tests.integration.sync.factories import Owner, balance_of, new_owner
from tests.support.oracles.round_trips import round_trips
from tests.support.servers.roles import RoledDatabase

WAITING = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@dataclass(frozen=True)
class Trader:
    """A trader over a single connection, and a rival that trades with the same wallet over another."""

    db: Database
    rival: Database
    owner: Owner

    @contextmanager
    def withdrawing_first(self, amount: str, until: Callable[[], bool]) -> Iterator[None]:
        """The rival locks the wallet and commits once another session waits; a trade inside the ``with`` waits."""
        holds = threading.Event()

        def withdraw() -> None:
            with self.rival.transaction() as tx:
                tx.trades.withdraw(self.owner.withdraw(amount))
                holds.set()
                deadline = time.monotonic() + 20
                while not until():
                    assert time.monotonic() < deadline, "nobody waited"
                    time.sleep(0.005)

        thread = threading.Thread(target=withdraw)
        thread.start()
        assert holds.wait(20)
        yield
        thread.join()

    def left(self) -> Decimal:
        return balance_of(self.rival, self.owner, SOL_MINT)


@pytest.fixture(params=["service", "tenant"])
def trader(request: pytest.FixtureRequest, roled: RoledDatabase) -> Iterator[Trader]:
    settings = replace(Settings.from_url(roled.url_of("app")), pool_max_size=1, lock_timeout_s=2)
    with Database(settings) as rival:
        owner = new_owner(rival)
        rival.trades.deposit(owner.deposit("10"))
        with Database(settings, tenant=owner.user_id if request.param == "tenant" else None) as db:
            yield Trader(db, rival, owner)


@pytest.fixture
def session_waits(roled: RoledDatabase) -> Iterator[Callable[[], bool]]:
    with psycopg.connect(roled.url, autocommit=True) as superuser:
        yield lambda: superuser.execute(WAITING).fetchone() is not None


def withdraw_alone(trader: Trader, amount: str) -> None:
    trader.db.trades.withdraw(trader.owner.withdraw(amount))


def withdraw_in_a_block(trader: Trader, amount: str) -> None:
    with trader.db.transaction() as tx:
        tx.trades.withdraw(trader.owner.withdraw(amount))


def withdraw_in_a_pipelined_block(trader: Trader, amount: str) -> None:
    with trader.db.transaction(pipeline=True) as tx:
        tx.trades.withdraw(trader.owner.withdraw(amount))


@pytest.mark.parametrize("withdraw", [withdraw_alone, withdraw_in_a_block, withdraw_in_a_pipelined_block])
def test_waiting_trade_uses_balances_of_earlier_trade(
    trader: Trader, session_waits: Callable[[], bool], withdraw: Callable[[Trader, str], None]
) -> None:
    with trader.withdrawing_first("6", session_waits):
        withdraw(trader, "3")
    assert trader.left() == 1
    trader.rival.trades.deposit(trader.owner.deposit("9"))
    with trader.withdrawing_first("6", session_waits), pytest.raises(InsufficientBalance) as caught:
        withdraw(trader, "6")
    assert caught.value.balance == 4
    assert trader.left() == 4
    withdraw(trader, "4")  # the connection is as good as before
    assert trader.left() == 0


def test_waiting_trade_is_one_round_trip(trader: Trader, session_waits: Callable[[], bool]) -> None:
    with trader.withdrawing_first("6", session_waits), round_trips(trader.db) as counted:
        withdraw_alone(trader, "3")
    assert counted.count == 1


def test_trades_of_one_wallet_in_different_tokens_run_one_after_another(
    trader: Trader, session_waits: Callable[[], bool]
) -> None:
    """The wallet's lock decides, not that of a balance: the first trade commits once the second one waits."""
    with trader.withdrawing_first("6", session_waits):
        trader.db.trades.deposit(trader.owner.deposit("1", "Another"))
    assert trader.left() == 4


def test_trade_waits_for_writer_without_wallet_lock(roled: RoledDatabase, session_waits: Callable[[], bool]) -> None:
    """The balance is read behind its own lock: the trade waits for another program that writes it."""
    with Database(roled.url_of("app")) as db, psycopg.connect(roled.url) as other:
        owner = new_owner(db)
        db.trades.deposit(owner.deposit("10"))
        other.execute("UPDATE agent_balances SET balance = 4 WHERE wallet_address = %s", [owner.wallet_address])
        refusals: list[InsufficientBalance] = []

        def withdraw() -> None:
            try:
                db.trades.withdraw(owner.withdraw("5"))
            except InsufficientBalance as refusal:
                refusals.append(refusal)

        thread = threading.Thread(target=withdraw)
        thread.start()
        deadline = time.monotonic() + 20
        while not session_waits():
            assert time.monotonic() < deadline, "nobody waited"
            time.sleep(0.005)
        other.commit()
        thread.join(timeout=20)
        assert [refusal.balance for refusal in refusals] == [4]
