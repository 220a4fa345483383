"""Services under load: tasks of an AsyncDatabase, threads of a Database. Each caller goes on after every error.

Every caller has a wallet of its own. It reads, streams, deposits, and deposits twice in one block, with ids that it
knows; two more ask for the health and for the flags of an agent that may trade, all the time.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final
from uuid import UUID

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from nexgent_db import AsyncDatabase, Database
from nexgent_db.models import SOL_MINT, trade_id_of
from nexgent_db.settings import Settings
from tests.chaos.outages.journal import Flavour, Journal
from tests.integration.aio.factories import Owner as AsyncOwner
from tests.integration.aio.factories import new_owner as new_async_owner
from tests.integration.sync.factories import Owner, new_owner

KINDS: Final = ("read", "stream", "deposit", "block", "pipeline")
PAUSE_S: Final = 0.03
"""Of every caller between two calls: while nothing can be reached, refusals come at once."""
MONITOR_PAUSE_S: Final = 0.1
END_S: Final = 60.0
"""The limit of everything that the harness itself waits for."""


class Load(ABC):
    """One service's callers. ``start``, then ``stop``, ``hold_all`` and ``close``, each once."""

    flavour: Flavour

    def __init__(self, settings: Settings, journal: Journal, seed: int, callers: int) -> None:
        self.settings = _named(settings, self.application_name())
        self.aside = replace(
            _named(settings, f"{self.application_name()}-aside"), pool_min_size=len(KINDS), pool_max_size=len(KINDS)
        )
        """Of a second pool, with a connection ready for each call that is made of it."""
        self.journal = journal
        self.callers = callers
        self.randoms = [random.Random(f"{seed} {self.flavour} {number}") for number in range(callers)]
        self.wallets: list[str] = []
        self.held: Counter[str] = Counter()
        """How many transactions of each pool were open at once in the end, by the pool's application_name."""
        self.failure: BaseException | None = None
        """What ended the load itself, if anything did."""
        self._opened = threading.Event()
        self._stop = threading.Event()
        self._stopped = threading.Event()
        self._close = threading.Event()
        self._at_commit = threading.Event()
        self._go_on = threading.Event()
        self._thread = threading.Thread(target=self._guarded, name=f"outages {self.flavour}", daemon=True)

    @classmethod
    def application_name(cls) -> str:
        """What the server knows its sessions as."""
        return f"outages-{cls.flavour}"

    def start(self) -> None:
        """Open the database, make the callers' wallets and let them begin."""
        self._thread.start()
        self._wait(self._opened, "opened")

    def stop(self) -> None:
        """Let every call end; ask the quiet pool by as many calls at once as it has slots, and hold as many
        transactions at once as either has; both stay open."""
        self._stop.set()
        self._wait(self._stopped, "stopped")

    def close(self) -> None:
        """Close the database."""
        self._stop.set()
        self._close.set()
        self._thread.join(END_S)
        if self._thread.is_alive():
            raise AssertionError(f"{self.flavour}: the database was not closed within {END_S} s")

    def _wait(self, event: threading.Event, what: str) -> None:
        if not event.wait(END_S) and self.failure is None:
            raise AssertionError(f"{self.flavour}: the load was not {what} within {END_S} s")
        if self.failure is not None:
            raise self.failure

    def _guarded(self) -> None:
        try:
            self._run()
        except BaseException as error:
            self.failure = error
        finally:
            for event in (self._opened, self._stopped, self._at_commit):
                event.set()

    @abstractmethod
    def _run(self) -> None: ...

    @abstractmethod
    def wait_for_a_second(self) -> None:
        """Begin calls that are given up after one second, where the flavour has such; returns when they began."""

    @abstractmethod
    def ask_aside(self) -> None:
        """Begin one read of the second pool, which then knows what is wrong, and is left alone until the end."""

    def wait_at_commit(self) -> None:
        """Begin blocks that have all but their COMMIT behind them when this returns."""
        self._wait(self._at_commit, "at its COMMITs")

    def commit(self) -> None:
        """Let these blocks go on."""
        self._go_on.set()


