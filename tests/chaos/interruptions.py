"""``python -m tests.chaos.interruptions``: signals end calls wherever they are. Is a trade lost, or a slot?

More threads than connections use one database in one way (tests/integration/sync/callers.py). Python runs signal
handlers in the main thread: two thirds of its calls are ended, by SIGALRM, whose handler raises an exception of ours,
or by SIGINT, which raises KeyboardInterrupt, after 0 to 4 ms; or at the n-th place where Python looks for signals, in
our code or the driver's. Exit code 1 when something is found. Without servers in the environment it starts its own.
"""

from __future__ import annotations

import gc
import logging
import random
import signal
import sys
import threading
import time
from collections import Counter
from types import FrameType
from typing import Final

from nexgent_db import Database
from nexgent_db.errors import BlockMisuse
from nexgent_db.sync import session
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
from tests.integration.sync.callers import Caller, make_callers
from tests.support.faults.signal_points import Interrupted, SignalPoints

UNDISTURBED: Final = 1 / 3
MOST_PLACES: Final = 2000
CODE: Final = ("nexgent_db/", "psycopg/", "contextlib.py", "threading.py")
PAUSE_S: Final = 0.002
PATIENCE_S: Final = 0.01
"""How long a caller waits between calls that are refused at once."""


class Interrupter:
    """Ends what the main thread does, wherever it is, between :meth:`arm` and :meth:`disarm`."""

    def __init__(self) -> None:
        self._armed = False
        self.raised_at: float | None = None
        self.place = ""
        self.kind: type[BaseException] = Interrupted
        self._points = SignalPoints(*CODE, number=signal.SIGUSR1)
        self._sender = threading.Thread(target=self._send, daemon=True)
        self._wanted = threading.Event()
        self._delay_s = 0.0
        self._main = threading.get_ident()
        for number in (signal.SIGALRM, signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, self._handle)
        self._sender.start()

    def arm(self, chance: random.Random) -> None:
        """From now on, until :meth:`disarm`, one signal may come."""
        self.raised_at = None
        if chance.random() < 0.25:
            self._armed = True
            self._points.start(chance.randint(1, MOST_PLACES))
            return
        delay_s = chance.uniform(0, chance.choice((0.0005, 0.004)))
        kind = chance.choice((signal.SIGALRM, signal.SIGINT))
        self._armed = True
        if kind is signal.SIGALRM:
            signal.setitimer(signal.ITIMER_REAL, max(delay_s, 1e-6))
        else:
            self._delay_s = delay_s
            self._wanted.set()

    def disarm(self) -> None:
        """What comes now comes too late."""
        self._armed = False
        self._points.stop()
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._wanted.clear()

    def lands_in_a_destructor(self, error: BaseException | None) -> bool:
        """Python drops what is raised there: such a call was not interrupted."""
        if not isinstance(error, Interrupted | KeyboardInterrupt):
            return False
        self.raised_at = None
        return True

    def _send(self) -> None:
        while True:
            self._wanted.wait()
            time.sleep(self._delay_s)
            if self._wanted.is_set():
                self._wanted.clear()
                signal.pthread_kill(self._main, signal.SIGINT)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self._armed:
            return
        self._armed = False
        self.place = _place(frame)
        self.kind = KeyboardInterrupt if number == signal.SIGINT else Interrupted
        self.raised_at = time.monotonic()
        raise self.kind


def _place(frame: FrameType | None) -> str:
    places: list[str] = []
    while frame is not None and len(places) < 5:
        code = frame.f_code
        places.insert(0, f"{code.co_filename.rpartition('/')[2]}:{frame.f_lineno} {code.co_name}")
        frame = frame.f_back
    return " > ".join(places)


