# Generated from nexgent_db/aio/cache/coordination.py by `make sync`: do not edit.
"""Coordination of processes: locks, claimed signals, stored results. They spare work; no correctness depends on them.

They live in Redis alone and are gone with it. The database makes sure of what must happen once: trades by their request
ids, executions by their key.

Why the lock is not redis-py's ``Lock``, which sends the same SET NX and the like scripts. Measured with 8.1.0: a server
that sends 14 bytes of reply at intervals of 0.2 s holds its threaded ``acquire()`` for 2.8 s, although every timeout is
0.25 s, because a timeout starts again with each byte. A forked child owns its parent's lock, and its ``release()``
deletes it. Its calls also bypass the circuit breaker.
"""

from __future__ import annotations

import os
import time
from types import TracebackType
from typing import Any, Final, Self, cast, get_args
from uuid import UUID, uuid4

from nexgent_db.cache.breaker import CacheUnavailable
from nexgent_db.cache.keys import EXECUTION_MS, IDEMPOTENCY_MS, LOCK_MS, SIGNAL_CREATE_MS
from nexgent_db.cache.scripts import script
from nexgent_db.errors import InvalidInput, LockLost, LockNotAcquired
from nexgent_db.models.base import TokenAddress
from nexgent_db.models.signals import ExecutionStatus
from nexgent_db.sync.cache.recovery import Recovery

_STATUSES: Final = frozenset(get_args(ExecutionStatus))
_MAX_LEASE_S: Final = 86_400.0
_PARENTS: Final = "the process that this one was forked from holds it"


class CacheLock:
    """A lock that is held inside its ``with``, for ``lease_s`` seconds at most unless it is extended.

    It has one holder at a time while Redis lives; a restart or failover of Redis loses it. So it keeps two services
    from doing the same work at once; it must not be the only protection of work that may be done once only.

    Entering raises LockNotAcquired at once when another holder has the lock, or Redis is absent or failing: it never
    waits longer than one call may take. Leaving raises LockLost when the lock was lost before, unless the body raised.
    """

    def __init__(self, coordination: Coordination, resource: str, lease_s: float) -> None:
        _check_lease(lease_s)
        self.resource = resource
        self._coordination = coordination
        self._lease_s = lease_s
        self._token = uuid4().hex
        self._until = 0.0
        self._holder = 0

    @property
    def held(self) -> bool:
        """Is the lease still running, by this machine's clock? Asks no server. False in a child process."""
        return time.monotonic() < self._until and self._holder == os.getpid()

    def __enter__(self) -> Self:
        if self._until:
            raise LockNotAcquired(self.resource, "this object was entered before: ask for a new one")
        called_at = time.monotonic()
        acquired = self._coordination._call("SET", self._key, self._token, "NX", "PX", round(self._lease_s * 1000))
        if isinstance(acquired, CacheUnavailable):
            raise LockNotAcquired(self.resource, str(acquired)) from acquired
        if not acquired:
            raise LockNotAcquired(self.resource, "another holder has it")
        self._until, self._holder = called_at + self._lease_s, os.getpid()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        held, self._until = self.held, -1.0
        released = self._run("release_lock")
        if self._holder != os.getpid():
            problem: str | None = _PARENTS
        elif isinstance(released, CacheUnavailable):  # the lease ends by itself
            problem = None if held else "its lease had ended"
        else:
            problem = None if released == 1 else "its lease had ended, or Redis lost it"
        if problem is not None and error is None:
            raise LockLost(self.resource, problem)

    def extend(self, lease_s: float | None = None) -> None:
        """Extend the lease to ``lease_s`` seconds from now, by default its first length. Raises LockLost.

        Raises LockLost also when Redis does not answer: the lease then ends at its old time.
        """
        seconds = self._lease_s if lease_s is None else lease_s
        _check_lease(seconds)
        called_at = time.monotonic()
        milliseconds = round(seconds * 1000)
        extended = self._run("extend_lock", milliseconds)
        if isinstance(extended, CacheUnavailable):
            raise LockLost(self.resource, f"it could not be extended: {extended}") from extended
        if extended != 1:
            self._until = min(self._until, called_at)
            raise LockLost(self.resource, "its lease had ended, or Redis lost it")
        self._until = called_at + seconds

    def _run(self, script: str, *arguments: Any) -> Any:
        if self._holder != os.getpid():
            return CacheUnavailable(_PARENTS)
        return self._coordination._run(script, self._key, self._token, *arguments)

    @property
    def _key(self) -> str:
        client = self._coordination._recovery.client
        return "" if client is None else client.keys.lock(self.resource)


