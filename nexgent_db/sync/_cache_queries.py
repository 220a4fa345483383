# Generated from nexgent_db/aio/_cache_queries.py by `make sync`: do not edit.
"""What the cache reads of the database."""

from __future__ import annotations

from uuid import UUID

from nexgent_db.binding import query
from nexgent_db.models._base import TokenAddress
from nexgent_db.models.balances import AgentBalance
from nexgent_db.models.cache import (
    CacheableRows,
    CacheableWallet,
    CacheChange,
    CachedAgent,
    DatabaseIdentity,
    SetMember,
)
from nexgent_db.models.positions import AgentPosition
from nexgent_db.sync._repository import Repository


class CacheQueries(Repository, sql="cache"):
    """The cache's own reads of the database."""

    @query
    def own_changes(
        self, seen: int, limit: int
    ) -> list[tuple[CacheChange, AgentPosition | None, AgentBalance | None, CachedAgent | None]]:
        """What this transaction changed."""
        ...

    @query
    def take_changes(
        self, limit: int
    ) -> list[tuple[CacheChange, AgentPosition | None, AgentBalance | None, CachedAgent | None]]:
        """The oldest changes, taken off the queue."""
        ...

    @query
    def has_changes(self, version: int) -> bool:
        """Does a change up to this version wait?"""
        ...

    @query
    def lag(self) -> float:
        """How many seconds the oldest change has waited."""
        ...

    @query
    def count_changes(self, limit: int) -> int:
        """How many changes wait, counted up to a limit."""
        ...

    @query
    def forget_changes(self, limit: int, age_s: float) -> int:
        """Put one change of everything in the place of the oldest."""
        ...

    @query
    def identity(self) -> DatabaseIdentity:
        """Which database this is."""
        ...

    @query
    def find_agent(self, agent_id: UUID) -> CachedAgent | None:
        """What is cached of an agent."""
        ...

    @query
    def list_active_agents(self, limit: int) -> list[UUID]:
        """The agents that trade by themselves."""
        ...

    @query
    def list_positions_of_token(self, token_address: TokenAddress, limit: int) -> list[AgentPosition]:
        """The open positions in a token."""
        ...

    @query
    def list_positions(self, position_ids: list[UUID], limit: int) -> list[AgentPosition]:
        """The open ones among these positions."""
        ...

    @query
    def list_balances(self, wallet_addresses: list[str], token_addresses: list[str], limit: int) -> list[AgentBalance]:
        """The holdings of these wallets and tokens, pair by pair."""
        ...

    @query
    def list_agents(self, agent_ids: list[UUID], limit: int) -> list[CachedAgent]:
        """What is cached of these agents."""
        ...

    @query
    def list_members_of_agents(self, agent_ids: list[UUID], limit: int) -> list[SetMember]:
        """The agents' open positions, each by its id."""
        ...

    @query
    def list_members_of_tokens(self, token_addresses: list[str], limit: int) -> list[SetMember]:
        """The open positions in the tokens, each by its id."""
        ...

    @query
    def list_members_of_wallets(self, wallet_addresses: list[str], limit: int) -> list[SetMember]:
        """The wallets' holdings, each by its token."""
        ...

    @query
    def count_rows(self) -> CacheableRows:
        """How much there is to be cached."""
        ...

    @query
    def page_of_positions(self, after: UUID, limit: int) -> list[AgentPosition]:
        """The next positions by id."""
        ...

    @query
    def page_of_balances(self, after: UUID, limit: int) -> list[AgentBalance]:
        """The next balances by id."""
        ...

    @query
    def page_of_agents(self, after: UUID, limit: int) -> list[CachedAgent]:
        """The next agents by id."""
        ...

    @query
    def page_of_wallets(self, after: str, limit: int) -> list[CacheableWallet]:
        """The next wallets by address."""
        ...

    @query
    def page_of_tokens(self, after: str, limit: int) -> list[str]:
        """The next tokens that positions are open in, by address."""
        ...
