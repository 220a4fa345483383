"""Interrupts a call at every place, one after another: does the next call work, and is no trade lost?

Tasks are cancelled at each of their waits, before it ends and as it ends; threads are signalled at each place where
Python checks for signals. The pool has one connection, so the next call gets the interrupted call's connection. When
the call starts, the connection is idle, or another caller uses it for a moment, or it is dead and must be replaced.
"""

from __future__ import annotations

import _thread
import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import aclosing, asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Final
from uuid import UUID

import psycopg

from nexgent_db import AsyncDatabase, Database, Settings
from tests.chaos.accounting import LONGEST_S, Place
from tests.integration.aio import factories as aio
from tests.integration.sync import factories as sync
from tests.support.faults.signal_points import Interrupted, SignalPoints
from tests.support.faults.suspensions import Suspensions

OUR_CODE: Final = ("nexgent_db/sync/", "contextlib.py")
ALL_CODE: Final = ("nexgent_db/sync/", "contextlib.py", "psycopg/", "threading.py")
SITUATIONS: Final = ("idle", "held", "dead")
ROWS: Final = 3
MOST_LISTED: Final = 40
_HELD_S: Final = 0.001


class Undone(Exception):
    """The caller's own error, which leaves a transaction."""


@dataclass
class Findings:
    """The acknowledged and the undone trades, and the faults with their places."""

    place: Place
    application_name: str
    acknowledged: list[UUID] = field(default_factory=list)
    undone: list[UUID] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)
    beside: list[threading.Thread] = field(default_factory=list)
    refused_beside: list[str] = field(default_factory=list)
    places: int = 0

    def settings(self, use: str) -> Settings:
        """The settings of a pool of one connection."""
        settings = self.place.settings(use, 1, self.application_name)
        return replace(settings, pool_timeout_s=1.0)

    def end_sessions(self) -> None:
        """End the session, as a server does that is restarted."""
        with psycopg.connect(self.place.url, autocommit=True) as database:
            self._of_sessions(database, "pg_terminate_backend(pid, 5000)")

    def check(self) -> None:
        """Raise AssertionError unless nothing was lost, revived or left open, and no call failed."""
        with psycopg.connect(self.place.url, autocommit=True) as database:
            lost = set(self.acknowledged) - self._stored(database, self.acknowledged)
            revived = self._stored(database, self.undone)
            states = self._of_sessions(database, "state")
        listed = [f"{place}: {fault}" for place, fault in self.faults.items()]
        assert listed == [], "\n".join([f"{len(listed)} of {self.places} places", *listed[:MOST_LISTED]])
        assert (len(lost), len(revived)) == (0, 0), f"{len(lost)} lost, {len(revived)} revived"
        assert states == ["idle"]

    def _stored(self, database: psycopg.Connection[Any], trade_ids: list[UUID]) -> set[UUID]:
        cursor = database.execute("SELECT id FROM trade_requests WHERE id = ANY(%s)", [trade_ids])
        return {row[0] for row in cursor}

    def _of_sessions(self, database: psycopg.Connection[Any], column: str) -> list[str]:
        query = f"SELECT {column} FROM pg_stat_activity WHERE application_name = %s"
        return [row[0] for row in database.execute(query.encode(), [self.application_name])]

    def join(self, where: str) -> None:
        """Wait for calls of other threads, and say what they were refused."""
        while self.beside:
            _join(self.beside.pop())
        while self.refused_beside:
            self.faults[f"{where}, beside it"] = self.refused_beside.pop()

    def note_wrong(self, where: str) -> None:
        """Say at which place what was undone is stored all the same, or what was acknowledged is not."""
        with psycopg.connect(self.place.url, autocommit=True) as database:
            for kind, trade_ids, wrong in (
                ("revived", self.undone, self._stored(database, self.undone)),
                ("lost", self.acknowledged, set(self.acknowledged) - self._stored(database, self.acknowledged)),
            ):
                if wrong:
                    self.faults[f"{where}, {kind}"] = f"{len(wrong)} of {len(trade_ids)}"
                    trade_ids[:] = [each for each in trade_ids if each not in wrong]


def _join(thread: threading.Thread) -> None:
    """A signal may have interrupted its start: then it begins within a moment, or never."""
    for _ in range(20):
        with suppress(RuntimeError):
            thread.join()
            return
        time.sleep(0.01)


# --- Tasks --------------------------------------------------------------------------------------


async def _call(db: AsyncDatabase, owner: aio.Owner, findings: Findings) -> None:
    order = owner.deposit("1")
    await db.trades.deposit(order)
    findings.acknowledged.append(order.trade_id)


