"""Keeps the cache right: relays the outbox, and compares cached entries with the database."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from nexgent_db._concurrency import reset_after_fork
from nexgent_db.aio.cache.metrics import metrics_of
from nexgent_db.aio.cache.recovery import Recovery
from nexgent_db.aio.cache.relay import COMPACTED_AGE_S, COMPACTION_BATCH_SIZE, RELAY_BATCH_SIZE, log
from nexgent_db.cache.breaker import CacheUnavailable, State

if TYPE_CHECKING:
    from nexgent_db.aio.cache.client import CacheClient
    from nexgent_db.aio.cache.reconciler import Reconciler

CHECK_S: Final = 1.0
"""How often maintenance verifies the server and the database."""
COMPACTION_S: Final = 60.0
"""How often maintenance compacts the outbox without Redis."""
STOP_S: Final = 0.2
"""How often a pause checks whether to stop."""
MAX_COUNTED: Final = 100_000


class CacheMaintenance:
    """Maintenance of the cache, for at least one process of all. Raises what queries raise."""

    def __init__(self, recovery: Recovery, reconciler: Reconciler | None) -> None:
        self._recovery = recovery
        self._reconciler = reconciler
        self._next_check = self._next_compaction = 0.0
        if recovery.client is not None:
            reset_after_fork(self)

    def reset_after_fork(self) -> None:
        """In a child process: nothing was checked yet."""
        self._next_check = self._next_compaction = 0.0

    async def run(self, pause_s: float = 0.2) -> None:
        """Run rounds until :meth:`stop`, until the database is closed, or until the task is cancelled.

        It pauses after each round that relays less than a full batch.

        Continues after every failure, whatever it is: the log has it, and :class:`CacheMetrics` counts it as one of
        ``failed_rounds``. Run it as a task of a service.
        """
        self._recovery.maintained = True
        while self._goes_on():
            relayed = 0
            try:
                relayed = await self.run_once()
            except Exception as error:
                self._recovery.counters.failed_rounds += 1
                log(logging.WARNING, "a round of the cache's maintenance failed", error)
            resume_at = time.monotonic() + pause_s
            while relayed < RELAY_BATCH_SIZE and self._goes_on():
                if (left := resume_at - time.monotonic()) <= 0:
                    break
                await asyncio.sleep(min(left, STOP_S))

    def stop(self) -> None:
        """End every :meth:`run` of this database after its round, within a fifth of a second when it pauses.

        Never waits; a signal handler may call it.
        """
        self._recovery.maintained = False

    def _goes_on(self) -> bool:
        return self._recovery.maintained and not self._recovery.closed

    async def run_once(self) -> int:
        """One round: relay changes of the outbox to the cache; the number of relayed changes.

        Unless more changes wait, it then compares some cached entries with the database, and repairs in the next round
        those that still differ, so a change in flight does not count as a difference. Limits: 500 changes, 200 keys.
        Any number of processes may run maintenance; one of them compares.

        Without Redis, or while it is unreachable, outbox entries older than an hour are compacted into one flush entry,
        which empties the cache when Redis returns. So the outbox does not grow without limit.
        """
        client, reconciler = self._recovery.client, self._reconciler
        if client is None or reconciler is None or client.breaker.state is State.OPEN:
            return await self._compact_in_time()
        if not client.breaker.may_read:
            return 0
        try:
            if time.monotonic() >= self._next_check:
                self._next_check = time.monotonic() + CHECK_S
                await self._check(client)
            relayed = await self._recovery.relay.relay(client)
            if relayed < RELAY_BATCH_SIZE:
                await reconciler.step()
            return relayed
        except CacheUnavailable:
            self._recovery.recover_soon()
            return 0

    async def _check(self, client: CacheClient) -> None:
        await client.epoch.verify_server()
        await self._recovery.verify_database(client, self._recovery.queries.identity)
        counters = self._recovery.counters
        counters.lag_s = await self._recovery.queries.lag()
        metrics = metrics_of(client, counters, self._reconciler)
        counts = {name: getattr(metrics, name) for name in ("hits", "misses", "relayed", "repaired", "orphans")}
        increments = {name: count - counters.published.get(name, 0) for name, count in counts.items()}
        if any(increments.values()):
            counters.published = counts
            arguments = [word for pair in increments.items() for word in pair]
            await client.run_in_epoch("count", [client.keys.statistics], *arguments)

    async def _compact_in_time(self) -> int:
        if time.monotonic() < self._next_compaction:
            return 0
        compacted = await self.compact_outbox()
        if compacted < COMPACTION_BATCH_SIZE:
            self._next_compaction = time.monotonic() + COMPACTION_S
        return compacted

    async def compact_outbox(self, age_s: float = COMPACTED_AGE_S) -> int:
        """Replace outbox entries of this age by one flush entry; their number, 10,000 at most.

        A process with a cache, now or later, empties the cache before it reads it again.
        """
        return await self._recovery.relay.compact(age_s)

    async def waiting(self) -> int:
        """The number of changes in the outbox, counted up to 100,000; also without Redis."""
        return await self._recovery.queries.count_changes(MAX_COUNTED)

    async def lag_s(self) -> float:
        """The age in seconds of the oldest change in the outbox; 0 when it is empty; also without Redis."""
        return await self._recovery.queries.lag()
