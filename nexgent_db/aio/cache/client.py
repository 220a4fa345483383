"""Calls of Redis or Valkey, each within a short time.

Every script compares the epoch, and every read fetches it beside the rows: see ``epoch``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import suppress
from typing import Any, Final
from uuid import uuid4

from hiredis import pack_command
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError

from nexgent_db._concurrency import async_deadline, reset_after_fork
from nexgent_db._text import described, visible
from nexgent_db.aio.cache.epoch import Epoch
from nexgent_db.aio.cache.invalidation import LocalCache
from nexgent_db.aio.cache.servers import FAILURES, TIMEOUT_S, IdleConnections, RedisServers
from nexgent_db.aio.cache.write_behind import WriteBehindQueue
from nexgent_db.aio.turns import take_turns
from nexgent_db.cache.batch import Batch, CacheTimestamp
from nexgent_db.cache.breaker import Breaker, CacheUnavailable
from nexgent_db.cache.keys import SCANNER_MS, CacheKeys
from nexgent_db.cache.scripts import Script, script

_LOG: Final = logging.getLogger("nexgent_db.cache")
_PACKED_AT_ONCE: Final = 1000
"""How many parts of a command one step makes into bytes: a millisecond or two."""


class CacheClient:
    """One namespace of one Redis or Valkey. A call takes TIMEOUT_S at most and is never repeated; a failure opens the
    breaker."""

    def __init__(self, url: str, keys: CacheKeys, local_rows: int = 0) -> None:
        self.keys = keys
        self.breaker = Breaker()
        self.calls = 0
        self._clock = 0.0  # the server's time minus the monotonic clock, in ms
        self._highest_sent = (b"", 0)
        self.epoch = Epoch(self)
        self.servers = RedisServers(url, self.epoch.handshake)
        self._connections = IdleConnections(self.servers)
        self._queue = WriteBehindQueue(self.servers, self._applied, lambda error: self.fail(error, committed=True))
        self.local = LocalCache(local_rows, self.servers, keys, self._is_verified) if local_rows else None
        reset_after_fork(self)

    def reset_after_fork(self) -> None:
        """In a child process: start anew, as when just opened. The parent's connections and calls stay its own, and a
        lock that another thread of the parent held is never released."""
        self.servers.reset_after_fork()
        self._queue.reset_after_fork()
        if self.local is not None:
            self.local.reset_after_fork()
        self._connections.reset_after_fork()
        self.breaker = Breaker()
        self.calls = 0
        self._highest_sent = (b"", 0)
        self.epoch.reset_after_fork()

    async def close(self) -> None:
        """Close every connection after the replies to all sent changes."""
        with suppress(CacheUnavailable):
            await self._queue.flush()
        if self.local is not None:
            await self.local.close()
        await self.disconnect()
        self.breaker.fail("closed", unapplied_write=True)

    async def disconnect(self) -> None:
        """Close the connections; one in use is closed when its call ends."""
        if await self._queue.disconnect():
            self.breaker.add_unapplied_write()
        await self._connections.close()

    # --- Calls ------------------------------------------------------------------------------------

    def now(self) -> CacheTimestamp:
        """The epoch and the server's time, never later than the server's clock."""
        return CacheTimestamp(self.epoch.current, int(time.monotonic() * 1000 + self._clock))

    def set_clock(self, server_ms: float) -> None:
        """Take over the server's time."""
        self._clock = server_ms - time.monotonic() * 1000

    async def call(self, *command: Any, committed: bool = False, reading: bool = False) -> Any:
        """One round trip, after the replies to all sent changes. Raises CacheUnavailable.

        With ``committed``, the breaker counts a failure as an unapplied write. ``reading`` requires that every change
        of this process was applied before.
        """
        packed = await _packed(command)
        return await self._in_time(
            lambda: self._connections.exchange(command[0], packed), committed=committed, reading=reading
        )

    async def run(
        self, wanted: Script, keys: Sequence[str], *arguments: Any, committed: bool = False, reading: bool = False
    ) -> Any:
        """Run a script, as ``call`` does; one more round trip loads a script that the server does not know."""
        packed = await _packed_run(wanted, keys, arguments)

        async def exchange() -> Any:
            try:
                return await self._connections.exchange("EVALSHA", packed)
            except NoScriptError:
                text = await _packed(("EVAL", wanted.text, len(keys), *keys, *arguments))
                return await self._connections.exchange("EVAL", text)

        return await self._in_time(exchange, committed=committed, reading=reading)

    async def _in_time(self, exchange: Callable[[], Awaitable[Any]], *, committed: bool, reading: bool) -> Any:
        """The reply, within TIMEOUT_S from here on; the flush of the queue counts."""
        try:
            async with async_deadline(TIMEOUT_S):
                await self._queue.flush()
                if reading and not self.breaker.may_read:
                    raise CacheUnavailable("a change of this process was not applied")
                self.calls += 1
                return await exchange()
        except CacheUnavailable:
            raise
        except Exception as error:  # not FAILURES alone: no error of the Redis client may fail a read
            raise self.fail(error, committed=committed) from error

    async def run_in_epoch(self, name: str, keys: Sequence[str], *arguments: Any) -> list[Any]:
        """Run a script that compares the epoch. Raises CacheUnavailable, also when another epoch has begun."""
        answer = await self.run(script(name), [self.keys.epoch, *keys], self.epoch.current, *arguments)
        if not isinstance(answer, list) or not answer or answer[0] == b"epoch":
            raise self.fail(RedisConnectionError("another epoch has begun"))
        return answer

    def _is_verified(self) -> bool:
        return self.breaker.answers and self.epoch.knows_server

    def fail(self, error: BaseException, *, committed: bool = False) -> CacheUnavailable:
        """Open the breaker after a failure; the error to raise. ``committed`` as in ``call``."""
        reason = visible(f"{type(error).__name__}: {error}")
        self.breaker.fail(reason, unapplied_write=committed)
        if not isinstance(error, FAILURES):
            _LOG.error("the cache's client failed: %s", described(error))
        self.servers.learn(error)
        self.clear_local()
        return CacheUnavailable(reason)

    # --- Reads ------------------------------------------------------------------------------------

    async def get(self, *keys: str, reading: bool = False) -> list[bytes | None]:
        """The values at the keys, in one round trip. Raises CacheUnavailable, also when another epoch has begun."""
        answer = await self.call("MGET", self.keys.epoch, *keys, reading=reading)
        if not isinstance(answer, list) or len(answer) != len(keys) + 1 or answer[0] != self.epoch.current:
            raise self.fail(RedisConnectionError("another epoch has begun"))
        return answer[1:]

    async def read(self, *keys: str) -> list[bytes | None]:
        """As ``get``, with every change of this process applied, or from the local cache. Raises CacheUnavailable."""
        if self.local is None:
            return await self.get(*keys, reading=True)
        store, epoch = self.local.store, self.epoch.current
        stored = store.find(epoch, keys)
        if stored is not None:
            return [*stored]
        load_token = store.begin_load(keys)
        try:
            values = await self.get(*keys, reading=True)
            store.store(epoch, keys, values, load_token)
        finally:
            store.end_load(keys, load_token)
        return values

    def clear_local(self) -> None:
        """Drop the local cache's rows: the next reads ask Redis."""
        if self.local is not None:
            self.local.store.clear()

    async def get_set(self, key: str, owner: str, prefix: str) -> tuple[list[bytes] | None, bytes]:
        """The rows of a complete set, in one round trip; else None and the load token to complete it with."""
        arguments = (self.epoch.current, key, owner, prefix, uuid4().hex)
        answer = await self.run(script("read_set"), [self.keys.epoch], *arguments, reading=True)
        match answer:
            case [b"rows", list(rows)]:
                return rows, b""
            case [b"incomplete", bytes(load_token)]:
                return None, load_token
        raise self.fail(RedisConnectionError(f"another epoch has begun: {str(answer)[:80]}"))

    async def scan(self, cursor: bytes, count: int, scanner: str = "") -> tuple[bytes, list[bytes]] | None:
        """Some of the namespace's keys and the next cursor, b"0" at the end. Raises CacheUnavailable.

        With a scanner's id it needs the scanner lease: None while another process holds it.
        """
        arguments = (scanner, SCANNER_MS, cursor, self.keys.pattern, count)
        answer = await self.run_in_epoch("scan", [self.keys.scanner], *arguments)
        return None if answer[0] == b"another" else (answer[1], answer[2])

    # --- Writes -----------------------------------------------------------------------------------

    @property
    def highest_sent(self) -> int:
        """The highest version that was sent in this epoch: every version that is given from now on is above it."""
        epoch, version = self._highest_sent
        return version if epoch == self.epoch.current else 0

    async def write(self, batch: Batch, started_at: CacheTimestamp, *, committed: bool) -> int:
        """Apply a batch in one round trip; the number of rows that became newer. Raises CacheUnavailable.

        A batch of an earlier epoch is not sent. ``committed`` as in ``call``.
        """
        keys, arguments = self._script_call(batch, started_at, committed=committed)
        sent = time.monotonic()
        try:
            answer = await self.run(script("write"), keys, *arguments, committed=committed)
        finally:
            self._forget_local(batch)
        try:
            return self._applied(answer, sent, time.monotonic())
        except RedisConnectionError as error:
            raise self.fail(error, committed=committed) from error

    async def send(self, batch: Batch, started_at: CacheTimestamp) -> None:
        """Send committed changes without waiting for the reply. Raises CacheUnavailable.

        A later call takes the reply; one that reads cached rows waits for it.
        """
        keys, arguments = self._script_call(batch, started_at, committed=True)
        self.calls += 1
        try:
            await self._queue.send(await _packed_run(script("write"), keys, arguments))
        finally:
            self._forget_local(batch)
        self._highest_sent = (started_at.epoch, max(self.highest_sent, batch.version))

    def _script_call(self, batch: Batch, started_at: CacheTimestamp, *, committed: bool) -> tuple[list[str], list[Any]]:
        if started_at.epoch != self.epoch.current:
            if committed:
                self.breaker.add_unapplied_write()
            raise CacheUnavailable("it started in an earlier epoch")
        return [self.keys.epoch, self.keys.watermark], [
            started_at.epoch,
            started_at.ms,
            batch.version,
            *batch.arguments,
        ]

    def _forget_local(self, batch: Batch) -> None:
        """The server reports these changes as well, but perhaps after the writer's next read."""
        if self.local is not None:
            self.local.store.forget(batch.arguments)

    def _applied(self, answer: Any, sent: float, read: float) -> int:
        """The number of rows that became newer. Raises RedisConnectionError for any other reply."""
        match answer:
            case [b"done", int(now), int(changed)]:
                # The difference of the clocks lies between these two. The smaller is safe; a late reply makes it small.
                least, most = now - read * 1000, now + 1 - sent * 1000
                if not least <= self._clock <= most:
                    self._clock = least
                return changed
        raise RedisConnectionError(f"not written: {str(answer)[:200]}")


