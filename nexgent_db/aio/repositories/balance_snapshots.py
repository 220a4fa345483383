"""Balance snapshots: ``sql/balance_snapshots.sql``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, Field

from nexgent_db.aio._repository import Repository
from nexgent_db.binding import query
from nexgent_db.models._base import MANY, Limit, TokenNumber, WalletAddress, list_of
from nexgent_db.models.balance_snapshots import AgentBalanceSnapshot, BalanceSnapshotOrder

Numbers = Annotated[list[TokenNumber], Field(max_length=MANY)]


class BalanceSnapshotRepository(Repository, sql="balance_snapshots"):
    """What wallets were worth, hour by hour."""

    @query
    async def upsert(self, order: BalanceSnapshotOrder) -> AgentBalanceSnapshot:
        """Store a wallet's worth; one of the same wallet and time is replaced.

        Raises ForeignKeyViolation when the wallet is not the agent's.
        """
        ...

    async def create_many(self, orders: Sequence[BalanceSnapshotOrder]) -> int:
        """Store up to 10,000 in one statement; all of them or none. Of two for one wallet and time the last stays.

        Raises InvalidInput for more, ForeignKeyViolation when a wallet is not its agent's.
        """
        list_of(BalanceSnapshotOrder, orders, "orders")
        return await self.upsert_many(
            [order.agent_id for order in orders],
            [order.wallet_address for order in orders],
            [order.snapshot_timestamp for order in orders],
            [order.portfolio_balance_sol for order in orders],
            [order.sol_balance for order in orders],
            [order.positions_value_sol for order in orders],
            [order.unrealized_pnl_sol for order in orders],
        )

    @query
    async def upsert_many(
        self,
        agent_ids: Annotated[list[UUID], Field(max_length=MANY)],
        wallet_addresses: Annotated[list[WalletAddress], Field(max_length=MANY)],
        snapshot_timestamps: Annotated[list[AwareDatetime], Field(max_length=MANY)],
        portfolio_balances_sol: Numbers,
        sol_balances: Numbers,
        positions_values_sol: Numbers,
        unrealized_pnls_sol: Numbers,
    ) -> int:
        """The same with a list for each column, all of one length; returns how many were stored."""
        ...

    @query
    async def list_hourly(
        self, agent_id: UUID, wallet_address: WalletAddress, since: AwareDatetime, limit: Limit = 1000
    ) -> list[AgentBalanceSnapshot]:
        """The wallet's snapshots since this time, oldest first."""
        ...

    @query
    async def list_daily(
        self, agent_id: UUID, wallet_address: WalletAddress, limit: Limit = 10_000
    ) -> list[AgentBalanceSnapshot]:
        """The wallet's snapshots of 00:00 UTC, whatever the session's time zone, oldest first."""
        ...

    @query
    async def find_latest(self, agent_id: UUID, wallet_address: WalletAddress) -> AgentBalanceSnapshot | None:
        """The wallet's last snapshot."""
        ...

    @query
    async def delete_older_than(self, before: AwareDatetime, limit: Limit = 1000) -> int:
        """Delete up to ``limit`` snapshots from before this time, oldest first; returns how many went.

        Call it until it returns less than ``limit``. Several may run: each takes rows that no other is deleting.
        """
        ...
