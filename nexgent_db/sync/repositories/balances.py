# Generated from nexgent_db/aio/repositories/balances.py by `make sync`: do not edit.
"""Balances: ``sql/balances.sql``."""

from __future__ import annotations

from uuid import UUID

from nexgent_db.binding import query
from nexgent_db.models._base import Limit, TokenAddress, WalletAddress
from nexgent_db.models.balances import AgentBalance
from nexgent_db.sync._repository import Repository


class BalanceRepository(Repository, sql="balances"):
    """How much a wallet holds. Trades change it."""

    @query
    def find_by_wallet_and_token(
        self, wallet_address: WalletAddress, token_address: TokenAddress
    ) -> AgentBalance | None:
        """The wallet's holding of this token; None when it never had any."""
        ...

    @query
    def list_by_wallet(self, agent_id: UUID, wallet_address: WalletAddress, limit: Limit = 1000) -> list[AgentBalance]:
        """What the wallet holds or held, by token address."""
        ...
