"""The end of a database object: calls in flight, then the outbox, then the connections, each for a bounded time."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from typing import Final

from nexgent_db.aio.cache import AsyncCache
from nexgent_db.aio.pool import CLOSE_S, ConnectionPool, settle
from nexgent_db.aio.scope import RowScope
from nexgent_db.errors import InvalidInput

_LOG: Final = logging.getLogger("nexgent_db")


class Ending:
    """The end of a pool and of the caches over it, those of the schema and of the cells. Maintenance ends at once.

    Raises InvalidInput unless ``drain_s`` is a finite number of seconds, 0 or more; nothing is stopped then.
    """

    def __init__(self, pool: ConnectionPool, caches: Sequence[tuple[AsyncCache, RowScope]], drain_s: float) -> None:
        if not (math.isfinite(drain_s) and drain_s >= 0):
            raise InvalidInput("drain_s", f"a number of seconds from 0 on is expected, not {drain_s}")
        self._drain_s = drain_s
        self._pool = pool
        self._caches = caches
        self._settle_until = time.monotonic() + CLOSE_S
        for cache, _ in caches:
            cache.maintenance.stop()

    async def close_caches(self) -> int | None:
        """Drain the outboxes for ``drain_s`` in all, and close the connections to Redis.

        Returns how many changes are left in all of them; None when it did not drain, or the database did not answer.
        """
        left = await self._drain() if self._drain_s else None
        for cache, _ in self._caches:
            await cache._close()
        return left

    async def _drain(self) -> int | None:
        await settle(self._pool, self._settle_until)
        until = time.monotonic() + self._drain_s
        left: int | None = 0
        for cache, scope in self._caches:
            changes = await cache._relay_until(self._pool.lease(), scope, until)
            left = None if left is None or changes is None else left + changes
        if left is None:
            _LOG.warning("closed, and the database did not answer whether changes wait in cache_outbox")
        elif left:
            _LOG.warning("closed with %s changes in cache_outbox: another process has to relay them", left)
        return left

    async def close_pool(self) -> None:
        """Close the connections to the database, after a wait of CLOSE_S in all for those in use."""
        await self._pool.close(self._settle_until)
