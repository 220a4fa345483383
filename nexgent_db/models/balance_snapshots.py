"""Balance snapshots: what a wallet was worth at an hour."""

from __future__ import annotations

from nexgent_db.models._base import UUID, AwareDatetime, Order, Row, TokenNumber, WalletAddress


class AgentBalanceSnapshot(Row):
    """A wallet's worth at ``snapshot_timestamp``, in SOL."""

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


class BalanceSnapshotOrder(Order):
    """A wallet's worth to be stored."""

    agent_id: UUID
    wallet_address: WalletAddress
    snapshot_timestamp: AwareDatetime
    portfolio_balance_sol: TokenNumber
    sol_balance: TokenNumber
    positions_value_sol: TokenNumber
    unrealized_pnl_sol: TokenNumber