async def _block(db: AsyncDatabase, owner: aio.Owner, findings: Findings, *, pipeline: bool = False) -> None:
    orders = [owner.deposit("1") for _ in range(3)]
    async with db.transaction(pipeline=pipeline) as tx:
        await tx.trades.deposit(orders[0])
        async with tx.transaction() as inner:
            await inner.trades.deposit(orders[1])
        try:
            async with tx.transaction() as inner:
                await inner.trades.deposit(orders[2])
                raise Undone
        except Undone:
            pass
    findings.acknowledged += [orders[0].trade_id, orders[1].trade_id]
    findings.undone.append(orders[2].trade_id)


async def _pipeline(db: AsyncDatabase, owner: aio.Owner, findings: Findings) -> None:
    await _block(db, owner, findings, pipeline=True)


async def _rollback(db: AsyncDatabase, owner: aio.Owner, findings: Findings) -> None:
    order = owner.deposit("1")
    try:
        async with db.transaction() as tx:
            await tx.trades.deposit(order)
            raise Undone
    except Undone:
        findings.undone.append(order.trade_id)


async def _stream(db: AsyncDatabase, owner: aio.Owner, findings: Findings) -> None:
    """The first rows: there are more after each call."""
    stream: Any = db.transactions.stream_by_agent(owner.agent_id)
    rows = []
    async with aclosing(stream):
        async for row in stream:
            rows.append(row)
            if len(rows) == ROWS:
                break
    assert {row.agent_id for row in rows} == {owner.agent_id}


AsyncCall = Callable[[AsyncDatabase, aio.Owner, Findings], Coroutine[Any, Any, None]]
ASYNC_CALLS: Final[dict[str, AsyncCall]] = {
    "call": _call,
    "block": _block,
    "pipeline": _pipeline,
    "rollback": _rollback,
    "stream": _stream,
}


async def cancel_everywhere(findings: Findings, use: str, call: str, situation: str) -> None:
    """Cancel the call at each of its waits, before it ends and as it ends. Raises AssertionError."""
    async with AsyncDatabase(findings.place.url) as setup:
        owner = await aio.new_owner(setup)
        for _ in range(ROWS):
            await setup.trades.deposit(owner.deposit("1"))
    tenant = owner.user_id if use == "tenant" else None
    async with AsyncDatabase(findings.settings(use), tenant=tenant) as db:
        for as_it_ends in (False, True):
            number = 1
            while await _cancelled(db, owner, findings, ASYNC_CALLS[call], situation, number, as_it_ends=as_it_ends):
                number += 1
        findings.note_wrong("at some place")
        findings.check()


async def _cancelled(
    db: AsyncDatabase,
    owner: aio.Owner,
    findings: Findings,
    call: AsyncCall,
    situation: str,
    number: int,
    *,
    as_it_ends: bool,
) -> bool:
    """Cancel it at the wait of this number; False when there are fewer. Then make another call."""
    where = f"wait {number}, {'as it ends' if as_it_ends else 'before'}"
    async with _situation_of_tasks(situation, db, findings):
        suspensions = Suspensions(call(db, owner, findings))
        task = asyncio.create_task(suspensions.run())
        suspensions.at(number, task.cancel, as_it_ends=as_it_ends)
        done, _ = await asyncio.wait({task}, timeout=LONGEST_S)
    if not done:
        findings.faults[where] = f"the call goes on: {suspensions.place()}"
        return False
    if suspensions.count < number:
        task.result()
        return False
    findings.places += 1
    if not task.cancelled():
        findings.faults[where] = f"ended otherwise: {task.exception()!r}"
    try:
        await _call(db, owner, findings)
    except Exception as error:
        findings.faults[where] = f"{type(error).__name__}: {error}"
    return True


@asynccontextmanager
async def _situation_of_tasks(name: str, db: AsyncDatabase, findings: Findings) -> AsyncIterator[None]:
    if name == "dead":
        await asyncio.to_thread(findings.end_sessions)
    if name != "held":
        yield
        return
    held = asyncio.Event()

    async def hold() -> None:
        async with db.transaction():
            held.set()
            await asyncio.sleep(_HELD_S)

    holder = asyncio.create_task(hold())
    await held.wait()
    yield
    await holder


# --- Threads ------------------------------------------------------------------------------------


def _sync_call(db: Database, owner: sync.Owner, findings: Findings) -> None:
    order = owner.deposit("1")
    db.trades.deposit(order)
    findings.acknowledged.append(order.trade_id)


def _sync_block(db: Database, owner: sync.Owner, findings: Findings, *, pipeline: bool = False) -> None:
    orders = [owner.deposit("1") for _ in range(3)]
    with db.transaction(pipeline=pipeline) as tx:
        tx.trades.deposit(orders[0])
        with tx.transaction() as inner:
            inner.trades.deposit(orders[1])
        try:
            with tx.transaction() as inner:
                inner.trades.deposit(orders[2])
                raise Undone
        except Undone:
            pass
    findings.acknowledged += [orders[0].trade_id, orders[1].trade_id]
    findings.undone.append(orders[2].trade_id)


