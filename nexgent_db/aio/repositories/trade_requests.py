"""Trade requests: ``sql/trade_requests.sql``."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, Field

from nexgent_db.aio.repositories.base import Repository
from nexgent_db.models.trade_requests import TradeRequest
from nexgent_db.queries.binding import query


class TradeRequestRepository(Repository, sql="trade_requests"):
    """The executed orders, by the ids of their trades: ``order.trade_id``, or ``trade_id_of(agent_id, request_id)``."""

    @query
    async def list_by_ids(self, trade_ids: Annotated[list[UUID], Field(max_length=10_000)]) -> list[TradeRequest]:
        """Those of these orders that were executed, and as which operation, by id; at most 10,000 at once."""
        ...

    @query
    async def prune(self, before: AwareDatetime, limit: Annotated[int, Field(ge=1)] = 1000) -> int:
        """Delete requests that were executed before a time, ``limit`` at most, oldest first; return how many.

        A pruned order that is sent again is refused with IdempotencyConflict, for its transaction; its first result is
        gone. So keep requests for longer than a client repeats an order. The requests of resets, which have no
        transaction of the trade's id, are never pruned. Skips locked rows, waits for none. Call it until it returns
        less than ``limit``; ``nexgent-db ledger prune-requests`` does.
        """
        ...
