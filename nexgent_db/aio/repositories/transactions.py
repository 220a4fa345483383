"""Transactions: ``sql/transactions.sql``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final
from uuid import UUID

from nexgent_db.aio._repository import Repository
from nexgent_db.binding import query
from nexgent_db.models._base import Limit
from nexgent_db.models.filters import TransactionFilter
from nexgent_db.models.pages import BeforeUuid, Page, one_more_than, page_of, place_of
from nexgent_db.models.transactions import AgentTransaction

_ANY: Final = TransactionFilter()
_START: Final = BeforeUuid()


class TransactionRepository(Repository, sql="transactions"):
    """The ledger. Trades add to it; nothing changes it."""

    @query
    async def find_by_id(self, transaction_id: UUID) -> AgentTransaction | None:
        """The transaction of this id: the request id of the trade that made it."""
        ...

    @query
    async def list_by_agent(
        self, agent_id: UUID, filter: TransactionFilter = _ANY, before: BeforeUuid = _START, limit: Limit = 100
    ) -> list[AgentTransaction]:
        """The agent's transactions, newest first, from the given place on."""
        ...

    async def page_by_agent(
        self, agent_id: UUID, filter: TransactionFilter = _ANY, limit: Limit = 100, cursor: str | None = None
    ) -> Page[AgentTransaction]:
        """A page of the agent's transactions, newest first: the first one, or the one of a page's ``next``.

        Raises InvalidInput for a cursor that is none of this list's, then for a limit outside of 1 to 9,999.
        """
        before = place_of(cursor, "transactions", BeforeUuid)
        rows = await self.list_by_agent(agent_id, filter, before, one_more_than(limit))
        return page_of(rows, limit, "transactions", "transaction_time")

    @query
    def stream_by_agent(self, agent_id: UUID, filter: TransactionFilter = _ANY) -> AsyncIterator[AgentTransaction]:
        """All of the agent's transactions, newest first, in constant memory; it holds a connection until its end."""
        ...

    @query
    async def count_by_agent(self, agent_id: UUID, filter: TransactionFilter = _ANY) -> int:
        """How many transactions the agent has."""
        ...
