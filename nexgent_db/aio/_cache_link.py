"""The way to Redis or Valkey: one call at a time within a short time, and whether what is there can be believed.

The key ``epoch`` says of which Redis process and of which database everything below the prefix is. Every script
compares it, every read fetches it beside the rows. A process that was started again with an old dump, a replica that
was promoted, a master that was one for a while, and a database that went back to an earlier state are all another
epoch: what was cached is deleted first.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final
from uuid import uuid4

from hiredis import pack_command
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError

from nexgent_db._background import async_deadline
from nexgent_db._breaker import Breaker, CacheUnavailable
from nexgent_db._cache_rows import CLOSED, Batch, Moment
from nexgent_db._cache_scripts import Script, script
from nexgent_db.aio._cache_posts import Posts
from nexgent_db.aio._near_cache import NearCache
from nexgent_db.aio._redis_servers import FAILURES, TIMEOUT_S, RedisServers
from nexgent_db.cache_keys import HELPERS, SWEEPER_MS, CacheKeys
from nexgent_db.models.cache import DatabaseIdentity

MOST_IDLE: Final = 32
"""How many connections are kept for later."""
_SCANNED: Final = 1000
_RESETTER_MS: Final = 5000
_TOLD: Final = re.compile(rb"^(\w+):(\w+)", re.MULTILINE)
_ANOTHER: Final = "another server, or the same started again or made to follow another"
_LOG: Final = logging.getLogger("nexgent_db.cache")


class CacheLink:
    """One namespace of one Redis or Valkey. Every call takes at the most TIMEOUT_S, is never repeated, and opens the
    breaker when it fails."""

    def __init__(self, url: str, keys: CacheKeys, near_rows: int = 0) -> None:
        self.keys = keys
        self.breaker = Breaker()
        self.database: DatabaseIdentity | None = None
        self.resets = 0
        self.calls = 0
        self._epoch = b""
        self._server: bytes | None = None
        self._pattern = re.sub(r"([\\*?\[\]])", r"\\\1", keys.prefix) + "*"
        self._clock = 0.0  # what to add to the monotonic clock for the server's time, in ms
        self._idle: deque[Any] = deque()
        self._checking = asyncio.Lock()
        self._servers = RedisServers(url, self._greet)
        self._posts = Posts(self._servers, self._written, lambda error: self._failed(error, missed=True))
        self.near = NearCache(near_rows, self._servers, keys, self._is_well) if near_rows else None

    async def close(self) -> None:
        """Close every connection, after what was sent was answered."""
        with suppress(CacheUnavailable):
            await self._posts.settle()
        if self.near is not None:
            await self.near.close()
        await self._disconnect()
        self.breaker.fail("closed", missed=True)

    @property
    def epoch(self) -> bytes:
        """Whose what is cached is, as this process knows it; b"" before it was found."""
        return self._epoch

    # --- Calls ----------------------------------------------------------------------------------

    def now(self) -> Moment:
        """The server's clock, rather too early than too late; and the epoch."""
        return Moment(self._epoch, int(time.monotonic() * 1000 + self._clock))

    async def call(self, *command: Any, missed: bool = False) -> Any:
        """One round trip, after what was posted. Raises CacheUnavailable; ``missed`` tells the breaker that a change is
        lost then."""
        await self._posts.settle()
        self.calls += 1
        packed = _packed(command)
        try:
            async with async_deadline(TIMEOUT_S):
                return await self._exchange(command[0], packed)
        except FAILURES as error:
            raise self._failed(error, missed=missed) from error

    async def run(self, wanted: Script, keys: Sequence[str], *arguments: Any, missed: bool = False) -> Any:
        """Run a script: as ``call``; one round trip more for a server that forgot it. Raises CacheUnavailable."""
        await self._posts.settle()
        self.calls += 1
        packed = _packed_run(wanted, keys, arguments)
        try:
            async with async_deadline(TIMEOUT_S):
                try:
                    return await self._exchange("EVALSHA", packed)
                except NoScriptError:
                    packed = _packed(("EVAL", wanted.text, len(keys), *keys, *arguments))
                    return await self._exchange("EVAL", packed)
        except FAILURES as error:
            raise self._failed(error, missed=missed) from error

    async def _exchange(self, name: str, packed: bytes) -> Any:
        """Send a command and read its answer. What the client does around that would cost as much as a trade may."""
        kept = self._idle
        connection = await self._connected(kept)
        answered = False
        try:
            await connection.send_packed_command([packed], check_health=False)
            answer = await self._servers.read(connection, name)
            answered = True
        except ResponseError:  # an answer as well
            answered = True
            raise
        finally:
            if answered and kept is self._idle and len(kept) < MOST_IDLE:
                kept.append(connection)
            else:
                await connection.disconnect(nowait=True)
        return answer

    async def _connected(self, kept: deque[Any]) -> Any:
        while kept:
            connection = kept.pop()
            with suppress(RedisError, OSError):  # the server closed it meanwhile
                if not await connection.can_read():
                    return connection
            await connection.disconnect(nowait=True)
        return await self._servers.connect()

    async def _disconnect(self) -> None:
        """Close the connections, and those that are in use when they are given back."""
        if await self._posts.hang_up():
            self.breaker.miss()
        kept, self._idle = self._idle, deque()
        for connection in kept:
            await connection.disconnect(nowait=True)

    async def ask(self, name: str, keys: Sequence[str], *arguments: Any) -> list[Any]:
        """Run the script of that name, which compares the epoch; its answer. Raises CacheUnavailable."""
        answer = await self.run(script(name), [self.keys.epoch, *keys], self._epoch, *arguments)
        if not isinstance(answer, list) or not answer or answer[0] == b"epoch":
            raise self._failed(RedisConnectionError("another epoch has begun"), missed=False)
        return answer

    def _is_well(self) -> bool:
        return self.breaker.answers and self._server is not None

    def _failed(self, error: BaseException, *, missed: bool) -> CacheUnavailable:
        reason = f"{type(error).__name__}: {error}"
        self._servers.learn(error)
        self.breaker.fail(reason, missed=missed)
        self.forget_near()
        return CacheUnavailable(reason)

    async def get(self, *keys: str) -> list[bytes | None]:
        """The values at the keys, in one round trip. Raises CacheUnavailable, also when another epoch has begun."""
        epoch, *values = await self.call("MGET", self.keys.epoch, *keys)
        if epoch != self._epoch:
            raise self._failed(RedisConnectionError("another epoch has begun"), missed=False)
        return list(values)

    async def read(self, *keys: str) -> list[bytes | None]:
        """The same, from the near cache if the server has told of no change since it answered to these keys."""
        if self.near is None:
            await self._settle()
            return await self.get(*keys)
        rows, epoch = self.near.rows, self._epoch
        known = rows.find(epoch, keys)
        if known is not None:
            return [*known]
        mark = rows.begin(keys)
        try:
            await self._settle()
            values = await self.get(*keys)
            rows.keep(epoch, keys, values, mark)
        finally:
            rows.end(keys, mark)
        return values

    async def _settle(self) -> None:
        """See that every change of this process was applied. Raises CacheUnavailable, also when another caller found
        that one was not."""
        await self._posts.settle()
        if not self.breaker.may_read:
            raise CacheUnavailable("a change of this process was not applied")

    def forget_near(self) -> None:
        """Ask Redis again for whatever is read from now on."""
        if self.near is not None:
            self.near.rows.clear()

    async def get_set(self, key: str, tag: str, beginning: str) -> tuple[list[bytes] | None, bytes]:
        """A complete set's rows in one round trip; else None, and the token to complete it with."""
        await self._settle()
        answer = await self.run(script("read_set"), [self.keys.epoch], self._epoch, key, tag, beginning, uuid4().hex)
        match answer:
            case [b"rows", list(rows)]:
                return rows, b""
            case [b"incomplete", bytes(token)]:
                return None, token
        raise self._failed(RedisConnectionError(f"another epoch has begun: {str(answer)[:80]}"), missed=False)

    async def scan(self, cursor: bytes, count: int, walker: str = "") -> tuple[bytes, list[bytes]] | None:
        """Some of the namespace's keys and where to go on, b"0" at the end. Raises CacheUnavailable.

        Whoever says that he is a walker takes turns: None while it is another's.
        """
        answer = await self.ask("scan", [self.keys.sweeper], walker, SWEEPER_MS, cursor, self._pattern, count)
        return None if answer[0] == b"another" else (answer[1], answer[2])

    async def size(self) -> int:
        """How many keys the server has, about: other namespaces count as well. Raises CacheUnavailable."""
        return int(await self.call("DBSIZE"))

    async def write(self, batch: Batch, began: Moment, *, missed: bool) -> int:
        """Bring a batch into the cache in one round trip; how many rows became newer. Raises CacheUnavailable.

        What began in an earlier epoch is not sent: the breaker is told that it was missed, if it matters.
        """
        keys, arguments = self._to_write(batch, began, missed=missed)
        sent = time.monotonic()
        try:
            answer = await self.run(script("write"), keys, *arguments, missed=missed)
        finally:
            self._forget_near(batch)
        try:
            return self._written(answer, sent, time.monotonic())
        except RedisConnectionError as error:
            raise self._failed(error, missed=missed) from error

    async def post(self, batch: Batch, began: Moment) -> None:
        """Send what was committed, as ``write`` does. Raises CacheUnavailable.

        The answer is read by the next call; one that reads what is cached waits for it.
        """
        keys, arguments = self._to_write(batch, began, missed=True)
        self.calls += 1
        try:
            await self._posts.post(_packed_run(script("write"), keys, arguments))
        finally:
            self._forget_near(batch)

    def _to_write(self, batch: Batch, began: Moment, *, missed: bool) -> tuple[list[str], list[Any]]:
        if began.epoch != self._epoch:
            if missed:
                self.breaker.miss()
            raise CacheUnavailable("it began in an earlier epoch")
        return [self.keys.epoch, self.keys.watermark], [began.epoch, began.ms, batch.version, *batch.arguments]

    def _forget_near(self, batch: Batch) -> None:
        """The server tells of it as well, but that may come after the writer went on."""
        if self.near is not None:
            self.near.rows.forget(batch.arguments)

    def _written(self, answer: Any, sent: float, read: float) -> int:
        """How many rows became newer. Raises RedisConnectionError for what is no success."""
        match answer:
            case [b"done", int(now), int(changed)]:
                # Between these two lies what the clocks differ by. The smaller is safe; close, unless it was read late.
                least, most = now - read * 1000, now + 1 - sent * 1000
                if not least <= self._clock <= most:
                    self._clock = least
                return changed
        raise RedisConnectionError(f"not written: {str(answer)[:200]}")

    # --- Whose it is ----------------------------------------------------------------------------

    async def _greet(self, connection: Any) -> None:
        """At each new connection: log in, see that it is the server that was checked, and give it the scripts."""
        try:
            await connection.on_connect()
            await connection.send_command("INFO", "server")
            await connection.send_command("INFO", "replication")
            for name in ("read_set", "write", "swap"):
                await connection.send_command("SCRIPT", "LOAD", script(name).text)
            told = await connection.read_response() + await connection.read_response()
            for _ in range(3):
                await connection.read_response()
        except BaseException:
            await connection.disconnect()
            raise
        if self._server is not None and _server_of(dict(_TOLD.findall(told))) != self._server:
            await connection.disconnect()
            raise RedisConnectionError(_ANOTHER)

    async def check(self, identify: Callable[[], Awaitable[DatabaseIdentity]]) -> bool:
        """Whether what is cached is this database's: opens the breaker's way back. Deletes first what is not.

        False while another process deletes. Raises CacheUnavailable, and what ``identify`` raises.
        """
        async with self._checking:  # the probe, and whoever calls for the whole cache, may come at the same time
            return self.breaker.answers or await self._check(identify)

    async def _check(self, identify: Callable[[], Awaitable[DatabaseIdentity]]) -> bool:
        self._server = None
        await self._disconnect()
        if self.near is not None:
            await self.near.cut()
        try:
            await self._servers.find()
        except FAILURES as error:
            raise self._failed(error, missed=False) from error
        self._server = await self._identity()
        seconds, microseconds = await self.call("TIME")
        self._clock = int(seconds) * 1000 + int(microseconds) // 1000 - time.monotonic() * 1000
        seen, watermark = await self.call("MGET", self.keys.epoch, self.keys.watermark)
        database = self.database = await identify()  # after the watermark: it may have risen
        name = self._server + b" " + database.name.encode()
        went_back = _version(watermark) > database.last_version
        if seen is not None and seen.startswith(b"ready " + name + b" ") and not went_back:
            self._epoch = seen
        elif not await self._reset(seen, name):
            return False
        elif seen is not None:
            _LOG.warning("the cache was emptied: what it held was of another server or database, or of its future")
        self.breaker.found_well()
        if self.near is not None:
            self.near.start()
        return True

    async def check_server(self) -> None:
        """See that nothing between us and the server has put another in its place. Raises CacheUnavailable."""
        if await self._identity() != self._server:
            raise self._failed(RedisConnectionError(_ANOTHER), missed=False)
        if await self._servers.moved():
            raise self._failed(RedisConnectionError("Sentinel names another master"), missed=False)

    async def _identity(self) -> bytes:
        answer = await self.call("INFO")
        info = answer if isinstance(answer, dict) else {}
        found = _server_of({str(name).encode(): str(value).encode() for name, value in info.items()})
        if found is None:
            reason = "the server is a replica, or does not tell its run_id"
            raise self._failed(RedisConnectionError(reason), missed=False)
        return found

    async def watermark(self) -> int:
        """The highest version that was cached. Raises CacheUnavailable, also when another epoch has begun."""
        return _version((await self.get(self.keys.watermark))[0])

    async def distrust(self, reason: str) -> None:
        """Let nobody believe what is cached, from now on until the next check. Never raises."""
        with suppress(CacheUnavailable):
            await self.call("SET", self.keys.epoch, f"unknown {uuid4().hex}")
        self._epoch = b""
        self.forget_near()
        self.breaker.fail(reason, missed=False)

    async def reset(self) -> bool:
        """Delete what is cached, of every process. False while another one does. Raises CacheUnavailable."""
        seen, name = self._epoch, b" ".join(self._epoch.split(b" ")[1:3])
        return await self._reset(seen, name)

    async def _reset(self, seen: bytes | None, name: bytes) -> bool:
        lease = f"{self.keys.epoch}:resetter"
        if not await self.call("SET", lease, uuid4().hex, "NX", "PX", _RESETTER_MS):
            return False
        nonce = uuid4().hex[:12].encode()
        resetting, ready = b"resetting " + name + b" " + nonce, b"ready " + name + b" " + nonce
        swap = script("swap")
        if await self.run(swap, [self.keys.epoch], seen or b"", resetting) != 1:
            await self.call("UNLINK", lease)
            return False
        self.forget_near()
        kept = tuple((self.keys.prefix + helper).encode() for helper in HELPERS)
        spared = (*kept, self.keys.epoch.encode())
        cursor = 0
        while True:
            cursor, found = await self.call("SCAN", cursor, "MATCH", self._pattern, "COUNT", _SCANNED)
            gone = [key for key in found if not key.startswith(spared)]
            # Whoever was stopped for longer than his lease may not delete what was cached since.
            if gone and await self.run(script("unlink"), [self.keys.epoch], resetting, *gone) != [b"done"]:
                return False
            await self.call("PEXPIRE", lease, _RESETTER_MS)
            if cursor == 0:
                break
        done: int = await self.run(swap, [self.keys.epoch], resetting, ready)
        await self.call("UNLINK", lease)
        if done == 1:
            self._epoch = ready
            self.resets += 1
        return done == 1


def _packed(command: tuple[Any, ...]) -> bytes:
    """The command as it is sent. Raises CacheUnavailable for text that is not Unicode: no fault of Redis."""
    try:
        packed: bytes = pack_command(command)
    except UnicodeEncodeError:
        raise CacheUnavailable("text with half of a surrogate pair cannot be sent") from None
    return packed


def _packed_run(wanted: Script, keys: Sequence[str], arguments: Sequence[Any]) -> bytes:
    """A script's run as it is sent to a server that knows it."""
    return _packed(("EVALSHA", wanted.sha, len(keys), *keys, *arguments))


def _server_of(told: dict[bytes, bytes]) -> bytes | None:
    """The server's process, and the history of its data: another one if it has followed a master meanwhile.

    None for one that follows a master now.
    """
    if told.get(b"role") != b"master" or b"run_id" not in told:
        return None
    return told[b"run_id"] + b"." + told.get(b"master_replid", b"")


def _version(watermark: bytes | None) -> int:
    """What nobody can have written is above every version: then nothing is believed."""
    if watermark is None:
        return 0
    return int(watermark) if watermark.isdigit() else CLOSED
