"""Balance snapshots: ``sql/balance_snapshots.sql``."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Annotated, Final
from uuid import UUID

from pydantic import AwareDatetime, Field

from nexgent_db.aio.repositories.base import Repository
from nexgent_db.aio.turns import in_turns
from nexgent_db.models.balance_snapshots import AgentBalanceSnapshot, BalanceSnapshotOrder
from nexgent_db.models.base import MANY, Limit, TokenNumber, WalletAddress, columns_of, list_of
from nexgent_db.models.storable import Timestamp
from nexgent_db.queries.binding import query

_COLUMNS: Final = attrgetter(
    "agent_id",
    "wallet_address",
    "snapshot_timestamp",
    "portfolio_balance_sol",
    "sol_balance",
    "positions_value_sol",
    "unrealized_pnl_sol",
)
Numbers = Annotated[list[TokenNumber], Field(max_length=MANY)]


class BalanceSnapshotRepository(Repository, sql="balance_snapshots"):
    """The value of wallets, hour by hour."""

    @query
    async def upsert(self, order: BalanceSnapshotOrder) -> AgentBalanceSnapshot:
        """Store a wallet's value at this time; a second snapshot of the same time replaces the first.

        Raises ForeignKeyViolation when the wallet is not the agent's.
        """
        ...

    async def create_many(self, orders: Sequence[BalanceSnapshotOrder]) -> int:
        """Store up to 10,000 snapshots in one statement, all or none; of two for one wallet and time the later wins.

        Returns the number of stored snapshots. Raises InvalidInput for more than 10,000, ForeignKeyViolation when a
        wallet is not its agent's.
        """
        list_of(BalanceSnapshotOrder, orders, "orders")
        rows = await in_turns(_COLUMNS, orders)
        return await self.upsert_many(*columns_of(rows, 7))

    @query
    async def upsert_many(
        self,
        agent_ids: Annotated[list[UUID], Field(max_length=MANY)],
        wallet_addresses: Annotated[list[WalletAddress], Field(max_length=MANY)],
        snapshot_timestamps: Annotated[list[Timestamp], Field(max_length=MANY)],
        portfolio_balances_sol: Numbers,
        sol_balances: Numbers,
        positions_values_sol: Numbers,
        unrealized_pnls_sol: Numbers,
    ) -> int:
        """The same with a list for each column, all of one length."""
        ...

    @query
    async def list_hourly(
        self, agent_id: UUID, wallet_address: WalletAddress, since: AwareDatetime, limit: Limit | None = None
    ) -> list[AgentBalanceSnapshot]:
        """The wallet's snapshots at or after this time, oldest first.

        Raises ListTooLong without a limit, for more than 10,000 snapshots, which is 416 days: give a limit then, and
        go on from the last snapshot's time.
        """
        ...

    @query
    async def list_daily(
        self, agent_id: UUID, wallet_address: WalletAddress, limit: Limit | None = None
    ) -> list[AgentBalanceSnapshot]:
        """The wallet's snapshots of 00:00 UTC, independent of the session's time zone, oldest first.

        Raises ListTooLong without a limit, for more than 10,000 snapshots, which is 27 years.
        """
        ...

    @query
    async def find_latest(self, agent_id: UUID, wallet_address: WalletAddress) -> AgentBalanceSnapshot | None:
        """The wallet's latest snapshot."""
        ...

    @query
    async def delete_older_than(self, before: AwareDatetime, limit: Limit = 1000) -> int:
        """Delete up to ``limit`` snapshots from before this time, oldest first; returns how many it deleted.

        Repeat it until it deletes fewer than ``limit``. It skips rows that another session has locked, so several
        sessions may run it at once.
        """
        ...
