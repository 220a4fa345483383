"""Whether the cache may be used at this moment, and whether a change was kept from it. Pure; safe between threads."""

from __future__ import annotations

from enum import Enum
from threading import Lock


class CacheUnavailable(Exception):
    """A call failed and the breaker is open: callers go to the database."""


class State(Enum):
    """What may be done with the cache."""

    CLOSED = "closed"
    """All: it answers, and shows every change that this process has made."""
    CATCHING_UP = "catching up"
    """It answers and takes changes, but is not read: earlier ones of this process are still in the outbox."""
    OPEN = "open"
    """Nothing: it failed, and has not been found well since."""


class Breaker:
    """Opens at the first failure. A process whose change was not applied reads from the database until it was.

    It fences all of its reads then, not the keys it missed. That needs no memory while Redis is away, holds for sets,
    cascades and blocks whose changes it does not know, and lasts no longer: the outbox has to be drained past the
    change in either case, and the process does that itself as soon as Redis is back. After every failure, and in a
    process that has just begun: what it reads from then on is never older than when Redis was found.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._state = State.OPEN
        self._missed = 0
        self.reason: str | None = "not connected yet"
        self.openings = 0

    @property
    def state(self) -> State:
        """What may be done now."""
        return self._state

    @property
    def may_read(self) -> bool:
        """Does the cache show every change of this process?"""
        return self._state is State.CLOSED

    @property
    def answers(self) -> bool:
        """Did it answer when it was last asked?"""
        return self._state is not State.OPEN

    def may_write(self) -> bool:
        """May a committed change be applied? When not, it is remembered that one was missed."""
        with self._lock:
            if self._state is State.OPEN:
                self._missed += 1
                return False
            return True

    def fail(self, reason: str, *, missed: bool) -> None:
        """The cache failed; ``missed`` when a change may not have been applied."""
        with self._lock:
            if self._state is not State.OPEN:
                self.openings += 1
            self._state = State.OPEN
            self._missed += missed
            self.reason = reason

    def miss(self) -> None:
        """A change is left to the outbox, without a failure."""
        with self._lock:
            self._missed += 1
            if self._state is State.CLOSED:
                self._state = State.CATCHING_UP

    def found_well(self) -> None:
        """The cache answers again, and is of this database."""
        with self._lock:
            if self._state is State.OPEN:
                self._state = State.CATCHING_UP
                self.reason = None

    @property
    def missed(self) -> int:
        """How many changes were missed since all had been applied."""
        return self._missed

    def caught_up(self, missed: int) -> None:
        """As many changes as had been missed then are applied by now. More of them: nothing happens."""
        with self._lock:
            if self._state is State.CATCHING_UP and self._missed == missed:
                self._state = State.CLOSED
                self._missed = 0
