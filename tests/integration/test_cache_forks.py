"""A forked child's cache starts empty: it uses nothing of its parent's, and does not affect the parent.

The child works with a database of its own here: other tests cover connections to PostgreSQL.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import pickle
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any, Final

import pytest

from nexgent_db import AsyncDatabase, Database
from nexgent_db.aio.repositories.trades import Trades as AsyncTrades
from nexgent_db.aio.session import CachedSession as AsyncCachedSession
from nexgent_db.errors import LockLost
from nexgent_db.settings import Settings
from nexgent_db.sync.repositories.trades import Trades
from nexgent_db.sync.session import CachedSession
from tests.integration.aio.factories import Owner as AsyncOwner
from tests.integration.sync.factories import Owner, funded_owner
from tests.support.faults.concurrently import concurrently
from tests.support.servers.valkey_server import ValkeyServer

ROUNDS: Final = 700
"""What each of several workers in each process does, of three reads each: a few seconds."""
WAIT_S: Final = 120.0


class Child:
    """A child process and its work. No code of pytest runs in it."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._result, there = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: threads
            self._pid = os.fork()
        if self._pid == 0:
            try:
                with os.fdopen(there, "wb") as pipe:
                    pickle.dump(_outcome(work), pipe)
            finally:
                os._exit(0)
        os.close(there)

    def result(self) -> Any:
        """What the work returned. Fails with what it raised."""
        with os.fdopen(self._result, "rb") as pipe:
            problem, result = pickle.load(pipe)
        os.waitpid(self._pid, 0)
        assert problem is None, problem
        return result


def _outcome(work: Callable[[], Any]) -> tuple[str | None, Any]:
    try:
        return None, work()
    except BaseException:
        return traceback.format_exc(), None


@pytest.fixture(params=[0, 1000], ids=["", "local cache"])
def settings(request: pytest.FixtureRequest, fresh_database_url: str, server: ValkeyServer) -> Settings:
    return replace(Settings.from_url(fresh_database_url), redis_url=server.url, local_cache_rows=request.param)


@pytest.fixture
def db(settings: Settings) -> Iterator[Database]:
    with Database(settings) as database:
        yield database


def owners(db: Database, count: int) -> list[tuple[Owner, bool]]:
    """Owners with a position, every other one of which trades by itself."""
    made = []
    for number in range(count):
        owner = funded_owner(db)
        db.trades.buy(owner.buy("1", "1000"))
        db.agents.set_automated_trading(owner.agent_id, "simulation", number % 2 == 0)
        made.append((owner, number % 2 == 0))
    return made


def move_to(cache: Any, own: Any) -> None:
    """Let the inherited cache read another database. Its parts share the queries."""
    for repository in (cache._queries, cache._positions, cache._balances):
        repository._session = own._session
    cache._recovery.relay._transaction = own._transaction_session


def in_its_own_database(cache: Any, settings: Settings, work: Callable[[Trades], Any]) -> Any:
    """Connect the inherited cache to a database that this process has opened, and work."""
    with Database(replace(settings, redis_url=None)) as own:
        session = own._session
        move_to(cache, own)
        try:
            return work(Trades(CachedSession(session, cache._writer)))
        finally:
            cache._close()
            gc.collect()


def worked(trades: Trades, cache: Any, owner: Owner, enabled: bool, rounds: int = ROUNDS) -> int:
    """Trade and read; returns how many of the rows read are not the owner's."""
    wrong = 0
    position = trades.dca_buy(owner.dca_buy("0.001", "1")).position
    assert position is not None
    cache.coordination.store_result(f"{owner.agent_id}", owner.wallet_address)
    for number in range(rounds):
        if number % 20 == 0:
            position = trades.dca_buy(owner.dca_buy("0.001", "1")).position
            assert position is not None
        wrong += cache.position(position.id) != position
        wrong += cache.trading_flags(owner.agent_id).automated_trading_simulation is not enabled
        wrong += cache.coordination.get_result(f"{owner.agent_id}") not in (owner.wallet_address, None)
    return wrong


