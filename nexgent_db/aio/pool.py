"""The connection pool: a fixed number of slots, each free or held by one lease.

A lease holds its slot for as long as the lease object lives. The pool keeps no counters that could go wrong: a task
cancelled, or a thread interrupted by a signal, between any two lines loses no slot. Normally a caller releases its
lease; otherwise the pool reclaims the slot once the lease object is gone, and closes the connection. Releasing never
waits, so a cancellation cannot split it.

Callers make the connections that they need, so each gets the error of a failed attempt. After a failure the pool
regards the database as down: one caller at a time tries again, every RETRY_S at most, and the others are refused at
once with the last error. They wait only while connections in use show that the server is there.

Why not psycopg_pool: it reconnects in the background after 1, 2, 4 … seconds, counts callers who gave up as waiting,
hides why a connection cannot be made, and loses a slot for ever when its putconn() is cancelled or interrupted by a
signal.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from typing import Final
from weakref import ReferenceType, ref

import psycopg

from nexgent_db._concurrency import AsyncWaiter, reset_after_fork
from nexgent_db.aio.connection import PooledConnection
from nexgent_db.aio.handshake import Route, connect
from nexgent_db.errors import BlockMisuse, DatabaseUnavailable, PoolExhausted, TooManyConnections
from nexgent_db.settings import Settings

RETRY_S: Final = 0.25
"""The shortest time between two attempts to connect while the database is down."""
PROBE_S: Final = 2.0
"""How long an attempt to connect may take while the database is down: the shortest time that libpq allows."""
NEWS_S: Final = 1.0
"""How long other callers wait for the result of an attempt: the last failure may be old."""
ALIVE_S: Final = 1.0
"""For how long a connection that was released in order shows that the server is there, after a failure to connect."""
LOOK_S: Final = 0.2
"""How often a waiting caller checks for slots whose lease is gone, and whether it may connect."""
MAX_IDLE_S: Final = 600.0
MAX_LIFETIME_S: Final = 3600.0
CLOSE_S: Final = 5.0
"""How long closing waits for connections in use."""


@dataclass(frozen=True, slots=True)
class PoolStats:
    """How many connections there are, how many of them are idle, and how many callers wait for one."""

    size: int
    available: int
    waiting: int


class _Slot:
    """Room for one connection. It is free while ``lease`` is None."""

    __slots__ = ("connection", "idle_since", "lease", "made_at")

    def __init__(self) -> None:
        self.connection: PooledConnection | None = None
        self.lease: ReferenceType[Lease] | None = None
        self.idle_since = 0.0
        self.made_at = 0.0

    def free(self, now: float, *, keep: bool) -> list[PooledConnection]:
        """Free the slot. Returns its connection if that must be closed: not to be kept, old, or not as good as new."""
        connection = self.connection
        self.idle_since = now
        self.lease = None
        if connection is None:
            return []
        if keep and now - self.made_at < MAX_LIFETIME_S and connection.may_be_released():
            connection.release()
            return []
        self.connection = None
        return [connection]


class Lease:
    """The right to one connection, from :meth:`acquire` to :meth:`release`."""

    __slots__ = ("__weakref__", "_pool", "_slot", "failure", "over", "reference", "waiter")

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._slot: _Slot | None = None
        self.reference = ref(self)
        self.over = False
        """Set right before :meth:`release`: if a signal interrupts that, the pool still reclaims the slot."""
        self.waiter: AsyncWaiter | None = None
        self.failure: DatabaseUnavailable | BlockMisuse | None = None

    @property
    def slot(self) -> _Slot | None:
        """The slot that this lease holds."""
        slot = self._slot
        return slot if slot is not None and slot.lease is self.reference else None

    def hold(self, slot: _Slot) -> None:
        """Take a free slot. The caller holds the pool's lock."""
        self._slot = slot
        slot.lease = self.reference

    async def acquire(self) -> PooledConnection:
        """Acquire a working connection.

        Raises BlockMisuse when the pool is closed; AuthenticationFailed, DatabaseUnavailable and its other kinds when
        no connection can be made; PoolExhausted when all are in use for longer than the pool's timeout, or when too
        many callers are waiting already.
        """
        return await self._pool.acquire(self)

    def release(self) -> None:
        """Release the connection, or close it unless it is as good as new. Never waits; a second call does nothing."""
        self._pool.release(self)


