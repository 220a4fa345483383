# Generated from nexgent_db/aio/_near_cache.py by `make sync`: do not edit.
"""A cache in this process before the one in Redis: the server tells of every change, or nothing is believed.

It is told by client tracking, redirected to the very connection that asked for it, as messages of a channel: answers
that any client reads. The pushes of RESP3 say the same, but redis-py has no public way to them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from nexgent_db._background import Background, deadline
from nexgent_db._near_rows import NearRows
from nexgent_db.cache_keys import CacheKeys
from nexgent_db.sync._redis_servers import FAILURES, TIMEOUT_S, RedisServers

BELIEVED_S: Final = 0.9
"""For so long after a sign of life that changes are told, what is kept is believed: the bound of a hanging server."""
_PING_S: Final = 0.2
_PAUSE_S: Final = 0.5
"""Before the next attempt to listen."""
_CHANNEL: Final = "__redis__:invalidate"
_LOG: Final = logging.getLogger("nexgent_db.cache")


class NearCache:
    """Rows that were read not long ago, and a connection of its own over which the server tells what changed.

    ``CLIENT TRACKING`` in broadcasting mode: of every key that begins with the prefix, whoever changes it.
    ``is_well`` says whether the server that ``servers`` connects to is the one that was checked.
    """

    def __init__(self, most: int, servers: RedisServers, keys: CacheKeys, is_well: Callable[[], bool]) -> None:
        self.rows = NearRows(most)
        self._servers = servers
        self._keys = keys
        self._is_well = is_well
        self._background = Background()
        self._connection: Any = None
        self._closed = False
        self._refused: str | None = None

    def start(self) -> None:
        """Listen from now on, beside; again after each failure."""
        self._closed = False
        self._background.open()
        self._background.start(self._listen, _PAUSE_S, at_once=True)

    def cut(self) -> None:
        """Forget all and hang up: it may be another server from here on."""
        self.rows.close()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect(nowait=True)

    def close(self) -> None:
        """Stop listening."""
        self._closed = True
        self.cut()
        self._background.close()

    def _listen(self) -> bool:
        turn = self.rows.open()
        if self._closed or not self._is_well():
            return self._closed
        connection = None
        try:
            with deadline(TIMEOUT_S):
                connection = self._connection = self._servers.connect()
                me = _ask(connection, "CLIENT", "ID")
                _ask(connection, "CLIENT", "TRACKING", "ON", "REDIRECT", me, "BCAST", "PREFIX", self._keys.prefix)
                _ask(connection, "SUBSCRIBE", _CHANNEL)
            self._follow(connection, turn)
        except ResponseError as error:  # a right is missing, or the server does not know of it
            self._warn(str(error))
        except FAILURES as error:
            if self.rows.is_turn(turn):
                _LOG.info("the near cache is off: %s", error)
        finally:
            if self.rows.is_turn(turn):
                self.rows.close()
            if connection is not None:
                connection.disconnect(nowait=True)
        return self._closed

    def _warn(self, reason: str) -> None:
        """Once, though it is tried again and again."""
        if reason != self._refused:
            self._refused = reason
            _LOG.warning("the near cache stays off, the server does not tell of changes: %s", reason)

    def _follow(self, connection: Any, turn: object) -> None:
        """Take in what the server tells, and see that it lives. Raises when it does not."""
        asked, waiting = 0.0, False
        while self.rows.is_turn(turn):
            now = time.monotonic()
            if waiting and now >= asked + BELIEVED_S:
                raise RedisConnectionError("the server says nothing any more")
            if not waiting and now >= asked + _PING_S:
                asked, waiting = now, True
                connection.send_command("PING", check_health=False)
            answer = None
            with suppress(RedisTimeoutError):
                answer = connection.read_response(timeout=_PING_S, disconnect_on_error=False)
            match answer:
                case [b"message", _, changed]:
                    self._told(changed)
                case [b"pong", _]:  # what changed before it was asked for stands before it
                    waiting, self._refused = False, None
                    self.rows.believe(turn, asked + BELIEVED_S)

    def _told(self, changed: list[bytes] | None) -> None:
        """The keys; None after FLUSHALL. The epoch is above all that was cached in it."""
        if changed is None or self._keys.epoch.encode() in changed:
            self.rows.clear()
        else:
            self.rows.forget(key.decode(errors="replace") for key in changed)


def _ask(connection: Any, *command: Any) -> Any:
    connection.send_command(*command)
    return connection.read_response()
