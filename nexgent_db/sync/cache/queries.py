# Generated from nexgent_db/aio/cache/queries.py by `make sync`: do not edit.
"""The cache's queries."""

from __future__ import annotations

from uuid import UUID

from nexgent_db.models.balances import AgentBalance
from nexgent_db.models.base import TokenAddress
from nexgent_db.models.cache import (
    CacheableRows,
    CacheableWallet,
    CacheChange,
    CachedAgent,
    DatabaseIdentity,
    SetMember,
)
from nexgent_db.models.positions import AgentPosition
from nexgent_db.queries.binding import query
from nexgent_db.sync.repositories.base import Repository


class CacheQueries(Repository, sql="cache"):
    """Reads of the outbox and of cacheable rows."""

    @query
    def own_changes(
        self, seen: int, limit: int
    ) -> list[tuple[CacheChange, AgentPosition | None, AgentBalance | None, CachedAgent | None]]:
        """The changes of this transaction."""
        ...

    @query
    def take_changes(
        self, limit: int
    ) -> list[tuple[CacheChange, AgentPosition | None, AgentBalance | None, CachedAgent | None]]:
        """The oldest changes, deleted from the outbox."""
        ...

    @query
    def has_changes(self, version: int) -> bool:
        """Does the outbox hold a change up to this version?"""
        ...

    @query
    def lag(self) -> float:
        """The age in seconds of the oldest change."""
        ...

    @query
    def age_of_changes(self) -> float:
        """The age in seconds of the oldest change that was neither relayed nor compacted."""
        ...

    @query
    def count_changes(self, limit: int) -> int:
        """The number of changes in the outbox, counted up to a limit."""
        ...

    @query
    def compact_outbox(self, limit: int, age_s: float) -> int:
        """Replace the oldest changes by one flush entry."""
        ...

    @query
    def identity(self) -> DatabaseIdentity:
        """The identity of the database."""
        ...

    @query
    def find_agent(self, agent_id: UUID) -> CachedAgent | None:
        """The cached columns of an agent."""
        ...

    @query
    def list_active_agents(self, limit: int) -> list[UUID]:
        """The agents that trade by themselves."""
        ...

    @query
    def list_positions_of_token(self, token_address: TokenAddress, limit: int) -> list[AgentPosition]:
        """The open positions in a token, whose address may be in any case."""
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
        """The cached columns of these agents."""
        ...

    @query
    def list_members_of_agents(self, agent_ids: list[UUID], limit: int) -> list[SetMember]:
        """The agents' open positions, each by its id."""
        ...

    @query
    def list_members_of_tokens(self, token_addresses: list[str], limit: int) -> list[SetMember]:
        """The open positions in the tokens, which are in lower case, each by its id."""
        ...

    @query
    def list_members_of_wallets(self, wallet_addresses: list[str], limit: int) -> list[SetMember]:
        """The wallets' holdings, each by its token."""
        ...

    @query
    def count_rows(self) -> CacheableRows:
        """The number of cacheable rows."""
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
        """The next tokens that positions are open in, in lower case, by address."""
        ...
