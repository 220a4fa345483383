"""JSON of models: decimals are plain text and exact both ways, secrets are left out, schemas say what is accepted."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, get_args
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from nexgent_db import models
from nexgent_db.errors import InvalidInput, InvalidTradingConfig
from nexgent_db.models import AgentBalance, AgentTradingConfig, ApiKey, BuyOrder, SwapFilter, TokenNumber, User
from nexgent_db.models.base import Input, Row

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ORDER: dict[str, Any] = {
    "agent_id": str(UUID(int=1)),
    "wallet_address": "wallet",
    "token_address": "token",
    "token_symbol": "TOK",
    "sol_amount": "1.5",
    "token_amount": "12345678901234567890.000000000000000001",
}


def balance(amount: Decimal) -> AgentBalance:
    return AgentBalance(
        id=UUID(int=1),
        agent_id=UUID(int=2),
        wallet_address="wallet",
        token_address="token",
        token_symbol="TOK",
        balance=amount,
        last_updated=NOW,
        version=1,
    )


# --- Decimals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0E-18", "0"),
        ("-0E-18", "0"),
        ("1E-18", "0.000000000000000001"),
        ("1.500000000000000000", "1.5"),
        ("1E+3", "1000"),
        ("100", "100"),
        ("-12345678901234567890.123456789012345678", "-12345678901234567890.123456789012345678"),
    ],
)
def test_decimal_is_plain_text_and_exact_both_ways(amount: str, text: str) -> None:
    row = balance(Decimal(amount))
    assert json.loads(row.model_dump_json())["balance"] == text
    assert row.model_dump(mode="json")["balance"] == text
    assert row.model_dump()["balance"] == Decimal(amount)  # Python's own stays a Decimal
    assert AgentBalance.model_validate_json(row.model_dump_json()) == row


@given(st.decimals(min_value=-(10**20) + 1, max_value=10**20 - 1, places=18, allow_nan=False))
def test_any_amount_is_exact_both_ways(amount: Decimal) -> None:
    row = balance(amount)
    text = row.model_dump_json()
    assert re.search(r'"balance":"-?\d+(\.\d+)?"', text)
    assert AgentBalance.model_validate_json(text).balance == amount


def test_decimals_of_own_models_are_plain_wherever_they_stand() -> None:
    class Inner(Row):
        price: Decimal

    class Alert(Row):
        price: Decimal | None
        amounts: list[TokenNumber]
        by_name: dict[str, Decimal]
        inner: tuple[Inner, ...]

    tiny = Decimal("1E-18")
    alert = Alert(price=tiny, amounts=[tiny], by_name={"a": tiny}, inner=(Inner(price=Decimal("0E-18")),))
    text = alert.model_dump_json()
    assert "E-" not in text
    assert text.count("0.000000000000000001") == 3
    assert Alert.model_validate_json(text) == alert


def decimals_of(annotation: Any) -> Iterator[Any]:
    if annotation is Decimal:
        yield annotation
    for part in get_args(annotation):
        yield from decimals_of(part)


MODELS = [
    model
    for name in models.__all__
    if inspect.isclass(model := getattr(models, name)) and issubclass(model, Row | Input) and model.model_fields
]


@pytest.mark.parametrize("model", MODELS)
def test_schema_of_output_has_text_for_each_decimal(model: type[BaseModel]) -> None:
    properties = model.model_json_schema(mode="serialization").get("properties", {})
    for name, field in model.model_fields.items():
        if any(decimals_of(field.annotation)):
            assert '"string"' in json.dumps(properties[name])
            assert '"number"' not in json.dumps(properties[name])


# --- Secrets ------------------------------------------------------------------------------------


def test_hashes_are_left_out_of_dumps_and_readable_as_attributes() -> None:
    user = User(
        id=UUID(int=1),
        email="a@example.org",
        password_hash="s3cret",
        created_at=NOW,
        failed_login_attempts=0,
        locked_until=None,
    )
    key = ApiKey(
        id=UUID(int=1),
        user_id=UUID(int=2),
        name="a key",
        key_hash="s3cret",
        key_prefix="nex_1234",
        scopes=None,
        created_at=NOW,
        expires_at=None,
        revoked_at=None,
        last_used_at=None,
    )
    for row in (user, key):
        shown = f"{row!r} {row} {row.model_dump()} {row.model_dump_json()} {row.model_dump(mode='json')}"
        assert "s3cret" not in shown
        assert "_hash" not in shown
    assert (user.password_hash, key.key_hash) == ("s3cret", "s3cret")


# --- Orders -------------------------------------------------------------------------------------


def test_order_from_json_has_exact_amounts() -> None:
    order = BuyOrder.model_validate_json(json.dumps(ORDER))
    assert order.token_amount == Decimal("12345678901234567890.000000000000000001")
    assert BuyOrder.model_validate_json(order.model_dump_json()) == order
    with pytest.raises(InvalidInput, match="sol_amount: a float is never accepted for money"):
        BuyOrder.model_validate_json(json.dumps({**ORDER, "sol_amount": 1.5}))


def test_schema_of_order_says_what_is_required_and_text_for_money() -> None:
    schema = BuyOrder.model_json_schema()
    assert set(schema["required"]) == set(ORDER)
    assert schema["properties"]["request_id"]["format"] == "uuid"
    assert schema["properties"]["agent_id"]["format"] == "uuid"
    amount = schema["properties"]["sol_amount"]
    assert amount["type"] == "string"
    assert re.fullmatch(amount["pattern"], ORDER["token_amount"])
    for refused in ("1e3", "NaN", "", "1.", "0.0000000000000000001", "123456789012345678901", "1,5"):
        assert not re.fullmatch(amount["pattern"], refused)


def test_every_fault_is_named_with_message_and_class_of_value() -> None:
    wrong = {**ORDER, "sol_amount": 1.5, "agent_id": "none", "routes": {1, 2}, "colour": "red"}
    with pytest.raises(InvalidInput) as refused:
        BuyOrder.model_validate(wrong)
    faults = {fault.field: fault for fault in refused.value.faults}
    assert {name: fault.value_class for name, fault in faults.items()} == {
        "sol_amount": "float",
        "agent_id": "str",
        "routes": "set",
        "colour": "str",
    }
    assert faults["sol_amount"].message == "a float is never accepted for money: give a Decimal"
    assert "red" not in str(refused.value)
    assert set(refused.value.field.split(", ")) == faults.keys()


def test_rule_about_two_fields_names_the_field() -> None:
    with pytest.raises(InvalidInput) as refused:
        SwapFilter(min_profit_loss_sol=Decimal(2), max_profit_loss_sol=Decimal(1))
    assert refused.value.field == "min_profit_loss_sol"
    assert str(refused.value) == "min_profit_loss_sol: 2 is above max_profit_loss_sol, 1"


def test_faults_of_configuration_have_class_of_value() -> None:
    with pytest.raises(InvalidTradingConfig) as refused:
        AgentTradingConfig.from_document({"dca": {"maxDCACount": "many"}})
    assert [(fault.field, fault.value_class) for fault in refused.value.faults] == [("dca.maxDCACount", "str")]
