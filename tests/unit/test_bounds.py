"""Every input has a size: what is larger is refused before anything is done with it."""

from __future__ import annotations

import base64
from typing import Any
from uuid import UUID

import pytest

from nexgent_db.cache.codec import BALANCE, POSITION
from nexgent_db.cache.entries import BalanceEntry, entry_of, marked_set
from nexgent_db.cache.keys import CacheKeys
from nexgent_db.errors import InvalidInput, InvalidTradingConfig
from nexgent_db.models import AgentTradingConfig, BuyOrder
from nexgent_db.models.pages import BeforeUuid, decode_cursor
from nexgent_db.models.trading_sections import Dca, StopLoss

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
