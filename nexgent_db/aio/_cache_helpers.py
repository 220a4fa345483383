"""Helpers that spare work: locks, what was just signalled, what came of an operation. No correctness depends on them.

They live in Redis alone and are gone with it. What must happen once is kept so by the database: orders by their request
ids, executions by their key.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, cast, get_args
from uuid import UUID, uuid4

from nexgent_db._breaker import CacheUnavailable
from nexgent_db._cache_scripts import script
from nexgent_db.aio._cache_upkeep import CacheUpkeep
from nexgent_db.cache_keys import EXECUTION_MS, IDEMPOTENCY_MS, LOCK_MS, SIGNAL_CREATE_MS
from nexgent_db.errors import InvalidInput, LockLost, LockNotAcquired
from nexgent_db.models._base import TokenAddress
from nexgent_db.models.signals import ExecutionStatus

if TYPE_CHECKING:
    from nexgent_db.aio._cache_link import CacheLink

_STATUSES: Final = frozenset(get_args(ExecutionStatus))
_LONGEST_LEASE_S: Final = 86_400.0


class CacheLock:
    """A lock that is held while its block runs, for ``lease_s`` seconds at the most unless it is extended.

    One holder at a time while Redis lives; a Redis that is started again or failed over has forgotten it. So it keeps
    two services from doing the same work at once, and must not be what makes doing it twice harmless.

    Entering raises LockNotAcquired at once when somebody else holds it, or Redis is absent or failing: there is no
    waiting for longer than one call may take. Leaving raises LockLost when the lock was not held to the end, unless
    the block raised itself.
    """

    def __init__(self, cache: CacheHelpers, resource: str, lease_s: float) -> None:
        _check_lease(lease_s)
        self.resource = resource
        self._cache = cache
        self._lease_s = lease_s
        self._token = uuid4().hex
        self._until = 0.0

    @property
    def held(self) -> bool:
        """Is the lease still running, by this machine's clock? Costs nothing; asks nobody."""
        return time.monotonic() < self._until

    async def __aenter__(self) -> Self:
        if self._until:
            raise LockNotAcquired(self.resource, "this object has held it already: ask for a new one")
        asked = time.monotonic()
        taken = await self._cache._ask("SET", self._key, self._token, "NX", "PX", round(self._lease_s * 1000))
        if isinstance(taken, CacheUnavailable):
            raise LockNotAcquired(self.resource, str(taken)) from taken
        if not taken:
            raise LockNotAcquired(self.resource, "somebody else holds it")
        self._until = asked + self._lease_s
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        held, self._until = self.held, -1.0
        released = await self._cache._ask_script("release_lock", self._key, self._token)
        if isinstance(released, CacheUnavailable):  # it ends by itself
            problem = None if held else "its lease had ended"
        else:
            problem = None if released == 1 else "its lease had ended, or Redis lost it"
        if problem is not None and error is None:
            raise LockLost(self.resource, problem)

    async def extend(self, lease_s: float | None = None) -> None:
        """Hold it for ``lease_s`` from now on, by default as long as at first. Raises LockLost.

        That is raised too when Redis does not answer: the lease runs on then, but not for longer.
        """
        seconds = self._lease_s if lease_s is None else lease_s
        _check_lease(seconds)
        asked = time.monotonic()
        milliseconds = round(seconds * 1000)
        extended = await self._cache._ask_script("extend_lock", self._key, self._token, milliseconds)
        if isinstance(extended, CacheUnavailable):
            raise LockLost(self.resource, f"it could not be extended: {extended}") from extended
        if extended != 1:
            self._until = min(self._until, asked)
            raise LockLost(self.resource, "its lease had ended, or Redis lost it")
        self._until = asked + seconds

    @property
    def _key(self) -> str:
        link = self._cache._link
        return "" if link is None else link.keys.lock(self.resource)


class CacheHelpers(CacheUpkeep):
    """The part of the cache that is no copy of anything. Nothing here raises for Redis, locks aside."""

    def lock(self, resource: str, *, lease_s: float = LOCK_MS / 1000) -> CacheLock:
        """A lock by name, to be entered: ``async with db.cache.lock("rebalance") as lock``.

        Raises InvalidInput for a lease that is not above zero and at most a day.
        """
        return CacheLock(self, resource, lease_s)

    async def signal_seen(
        self, user_id: UUID | None, token_address: TokenAddress, signal_type: str, strength: int
    ) -> bool:
        """Was an equal signal made in the last minute? From now on one was. False when Redis cannot say."""
        link = self._answering()
        if link is None:
            return False
        key = link.keys.signal_create(user_id, token_address, signal_type, strength)
        marked = await self._ask("SET", key, "1", "NX", "PX", SIGNAL_CREATE_MS)
        return not marked

    async def execution(self, signal_id: int, agent_id: UUID) -> ExecutionStatus | None:
        """What was noted of the signal's execution within a day; None when nothing was, or Redis cannot say."""
        link = self._answering()
        if link is None:
            return None
        found = await self._ask("GET", link.keys.executions(signal_id, agent_id))
        status = found.decode(errors="replace") if isinstance(found, bytes) else None
        return cast("ExecutionStatus", status) if status in _STATUSES else None

    async def note_execution(self, signal_id: int, agent_id: UUID, status: ExecutionStatus) -> None:
        """Note the execution's status for a day; nothing when Redis is away. Raises InvalidInput."""
        if status not in _STATUSES:
            raise InvalidInput("status", f"must be one of {', '.join(sorted(_STATUSES))}")
        link = self._answering()
        if link is not None:
            await self._ask("SET", link.keys.executions(signal_id, agent_id), status, "PX", EXECUTION_MS)

    async def remember(self, operation: str, outcome: str) -> str:
        """Remember for five minutes what came of an operation; what is remembered of it: whoever was first counts.

        Without Redis that is ``outcome``.
        """
        link = self._answering()
        if link is None:
            return outcome
        found = await self._ask_script("remember", link.keys.idempotency(operation), outcome, IDEMPOTENCY_MS)
        return found.decode(errors="replace") if isinstance(found, bytes) else outcome

    async def remembered(self, operation: str) -> str | None:
        """What came of the operation within the last five minutes; None when nothing did, or Redis cannot say."""
        link = self._answering()
        found = None if link is None else await self._ask("GET", link.keys.idempotency(operation))
        return found.decode(errors="replace") if isinstance(found, bytes) else None

    def _answering(self) -> CacheLink | None:
        """The link, unless it failed and has not been found well since."""
        if self._link is None or self._link.breaker.answers:
            return self._link
        self._recover_soon()
        return None

    async def _ask(self, *command: Any) -> Any:
        """What Redis answers, or the CacheUnavailable that says why it does not."""
        link = self._answering()
        if link is None:
            return self._unavailable()
        try:
            return await link.call(*command)
        except CacheUnavailable as error:
            self._recover_soon()
            return error

    async def _ask_script(self, name: str, key: str, *arguments: Any) -> Any:
        link = self._answering()
        if link is None:
            return self._unavailable()
        try:
            return await link.run(script(name), [key], *arguments)
        except CacheUnavailable as error:
            self._recover_soon()
            return error

    def _unavailable(self) -> CacheUnavailable:
        if self._link is None:
            return CacheUnavailable("there is no Redis here: REDIS_URL is not set, or one user is served")
        return CacheUnavailable(f"Redis is away: {self._link.breaker.reason}")


def _check_lease(seconds: float) -> None:
    if not 0.001 <= seconds <= _LONGEST_LEASE_S:
        raise InvalidInput("lease_s", f"must be between a millisecond and a day, not {seconds}")