def well(cache: Any) -> None:
    """Reads until the process has found Redis by itself."""
    until = time.monotonic() + WAIT_S
    while cache.metrics().state != "closed":
        assert time.monotonic() < until, f"Redis is not found: {cache.metrics()}"
        cache._recovery.readable()
        time.sleep(0.01)


def test_parent_and_children_read_their_own_rows(db: Database, settings: Settings) -> None:
    mine, theirs, cache = owners(db, 3), owners(db, 6), db.cache

    def in_the_child(first: int) -> Mapping[str, Any]:
        def work(trades: Trades) -> Mapping[str, Any]:
            before_it_is_found = worked(trades, cache, *theirs[first], rounds=20)
            well(cache)
            wrong = concurrently([partial(worked, trades, cache, *each) for each in theirs[first : first + 2]])
            metrics = cache.metrics()
            return {"wrong": before_it_is_found + sum(wrong), "hits": metrics.hits, "openings": metrics.openings}

        return dict(in_its_own_database(cache, settings, work))

    children: list[Child] = []

    def fork() -> int:
        children.extend(Child(partial(in_the_child, first)) for first in (0, 2, 4))
        return 0

    work: list[Callable[[], int]] = [fork, *(partial(worked, db.trades, cache, *each) for each in mine)]
    wrong = concurrently(work)
    found = [child.result() for child in children]
    assert wrong == [0, 0, 0, 0]
    assert [each["wrong"] for each in found] == [0, 0, 0]
    assert [each["openings"] for each in found] == [0, 0, 0]
    assert all(each["hits"] > ROUNDS for each in found)
    assert (cache.metrics().state, cache.metrics().openings) == ("closed", 0)
    assert [worked(db.trades, cache, *each, rounds=20) for each in (*mine, *theirs)] == [0] * 9
    assert cache.metrics().openings == 0


def test_multiprocessing_child_reads_its_own_rows(db: Database, settings: Settings) -> None:
    mine, theirs, cache = owners(db, 3), owners(db, 3), db.cache
    cache_client: Any = cache._client
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("fork")
    both = context.Barrier(2, timeout=WAIT_S)

    def work(trades: Trades) -> None:
        well(cache)
        there.send(cache_client.call("CLIENT", "ID"))
        both.wait()
        assert concurrently([partial(worked, trades, cache, *each) for each in theirs]) == [0, 0, 0]

    child = context.Process(target=in_its_own_database, args=(cache, settings, work))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child.start()
    both.wait()
    assert concurrently([partial(worked, db.trades, cache, *each) for each in mine]) == [0, 0, 0]
    child.join(WAIT_S)
    assert child.exitcode == 0
    assert here.recv() != cache_client.call("CLIENT", "ID")
    assert cache.metrics().openings == 0


def test_child_works_after_fork_with_all_locks_held(db: Database, settings: Settings) -> None:
    cache: Any = db.cache
    ((owner, enabled),) = owners(db, 1)
    cache_client = cache._client
    queue = cache_client._queue
    locks = [cache_client.breaker._lock, cache_client.epoch._verifying, queue._sending, queue._reading]
    locks.append(cache._recovery._background._lock)
    if cache_client.local is not None:
        locks += [cache_client.local.store._lock, cache_client.local._background._lock]
    taken, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with ExitStack() as stack:
            for lock in locks:
                stack.enter_context(lock)
            taken.set()
            let_go.wait(WAIT_S)

    def in_the_child(trades: Trades) -> int:
        well(cache)
        return worked(trades, cache, owner, enabled, rounds=20)

    holder = threading.Thread(target=hold)
    holder.start()
    assert taken.wait(WAIT_S)
    child = Child(partial(in_its_own_database, cache, settings, in_the_child))
    let_go.set()
    holder.join()
    assert child.result() == 0


