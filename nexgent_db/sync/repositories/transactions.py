# Generated from nexgent_db/aio/repositories/transactions.py by `make sync`: do not edit.
"""Transactions: ``sql/transactions.sql``."""

from __future__ import annotations

from uuid import UUID

from nexgent_db.binding import query
from nexgent_db.models._base import Limit, WalletAddress
from nexgent_db.models.transactions import AgentTransaction
from nexgent_db.sync._repository import Repository


class TransactionRepository(Repository, sql="transactions"):
    """The ledger. Trades add to it; nothing changes it."""

    @query
    def find_by_id(self, transaction_id: UUID) -> AgentTransaction | None:
        """The transaction of this id: the request id of the trade that made it."""
        ...

    @query
    def list_by_agent(
        self, agent_id: UUID, wallet_address: WalletAddress | None = None, limit: Limit = 100
    ) -> list[AgentTransaction]:
        """The agent's transactions, of one wallet or of all, newest first."""
        ...
