"""Alerts: kept, listed by pages, fired once; of their user alone."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID, uuid4

import httpx
import pytest
from callers import Caller, new_caller
from price_alerts.alerts import NewAlert, PriceAlerts

from nexgent_db import AsyncDatabase, AsyncTransaction
from nexgent_db.models import trade_id_of
from nexgent_db.testing.aio import funded_wallet


async def test_alert_is_stored_and_listed(client: httpx.AsyncClient, caller: Caller) -> None:
    created = await client.post("/alerts", json=caller.alert("0.000000000000000001"), headers=caller.headers)
    assert created.status_code == 201
    listed = await client.get("/alerts", params={"agent_id": str(caller.agent.id)}, headers=caller.headers)
    assert listed.json() == {"items": [created.json()], "next": None}
    assert created.json()["price"] == "0.000000000000000001"


async def test_pages_have_every_alert_once(client: httpx.AsyncClient, caller: Caller) -> None:
    ids = [(await client.post("/alerts", json=caller.alert(), headers=caller.headers)).json()["id"] for _ in range(5)]
    seen: list[str] = []
    query = {"agent_id": str(caller.agent.id), "limit": "2"}
    while True:
        page = (await client.get("/alerts", params=query, headers=caller.headers)).json()
        seen += [each["id"] for each in page["items"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert seen == ids[::-1]


async def test_fired_alert_buys_once(client: httpx.AsyncClient, caller: Caller) -> None:
    alert = (await client.post("/alerts", json=caller.alert("0.01", "2"), headers=caller.headers)).json()
    path = f"/alerts/{alert['id']}/fire"
    too_early = await client.post(path, json={"price": "0.02"}, headers=caller.headers)
    assert (too_early.status_code, too_early.json()["code"]) == (422, "invalid_input")
    fired = await client.post(path, json={"price": "0.008"}, headers=caller.headers)
    assert fired.json()["transaction"]["id"] == str(trade_id_of(UUID(alert["agent_id"]), UUID(alert["id"])))
    assert Decimal(fired.json()["position"]["remaining_amount"]) == 250
    again = await client.post(path, json={"price": "0.008"}, headers=caller.headers)
    assert again.status_code == 404


async def test_refused_buy_keeps_the_alert(client: httpx.AsyncClient, caller: Caller) -> None:
    alert = (await client.post("/alerts", json=caller.alert("1", "101"), headers=caller.headers)).json()
    fired = await client.post(f"/alerts/{alert['id']}/fire", json={"price": "1"}, headers=caller.headers)
    assert (fired.status_code, fired.json()["code"]) == (409, "insufficient_balance")
    listed = await client.get("/alerts", params={"agent_id": str(caller.agent.id)}, headers=caller.headers)
    assert len(listed.json()["items"]) == 1


async def test_alert_is_deleted(client: httpx.AsyncClient, caller: Caller) -> None:
    alert = (await client.post("/alerts", json=caller.alert(), headers=caller.headers)).json()
    statuses = [(await client.delete(f"/alerts/{alert['id']}", headers=caller.headers)).status_code for _ in range(2)]
    assert statuses == [204, 404]


async def test_other_user_neither_sees_nor_fires_it(
    client: httpx.AsyncClient, caller: Caller, nexgent_async_database: AsyncDatabase
) -> None:
    other = await new_caller(nexgent_async_database, "alerts:read", "alerts:write", "trade")
    alert = (await client.post("/alerts", json=caller.alert(), headers=caller.headers)).json()
    seen = await client.get("/alerts", params={"agent_id": str(caller.agent.id)}, headers=other.headers)
    assert seen.json()["items"] == []
    fired = await client.post(f"/alerts/{alert['id']}/fire", json={"price": "0.01"}, headers=other.headers)
    assert fired.status_code == 404
    forged = await client.post("/alerts", json=caller.alert(), headers=other.headers)
    assert (forged.status_code, forged.json()["code"]) == (403, "permission_denied")


@pytest.mark.parametrize(
    ("fault", "field"),
    [
        ({"price": "0"}, "price"),
        ({"price": "1e-19"}, "price"),
        ({"sol_amount": "NaN"}, "sol_amount"),
        ({"more": "1"}, "more"),
    ],
)
async def test_malformed_alert_is_refused(
    client: httpx.AsyncClient, caller: Caller, fault: dict[str, str], field: str
) -> None:
    answer = await client.post("/alerts", json=caller.alert() | fault, headers=caller.headers)
    assert answer.status_code == 422
    assert field in answer.text


async def test_repository_alone(nexgent_async_transaction: AsyncTransaction) -> None:
    """Without the service around it: in a transaction that is rolled back."""
    owner = await funded_wallet(nexgent_async_transaction, 0)
    wanted = NewAlert(
        agent_id=owner.agent.id,
        wallet_address=owner.wallet.wallet_address,
        token_address="WIF",
        token_symbol="WIF",
        price=Decimal("0.01"),
        sol_amount=Decimal(1),
    )
    alerts = nexgent_async_transaction.use(PriceAlerts)
    alert = await alerts.create(wanted)
    assert await alerts.take(uuid4()) is None
    assert await alerts.take(alert.id) == alert
    assert await alerts.list_by_agent(owner.agent.id) == []
