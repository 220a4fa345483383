"""The circuit breaker: may the cache be read and written now, and which writes does it lack? Pure; thread-safe."""

from __future__ import annotations

from enum import Enum
from threading import Lock


class CacheUnavailable(Exception):
    """A call failed and the breaker is open: callers read the database."""


class State(Enum):
    """The breaker's state."""

    CLOSED = "closed"
    """The cache answers and holds every change of this process: reads and writes use it."""
    CATCHING_UP = "catching up"
    """The cache answers and takes writes, but is not read: earlier writes of this process are still in the outbox."""
    OPEN = "open"
    """The cache failed and has not been reached since: nothing uses it."""


class Breaker:
    """Opens at the first failure. A process with an unapplied write reads the database until the write is applied.

    The breaker then stops all reads of the cache, not only those of the keys concerned. That needs no memory while
    Redis is away, covers sets, cascades and transactions whose changes the process does not know, and lasts no longer:
    the outbox has to be relayed past the write in either case, and the process does that as soon as Redis is back. The
    same holds after every failure and in a new process: no later read is older than the moment Redis was reached.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._state = State.OPEN
        self._unapplied_writes = 0
        self.reason: str | None = "not connected yet"
        self.openings = 0

    @property
    def state(self) -> State:
        """The current state."""
        return self._state

    @property
    def may_read(self) -> bool:
        """Does the cache hold every change of this process?"""
        return self._state is State.CLOSED

    @property
    def answers(self) -> bool:
        """Did Redis answer the last call?"""
        return self._state is not State.OPEN

    def may_write(self) -> bool:
        """May a committed change be applied? When not, counts it as an unapplied write."""
        with self._lock:
            if self._state is State.OPEN:
                self._unapplied_writes += 1
                return False
            return True

    def fail(self, reason: str, *, unapplied_write: bool) -> None:
        """Open after a failure; ``unapplied_write`` when a committed change may not have been applied."""
        with self._lock:
            if self._state is not State.OPEN:
                self.openings += 1
            self._state = State.OPEN
            self._unapplied_writes += unapplied_write
            self.reason = reason

    def add_unapplied_write(self) -> None:
        """Count a committed change that is left to the outbox without a failure."""
        with self._lock:
            self._unapplied_writes += 1
            if self._state is State.CLOSED:
                self._state = State.CATCHING_UP

    def mark_reachable(self) -> None:
        """Redis answers again, and the cache belongs to this database."""
        with self._lock:
            if self._state is State.OPEN:
                self._state = State.CATCHING_UP
                self.reason = None

    @property
    def unapplied_writes(self) -> int:
        """How many writes were not applied since all had been."""
        return self._unapplied_writes

    def mark_caught_up(self, unapplied_writes: int) -> None:
        """Close: the given number of unapplied writes is applied by now. Does nothing when there are more."""
        with self._lock:
            if self._state is State.CATCHING_UP and self._unapplied_writes == unapplied_writes:
                self._state = State.CLOSED
                self._unapplied_writes = 0
