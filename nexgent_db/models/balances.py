"""Balances: how much of a token a wallet holds. Always the sum of its transactions' effects."""

from __future__ import annotations

from nexgent_db.models._base import UUID, AwareDatetime, Row, TokenNumber


class AgentBalance(Row):
    """A wallet's holding of one token, in whole tokens (SOL, not lamports)."""

    id: UUID
    agent_id: UUID
    wallet_address: str
    token_address: str
    token_symbol: str
    balance: TokenNumber
    last_updated: AwareDatetime
    version: int
