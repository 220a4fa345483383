"""What was committed is brought into the cache: called by sessions and blocks, never by users."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from nexgent_db._cache_rows import Batch, Change, Moment
from nexgent_db.aio._cache_queries import CacheQueries
from nexgent_db.aio._cache_upkeep import CacheUpkeep
from nexgent_db.aio._session import Replay, Session
from nexgent_db.models.trades import ResetResult, TradeResult

MOST_CHANGES: Final = 1000
"""A block that changed more leaves them to the outbox."""


class CacheWrites(CacheUpkeep):
    """The part of the cache that follows this process's own commits."""

    @property
    def follows(self) -> bool:
        """Are changes applied at the moment? When not, it is remembered that some were missed."""
        return self._link is not None and self._link.breaker.may_write()

    def now(self) -> Moment:
        """The moment from which on a change counts as begun."""
        return Moment(b"", 0) if self._link is None else self._link.now()

    async def apply_trade(self, result: TradeResult | ResetResult, token_address: str | None, began: Moment) -> None:
        """Send what a committed trade changed to the cache, in one message; the answer is read later. Never raises."""
        link = self._link
        if link is None:
            return
        if not link.breaker.may_write():
            self._recover_soon()
            return
        batch = Batch(link.keys)
        batch.trade(result, token_address)
        if batch:
            await self._follow(batch, began)

    async def changes_of(self, session: Session, seen: int) -> list[Change]:
        """What the session's transaction changed, to be applied after its COMMIT: one round trip to the database."""
        return await CacheQueries(session).own_changes(seen, MOST_CHANGES + 1)

    def leave_to_outbox(self) -> None:
        """A block was committed whose changes are not known here: read from the database until they were applied."""
        if self._link is not None:
            self._link.breaker.miss()
            self._recover_soon()

    async def apply_changes(self, changes: Sequence[Change], replays: Sequence[Replay], began: Moment) -> None:
        """Send committed changes, and trades of earlier, as ``apply_trade`` does. Never raises."""
        link = self._link
        if link is None:
            return
        if len(changes) > MOST_CHANGES or any(change.entity == "everything" for change, *_ in changes):
            self.leave_to_outbox()
            return
        if not link.breaker.may_write():
            self._recover_soon()
            return
        batch = Batch(link.keys)
        batch.changes(changes)
        for result, token_address in replays:
            batch.trade(result, token_address)
        if batch:
            await self._follow(batch, began)
