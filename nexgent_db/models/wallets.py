"""Wallets: the addresses an agent trades from, one of each type. No private key is ever stored."""

from __future__ import annotations

from nexgent_db.models._base import UUID, AwareDatetime, Row, TradingMode


class AgentWallet(Row):
    """One wallet of an agent. ``trade_count`` counts its trades, which tell a stale snapshot by it."""

    wallet_address: str
    agent_id: UUID
    wallet_type: TradingMode
    created_at: AwareDatetime
    updated_at: AwareDatetime
    trade_count: int