def _sync_pipeline(db: Database, owner: sync.Owner, findings: Findings) -> None:
    _sync_block(db, owner, findings, pipeline=True)


def _sync_rollback(db: Database, owner: sync.Owner, findings: Findings) -> None:
    order = owner.deposit("1")
    try:
        with db.transaction() as tx:
            tx.trades.deposit(order)
            raise Undone
    except Undone:
        findings.undone.append(order.trade_id)


def _sync_stream(db: Database, owner: sync.Owner, findings: Findings) -> None:
    stream: Any = db.transactions.stream_by_agent(owner.agent_id)
    with closing(stream):
        rows = list(islice(stream, ROWS))
    assert {row.agent_id for row in rows} == {owner.agent_id}


class _Beside(threading.Thread):
    """Starts without the Event of the standard library, which a signal inside its wait can leave half released."""

    _begun = _over = False

    def start(self) -> None:
        _thread.start_new_thread(self._live, ())

    def _live(self) -> None:
        self._begun = True
        try:
            self.run()
        finally:
            self._over = True

    def is_alive(self) -> bool:
        return not self._over

    def join(self, timeout: float | None = None) -> None:
        if not self._begun:
            raise RuntimeError("it has not begun")
        while not self._over:
            time.sleep(0.0005)


def _sync_awaited(db: Database, owner: sync.Owner, findings: Findings) -> None:
    """A transaction whose connection another thread waits for."""
    pool = db._pool
    assert pool is not None

    def wait() -> None:
        try:
            _sync_call(db, owner, findings)
        except Exception as error:
            findings.refused_beside.append(f"{type(error).__name__}: {error}")

    with db.transaction():
        beside = _Beside(target=wait)
        findings.beside.append(beside)
        beside.start()
        while not pool._waiting and beside.is_alive():
            time.sleep(0.0005)


SyncCall = Callable[[Database, sync.Owner, Findings], None]
SYNC_CALLS: Final[dict[str, SyncCall]] = {
    "call": _sync_call,
    "block": _sync_block,
    "pipeline": _sync_pipeline,
    "rollback": _sync_rollback,
    "stream": _sync_stream,
    "awaited": _sync_awaited,
}


def signal_everywhere(
    findings: Findings,
    use: str,
    call: str,
    situation: str,
    *,
    code: tuple[str, ...] = OUR_CODE,
    stride: int = 1,
    raises: type[BaseException] = Interrupted,
    keep: bool = False,
) -> None:
    """Signal the thread at each ``stride``-th place in this code. Raises AssertionError.

    The handler's exception has to come out of the call. An ``Interrupted`` may be dropped instead, as what fails
    after COMMIT is: then the call has to have done all that it says. With ``keep`` the exception is kept while the
    next call is made, as those do that report it later.
    """
    with Database(findings.place.url) as setup:
        owner = sync.new_owner(setup)
        for _ in range(ROWS):
            setup.trades.deposit(owner.deposit("1"))
    tenant = owner.user_id if use == "tenant" else None
    with Database(findings.settings(use), tenant=tenant) as db:
        points = SignalPoints(*code, raises=raises)
        number = 1
        while _signalled(db, owner, findings, SYNC_CALLS[call], situation, number, points, keep=keep):
            number += stride
        findings.check()


def _signalled(
    db: Database,
    owner: sync.Owner,
    findings: Findings,
    call: SyncCall,
    situation: str,
    number: int,
    points: SignalPoints,
    *,
    keep: bool,
) -> bool:
    """Signal it at the place of this number; False when there are fewer. Then make another call."""
    error: BaseException | None = None
    with _situation_of_threads(situation, db, findings):
        try:
            with points.at(number):
                call(db, owner, findings)
        except BaseException as raised:
            error = raised
    if points.reached < number:
        findings.join("without a signal")
        if error is not None:
            raise error
        return False
    findings.places += 1
    where = f"place {number}, {points.place}"
    dropped = error is None
    if dropped and points.raises is not Interrupted:
        findings.faults[where] = "the signal was dropped"
    if error is not None and not isinstance(error, points.raises):
        findings.faults[where] = f"ended otherwise: {type(error).__name__}: {error}"
    if not keep:
        error = None
    findings.join(where)
    try:
        _sync_call(db, owner, findings)
    except Exception as refused:
        findings.faults[f"{where}, kept {error!r}"] = f"then {type(refused).__name__}: {refused}"
    if dropped:
        findings.note_wrong(where)
    return True


@contextmanager
def _situation_of_threads(name: str, db: Database, findings: Findings) -> Iterator[None]:
    if name == "dead":
        findings.end_sessions()
    if name != "held":
        yield
        return
    held = threading.Event()

    def hold() -> None:
        with db.transaction():
            held.set()
            threading.Event().wait(_HELD_S)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    yield
    holder.join()
