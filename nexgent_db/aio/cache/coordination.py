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
from typing import Any, Final, Literal, Self, cast, get_args
from uuid import UUID, uuid4

from nexgent_db.aio.cache.recovery import Recovery
from nexgent_db.cache.breaker import CacheUnavailable
from nexgent_db.cache.keys import EXECUTION_MS, IDEMPOTENCY_MS, LOCK_MS, SIGNAL_CREATE_MS, CacheKeys
from nexgent_db.cache.scripts import script
from nexgent_db.errors import CacheUnreachable, InvalidInput, LockLost, LockNotAcquired
from nexgent_db.models.base import TokenAddress
from nexgent_db.models.signals import ExecutionStatus
from nexgent_db.models.storable import shortened

_STATUSES: Final = frozenset(get_args(ExecutionStatus))
_MAX_SECONDS: Final = 86_400.0
IfUnavailable = Literal["proceed", "raise"]
"""What a call does when Redis does not answer: go on as if nothing were stored, or raise CacheUnreachable."""
_PARENTS: Final = "the process that this one was forked from holds it"


class CacheLock:
    """A lock that is held inside its ``async with``, for ``lease_s`` seconds at most unless it is extended.

    It has one holder at a time while Redis lives; a restart or failover of Redis loses it. So it keeps two services
    from doing the same work at once; it must not be the only protection of work that may be done once only.

    Entering raises LockNotAcquired at once when another holder has the lock, or Redis is absent or failing: it never
    waits longer than one call may take. Leaving raises LockLost when the lock was lost before, unless the body raised.
    """

    def __init__(self, coordination: Coordination, resource: str, lease_s: float) -> None:
        _check_seconds("lease_s", lease_s)
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

    async def __aenter__(self) -> Self:
        if self._until:
            raise LockNotAcquired(self.resource, "this object was entered before: ask for a new one")
        called_at = time.monotonic()
        acquired = await self._coordination._call(
            "SET", self._key, self._token, "NX", "PX", round(self._lease_s * 1000)
        )
        if isinstance(acquired, CacheUnavailable):
            raise LockNotAcquired(self.resource, str(acquired)) from acquired
        if not acquired:
            raise LockNotAcquired(self.resource, "another holder has it")
        self._until, self._holder = called_at + self._lease_s, os.getpid()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        held, self._until = self.held, -1.0
        released = await self._run("release_lock")
        if self._holder != os.getpid():
            problem: str | None = _PARENTS
        elif isinstance(released, CacheUnavailable):  # the lease ends by itself
            problem = None if held else "its lease had ended"
        else:
            problem = None if released == 1 else "its lease had ended, or Redis lost it"
        if problem is not None and error is None:
            raise LockLost(self.resource, problem)

    async def extend(self, lease_s: float | None = None) -> None:
        """Extend the lease to ``lease_s`` seconds from now, by default its first length. Raises LockLost.

        Raises LockLost also when Redis does not answer: the lease then ends at its old time.
        """
        seconds = self._lease_s if lease_s is None else lease_s
        _check_seconds("lease_s", seconds)
        called_at = time.monotonic()
        milliseconds = round(seconds * 1000)
        extended = await self._run("extend_lock", milliseconds)
        if isinstance(extended, CacheUnavailable):
            raise LockLost(self.resource, f"it could not be extended: {extended}") from extended
        if extended != 1:
            self._until = min(self._until, called_at)
            raise LockLost(self.resource, "its lease had ended, or Redis lost it")
        self._until = called_at + seconds

    async def _run(self, script: str, *arguments: Any) -> Any:
        if self._holder != os.getpid():
            return CacheUnavailable(_PARENTS)
        return await self._coordination._run(script, self._key, self._token, *arguments)

    @property
    def _key(self) -> str:
        client = self._coordination._recovery.client
        return "" if client is None else client.keys.lock(self.resource)