class ConnectionPool:
    """The connections of one database, for one event loop. A forked child starts with an empty pool."""

    def __init__(
        self, settings: Settings, configure: Callable[[PooledConnection], Awaitable[None]] | None = None
    ) -> None:
        self._settings = settings
        self._route = Route(settings)
        self._configure = configure
        self._closed = False
        self._begin()
        reset_after_fork(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._slots = [_Slot() for _ in range(self._settings.pool_max_size)]
        self._waiting: deque[ReferenceType[Lease]] = deque()
        self._failure: DatabaseUnavailable | None = None
        self._retry_at = 0.0
        self._probe_until = 0.0
        self._look_at = 0.0

    def reset_after_fork(self) -> None:
        """In the child: leave the parent's connections to the parent, whatever the state of its locks."""
        for slot in self._slots:
            if slot.connection is not None:
                slot.connection.abandon()
        self._begin()

    async def open(self) -> None:
        """Make the smallest number of connections. Raises what connecting raises; no connection stays open then."""
        leases = [Lease(self) for _ in range(max(1, self._settings.pool_min_size))]
        try:
            for lease in leases:
                if (slot := self._claim(lease)) is not None:
                    await self._connect(slot)
        except BaseException:
            self._closed = True
            raise
        finally:
            for lease in leases:
                lease.release()

    async def close(self, deadline: float | None = None) -> None:
        """Close idle connections now, and the others when they are released; waits for these until ``deadline``, by
        default for CLOSE_S."""
        with self._lock:
            self._closed = True
            dead = [slot.connection for slot in self._slots if slot.lease is None]
            for slot in self._slots:
                if slot.lease is None:
                    slot.connection = None
            self._fail_waiting(BlockMisuse("the database was closed while a connection was waited for"))
        for connection in dead:
            if connection is not None:
                connection.finish()
        await settle(self, time.monotonic() + CLOSE_S if deadline is None else deadline)

    def lease(self) -> Lease:
        """A lease that holds nothing yet."""
        return Lease(self)

    def stats(self) -> PoolStats:
        """How busy the pool is now."""
        connected = [slot for slot in self._slots if slot.connection is not None]
        return PoolStats(
            size=len(connected),
            available=sum(slot.lease is None for slot in connected),
            waiting=sum(lease() is not None for lease in list(self._waiting)),
        )

    # --- Acquire and release ----------------------------------------------------------------------

    async def acquire(self, lease: Lease) -> PooledConnection:
        """See :meth:`Lease.acquire`."""
        deadline = time.monotonic() + self._settings.pool_timeout_s
        while True:
            slot = self._claim(lease) or await self._wait(lease, deadline)
            connection = slot.connection
            if connection is None:
                try:
                    return await self._connect(slot)
                except DatabaseUnavailable:
                    if not self._step_back(slot):
                        raise
                    continue
            if not connection.closed:
                connection.acquire()
                if not connection.has_pending_bytes() or await _still_works(connection):
                    return connection
            slot.connection = None
            connection.finish()
            self._step_back(slot)

    def _claim(self, lease: Lease) -> _Slot | None:
        """A free slot; None when the lease has to wait. Raises PoolExhausted, or the last failure to connect."""
        with self._lock:
            if self._closed:
                raise BlockMisuse("the database is closed")
            now = time.monotonic()
            slot = self._free_slot(now)
            if slot is not None and (not self._waiting or (slot.connection is None and self._failure is not None)):
                if slot.connection is None:
                    self._probe_until = now + NEWS_S
                # Ahead of the waiting callers, which have no time left to try whether the server is back.
                lease.hold(slot)
                return slot
            dead = self._reclaim(now)
            self._serve(now)
            if not self._waiting and (slot := self._free_slot(now)) is not None:
                lease.hold(slot)
            else:
                slot = None
                self._ensure_may_wait(now)
                lease.waiter = AsyncWaiter()
                self._waiting.append(lease.reference)
        for connection in dead:
            connection.finish()
        return slot

    def _ensure_may_wait(self, now: float) -> None:
        if self._failure is not None and self._is_down(now):
            raise copy(self._failure)
        waiting = len(self._waiting)
        if waiting >= self._settings.pool_max_waiting:
            raise PoolExhausted(f"{waiting} callers wait for the pool's {len(self._slots)} connections already")

    def _free_slot(self, now: float) -> _Slot | None:
        empty = None
        for slot in self._slots:
            if slot.lease is None:
                if slot.connection is not None:
                    return slot
                empty = empty or slot
        if empty is None or not self._may_connect(now):
            return None
        return empty

    def _may_connect(self, now: float) -> bool:
        if self._failure is None:
            return True
        probing = any(slot.lease is not None and slot.connection is None for slot in self._slots)
        return now >= self._retry_at and not probing

    async def _wait(self, lease: Lease, deadline: float) -> _Slot:
        """Wait until a slot is handed over. Raises PoolExhausted, DatabaseUnavailable, BlockMisuse."""
        waiter = lease.waiter
        assert waiter is not None
        try:
            while True:
                left = deadline - time.monotonic()
                if left > 0:
                    await waiter.wait(min(left, LOOK_S))
                if (slot := lease.slot) is not None:
                    return slot
                if lease.failure is not None:
                    raise lease.failure
                if left <= 0:
                    raise self._not_in_time()
                self._look()
        finally:
            with self._lock, suppress(ValueError):
                lease.waiter = lease.failure = None
                self._waiting.remove(lease.reference)

    def _not_in_time(self) -> DatabaseUnavailable:
        seconds, size = self._settings.pool_timeout_s, len(self._slots)
        if self._failure is not None and self._is_down(time.monotonic()):
            return copy(self._failure)
        last = "" if self._failure is None else f"; the last attempt to connect failed: {self._failure}"
        if self._is_connected():
            return PoolExhausted(f"none of the pool's {size} connections became free within {seconds} s{last}")
        return DatabaseUnavailable(f"no connection could be made within {seconds} s{last}")

    def _look(self) -> None:
        """Reclaim slots whose lease is gone, and serve the waiting callers."""
        with self._lock:
            now = time.monotonic()
            dead = self._reclaim(now)
            self._serve(now)
            if self._failure is not None and not self._is_connected() and now >= self._probe_until:
                self._fail_waiting(self._failure)
        for connection in dead:
            connection.finish()

    def release(self, lease: Lease) -> None:
        """See :meth:`Lease.release`."""
        now = time.monotonic()
        with self._lock:
            slot = lease.slot
            if slot is None:
                return  # another thread saw that the lease is over, and has reclaimed the slot
            connection = slot.connection
            dead = slot.free(now, keep=not self._closed)
            if now >= self._look_at:
                dead += self._reclaim(now)
            if connection is not None and connection.silent:
                self._note_silence(now)
            self._serve(now)
        for each in dead:
            each.finish()

    def _note_silence(self, now: float) -> None:
        """Note that the server did not answer. A later caller tries to connect; waiting callers, who have no time left
        for that, fail now unless another connection may be released."""
        self._failure = DatabaseUnavailable("the server did not answer in time")
        self._retry_at = now
        if not self._is_connected():
            self._fail_waiting(self._failure)

    def _is_connected(self) -> bool:
        return any(slot.connection is not None for slot in self._slots)

    def _is_down(self, now: float) -> bool:
        """After a failure to connect: is no caller trying again, and does no connection in use show that the server is
        there? A full server is there."""
        served_at = [max(slot.made_at, slot.idle_since) for slot in self._slots if slot.connection is not None]
        if now < self._probe_until:
            return False
        return not served_at or not (isinstance(self._failure, TooManyConnections) or now - max(served_at) < ALIVE_S)

    def _step_back(self, slot: _Slot) -> bool:
        """Free a slot that has no connection. Returns whether another connection may be released."""
        with self._lock:
            slot.lease = None
            now = time.monotonic()
            if self._failure is not None and self._is_down(now):
                self._fail_waiting(self._failure)
                return False
            self._serve(now)
            return self._is_connected()

    # --- With the lock ----------------------------------------------------------------------------

    def _serve(self, now: float) -> None:
        """Hand free slots to the waiting callers, first come, first served."""
        while self._waiting and (slot := self._free_slot(now)) is not None:
            if slot.connection is None and self._failure is not None:
                break  # a later caller tries to connect
            lease = self._waiting[0]()
            if lease is not None and (waiter := lease.waiter) is not None:
                if lease.slot is None:  # else an interrupted call has given it one
                    lease.hold(slot)  # before it leaves the queue, so an interruption in between loses nothing
                waiter.wake()
            self._waiting.popleft()

    def _fail_waiting(self, failure: DatabaseUnavailable | BlockMisuse) -> None:
        while self._waiting:
            lease = self._waiting.popleft()()
            if lease is not None and lease.waiter is not None:
                lease.failure = copy(failure)
                lease.waiter.wake()

    def _reclaim(self, now: float) -> list[PooledConnection]:
        """Free the slots whose lease is over or lost, and those idle for MAX_IDLE_S; returns the connections to close.

        A lease that is over is about to be released by its own thread, or was interrupted on the way there. A lost one
        was never said to be over: its connection may be in use yet.
        """
        self._look_at = now + MAX_IDLE_S / 10
        dead: list[PooledConnection] = []
        for slot in self._slots:
            if slot.lease is not None:
                lease = slot.lease()
                if lease is None or lease.over:
                    dead += slot.free(now, keep=lease is not None and not self._closed)
        kept = sum(slot.connection is not None for slot in self._slots)
        for slot in self._slots:
            idle = slot.lease is None and slot.connection is not None and now - slot.idle_since > MAX_IDLE_S
            if idle and kept > self._settings.pool_min_size:
                dead += slot.free(now, keep=False)
                kept -= 1
        return dead

    # --- Connections ------------------------------------------------------------------------------

    async def _connect(self, slot: _Slot) -> PooledConnection:
        """Make the slot's connection, and note whether the database is down. Raises what connecting raises."""
        started = time.monotonic()
        try:
            connection = await connect(self._route, None if self._failure is None else PROBE_S)
            try:
                if self._configure is not None:
                    await self._configure(connection)
            except BaseException:
                connection.finish()
                raise
        except DatabaseUnavailable as error:
            self._failure, self._retry_at, self._probe_until = copy(error), started + RETRY_S, 0.0
            raise
        slot.made_at = time.monotonic()
        slot.connection = connection
        with self._lock:
            self._failure = None
            self._serve(slot.made_at)
        return connection


async def settle(pool: ConnectionPool, deadline: float) -> None:
    """Wait until no connection is in use, until this time of the monotonic clock at most."""
    while any((lease := slot.lease) and lease() for slot in pool._slots):  # it may end unreleased
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(0.01)


async def _still_works(connection: PooledConnection) -> bool:
    """One round trip shows whether pending bytes are a notice, or the server's shutdown message."""
    limit_s, connection.limit_s = connection.limit_s, PROBE_S
    with suppress(psycopg.Error):
        await connection.execute("")
    connection.limit_s = limit_s
    return connection.may_be_released()
