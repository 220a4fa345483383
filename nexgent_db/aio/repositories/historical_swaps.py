"""Historical swaps: ``sql/historical_swaps.sql``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final
from uuid import UUID

from nexgent_db.aio.repositories.base import Repository
from nexgent_db.models.base import Limit, WalletAddress
from nexgent_db.models.filters import SwapFilter
from nexgent_db.models.historical_swaps import AgentHistoricalSwap, ClosedTrades
from nexgent_db.models.pages import BeforeUuid, Page, decode_cursor, make_page, make_page_by, one_more_than
from nexgent_db.models.signals import TradingSignal
from nexgent_db.queries.binding import query

_ANY: Final = SwapFilter()
_START: Final = BeforeUuid()
_WithSignal = tuple[AgentHistoricalSwap, TradingSignal | None]


class HistoricalSwapRepository(Repository, sql="historical_swaps"):
    """Closed positions. The sale that closes a position inserts its historical swap."""

    @query
    async def find_by_id(self, swap_id: UUID) -> AgentHistoricalSwap | None:
        """The historical swap of this id."""
        ...

    @query
    async def list_by_agent(
        self, agent_id: UUID, filter: SwapFilter = _ANY, before: BeforeUuid = _START, limit: Limit | None = None
    ) -> list[AgentHistoricalSwap]:
        """The agent's historical swaps, newest sale first; those after the key ``before`` when it is given.

        Raises ListTooLong without a limit, for more than 10,000 swaps.
        """
        ...

    async def page_by_agent(
        self, agent_id: UUID, filter: SwapFilter = _ANY, limit: Limit = 100, cursor: str | None = None
    ) -> Page[AgentHistoricalSwap]:
        """A page of the agent's historical swaps, newest sale first: the first page, or the one of the ``cursor``.

        Raises InvalidInput for a cursor of another list, then for a limit outside of 1 to 9,999.
        """
        before = decode_cursor(cursor, "historical_swaps", BeforeUuid)
        rows = await self.list_by_agent(agent_id, filter, before, one_more_than(limit))
        return make_page(rows, limit, "historical_swaps", "sale_time")

    @query
    def stream_by_agent(self, agent_id: UUID, filter: SwapFilter = _ANY) -> AsyncIterator[AgentHistoricalSwap]:
        """All of the agent's historical swaps, newest sale first, in constant memory; keeps a connection to its end."""
        ...

    @query
    async def list_with_signal(
        self, agent_id: UUID, filter: SwapFilter = _ANY, before: BeforeUuid = _START, limit: Limit | None = None
    ) -> list[_WithSignal]:
        """The agent's historical swaps, each with its signal or None, newest sale first, by one query.

        Those after the key ``before`` when it is given. Raises ListTooLong without a limit, for more than 10,000 swaps.
        """
        ...

    async def page_with_signal(
        self, agent_id: UUID, filter: SwapFilter = _ANY, limit: Limit = 100, cursor: str | None = None
    ) -> Page[_WithSignal]:
        """A page of the agent's historical swaps with their signals: the first page, or the one of the ``cursor``.

        The cursors are those of :meth:`page_by_agent`. Raises InvalidInput for a cursor of another list, then for a
        limit outside of 1 to 9,999.
        """
        before = decode_cursor(cursor, "historical_swaps", BeforeUuid)
        rows = await self.list_with_signal(agent_id, filter, before, one_more_than(limit))
        return make_page_by(lambda row: (row[0].sale_time.isoformat(), str(row[0].id)), rows, limit, "historical_swaps")

    @query
    def stream_with_signal(self, agent_id: UUID, filter: SwapFilter = _ANY) -> AsyncIterator[_WithSignal]:
        """All of the agent's historical swaps, each with its signal or None, newest sale first, in constant memory.

        Keeps a connection to its end.
        """
        ...

    @query
    async def count_by_agent(self, agent_id: UUID, filter: SwapFilter = _ANY) -> int:
        """The number of the agent's historical swaps."""
        ...

    @query
    async def total_by_wallet(self, agent_id: UUID, wallet_address: WalletAddress) -> ClosedTrades:
        """The number of the wallet's historical swaps, and their total profit in SOL."""
        ...
