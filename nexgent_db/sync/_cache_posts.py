# Generated from nexgent_db/aio/_cache_posts.py by `make sync`: do not edit.
"""Committed changes on their way to Redis: sent in their order over one connection, their answers read later."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from nexgent_db._background import deadline
from nexgent_db._breaker import CacheUnavailable
from nexgent_db.sync._redis_servers import FAILURES, TIMEOUT_S, RedisServers

_MOST_UNANSWERED: Final = 32
"""So many answers are left unread while nobody asks: to read them one by one would double what a post costs."""
_FAILURES: Final = (*FAILURES, AttributeError)
"""The last is what the client makes of a connection that another thread has closed meanwhile."""


class _Wire:
    """One connection, and when each command was sent that has not been answered."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.unanswered: deque[float] = deque()
        self.sent = self.answered = 0
        self.failed = False

    def is_late(self) -> bool:
        """Should the first answer have come by now?"""
        return bool(self.unanswered) and time.monotonic() >= self.unanswered[0] + TIMEOUT_S


class Posts:
    """Whoever posts does not wait, so that no trade is held up by a Redis that is slow or hangs; whoever is about to
    read settles first, and learns whether all that was posted before has been applied.

    ``hear`` is called with each answer, when it was posted, and when it was read; it raises for a bad one. ``fail`` is
    called with what failed, before anybody can take what was posted for applied, and makes the error to be raised.
    Nothing is sent twice.
    """

    def __init__(
        self,
        servers: RedisServers,
        hear: Callable[[Any, float, float], object],
        fail: Callable[[BaseException], CacheUnavailable],
    ) -> None:
        self._servers = servers
        self._hear = hear
        self._fail = fail
        self._wire: _Wire | None = None
        self._sending = threading.Lock()
        self._reading = threading.Lock()

    def post(self, packed: bytes) -> None:
        """Send a command. Raises CacheUnavailable, also for one that was posted before and failed."""
        with self._sending:
            wire = self._wire
            try:
                with deadline(TIMEOUT_S):
                    wire = self._ready(wire)
                    wire.unanswered.append(time.monotonic())
                    wire.sent += 1
                    wire.connection.send_packed_command([packed], check_health=False)
                if wire.failed:
                    raise RedisConnectionError("hung up while a change was sent")
            except _FAILURES as error:
                raise self._failed(wire, error) from error

    def settle(self) -> None:
        """Wait until what was posted before has been answered. Raises CacheUnavailable when some of it failed."""
        wire = self._wire
        if wire is None or not wire.unanswered:
            return
        last = wire.sent
        with self._reading:
            try:
                with deadline(TIMEOUT_S):
                    while wire.answered < last and not wire.failed:
                        self._read(wire)
            except _FAILURES as error:
                if not wire.failed:
                    raise self._failed(wire, error) from error
        if wire.failed:
            raise CacheUnavailable("a change was not applied")

    def hang_up(self) -> bool:
        """Close the connection; whether something was posted that had not been answered."""
        wire, self._wire = self._wire, None
        if wire is None:
            return False
        wire.failed = True
        wire.connection.disconnect(nowait=True)
        return bool(wire.unanswered)

    def _ready(self, wire: _Wire | None) -> _Wire:
        """The connection, now and then with what has come in read from it; another one when the server closed it."""
        if wire is not None:
            if wire.unanswered and not self._reading.locked():
                with self._reading:
                    self._read_what_is_due(wire)
            if wire.unanswered or not _has_come(wire):
                return wire
            wire.connection.disconnect(nowait=True)
        wire = self._wire = _Wire(self._servers.connect())
        return wire

    def _read_what_is_due(self, wire: _Wire) -> None:
        unanswered = wire.unanswered
        if len(unanswered) < _MOST_UNANSWERED and not wire.is_late():
            return
        while unanswered and _has_come(wire):
            self._read(wire)
        if wire.is_late():
            raise RedisTimeoutError("a change was not answered in time")

    def _read(self, wire: _Wire) -> None:
        # Given up in the middle, it can be read again.
        answer = wire.connection.read_response(disconnect_on_error=False)
        self._hear(answer, wire.unanswered[0], time.monotonic())
        wire.unanswered.popleft()
        wire.answered += 1

    def _failed(self, wire: _Wire | None, error: BaseException) -> CacheUnavailable:
        told = self._fail(error)
        if wire is not None:
            wire.failed = True
            if self._wire is wire:
                self._wire = None
            wire.connection.disconnect(nowait=True)
        return told


def _has_come(wire: _Wire) -> bool:
    """Is there something to read, if only the end?"""
    try:
        return bool(wire.connection.can_read())
    except _FAILURES:
        return True
