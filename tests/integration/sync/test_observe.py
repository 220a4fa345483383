# Generated from tests/integration/aio/test_observe.py by `make sync`: do not edit.
"""Hooks: what they are told of each kind of query, and that they can neither lose nor hide a result."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any, cast
from uuid import uuid4

import psycopg
import pytest

from nexgent_db import Database, Settings
from nexgent_db.errors import BlockMisuse, ConnectionLost, EmailTaken, InsufficientBalance, InvalidInput
from nexgent_db.models import SignalOrder
from nexgent_db.observe import QueryEvent
from nexgent_db.sync._pool import PoolSession
from nexgent_db.sync._session import BlockSession
from tests.integration.sync.factories import Owner, new_owner
from tests.support.concurrently import concurrently

Shown = tuple[str, int | None, type[BaseException] | None, bool]


class Ear:
    """A hook that keeps what it hears."""

    def __init__(self) -> None:
        self.events: list[QueryEvent] = []

    def __call__(self, event: QueryEvent) -> None:
        self.events.append(event)

    def heard(self) -> list[Shown]:
        """Name, rows, error and whether in a block, of what came since the last time."""
        heard = [(each.name, each.rows, each.error and type(each.error), each.in_block) for each in self.events]
        self.events.clear()
        return cast("list[Shown]", heard)

    def outcomes(self) -> list[tuple[str, str | None, bool]]:
        """The same for trades: name, outcome and whether in a block."""
        outcomes = [(each.name, each.outcome, each.in_block) for each in self.events]
        self.events.clear()
        return outcomes


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def db(database_url: str, ear: Ear) -> Iterator[Database]:
    """An open database that the ear listens to."""
    with Database(database_url, on_query=ear) as database:
        yield database


@pytest.fixture
def owner(db: Database, ear: Ear) -> Owner:
    """A user's agent with a wallet of 10 SOL. What made it has been forgotten."""
    made = new_owner(db)
    db.trades.deposit(made.deposit("10"))
    ear.events.clear()
    return made


# --- What is told -------------------------------------------------------------------------------


def test_a_query_is_told_with_its_rows_whatever_its_cardinality(db: Database, owner: Owner, ear: Ear) -> None:
    db.users.find_by_id(owner.user_id)
    db.users.find_by_id(uuid4())
    db.users.is_locked(owner.user_id)
    db.agents.find_by_user_id(owner.user_id)
    db.users.reset_failed_logins(owner.user_id)
    db.agents.delete(owner.agent_id)
    assert ear.heard() == [
        ("users.find_by_id", 1, None, False),
        ("users.find_by_id", 0, None, False),
        ("users.is_locked", 1, None, False),
        ("agents.find_by_user_id", 1, None, False),
        ("users.reset_failed_logins", 0, None, False),
        ("agents.delete", 1, None, False),
    ]


def test_the_duration_has_the_query_in_it(db: Database, owner: Owner, ear: Ear) -> None:
    with db.transaction() as holder:
        holder.trades.deposit(owner.deposit("1"))
        with Database(
            replace(db.settings, lock_timeout_s=0.2), on_query=ear
        ) as impatient:  # waits for the wallet's lock, and gives up
            ear.events.clear()
            with pytest.raises(Exception, match="lock timeout"):
                impatient.trades.deposit(owner.deposit("1"))
    (event,) = [each for each in ear.events if each.error]
    assert event.duration_s >= 0.2
    assert event.sqlstate == "55P03"


def test_an_error_is_told_as_the_caller_is_given_it(db: Database, owner: Owner, ear: Ear) -> None:
    user = db.users.find_by_id(owner.user_id)
    assert user is not None
    with pytest.raises(EmailTaken) as caught:
        db.users.create(user.email)
    event = ear.events[-1]
    assert (event.name, event.rows, event.sqlstate) == ("users.create", None, "23505")
    assert event.error is caught.value


