"""Hooks: the event of each kind of query; a failing hook neither loses nor hides a result."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any, cast
from uuid import uuid4

import psycopg
import pytest
import pytest_asyncio

from nexgent_db import AsyncDatabase, Settings
from nexgent_db.aio.session import PoolSession, TransactionSession
from nexgent_db.errors import BlockMisuse, ConnectionLost, EmailTaken, InsufficientBalance, InvalidInput
from nexgent_db.models import SignalOrder
from nexgent_db.observe import QueryEvent
from tests.integration.aio.factories import Owner, new_owner
from tests.support.faults.concurrently import concurrently_async

Shown = tuple[str, int | None, type[BaseException] | None, bool]


class Recorder:
    """A hook that keeps its events."""

    def __init__(self) -> None:
        self.events: list[QueryEvent] = []

    def __call__(self, event: QueryEvent) -> None:
        self.events.append(event)

    def recorded(self) -> list[Shown]:
        """Name, rows, error and whether in a transaction, of the events since the last call."""
        recorded = [
            (each.name, each.rows, each.error and type(each.error), each.in_transaction) for each in self.events
        ]
        self.events.clear()
        return cast("list[Shown]", recorded)

    def outcomes(self) -> list[tuple[str, str | None, bool]]:
        """Name, outcome and whether in a transaction, of the events since the last call."""
        outcomes = [(each.name, each.outcome, each.in_transaction) for each in self.events]
        self.events.clear()
        return outcomes


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest_asyncio.fixture
async def db(database_url: str, recorder: Recorder) -> AsyncIterator[AsyncDatabase]:
    """An open database whose events the recorder keeps."""
    async with AsyncDatabase(database_url, on_query=recorder) as database:
        yield database


@pytest_asyncio.fixture
async def owner(db: AsyncDatabase, recorder: Recorder) -> Owner:
    """A user's agent with a wallet of 10 SOL. The recorder has dropped the events of making it."""
    made = await new_owner(db)
    await db.trades.deposit(made.deposit("10"))
    recorder.events.clear()
    return made


# --- Events -------------------------------------------------------------------------------------


async def test_event_has_row_count_for_each_cardinality(db: AsyncDatabase, owner: Owner, recorder: Recorder) -> None:
    await db.users.find_by_id(owner.user_id)
    await db.users.find_by_id(uuid4())
    await db.users.is_locked(owner.user_id)
    await db.agents.find_by_user_id(owner.user_id)
    await db.users.reset_failed_logins(owner.user_id)
    await db.wallets.delete(uuid4(), owner.wallet_address)
    assert recorder.recorded() == [
        ("users.find_by_id", 1, None, False),
        ("users.find_by_id", 0, None, False),
        ("users.is_locked", 1, None, False),
        ("agents.list_with_wallets_by_user_id", 1, None, False),
        ("users.reset_failed_logins", 0, None, False),
        ("wallets.delete", 0, None, False),
    ]


async def test_event_duration_includes_query(db: AsyncDatabase, owner: Owner, recorder: Recorder) -> None:
    async with db.transaction() as holder:
        await holder.trades.deposit(owner.deposit("1"))
        async with AsyncDatabase(
            replace(db.settings, lock_timeout_s=0.2), on_query=recorder
        ) as impatient:  # waits for the wallet's lock, and gives up
            recorder.events.clear()
            with pytest.raises(Exception, match="lock timeout"):
                await impatient.trades.deposit(owner.deposit("1"))
    (event,) = [each for each in recorder.events if each.error]
    assert event.duration_s >= 0.2
    assert event.sqlstate == "55P03"


async def test_event_has_error_that_caller_receives(db: AsyncDatabase, owner: Owner, recorder: Recorder) -> None:
    user = await db.users.find_by_id(owner.user_id)
    assert user is not None
    with pytest.raises(EmailTaken) as caught:
        await db.users.create(user.email)
    event = recorder.events[-1]
    assert (event.name, event.rows, event.sqlstate) == ("users.create", None, "23505")
    assert event.error is caught.value


