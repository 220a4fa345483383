# Generated from nexgent_db/aio/cache/write_behind.py by `make sync`: do not edit.
"""Sends committed changes to Redis in their order, over one pipelined connection; reads the replies later."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from nexgent_db._concurrency import TimedLock, deadline
from nexgent_db.cache.breaker import CacheUnavailable
from nexgent_db.sync.cache.servers import TIMEOUT_S, RedisServers

_MAX_UNANSWERED: Final = 32
"""How many replies stay unread until a flush: to read them one by one would double the cost of a send."""


class PipelinedConnection:
    """A connection, and the send time of each command without a reply."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.unanswered: deque[float] = deque()
        self.sent = self.answered = 0
        self.failed = False

    def is_late(self) -> bool:
        """Is the first reply overdue?"""
        return bool(self.unanswered) and time.monotonic() >= self.unanswered[0] + TIMEOUT_S


class WriteBehindQueue:
    """A sender does not wait, so a slow or hanging Redis delays no trade. A reader flushes first, and learns whether
    all commands sent before were applied.

    ``receive`` is called with each reply, its command's send time, and its read time; it raises for a bad reply.
    ``fail`` is called with a failure before any reader can take the commands for applied, and makes the error to raise.
    No command is sent twice.
    """

    def __init__(
        self,
        servers: RedisServers,
        receive: Callable[[Any, float, float], object],
        fail: Callable[[BaseException], CacheUnavailable],
    ) -> None:
        self._servers = servers
        self._receive = receive
        self._fail = fail
        self._connection: PipelinedConnection | None = None
        self._sending = TimedLock()
        self._reading = TimedLock()

    def reset_after_fork(self) -> None:
        """In a child process: the parent's commands are not this process's."""
        self._connection = None
        self._sending = TimedLock()
        self._reading = TimedLock()

    def send(self, packed: bytes) -> None:
        """Send a command. Raises CacheUnavailable, also when an earlier command failed."""
        pipelined, sending = None, False
        try:
            with deadline(TIMEOUT_S), self._sending:
                pipelined = self._connection
                pipelined = self._ready(pipelined)
                sending = True
                pipelined.unanswered.append(time.monotonic())
                pipelined.sent += 1
                pipelined.connection.send_packed_command([packed], check_health=False)
                if pipelined.failed:
                    raise RedisConnectionError("disconnected while a change was sent")
        except Exception as error:
            raise self._failed(pipelined, error) from error
        except BaseException as error:  # the caller is cancelled
            if sending:
                self._failed(pipelined, error)
            raise

    def flush(self) -> None:
        """Wait for the replies to all sent commands. Raises CacheUnavailable when one failed."""
        pipelined = self._connection
        if pipelined is None or not pipelined.unanswered:
            return
        last = pipelined.sent
        try:
            with deadline(TIMEOUT_S), self._reading:
                while pipelined.answered < last and not pipelined.failed:
                    self._read(pipelined)
        except Exception as error:
            if not pipelined.failed:
                raise self._failed(pipelined, error) from error
        if pipelined.failed:
            raise CacheUnavailable("a change was not applied")

    def disconnect(self) -> bool:
        """Close the connection; whether a sent command had no reply yet."""
        pipelined, self._connection = self._connection, None
        if pipelined is None:
            return False
        _disconnect(pipelined)
        return bool(pipelined.unanswered)

    def _ready(self, pipelined: PipelinedConnection | None) -> PipelinedConnection:
        """The connection, after reading replies when too many are due; a new one when the server closed it."""
        if pipelined is not None:
            if pipelined.unanswered and not self._reading.locked():
                with self._reading:
                    self._read_due_replies(pipelined)
            if pipelined.unanswered or not _has_reply(pipelined):
                return pipelined
            pipelined.connection.disconnect(nowait=True)
        pipelined = self._connection = PipelinedConnection(self._servers.connect())
        return pipelined

    def _read_due_replies(self, pipelined: PipelinedConnection) -> None:
        unanswered = pipelined.unanswered
        if len(unanswered) < _MAX_UNANSWERED and not pipelined.is_late():
            return
        while unanswered and _has_reply(pipelined):
            self._read(pipelined)
        if pipelined.is_late():
            raise RedisTimeoutError("a change was not answered in time")

    def _read(self, pipelined: PipelinedConnection) -> None:
        # A cancelled read can be repeated.
        answer = pipelined.connection.read_response(disconnect_on_error=False)
        self._receive(answer, pipelined.unanswered[0], time.monotonic())
        pipelined.unanswered.popleft()
        pipelined.answered += 1

    def _failed(self, pipelined: PipelinedConnection | None, error: BaseException) -> CacheUnavailable:
        failure = self._fail(error)
        if pipelined is not None:
            if self._connection is pipelined:
                self._connection = None
            _disconnect(pipelined)
        return failure


def _disconnect(pipelined: PipelinedConnection) -> None:
    """Close the connection for good: every command without a reply has failed."""
    pipelined.failed = True
    with suppress(Exception):
        pipelined.connection.disconnect(nowait=True)


def _has_reply(pipelined: PipelinedConnection) -> bool:
    """Is there something to read, even if only the end of the stream?"""
    try:
        return bool(pipelined.connection.can_read())
    except Exception:  # the read reports it
        return True