def test_what_is_refused_before_it_is_sent_is_no_query(db: Database, ear: Ear) -> None:
    with pytest.raises(InvalidInput):
        db.agents.find_by_user_id(uuid4(), limit=0)
    assert ear.heard() == []


def test_the_way_to_the_server_counts_too(database_url: str, ear: Ear) -> None:
    closed = Database(database_url, on_query=ear)
    with pytest.raises(BlockMisuse):
        closed.users.find_by_id(uuid4())
    assert ear.heard() == [("users.find_by_id", None, BlockMisuse, False)]


def test_no_value_is_told(db: Database, ear: Ear) -> None:
    secret = f"{uuid4()}@example.org"
    user = db.users.create(secret, "a-password-hash")
    db.users.find_by_email(secret)
    told = repr(ear.events)
    assert "users.find_by_email" in told
    assert not any(value in told for value in (secret, "a-password-hash", str(user.id)))


# --- Blocks -------------------------------------------------------------------------------------


def test_a_block_is_told_query_by_query_and_ends_with_its_commit(db: Database, owner: Owner, ear: Ear) -> None:
    with db.transaction() as tx:
        tx.users.find_by_id(owner.user_id)
        with tx.transaction() as inner:
            inner.agents.find_by_user_id(owner.user_id)
    assert ear.heard() == [
        ("users.find_by_id", 1, None, True),
        ("agents.find_by_user_id", 1, None, True),
        ("transaction.commit", None, None, True),
    ]


def test_a_block_that_is_rolled_back_tells_no_commit(db: Database, owner: Owner, ear: Ear) -> None:
    with pytest.raises(KeyError), db.transaction() as tx:
        tx.users.find_by_id(owner.user_id)
        raise KeyError
    assert ear.heard() == [("users.find_by_id", 1, None, True)]


def test_a_commit_that_fails_is_told(db: Database, owner: Owner, ear: Ear, database_url: str) -> None:
    with pytest.raises(ConnectionLost) as caught, db.transaction() as tx:
        tx.users.find_by_id(owner.user_id)
        with psycopg.connect(database_url, autocommit=True) as killer:
            killer.execute("SELECT pg_terminate_backend(%s, 5000)", [tx._connection.info.backend_pid])
    assert ear.events[-1].error is caught.value
    assert ear.heard()[-1] == ("transaction.commit", None, ConnectionLost, True)


def test_a_method_of_several_queries_tells_each(db: Database, owner: Owner, ear: Ear) -> None:
    db.agents.update_config(owner.agent_id, {"stopLoss": {"enabled": False}})
    assert ear.heard() == [
        ("agents.lock_config", 1, None, True),
        ("agents.store_config", 1, None, True),
        ("transaction.commit", None, None, True),
    ]
    with db.transaction() as tx:
        tx.agents.update_config(owner.agent_id, {"stopLoss": {"enabled": True}})
        assert ear.heard() == [("agents.lock_config", 1, None, True), ("agents.store_config", 1, None, True)]


# --- Streams ------------------------------------------------------------------------------------


def _signals(db: Database, owner: Owner, many: int) -> None:
    order = SignalOrder(token_address="T", signal_type="buy", signal_strength=1)
    db.signals.create_many_of(owner.user_id, [order] * many)


def test_a_stream_is_told_once_at_its_end_with_the_rows_it_handed_out(db: Database, owner: Owner, ear: Ear) -> None:
    _signals(db, owner, 5)
    ear.events.clear()
    for _ in db.signals.stream_by_user(owner.user_id):
        assert ear.events == []
    assert ear.heard() == [("signals.stream_by_user", 5, None, False)]
    with db.transaction() as tx:
        assert [signal.id for signal in tx.signals.stream_by_user(owner.user_id)]
    assert ear.heard()[0] == ("signals.stream_by_user", 5, None, True)


