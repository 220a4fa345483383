# Generated from nexgent_db/aio/cache/epoch.py by `make sync`: do not edit.
"""The epoch: of which Redis process and which database the cached rows are.

The key ``epoch`` holds it. A Redis that was restarted with an old dump, a promoted replica, a former master and a
database that went back to an earlier state are each another epoch: the cached rows are deleted before it begins.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from redis.exceptions import ConnectionError as RedisConnectionError

from nexgent_db.cache.breaker import CacheUnavailable
from nexgent_db.cache.codec import CLOSED
from nexgent_db.cache.entries import is_derived
from nexgent_db.cache.scripts import script
from nexgent_db.models.cache import DatabaseIdentity
from nexgent_db.sync.cache.servers import FAILURES

if TYPE_CHECKING:
    from nexgent_db.sync.cache.client import CacheClient

_SCAN_BATCH_SIZE: Final = 1000
_RESETTER_MS: Final = 5000
_INFO_LINE: Final = re.compile(rb"^(\w+):(\w+)", re.MULTILINE)
_ANOTHER_SERVER: Final = "another server, or the same after a restart or as a former replica"
_LOG: Final = logging.getLogger("nexgent_db.cache")


class Epoch:
    """The epoch that this process reads and writes in. Every method but ``invalidate`` raises CacheUnavailable."""

    def __init__(self, client: CacheClient) -> None:
        self._client = client
        self._verifying = threading.Lock()
        self._server: bytes | None = None
        self.current = b""
        """The epoch's value; b"" before it was verified."""
        self.database: DatabaseIdentity | None = None
        self.resets = 0

    def reset_after_fork(self) -> None:
        """In a child process: nothing is verified."""
        self._verifying = threading.Lock()
        self._server = None
        self.current = b""
        self.database = None
        self.resets = 0

    @property
    def knows_server(self) -> bool:
        """Has the server been identified since the last disconnection?"""
        return self._server is not None

    def handshake(self, connection: Any) -> None:
        """On each new connection: log in, compare the server with the verified one, load the scripts."""
        try:
            connection.on_connect()
            connection.send_command("INFO", "server")
            connection.send_command("INFO", "replication")
            for name in ("read_set", "write", "swap"):
                connection.send_command("SCRIPT", "LOAD", script(name).text)
            info = connection.read_response() + connection.read_response()
            for _ in range(3):
                connection.read_response()
            if self._server is not None and _server_of(dict(_INFO_LINE.findall(info))) != self._server:
                raise RedisConnectionError(_ANOTHER_SERVER)
        except BaseException:  # of garbage, too: redis-py closes after its own errors alone
            connection.disconnect(nowait=True)
            raise

    def verify(self, identify: Callable[[], DatabaseIdentity]) -> bool:
        """Are the cached rows this database's? Deletes them when not; then the breaker is no longer open.

        False while another process deletes them. Raises what ``identify`` raises as well.
        """
        with self._verifying:  # the background's probe and an operator's call may come at the same time
            return self._client.breaker.answers or self._verify(identify)

    def _verify(self, identify: Callable[[], DatabaseIdentity]) -> bool:
        client = self._client
        self._server = None
        client.disconnect()
        if client.local is not None:
            client.local.disconnect()
        try:
            client.servers.find()
        except FAILURES as error:
            raise client.fail(error) from error
        self._server = self._identity()
        seconds, microseconds = client.call("TIME")
        client.set_clock(int(seconds) * 1000 + int(microseconds) // 1000)
        stored, watermark = client.call("MGET", client.keys.epoch, client.keys.watermark)
        database = self.database = identify()  # after the watermark, which may have risen meanwhile
        name = self._server + b" " + database.name.encode()
        went_back = _version(watermark) > database.last_version
        if stored is not None and stored.startswith(b"ready " + name + b" ") and not went_back:
            self.current = stored
        elif not self._reset(stored, name):
            return False
        elif stored is not None:
            _LOG.warning("the cache was reset: its rows were of another server, another database, or a later state")
        client.breaker.mark_reachable()
        if client.local is not None:
            client.local.start()
        return True

    def verify_server(self) -> None:
        """Make sure that no proxy or Sentinel has put another server in its place."""
        if self._identity() != self._server:
            raise self._client.fail(RedisConnectionError(_ANOTHER_SERVER))
        if self._client.servers.moved():
            raise self._client.fail(RedisConnectionError("Sentinel names another master"))

    def _identity(self) -> bytes:
        answer = self._client.call("INFO")
        info = answer if isinstance(answer, dict) else {}
        server = _server_of({str(name).encode(): str(value).encode() for name, value in info.items()})
        if server is None:
            raise self._client.fail(RedisConnectionError("the server is a replica, or does not report its run_id"))
        return server

    def watermark(self) -> int:
        """The highest cached version."""
        return _version(self._client.get(self._client.keys.watermark)[0])

    def invalidate(self, reason: str) -> None:
        """End the epoch for every process, until the next verification begins another. Never raises."""
        with suppress(CacheUnavailable):
            self._client.call("SET", self._client.keys.epoch, f"unknown {uuid4().hex}")
        self.current = b""
        self._client.clear_local()
        self._client.breaker.fail(reason, unapplied_write=False)

    def reset(self) -> bool:
        """Delete the cached rows of every process, and begin another epoch. False while another process does."""
        stored, name = self.current, b" ".join(self.current.split(b" ")[1:3])
        return self._reset(stored, name)

    def _reset(self, stored: bytes | None, name: bytes) -> bool:
        client, keys = self._client, self._client.keys
        lease = f"{keys.epoch}:resetter"
        if not client.call("SET", lease, uuid4().hex, "NX", "PX", _RESETTER_MS):
            return False
        nonce = uuid4().hex[:12].encode()
        resetting, ready = b"resetting " + name + b" " + nonce, b"ready " + name + b" " + nonce
        swap = script("swap")
        if client.run(swap, [keys.epoch], stored or b"", resetting) != 1:
            client.call("UNLINK", lease)
            return False
        client.clear_local()
        cursor = 0
        while True:
            cursor, names = client.call("SCAN", cursor, "MATCH", keys.pattern, "COUNT", _SCAN_BATCH_SIZE)
            deleted = [name for name in names if is_derived(name.decode(errors="replace"), keys)]
            # A process that was stopped for longer than its lease must not delete the rows of the epoch after.
            if deleted and client.run(script("unlink"), [keys.epoch], resetting, *deleted) != [b"done"]:
                return False
            client.call("PEXPIRE", lease, _RESETTER_MS)
            if cursor == 0:
                break
        done: int = client.run(swap, [keys.epoch], resetting, ready)
        client.call("UNLINK", lease)
        if done == 1:
            self.current = ready
            self.resets += 1
        return done == 1


def _server_of(info: dict[bytes, bytes]) -> bytes | None:
    """The server's process and the history of its data, which changes when it follows a master for a while.

    None for a replica.
    """
    if info.get(b"role") != b"master" or b"run_id" not in info:
        return None
    return info[b"run_id"] + b"." + info.get(b"master_replid", b"")


def _version(watermark: bytes | None) -> int:
    """A malformed watermark counts as newer than every version and forces a reset."""
    if watermark is None:
        return 0
    return int(watermark) if watermark.isdigit() else CLOSED