def test_child_does_not_touch_parent_connections(db: Database, settings: Settings, server: ValkeyServer) -> None:
    ((owner, enabled),) = owners(db, 1)
    db.cache.trading_flags(owner.agent_id)

    def traffic(client: Any) -> dict[str, tuple[str, str]]:
        """The traffic of each connection except the listener's, which sends pings."""
        found = {each["id"]: each for each in client.client_list() if int(each["id"]) != client.client_id()}
        listens = {name for name, each in found.items() if each["sub"] != "0"}
        return {
            name: ("", "") if name in listens else (each["tot-net-in"], each["tot-net-out"])
            for name, each in found.items()
        }

    def in_the_child(trades: Trades) -> int:
        well(db.cache)
        return worked(trades, db.cache, owner, enabled, rounds=20)

    with server.client() as client:
        before = traffic(client)
        assert len(before) >= 2  # for reads, and for changes
        assert Child(partial(in_its_own_database, db.cache, settings, in_the_child)).result() == 0
        assert traffic(client) == before
    assert worked(db.trades, db.cache, owner, enabled, rounds=20) == 0
    assert db.cache.metrics().openings == 0


def test_child_does_not_wait_for_parent_replies(db: Database, settings: Settings, server: ValkeyServer) -> None:
    ((owner, _),) = owners(db, 1)
    old = db.positions.list_by_agent(owner.agent_id)[0]
    assert db.cache.position(old.id) == old
    cache_client: Any = db.cache._client
    with server.hanging():
        new = db.trades.dca_buy(owner.dca_buy("1", "500")).position
        assert new is not None

        def in_the_child() -> tuple[bool, float]:
            began = time.monotonic()
            cache_client._queue.flush()
            return cache_client._queue._connection is None, time.monotonic() - began

        nothing, seconds = Child(in_the_child).result()
        assert (nothing, seconds < 0.2) == (True, True)
        openings = db.cache.metrics().openings
    assert db.cache.position(new.id) == new
    assert (db.cache.metrics().openings, openings) == (0, 0)


def test_parent_local_cache_stays_valid_after_fork(fresh_database_url: str, server: ValkeyServer) -> None:
    settings = replace(Settings.from_url(fresh_database_url), redis_url=server.url, local_cache_rows=100)
    with Database(settings) as db, Database(replace(settings, local_cache_rows=0)) as other:
        ((owner, enabled),) = owners(other, 1)
        store = db.cache._client.local.store  # type: ignore[union-attr]
        until = time.monotonic() + WAIT_S

        def local() -> bool:
            hits = db.cache.metrics().local_hits
            assert db.cache.trading_flags(owner.agent_id).automated_trading_simulation is enabled
            return db.cache.metrics().local_hits > hits

        while not local():
            assert time.monotonic() < until, "nothing is kept"
        generation = store._generation

        def in_the_child(trades: Trades) -> tuple[int, bool]:
            before = len(store), db.cache.metrics().local_hits
            well(db.cache)
            return worked(trades, db.cache, owner, enabled, rounds=20), before == (0, 0)

        wrong, empty = Child(partial(in_its_own_database, db.cache, settings, in_the_child)).result()
        assert (wrong, empty) == (0, True)
        while not local():
            assert time.monotonic() < until, "nothing is kept any more"
        other.agents.set_automated_trading(owner.agent_id, "simulation", not enabled)
        assert other.cache.trading_flags(owner.agent_id).automated_trading_simulation is not enabled  # it was applied
        while db.cache.trading_flags(owner.agent_id).automated_trading_simulation is enabled:
            assert time.monotonic() < until, "no change is reported"
        assert (store._generation is generation, db.cache.metrics().openings) == (True, 0)


