"""Agents: ``sql/agents.sql``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Final, cast
from uuid import UUID

from nexgent_db.aio.repositories.base import Repository
from nexgent_db.models.agents import Agent, AgentWithWallets, with_wallets
from nexgent_db.models.base import Limit, Name, RowLimit, TradingMode, WalletAddress
from nexgent_db.models.filters import AgentFilter
from nexgent_db.models.pages import (
    AfterUuid,
    BeforeUuid,
    Page,
    decode_cursor,
    make_page_by,
    one_more_than,
)
from nexgent_db.models.storable import JsonText
from nexgent_db.models.trading_config import AgentTradingConfig, checked_config, merged_config, stored_config
from nexgent_db.models.wallets import AgentWallet
from nexgent_db.queries.binding import ensure_whole, query, rows_to_read
from nexgent_db.queries.values import NOT_GIVEN, NotGiven

_ANY: Final = AgentFilter()
_NEWEST: Final = BeforeUuid()
_FIRST: Final = AfterUuid()
_Joined = tuple[Agent, AgentWallet | None]


class AgentRepository(Repository, sql="agents"):
    """Agents with their wallets and configurations."""

    async def find_by_id(self, agent_id: UUID) -> AgentWithWallets | None:
        """The agent and its wallets, simulation first, by one query; None when there is no such agent."""
        return next(with_wallets(await self.list_with_wallets_by_id(agent_id)), None)

    @query
    async def list_with_wallets_by_id(self, agent_id: UUID) -> list[_Joined]:
        """The agent, once per wallet, simulation first; once with None when it has no wallet.

        An empty list when there is no such agent.
        """
        ...

    async def find_by_user_id(self, user_id: UUID, limit: Limit | None = None) -> list[AgentWithWallets]:
        """The user's agents with their wallets, newest first, by one query.

        Raises InvalidInput for a limit outside of 1 to 10,000; ListTooLong without one, for more than 10,000 agents.
        """
        rows = await self.list_with_wallets_by_user_id(user_id, _NEWEST, rows_to_read(limit))
        agents = list(with_wallets(rows))
        ensure_whole(agents, "agents.find_by_user_id")
        return agents

    async def page_by_user_id(
        self, user_id: UUID, limit: Limit = 100, cursor: str | None = None
    ) -> Page[AgentWithWallets]:
        """A page of the user's agents with their wallets, newest first: the first page, or the one of the ``cursor``.

        Raises InvalidInput for a cursor of another list, then for a limit outside of 1 to 9,999.
        """
        before = decode_cursor(cursor, "agents_of_user", BeforeUuid)
        rows = await self.list_with_wallets_by_user_id(user_id, before, one_more_than(limit))
        return make_page_by(
            lambda each: (each.agent.created_at.isoformat(), str(each.agent.id)),
            list(with_wallets(rows)),
            limit,
            "agents_of_user",
        )

    @query
    async def list_with_wallets_by_user_id(self, user_id: UUID, before: BeforeUuid, limit: RowLimit) -> list[_Joined]:
        """The user's agents, newest first, each once per wallet; ``limit`` counts agents."""
        ...

    async def list_all(
        self, filter: AgentFilter = _ANY, after: AfterUuid = _FIRST, limit: Limit | None = None
    ) -> list[AgentWithWallets]:
        """The agents of all users with their wallets, by id, by one query; those after the key ``after`` when given.

        Raises InvalidInput for a limit outside of 1 to 10,000; ListTooLong without one, for more than 10,000 agents.
        """
        agents = list(with_wallets(await self.list_all_with_wallets(filter, after, rows_to_read(limit))))
        ensure_whole(agents, "agents.list_all")
        return agents

    async def page_all(
        self, filter: AgentFilter = _ANY, limit: Limit = 100, cursor: str | None = None
    ) -> Page[AgentWithWallets]:
        """A page of the agents of all users with their wallets, by id: the first page, or the one of the ``cursor``.

        For a job that walks all agents: a page is one query, and page 10,000 costs the same as page 1. Raises
        InvalidInput for a cursor of another list, then for a limit outside of 1 to 9,999.
        """
        after = decode_cursor(cursor, "agents", AfterUuid)
        rows = await self.list_all_with_wallets(filter, after, one_more_than(limit))
        return make_page_by(lambda each: (str(each.agent.id),), list(with_wallets(rows)), limit, "agents")

    @query
    async def list_all_with_wallets(self, filter: AgentFilter, after: AfterUuid, limit: RowLimit) -> list[_Joined]:
        """The agents of all users, by id, each once per wallet; ``limit`` counts agents."""
        ...

    def stream_all(self, filter: AgentFilter = _ANY) -> AsyncIterator[AgentWithWallets]:
        """All agents of all users with their wallets, by id, in constant memory; keeps a connection to its end."""
        return _grouped(self.stream_all_with_wallets(filter))

    @query
    def stream_all_with_wallets(self, filter: AgentFilter = _ANY) -> AsyncIterator[_Joined]:
        """All agents of all users, by id, each once per wallet."""
        ...

    @query
    async def find_wallet_by_agent_id(self, agent_id: UUID, wallet_type: TradingMode) -> AgentWallet | None:
        """The agent's wallet of this type."""
        ...

    @query
    async def find_wallet_by_address(self, wallet_address: WalletAddress) -> AgentWallet | None:
        """The wallet of this address, of any agent."""
        ...

    @query
    async def find_default_wallet(self, agent_id: UUID) -> AgentWallet | None:
        """The wallet whose type is the agent's trading mode; None when it has no such wallet."""
        ...

    @query
    async def create(
        self, user_id: UUID, name: Name, trading_mode: TradingMode = "simulation", agent_id: UUID | None = None
    ) -> Agent:
        """Create an agent, with the id ``agent_id`` when given.

        Raises ForeignKeyViolation when there is no such user.
        """
        ...

    @query
    async def update(
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
    async def set_automated_trading(self, agent_id: UUID, mode: TradingMode, enabled: bool) -> Agent | None:
        """Turn automated trading in one mode on or off; the other mode stays as it is.

        None when there is no such agent.
        """
        ...

    async def load_config(self, agent_id: UUID) -> AgentTradingConfig | None:
        """The agent's complete configuration, the stored one over the defaults; None when there is no such agent.

        Raises InvalidTradingConfig when another program has stored one that breaks the rules.
        """
        document = await self.find_config(agent_id)
        return None if document is None else stored_config(document, agent_id)

    async def save_config(self, agent_id: UUID, config: AgentTradingConfig | None) -> AgentTradingConfig | None:
        """Replace the agent's configuration; None when there is no such agent.

        Stores every default with its present value. None removes the stored configuration, so later defaults apply.
        The last of several calls wins: use :meth:`update_config` to change a part. Raises InvalidInput for an object
        that is no AgentTradingConfig (``from_json`` makes one from a document); InvalidTradingConfig.
        """
        checked = checked_config(config)
        stored = await self.store_config(agent_id, None if config is None else checked.to_json())
        return checked if stored else None

    async def update_config(self, agent_id: UUID, patch: Mapping[str, object]) -> AgentTradingConfig | None:
        """Merge ``patch`` into the agent's configuration; returns the result, None when there is no such agent.

        ``patch`` is a document, ``{"stopLoss": {"enabled": False}}``, with numbers as int or Decimal. Objects are
        merged, arrays and scalars replaced, unknown keys dropped. Locks the agent's row, so concurrent changes of
        different keys all survive. Raises InvalidInput; InvalidTradingConfig when the result breaks a rule: then
        nothing is stored.
        """
        async with self._session.transaction() as session:
            agents = type(self)(session)
            document = await agents.lock_config(agent_id)
            if document is None:
                return None
            changed, config = merged_config(document, patch, agent_id)
            await agents.store_config(agent_id, changed)
            return config

    @query
    async def find_config(self, agent_id: UUID) -> str | None:
        """The stored configuration as JSON text, so that its numbers stay exact; ``{}`` when none is stored.

        None when there is no such agent.
        """
        ...

    @query
    async def lock_config(self, agent_id: UUID) -> str | None:
        """The stored configuration as :meth:`find_config` returns it.

        Locks the agent's row against updates until the end of the transaction; trades do not wait.
        """
        ...

    @query
    async def store_config(self, agent_id: UUID, document: JsonText | None) -> int:
        """Replace the stored configuration by JSON text, None for all defaults; 0 when there is no such agent.

        The caller has validated the document, as :meth:`save_config` and :meth:`update_config` do.
        """
        ...

    @query
    async def delete(self, agent_id: UUID) -> int:
        """Delete the agent with its wallets, positions, balances and transactions; 0 when there is no such agent."""
        ...


async def _grouped(rows: AsyncIterator[_Joined]) -> AsyncGenerator[AgentWithWallets, None]:
    """The agents of a stream of joined rows; closing this closes the stream."""
    of_agent: list[_Joined] = []
    async with aclosing(cast("AsyncGenerator[_Joined, None]", rows)) as stream:
        async for row in stream:
            if of_agent and row[0].id != of_agent[0][0].id:
                yield next(with_wallets(of_agent))
                of_agent = []
            of_agent.append(row)
    if of_agent:
        yield next(with_wallets(of_agent))
