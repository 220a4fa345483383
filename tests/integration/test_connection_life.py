"""The life of a pooled connection: after any end of a call, the connection is usable and its slot is free."""

from __future__ import annotations

import asyncio
import contextvars
import random
import socket
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import psycopg
import pytest
import pytest_asyncio
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from nexgent_db import AsyncDatabase, Database, Settings
from nexgent_db._concurrency import Waiter
from nexgent_db.errors import BlockMisuse, PoolExhausted
from nexgent_db.sync.connection import PooledConnection
from nexgent_db.sync.pool import LOOK_S, ConnectionPool
from tests.integration.aio import factories as aio
from tests.integration.sync import factories as sync
from tests.support.faults.signal_points import Interrupted, SignalPoints

CANCELLATIONS: Final = 1200
"""Today's pool was dead after 116 to 1,003 of them."""
NEW_THREADS: Final = 20


def _settings(url: str, size: int) -> Settings:
    return replace(Settings.from_url(url, {}), pool_max_size=size, pool_timeout_s=2.0)


def _stored(url: str, trade_ids: list[UUID]) -> list[UUID]:
    """Those that another connection finds in the database, in the order given."""
    with psycopg.connect(url) as database:
        found = database.execute("SELECT id FROM trade_requests WHERE id = ANY(%s)", [trade_ids]).fetchall()
    return [trade_id for trade_id in trade_ids if (trade_id,) in found]


@pytest_asyncio.fixture
async def only(database_url: str) -> AsyncIterator[AsyncDatabase]:
    """A database with one connection: each call gets the connection of the call before."""
    async with AsyncDatabase(_settings(database_url, 1)) as db:
        yield db


@pytest.fixture
def pair(database_url: str) -> Iterator[Database]:
    """A database with two connections, for threads."""
    with Database(_settings(database_url, 2)) as db:
        yield db


# --- Cancelled ----------------------------------------------------------------------------------


async def test_nested_transaction_cancelled_in_pipeline_loses_no_later_deposit(
    only: AsyncDatabase, database_url: str
) -> None:
    owner = await aio.new_owner(only)

    async def cancelled() -> None:
        async with only.transaction(pipeline=True) as tx:
            await tx.trades.deposit(owner.deposit("1"))
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            async with tx.transaction() as inner:
                await inner.trades.deposit(owner.deposit("1"))

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(cancelled())
    orders = [owner.deposit("1") for _ in range(3)]
    acknowledged = [(await only.trades.deposit(order)).transaction.id for order in orders]
    assert _stored(database_url, acknowledged) == acknowledged


@pytest.mark.parametrize("seed", [1, 2])
async def test_cancelled_callers_leave_pool_complete(database_url: str, seed: int) -> None:
    chance = random.Random(seed)
    cancelled = 0
    async with AsyncDatabase(_settings(database_url, 2)) as db:

        async def caller() -> None:
            nonlocal cancelled
            while cancelled < CANCELLATIONS:
                call = asyncio.create_task(db.users.find_by_id(uuid4()))
                await asyncio.sleep(chance.uniform(0, 0.004))
                cancelled += call.cancel()
                await asyncio.wait({call})
                if not call.cancelled():
                    assert call.result() is None

        async with asyncio.TaskGroup() as callers:
            for _ in range(6):
                callers.create_task(caller())
        both_held = asyncio.Event()
        async with db.transaction() as first:

            async def hold() -> None:
                async with db.transaction() as second:
                    await second.users.find_by_id(uuid4())
                    both_held.set()

            await asyncio.create_task(hold())
            assert both_held.is_set()
            await first.users.find_by_id(uuid4())


# --- Interrupted --------------------------------------------------------------------------------


def test_signal_inside_transaction_blocks_no_thread_and_keeps_no_slot(
    database_url: str,
) -> None:
    """At every place where a signal handler can run in our code, from one before the transaction to one after."""
    points = SignalPoints(
        "nexgent_db/sync/database.py", "nexgent_db/sync/_", "nexgent_db/sync/pool.py", "contextlib.py"
    )
    barred: dict[str, str] = {}
    number, ended = 0, False
    with Database(_settings(database_url, 2)) as db:
        owner = sync.new_owner(db)
    while not ended:
        with Database(_settings(database_url, 1)) as db:
            while not ended:
                number += 1
                try:
                    with points.at(number):
                        with db.transaction() as tx:
                            tx.trades.deposit(owner.deposit("1"))
                        ended = points.reached < number
                except Interrupted:
                    pass
                try:
                    db.trades.deposit(owner.deposit("1"))
                except Exception as error:
                    barred[f"{number}: {points.place}"] = f"{type(error).__name__}: {error}"
                    break
    assert barred == {}


