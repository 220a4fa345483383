"""What users call: alerts, trades, and the list of what was traded."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, HTTPException, Query, Response

from nexgent_db.models import AgentTransaction, BuyOrder, DepositOrder, Page, TradeResult
from nexgent_db.models.trades import Amount
from price_alerts.access import ReadsAlerts, Trades, WritesAlerts
from price_alerts.alerts import NewAlert, PriceAlert, PriceAlerts, fire

router = APIRouter()

PageSize = Annotated[int, Query(ge=1, le=500)]


@router.post("/alerts", status_code=201)
async def create_alert(db: WritesAlerts, alert: NewAlert) -> PriceAlert:
    """Wait for a price."""
    return await db.use(PriceAlerts).create(alert)


@router.get("/alerts")
async def list_alerts(
    db: ReadsAlerts, agent_id: UUID, limit: PageSize = 100, cursor: str | None = None
) -> Page[PriceAlert]:
    """The agent's alerts, newest first; `next` is the cursor of the next page."""
    return await db.use(PriceAlerts).page_by_agent(agent_id, limit, cursor)


@router.delete("/alerts/{alert_id}", status_code=204)
async def delete_alert(db: WritesAlerts, alert_id: UUID) -> Response:
    """Wait no longer."""
    if await db.use(PriceAlerts).take(alert_id) is None:
        raise HTTPException(404, "there is no such alert")
    return Response(status_code=204)


@router.post("/alerts/{alert_id}/fire")
async def fire_alert(db: Trades, alert_id: UUID, price: Annotated[Amount, Body(embed=True)]) -> TradeResult:
    """The price was reached: buy."""
    result = await fire(db, alert_id, price)
    if result is None:
        raise HTTPException(404, "there is no such alert")
    return result


@router.post("/trades/deposit")
async def deposit(db: Trades, order: DepositOrder) -> TradeResult:
    """Add to a wallet. Sent again with the same `request_id`, it happens once."""
    return await db.trades.deposit(order)


@router.post("/trades/buy")
async def buy(db: Trades, order: BuyOrder) -> TradeResult:
    """Open a position. Sent again with the same `request_id`, it happens once."""
    return await db.trades.buy(order)


@router.get("/transactions")
async def list_transactions(
    db: ReadsAlerts, agent_id: UUID, limit: PageSize = 100, cursor: str | None = None
) -> Page[AgentTransaction]:
    """The agent's ledger, newest first."""
    return await db.transactions.page_by_agent(agent_id, limit=limit, cursor=cursor)
