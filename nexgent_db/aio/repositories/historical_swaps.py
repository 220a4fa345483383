"""Historical swaps: ``sql/historical_swaps.sql``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final
from uuid import UUID

from nexgent_db.aio._repository import Repository
from nexgent_db.binding import query
from nexgent_db.models._base import Limit, WalletAddress
from nexgent_db.models.filters import SwapFilter
from nexgent_db.models.historical_swaps import AgentHistoricalSwap, ClosedTrades
from nexgent_db.models.pages import BeforeUuid, Page, one_more_than, page_of, place_of

_ANY: Final = SwapFilter()
_START: Final = BeforeUuid()


class HistoricalSwapRepository(Repository, sql="historical_swaps"):
    """Closed positions. The sale that closes one writes it."""

    @query
    async def find_by_id(self, swap_id: UUID) -> AgentHistoricalSwap | None:
        """The closed trade of this id."""
        ...

    @query
    async def list_by_agent(
        self, agent_id: UUID, filter: SwapFilter = _ANY, before: BeforeUuid = _START, limit: Limit = 100
    ) -> list[AgentHistoricalSwap]:
        """The agent's closed trades, last sold first, from the given place on."""
        ...

    async def page_by_agent(
        self, agent_id: UUID, filter: SwapFilter = _ANY, limit: Limit = 100, cursor: str | None = None
    ) -> Page[AgentHistoricalSwap]:
        """A page of the agent's closed trades, last sold first: the first one, or the one of a page's ``next``.

        Raises InvalidInput for a cursor that is none of this list's, then for a limit outside of 1 to 9,999.
        """
        before = place_of(cursor, "historical_swaps", BeforeUuid)
        rows = await self.list_by_agent(agent_id, filter, before, one_more_than(limit))
        return page_of(rows, limit, "historical_swaps", "sale_time")

    @query
    def stream_by_agent(self, agent_id: UUID, filter: SwapFilter = _ANY) -> AsyncIterator[AgentHistoricalSwap]:
        """All of the agent's closed trades, last sold first, in constant memory; holds a connection until its end."""
        ...

    @query
    async def count_by_agent(self, agent_id: UUID, filter: SwapFilter = _ANY) -> int:
        """How many trades the agent has closed."""
        ...

    @query
    async def total_by_wallet(self, agent_id: UUID, wallet_address: WalletAddress) -> ClosedTrades:
        """How many trades the wallet has closed, and what they brought."""
        ...
