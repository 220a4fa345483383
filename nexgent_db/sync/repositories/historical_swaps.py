# Generated from nexgent_db/aio/repositories/historical_swaps.py by `make sync`: do not edit.
"""Historical swaps: ``sql/historical_swaps.sql``."""

from __future__ import annotations

from uuid import UUID

from nexgent_db.binding import query
from nexgent_db.models._base import Limit, WalletAddress
from nexgent_db.models.historical_swaps import AgentHistoricalSwap, ClosedTrades
from nexgent_db.sync._repository import Repository


class HistoricalSwapRepository(Repository, sql="historical_swaps"):
    """Closed positions. The sale that closes one writes it."""

    @query
    def find_by_id(self, swap_id: UUID) -> AgentHistoricalSwap | None:
        """The closed trade of this id."""
        ...

    @query
    def list_by_agent(
        self, agent_id: UUID, wallet_address: WalletAddress | None = None, limit: Limit = 100
    ) -> list[AgentHistoricalSwap]:
        """The agent's closed trades, of one wallet or of all, last sold first."""
        ...

    @query
    def total_by_wallet(self, agent_id: UUID, wallet_address: WalletAddress) -> ClosedTrades:
        """How many trades the wallet has closed, and what they brought."""
        ...