async def _packed(command: tuple[Any, ...]) -> bytes:
    """The command's bytes. Raises CacheUnavailable for text that is not Unicode: that is no failure of Redis.

    hiredis gets text and bytes only: its own conversion of a number crashes when a signal handler raises during it.
    """
    if len(command) <= _PACKED_AT_ONCE:
        return _packed_part(command)
    slices = [command[start : start + _PACKED_AT_ONCE] for start in range(0, len(command), _PACKED_AT_ONCE)]
    parts = await take_turns(_packed_in_steps(slices))
    return b"".join([b"*%d\r\n" % len(command), *parts])


def _packed_part(command: tuple[Any, ...]) -> bytes:
    plain: Any = tuple(part if isinstance(part, str | bytes) else str(part) for part in command)
    try:
        packed: bytes = pack_command(plain)
    except UnicodeEncodeError:
        raise CacheUnavailable("text with half of a surrogate pair cannot be sent") from None
    return packed


def _packed_in_steps(slices: Sequence[tuple[Any, ...]]) -> Generator[None, None, list[bytes]]:
    """The bytes of each slice of a command, without the line that says how many parts it has."""
    parts = []
    for each in slices:
        yield
        parts.append(_packed_part(each).partition(b"\r\n")[2])
    return parts


async def _packed_run(wanted: Script, keys: Sequence[str], arguments: Sequence[Any]) -> bytes:
    """The bytes that run a script on a server that knows it."""
    return await _packed(("EVALSHA", wanted.sha, len(keys), *keys, *arguments))
