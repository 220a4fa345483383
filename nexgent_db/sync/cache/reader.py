# Generated from nexgent_db/aio/cache/reader.py by `make sync`: do not edit.
"""Looks rows up in the cache, and stores rows that were loaded from the database. A missing row is never an error."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from nexgent_db.cache.batch import Batch, CacheTimestamp
from nexgent_db.cache.breaker import CacheUnavailable, State
from nexgent_db.cache.codec import POSITION, version_of
from nexgent_db.models.positions import AgentPosition
from nexgent_db.sync.cache.recovery import Recovery
from nexgent_db.sync.cache.relay import log
from nexgent_db.sync.turns import in_turns

R = TypeVar("R")

MAX_LOADED: Final = 2000
"""A longer list is not stored by its reader."""


@dataclass(frozen=True, slots=True)
class CachedRow(Generic[R]):
    """The cached row. Without one, ``started_at`` is the start of the load that may store it, ``replaced`` the unusable
    payload that the load replaces."""

    row: R | None
    started_at: CacheTimestamp | None = None
    replaced: bytes | None = None


@dataclass(frozen=True, slots=True)
class SetLoad:
    """The load of an incomplete set: its start, and the token to complete the set with. None, or b"": not allowed."""

    started_at: CacheTimestamp | None
    token: bytes


class CacheReader:
    """Never raises for Redis: the caller reads the database instead."""

    def __init__(self, recovery: Recovery) -> None:
        self._recovery = recovery
        self._counters = recovery.counters

    # --- Rows -------------------------------------------------------------------------------------

    def values(self, *keys: str) -> tuple[list[bytes | None] | None, CacheTimestamp | None]:
        """The values at the keys and the start of the look-up; None and None when the cache cannot be read."""
        client = self._recovery.readable()
        if client is None:
            return None, None
        started_at = client.now()
        try:
            return client.read(*keys), started_at
        except CacheUnavailable:
            self._recovery.recover_soon()
            return None, None

    def row(self, key: str, decode: Callable[[bytes], R | None], at_least: int | None) -> CachedRow[R]:
        """The cached row with this version or a newer one. ``decode`` is None for a payload that is not the row."""
        values, started_at = self.values(key)
        payload = None if values is None else values[0]
        if payload is not None:
            row = decode(payload)
            if row is None:
                self._counters.misses += 1
                return CachedRow(None, started_at, payload)
            if (version_of(payload) or 0) >= (at_least or 0):
                self._counters.hits += 1
                return CachedRow(row)
        self._counters.misses += 1
        return CachedRow(None, started_at)

    # --- Sets -------------------------------------------------------------------------------------

    def members(self, key: str, owner: str, prefix: str = "") -> tuple[list[bytes] | None, SetLoad]:
        """A complete set's rows, or its members without a ``prefix`` of rows; else None and the load."""
        client = self._recovery.readable()
        if client is None:
            return None, SetLoad(None, b"")
        started_at = client.now()
        try:
            rows, token = client.get_set(key, owner, prefix)
        except CacheUnavailable:
            self._recovery.recover_soon()
            return None, SetLoad(None, b"")
        return rows, SetLoad(started_at, token)

    def positions(
        self, key: str, owner: str, prefix: str, belongs: Callable[[AgentPosition], bool], at_least: int | None
    ) -> tuple[list[AgentPosition] | None, SetLoad]:
        """The positions of a complete set, newest first; else None and the load, always with ``at_least``."""
        payloads, load = self.members(key, owner, prefix)
        if payloads is not None:
            cached = in_turns(POSITION.decode, payloads)
            rows = [row for row in cached if row is not None and belongs(row)]
            if len(rows) == len(cached) and at_least is None:
                self._counters.hits += 1
                return newest_first(rows), load
        self._counters.misses += 1
        return None, load

    # --- Loads ------------------------------------------------------------------------------------

    def store_row(self, cached: CachedRow[R], add: Callable[[Batch], None]) -> None:
        """Store the row that the database had in the place of a missing one."""

        def fill(batch: Batch) -> None:
            add(batch)

        if cached.started_at is not None:
            self._store_with(fill, cached.started_at)

    def store_set(self, load: SetLoad, size: int, fill: Callable[[Batch], None]) -> None:
        """Complete a set of this size with what the database had, MAX_LOADED rows at most."""
        if load.started_at is not None and load.token and size <= MAX_LOADED:
            self._store_with(fill, load.started_at)

    def store_positions(self, load: SetLoad, rows: Sequence[AgentPosition], key: str, owner: str) -> None:
        """Complete a set of positions with those that the database had."""

        def fill(batch: Batch) -> None:
            in_turns(lambda row: batch.position(row, "fill"), rows)
            batch.complete(key, owner, load.token, [str(row.id) for row in rows])

        self.store_set(load, len(rows), fill)

    def _store_with(self, fill: Callable[[Batch], None], started_at: CacheTimestamp) -> None:
        """Never raises: the caller's rows are right, whatever fails here."""
        client = self._recovery.client
        assert client is not None
        batch = Batch(client.keys)
        try:
            fill(batch)
        except Exception as error:
            log(logging.ERROR, "loaded rows have no cached form", error)
        else:
            self.store(batch, started_at)

    def store(self, batch: Batch, started_at: CacheTimestamp) -> None:
        """Store loaded rows in one round trip. Never raises."""
        client = self._recovery.client
        assert client is not None
        if client.breaker.state is State.OPEN:  # since the look-up
            return
        try:
            client.write(batch, started_at, committed=False)
        except CacheUnavailable:
            self._recovery.recover_soon()
        except Exception as error:
            log(logging.ERROR, "loaded rows could not be stored", error)


def newest_first(rows: Iterable[AgentPosition]) -> list[AgentPosition]:
    """Sorted by the time of creation, then by id."""
    return sorted(rows, key=lambda row: (row.created_at, row.id), reverse=True)
