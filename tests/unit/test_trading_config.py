"""The trading configuration: defaults, merging, each rule with the path in its error, exact numbers."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from nexgent_db.errors import InvalidInput, InvalidTradingConfig
from nexgent_db.models import AgentTradingConfig
from nexgent_db.models.trading_config import checked_config, merged_config, read_document, stored_config

DEFAULTS = """
{"purchaseLimits": {"minimumAgentBalance": 0.5, "maxPurchasePerToken": 2.0, "maxPriceImpact": 0.05},
 "signals": {"minScore": 1, "allowedSignalTypes": [], "tokenFilterMode": "none", "tokenList": []},
 "stopLoss": {"enabled": true, "defaultPercentage": -32, "mode": "fixed", "trailingLevels": []},
 "positionCalculator": {
   "solBalanceThresholds": {"minimum": 0.2, "medium": 5, "large": 10},
   "positionSizes": {"small": {"min": 0.1, "max": 0.1}, "medium": {"min": 0.5, "max": 1.0},
                     "large": {"min": 1.5, "max": 2.0}},
   "randomization": {"enabled": true}},
 "staleTrade": {"enabled": true, "minHoldTimeMinutes": 60, "minProfitPercent": 1, "maxProfitPercent": 10},
 "dca": {"enabled": false, "mode": "moderate", "levels": [], "maxDCACount": 3, "cooldownSeconds": 30},
 "takeProfit": {"enabled": false, "mode": "moderate",
   "levels": [{"targetPercent": 50, "sellPercent": 25}, {"targetPercent": 150, "sellPercent": 25},
              {"targetPercent": 300, "sellPercent": 25}, {"targetPercent": 400, "sellPercent": 15}],
   "moonBag": {"enabled": true, "triggerPercent": 300, "retainPercent": 10}}}
