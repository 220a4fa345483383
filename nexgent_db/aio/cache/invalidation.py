"""The local cache: rows in this process, invalidated by Redis client tracking.

The server redirects the invalidations to the listening connection itself, as messages of a channel, which every client
can read. RESP3 pushes carry the same, but redis-py has no public access to them.
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

from nexgent_db._concurrency import AsyncBackground, async_deadline
from nexgent_db._text import described, visible
from nexgent_db.aio.cache.servers import FAILURES, TIMEOUT_S, RedisServers
from nexgent_db.cache.keys import CacheKeys
from nexgent_db.cache.local_store import LocalStore

VALID_S: Final = 0.9
"""How long rows stay valid after the server's last sign of life: the bound on stale reads while it hangs."""
_PING_S: Final = 0.2
_PAUSE_S: Final = 0.5
"""The pause before the next attempt to listen."""
_CHANNEL: Final = "__redis__:invalidate"
_LOG: Final = logging.getLogger("nexgent_db.cache")


class LocalCache:
    """Recently read rows, and a connection of its own over which the server reports changes.

    ``CLIENT TRACKING`` in broadcasting mode reports every key with the prefix, whichever client changes it.
    ``is_verified`` says whether the server that ``servers`` connects to is the verified one.
    """

    def __init__(self, max_rows: int, servers: RedisServers, keys: CacheKeys, is_verified: Callable[[], bool]) -> None:
        self.store = LocalStore(max_rows)
        self._servers = servers
        self._keys = keys
        self._is_verified = is_verified
        self._background = AsyncBackground()
        self._connection: Any = None
        self._closed = False
        self._refused: str | None = None

    def start(self) -> None:
        """Listen in the background; again after each failure."""
        self._closed = False
        self._background.open()
        self._background.start(self._listen, _PAUSE_S, at_once=True)

    def reset_after_fork(self) -> None:
        """In a child process: no change is reported until it listens itself."""
        self.store.reset_after_fork()
        self._background.reset_after_fork()
        self._connection = None

    async def disconnect(self) -> None:
        """Drop all rows and disconnect: the next server may be another one."""
        self.store.close()
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                await connection.disconnect(nowait=True)

    async def close(self) -> None:
        """Stop listening."""
        self._closed = True
        await self.disconnect()
        await self._background.close()

    async def _listen(self) -> bool:
        generation = self.store.open()
        if self._closed or not self._is_verified():
            return self._closed
        connection = None
        try:
            async with async_deadline(TIMEOUT_S):
                connection = self._connection = await self._servers.connect()
                me = await _ask(connection, "CLIENT", "ID")
                await _ask(connection, "CLIENT", "TRACKING", "ON", "REDIRECT", me, "BCAST", "PREFIX", self._keys.prefix)
                await _ask(connection, "SUBSCRIBE", _CHANNEL)
            await self._receive(connection, generation)
        except ResponseError as error:  # a right is missing, or the server has no client tracking
            self._warn(visible(str(error)))
        except Exception as error:
            if not isinstance(error, FAILURES):
                _LOG.error("the cache's client failed: %s", described(error))
            if self.store.is_current(generation):
                _LOG.info("the local cache is off: %s", visible(str(error)))
        finally:
            if self.store.is_current(generation):
                self.store.close()
            if connection is not None:
                with suppress(Exception):
                    await connection.disconnect(nowait=True)
        return self._closed

    def _warn(self, reason: str) -> None:
        """Log each reason once, though the listener tries again and again."""
        if reason != self._refused:
            self._refused = reason
            _LOG.warning("the local cache stays off, the server does not report changes: %s", reason)

    async def _receive(self, connection: Any, generation: object) -> None:
        """Process the server's reports, and make sure that it lives. Raises when it does not."""
        pinged_at, waiting = 0.0, False
        while self.store.is_current(generation):
            now = time.monotonic()
            if waiting and now >= pinged_at + VALID_S:
                raise RedisConnectionError("the server has stopped answering")
            if not waiting and now >= pinged_at + _PING_S:
                pinged_at, waiting = now, True
                async with async_deadline(TIMEOUT_S):
                    await connection.send_command("PING", check_health=False)
            answer = None
            with suppress(RedisTimeoutError, TimeoutError):
                async with async_deadline(_PING_S):
                    answer = await connection.read_response(disconnect_on_error=False)
            match answer:
                case [b"message", _, changed]:
                    self._invalidate(changed)
                case [b"pong", _]:  # the reports of all changes before the PING come before it
                    waiting, self._refused = False, None
                    self.store.mark_valid(generation, pinged_at + VALID_S)

    def _invalidate(self, changed: list[bytes] | None) -> None:
        """Drop the rows of these keys; all of them after FLUSHALL (None) or a change of the epoch."""
        if changed is None or self._keys.epoch.encode() in changed:
            self.store.clear()
        else:
            self.store.forget(key.decode(errors="replace") for key in changed)


async def _ask(connection: Any, *command: Any) -> Any:
    await connection.send_command(*command)
    return await connection.read_response()
