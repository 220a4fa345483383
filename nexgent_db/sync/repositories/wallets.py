# Generated from nexgent_db/aio/repositories/wallets.py by `make sync`: do not edit.
"""Wallets: ``sql/wallets.sql``."""

from __future__ import annotations

from uuid import UUID

from nexgent_db.binding import query
from nexgent_db.models._base import TradingMode, WalletAddress
from nexgent_db.models.wallets import AgentWallet
from nexgent_db.sync._repository import Repository


class WalletRepository(Repository, sql="wallets"):
    """Which addresses an agent trades from. No private key ever passes here."""

    @query
    def create(self, wallet_address: WalletAddress, agent_id: UUID, wallet_type: TradingMode) -> AgentWallet:
        """Give the agent a wallet.

        Raises WalletTaken when the address is an agent's already, WalletTypeTaken when the agent has a wallet of
        this type, ForeignKeyViolation when there is no such agent.
        """
        ...

    @query
    def list_by_agent(self, agent_id: UUID) -> list[AgentWallet]:
        """The agent's wallets, simulation first; two at the most."""
        ...

    @query
    def delete(self, agent_id: UUID, wallet_address: WalletAddress) -> int:
        """Unassign the agent's wallet: delete it with its positions, balances and ledger; 0 when it is not the agent's.

        What the wallet holds on the chain is not touched.
        """
        ...
