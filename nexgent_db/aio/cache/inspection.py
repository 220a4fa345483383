"""Looks at Redis and at some cached entries, and changes neither: no epoch, no relay, no repair."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from nexgent_db.aio.cache.client import CacheClient
from nexgent_db.aio.cache.queries import CacheQueries
from nexgent_db.aio.cache.reconciler import Finding, Reconciler
from nexgent_db.cache.breaker import CacheUnavailable
from nexgent_db.cache.keys import CacheKeys
from nexgent_db.errors import CacheUnreachable
from nexgent_db.models.cache import CacheDifference

MAX_STEPS: Final = 200
"""How many steps of a scan look for entries: a server may have many keys of other programs."""


@dataclass(frozen=True, slots=True)
class CacheSample:
    """Some cached entries and those of them that differ.

    ``other_database``: they are another database's, so the next service to open the cache empties it.
    """

    compared: int
    differences: tuple[CacheDifference, ...]
    other_database: bool = False


class CacheInspection:
    """One namespace of one Redis or Valkey. Every method raises CacheUnreachable; each call takes 250 ms at most."""

    def __init__(self, url: str, keys: CacheKeys, queries: CacheQueries) -> None:
        self._client = CacheClient(url, keys)
        self._queries = queries

    async def info(self) -> dict[str, Any]:
        """The server's answer to INFO."""
        try:
            await self._client.servers.find()
            answer = await self._client.call("INFO")
        except CacheUnavailable as error:
            raise CacheUnreachable(f"Redis cannot be used: {error}") from error
        except Exception as error:  # of Sentinel
            raise CacheUnreachable(f"Redis cannot be used: {self._client.fail(error)}") from error
        if not isinstance(answer, dict):
            raise CacheUnreachable("Redis does not report its state")
        return answer

    async def sample(self, limit: int, patience_s: float = 1.0) -> CacheSample:
        """Compare about ``limit`` entries, which the server chooses, with the database.

        An entry differs when it still does, unchanged, after ``patience_s``. Raises what queries raise as well.
        """
        client = self._client
        await self.info()
        try:
            stored = await client.call("GET", client.keys.epoch)
            if not isinstance(stored, bytes) or not stored.startswith(b"ready "):
                return CacheSample(0, ())
            if stored.split(b" ")[2:3] != [(await self._queries.identity()).name.encode()]:
                return CacheSample(0, (), other_database=True)
            client.epoch.current = stored
            return await self._compared(Reconciler(client, self._queries), limit, patience_s)
        except CacheUnavailable as error:
            raise CacheUnreachable(f"Redis cannot be used: {error}") from error

    async def _compared(self, reconciler: Reconciler, limit: int, patience_s: float) -> CacheSample:
        compared, cursor = 0, b"0"
        suspects: list[Finding] = []
        for _ in range(MAX_STEPS):
            step = await reconciler.scan(cursor)
            assert step is not None  # it needs no scanner lease
            cursor, entries = step
            suspects += [each for each in await reconciler.compare(entries) if each.difference is not None]
            compared += len(entries)
            if cursor == b"0" or compared >= limit:
                break
        if suspects:
            await asyncio.sleep(patience_s)
            suspects = await reconciler.unchanged(suspects)
        return CacheSample(compared, tuple(each.public() for each in suspects if each.difference is not None))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