async def test_call_refused_before_sending_has_no_event(db: AsyncDatabase, recorder: Recorder) -> None:
    with pytest.raises(InvalidInput):
        await db.agents.find_by_user_id(uuid4(), limit=0)
    assert recorder.recorded() == []


async def test_event_duration_includes_wait_for_connection(database_url: str, recorder: Recorder) -> None:
    closed = AsyncDatabase(database_url, on_query=recorder)
    with pytest.raises(BlockMisuse):
        await closed.users.find_by_id(uuid4())
    assert recorder.recorded() == [("users.find_by_id", None, BlockMisuse, False)]


async def test_event_has_no_values(db: AsyncDatabase, recorder: Recorder) -> None:
    secret = f"{uuid4()}@example.org"
    user = await db.users.create(secret, "a-password-hash")
    await db.users.find_by_email(secret)
    reported = repr(recorder.events)
    assert "users.find_by_email" in reported
    assert not any(value in reported for value in (secret, "a-password-hash", str(user.id)))


# --- Blocks -------------------------------------------------------------------------------------


async def test_transaction_has_event_per_query_and_commit(db: AsyncDatabase, owner: Owner, recorder: Recorder) -> None:
    async with db.transaction() as tx:
        await tx.users.find_by_id(owner.user_id)
        async with tx.transaction() as inner:
            await inner.agents.find_by_user_id(owner.user_id)
    assert recorder.recorded() == [
        ("users.find_by_id", 1, None, True),
        ("agents.list_with_wallets_by_user_id", 1, None, True),
        ("transaction.commit", None, None, True),
    ]


async def test_rolled_back_transaction_has_no_commit_event(db: AsyncDatabase, owner: Owner, recorder: Recorder) -> None:
    with pytest.raises(KeyError):
        async with db.transaction() as tx:
            await tx.users.find_by_id(owner.user_id)
            raise KeyError
    assert recorder.recorded() == [("users.find_by_id", 1, None, True)]


async def test_failed_commit_has_event(db: AsyncDatabase, owner: Owner, recorder: Recorder, database_url: str) -> None:
    with pytest.raises(ConnectionLost) as caught:
        async with db.transaction() as tx:
            await tx.users.find_by_id(owner.user_id)
            with psycopg.connect(database_url, autocommit=True) as killer:
                killer.execute("SELECT pg_terminate_backend(%s, 5000)", [tx._connection.info.backend_pid])
    assert recorder.events[-1].error is caught.value
    assert recorder.recorded()[-1] == ("transaction.commit", None, ConnectionLost, True)


async def test_method_of_several_queries_has_event_for_each(
    db: AsyncDatabase, owner: Owner, recorder: Recorder
) -> None:
    await db.agents.update_config(owner.agent_id, {"stopLoss": {"enabled": False}})
    assert recorder.recorded() == [
        ("agents.lock_config", 1, None, True),
        ("agents.store_config", 1, None, True),
        ("transaction.commit", None, None, True),
    ]
    async with db.transaction() as tx:
        await tx.agents.update_config(owner.agent_id, {"stopLoss": {"enabled": True}})
        assert recorder.recorded() == [("agents.lock_config", 1, None, True), ("agents.store_config", 1, None, True)]


# --- Streams ------------------------------------------------------------------------------------


async def _signals(db: AsyncDatabase, owner: Owner, many: int) -> None:
    order = SignalOrder(token_address="T", signal_type="buy", signal_strength=1)
    await db.signals.create_many_of(owner.user_id, [order] * many)


async def test_stream_has_one_event_at_end_with_row_count(db: AsyncDatabase, owner: Owner, recorder: Recorder) -> None:
    await _signals(db, owner, 5)
    recorder.events.clear()
    async for _ in db.signals.stream_by_user(owner.user_id):
        assert recorder.events == []
    assert recorder.recorded() == [("signals.stream_by_user", 5, None, False)]
    async with db.transaction() as tx:
        assert [signal.id async for signal in tx.signals.stream_by_user(owner.user_id)]
    assert recorder.recorded()[0] == ("signals.stream_by_user", 5, None, True)