class Coordination:
    """Locks, claimed signals, stored results. Nothing here raises for Redis, apart from locks."""

    def __init__(self, recovery: Recovery) -> None:
        self._recovery = recovery

    def lock(self, resource: str, *, lease_s: float = LOCK_MS / 1000) -> CacheLock:
        """A lock by name, to be entered: ``with db.cache.coordination.lock("rebalance") as lock``.

        Raises InvalidInput for a lease that is not above zero and at most a day.
        """
        return CacheLock(self, resource, lease_s)

    def claim_signal(self, user_id: UUID | None, token_address: TokenAddress, signal_type: str, strength: int) -> bool:
        """Claim a signal for a minute. False when an equal one is claimed; True also when Redis does not answer."""
        client = self._recovery.answering()
        if client is None:
            return True
        key = client.keys.signal_create(user_id, token_address, signal_type, strength)
        return bool(self._call("SET", key, "1", "NX", "PX", SIGNAL_CREATE_MS))

    def get_execution(self, signal_id: int, agent_id: UUID) -> ExecutionStatus | None:
        """The status of the signal's execution that was stored within a day; None without one, or without Redis."""
        client = self._recovery.answering()
        if client is None:
            return None
        payload = self._call("GET", client.keys.executions(signal_id, agent_id))
        status = payload.decode(errors="replace") if isinstance(payload, bytes) else None
        return cast("ExecutionStatus", status) if status in _STATUSES else None

    def store_execution(self, signal_id: int, agent_id: UUID, status: ExecutionStatus) -> None:
        """Store the execution's status for a day; without Redis nothing happens. Raises InvalidInput."""
        if status not in _STATUSES:
            raise InvalidInput("status", f"must be one of {', '.join(sorted(_STATUSES))}")
        client = self._recovery.answering()
        if client is not None:
            self._call("SET", client.keys.executions(signal_id, agent_id), status, "PX", EXECUTION_MS)

    def store_result(self, operation: str, result: str) -> str:
        """Store an operation's result for five minutes; the stored result, which is the first one.

        Without Redis that is ``result``.
        """
        client = self._recovery.answering()
        if client is None:
            return result
        stored = self._run("store_result", client.keys.idempotency(operation), result, IDEMPOTENCY_MS)
        return stored.decode(errors="replace") if isinstance(stored, bytes) else result

    def get_result(self, operation: str) -> str | None:
        """The operation's result that was stored within five minutes; None without one, or without Redis."""
        client = self._recovery.answering()
        if client is None:
            return None
        stored = self._call("GET", client.keys.idempotency(operation))
        return stored.decode(errors="replace") if isinstance(stored, bytes) else None

    # --- Asking -------------------------------------------------------------------------------------

    def _call(self, *command: Any) -> Any:
        """The reply of Redis, or the CacheUnavailable that says why there is none."""
        client = self._recovery.answering()
        if client is None:
            return self._unavailable()
        try:
            return client.call(*command)
        except CacheUnavailable as error:
            self._recovery.recover_soon()
            return error

    def _run(self, name: str, key: str, *arguments: Any) -> Any:
        client = self._recovery.answering()
        if client is None:
            return self._unavailable()
        try:
            return client.run(script(name), [key], *arguments)
        except CacheUnavailable as error:
            self._recovery.recover_soon()
            return error

    def _unavailable(self) -> CacheUnavailable:
        if self._recovery.client is None:
            return CacheUnavailable("there is no Redis here: REDIS_URL is not set, or the database serves one tenant")
        return CacheUnavailable(f"Redis is away: {self._recovery.client.breaker.reason}")


def _check_lease(seconds: float) -> None:
    if not 0.001 <= seconds <= _MAX_LEASE_S:
        raise InvalidInput("lease_s", f"must be between a millisecond and a day, not {seconds}")
