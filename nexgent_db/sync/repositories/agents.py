# Generated from nexgent_db/aio/repositories/agents.py by `make sync`: do not edit.
"""Agents: ``sql/agents.sql``."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from nexgent_db.binding import NOT_GIVEN, NotGiven, query
from nexgent_db.models._base import Limit, Name, TradingMode, WalletAddress
from nexgent_db.models._storable import JsonText
from nexgent_db.models.agents import Agent, AgentWithWallets
from nexgent_db.models.trading_config import AgentTradingConfig, checked_config, merged_config, stored_config
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
    def find_default_wallet(self, agent_id: UUID) -> AgentWallet | None:
        """The wallet of the mode that the agent trades in; None when it has none of that type."""
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
    def set_automated_trading(self, agent_id: UUID, mode: TradingMode, enabled: bool) -> Agent | None:
        """Let the agent trade by itself in one mode, or stop it; None when there is no such agent."""
        ...

    def load_config(self, agent_id: UUID) -> AgentTradingConfig | None:
        """The agent's configuration, whole: what is stored over the defaults; None when there is no such agent.

        Raises InvalidTradingConfig when what somebody else stored breaks the rules.
        """
        document = self.find_config(agent_id)
        return None if document is None else stored_config(document, agent_id)

    def save_config(self, agent_id: UUID, config: AgentTradingConfig | None) -> AgentTradingConfig | None:
        """Store a whole configuration in the place of the agent's; None when there is no such agent.

        It is stored with every default written out. A ``config`` of None is all defaults, whatever they will be. Of two
        at the same time the last one stays: to change a part, :meth:`update_config`. Raises InvalidInput for what is
        no AgentTradingConfig (``from_json`` makes one of a document); InvalidTradingConfig.
        """
        checked = checked_config(config)
        stored = self.store_config(agent_id, None if config is None else checked.to_json())
        return checked if stored else None

    def update_config(self, agent_id: UUID, patch: Mapping[str, object]) -> AgentTradingConfig | None:
        """Change a part of the agent's configuration and give it whole; None when there is no such agent.

        ``patch`` is a document as JSON has it, ``{"stopLoss": {"enabled": False}}``, its numbers int or Decimal.
        Objects are merged, all else is replaced, unknown keys are dropped. The agent's row is locked meanwhile, so
        edits of different keys at the same time all survive. Raises InvalidInput; InvalidTradingConfig when the result
        breaks a rule: then nothing of the patch is stored.
        """
        with self._session.block() as session:
            agents = type(self)(session)
            document = agents.lock_config(agent_id)
            if document is None:
                return None
            changed, config = merged_config(document, patch, agent_id)
            agents.store_config(agent_id, changed)
            return config

    @query
    def find_config(self, agent_id: UUID) -> str | None:
        """What is stored of the configuration, as JSON text: ``{}`` for nothing. None when there is no such agent."""
        ...

    @query
    def lock_config(self, agent_id: UUID) -> str | None:
        """The same in a block, until whose end nobody else changes the agent. Trades go on."""
        ...

    @query
    def store_config(self, agent_id: UUID, document: JsonText | None) -> int:
        """Store JSON text as it is, its rules unchecked; None for all defaults. 0 when there is no such agent.

        :meth:`save_config` and :meth:`update_config` check first.
        """
        ...

    @query
    def delete(self, agent_id: UUID) -> int:
        """Delete the agent with its wallets, positions, balances and ledger; 0 when there is none."""
        ...