# --- Blocks and threads -------------------------------------------------------------------------


def _in_a_context(executor: ThreadPoolExecutor, function: Callable[..., Any], *arguments: Any) -> Any:
    """Runs a function in a copy of the caller's context, as anyio's threads, and so FastAPI's dependencies, do."""
    return executor.submit(contextvars.copy_context().run, function, *arguments).result()


def _bare(executor: ThreadPoolExecutor, function: Callable[..., Any], *arguments: Any) -> Any:
    return executor.submit(function, *arguments).result()


@pytest.mark.parametrize("run", [_in_a_context, _bare])
def test_transaction_used_in_other_thread_leaves_first_thread_free(
    pair: Database, database_url: str, run: Callable[..., Any]
) -> None:
    owner = sync.new_owner(pair)
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second, ThreadPoolExecutor(1) as third:
        outer = pair.transaction()
        tx = run(first, outer.__enter__)
        deposited = run(second, tx.trades.deposit, owner.deposit("1")).transaction.id
        # The first thread's next request: a call, and a transaction of its own.
        alone = run(first, pair.trades.deposit, new_own_owner(pair, run, first).deposit("1")).transaction.id
        run(third, outer.__exit__, None, None, None)
        assert run(first, pair.users.find_by_id, owner.user_id) is not None
        assert run(second, pair.users.find_by_id, owner.user_id) is not None
    assert _stored(database_url, [deposited, alone]) == [deposited, alone]


def new_own_owner(db: Database, run: Callable[..., Any], executor: ThreadPoolExecutor) -> sync.Owner:
    """Made in that thread, in three calls."""
    owner: sync.Owner = run(executor, sync.new_owner, db)
    return owner


def test_context_copied_before_transaction_is_outside_it(pair: Database) -> None:
    """The thread that entered the transaction also serves another request."""
    with ThreadPoolExecutor(1) as thread:
        outer = pair.transaction()
        tx = _in_a_context(thread, outer.__enter__)
        assert _in_a_context(thread, pair.users.find_by_id, uuid4()) is None
        assert _in_a_context(thread, tx.users.find_by_id, uuid4()) is None
        _in_a_context(thread, outer.__exit__, None, None, None)


def test_thread_with_reused_ident_is_outside_transaction(pair: Database) -> None:
    """A new thread often gets the ident of the one that ended last; another thread of the process may be faster."""
    heirs: list[bool] = []
    errors: list[BaseException] = []

    def call(ident: int | None) -> None:
        heirs.append(threading.get_ident() == ident)
        try:
            pair.users.find_by_id(uuid4())
        except BaseException as error:
            errors.append(error)

    for _ in range(NEW_THREADS):
        outer = pair.transaction()
        dead = threading.Thread(target=outer.__enter__)
        dead.start()
        dead.join()
        thread = threading.Thread(target=call, args=(dead.ident,))
        thread.start()
        thread.join()
        outer.__exit__(None, None, None)
    assert errors == []
    assert any(heirs), "no thread got the ident: nothing was shown"


def test_database_inside_own_transaction_is_refused_per_thread(pair: Database) -> None:
    def misuse() -> None:
        with pair.transaction() as tx:
            tx.users.find_by_id(uuid4())
            with pytest.raises(BlockMisuse, match="use the transaction's object"):
                pair.users.find_by_id(uuid4())
            with pytest.raises(BlockMisuse), pair.transaction():
                pass
            with tx.transaction() as inner, pytest.raises(BlockMisuse):
                inner.users.find_by_id(uuid4())
                pair.users.find_by_id(uuid4())
        assert pair.users.find_by_id(uuid4()) is None

    misuse()
    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(misuse) for _ in range(2)]:
            done.result()


