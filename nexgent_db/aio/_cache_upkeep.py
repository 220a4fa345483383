"""That the cache stays the database's: it is found again after a failure, made up for what it missed, and watched."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from nexgent_db._background import AsyncBackground
from nexgent_db._breaker import CacheUnavailable, State
from nexgent_db._cache_rows import Batch, Moment
from nexgent_db.aio._cache_queries import CacheQueries
from nexgent_db.aio._cache_sweep import Sweep
from nexgent_db.aio._session import Session
from nexgent_db.errors import NexgentError
from nexgent_db.models.cache import DatabaseIdentity

if TYPE_CHECKING:  # redis takes its time to import: not without a REDIS_URL
    from nexgent_db.aio._cache_link import CacheLink

PROBE_S: Final = 0.5
CHECK_S: Final = 1.0
"""How often maintenance asks whether server and database are still the same."""
CHANGES_AT_ONCE: Final = 500
"""How many changes a round of maintenance takes from the outbox, and holds in memory."""
OPENING_S: Final = 1.0
"""How long opening waits until changes of others are brought in. Reads go to the database until they are."""
FORGET_S: Final = 60.0
FORGOTTEN_AGE_S: Final = 3600.0
"""Changes that nobody has taken for so long are put together while there is no cache: emptying it later is cheaper."""
FORGOTTEN_AT_ONCE: Final = 10_000
_LOG: Final = logging.getLogger("nexgent_db.cache")


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheMetrics:
    """What the cache did in this process since it was opened, and its state.

    ``near_hits`` of the reads did not ask Redis. ``drained`` changes were taken from the outbox; ``repaired`` entries
    were not what the database said, ``ghosts`` of them rows that it did not have; ``compared`` entries were looked at
    for that, in ``walks`` over all of them. ``lag_s`` is for how many seconds the oldest change had waited when
    maintenance last looked; None before.
    """

    state: str
    reason: str | None
    hits: int
    near_hits: int
    misses: int
    drained: int
    repaired: int
    ghosts: int
    compared: int
    walks: int
    lag_s: float | None
    resets: int
    openings: int
    calls: int


class CacheUpkeep:
    """The part of the cache that keeps it right, and that the others stand on."""

    def __init__(
        self,
        link: CacheLink | None,
        session: Session,
        block: Callable[[], AbstractAsyncContextManager[Session]],
    ) -> None:
        self._link = link
        self._queries = CacheQueries(session)
        self._block = block
        self._background = AsyncBackground()
        self._hits = self._misses = self._drained = self._repaired = 0
        self._seen = (b"", 0)
        self._sweep = None if link is None else Sweep(link, self._queries)
        self._lag_s: float | None = None
        self._next_check = self._next_forgetting = 0.0
        self._counted: dict[str, int] = {}

    async def open(self) -> None:
        """Find Redis, if it is there; else go on looking for it beside. Never raises for Redis."""
        self._background.open()
        if self._link is not None and not await self._recover(OPENING_S):
            self._recover_soon()

    async def close(self) -> None:
        """Stop what runs beside, and close the connections to Redis."""
        await self._background.close()
        if self._link is not None:
            await self._link.close()

    def metrics(self) -> CacheMetrics:
        """What was done so far."""
        link, sweep = self._link, self._sweep
        return CacheMetrics(
            state="absent" if link is None else link.breaker.state.value,
            reason=None if link is None else link.breaker.reason,
            hits=self._hits,
            near_hits=0 if link is None or link.near is None else link.near.rows.hits,
            misses=self._misses,
            drained=self._drained,
            repaired=self._repaired + (0 if sweep is None else sweep.repaired),
            ghosts=0 if sweep is None else sweep.ghosts,
            compared=0 if sweep is None else sweep.compared,
            walks=0 if sweep is None else sweep.walks,
            lag_s=self._lag_s,
            resets=0 if link is None else link.resets,
            openings=0 if link is None else link.breaker.openings,
            calls=0 if link is None else link.calls,
        )

    # --- The way there ------------------------------------------------------------------------------

    @property
    def seen(self) -> int:
        """A version below every one that is given from now on: one that was cached, in this epoch."""
        epoch, version = self._seen
        return 0 if self._link is None or epoch != self._link.epoch else version

    def _readable(self) -> CacheLink | None:
        if self._link is None or self._link.breaker.may_read:
            return self._link
        self._recover_soon()
        return None

    async def _fill_in(self, batch: Batch, began: Moment) -> None:
        """Bring in what a reader found in the database: one round trip. A failure is kept to ourselves."""
        link = self._link
        assert link is not None
        if link.breaker.state is State.OPEN:  # since the reader looked
            return
        try:
            await link.write(batch, began, missed=False)
        except Exception as error:
            self._keep_to_ourselves(error, missed=False)

    async def _follow(self, batch: Batch, began: Moment) -> None:
        """Send what was committed, on its way in the order of the calls. A failure is kept to ourselves."""
        link = self._link
        assert link is not None
        try:
            await link.post(batch, began)
            self._seen = (began.epoch, max(self.seen, batch.version))
        except Exception as error:
            self._keep_to_ourselves(error, missed=True)

    def _keep_to_ourselves(self, error: Exception, *, missed: bool) -> None:
        """What was committed is committed, and what was read is right, whatever became of the cache."""
        if not isinstance(error, CacheUnavailable) and self._link is not None:
            _LOG.error("the cache could not be written", exc_info=error)
            self._link.breaker.fail("an error of the client", missed=missed)
        self._recover_soon()

    # --- Found again --------------------------------------------------------------------------------

    def _recover_soon(self) -> None:
        self._background.start(self._recover, PROBE_S, at_once=False)

    async def _recover(self, patience_s: float = math.inf) -> bool:
        """One attempt to find Redis well and to make up for what it missed, within so long; whether it succeeded."""
        link = self._link
        assert link is not None
        until = time.monotonic() + patience_s
        try:
            if not link.breaker.may_write() and not await link.check(self._queries.identity):
                return False
            if not link.breaker.may_read:  # what this process has committed so far stands in the outbox
                missed = link.breaker.missed
                last = (await self._queries.identity()).last_version
                while await self._queries.has_changes(last):
                    if await self._drain_some(link) == 0:
                        await asyncio.sleep(0.02)  # another process is at it
                    if not link.breaker.may_write() or time.monotonic() > until:
                        return False
                link.forget_near()  # another process may have brought in what this one changed, and it be told later
                link.breaker.caught_up(missed)
        except (CacheUnavailable, NexgentError) as error:
            _LOG.info("the cache is not back yet: %s", error)
            return False
        return link.breaker.may_read

    # --- The right database -------------------------------------------------------------------------

    async def meet(self, session: Session) -> None:
        """See at each new connection whether the database is still the one that is cached. Never raises.

        After a failover to an older state, or a restore, what is cached is not believed by anybody from here on.
        """
        link = self._link
        if link is None:
            return
        try:
            await self._compare(link, CacheQueries(session).identity)
        except NexgentError as error:
            _LOG.warning("the database does not tell which one it is: %s", error)
        except CacheUnavailable:
            self._recover_soon()

    async def _compare(self, link: CacheLink, identify: Callable[[], Awaitable[DatabaseIdentity]]) -> None:
        known, seen = link.database, self.seen  # before the database is asked: while it answers, others go on
        if known is None or link.breaker.state is State.OPEN:
            return  # whoever finds Redis well compares them anyway
        watermark = await link.watermark()
        found = await identify()
        if link.database is not known:
            return
        if found.name == known.name and found.last_version >= max(known.last_version, seen, watermark):
            link.database = found
            return
        link.database = None
        await link.distrust("the database is another one, or went back to an earlier state")
        self._recover_soon()

    # --- Maintenance --------------------------------------------------------------------------------

    async def _drain_some(self, link: CacheLink) -> int:
        """Bring the oldest changes into the cache and take them off the queue; how many. Raises CacheUnavailable."""
        began = link.now()
        async with self._block() as session:
            changes = await CacheQueries(session).take_changes(CHANGES_AT_ONCE)
            if not changes:
                return 0
            if any(change.entity == "everything" for change, *_ in changes):
                # Nothing is written then: what was read here may have been truncated again, and dealt with, meanwhile.
                if not await link.reset():
                    raise CacheUnavailable("another process is deleting")
            else:
                batch = Batch(link.keys)
                batch.changes(changes)
                if batch:
                    self._repaired += await link.write(batch, began, missed=True)
        self._drained += len(changes)
        return len(changes)

    async def maintain(self) -> int:
        """One round of maintenance: bring changes that nobody has applied into the cache; how many were waiting.

        Then, unless more of them wait, compare some of what is cached with the database and mend what differs: in the
        round after, so that nothing is taken for wrong that was only on its way. Bounded: 500 changes, 200 keys. Any
        number of processes may do this; one of them compares. Raises what queries raise.

        Without Redis, or while it is away, changes that have waited for an hour are put together into one, upon which
        the cache is emptied when there is one again: so the outbox does not grow for ever.
        """
        link, sweep = self._link, self._sweep
        if link is None or sweep is None or link.breaker.state is State.OPEN:
            return await self._forget_in_time()
        if not link.breaker.may_read:
            return 0
        try:
            if time.monotonic() >= self._next_check:
                self._next_check = time.monotonic() + CHECK_S
                await self._check(link)
            drained = await self._drain_some(link)
            if drained < CHANGES_AT_ONCE:
                await sweep.step()
            return drained
        except CacheUnavailable:
            self._recover_soon()
            return 0

    async def _check(self, link: CacheLink) -> None:
        await link.check_server()
        await self._compare(link, self._queries.identity)
        self._lag_s = await self._queries.lag()
        counts = {
            "hits": self._hits,
            "misses": self._misses,
            "drained": self._drained,
            "repaired": self.metrics().repaired,
            "ghosts": self.metrics().ghosts,
        }
        news = {name: count - self._counted.get(name, 0) for name, count in counts.items()}
        if any(news.values()):
            self._counted = counts
            await link.ask("count", [link.keys.statistics], *(word for pair in news.items() for word in pair))

    async def _forget_in_time(self) -> int:
        if time.monotonic() < self._next_forgetting:
            return 0
        forgotten = await self.forget_changes()
        if forgotten < FORGOTTEN_AT_ONCE:
            self._next_forgetting = time.monotonic() + FORGET_S
        return forgotten

    async def forget_changes(self, age_s: float = FORGOTTEN_AGE_S) -> int:
        """Put one change of everything in the place of those that have waited so long; how many, 10,000 at the most.

        Whoever has a cache, now or later, empties it before he reads from it again. Raises what queries raise.
        """
        return await self._queries.forget_changes(FORGOTTEN_AT_ONCE, age_s)

    async def run_maintenance(self, pause_s: float = 0.2) -> None:
        """Rounds of maintenance for ever, with a pause when there was little to do: for a task of a service.

        Goes on whatever fails meanwhile; cancel the task to stop it.
        """
        while True:
            done = 0
            try:
                done = await self.maintain()
            except NexgentError as error:
                _LOG.warning("a round of the cache's maintenance failed: %s", error)
            if done < CHANGES_AT_ONCE:
                await asyncio.sleep(pause_s)

    async def lag_s(self) -> float:
        """For how many seconds the oldest change has waited to be brought into the cache. Raises what queries raise."""
        return await self._queries.lag()
