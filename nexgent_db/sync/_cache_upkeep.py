# Generated from nexgent_db/aio/_cache_upkeep.py by `make sync`: do not edit.
"""That the cache stays the database's: it is found again after a failure, made up for what it missed, and watched."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from nexgent_db._background import Background
from nexgent_db._breaker import CacheUnavailable
from nexgent_db._cache_rows import Batch
from nexgent_db.errors import NexgentError
from nexgent_db.models.cache import DatabaseIdentity
from nexgent_db.sync._cache_queries import CacheQueries
from nexgent_db.sync._session import Session

if TYPE_CHECKING:  # redis takes its time to import: not without a REDIS_URL
    from nexgent_db.sync._cache_link import CacheLink

PROBE_S: Final = 0.5
CHECK_S: Final = 1.0
"""How often maintenance asks whether server and database are still the same."""
CHANGES_AT_ONCE: Final = 500
"""How many changes a round of maintenance takes from the outbox, and holds in memory."""
_LOG: Final = logging.getLogger("nexgent_db.cache")


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheMetrics:
    """What the cache did in this process since it was opened, and its state."""

    state: str
    reason: str | None
    hits: int
    misses: int
    drained: int
    repaired: int
    resets: int
    openings: int
    calls: int


class CacheUpkeep:
    """The part of the cache that keeps it right, and that the others stand on."""

    def __init__(
        self,
        link: CacheLink | None,
        session: Session,
        block: Callable[[], AbstractContextManager[Session]],
    ) -> None:
        self._link = link
        self._queries = CacheQueries(session)
        self._block = block
        self._background = Background()
        self._hits = self._misses = self._drained = self._repaired = 0
        self._seen = 0
        self._next_check = 0.0

    def open(self) -> None:
        """Find Redis, if it is there; else go on looking for it beside. Never raises for Redis."""
        self._background.open()
        if self._link is not None and not self._recover():
            self._recover_soon()

    def close(self) -> None:
        """Stop what runs beside, and close the connections to Redis."""
        self._background.close()
        if self._link is not None:
            self._link.close()

    def metrics(self) -> CacheMetrics:
        """What was done so far."""
        link = self._link
        return CacheMetrics(
            state="absent" if link is None else link.breaker.state.value,
            reason=None if link is None else link.breaker.reason,
            hits=self._hits,
            misses=self._misses,
            drained=self._drained,
            repaired=self._repaired,
            resets=0 if link is None else link.resets,
            openings=0 if link is None else link.breaker.openings,
            calls=0 if link is None else link.calls,
        )

    # --- The way there ------------------------------------------------------------------------------

    def _readable(self) -> CacheLink | None:
        if self._link is None or self._link.breaker.may_read:
            return self._link
        self._recover_soon()
        return None

    def _send(self, batch: Batch, began_ms: int, *, missed: bool) -> int:
        """One round trip. A failure is kept to ourselves; ``missed`` says that a committed change was in it."""
        link = self._link
        assert link is not None
        self._seen = max(self._seen, batch.version)
        try:
            return link.write(batch, began_ms, missed=missed)
        except CacheUnavailable:
            self._recover_soon()
        except Exception:
            _LOG.exception("the cache could not be written")
            link.breaker.fail("an error of the client", missed=missed)
            self._recover_soon()
        return 0

    # --- Found again --------------------------------------------------------------------------------

    def _recover_soon(self) -> None:
        self._background.start(self._recover_later, PROBE_S)

    def _recover_later(self) -> bool:
        time.sleep(PROBE_S)
        return self._recover()

    def _recover(self) -> bool:
        """One attempt to find Redis well and to make up for what it missed; whether it succeeded."""
        link = self._link
        assert link is not None
        try:
            if not link.breaker.may_write() and not link.check(self._queries.identity):
                return False
            if not link.breaker.may_read:  # what this process has committed so far stands in the outbox
                missed = link.breaker.missed
                last = self._queries.identity().last_version
                while self._queries.has_changes(last):
                    if self._drain_some(link) == 0:
                        time.sleep(0.02)  # another process is at it
                    if not link.breaker.may_write():
                        return False
                link.breaker.caught_up(missed)
        except (CacheUnavailable, NexgentError) as error:
            _LOG.info("the cache is not back yet: %s", error)
            return False
        return link.breaker.may_read

    # --- The right database -------------------------------------------------------------------------

    def meet(self, session: Session) -> None:
        """See at each new connection whether the database is still the one that is cached. Never raises.

        After a failover to an older state, or a restore, what is cached is not believed by anybody from here on.
        """
        link = self._link
        if link is None or link.database is None:
            return
        try:
            found = CacheQueries(session).identity()
        except NexgentError as error:
            _LOG.warning("the database does not tell which one it is: %s", error)
            return
        self._compare(link, found)

    def _compare(self, link: CacheLink, found: DatabaseIdentity) -> None:
        known = link.database
        if known is None or (found.name == known.name and found.last_version >= max(known.last_version, self._seen)):
            link.database = found
            return
        link.database = None
        self._seen = 0
        link.distrust("the database is another one, or went back to an earlier state")
        self._recover_soon()

    # --- Maintenance --------------------------------------------------------------------------------

    def _drain_some(self, link: CacheLink) -> int:
        """Bring the oldest changes into the cache and take them off the queue; how many. Raises CacheUnavailable."""
        began = link.now_ms()
        with self._block() as session:
            changes = CacheQueries(session).take_changes(CHANGES_AT_ONCE)
            if not changes:
                return 0
            if any(change.entity == "everything" for change, *_ in changes):
                link.reset()
            batch = Batch(link.keys)
            batch.changes(changes)
            if batch:
                self._repaired += link.write(batch, began, missed=True)
        self._drained += len(changes)
        return len(changes)

    def maintain(self) -> int:
        """One round of maintenance: bring changes that nobody has applied into the cache; how many were waiting.

        Bounded: 500 changes. Any number of processes may do this. Nothing while Redis is away. Raises what queries
        raise.
        """
        link = self._link
        if link is None or not link.breaker.may_read:
            return 0
        try:
            if time.monotonic() >= self._next_check:
                self._next_check = time.monotonic() + CHECK_S
                self._compare(link, self._queries.identity())
                link.check_server()
            return self._drain_some(link)
        except CacheUnavailable:
            self._recover_soon()
            return 0

    def run_maintenance(self, pause_s: float = 0.2) -> None:
        """Rounds of maintenance for ever, with a pause when there was little to do: for a thread of a service.

        Goes on whatever fails meanwhile; cancel the thread to stop it.
        """
        while True:
            done = 0
            try:
                done = self.maintain()
            except NexgentError as error:
                _LOG.warning("a round of the cache's maintenance failed: %s", error)
            if done < CHANGES_AT_ONCE:
                time.sleep(pause_s)

    def lag_s(self) -> float:
        """For how many seconds the oldest change has waited to be brought into the cache. Raises what queries raise."""
        return self._queries.lag()