def test_lock_of_parent_is_not_held_by_child(fresh_database_url: str, server: ValkeyServer) -> None:
    settings = replace(Settings.from_url(fresh_database_url), redis_url=server.url)
    with Database(settings) as db, server.client() as client:
        with db.cache.coordination.lock("work", lease_s=60) as lock:

            def in_the_child(trades: Trades) -> list[Any]:
                well(db.cache)
                outcome: list[Any] = [lock.held]
                for leave in (lock.extend, partial(lock.__exit__, None, None, None)):
                    try:
                        leave()
                    except LockLost as error:
                        outcome.append(str(error))
                return outcome

            held, extending, leaving = Child(partial(in_its_own_database, db.cache, settings, in_the_child)).result()
            assert held is False
            assert "forked" in extending
            assert "forked" in leaving
            assert lock.held
            assert client.exists("nexgent:lock:work")
        assert not client.exists("nexgent:lock:work")


# --- Tasks ------------------------------------------------------------------------------------------


async def worked_by_tasks(trades: AsyncTrades, cache: Any, owner: AsyncOwner, enabled: bool) -> int:
    wrong = 0
    position = (await trades.dca_buy(owner.dca_buy("0.001", "1"))).position
    assert position is not None
    await cache.coordination.store_result(f"{owner.agent_id}", owner.wallet_address)
    for number in range(ROUNDS):
        if number % 20 == 0:
            position = (await trades.dca_buy(owner.dca_buy("0.001", "1"))).position
            assert position is not None
        wrong += await cache.position(position.id) != position
        wrong += (await cache.trading_flags(owner.agent_id)).automated_trading_simulation is not enabled
        wrong += await cache.coordination.get_result(f"{owner.agent_id}") not in (owner.wallet_address, None)
    return wrong


async def child_of_tasks(cache: Any, settings: Settings, owner: AsyncOwner, enabled: bool) -> tuple[int, bool, int]:
    """The wrong rows, whether any read came from the cache, and the number of failures."""
    async with AsyncDatabase(replace(settings, redis_url=None)) as own:
        session = own._session
        move_to(cache, own)
        trades = AsyncTrades(AsyncCachedSession(session, cache._writer))
        async with asyncio.timeout(WAIT_S):
            while cache.metrics().state != "closed":
                cache._recovery.readable()
                await asyncio.sleep(0.01)
        wrong = await worked_by_tasks(trades, cache, owner, enabled)
        metrics = cache.metrics()
        await cache._close()
        gc.collect()
        return wrong, metrics.hits > ROUNDS, metrics.openings


@pytest.mark.parametrize("when", ["in the loop", "before a loop"])
def test_parent_and_child_with_event_loops_read_their_own_rows(settings: Settings, when: str) -> None:
    db = AsyncDatabase(settings)
    with Database(replace(settings, redis_url=None)) as maker:
        (mine, theirs) = ((AsyncOwner(o.user_id, o.agent_id, o.wallet_address), on) for o, on in owners(maker, 2))

    def fork() -> Child:
        return Child(lambda: asyncio.run(child_of_tasks(db.cache, settings, *theirs)))

    async def fork_in_the_loop() -> Child:
        await asyncio.sleep(0)
        return fork()

    with asyncio.Runner() as runner:
        runner.run(db.open())
        before = runner.run(worked_by_tasks(db.trades, db.cache, *mine))

        async def both() -> tuple[Child, int]:
            child, wrong = await asyncio.gather(fork_in_the_loop(), worked_by_tasks(db.trades, db.cache, *mine))
            return child, wrong

        if when == "in the loop":
            child, during = runner.run(both())
        else:
            child, during = fork(), runner.run(worked_by_tasks(db.trades, db.cache, *mine))
        theirs_wrong, cached, openings = child.result()
        after = runner.run(worked_by_tasks(db.trades, db.cache, *mine))
        metrics = db.cache.metrics()
        runner.run(db.close())
    assert (before, during, after, metrics.openings, metrics.hits > ROUNDS) == (0, 0, 0, 0, True)
    assert (theirs_wrong, cached, openings) == (0, True, 0)
