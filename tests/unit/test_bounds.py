"""Every input has a size: what is larger is refused before anything is done with it."""

from __future__ import annotations

import base64
import json
from typing import Any
from uuid import UUID

import pytest
from psycopg.types.json import Json, Jsonb
from pydantic import JsonValue

from nexgent_db.cache.codec import BALANCE, POSITION
from nexgent_db.cache.entries import BalanceEntry, entry_of, marked_set
from nexgent_db.cache.keys import CacheKeys
from nexgent_db.errors import InvalidInput, InvalidTradingConfig
from nexgent_db.models import AgentTradingConfig, BuyOrder
from nexgent_db.models.base import Input
from nexgent_db.models.pages import BeforeUuid, decode_cursor
from nexgent_db.models.trading_sections import Dca, StopLoss
from nexgent_db.queries.adhoc import ad_hoc
from nexgent_db.queries.binding import BoundQuery, bind_repository, query

ID = UUID("0198c0de-0000-7000-8000-000000000001")


class Item(dict[str, object]):
    """An item that must not be looked at."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(name)


@pytest.mark.parametrize(
    ("patch", "fault"),
    [
        ({"stopLoss": {"trailingLevels": [Item()] * 101}}, "has 101 items: 100 can be stored"),
        ({"dca": {"levels": [Item()] * 300_000}}, "has 300,000 items: 100 can be stored"),
        ({"takeProfit": {"levels": (Item(),) * 11}}, "has 11 items: 10 can be stored"),
        ({"signals": {"tokenList": [1] * 10_001}}, "has 10,001 items: 10,000 can be stored"),
        ({"signals": {"allowedSignalTypes": [1] * 1001}}, "has 1,001 items: 1,000 can be stored"),
    ],
)
def test_too_long_a_list_of_a_configuration_is_one_fault(patch: dict[str, object], fault: str) -> None:
    with pytest.raises(InvalidTradingConfig) as refused:
        AgentTradingConfig.from_document(patch)
    assert [each.message for each in refused.value.faults] == [fault]


def test_too_long_a_list_in_json_is_one_fault() -> None:
    with pytest.raises(InvalidTradingConfig) as refused:
        AgentTradingConfig.from_json('{"stopLoss":{"trailingLevels":[' + ",".join(["{}"] * 300_000) + "]}}")
    assert len(refused.value.faults) == 1


def test_longest_lists_are_accepted() -> None:
    tokens = tuple(f"{number:044}" for number in range(10_000))
    assert len(AgentTradingConfig.from_document({"signals": {"tokenList": tokens}}).signals.token_list) == 10_000
    dca = {"levels": [{"dropPercent": -1, "buyPercent": 1}] * 100}
    assert len(AgentTradingConfig.from_document({"dca": dca}).dca.levels) == 100


@pytest.mark.parametrize(("section", "name", "longest"), [(StopLoss, "trailingLevels", 100), (Dca, "levels", 100)])
def test_json_schema_says_how_long_a_list_may_be(section: type[StopLoss | Dca], name: str, longest: int) -> None:
    assert section.model_json_schema()["properties"][name]["maxItems"] == longest


@pytest.mark.parametrize("number", [2**256, 10**1_000_000, -(10**1_000_000)], ids=["2^256", "many", "negative"])
def test_integer_of_many_digits_is_refused_without_its_digits(number: int) -> None:
    """To convert a million digits took 20 seconds."""
    with pytest.raises(InvalidInput, match=r"an integer of [0-9,]+ bits has too many digits"):
        BuyOrder.model_validate({"sol_amount": number})
    with pytest.raises(InvalidTradingConfig, match=r"an integer of [0-9,]+ bits has too many digits"):
        AgentTradingConfig.from_document({"purchaseLimits": {"maxPurchasePerToken": number}})


def test_text_of_many_digits_is_refused() -> None:
    with pytest.raises(InvalidTradingConfig, match="expected, not a text"):
        AgentTradingConfig.from_document({"purchaseLimits": {"maxPurchasePerToken": "9" * 1_000_000}})
    with pytest.raises(InvalidInput, match="a text of 1,000,000 characters is too long for a decimal number"):
        BuyOrder.model_validate({"sol_amount": "9" * 1_000_000})


# --- Nesting ------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [100, 375, 100_000])
def test_nested_cursor_is_refused(depth: int) -> None:
    cursor = base64.urlsafe_b64encode(b"[" * depth + b"]" * depth).decode()
    with pytest.raises(InvalidInput, match="it is not one that a page gave"):
        decode_cursor(cursor, "users", BeforeUuid)


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_nested_payload_counts_as_not_cached(opening: str) -> None:
    closing = "]" if opening == "[" else "}"
    nested = opening * 100_000 + "1" + closing * 100_000
    for codec in (POSITION, BALANCE):
        assert codec.decode(f'{{"version":1,"unknown":{nested}}}'.encode()) is None
        assert codec.decode(f'{{"version":1,"id":{nested}}}'.encode()) is None


# --- Values of statements -----------------------------------------------------------------------

HUGE = 10**1_000_000


def nested(depth: int) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for _ in range(depth):
        document = {"a": document}
    return document


UNFIT: dict[str, tuple[object, str]] = {
    "nested": (nested(5_000), "is no JSON: it is nested too deeply"),
    "nested below the interpreter's limit": (nested(300), "is no JSON: it is nested too deeply"),
    "nested lists": ({"a": [[["["]]], "b": json.loads("[" * 300 + "]" * 300)}, "is no JSON: it is nested too deeply"),
    "digits in a document": ({"a": [HUGE]}, "Exceeds the limit"),
    "not a number": ({"a": float("nan")}, "Out of range float values"),
    "no form in JSON": ({"a": object()}, "is no JSON: Object of type object"),
    "long": ({"a": "x" * 20_000_000}, r"20,000,008 bytes of JSON are more than 1,048,576"),
    "long in UTF-8": ({"a": "ö" * 600_000}, r"1,200,008 bytes of JSON are more than 1,048,576"),
}
OF_DRIVER: dict[str, tuple[object, str]] = {
    "digits": (HUGE, "is beyond 64 bits"),
    "beyond 64 bits": (-(2**63) - 1, "is beyond 64 bits"),
    "digits in a list": ([1, HUGE], "at 1: is beyond 64 bits"),
    "digits in a list of lists": ([[1], [HUGE]], "at 0: is beyond 64 bits"),
    "digits in a tuple": ((1, HUGE), "at 1: is beyond 64 bits"),
    "array nested": (json.loads("[" * 900 + "]" * 900), "has at most 6 dimensions"),
    "nested in Jsonb": (Jsonb(nested(5_000)), "is no JSON: it is nested too deeply"),
    "long in Json": (Json({"a": "x" * 2_000_000}), "bytes of JSON are more than"),
    "nested in Json written by another function": (
        Json(None, dumps=lambda _: "[" * 300 + "]" * 300),
        "is no JSON: it is nested too deeply",
    ),
}


@pytest.mark.parametrize(("value", "fault"), (UNFIT | OF_DRIVER).values(), ids=(UNFIT | OF_DRIVER).keys())
def test_value_without_bounds_is_refused_by_execute(value: object, fault: str) -> None:
    statement = ad_hoc("SELECT :given::jsonb, :other::int", "bounds")
    with pytest.raises(InvalidInput, match=fault) as refused:
        statement.call_with({"other": 1, "given": value})
    assert refused.value.field == "given"
    assert len(str(refused.value)) < 300


class Documents(Input):
    document: JsonValue = None
    number: int = 0
    numbers: list[int] | None = None


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> dict[str, BoundQuery]:
    path = tmp_path_factory.mktemp("own") / "bounds.sql"
    path.write_text(
        "-- name: mapping :exec\n-- Stores.\nSELECT :given::jsonb;\n\n"
        "-- name: number :exec\n-- Stores.\nSELECT :given::bigint;\n\n"
        "-- name: numbers :exec\n-- Stores.\nSELECT :given::bigint[];\n\n"
        "-- name: of_input :exec\n-- Stores.\nSELECT :document::jsonb, :number::bigint, :numbers::bigint[];\n"
    )

    class Own:
        @query
        async def mapping(self, given: dict[str, Any]) -> None: ...

        @query
        async def number(self, given: int) -> None: ...

        @query
        async def numbers(self, given: list[int]) -> None: ...

        @query
        async def of_input(self, given: Documents) -> None: ...

    return bind_repository(Own, path)


@pytest.mark.parametrize(("value", "fault"), UNFIT.values(), ids=UNFIT.keys())
def test_document_without_bounds_is_refused_by_own_query(own: dict[str, BoundQuery], value: object, fault: str) -> None:
    with pytest.raises(InvalidInput, match=fault) as refused:
        own["mapping"].call((value,), {})
    assert refused.value.field == "given"


def test_integer_without_bounds_is_refused_by_own_query(own: dict[str, BoundQuery]) -> None:
    with pytest.raises(InvalidInput, match="given: is beyond 64 bits"):
        own["number"].call((HUGE,), {})
    for count in (2, 1_200):
        with pytest.raises(InvalidInput, match=f"given: at {count - 1}: is beyond 64 bits"):
            own["numbers"].call(([*range(count - 1), HUGE],), {})
        with pytest.raises(InvalidInput, match=f"given: at {count - 1}: is beyond 64 bits"):
            list(own["numbers"].steps(([*range(count - 1), HUGE],), {}))
    for given, field in (
        (Documents(number=HUGE), "number"),
        (Documents(numbers=[HUGE]), "numbers"),
        (Documents(document={"a": HUGE}), "document"),
    ):
        with pytest.raises(InvalidInput) as refused:
            own["of_input"].call((given,), {})
        assert refused.value.field == field


def test_values_within_bounds_are_sent(own: dict[str, BoundQuery]) -> None:
    fits = {"a": [nested(200), "[" * 1_000, 2**63, "ö"], "b": None}
    for call in (
        ad_hoc("SELECT :given::jsonb", "bounds").call_with({"given": fits}),
        ad_hoc("SELECT :given::jsonb", "bounds").call_with({"given": Jsonb(fits)}),
        own["mapping"].call((fits,), {}),
    ):
        (sent,) = call.values
        assert isinstance(sent, Jsonb)
        assert json.loads(sent.dumps(sent.obj) if sent.dumps else "") == fits
    assert ad_hoc("SELECT :given::bigint", "bounds").call_with({"given": 2**63 - 1}).values == (2**63 - 1,)
    assert own["numbers"].call(([1, 2**63 - 1],), {}).values == ([1, 2**63 - 1],)


# --- Keys ---------------------------------------------------------------------------------------

KEYS = CacheKeys("nexgent:")


@pytest.mark.parametrize("name", ["W" + ":" * 100_000, "W:T\0", "W" * 45 + ":" + "T" * 256, "a:" * 34])
def test_name_that_no_balance_can_have_allows_no_place(name: str) -> None:
    """Of 100,000 colons each would be a place, and their texts 10 GB."""
    entry = entry_of(f"nexgent:balance:{ID}:{name}", KEYS)
    assert isinstance(entry, BalanceEntry)
    assert entry.places == ()


def test_longest_name_of_a_balance_is_read() -> None:
    wallet, token = "W" * 44, "T" * 255
    entry = entry_of(f"nexgent:balance:{ID}:{wallet}:{token}", KEYS)
    assert isinstance(entry, BalanceEntry)
    assert entry.places == ((wallet, token),)


def test_marker_with_nul_belongs_to_no_set() -> None:
    key = KEYS.positions_of_token("a\0b")
    assert marked_set(key, b"1 a\0b", KEYS) is None
    assert marked_set(KEYS.positions_of_token("ab"), b"1 ab", KEYS) is not None
