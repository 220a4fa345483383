# Generated from nexgent_db/aio/repositories/performance.py by `make sync`: do not edit.
"""Performance: ``sql/performance.sql``."""

from __future__ import annotations

from uuid import UUID

from pydantic import AwareDatetime

from nexgent_db.binding import query
from nexgent_db.models._base import WalletAddress
from nexgent_db.models.performance import Performance
from nexgent_db.sync._repository import Repository


class PerformanceRepository(Repository, sql="performance"):
    """What agents and wallets have earned."""

    @query
    def summarise(
        self, agent_id: UUID, wallet_address: WalletAddress | None = None, since: AwareDatetime | None = None
    ) -> Performance:
        """Of the agent or one of its wallets, since this time or ever. All zero for an agent that does not exist."""
        ...
