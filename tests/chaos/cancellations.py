"""``python -m tests.chaos.cancellations``: tasks are cancelled wherever they are. Is a trade lost, or a connection?

More callers than connections use one database in one way (tests/integration/aio/callers.py). Two thirds of their calls,
at times all, are cancelled: after 0 to 4 ms, after some turns of the loop, or at the n-th time that the call waits,
before what it waits for has come or just as it comes; once, twice, or at every turn until it has ended, as anyio does.
Exit code 1 when something is found. Without servers in the environment it starts its own.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import sys
import time
from collections import Counter
from collections.abc import Coroutine
from typing import Any, Final

from nexgent_db import AsyncDatabase
from nexgent_db.aio import session
from tests.chaos.accounting import (
    CALLERS_PER_CONNECTION,
    STUCK_S,
    Account,
    Figures,
    Place,
    complaints_of,
    count_sessions,
    settle,
)
from tests.chaos.commandline import parser_of, run_all
from tests.chaos.probe import Probe
from tests.integration.aio.callers import Caller, make_callers
from tests.support.faults.suspensions import Suspensions

UNDISTURBED: Final = 1 / 3
STRETCH: Final = 100
"""In every second stretch of so many cancellations all calls are cancelled: nobody takes what others left."""
_EVER: Final = 10**9


class Cancellation:
    """One task and when it is cancelled."""

    def __init__(self, work: Coroutine[Any, Any, None], chance: random.Random, undisturbed: float) -> None:
        self._chance = chance
        self._loop = asyncio.get_running_loop()
        self._suspensions = Suspensions(work)
        self.task = self._loop.create_task(self._suspensions.run())
        self.task.add_done_callback(self._end)
        self.cancelled_at: float | None = None
        self.ended_at = 0.0
        self.place = ""
        self._again = chance.choices((0, 1, _EVER), (8, 1, 1))[0]
        if chance.random() >= undisturbed:
            chance.choice((self._after_a_time, self._after_turns, self._at_a_suspension))()

    def _after_a_time(self) -> None:
        self._loop.call_later(self._chance.uniform(0, 0.004), self._cancel)

    def _after_turns(self) -> None:
        self._count_down(self._chance.randrange(60))

    def _at_a_suspension(self) -> None:
        self._suspensions.at(self._chance.randint(1, 40), self._cancel, as_it_ends=self._chance.random() < 0.5)

    def _count_down(self, turns: int) -> None:
        if turns == 0:
            self._cancel()
        else:
            self._loop.call_soon(self._count_down, turns - 1)

    def _cancel(self) -> None:
        if self.task.done():
            return
        if self.cancelled_at is None:
            self.place = self._suspensions.place()
            self.cancelled_at = time.monotonic()
        elif self._again == 0:
            return
        else:
            self._again -= 1
        self.task.cancel()
        if self._again:
            self._loop.call_soon(self._cancel)

    def _end(self, _: object) -> None:
        self.ended_at = time.monotonic()
        self._suspensions.close()


class Cancellations:
    """One run: a use of the database with one pool."""

    def __init__(self, place: Place, use: str, pool_size: int, seed: int) -> None:
        self.figures = Figures("async", use, pool_size, seed)
        self._place = place
        self._name = f"chaos {use} {pool_size} {seed}"
        self._probe = Probe(place.url)
        self._account = Account(self._probe)
        self._swallowed: Counter[str] = Counter()
        self._over = False

    async def run(self, interruptions: int) -> Figures:
        """Cancel this many calls, then check what is left."""
        figures = self.figures
        asyncio.get_running_loop().set_exception_handler(self._complain)
        with complaints_of(figures), self._probe:
            await self._run(interruptions)
            gc.collect()
            await asyncio.sleep(0)
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            figures.complaints += [f"a task is left: {task}" for task in rest]
        figures.swallowed, figures.probe_s = dict(self._swallowed), self._probe.longest_s()
        settle(self._account, figures, self._place, self._name)
        return figures

    async def _run(self, interruptions: int) -> None:
        figures = self.figures
        settings = self._place.settings(figures.use, figures.pool_size, self._name)
        async with AsyncDatabase(self._place.url) as setup:
            tenant = None
            if figures.use == "tenant":
                tenant = (await setup.users.create(f"{time.time_ns()}@example.org")).id
            db = AsyncDatabase(settings, tenant=tenant)
            count = CALLERS_PER_CONNECTION * figures.pool_size
            callers = await make_callers(setup, db, self._account, count, figures.seed, rows=figures.rows_to_begin_with)
        async with db:
            await asyncio.gather(*(self._work(caller, number, interruptions) for number, caller in enumerate(callers)))
            gc.collect()  # streams that were left
            await self._look_at_the_pool(db, callers[0])
        figures.left_open = count_sessions(self._place, self._name, 0)[0]

    async def _work(self, caller: Caller, number: int, interruptions: int) -> None:
        chance = random.Random(f"{self.figures.seed} {number}")
        while self.figures.interrupted < interruptions and not self._over:
            undisturbed = UNDISTURBED if self.figures.interrupted // STRETCH % 2 == 0 else 0
            cancellation = Cancellation(caller.step(self.figures.use), chance, undisturbed)
            done, _ = await asyncio.wait({cancellation.task}, timeout=STUCK_S)
            if not done:
                self._over = True
                self.figures.stuck.append(str(cancellation.task.get_stack()))
                return
            self._note(cancellation)
            self._over = self._over or self._account.pool_is_dead

    def _note(self, cancellation: Cancellation) -> None:
        task = cancellation.task
        error = None if task.cancelled() else task.exception()
        if cancellation.cancelled_at is None:
            if task.cancelled():
                self._account.wrong.append("a call was cancelled by itself")
        else:
            self.figures.interrupted += 1
            took_s = self._account.took_s(cancellation.cancelled_at, cancellation.ended_at)
            if took_s > self.figures.longest_s:
                self.figures.longest_s, self.figures.longest_at = took_s, cancellation.place
            if not task.cancelled():
                self._swallowed[f"{error!r:.100} at {cancellation.place}"] += 1
        if error is not None:
            self._account.note(error)

    async def _look_at_the_pool(self, db: AsyncDatabase, caller: Caller) -> None:
        figures = self.figures
        started = time.monotonic()
        try:
            await caller.look()
        except Exception as error:
            self._account.note(error)
        figures.first_call_s = time.monotonic() - started
        figures.slots = await self._slots(db)
        figures.sessions, figures.unfinished = await asyncio.to_thread(
            count_sessions, self._place, self._name, figures.pool_size
        )

    async def _slots(self, db: AsyncDatabase) -> int:
        """How many callers hold a connection at the same time, out of as many as there should be."""
        held = 0
        all_held = asyncio.Event()

        async def hold() -> None:
            nonlocal held
            async with db.transaction():
                held += 1
                if held == self.figures.pool_size:
                    all_held.set()
                await asyncio.wait_for(all_held.wait(), 2 * db.settings.pool_timeout_s)

        results = await asyncio.gather(*(hold() for _ in range(self.figures.pool_size)), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                self._account.note(result)
        return held

    def _complain(self, _: object, context: dict[str, Any]) -> None:
        self.figures.complaints.append(f"{context.get('message')}: {context.get('exception')!r}")


def main() -> int:
    """Cancel calls in every use; 1 when a fault was found."""
    parser = parser_of("tests.chaos.cancellations", __doc__)
    parser.add_argument("--uvloop", action="store_true", help="with this loop instead of asyncio's own")
    options = parser.parse_args()
    logging.getLogger().addHandler(logging.NullHandler())  # what is closed is logged, thousands of times
    session.FETCH_BATCH_SIZE = 10  # type: ignore[misc]  # streams fetch more than once

    def run(place: Place, use: str, pool_size: int, seed: int, interruptions: int) -> Figures:
        with asyncio.Runner(loop_factory=_uvloop() if options.uvloop else None) as runner:
            return runner.run(Cancellations(place, use, pool_size, seed).run(interruptions))

    return run_all(options, run)


def _uvloop() -> Any:
    import uvloop

    return uvloop.new_event_loop


if __name__ == "__main__":
    sys.exit(main())