async def test_abandoned_stream_event_counts_returned_rows(db: AsyncDatabase, owner: Owner, recorder: Recorder) -> None:
    await _signals(db, owner, 5)
    recorder.events.clear()
    stream: Any = db.signals.stream_by_user(owner.user_id)
    async with aclosing(stream):
        async for _ in stream:
            break
    assert recorder.recorded() == [("signals.stream_by_user", 1, None, False)]


async def test_failed_stream_event_has_error(database_url: str, recorder: Recorder) -> None:
    closed = AsyncDatabase(database_url, on_query=recorder)
    with pytest.raises(BlockMisuse):
        [signal async for signal in closed.signals.stream_by_user(uuid4())]
    assert recorder.recorded() == [("signals.stream_by_user", None, BlockMisuse, False)]


# --- Trades -------------------------------------------------------------------------------------


async def test_trade_event_has_outcome(db: AsyncDatabase, owner: Owner, recorder: Recorder) -> None:
    order = owner.buy("1", "100")
    await db.trades.buy(order)
    await db.trades.buy(order)
    with pytest.raises(InsufficientBalance):
        await db.trades.withdraw(owner.withdraw("1000"))
    assert recorder.outcomes() == [
        ("trades.buy", "made", False),
        ("trades.buy", "duplicate", False),
        ("trades.record_transaction", "insufficient_balance", False),
    ]


async def test_trade_that_waited_has_one_event(
    db: AsyncDatabase, owner: Owner, recorder: Recorder, database_url: str
) -> None:
    first_holds_the_wallet = asyncio.Event()

    async def first() -> None:
        async with db.transaction() as tx:
            await tx.trades.deposit(owner.deposit("1"))
            first_holds_the_wallet.set()
            await _until_session_waits_for_row(database_url)
            recorder.events.clear()

    async def second() -> None:
        await first_holds_the_wallet.wait()
        await db.trades.deposit(owner.deposit("1"))

    await concurrently_async([first, second])
    reported = [each for each in recorder.outcomes() if each[0] != "transaction.commit"]
    assert reported == [
        ("trades.record_transaction", "made", False),
    ]


async def _until_session_waits_for_row(database_url: str) -> None:
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with psycopg.connect(database_url, autocommit=True) as connection:
        while connection.execute(waiting).fetchone() is None:  # noqa: ASYNC110  # the event is the server's
            await asyncio.sleep(0.01)


# --- Hooks --------------------------------------------------------------------------------------


async def test_failing_hook_loses_no_result_and_is_logged_once(
    database_url: str, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(event: QueryEvent) -> None:
        raise RuntimeError("the hook is broken")

    caplog.set_level(logging.DEBUG, logger="nexgent_db.observe")
    async with AsyncDatabase(database_url, on_query=[broken, recorder]) as db:
        owner = await new_owner(db)
        made = await db.trades.deposit(owner.deposit("10"))
        with pytest.raises(InsufficientBalance):
            await db.trades.withdraw(owner.withdraw("11"))
        async with db.transaction() as tx:
            await tx.trades.deposit(owner.deposit("1"))
    assert made.balances[0].balance == 10
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "broken" in record.getMessage()
    assert "the hook is broken" in caplog.text
    assert recorder.outcomes()[-4:] == [
        ("trades.record_transaction", "made", False),
        ("trades.record_transaction", "insufficient_balance", False),
        ("trades.record_transaction", "made", True),
        ("transaction.commit", None, True),
    ]


async def test_failing_hook_does_not_hide_error(database_url: str) -> None:
    def broken(event: QueryEvent) -> None:
        raise RuntimeError

    async with AsyncDatabase(database_url, on_query=broken) as db:
        owner = await new_owner(db)
        user = await db.users.find_by_id(owner.user_id)
        assert user is not None
        with pytest.raises(EmailTaken):
            await db.users.create(user.email)


async def test_sessions_without_hook_are_not_wrapped(database_url: str) -> None:
    async with AsyncDatabase(Settings.from_url(database_url)) as db:
        assert type(db.users._session) is type(db.trades._session) is PoolSession
        async with db.transaction() as tx:
            assert type(tx.users._session) is type(tx.trades._session) is TransactionSession
            async with tx.transaction() as inner:
                assert type(inner.users._session) is TransactionSession
