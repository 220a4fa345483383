# Generated from nexgent_db/aio/repositories/positions.py by `make sync`: do not edit.
"""Positions: ``sql/positions.sql``."""

from __future__ import annotations

from uuid import UUID

from nexgent_db.models.base import Limit, TokenAddress, WalletAddress
from nexgent_db.models.positions import AgentPosition, OpenPositions
from nexgent_db.queries.binding import query
from nexgent_db.sync.repositories.base import Repository


class PositionRepository(Repository, sql="positions"):
    """Open positions. Only trades open, change and close them."""

    @query
    def find_by_id(self, position_id: UUID) -> AgentPosition | None:
        """The open position of this id; None once it is closed."""
        ...

    @query
    def find_by_wallet_and_token(
        self, agent_id: UUID, wallet_address: WalletAddress, token_address: TokenAddress
    ) -> AgentPosition | None:
        """The wallet's open position in this token, of which there is at most one."""
        ...

    @query
    def list_by_agent(
        self, agent_id: UUID, wallet_address: WalletAddress | None = None, limit: Limit | None = None
    ) -> list[AgentPosition]:
        """The agent's open positions, newest first; those of one wallet when it is given.

        Raises ListTooLong without a limit, for more than 10,000 positions.
        """
        ...

    @query
    def total_by_wallet(self, agent_id: UUID, wallet_address: WalletAddress) -> OpenPositions:
        """The number of the wallet's open positions, and the profit that their take-profits have realised, in SOL."""
        ...
