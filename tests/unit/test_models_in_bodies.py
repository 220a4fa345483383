"""Orders inside a service's request: FastAPI's own errors with their paths, and an OpenAPI document that is right."""

from __future__ import annotations

import warnings
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from pydantic import BaseModel, TypeAdapter, ValidationError

from nexgent_db.models import AgentTradingConfig, BuyOrder, SwapFilter, SwapOrder
from nexgent_db.models.base import SOL_MINT

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # which client library Starlette prefers is not ours to say
    from fastapi.testclient import TestClient

ORDER: dict[str, Any] = {
    "agent_id": str(UUID(int=1)),
    "wallet_address": "wallet",
    "token_address": "token",
    "token_symbol": "TOK",
    "sol_amount": "1.5",
    "token_amount": "12345678901234567890.000000000000000001",
}


class Rebalance(BaseModel):
    """A body of a service."""

    note: str
    orders: list[BuyOrder]
    config: AgentTradingConfig | None = None


app = FastAPI()


@app.post("/rebalance")
async def rebalance(body: Rebalance) -> list[BuyOrder]:
    return body.orders


@app.post("/buy")
async def buy(order: BuyOrder) -> BuyOrder:
    return order


client = TestClient(app)


def paths(found: list[Any]) -> set[tuple[Any, ...]]:
    return {tuple(fault["loc"]) for fault in found}


def test_fault_in_body_is_pydantics_error_with_its_path() -> None:
    body = {"note": "n", "orders": [ORDER, {**ORDER, "sol_amount": "-1", "token_address": SOL_MINT, "colour": "red"}]}
    answer = client.post("/rebalance", json=body)
    assert answer.status_code == 422
    assert paths(answer.json()["detail"]) == {
        ("body", "orders", 1, "sol_amount"),
        ("body", "orders", 1, "token_address"),
        ("body", "orders", 1, "colour"),
    }
    answer = client.post("/buy", json={**ORDER, "sol_amount": 1.5})
    assert answer.status_code == 422
    assert paths(answer.json()["detail"]) == {("body", "sol_amount")}
    with pytest.raises(ValidationError) as refused:
        Rebalance.model_validate(body)
    assert paths(refused.value.errors()) == {
        ("orders", 1, "sol_amount"),
        ("orders", 1, "token_address"),
        ("orders", 1, "colour"),
    }


def test_rules_about_two_fields_have_paths_too() -> None:
    swap = {**ORDER, "input_mint": "a", "input_symbol": "A", "output_mint": "a", "output_symbol": "A"}
    swap = {name: value for name, value in swap.items() if not name.startswith(("token", "sol"))}
    swap |= {"input_amount": "1", "output_amount": "1"}
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(list[SwapOrder]).validate_python([swap])
    assert paths(refused.value.errors()) == {(0, "output_mint")}
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(list[SwapFilter]).validate_python([{"min_profit_loss_sol": 2, "max_profit_loss_sol": 1}])
    assert paths(refused.value.errors()) == {(0, "min_profit_loss_sol")}


def test_fault_of_configuration_in_body_has_path() -> None:
    answer = client.post("/rebalance", json={"note": "n", "orders": [], "config": {"dca": {"maxDCACount": "many"}}})
    assert answer.status_code == 422
    assert paths(answer.json()["detail"]) == {("body", "config", "dca", "maxDCACount")}


def test_order_in_body_is_exact_and_gets_an_id() -> None:
    answer = client.post("/buy", json=ORDER)
    assert answer.status_code == 200
    assert answer.json()["token_amount"] == ORDER["token_amount"]
    assert answer.json()["transaction_value_usd"] == "0"
    order = BuyOrder.model_validate(answer.json())
    assert order.token_amount == Decimal(ORDER["token_amount"])
    assert UUID(answer.json()["request_id"]) == order.request_id
    of_chain = {**ORDER, "transaction_hash": "hash"}
    first, second = (client.post("/buy", json=of_chain).json()["request_id"] for _ in range(2))
    assert first == second


def test_openapi_says_required_formats_and_patterns() -> None:
    schema = app.openapi()["components"]["schemas"]["BuyOrder"]  # one for what is given and what is returned
    assert set(schema["required"]) == set(ORDER)
    assert schema["properties"]["sol_amount"]["type"] == "string"
    assert schema["properties"]["sol_amount"]["pattern"].startswith("^")
    assert schema["properties"]["request_id"] == {"type": "string", "format": "uuid", "title": "Request Id"}
    assert schema["properties"]["expires_at"]["anyOf"][0] == {"type": "string", "format": "date-time"}
    assert schema["additionalProperties"] is False
