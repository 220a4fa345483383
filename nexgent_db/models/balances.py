"""Balances: how much of a token a wallet holds. A balance is always the sum of the wallet's transactions."""

from __future__ import annotations

from decimal import Decimal

from nexgent_db.models.base import UUID, AwareDatetime, Row, TokenNumber


class AgentBalance(Row):
    """A wallet's balance of one token, in whole tokens (SOL, not lamports)."""

    id: UUID
    agent_id: UUID
    wallet_address: str
    token_address: str
    token_symbol: str
    balance: TokenNumber
    last_updated: AwareDatetime
    version: int


class LedgerDifference(Row):
    """A balance that is not the sum of the changes by its wallet's transactions."""

    token_address: str
    balance: TokenNumber
    ledger_total: Decimal
