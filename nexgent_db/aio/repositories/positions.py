"""Positions: ``sql/positions.sql``."""

from __future__ import annotations

from uuid import UUID

from nexgent_db.aio._repository import Repository
from nexgent_db.binding import query
from nexgent_db.models._base import Limit, TokenAddress, WalletAddress
from nexgent_db.models.positions import AgentPosition, OpenPositions


class PositionRepository(Repository, sql="positions"):
    """What was bought and not yet sold. Trades open, change and close it."""

    @query
    async def find_by_id(self, position_id: UUID) -> AgentPosition | None:
        """The open position, or None once it is closed."""
        ...

    @query
    async def find_by_wallet_and_token(
        self, agent_id: UUID, wallet_address: WalletAddress, token_address: TokenAddress
    ) -> AgentPosition | None:
        """The wallet's open position in this token."""
        ...

    @query
    async def list_by_agent(
        self, agent_id: UUID, wallet_address: WalletAddress | None = None, limit: Limit = 1000
    ) -> list[AgentPosition]:
        """The agent's open positions, of one wallet or of all, newest first."""
        ...

    @query
    async def total_by_wallet(self, agent_id: UUID, wallet_address: WalletAddress) -> OpenPositions:
        """How many positions the wallet has open, and what their take-profits have brought."""
        ...