class AsyncLoad(Load):
    """Tasks of one event loop, in a thread of its own."""

    flavour = "async"

    def _run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._calls_aside: set[asyncio.Task[None]] = set()
        async with AsyncDatabase(self.settings) as db, AsyncDatabase(self.aside) as aside:
            self._db, self._aside = db, aside
            self._owners = [await new_async_owner(db) for _ in range(self.callers + len(KINDS))]
            self.wallets = [owner.wallet_address for owner in self._owners]
            await db.agents.set_automated_trading(self._owners[0].agent_id, "simulation", True)
            work = [asyncio.create_task(self._caller(number)) for number in range(self.callers)]
            work += [asyncio.create_task(monitor()) for monitor in (self._health, self._trading_flags)]
            self._opened.set()
            await asyncio.gather(*work)
            await asyncio.gather(*self._calls_aside)
            await asyncio.gather(*(self._read_aside("together") for _ in KINDS))
            await self._hold_all(db)
            await self._hold_all(aside)
            self._stopped.set()
            while not self._close.is_set():  # noqa: ASYNC110  # set in another thread
                await asyncio.sleep(0.01)

    async def _caller(self, number: int) -> None:
        chance, owner = self.randoms[number], self._owners[number]
        while not self._stop.is_set():
            kind = chance.choice(KINDS)
            ids = _new_ids(kind, chance)
            with self.journal.call(self.flavour, number, kind, _trade_ids(owner, ids)):
                await self._do(self._db, kind, owner, ids)
            await asyncio.sleep(PAUSE_S * chance.uniform(0.5, 1.5))

    @staticmethod
    async def _do(db: AsyncDatabase, kind: str, owner: AsyncOwner, ids: tuple[UUID, ...]) -> None:
        if kind == "read":
            await db.balances.find_by_wallet_and_token(owner.wallet_address, SOL_MINT)
        elif kind == "stream":
            async for _ in db.transactions.stream_by_agent(owner.agent_id):
                pass
        elif kind == "deposit":
            await db.trades.deposit(owner.deposit("1", request_id=ids[0]))
        else:
            async with db.transaction(pipeline=kind == "pipeline") as tx:
                for request_id in ids:
                    await tx.trades.deposit(owner.deposit("1", request_id=request_id))

    async def _health(self) -> None:
        while not self._stop.is_set():
            with self.journal.call(self.flavour, -1, "health") as call:
                call.answer = await self._db.health()
            await asyncio.sleep(MONITOR_PAUSE_S)

    async def _trading_flags(self) -> None:
        agent_id = self._owners[0].agent_id
        while not self._stop.is_set():
            with self.journal.call(self.flavour, -2, "trading_flags") as call:
                call.answer = await self._db.cache.trading_flags(agent_id)
            await asyncio.sleep(MONITOR_PAUSE_S)

    async def _hold_all(self, db: AsyncDatabase) -> None:
        slots = db.settings.pool_max_size
        held = asyncio.Condition()

        async def hold(number: int) -> None:
            with self.journal.call(self.flavour, number, "hold"):
                async with db.transaction() as tx, asyncio.timeout(HOLD_S):
                    await tx.balances.find_by_wallet_and_token(self.wallets[0], SOL_MINT)
                    async with held:
                        self.held[_name(db.settings)] += 1
                        held.notify_all()
                        await held.wait_for(lambda: self.held[_name(db.settings)] == slots)

        await asyncio.gather(*(hold(number) for number in range(slots)))

    def wait_for_a_second(self) -> None:
        self._begin_aside([self._given_up_after_a_second(kind) for kind in KINDS])

    async def _given_up_after_a_second(self, kind: str) -> None:
        with self.journal.call(self.flavour, -3, f"wait_for({kind}, 1)"):
            ids = _new_ids(kind, self.randoms[0])
            await asyncio.wait_for(self._do(self._aside, kind, self._owners[-1], ids), 1)

    def ask_aside(self) -> None:
        self._begin_aside([self._read_aside()])

    async def _read_aside(self, kind: str = "read aside") -> None:
        with self.journal.call(self.flavour, -5, kind):
            await self._do(self._aside, "read", self._owners[-1], ())

    def wait_at_commit(self) -> None:
        at_commit = itertools.count(1)
        self._begin_aside([self._commit_when_frozen(number, at_commit) for number in range(len(KINDS))])
        super().wait_at_commit()

    async def _commit_when_frozen(self, number: int, at_commit: Iterator[int]) -> None:
        owner, ids = self._owners[self.callers + number], _new_ids("block", self.randoms[number])
        with self.journal.call(self.flavour, -4, "commit", _trade_ids(owner, ids)):
            async with self._aside.transaction() as tx:
                for request_id in ids:
                    await tx.trades.deposit(owner.deposit("1", request_id=request_id))
                if next(at_commit) == len(KINDS):
                    self._at_commit.set()
                while not self._go_on.is_set():  # noqa: ASYNC110  # set in another thread
                    await asyncio.sleep(0.01)

    def _begin_aside(self, calls: Sequence[Coroutine[Any, Any, None]]) -> None:
        begun = threading.Event()

        def begin() -> None:
            self._calls_aside |= {asyncio.create_task(call) for call in calls}
            begun.set()

        self._loop.call_soon_threadsafe(begin)
        begun.wait(END_S)


