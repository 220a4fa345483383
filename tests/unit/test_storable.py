"""Text and JSON that cannot be stored: every input refuses them by the field's name without repeating them."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, get_type_hints
from uuid import uuid4

import pytest
from pydantic import TypeAdapter, ValidationError

from nexgent_db import AsyncDatabase
from nexgent_db.aio.repositories.base import Repository
from nexgent_db.aio.repositories.trades import _Statements
from nexgent_db.errors import InvalidInput, InvalidTradingConfig
from nexgent_db.models import AgentTradingConfig, DepositOrder, SwapFilter, SwapOrder, request_id_of
from nexgent_db.models.base import Input
from nexgent_db.models.storable import MAX_JSON_BYTES, Json, JsonText, Text, Timestamp
from nexgent_db.models.trading_sections import Section

OPENED = vars(AsyncDatabase("postgresql://x@localhost/x"))
REPOSITORIES: list[type[Repository]] = [type(each) for each in OPENED.values() if isinstance(each, Repository)]
REPOSITORIES.append(_Statements)
TOO_MUCH = 10_000_000
SOL: dict[str, Any]
SOL = {
    "input_mint": "A",
    "input_symbol": "A",
    "input_amount": 1,
    "output_mint": "B",
    "output_symbol": "B",
}


def swap(**more: Any) -> SwapOrder:
    return SwapOrder(agent_id=uuid4(), wallet_address="W", **SOL, output_amount=Decimal(1), **more)


# --- Every input --------------------------------------------------------------------------------


def kinds_of(base: type[Any]) -> Iterator[type[Any]]:
    for kind in base.__subclasses__():
        yield kind
        yield from kinds_of(kind)


def inputs() -> Iterator[tuple[str, Any]]:
    """The annotation of everything that can be given: fields of orders and configurations, arguments of queries."""
    for model in (*kinds_of(Input), *kinds_of(Section)):
        if model.__module__.startswith("nexgent_db.models"):
            for name, field in model.model_fields.items():
                whole = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
                yield f"{model.__name__}.{name}", whole
    for repository in REPOSITORIES:
        for bound in repository.queries.values():
            for name, hint in get_type_hints(bound.method, include_extras=True).items():
                if name != "return" and hint is not bytes and not (inspect.isclass(hint) and issubclass(hint, Input)):
                    yield f"{bound.name}({name})", hint


INPUTS = dict(inputs())
BAD = ("\0", "\ud800")


def shapes(text: str) -> Iterator[object]:
    """Every way to wrap a text: short, as long as an address, in lists and objects."""
    for each in (text, f"a{text}b", text.rjust(40, "a")):
        yield from (each, [each], (each,), [[each]], {each: 1}, {"a": each}, {"a": [{"b": [each]}]})


def taken(annotation: Any, text: str) -> list[str]:
    adapter = TypeAdapter(annotation)
    found = []
    for shape in shapes(text):
        try:
            adapter.validate_python(shape)
        except (ValidationError, InvalidInput):
            continue
        found.append(ascii(shape))
    return found


@pytest.mark.parametrize("text", BAD, ids=["NUL", "surrogate"])
@pytest.mark.parametrize("name", INPUTS)
def test_no_input_accepts_unstorable_value(name: str, text: str) -> None:
    assert taken(INPUTS[name], text) == []


def test_every_input_type_is_checked() -> None:
    assert {
        "users.create(email)",
        "agents.store_config(document)",
        "api_keys.store(scopes)",
        "signals.create_many(symbols)",
        "signal_executions.finish(error)",
        "DepositOrder.token_symbol",
        "BuyOrder.routes",
        "SwapFilter.token_address",
        "SignalOrder.activation_reason",
        "Signals.token_list",
    } <= INPUTS.keys()


@pytest.mark.parametrize("annotation", [str, list[str], dict[str, Any], str | None])
def test_unchecked_input_is_found(annotation: Any) -> None:
    assert taken(annotation, "\0")
    assert taken(annotation, "\ud800")


# --- Text ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "plain", "ünï", "🦀", "\x01\x7f\x80\ufffe\uffff", "e\u0301"])
def test_storable_text_is_accepted_unchanged(text: str) -> None:
    assert TypeAdapter(Text).validate_python(text) == text
    assert TypeAdapter(Json).validate_python({text: [text]}) == {text: [text]}


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"token_symbol": "a\0"}, "token_symbol"),
        ({"token_symbol": "\ud800"}, "token_symbol"),
        ({"token_symbol": b"\xff"}, "token_symbol"),
        ({"wallet_address": "\udfff", "transaction_hash": "x"}, "wallet_address"),
        ({"transaction_hash": "\ud800"}, "transaction_hash"),
        ({"transaction_hash": "x", "transaction_leg": 10**5000}, "transaction_leg"),
        ({"token_symbol": "\0", "token_address": "\0", "amount": 0}, "token_address, token_symbol, amount"),
    ],
)
def test_order_error_names_every_invalid_field(more: dict[str, Any], field: str) -> None:
    given = {
        "agent_id": uuid4(),
        "wallet_address": "W",
        "token_address": "T",
        "token_symbol": "T",
        "amount": "1",
        **more,
    }
    with pytest.raises(InvalidInput) as refused:
        DepositOrder(**given)
    assert refused.value.field == field


def test_request_id_of_lone_surrogate_is_refused() -> None:
    with pytest.raises(InvalidInput, match="not Unicode"):
        request_id_of("W", "\ud800")


# --- Times --------------------------------------------------------------------------------------

WEST, EAST = timezone(timedelta(hours=-12)), timezone(timedelta(hours=14))
BEYOND = [
    datetime.max.replace(tzinfo=UTC),
    datetime.max.replace(tzinfo=WEST),
    datetime.max.replace(tzinfo=EAST),
    datetime.min.replace(tzinfo=UTC),
    datetime.min.replace(tzinfo=WEST),
    datetime.min.replace(tzinfo=EAST),
    datetime(9999, 1, 1, tzinfo=UTC),
    datetime(9998, 12, 31, 23, 0, tzinfo=timezone(timedelta(hours=-1))),
    datetime(1, 1, 1, 23, 59, tzinfo=UTC),
]
STORED_TIMES = [
    "api_keys.store(expires_at)",
    "BalanceSnapshotOrder.snapshot_timestamp",
    *(
        f"{order}.{name}"
        for order in ("DepositOrder", "ResetWalletOrder")
        for name in ("expires_at", "transaction_time")
    ),
]


@pytest.mark.parametrize("time", BEYOND, ids=str)
@pytest.mark.parametrize("name", STORED_TIMES)
def test_time_near_calendar_limits_is_refused(name: str, time: datetime) -> None:
    with pytest.raises(ValidationError, match="between 0001-01-02 and 9998-12-31 in UTC"):
        TypeAdapter(INPUTS[name]).validate_python(time)
    with pytest.raises(ValidationError, match="between 0001-01-02 and 9998-12-31 in UTC"):
        TypeAdapter(INPUTS["balance_snapshots.upsert_many(snapshot_timestamps)"]).validate_python([time])


@pytest.mark.parametrize(
    "time",
    [
        datetime(1, 1, 2, tzinfo=UTC),
        datetime(9998, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(9999, 1, 1, 13, 59, tzinfo=EAST),
    ],
    ids=str,
)
def test_time_within_limits_is_accepted_unchanged(time: datetime) -> None:
    assert TypeAdapter(Timestamp).validate_python(time) == time


# --- JSON ---------------------------------------------------------------------------------------


class Own:
    """Something that JSON has no form for."""


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def cyclic() -> object:
    value: list[object] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"a": [{"b": "x\0"}]}, "JSON with the character NUL cannot be stored"),
        ({"\0": 1}, "JSON with the character NUL cannot be stored"),
        ({"a": "\\\0"}, "JSON with the character NUL cannot be stored"),
        ({"\udc00": 1}, "not Unicode"),
        (["\ud800"], "not Unicode"),
        (float("nan"), "is no JSON|not JSON compliant"),
        ([float("-inf")], "not JSON compliant"),
        ([10**5000], "Exceeds the limit"),
        ({"a": Own()}, "is no JSON: Object of type Own is not JSON serializable"),
        ({1: 1}, "is no JSON"),
        ({"a": {1}}, "is no JSON: Object of type set"),
        (nested(300), "is no JSON"),
        (nested(200_000), "is no JSON: it is nested too deeply"),
        (cyclic(), "Circular|is no JSON"),
        ("x" * TOO_MUCH, "10,000,002 bytes of JSON are more than 1,048,576"),
        ({"é" * TOO_MUCH: 1}, "20,000,006 bytes of JSON are more than 1,048,576"),
        ([1] * TOO_MUCH, "20,000,001 bytes of JSON are more than 1,048,576"),
    ],
    ids=range(17),
)
@pytest.mark.parametrize("field", ["routes", "swap_payload"])
def test_unstorable_document_is_refused(field: str, value: object, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem) as refused:
        swap(**{field: value})
    assert refused.value.field == field
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    "value", [None, True, 1, 1.5, "\\u0000", "\\\\u0000", ["\\u0000"], {}, nested(100), "x" * (MAX_JSON_BYTES - 2)]
)
def test_storable_document_is_accepted(value: Any) -> None:
    assert swap(routes=value).routes == value


@pytest.mark.parametrize("text", ["", "{", "nonsense", "[" * 100_000, '"\\u0000"', '"' + "x" * TOO_MUCH + '"'])
def test_json_text_is_validated_before_sending(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(JsonText).validate_python(text)


# --- Not repeated -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda text: SwapFilter.model_validate({text: 1}),
        lambda text: SwapFilter(token_symbol=text),
        lambda text: SwapFilter(min_profit_loss_sol=text),
        lambda text: SwapFilter(sale_time_from=text),
        lambda text: SwapFilter(signal_id=text),
        lambda text: SwapFilter(sale_transaction_ids=[text]),
        lambda text: AgentTradingConfig.model_validate({text: 1}),
        lambda text: AgentTradingConfig.from_document({"dca": {"mode": text, "cooldownSeconds": text}}),
        lambda text: AgentTradingConfig.from_document({"signals": {"allowedSignalTypes": [text]}}),
        AgentTradingConfig.from_json,
        lambda text: AgentTradingConfig.from_json(json.dumps(text)),
    ],
)
def test_error_does_not_repeat_input(make: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        make("9" * TOO_MUCH)
    assert len(str(refused.value)) + len(refused.value.field) < 1000


# --- Configurations -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "value", "path"),
    [
        ("signals", {"allowedSignalTypes": ["BUY", "a\0"]}, "signals.allowedSignalTypes[1]"),
        ("signals", {"tokenList": ["\ud800" * 32]}, "signals.tokenList[0]"),
        ("signals", {"allowedSignalTypes": ["x"] * 1001}, "signals.allowedSignalTypes"),
        ("signals", {"tokenList": ["x" * 32] * 10_001}, "signals.tokenList"),
        ("stopLoss", {"trailingLevels": [{"change": 1, "stopLoss": 1}] * 101}, "stopLoss.trailingLevels"),
        ("dca", {"levels": [{"dropPercent": -1, "buyPercent": 1}] * 101}, "dca.levels"),
    ],
)
def test_configuration_error_names_path(section: str, value: object, path: str) -> None:
    with pytest.raises(InvalidTradingConfig) as refused:
        AgentTradingConfig.from_document({section: value})
    assert [fault[0] for fault in refused.value.faults] == [path]
