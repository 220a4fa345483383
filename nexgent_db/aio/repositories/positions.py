"""Positions: ``sql/positions.sql``."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from nexgent_db.aio.repositories.base import Repository
from nexgent_db.aio.repositories.trades import _Statements
from nexgent_db.errors import CommittedButUnread
from nexgent_db.models.base import Limit, TokenAddress, WalletAddress
from nexgent_db.models.positions import AgentPosition, OpenPositions, PriceUpdate, RecordedPrices
from nexgent_db.queries.binding import query
from nexgent_db.queries.prices import price_columns, recorded_prices


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
        self, agent_id: UUID, wallet_address: WalletAddress | None = None, limit: Limit = 1000
    ) -> list[AgentPosition]:
        """The agent's open positions, newest first; those of one wallet when it is given."""
        ...

    @query
    async def total_by_wallet(self, agent_id: UUID, wallet_address: WalletAddress) -> OpenPositions:
        """The number of the wallet's open positions, and the profit that their take-profits have realised, in SOL."""
        ...

    async def record_prices(self, prices: Sequence[PriceUpdate]) -> RecordedPrices:
        """Record the prices of up to 10,000 open positions, of any agents, in one round trip; what has changed.

        All or nothing. The order of batches does not matter: the peak of a position only rises, its lowest price only
        falls, its stop loss only rises unless the update says otherwise. A position that closed meanwhile is reported.
        Locks the wallets of the positions that change, then these, as trades do: no deadlock with them.

        Raises InvalidInput, before anything is sent, for more than 10,000 prices and for a position that is given
        twice; then, with nothing changed, for a stop loss above the price. Raises what queries raise.
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
