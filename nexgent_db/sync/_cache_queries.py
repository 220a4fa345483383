# Generated from nexgent_db/aio/_cache_queries.py by `make sync`: do not edit.
"""What the cache reads of the database."""

from __future__ import annotations

from uuid import UUID

from nexgent_db.binding import query
from nexgent_db.models._base import TokenAddress
from nexgent_db.models.balances import AgentBalance
from nexgent_db.models.cache import CacheChange, CachedAgent, DatabaseIdentity
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
