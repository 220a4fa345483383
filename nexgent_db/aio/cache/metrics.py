"""The figures of the cache in this process."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imports redis, which is slow and needless without a REDIS_URL
    from nexgent_db.aio.cache.client import CacheClient
    from nexgent_db.aio.cache.reconciler import Reconciler


@dataclass(slots=True)
class Counters:
    """Counted since the cache was opened. ``lag_s`` is the last measurement of maintenance."""

    hits: int = 0
    misses: int = 0
    relayed: int = 0
    repaired: int = 0
    failed_rounds: int = 0
    lag_s: float | None = None
    published: dict[str, int] = field(default_factory=dict)
    """The counts that Redis has got."""

    def reset(self) -> None:
        """Start from zero."""
        self.hits = self.misses = self.relayed = self.repaired = self.failed_rounds = 0
        self.lag_s = None
        self.published = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheMetrics:
    """The work of the cache in this process since it was opened, and its state.

    ``local_hits`` of the reads did not ask Redis. ``relayed`` changes were taken from the outbox; ``repaired`` entries
    differed from the database, ``orphans`` of them had no row there; ``compared`` entries were checked for that, in
    ``scan_passes`` over all of them; ``failed_rounds`` of maintenance ended in an error, which the log has. ``lag_s``
    is the age in seconds of the oldest change when maintenance last looked; None before.
    """

    state: str
    reason: str | None
    hits: int
    local_hits: int
    misses: int
    relayed: int
    repaired: int
    orphans: int
    compared: int
    scan_passes: int
    failed_rounds: int
    lag_s: float | None
    resets: int
    openings: int
    calls: int


def metrics_of(client: CacheClient | None, counters: Counters, reconciler: Reconciler | None) -> CacheMetrics:
    """The metrics of the cache's parts; without Redis the state is ``absent``."""
    return CacheMetrics(
        state="absent" if client is None else client.breaker.state.value,
        reason=None if client is None else client.breaker.reason,
        hits=counters.hits,
        local_hits=0 if client is None or client.local is None else client.local.store.hits,
        misses=counters.misses,
        relayed=counters.relayed,
        repaired=counters.repaired + (0 if reconciler is None else reconciler.repaired),
        orphans=0 if reconciler is None else reconciler.orphans,
        compared=0 if reconciler is None else reconciler.compared,
        scan_passes=0 if reconciler is None else reconciler.scan_passes,
        failed_rounds=counters.failed_rounds,
        lag_s=counters.lag_s,
        resets=0 if client is None else client.epoch.resets,
        openings=0 if client is None else client.breaker.openings,
        calls=0 if client is None else client.calls,
    )