class Coordination:
    """Locks, claimed signals, stored results.

    The caller chooses what happens when Redis is absent or does not answer. With ``if_unavailable="proceed"`` a call
    goes on as if nothing were stored: a claim succeeds, nothing is found, a result counts as the first. With "raise" it
    raises CacheUnreachable; what it sent may have been stored all the same. Entering a lock always raises.
    """

    def __init__(self, recovery: Recovery) -> None:
        self._recovery = recovery

    def lock(self, resource: str, *, lease_s: float = LOCK_MS / 1000) -> CacheLock:
        """A lock by name, to be entered: ``async with db.cache.coordination.lock("rebalance") as lock``.

        Raises InvalidInput for a lease that is not above zero and at most a day.
        """
        return CacheLock(self, resource, lease_s)

    async def claim_signal(
        self,
        user_id: UUID | None,
        token_address: TokenAddress,
        signal_type: str,
        strength: int,
        *,
        if_unavailable: IfUnavailable = "proceed",
    ) -> bool:
        """Claim a signal for a minute. False when an equal one is claimed. Raises InvalidInput, CacheUnreachable."""
        key = self._keys.signal_create(user_id, token_address, signal_type, strength)
        return bool(await self._ask(if_unavailable, "SET", key, "1", "NX", "PX", SIGNAL_CREATE_MS, otherwise=True))

    async def get_execution(
        self, signal_id: int, agent_id: UUID, *, if_unavailable: IfUnavailable = "proceed"
    ) -> ExecutionStatus | None:
        """The status of the signal's execution that was stored within a day; None without one.

        Raises InvalidInput, CacheUnreachable.
        """
        payload = await self._ask(if_unavailable, "GET", self._keys.executions(signal_id, agent_id))
        status = payload.decode(errors="replace") if isinstance(payload, bytes) else None
        return cast("ExecutionStatus", status) if status in _STATUSES else None

    async def store_execution(
        self,
        signal_id: int,
        agent_id: UUID,
        status: ExecutionStatus,
        *,
        if_unavailable: IfUnavailable = "proceed",
    ) -> None:
        """Store the execution's status for a day. Raises InvalidInput, CacheUnreachable."""
        if status not in _STATUSES:
            raise InvalidInput("status", f"must be one of {', '.join(sorted(_STATUSES))}")
        await self._ask(if_unavailable, "SET", self._keys.executions(signal_id, agent_id), status, "PX", EXECUTION_MS)

    async def store_result(
        self,
        operation: str,
        result: str,
        *,
        lifetime_s: float = IDEMPOTENCY_MS / 1000,
        if_unavailable: IfUnavailable = "proceed",
    ) -> str:
        """Store an operation's result, once, for ``lifetime_s`` seconds; returns the stored result: the first one.

        A repeated call changes neither the result nor its lifetime. Raises InvalidInput for a lifetime that is not
        between a millisecond and a day; CacheUnreachable.
        """
        _check_seconds("lifetime_s", lifetime_s)
        _check_choice(if_unavailable)
        key, milliseconds = self._keys.idempotency(operation), round(lifetime_s * 1000)
        stored = self._checked(await self._run("store_result", key, result, milliseconds), if_unavailable)
        return stored.decode(errors="replace") if isinstance(stored, bytes) else result

    async def get_result(self, operation: str, *, if_unavailable: IfUnavailable = "proceed") -> str | None:
        """The operation's stored result; None without one, or after its lifetime.

        Raises InvalidInput, CacheUnreachable.
        """
        stored = await self._ask(if_unavailable, "GET", self._keys.idempotency(operation))
        return stored.decode(errors="replace") if isinstance(stored, bytes) else None

    async def clear_result(self, operation: str, *, if_unavailable: IfUnavailable = "proceed") -> bool:
        """Delete the operation's stored result, so that the next one is stored; whether there was one.

        Raises InvalidInput, CacheUnreachable.
        """
        deleted = await self._ask(if_unavailable, "UNLINK", self._keys.idempotency(operation))
        return bool(deleted == 1)

    # --- Asking -------------------------------------------------------------------------------------

    @property
    def _keys(self) -> CacheKeys:
        client = self._recovery.client
        return CacheKeys() if client is None else client.keys

    async def _ask(self, if_unavailable: IfUnavailable, *command: Any, otherwise: object = None) -> Any:
        """The reply of Redis; without one ``otherwise``, or CacheUnreachable, as the caller chose."""
        _check_choice(if_unavailable)
        return self._checked(await self._call(*command), if_unavailable, otherwise)

    @staticmethod
    def _checked(reply: Any, if_unavailable: IfUnavailable, otherwise: object = None) -> Any:
        if not isinstance(reply, CacheUnavailable):
            return reply
        if if_unavailable == "raise":
            raise CacheUnreachable(str(reply)) from reply
        return otherwise

    async def _call(self, *command: Any) -> Any:
        """The reply of Redis, or the CacheUnavailable that says why there is none."""
        client = self._recovery.answering()
        if client is None:
            return self._unavailable()
        try:
            return await client.call(*command)
        except CacheUnavailable as error:
            self._recovery.recover_soon()
            return error

    async def _run(self, name: str, key: str, *arguments: Any) -> Any:
        client = self._recovery.answering()
        if client is None:
            return self._unavailable()
        try:
            return await client.run(script(name), [key], *arguments)
        except CacheUnavailable as error:
            self._recovery.recover_soon()
            return error

    def _unavailable(self) -> CacheUnavailable:
        if self._recovery.client is None:
            return CacheUnavailable("there is no Redis here: REDIS_URL is not set, or the database serves one tenant")
        return CacheUnavailable(f"Redis is away: {self._recovery.client.breaker.reason}")


def _check_choice(if_unavailable: object) -> None:
    if if_unavailable not in get_args(IfUnavailable):
        raise InvalidInput("if_unavailable", "must be 'proceed' or 'raise'")


def _check_seconds(name: str, seconds: float) -> None:
    if not isinstance(seconds, int | float) or not 0.001 <= seconds <= _MAX_SECONDS:
        raise InvalidInput(name, f"must be between a millisecond and a day in seconds, not {shortened(seconds)}")
