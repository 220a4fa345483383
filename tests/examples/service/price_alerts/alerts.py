"""Price alerts: the model, its repository, and what happens when a price is reached."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from uuid import UUID

from nexgent_db import AsyncDatabase, AsyncTransaction
from nexgent_db.aio import Repository, query
from nexgent_db.errors import InvalidInput
from nexgent_db.models import BeforeUuid, BuyOrder, Page, TokenNumber, TradeResult
from nexgent_db.models.base import AwareDatetime, Input, Limit, Row, TokenAddress, TokenSymbol, WalletAddress
from nexgent_db.models.pages import decode_cursor, make_page, one_more_than
from nexgent_db.models.trades import Amount

_START = BeforeUuid()


class NewAlert(Input):
    """What a caller asks for."""

    agent_id: UUID
    wallet_address: WalletAddress
    token_address: TokenAddress
    token_symbol: TokenSymbol
    price: Amount
    sol_amount: Amount


class PriceAlert(Row):
    """A price in SOL that an agent waits for, and the SOL that it spends then."""

    id: UUID
    agent_id: UUID
    wallet_address: str
    token_address: str
    token_symbol: str
    price: TokenNumber
    sol_amount: TokenNumber
    created_at: AwareDatetime


class PriceAlerts(Repository, sql=Path(__file__).with_name("price_alerts.sql")):
    """The alerts: ``db.use(PriceAlerts)``, ``tx.use(PriceAlerts)``."""

    @query
    async def create(self, alert: NewAlert) -> PriceAlert:
        """Create an alert of the agent's wallet. Raises ForeignKeyViolation when the agent has no such wallet."""

    @query
    async def list_by_agent(
        self, agent_id: UUID, before: BeforeUuid = _START, limit: Limit | None = None
    ) -> list[PriceAlert]:
        """The agent's alerts, newest first."""

    async def page_by_agent(self, agent_id: UUID, limit: int, cursor: str | None) -> Page[PriceAlert]:
        """A page of them. Raises InvalidInput for a cursor of another list, and for a limit outside of 1 to 9,999."""
        before = decode_cursor(cursor, "price_alerts", BeforeUuid)
        rows = await self.list_by_agent(agent_id, before, one_more_than(limit))
        return make_page(rows, limit, "price_alerts", "created_at")

    @query
    async def take(self, alert_id: UUID) -> PriceAlert | None:
        """Delete the alert and return it; None when there is none."""


async def fire(db: AsyncDatabase, alert_id: UUID, price: Decimal) -> TradeResult | None:
    """The price was reached: buy, and delete the alert, both or neither. None when there is no such alert (any more).

    The alert's id is the id of the order, so an alert buys once, however often it is fired. Raises InvalidInput for a
    price above the alert's, and what a buy raises.
    """

    async def take_and_buy(tx: AsyncTransaction) -> TradeResult | None:
        alert = await tx.use(PriceAlerts).take(alert_id)
        if alert is None:
            return None
        if not 0 < price <= alert.price:
            raise InvalidInput("price", f"the alert waits for {alert.price.normalize():f} or less")
        return await tx.trades.buy(
            BuyOrder(
                request_id=alert.id,
                agent_id=alert.agent_id,
                wallet_address=alert.wallet_address,
                token_address=alert.token_address,
                token_symbol=alert.token_symbol,
                sol_amount=alert.sol_amount,
                token_amount=(alert.sol_amount / price).quantize(Decimal("1e-9")),
            )
        )

    return await db.run_transaction(take_and_buy)  # again after a deadlock with a trade of the same wallet