def test_a_stream_that_is_left_early_tells_what_it_handed_out(db: Database, owner: Owner, ear: Ear) -> None:
    _signals(db, owner, 5)
    ear.events.clear()
    stream: Any = db.signals.stream_by_user(owner.user_id)
    with closing(stream):
        for _ in stream:
            break
    assert ear.heard() == [("signals.stream_by_user", 1, None, False)]


def test_a_stream_that_fails_tells_its_error(database_url: str, ear: Ear) -> None:
    closed = Database(database_url, on_query=ear)
    with pytest.raises(BlockMisuse):
        [signal for signal in closed.signals.stream_by_user(uuid4())]
    assert ear.heard() == [("signals.stream_by_user", None, BlockMisuse, False)]


# --- Trades -------------------------------------------------------------------------------------


def test_a_trade_tells_what_became_of_it(db: Database, owner: Owner, ear: Ear) -> None:
    order = owner.buy("1", "100")
    db.trades.buy(order)
    db.trades.buy(order)
    with pytest.raises(InsufficientBalance):
        db.trades.withdraw(owner.withdraw("1000"))
    assert ear.outcomes() == [
        ("trades.buy", "made", False),
        ("trades.buy", "replayed", False),
        ("trades.post", "insufficient_balance", False),
    ]


def test_a_trade_that_is_sent_again_tells_both(db: Database, owner: Owner, ear: Ear, database_url: str) -> None:
    first_holds_the_wallet = threading.Event()

    def first() -> None:
        with db.transaction() as tx:
            tx.trades.deposit(owner.deposit("1"))
            first_holds_the_wallet.set()
            _until_somebody_waits_for_a_row(database_url)
            ear.events.clear()

    def second() -> None:
        first_holds_the_wallet.wait()
        db.trades.deposit(owner.deposit("1"))

    concurrently([first, second])
    told = [each for each in ear.outcomes() if each[0] != "transaction.commit"]
    assert told == [
        ("trades.post", "stale", False),
        ("trades.post", "made", False),
    ]


def _until_somebody_waits_for_a_row(database_url: str) -> None:
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with psycopg.connect(database_url, autocommit=True) as connection:
        while connection.execute(waiting).fetchone() is None:  # the event is the server's
            time.sleep(0.01)


# --- Hooks --------------------------------------------------------------------------------------


def test_a_hook_that_raises_loses_nothing_and_is_logged_once(
    database_url: str, ear: Ear, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(event: QueryEvent) -> None:
        raise RuntimeError("the hook is broken")

    caplog.set_level(logging.DEBUG, logger="nexgent_db.observe")
    with Database(database_url, on_query=[broken, ear]) as db:
        owner = new_owner(db)
        made = db.trades.deposit(owner.deposit("10"))
        with pytest.raises(InsufficientBalance):
            db.trades.withdraw(owner.withdraw("11"))
        with db.transaction() as tx:
            tx.trades.deposit(owner.deposit("1"))
    assert made.balances[0].balance == 10
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "broken" in record.getMessage()
    assert "the hook is broken" in caplog.text
    assert ear.outcomes()[-4:] == [
        ("trades.post", "made", False),
        ("trades.post", "insufficient_balance", False),
        ("trades.post", "made", True),
        ("transaction.commit", None, True),
    ]


def test_a_hook_that_raises_does_not_hide_an_error(database_url: str) -> None:
    def broken(event: QueryEvent) -> None:
        raise RuntimeError

    with Database(database_url, on_query=broken) as db:
        owner = new_owner(db)
        user = db.users.find_by_id(owner.user_id)
        assert user is not None
        with pytest.raises(EmailTaken):
            db.users.create(user.email)


def test_without_a_hook_a_query_takes_the_bare_way(database_url: str) -> None:
    with Database(Settings.from_url(database_url)) as db:
        assert type(db.users._session) is type(db.trades._session) is PoolSession
        with db.transaction() as tx:
            assert type(tx.users._session) is type(tx.trades._session) is BlockSession
            with tx.transaction() as inner:
                assert type(inner.users._session) is BlockSession