"""
ADDRESS = "A" * 32


def at(path: str, value: Any) -> dict[str, Any]:
    """The document that has one value, under this path."""
    for key in reversed(path.split(".")):
        value = {key: value}
    document: dict[str, Any] = value
    return document


def faults_of(*documents: dict[str, Any]) -> list[str]:
    with pytest.raises(InvalidTradingConfig) as refused:
        AgentTradingConfig.from_document(*documents)
    assert refused.value.__cause__ is refused.value.__context__ is None
    return [fault.field for fault in refused.value.faults]


def test_defaults_are_those_of_public_system() -> None:
    expected = json.loads(DEFAULTS, parse_float=Decimal, parse_int=Decimal)
    assert AgentTradingConfig().to_document() == expected
    assert json.loads(AgentTradingConfig().to_json(), parse_float=Decimal, parse_int=Decimal) == expected
    assert AgentTradingConfig.from_document(expected) == AgentTradingConfig.from_document(None) == AgentTradingConfig()


# --- Merging ------------------------------------------------------------------------------------


def test_objects_merge_and_other_values_replace() -> None:
    config = AgentTradingConfig.from_document(
        {"takeProfit": {"levels": [{"targetPercent": 5, "sellPercent": 6}], "moonBag": {"retainPercent": 7}}},
        {"takeProfit": {"moonBag": {"enabled": False}}, "positionCalculator": {"positionSizes": {"large": {"max": 3}}}},
    )
    assert [level.target_percent for level in config.take_profit.levels] == [5]
    assert (config.take_profit.moon_bag.retain_percent, config.take_profit.moon_bag.enabled) == (7, False)
    assert config.take_profit.moon_bag.trigger_percent == 300
    assert (
        config.position_calculator.position_sizes.large.min,
        config.position_calculator.position_sizes.large.max,
    ) == (
        Decimal("1.5"),
        3,
    )


def test_unknown_keys_are_dropped_at_any_depth() -> None:
    document = {
        "later": {"minScore": 9},
        "signals": {"minScore": 2, "later": object()},
        "dca": {"levels": [{"dropPercent": -10, "buyPercent": 50, "later": 1}]},
    }
    config = AgentTradingConfig.from_document(document)
    assert config.signals.min_score == 2
    assert "later" not in config.to_json()


@pytest.mark.parametrize(
    "path",
    [
        *(f"signals.{name}{end}" for name in ("marketCap", "liquidity", "holderCount") for end in ("Min", "Max")),
        "purchaseLimits.maxPriceImpact",
    ],
)
def test_null_clears_optional_value(path: str) -> None:
    config = AgentTradingConfig.from_document(at(path, Decimal(1)), at(path, None))
    assert AgentTradingConfig.from_json(config.to_json()) == config
    section, key = path.split(".")
    document: Any = config.to_document()[section]
    assert document.get(key) is None


# --- Rules --------------------------------------------------------------------------------------

LEVELS = "takeProfit.levels"


def custom(section: str, **more: Any) -> dict[str, Any]:
    return {section: {"enabled": True, "mode": "custom", **more}}


def levels(first: str, second: str, *pairs: tuple[Any, Any]) -> list[dict[str, Any]]:
    return [{first: one, second: other} for one, other in pairs]


@pytest.mark.parametrize(
    ("path", "good", "bad"),
    [
        ("purchaseLimits.minimumAgentBalance", ["0.1"], ["0.0999"]),
        ("purchaseLimits.maxPurchasePerToken", ["0.000000001"], ["0", "-1", "1e-19", "1e20"]),
        ("purchaseLimits.maxPriceImpact", ["0", "1"], ["-0.01", "1.01"]),
        ("signals.minScore", ["1", "5", "3.0"], ["0", "6", "1.5"]),
        ("signals.marketCapMin", ["0.01"], ["0"]),
        ("signals.liquidityMax", ["0.01"], ["0"]),
        ("signals.holderCountMin", ["0"], ["-1", "0.5"]),
        ("stopLoss.defaultPercentage", ["-100", "0"], ["-100.1", "0.1"]),
        ("staleTrade.minHoldTimeMinutes", ["1"], ["0.9"]),
        ("staleTrade.minProfitPercent", ["-50", "10"], []),
        ("dca.maxDCACount", ["1", "10"], ["0", "11", "2.5"]),
        ("dca.cooldownSeconds", ["10", "3600"], ["9", "3601"]),
        ("takeProfit.moonBag.triggerPercent", ["1", "10000"], ["0", "10001"]),
        ("takeProfit.moonBag.retainPercent", ["1", "50"], ["0", "51"]),
    ],
)
def test_number_at_range_limit_is_accepted_or_refused(path: str, good: list[str], bad: list[str]) -> None:
    for number in good:
        assert AgentTradingConfig.from_document(at(path, Decimal(number)))
    for number in bad:
        assert faults_of(at(path, Decimal(number))) == [path]
    others: list[Any] = [0.5, "1", True, [], {}, Decimal("NaN"), Decimal("Infinity")]
    for wrong in others:
        assert faults_of(at(path, wrong)) == [path]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("signals.tokenFilterMode", "some"),
        ("stopLoss.mode", "moderate"),
        ("dca.mode", "fixed"),
        ("takeProfit.mode", "fixed"),
        ("stopLoss.enabled", 1),
        ("dca.enabled", "true"),
        ("dca.enabled", None),
        ("stopLoss.defaultPercentage", None),
        ("signals.allowedSignalTypes", "BUY"),
        ("signals.tokenList", None),
        ("stopLoss", None),
        ("dca", []),
        ("takeProfit.moonBag", True),
    ],
)
def test_value_of_another_kind_is_refused(path: str, value: Any) -> None:
    assert faults_of(at(path, value)) == [path]


@pytest.mark.parametrize(
    ("document", "faults"),
    [
        ({"signals": {"allowedSignalTypes": ["", "x" * 50, "x" * 51]}}, ["[0]", "[2]"]),
        ({"signals": {"tokenList": [ADDRESS, "A" * 31, "A" * 44, "A" * 45]}}, ["[1]", "[3]"]),
    ],
)
def test_each_invalid_element_is_named(document: dict[str, Any], faults: list[str]) -> None:
    (key,) = document["signals"]
    assert faults_of(document) == [f"signals.{key}{fault}" for fault in faults]


@pytest.mark.parametrize(
    ("document", "faults"),
    [
        ({"signals": {"marketCapMin": 2, "marketCapMax": 1}}, ["signals.marketCapMin"]),
        ({"signals": {"liquidityMin": 2, "liquidityMax": 1}}, ["signals.liquidityMin"]),
        ({"signals": {"holderCountMin": 2, "holderCountMax": 1}}, ["signals.holderCountMin"]),
        (custom("stopLoss"), ["stopLoss.trailingLevels"]),
        (
            custom("stopLoss", trailingLevels=levels("change", "stopLoss", (5, 1), (5, 1), (6, 1))),
            ["stopLoss.trailingLevels[1].change", "stopLoss.trailingLevels[2].change"],
        ),
        (
            {"stopLoss": {"trailingLevels": levels("change", "stopLoss", (0, 1001), (1, 0))}},
            [
                "stopLoss.trailingLevels[0].change",
                "stopLoss.trailingLevels[0].stopLoss",
                "stopLoss.trailingLevels[1].stopLoss",
            ],
        ),
        ({"stopLoss": {"trailingLevels": [{"change": 1}]}}, ["stopLoss.trailingLevels[0].stopLoss"]),
        (
            at("positionCalculator.solBalanceThresholds", {"minimum": 5, "large": 5}),
            [f"positionCalculator.solBalanceThresholds.{name}" for name in ("medium", "large")],
        ),
        (at("positionCalculator.positionSizes.small.min", 1), ["positionCalculator.positionSizes.small.min"]),
        (at("positionCalculator.positionSizes.large.min", -1), ["positionCalculator.positionSizes.large.min"]),
        ({"staleTrade": {"minProfitPercent": 11}}, ["staleTrade.minProfitPercent"]),
        (custom("dca"), ["dca.levels"]),
        ({"dca": {"levels": levels("dropPercent", "buyPercent", (-20, 1), (-10, 1))}}, ["dca.levels[1].dropPercent"]),
        (
            {"dca": {"levels": levels("dropPercent", "buyPercent", (-100, 501), (0, 0))}},
            [f"dca.levels[{place}].{name}" for place in (0, 1) for name in ("dropPercent", "buyPercent")],
        ),
        ({"takeProfit": {"levels": levels("targetPercent", "sellPercent", *[(1, 1)] * 11)}}, [LEVELS]),
        (custom("takeProfit", levels=[]), [LEVELS]),
        (
            custom("takeProfit", levels=levels("targetPercent", "sellPercent", (300, 1), (300, 1))),
            [f"{LEVELS}[1].targetPercent"],
        ),
        (custom("takeProfit", moonBag={"retainPercent": 11}), [LEVELS]),
        (custom("takeProfit", moonBag={"triggerPercent": 401}), ["takeProfit.moonBag.triggerPercent"]),
    ],
)
def test_broken_rule_across_fields_is_named(document: dict[str, Any], faults: list[str]) -> None:
    assert faults_of(document) == faults


@pytest.mark.parametrize(
    "document",
    [
        {"stopLoss": {"mode": "custom", "enabled": False}},
        {"stopLoss": {"trailingLevels": levels("change", "stopLoss", (1, 1), (2, 1))}},
        custom("stopLoss", trailingLevels=levels("change", "stopLoss", (20, 1000), (10, 1))),
        {"dca": {"mode": "custom"}},
        custom("dca", levels=levels("dropPercent", "buyPercent", (-10, 500), (-10, 1), (-99, 1))),
        {"takeProfit": {"levels": []}},
        custom("takeProfit"),
        custom("takeProfit", levels=levels("targetPercent", "sellPercent", (1, 100)), moonBag={"enabled": False}),
        {"signals": {"marketCapMin": 1, "marketCapMax": 1, "tokenFilterMode": "whitelist", "tokenList": [ADDRESS]}},
    ],
)
def test_valid_configuration_is_accepted(document: dict[str, Any]) -> None:
    config = AgentTradingConfig.from_document(document)
    assert AgentTradingConfig.from_json(config.to_json()) == config


def test_paths_of_all_errors_are_listed() -> None:
    wrong = {"signals": {"minScore": 0, "tokenList": ["x"]}, "dca": None, **custom("takeProfit", levels=[])}
    assert faults_of(wrong) == ["signals.minScore", "signals.tokenList[0]", "dca", LEVELS]

    broken: dict[str, Any] = {
        "signals": {"minScore": 0, "marketCapMin": 2, "marketCapMax": 1, "liquidityMin": 0, "liquidityMax": -1},
        **custom("takeProfit", levels=levels("targetPercent", "sellPercent", (9, 90), (9, 90)), moonBag={"enabled": 1}),
    }
    assert faults_of(broken) == [
        "signals.minScore",
        "signals.liquidityMin",
        "signals.liquidityMax",
        "signals.marketCapMin",
        "takeProfit.moonBag.enabled",
        f"{LEVELS}[1].targetPercent",
    ]


# --- Numbers and documents ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["0.1", "0.10", "12345678901234567890.123456789012345678", "1E+3", "0.000000000000000001"]
)
def test_number_survives_round_trip(text: str) -> None:
    config = AgentTradingConfig.from_json(f'{{"purchaseLimits": {{"maxPurchasePerToken": {text}}}}}')
    assert config.purchase_limits.max_purchase_per_token == Decimal(text)
    assert AgentTradingConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize("text", ["[]", "1", '"x"', "{", "", '{"a": NaN', "[" * 200_000])
def test_non_document_is_refused(text: str) -> None:
    with pytest.raises(InvalidTradingConfig):
        read_document(text)


def test_number_that_json_lacks_is_refused() -> None:
    with pytest.raises(InvalidTradingConfig, match="maxPriceImpact"):
        AgentTradingConfig.from_json('{"purchaseLimits": {"maxPriceImpact": NaN}}')


def test_attributes_accept_both_names_and_no_other() -> None:
    camel, snake = ({"dca": {name: 4}} for name in ("maxDCACount", "max_dca_count"))
    assert AgentTradingConfig.model_validate(camel) == AgentTradingConfig.model_validate(snake)
    with pytest.raises(InvalidTradingConfig, match="colour"):
        AgentTradingConfig(colour="red")  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="frozen"):
        AgentTradingConfig().dca = AgentTradingConfig().dca  # type: ignore[misc]


def test_stored_configuration_equals_patched_document() -> None:
    text, config = merged_config('{"signals": {"minScore": 9}}', {"signals": {"minScore": 2}})
    assert stored_config(text) == checked_config(config) == config
    assert config.signals.min_score == 2
    assert checked_config(None) == stored_config("{}") == AgentTradingConfig()
    with pytest.raises(InvalidInput, match="patch"):
        merged_config("{}", "x")
    with pytest.raises(InvalidInput, match="config"):
        checked_config({})
