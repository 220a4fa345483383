# Generated from nexgent_db/aio/_cached.py by `make sync`: do not edit.
"""The same sessions with a cache that follows what they write."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager
from typing import Any

from nexgent_db._cache_rows import changes_cached_rows
from nexgent_db.binding import BoundQuery, Call
from nexgent_db.sync._session import Session
from nexgent_db.sync.cache import Cache


class CachedSession(Session):
    """A pool's session. Of a trade the cache learns by the result; any other change of cached rows is made in a block,
    which reads before its COMMIT what it has changed."""

    def __init__(self, session: Session, cache: Cache) -> None:
        self._session = session
        self.cache = cache

    def run(self, bound: BoundQuery, call: Call) -> Any:
        if bound.query.file == "trades" or not changes_cached_rows(bound):
            return self._session.run(bound, call)
        with self.block() as session:
            return session.run(bound, call)

    def stream(self, bound: BoundQuery, call: Call) -> Generator[Any, None, None]:
        return self._session.stream(bound, call)

    def block(self) -> AbstractContextManager[Session]:
        return self._session.block()
