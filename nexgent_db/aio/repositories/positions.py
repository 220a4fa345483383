"""Positions: ``sql/positions.sql``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final
from uuid import UUID

from nexgent_db.aio.repositories.base import Repository
from nexgent_db.aio.repositories.trades import _Statements
from nexgent_db.errors import CommittedButUnread
from nexgent_db.models.base import Limit, TokenAddress, WalletAddress
from nexgent_db.models.filters import PositionFilter
from nexgent_db.models.pages import (
    AfterToken,
    AfterUuid,
    BeforeUuid,
    Page,
    decode_cursor,
    make_page,
    make_page_by,
    one_more_than,
)
from nexgent_db.models.positions import (
    AgentPosition,
    OpenPositions,
    OpenToken,
    PriceUpdate,
    RecordedPrices,
    TakeProfitSummary,
)
from nexgent_db.models.transactions import AgentTransaction
from nexgent_db.queries.binding import query
from nexgent_db.queries.prices import price_columns, recorded_prices

_ANY: Final = PositionFilter()
_FIRST: Final = AfterUuid()
_FIRST_TOKEN: Final = AfterToken()
_START: Final = BeforeUuid()


class PositionRepository(Repository, sql="positions"):
    """Open positions. Only trades open and close them and change their amounts; prices and stop losses are recorded."""

    @query
    async def find_by_id(self, position_id: UUID) -> AgentPosition | None:
        """The open position of this id; None once it is closed."""
        ...

    @query
    async def find_by_wallet_and_token(
        self, agent_id: UUID, wallet_address: WalletAddress, token_address: TokenAddress
    ) -> AgentPosition | None:
        """The wallet's open position in this token, of which there is at most one."""
        ...

    @query
    async def list_by_agent(
        self, agent_id: UUID, wallet_address: WalletAddress | None = None, limit: Limit | None = None
    ) -> list[AgentPosition]:
        """The agent's open positions, newest first; those of one wallet when it is given.

        Raises ListTooLong without a limit, for more than 10,000 positions.
        """
        ...

    @query
    async def total_by_wallet(self, agent_id: UUID, wallet_address: WalletAddress) -> OpenPositions:
        """The number of the wallet's open positions, and the profit that their take-profits have realised, in SOL."""
        ...

    # --- Of all agents ----------------------------------------------------------------------------

    @query
    async def list_open(
        self, filter: PositionFilter = _ANY, after: AfterUuid = _FIRST, limit: Limit | None = None
    ) -> list[AgentPosition]:
        """The open positions of all agents of all users, by id; those after the key ``after`` when it is given.

        ``filter`` restricts them to agents or tokens. A tenant sees those of its own agents. Raises ListTooLong without
        a limit, for more than 10,000 positions.
        """
        ...

    async def page_open(
        self, filter: PositionFilter = _ANY, limit: Limit = 100, cursor: str | None = None
    ) -> Page[AgentPosition]:
        """A page of the open positions of all agents, by id: the first page, or the one of the ``cursor``.

        The pages together have every position that is open from the first page to the last, once. Raises InvalidInput
        for a cursor of another list, then for a limit outside of 1 to 9,999.
        """
        after = decode_cursor(cursor, "open_positions", AfterUuid)
        rows = await self.list_open(filter, after, one_more_than(limit))
        return make_page_by(lambda row: (str(row.id),), rows, limit, "open_positions")

    @query
    def stream_open(self, filter: PositionFilter = _ANY) -> AsyncIterator[AgentPosition]:
        """All open positions of all agents, by id, in constant memory; keeps a connection to its end."""
        ...

    @query
    async def list_open_tokens(self, after: AfterToken = _FIRST_TOKEN, limit: Limit | None = None) -> list[OpenToken]:
        """The tokens in which any agent has an open position, each once, by address; those after ``after`` when given.

        A tenant sees the tokens of its own agents' positions. Raises ListTooLong without a limit, for more than 10,000
        tokens.
        """
        ...

    async def page_open_tokens(self, limit: Limit = 100, cursor: str | None = None) -> Page[OpenToken]:
        """A page of the tokens in which any agent has an open position: the first page, or the one of the ``cursor``.

        Raises InvalidInput for a cursor of another list, then for a limit outside of 1 to 9,999.
        """
        after = decode_cursor(cursor, "open_tokens", AfterToken)
        rows = await self.list_open_tokens(after, one_more_than(limit))
        return make_page_by(lambda row: (row.token_address,), rows, limit, "open_tokens")

    @query
    def stream_open_tokens(self) -> AsyncIterator[OpenToken]:
        """All tokens in which any agent has an open position, each once, by address, in constant memory.

        Keeps a connection to its end.
        """
        ...

    @query
    async def list_by_token(
        self, token_address: TokenAddress, before: BeforeUuid = _START, limit: Limit | None = None
    ) -> list[AgentPosition]:
        """All agents' open positions in the token, newest first; those after the key ``before`` when it is given.

        The address is compared in its exact case; ``db.cache.positions_of_token`` takes it in any case. Raises
        ListTooLong without a limit, for more than 10,000 positions.
        """
        ...

    async def page_by_token(
        self, token_address: TokenAddress, limit: Limit = 100, cursor: str | None = None
    ) -> Page[AgentPosition]:
        """A page of all agents' open positions in the token, newest first: the first page, or that of the ``cursor``.

        The address is compared in its exact case. Each page sorts the positions of this token. Raises InvalidInput for
        a cursor of another list, then for a limit outside of 1 to 9,999.
        """
        before = decode_cursor(cursor, "positions_of_token", BeforeUuid)
        rows = await self.list_by_token(token_address, before, one_more_than(limit))
        return make_page(rows, limit, "positions_of_token", "created_at")

    # --- Of one user or agent ---------------------------------------------------------------------

    @query
    async def list_by_user(
        self, user_id: UUID, before: BeforeUuid = _START, limit: Limit | None = None
    ) -> list[AgentPosition]:
        """The open positions of all of the user's agents, newest first; those after ``before`` when it is given.

        Raises ListTooLong without a limit, for more than 10,000 positions.
        """
        ...

    async def page_by_user(self, user_id: UUID, limit: Limit = 100, cursor: str | None = None) -> Page[AgentPosition]:
        """A page of the open positions of all of the user's agents, newest first: the first, or that of the ``cursor``.

        Each page sorts the user's positions. Raises InvalidInput for a cursor of another list, then for a limit outside
        of 1 to 9,999.
        """
        before = decode_cursor(cursor, "positions_of_user", BeforeUuid)
        rows = await self.list_by_user(user_id, before, one_more_than(limit))
        return make_page(rows, limit, "positions_of_user", "created_at")

    @query
    async def list_with_take_profit_activity(
        self,
        agent_id: UUID,
        wallet_address: WalletAddress | None = None,
        before: BeforeUuid = _START,
        limit: Limit | None = None,
    ) -> list[AgentPosition]:
        """The agent's open positions of which a part was sold by take-profit, newest first; of one wallet when given.

        With ``before``, those after this key: the last row's ``created_at`` and ``id``. Raises ListTooLong without a
        limit, for more than 10,000 positions.
        """
        ...

    @query
    async def list_moon_bags(
        self,
        agent_id: UUID,
        wallet_address: WalletAddress | None = None,
        before: BeforeUuid = _START,
        limit: Limit | None = None,
    ) -> list[AgentPosition]:
        """The agent's open positions whose moon bag is activated, newest first; of one wallet when given.

        With ``before``, those after this key: the last row's ``created_at`` and ``id``. Raises ListTooLong without a
        limit, for more than 10,000 positions.
        """
        ...

    @query
    async def summarise_take_profits(
        self, agent_id: UUID, wallet_address: WalletAddress | None = None
    ) -> TakeProfitSummary:
        """The take-profits of the agent's open positions, or of one wallet's; zeros for an unknown agent."""
        ...

    @query
    async def list_with_purchase(
        self,
        agent_id: UUID,
        wallet_address: WalletAddress | None = None,
        before: BeforeUuid = _START,
        limit: Limit | None = None,
    ) -> list[tuple[AgentPosition, AgentTransaction]]:
        """The agent's open positions, each beside its purchase transaction, newest first; of one wallet when given.

        With ``before``, those after this key: the last position's ``created_at`` and ``id``. Raises ListTooLong without
        a limit, for more than 10,000 positions.
        """
        ...

    async def page_with_purchase(
        self,
        agent_id: UUID,
        wallet_address: WalletAddress | None = None,
        limit: Limit = 100,
        cursor: str | None = None,
    ) -> Page[tuple[AgentPosition, AgentTransaction]]:
        """A page of the agent's open positions, each beside its purchase transaction, newest first.

        The first page, or the one of the ``cursor``; those of one wallet when it is given. Raises InvalidInput for a
        cursor of another list, then for a limit outside of 1 to 9,999.
        """
        before = decode_cursor(cursor, "positions_with_purchase", BeforeUuid)
        rows = await self.list_with_purchase(agent_id, wallet_address, before, one_more_than(limit))
        return make_page_by(
            lambda row: (row[0].created_at.isoformat(), str(row[0].id)), rows, limit, "positions_with_purchase"
        )

    @query
    def stream_with_purchase(
        self, agent_id: UUID, wallet_address: WalletAddress | None = None
    ) -> AsyncIterator[tuple[AgentPosition, AgentTransaction]]:
        """All of the agent's open positions, each beside its purchase transaction, newest first, in constant memory.

        Those of one wallet when it is given. Keeps a connection to its end.
        """
        ...

    # --- Prices -----------------------------------------------------------------------------------

    async def record_prices(self, prices: Sequence[PriceUpdate]) -> RecordedPrices:
        """Record the prices of up to 10,000 open positions, of any agents, in one round trip; what has changed.

        All or nothing. The order of batches does not matter: the peak of a position only rises, its lowest price only
        falls, its stop loss only rises unless the update says otherwise. A position that closed meanwhile is reported.
        Locks the wallets of the positions that change, then these, as trades do: no deadlock with them.

        Raises InvalidInput, before anything is sent, for more than 10,000 prices and for a position that is given
        twice; then, with nothing changed, for a new stop loss above the price. Raises what queries raise.
        """
        columns = price_columns(prices)
        if not prices:
            return RecordedPrices()
        cache = self._session.cache
        started_at = None if cache is None else cache.now()
        try:
            rows = await _Statements(self._session).record_prices(*columns)
        except CommittedButUnread:
            if cache is not None:
                cache.leave_to_outbox()
            raise
        recorded = recorded_prices(prices, rows)
        if cache is not None and started_at is not None and recorded.changed:
            await cache.apply_positions(recorded.changed, started_at)
        return recorded