async def test_database_inside_own_transaction_is_refused_per_task(database_url: str) -> None:
    async def misuse(db: AsyncDatabase) -> None:
        async with db.transaction() as tx:
            await tx.users.find_by_id(uuid4())
            with pytest.raises(BlockMisuse, match="use the transaction's object"):
                await db.users.find_by_id(uuid4())
            # Work that is started inside is another task: it is free to use the database beside the transaction.
            assert await asyncio.create_task(db.users.find_by_id(uuid4())) is None
            with pytest.raises(BlockMisuse):
                async with db.transaction():
                    pass
        assert await db.users.find_by_id(uuid4()) is None

    async with AsyncDatabase(_settings(database_url, 3)) as db, asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(misuse(db))


# --- Between two threads ------------------------------------------------------------------------


@contextmanager
def _opened(database_url: str, size: int) -> Iterator[ConnectionPool]:
    pool = ConnectionPool(replace(_settings(database_url, size), pool_timeout_s=0.5))
    pool.open()
    yield pool
    pool.close()


def test_concurrent_release_frees_slot_once(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller marks its lease as over, and is slow to release it: another thread may reclaim the slot."""
    with _opened(database_url, 1) as pool, ThreadPoolExecutor() as executor:
        slow, next_one, third = pool.lease(), pool.lease(), pool.lease()
        slow.acquire()
        slow.over = True
        examine = PooledConnection.may_be_released

        def be_overtaken(connection: PooledConnection) -> bool:
            monkeypatch.undo()
            fit = examine(connection)
            waiting.append(executor.submit(next_one.acquire))
            time.sleep(2 * LOOK_S)  # for as long, it looks for a slot whose lease is over
            return fit

        waiting: list[Future[PooledConnection]] = []
        monkeypatch.setattr(PooledConnection, "may_be_released", be_overtaken)
        slow.release()
        assert not waiting[0].result().closed
        with pytest.raises(PoolExhausted):
            third.acquire()
        next_one.release()
        third.acquire()
        third.release()


@pytest.mark.parametrize("left_open", [False, True])
def test_caller_that_overtakes_release_gets_same_connection(database_url: str, left_open: bool) -> None:
    """Unless that is not as good as new: then it is closed, as its release would have."""
    with _opened(database_url, 1) as pool:
        slow, next_one, third = pool.lease(), pool.lease(), pool.lease()
        first = slow.acquire()
        if left_open:
            first.execute("BEGIN")
        slow.over = True
        second = next_one.acquire()
        assert (second is first, first.closed) == (not left_open, left_open)
        slow.release()
        assert not second.closed
        with pytest.raises(PoolExhausted):
            third.acquire()
        next_one.release()
        assert third.acquire() is second
        third.release()


def test_signal_while_serving_caller_gives_no_second_slot(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller holds its slot by then but is not yet notified."""
    with _opened(database_url, 2) as pool, ThreadPoolExecutor() as executor:
        first, second, waiter, third = pool.lease(), pool.lease(), pool.lease(), pool.lease()
        first.acquire()
        second.acquire()
        waiting = executor.submit(waiter.acquire)
        while pool.stats().waiting == 0:
            time.sleep(0.001)
        with monkeypatch.context() as patch:

            def interrupted(_: Waiter) -> None:
                raise Interrupted

            patch.setattr(Waiter, "wake", interrupted)
            with pytest.raises(Interrupted):
                first.release()
        second.release()
        waiting.result()
        third.acquire()
        third.release()
        waiter.release()


# --- Connecting ---------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue refuses clients")
def test_connect_waits_for_full_unix_socket_queue(database_url: str) -> None:
    """As a TCP client waits: the server is up, and busy with other connections."""
    parts = conninfo_to_dict(database_url)
    real = Path(str(parts.get("host", "")), f".s.PGSQL.{parts.get('port', 5432)}")
    if not real.is_socket():
        pytest.skip("the server is reached by TCP")
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as busy, ExitStack() as clients:
        path = Path(directory, ".s.PGSQL.5432")
        busy.bind(str(path))
        busy.listen(0)
        with pytest.raises(BlockingIOError):
            while True:
                client = clients.enter_context(socket.socket(socket.AF_UNIX))
                client.setblocking(False)
                client.connect(str(path))

        def make_way() -> None:
            time.sleep(0.3)
            path.unlink()
            path.symlink_to(real)

        way = threading.Thread(target=make_way)
        way.start()
        with Database(_settings(make_conninfo(database_url, host=directory, port=5432), 1)) as db:
            assert not way.is_alive()
            assert db.users.find_by_id(uuid4()) is None
        way.join()
