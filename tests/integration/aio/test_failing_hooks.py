"""Hooks that raise after a write: no result is lost, no write is rolled back, and the next call works."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import pytest_asyncio

from nexgent_db import AsyncDatabase
from nexgent_db.observe import QueryEvent
from tests.integration.aio.factories import Owner, balance_of, new_owner
from tests.integration.aio.test_unreadable_trades import TRADES, Trade, prepared
from tests.integration.aio.test_unreadable_writes import WRITES, Write, written


class Unspeakable(Exception):
    """An exception whose repr and str raise."""

    def __str__(self) -> str:
        raise ValueError

    __repr__ = __str__


class FailingHook:
    """A hook that raises ``error`` when it is set; its repr raises as well."""

    def __init__(self) -> None:
        self.error: Callable[[], BaseException] | None = None

    def __call__(self, event: QueryEvent) -> None:
        if self.error is not None:
            raise self.error()

    def __repr__(self) -> str:
        raise Unspeakable


@pytest.fixture
def hook() -> FailingHook:
    return FailingHook()


@pytest_asyncio.fixture
async def db(fresh_database_url: str, hook: FailingHook) -> AsyncIterator[AsyncDatabase]:
    """A database of the test's own, with the failing hook."""
    async with AsyncDatabase(fresh_database_url, on_query=hook) as database:
        yield database


@pytest.fixture
def failing_log() -> Iterator[None]:
    """The log of failed hooks fails as well."""

    def fail(record: logging.LogRecord) -> bool:
        raise OSError("no space left on device")

    log = logging.getLogger("nexgent_db.observe")
    log.addFilter(fail)
    yield
    log.removeFilter(fail)


@pytest.mark.parametrize("trade", TRADES, ids=lambda trade: f"{trade.method}-{trade.table}")
async def test_trade_is_acknowledged_when_hook_fails(db: AsyncDatabase, hook: FailingHook, trade: Trade) -> None:
    owner = await prepared(db)
    alone, in_transaction = trade.order(owner), trade.order(await prepared(db))
    hook.error = Unspeakable
    assert not (await trade.make(db, alone)).duplicate
    async with db.transaction() as tx:
        assert not (await trade.make(tx, in_transaction)).duplicate
    hook.error = None
    for order in (alone, in_transaction):
        assert (await trade.make(db, order)).duplicate


@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.name)
async def test_write_returns_when_hook_fails(
    db: AsyncDatabase, hook: FailingHook, fresh_database_url: str, write: Write
) -> None:
    owner = await new_owner(db)
    hook.error = RuntimeError
    await write.make(db, owner)
    assert written(fresh_database_url, write)


@pytest.mark.usefixtures("failing_log")
async def test_trade_is_acknowledged_when_hook_and_log_fail(db: AsyncDatabase, hook: FailingHook, owner: Owner) -> None:
    hook.error = RuntimeError
    assert (await db.trades.deposit(owner.deposit("1"))).balances[0].balance == 1
    async with db.transaction() as tx:
        await tx.trades.deposit(owner.deposit("1"))
    assert await balance_of(db, owner) == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_interruption_passes_hooks_and_next_call_works(
    db: AsyncDatabase, hook: FailingHook, owner: Owner, error: type[BaseException]
) -> None:
    order = owner.deposit("1")
    hook.error = error
    with pytest.raises(error):
        await db.trades.deposit(order)
    with pytest.raises(error):
        async with db.transaction() as tx:
            hook.error = None
            await tx.trades.deposit(owner.deposit("1"))
            hook.error = error
    hook.error = None
    assert (await db.trades.deposit(order)).duplicate
    assert await balance_of(db, owner) == 2
