# Generated from nexgent_db/aio/repositories/performance.py by `make sync`: do not edit.
"""Performance: ``sql/performance.sql``."""

from __future__ import annotations

from uuid import UUID

from pydantic import AwareDatetime

from nexgent_db.models.base import WalletAddress
from nexgent_db.models.performance import Performance
from nexgent_db.queries.binding import query
from nexgent_db.sync.repositories.base import Repository


class PerformanceRepository(Repository, sql="performance"):
    """The profits of agents and wallets."""

    @query
    def summarise(
        self,
        agent_id: UUID,
        wallet_address: WalletAddress | None = None,
        since: AwareDatetime | None = None,
        until: AwareDatetime | None = None,
    ) -> Performance:
        """The performance of the agent, or of one wallet, from ``since`` on and before ``until``; each may be left out.

        Zeros for an unknown agent. Open positions and their cost basis are those of now, whatever the time.
        """
        ...