class Interruptions:
    """One run: a use of the database with one pool."""

    def __init__(self, place: Place, use: str, pool_size: int, seed: int, interrupter: Interrupter) -> None:
        self.figures = Figures("sync", use, pool_size, seed)
        self._place = place
        self._name = f"chaos {use} {pool_size} {seed}"
        self._probe = Probe(place.url)
        self._account = Account(self._probe)
        self._interrupter = interrupter
        self._chance = random.Random(f"{seed} signals")
        self._swallowed: Counter[str] = Counter()
        self._over = threading.Event()

    def run(self, interruptions: int) -> Figures:
        """Interrupt this many calls, then check what is left."""
        figures = self.figures
        with complaints_of(figures, self._interrupter.lands_in_a_destructor), self._probe:
            self._run(interruptions)
            gc.collect()
        # A signal may come between the making of a socket and its first name: then it closes itself, and says so.
        figures.complaints = [text for text in figures.complaints if "unclosed <socket" not in text]
        figures.swallowed, figures.probe_s = dict(self._swallowed), self._probe.longest_s()
        settle(self._account, figures, self._place, self._name)
        return figures

    def _run(self, interruptions: int) -> None:
        figures = self.figures
        settings = self._place.settings(figures.use, figures.pool_size, self._name)
        with Database(self._place.url) as setup:
            tenant = None
            if figures.use == "tenant":
                tenant = setup.users.create(f"{time.time_ns()}@example.org").id
            db = Database(settings, tenant=tenant)
            count = CALLERS_PER_CONNECTION * figures.pool_size
            caller, *others = make_callers(
                setup, db, self._account, count, figures.seed, rows=figures.rows_to_begin_with
            )
        with db:
            threads = [threading.Thread(target=self._work, args=(other,), daemon=True) for other in others]
            for thread in threads:
                thread.start()
            try:
                while figures.interrupted < interruptions and not self._account.pool_is_dead:
                    self._one(caller)
            finally:
                self._over.set()
            for thread in threads:
                thread.join(STUCK_S)
            self.figures.stuck += [str(thread) for thread in threads if thread.is_alive()]
            gc.collect()
            self._look_at_the_pool(db, caller)
        figures.left_open = count_sessions(self._place, self._name, 0)[0]

    def _work(self, caller: Caller) -> None:
        """A caller whom no signal ends."""
        while not self._over.is_set():
            try:
                caller.step(self.figures.use)
                time.sleep(PAUSE_S)  # the main thread is to have its turn as well
            except Exception as error:
                self._account.note(error)
                time.sleep(PATIENCE_S)

    def _one(self, caller: Caller) -> None:
        interrupter = self._interrupter
        disturbed = self._chance.random() >= UNDISTURBED
        error: BaseException | None = None
        try:
            if disturbed:
                interrupter.arm(self._chance)
            caller.step(self.figures.use)
            interrupter.disarm()
        except BaseException as raised:
            error = raised
        interrupter.disarm()
        self._note(error, time.monotonic())
        del error  # or this frame and its traceback keep each other, and what was interrupted, alive

    def _note(self, error: BaseException | None, ended_at: float) -> None:
        raised_at = self._interrupter.raised_at
        interrupted = isinstance(error, Interrupted | KeyboardInterrupt)
        if raised_at is not None:
            self._interrupter.raised_at = None
            self.figures.interrupted += 1
            took_s = self._account.took_s(raised_at, ended_at)
            if took_s > self.figures.longest_s:
                self.figures.longest_s, self.figures.longest_at = took_s, self._interrupter.place
            if not interrupted and (error is not None or self._interrupter.kind is KeyboardInterrupt):
                self._swallowed[f"{error!r:.100} at {self._interrupter.place}"] += 1
        if error is not None and not interrupted:
            self._account.note(error)
            if isinstance(error, BlockMisuse):  # nothing was asked of the server: the figure is to stay readable
                time.sleep(PATIENCE_S)

    def _look_at_the_pool(self, db: Database, caller: Caller) -> None:
        figures = self.figures
        started = time.monotonic()
        try:
            caller.look()
        except Exception as error:
            self._account.note(error)
        figures.first_call_s = time.monotonic() - started
        figures.slots = self._slots(db)
        figures.sessions, figures.unfinished = count_sessions(self._place, self._name, figures.pool_size)

    def _slots(self, db: Database) -> int:
        """How many callers hold a connection at the same time, out of as many as there should be."""
        held: list[None] = []
        all_held = threading.Barrier(self.figures.pool_size)

        def hold() -> None:
            try:
                with db.transaction():
                    held.append(None)
                    all_held.wait(2 * db.settings.pool_timeout_s)
            except Exception as error:
                self._account.note(error)

        threads = [threading.Thread(target=hold, daemon=True) for _ in range(self.figures.pool_size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(STUCK_S)
        return len(held)


def main() -> int:
    """Interrupt calls in every use; 1 when a fault was found."""
    options = parser_of("tests.chaos.interruptions", __doc__).parse_args()
    logging.getLogger().addHandler(logging.NullHandler())  # what is closed is logged, thousands of times
    session.FETCH_BATCH_SIZE = 10  # type: ignore[misc]  # streams fetch more than once
    interrupter = Interrupter()

    def run(place: Place, use: str, pool_size: int, seed: int, interruptions: int) -> Figures:
        return Interruptions(place, use, pool_size, seed, interrupter).run(interruptions)

    return run_all(options, run)


if __name__ == "__main__":
    sys.exit(main())
