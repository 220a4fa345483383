"""Transactions: ``sql/transactions.sql``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Final
from uuid import UUID

from pydantic import Field

from nexgent_db.aio.repositories.base import Repository
from nexgent_db.models.base import MANY, Limit
from nexgent_db.models.filters import TransactionFilter
from nexgent_db.models.pages import BeforeUuid, Page, decode_cursor, make_page, one_more_than
from nexgent_db.models.transactions import AgentTransaction
from nexgent_db.queries.binding import query

_ANY: Final = TransactionFilter()
_START: Final = BeforeUuid()


class TransactionRepository(Repository, sql="transactions"):
    """The ledger. Trades insert transactions; no statement changes one."""

    @query
    async def find_by_id(self, transaction_id: UUID) -> AgentTransaction | None:
        """The transaction of this id: ``order.trade_id`` of its trade."""
        ...

    @query
    async def list_by_ids(
        self, transaction_ids: Annotated[list[UUID], Field(max_length=MANY)]
    ) -> list[AgentTransaction]:
        """Those of these transactions that exist, by id; at most 10,000 at once."""
        ...

    @query
    async def list_by_agent(
        self, agent_id: UUID, filter: TransactionFilter = _ANY, before: BeforeUuid = _START, limit: Limit | None = None
    ) -> list[AgentTransaction]:
        """The agent's transactions, newest first; those after the key ``before`` when it is given.

        Raises ListTooLong without a limit, for more than 10,000 transactions.
        """
        ...

    async def page_by_agent(
        self, agent_id: UUID, filter: TransactionFilter = _ANY, limit: Limit = 100, cursor: str | None = None
    ) -> Page[AgentTransaction]:
        """A page of the agent's transactions, newest first: the first page, or the one of the ``cursor``.

        Raises InvalidInput for a cursor of another list, then for a limit outside of 1 to 9,999.
        """
        before = decode_cursor(cursor, "transactions", BeforeUuid)
        rows = await self.list_by_agent(agent_id, filter, before, one_more_than(limit))
        return make_page(rows, limit, "transactions", "transaction_time")

    @query
    def stream_by_agent(self, agent_id: UUID, filter: TransactionFilter = _ANY) -> AsyncIterator[AgentTransaction]:
        """All of the agent's transactions, newest first, in constant memory; keeps a connection to its end."""
        ...

    @query
    async def count_by_agent(self, agent_id: UUID, filter: TransactionFilter = _ANY) -> int:
        """The number of the agent's transactions."""
        ...
