"""Wallets: the addresses that an agent trades from, one of each type. The database never holds a private key."""

from __future__ import annotations

from nexgent_db.models.base import UUID, AwareDatetime, Row, TradingMode


class AgentWallet(Row):
    """One wallet of an agent."""

    wallet_address: str
    agent_id: UUID
    wallet_type: TradingMode
    created_at: AwareDatetime
    updated_at: AwareDatetime