class SyncLoad(Load):
    """Threads."""

    flavour = "sync"

    def _run(self) -> None:
        self._calls_aside: list[threading.Thread] = []
        with Database(self.settings) as db, Database(self.aside) as aside:
            self._db, self._aside = db, aside
            self._owners = [new_owner(db) for _ in range(self.callers + len(KINDS))]
            self.wallets = [owner.wallet_address for owner in self._owners]
            db.agents.set_automated_trading(self._owners[0].agent_id, "simulation", True)
            _together(
                [*(self._caller(number) for number in range(self.callers)), self._health, self._trading_flags],
                self._opened.set,
            )
            for thread in self._calls_aside:
                thread.join()
            _together([partial(self._read_aside, "together") for _ in KINDS])
            self._hold_all(db)
            self._hold_all(aside)
            self._stopped.set()
            self._close.wait()

    def _caller(self, number: int) -> Callable[[], None]:
        chance, owner = self.randoms[number], self._owners[number]

        def call() -> None:
            while not self._stop.is_set():
                kind = chance.choice(KINDS)
                ids = _new_ids(kind, chance)
                with self.journal.call(self.flavour, number, kind, _trade_ids(owner, ids)):
                    self._do(self._db, kind, owner, ids)
                self._stop.wait(PAUSE_S * chance.uniform(0.5, 1.5))

        return call

    @staticmethod
    def _do(db: Database, kind: str, owner: Owner, ids: tuple[UUID, ...]) -> None:
        if kind == "read":
            db.balances.find_by_wallet_and_token(owner.wallet_address, SOL_MINT)
        elif kind == "stream":
            for _ in db.transactions.stream_by_agent(owner.agent_id):
                pass
        elif kind == "deposit":
            db.trades.deposit(owner.deposit("1", request_id=ids[0]))
        else:
            with db.transaction(pipeline=kind == "pipeline") as tx:
                for request_id in ids:
                    tx.trades.deposit(owner.deposit("1", request_id=request_id))

    def _health(self) -> None:
        while not self._stop.is_set():
            with self.journal.call(self.flavour, -1, "health") as call:
                call.answer = self._db.health()
            self._stop.wait(MONITOR_PAUSE_S)

    def _trading_flags(self) -> None:
        agent_id = self._owners[0].agent_id
        while not self._stop.is_set():
            with self.journal.call(self.flavour, -2, "trading_flags") as call:
                call.answer = self._db.cache.trading_flags(agent_id)
            self._stop.wait(MONITOR_PAUSE_S)

    def _hold_all(self, db: Database) -> None:
        slots = db.settings.pool_max_size
        held = threading.Condition()

        def hold(number: int) -> Callable[[], None]:
            def run() -> None:
                with self.journal.call(self.flavour, number, "hold"), db.transaction() as tx:
                    tx.balances.find_by_wallet_and_token(self.wallets[0], SOL_MINT)
                    with held:
                        self.held[_name(db.settings)] += 1
                        held.notify_all()
                        held.wait_for(lambda: self.held[_name(db.settings)] == slots, HOLD_S)

            return run

        _together([hold(number) for number in range(slots)])

    def wait_for_a_second(self) -> None:
        """A thread cannot give up a call."""

    def ask_aside(self) -> None:
        self._begin_aside(self._read_aside)

    def _read_aside(self, kind: str = "read aside") -> None:
        with self.journal.call(self.flavour, -5, kind):
            self._do(self._aside, "read", self._owners[-1], ())

    def _begin_aside(self, call: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=call, args=arguments, daemon=True)
        self._calls_aside.append(thread)
        thread.start()

    def wait_at_commit(self) -> None:
        at_commit = itertools.count(1)
        for number in range(len(KINDS)):
            self._begin_aside(self._commit_when_frozen, number, at_commit)
        super().wait_at_commit()

    def _commit_when_frozen(self, number: int, at_commit: Iterator[int]) -> None:
        owner, ids = self._owners[self.callers + number], _new_ids("block", self.randoms[number])
        with self.journal.call(self.flavour, -4, "commit", _trade_ids(owner, ids)), self._aside.transaction() as tx:
            for request_id in ids:
                tx.trades.deposit(owner.deposit("1", request_id=request_id))
            if next(at_commit) == len(KINDS):
                self._at_commit.set()
            self._go_on.wait()


HOLD_S: Final = 4.0
"""How long a transaction is held until all others are open. Below the limit of idle transactions."""


def _named(settings: Settings, name: str) -> Settings:
    return replace(settings, conninfo=make_conninfo(settings.conninfo, application_name=name))


def _name(settings: Settings) -> str:
    return str(conninfo_to_dict(settings.conninfo)["application_name"])


def _trade_ids(owner: AsyncOwner | Owner, request_ids: tuple[UUID, ...]) -> tuple[UUID, ...]:
    return tuple(trade_id_of(owner.agent_id, each) for each in request_ids)


def _new_ids(kind: str, chance: random.Random) -> tuple[UUID, ...]:
    count = {"deposit": 1, "block": 2, "pipeline": 2}.get(kind, 0)
    return tuple(UUID(int=chance.getrandbits(128), version=4) for _ in range(count))


def _together(functions: list[Callable[[], None]], when_begun: Callable[[], None] = lambda: None) -> None:
    threads = [threading.Thread(target=function, daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    when_begun()
    for thread in threads:
        thread.join()
