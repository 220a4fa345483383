"""Trades and the ledger: once for each request, refused with the figures."""

from __future__ import annotations

from decimal import Decimal
from uuid import uuid4

import httpx
from callers import Caller

from nexgent_db.models import SOL_MINT


def deposit_of(caller: Caller, amount: str = "5") -> dict[str, str]:
    return {
        "request_id": str(uuid4()),
        "agent_id": str(caller.agent.id),
        "wallet_address": caller.wallet.wallet_address,
        "token_address": SOL_MINT,
        "token_symbol": "SOL",
        "amount": amount,
    }


async def test_deposit_sent_twice_happens_once(client: httpx.AsyncClient, caller: Caller) -> None:
    body = deposit_of(caller)
    first, second = [(await client.post("/trades/deposit", json=body, headers=caller.headers)).json() for _ in range(2)]
    assert (first["duplicate"], second["duplicate"]) == (False, True)
    assert first["balances"] == second["balances"]
    assert Decimal(first["balances"][0]["balance"]) == 105
    other = await client.post("/trades/deposit", json=body | {"amount": "6"}, headers=caller.headers)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")


async def test_buy_above_the_balance_is_refused_with_the_figures(client: httpx.AsyncClient, caller: Caller) -> None:
    body = {**caller.token(), "sol_amount": "101", "token_amount": "1"}
    answer = await client.post("/trades/buy", json=body, headers=caller.headers)
    assert answer.status_code == 409
    assert answer.json()["code"] == "insufficient_balance"
    details = answer.json()["details"]
    assert (Decimal(details["balance"]), Decimal(details["required"])) == (Decimal(100), Decimal(101))


async def test_ledger_is_listed_newest_first(client: httpx.AsyncClient, caller: Caller) -> None:
    await client.post("/trades/deposit", json=deposit_of(caller), headers=caller.headers)
    query = {"agent_id": str(caller.agent.id), "limit": "1"}
    page = (await client.get("/transactions", params=query, headers=caller.headers)).json()
    assert Decimal(page["items"][0]["input_amount"]) == 5
    query["cursor"] = page["next"]
    rest = (await client.get("/transactions", params=query, headers=caller.headers)).json()
    assert (len(rest["items"]), rest["next"]) == (1, None)
    wrong = await client.get("/transactions", params=query | {"cursor": "x"}, headers=caller.headers)
    assert (wrong.status_code, wrong.json()["code"]) == (422, "invalid_input")
