"""Wallets: ``sql/wallets.sql``."""

from __future__ import annotations

from uuid import UUID

from nexgent_db.aio.repositories.base import Repository
from nexgent_db.models.base import TradingMode, WalletAddress
from nexgent_db.models.wallets import AgentWallet
from nexgent_db.queries.binding import query


class WalletRepository(Repository, sql="wallets"):
    """The addresses that agents trade from. No method takes or returns a private key."""

    @query
    async def create(self, wallet_address: WalletAddress, agent_id: UUID, wallet_type: TradingMode) -> AgentWallet:
        """Create a wallet of the agent.

        Raises WalletTaken when the address is taken, WalletTypeTaken when the agent has a wallet of this type,
        ForeignKeyViolation when there is no such agent.
        """
        ...

    @query
    async def list_by_agent(self, agent_id: UUID) -> list[AgentWallet]:
        """The agent's wallets, simulation first; at most two."""
        ...

    @query
    async def delete(self, agent_id: UUID, wallet_address: WalletAddress) -> int:
        """Delete the agent's wallet with its positions, balances and transactions; 0 when another agent has it.

        The tokens of the wallet on the chain stay there.
        """
        ...
