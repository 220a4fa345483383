# Generated from nexgent_db/aio/repositories/agents.py by `make sync`: do not edit.
"""Agents: ``sql/agents.sql``."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from nexgent_db.models.agents import Agent, AgentWithWallets
from nexgent_db.models.base import Limit, Name, TradingMode, WalletAddress
from nexgent_db.models.storable import JsonText
from nexgent_db.models.trading_config import AgentTradingConfig, checked_config, merged_config, stored_config
from nexgent_db.models.wallets import AgentWallet
from nexgent_db.queries.binding import NOT_GIVEN, NotGiven, query
from nexgent_db.sync.repositories.base import Repository


class AgentRepository(Repository, sql="agents"):
    """Agents with their wallets and configurations."""

    def find_by_id(self, agent_id: UUID) -> AgentWithWallets | None:
        """The agent and its wallets, simulation first, by one query; None when there is no such agent."""
        rows = self.list_with_wallets_by_id(agent_id)
        if not rows:
            return None
        wallets = tuple(wallet for _, wallet in rows if wallet is not None)
        return AgentWithWallets.model_construct(agent=rows[0][0], wallets=wallets)

    @query
    def list_with_wallets_by_id(self, agent_id: UUID) -> list[tuple[Agent, AgentWallet | None]]:
        """The agent, once per wallet, simulation first; once with None when it has no wallet.

        An empty list when there is no such agent.
        """
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
        """The wallet of this address, of any agent."""
        ...

    @query
    def find_default_wallet(self, agent_id: UUID) -> AgentWallet | None:
        """The wallet whose type is the agent's trading mode; None when it has no such wallet."""
        ...

    @query
    def create(
        self, user_id: UUID, name: Name, trading_mode: TradingMode = "simulation", agent_id: UUID | None = None
    ) -> Agent:
        """Create an agent, with the id ``agent_id`` when given.

        Raises ForeignKeyViolation when there is no such user.
        """
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
        """Update the given columns; None when there is no such agent."""
        ...

    @query
    def set_automated_trading(self, agent_id: UUID, mode: TradingMode, enabled: bool) -> Agent | None:
        """Turn automated trading in one mode on or off; the other mode stays as it is.

        None when there is no such agent.
        """
        ...

    def load_config(self, agent_id: UUID) -> AgentTradingConfig | None:
        """The agent's complete configuration, the stored one over the defaults; None when there is no such agent.

        Raises InvalidTradingConfig when another program has stored one that breaks the rules.
        """
        document = self.find_config(agent_id)
        return None if document is None else stored_config(document, agent_id)

    def save_config(self, agent_id: UUID, config: AgentTradingConfig | None) -> AgentTradingConfig | None:
        """Replace the agent's configuration; None when there is no such agent.

        Stores every default with its present value. None removes the stored configuration, so later defaults apply.
        The last of several calls wins: use :meth:`update_config` to change a part. Raises InvalidInput for an object
        that is no AgentTradingConfig (``from_json`` makes one from a document); InvalidTradingConfig.
        """
        checked = checked_config(config)
        stored = self.store_config(agent_id, None if config is None else checked.to_json())
        return checked if stored else None

    def update_config(self, agent_id: UUID, patch: Mapping[str, object]) -> AgentTradingConfig | None:
        """Merge ``patch`` into the agent's configuration; returns the result, None when there is no such agent.

        ``patch`` is a document, ``{"stopLoss": {"enabled": False}}``, with numbers as int or Decimal. Objects are
        merged, arrays and scalars replaced, unknown keys dropped. Locks the agent's row, so concurrent changes of
        different keys all survive. Raises InvalidInput; InvalidTradingConfig when the result breaks a rule: then
        nothing is stored.
        """
        with self._session.transaction() as session:
            agents = type(self)(session)
            document = agents.lock_config(agent_id)
            if document is None:
                return None
            changed, config = merged_config(document, patch, agent_id)
            agents.store_config(agent_id, changed)
            return config

    @query
    def find_config(self, agent_id: UUID) -> str | None:
        """The stored configuration as JSON text, so that its numbers stay exact; ``{}`` when none is stored.

        None when there is no such agent.
        """
        ...

    @query
    def lock_config(self, agent_id: UUID) -> str | None:
        """The stored configuration as :meth:`find_config` returns it.

        Locks the agent's row against updates until the end of the transaction; trades do not wait.
        """
        ...

    @query
    def store_config(self, agent_id: UUID, document: JsonText | None) -> int:
        """Replace the stored configuration by JSON text, None for all defaults; 0 when there is no such agent.

        The caller has validated the document, as :meth:`save_config` and :meth:`update_config` do.
        """
        ...

    @query
    def delete(self, agent_id: UUID) -> int:
        """Delete the agent with its wallets, positions, balances and transactions; 0 when there is no such agent."""
        ...
