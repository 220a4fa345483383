# Generated from nexgent_db/aio/repositories/agents.py by `make sync`: do not edit.
"""Agents: ``sql/agents.sql``."""

from __future__ import annotations

from uuid import UUID

from nexgent_db.binding import NOT_GIVEN, NotGiven, query
from nexgent_db.models._base import Limit, Name, TradingMode, WalletAddress
from nexgent_db.models.agents import Agent, AgentWithWallets
from nexgent_db.models.wallets import AgentWallet
from nexgent_db.sync._repository import Repository


class AgentRepository(Repository, sql="agents"):
    """What trades, and with which wallets."""

    def find_by_id(self, agent_id: UUID) -> AgentWithWallets | None:
        """The agent and its wallets, simulation first, in one query; None when there is no such agent."""
        rows = self.list_with_wallets_by_id(agent_id)
        if not rows:
            return None
        wallets = tuple(wallet for _, wallet in rows if wallet is not None)
        return AgentWithWallets.model_construct(agent=rows[0][0], wallets=wallets)

    @query
    def list_with_wallets_by_id(self, agent_id: UUID) -> list[tuple[Agent, AgentWallet | None]]:
        """The agent beside each of its wallets, beside None when it has none."""
        ...

    @query
    def find_by_user_id(self, user_id: UUID, limit: Limit = 100) -> list[Agent]:
        """The user's agents, newest first."""
        ...

    @query
    def find_wallet_by_agent_id(self, agent_id: UUID, wallet_type: TradingMode) -> AgentWallet | None:
        """The agent's wallet of this type."""
        ...

    @query
    def find_wallet_by_address(self, wallet_address: WalletAddress) -> AgentWallet | None:
        """The wallet of this address, whosever it is."""
        ...

    @query
    def create(
        self, user_id: UUID, name: Name, trading_mode: TradingMode = "simulation", agent_id: UUID | None = None
    ) -> Agent:
        """A new agent, under ``agent_id`` when given. Raises ForeignKeyViolation when there is no such user."""
        ...

    @query
    def update(
        self,
        agent_id: UUID,
        name: Name | NotGiven = NOT_GIVEN,
        trading_mode: TradingMode | NotGiven = NOT_GIVEN,
        automated_trading_simulation: bool | NotGiven = NOT_GIVEN,
        automated_trading_live: bool | NotGiven = NOT_GIVEN,
    ) -> Agent | None:
        """Change what is given, leave the rest; None when there is no such agent."""
        ...

    @query
    def delete(self, agent_id: UUID) -> int:
        """Delete the agent with its wallets, positions, balances and ledger; 0 when there is none."""
        ...
