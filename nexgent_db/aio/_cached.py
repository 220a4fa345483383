"""The same sessions with a cache that follows what they write."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from typing import Any

from nexgent_db._cache_rows import changes_cached_rows
from nexgent_db.aio._session import Session
from nexgent_db.aio.cache import AsyncCache
from nexgent_db.binding import BoundQuery, Call


class CachedSession(Session):
    """A pool's session. Of a trade the cache learns by the result; any other change of cached rows is made in a block,
    which reads before its COMMIT what it has changed."""

    def __init__(self, session: Session, cache: AsyncCache) -> None:
        self._session = session
        self.cache = cache

    async def run(self, bound: BoundQuery, call: Call) -> Any:
        if bound.query.file == "trades" or not changes_cached_rows(bound):
            return await self._session.run(bound, call)
        async with self.block() as session:
            return await session.run(bound, call)

    def stream(self, bound: BoundQuery, call: Call) -> AsyncGenerator[Any, None]:
        return self._session.stream(bound, call)

    def block(self) -> AbstractAsyncContextManager[Session]:
        return self._session.block()
