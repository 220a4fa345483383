"""Balance snapshots: the value of a wallet at an hour."""

from __future__ import annotations

from nexgent_db.models.base import UUID, AwareDatetime, Input, Row, TokenNumber, WalletAddress
from nexgent_db.models.storable import Timestamp


class AgentBalanceSnapshot(Row):
    """A wallet's value at ``snapshot_timestamp``, in SOL."""

    id: UUID
    agent_id: UUID
    snapshot_timestamp: AwareDatetime
    portfolio_balance_sol: TokenNumber
    sol_balance: TokenNumber
    positions_value_sol: TokenNumber
    unrealized_pnl_sol: TokenNumber
    created_at: AwareDatetime
    updated_at: AwareDatetime
    wallet_address: str


class BalanceSnapshotOrder(Input):
    """A snapshot to store."""

    agent_id: UUID
    wallet_address: WalletAddress
    snapshot_timestamp: Timestamp
    portfolio_balance_sol: TokenNumber
    sol_balance: TokenNumber
    positions_value_sol: TokenNumber
    unrealized_pnl_sol: TokenNumber
