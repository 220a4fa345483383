"""Models are frozen and exact and hide hashes; ids and digests are the same in every process."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from decimal import Context, Decimal, Inexact, InvalidOperation
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from nexgent_db import models
from nexgent_db.errors import InvalidInput
from nexgent_db.models import (
    SOL_MINT,
    ApiKey,
    BurnOrder,
    BuyOrder,
    DcaBuyOrder,
    DepositOrder,
    Exact,
    ResetWalletOrder,
    SellOrder,
    SwapOrder,
    TakeProfitOrder,
    User,
    WithdrawOrder,
    WriteOffOrder,
    request_id_of,
)
from nexgent_db.models.trades import WalletOrder
from nexgent_db.queries.trade_results import content_digest

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MODELS = [
    value
    for name in models.__all__
    if isinstance(value := getattr(models, name), type) and issubclass(value, BaseModel)
]


# --- All of them --------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_model_is_frozen_and_forbids_extras(model: type[BaseModel]) -> None:
    assert model.model_config.get("frozen") is True
    assert model.model_config.get("extra") == "forbid"


def user(**more: Any) -> User:
    return User(
        id=UUID(int=1),
        email="a@example.org",
        password_hash="$argon2id$hash",
        created_at=NOW,
        failed_login_attempts=0,
        locked_until=None,
        **more,
    )


def test_surplus_field_is_refused_and_field_cannot_be_set() -> None:
    with pytest.raises(ValidationError, match="colour"):
        user(colour="red")
    with pytest.raises(ValidationError, match="frozen"):
        user().email = "b@example.org"  # type: ignore[misc]


def test_hashes_are_not_shown() -> None:
    key = ApiKey(
        id=UUID(int=1),
        user_id=UUID(int=2),
        name="k",
        key_hash="0badc0de",
        key_prefix="nex_abcd",
        scopes=[],
        created_at=NOW,
        expires_at=None,
        revoked_at=None,
        last_used_at=None,
    )
    for shown in (repr(user()), str(user()), f"{user()}", repr([user()])):
        assert "argon2id" not in shown
    for shown in (repr(key), str(key), repr({"key": key})):
        assert "0badc0de" not in shown
    assert (user().password_hash, key.key_hash) == ("$argon2id$hash", "0badc0de")


def test_every_hash_field_is_hidden() -> None:
    hidden = {
        (model.__name__, name)
        for model in MODELS
        for name, field in model.model_fields.items()
        if "hash" in name and name != "transaction_hash"
        if not field.repr
    }
    assert hidden == {("User", "password_hash"), ("ApiKey", "key_hash")}


# --- Exact numbers ------------------------------------------------------------------------------


def fits(number: Decimal, precision: int, scale: int) -> bool:
    """Whether ``numeric(precision, scale)`` holds it, by another way: quantize without rounding, then compare."""
    context = Context(prec=precision, traps=[Inexact, InvalidOperation])
    try:
        rounded = number.quantize(Decimal(1).scaleb(-scale), context=context)
    except (Inexact, InvalidOperation):
        return False
    return rounded.copy_abs() < Decimal(10) ** (precision - scale)


COLUMNS = [(38, 18), (20, 8), (20, 4)]


def boundaries() -> list[tuple[int, int, str, bool]]:
    cases: list[tuple[int, int, str, bool]] = []
    for precision, scale in COLUMNS:
        whole = precision - scale
        for number, holds in [
            ("9" * whole + "." + "9" * scale, True),
            ("1" + "0" * whole, False),
            (f"1e{whole}", False),
            (f"1e{whole - 1}", True),
            (f"1e-{scale}", True),
            (f"1e-{scale + 1}", False),
            (f"10e-{scale + 1}", True),
            ("0." + "0" * scale + "0", True),
            ("1." + "0" * (scale + 30), True),
            ("1." + "0" * (scale + 30) + "1", False),
            ("0", True),
            ("-0", True),
            (f"0e{whole + 5}", True),
            (f"0e-{scale + 5}", True),
        ]:
            cases.append((precision, scale, number, holds))
            cases.append((precision, scale, "-" + number.removeprefix("-"), holds))
    return cases


@pytest.mark.parametrize(("precision", "scale", "text", "holds"), boundaries())
def test_number_at_column_limit_is_accepted_or_refused(precision: int, scale: int, text: str, holds: bool) -> None:
    column = Exact(precision, scale)
    assert fits(Decimal(text), precision, scale) is holds
    for value in (text, Decimal(text)):
        if holds:
            assert column.check(value) == Decimal(text)
        else:
            with pytest.raises(ValueError, match=r"more than \d+ (decimals|whole digits)"):
                column.check(value)


@settings(deadline=None)  # the machine may be busy
@given(st.decimals(allow_nan=False, allow_infinity=False), st.sampled_from(COLUMNS))
@example(Decimal("1e20"), (38, 18))
@example(Decimal("1e-18"), (38, 18))
def test_number_is_accepted_exactly_when_column_holds_it(number: Decimal, column: tuple[int, int]) -> None:
    try:
        taken = Exact(*column).check(number)
    except ValueError:
        assert not fits(number, *column)
    else:
        assert fits(number, *column)
        assert taken == number


@settings(deadline=None)  # the machine may be busy
@given(st.integers(-(10**39), 10**39), st.integers(-45, 25), st.sampled_from(COLUMNS))
def test_number_near_limit_is_accepted_exactly_when_column_holds_it(
    digits: int, exponent: int, column: tuple[int, int]
) -> None:
    sign, figures, _ = Decimal(digits).as_tuple()
    test_number_is_accepted_exactly_when_column_holds_it.hypothesis.inner_test(  # type: ignore[attr-defined]
        Decimal((sign, figures, exponent)), column
    )


@pytest.mark.parametrize(
    "value",
    [
        1.5,
        float("nan"),
        True,
        None,
        b"1",
        [1],
        "NaN",
        "sNaN",
        "Infinity",
        "-Infinity",
        "",
        "one",
        "1,5",
        "0x1",
        "1e9999999999999999999",
    ],
)
def test_inexact_number_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="."):
        Exact(38, 18).check(value)


def test_zero_of_any_exponent_is_short() -> None:
    assert str(Exact(38, 18).check("0e999999999")) == "0"
    assert str(Exact(38, 18).check(Decimal("0e-999999999"))) == "0"
    assert str(Exact(38, 18).check("0.00")) == "0.00"


def test_message_of_refused_number_is_short() -> None:
    for value in (10**70, 10**5000, "1." + "3" * 500, "1." + "3" * 5000, "x" * 500, "x" * 5000):
        with pytest.raises(ValueError, match="…|not a decimal|16,610 bits|5,[0-9]* characters") as refused:
            Exact(38, 18).check(value)
        assert len(str(refused.value)) < 150


def test_model_field_checks_number_the_same_way() -> None:
    adapter = TypeAdapter[Decimal](models.TokenNumber)
    assert adapter.validate_python("0.10") == Decimal("0.10")
    for value in (0.1, "1e-19", Decimal("NaN")):
        with pytest.raises(ValidationError):
            adapter.validate_python(value)


# --- Orders -------------------------------------------------------------------------------------

HERE: dict[str, Any] = {
    "request_id": UUID(int=1),
    "agent_id": UUID(int=2),
    "wallet_address": "wallet",
    "expires_at": NOW + timedelta(hours=1),
}
TRADE: dict[str, Any] = {
    **HERE,
    "transaction_time": NOW,
    "transaction_value_usd": Decimal("1.5"),
    "signal_id": 5,
    "transaction_hash": "hash",
    "transaction_leg": 1,
    "protocol_fee_sol": Decimal("0.5"),
    "network_fee_sol": Decimal("0.25"),
}
MOVE: dict[str, Any] = {**TRADE, "token_address": "token", "token_symbol": "TOK", "amount": Decimal(7)}
ROUTED: dict[str, Any] = {
    **TRADE,
    "slippage": Decimal("0.5"),
    "price_impact": Decimal("1.25"),
    "routes": [1, {"a": None}],
    "swap_payload": {"b": 0.5, "a": [True]},
}
POSITION: dict[str, Any] = {
    **ROUTED,
    "token_address": "token",
    "token_symbol": "TOK",
    "sol_amount": Decimal(2),
    "token_amount": Decimal(100),
}
SWAP: dict[str, Any] = {
    **ROUTED,
    "input_mint": "in",
    "input_symbol": "IN",
    "input_amount": Decimal(3),
    "input_price": Decimal("0.1"),
    "output_mint": "out",
    "output_symbol": "OUT",
    "output_amount": Decimal(4),
    "output_price": Decimal("0.2"),
}
TAKE_PROFIT = {
    "levels_hit": 2,
    "moon_bag_amount": Decimal(9),
    "expected_levels_hit": 1,
    "close_reason": "stop_loss",
    "up_to_dust": True,
}

ORDERS: list[tuple[type[WalletOrder], dict[str, Any]]] = [
    (DepositOrder, MOVE),
    (BurnOrder, MOVE),
    (WithdrawOrder, {**MOVE, "destination_address": "there"}),
    (SwapOrder, SWAP),
    (BuyOrder, {**POSITION, "stop_loss_percentage": Decimal("-32"), "take_profit_levels": 4}),
    (DcaBuyOrder, {**POSITION, "take_profit_levels": 4, "expected_dca_count": 2}),
    (TakeProfitOrder, {**POSITION, **TAKE_PROFIT}),
    (SellOrder, {**POSITION, "close_reason": "stop_loss", "up_to_dust": True}),
    (WriteOffOrder, {**TRADE, "token_address": "token", "token_symbol": "TOK"}),
    (ResetWalletOrder, {**HERE, "transaction_time": NOW, "opening_sol": Decimal(10)}),
]


def test_every_order_is_covered_with_all_fields() -> None:
    assert {order for order, _ in ORDERS} == {
        model for model in MODELS if issubclass(model, WalletOrder) and model is not WalletOrder
    }
    for order, content in ORDERS:
        assert content.keys() == order.model_fields.keys()
        assert all(value != order.model_fields[name].default for name, value in content.items()), (
            "a value that differs from the default"
        )


def test_order_error_names_every_invalid_field_on_one_line() -> None:
    with pytest.raises(InvalidInput) as refused:
        DepositOrder(**{**MOVE, "amount": 1.5, "wallet_address": "w" * 45, "token_symbol": "s" * 300})
    assert refused.value.field == "wallet_address, token_symbol, amount"
    assert "a float is never accepted for money" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("order", [order for order, _ in ORDERS if order is not ResetWalletOrder])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("transaction_leg", True),
        ("transaction_leg", "1"),
        ("transaction_leg", 1.0),
        ("transaction_leg", -1),
        ("transaction_leg", 2**31),
        ("signal_id", 2**63),
        ("signal_id", True),
        ("network_fee_sol", Decimal(-1)),
        ("network_fee_sol", 0.5),
        ("transaction_time", datetime(2026, 1, 1)),  # noqa: DTZ001  # naive on purpose
        ("expires_at", datetime(2026, 1, 1)),  # noqa: DTZ001  # naive on purpose
        ("expires_at", Decimal("NaN")),
        ("expires_at", datetime.max.replace(tzinfo=timezone(timedelta(hours=-3)))),
        ("transaction_time", datetime.min.replace(tzinfo=timezone(timedelta(hours=3)))),
        ("transaction_hash", "h" * 256),
        ("wallet_address", ""),
        ("agent_id", "not an id"),
        ("colour", "red"),
    ],
)
def test_wrong_value_is_refused_by_its_field(order: type[WalletOrder], field: str, value: object) -> None:
    content = dict(ORDERS)[order]
    with pytest.raises(InvalidInput) as refused:
        order(**{**content, field: value})
    assert refused.value.field == field


@pytest.mark.parametrize("amount", [0, -1, "0.0000000000000000001", 10**20, "NaN", 1.0])
def test_amount_is_above_zero_and_fits(amount: Any) -> None:
    with pytest.raises(InvalidInput, match="amount"):
        DepositOrder(**{**MOVE, "amount": amount})
    with pytest.raises(InvalidInput, match="opening_sol"):
        ResetWalletOrder(**HERE, opening_sol=amount)


def test_position_is_never_in_sol_and_swap_is_between_two_tokens() -> None:
    with pytest.raises(InvalidInput, match="^token_address: "):
        BuyOrder(**{**POSITION, "token_address": SOL_MINT})
    with pytest.raises(InvalidInput, match="^output_mint: "):
        SwapOrder(**{**SWAP, "output_mint": "in"})


# --- Request ids --------------------------------------------------------------------------------


def test_request_id_of_on_chain_transaction_never_changes() -> None:
    assert request_id_of("wallet", "hash") == UUID("889e65a6-f471-5904-a093-83f2393ffb3d")
    assert request_id_of("wallet", "hash", 1) == UUID("494fddc3-1ead-5c3e-857b-c644cb7560d9")
    assert request_id_of("wallet", "hash", 0) == request_id_of("wallet", "hash")


def test_order_without_id_derives_it_from_transaction() -> None:
    content = {name: value for name, value in MOVE.items() if name != "request_id"}
    assert DepositOrder(**content).request_id == request_id_of("wallet", "hash", 1)
    del content["transaction_leg"]
    assert DepositOrder(**content).request_id == request_id_of("wallet", "hash")
    assert DepositOrder(**{**content, "request_id": None}).request_id == request_id_of("wallet", "hash")


def test_order_without_transaction_gets_random_id() -> None:
    content = {name: value for name, value in MOVE.items() if name not in ("request_id", "transaction_hash")}
    assert DepositOrder(**content).request_id != DepositOrder(**content).request_id


# --- Content digests ----------------------------------------------------------------------------


def rewritten(value: Any) -> Any:
    """The same value, written another way."""
    if isinstance(value, Decimal):
        return value + Decimal("0E-10")
    if isinstance(value, datetime):
        return value.astimezone(timezone(timedelta(hours=-7)))
    if isinstance(value, dict):
        return dict(reversed(value.items()))
    return value


@pytest.mark.parametrize(("order", "content"), ORDERS)
def test_same_content_written_differently_has_same_digest(order: type[WalletOrder], content: dict[str, Any]) -> None:
    other = {name: rewritten(value) for name, value in content.items()}
    assert repr(other) != repr(content)
    assert content_digest(order(**other)) == content_digest(order(**content))


@pytest.mark.parametrize("zero", ["0", "-0", "0.00", "0e5", "0e-18", "-0.0", "0e99"])
def test_zeros_of_any_form_have_same_digest(zero: str) -> None:
    digests = {content_digest(DepositOrder(**{**MOVE, "network_fee_sol": fee})) for fee in (zero, Decimal(0))}
    assert len(digests) == 1


def changed(name: str, value: Any) -> Any:
    """Another value of the field."""
    if name == "close_reason":
        return "stale_trade"
    if isinstance(value, bool):
        return not value
    if isinstance(value, Decimal):
        return value + Decimal("0.0001")
    if isinstance(value, datetime):
        return value + timedelta(microseconds=1)
    if isinstance(value, UUID):
        return UUID(int=value.int + 1)
    if isinstance(value, dict):
        return {**value, "b": 0.25}
    if isinstance(value, list):
        return [*value, None]
    return value + (1 if isinstance(value, int) else "x")


@pytest.mark.parametrize(
    ("order", "content", "name"), [(order, content, name) for order, content in ORDERS for name in content]
)
def test_digest_depends_on_every_field_except_id_and_expiry(
    order: type[WalletOrder], content: dict[str, Any], name: str
) -> None:
    before = content_digest(order(**content))
    values = [changed(name, content[name])]
    if not order.model_fields[name].is_required():
        values.append(order.model_fields[name].get_default(call_default_factory=True))
    for value in values:
        after = content_digest(order(**{**content, name: value}))
        assert (after == before) is (name in ("request_id", "expires_at"))


WITHOUT_DUST = {
    TakeProfitOrder: "bafe5240b2c626424fd5c4e0a9f588497de8484c1c79d739a9728dd1b63c681c",
    SellOrder: "25529cff80e89300292c7f593ab93e39eea7bb53d3df88a6b5aa1259bd224990",
}


@pytest.mark.parametrize("kind", WITHOUT_DUST)
def test_field_left_at_false_does_not_change_digest(kind: type[WalletOrder]) -> None:
    (content,) = (content for order, content in ORDERS if order is kind)
    assert content_digest(kind(**{**content, "up_to_dust": False})).hex() == WITHOUT_DUST[kind]


def test_orders_of_another_kind_never_share_digest() -> None:
    assert content_digest(DepositOrder(**MOVE)) != content_digest(BurnOrder(**MOVE))


DIGESTS = [
    "eec2331154a882cd4ab5970e8a1544c728c384a985362b084600977500e3c3f0",
    "b59c871148455af0e7c7b6581c43ec51fe5d168db6be33d179c1faf1c4d5c967",
    "4049fb34378d483c259b74510ead6159cf516e4071d819c4d5471c167ca9be30",
    "c2b2f7338fb6811ada35afb74541eb6819e66d39df3e7a4c93dd386566546d89",
    "bf17fa211566fcb5aae82c2ca918968708f53a2d293bee91abffbd2f9e65a9ca",
    "4c6c070e41bad5b09c7a4de6ccf7c2c6f00618c3f1cf4a305fd62e7a6f7be92f",
    "09e9487dd93a099ddccf35f2ae2d2d9dae7adf2ba18858e3c463eaf1f07cd0a6",
    "07050c7db797989eaaa05e3d6ef48271275921e2593dd046b4d8ebed38ca5074",
    "583ec17ca16a628534a47d91d86a42910d906d630be2b8e42670fd05970df078",
    "3666d964d174b3a03bbaad9d01a632ccc24f10eefbbb7fe0191f649bb6a95fed",
]
"""Of ORDERS, as the releases before ``expires_at`` stored them."""


def test_digest_is_same_in_every_process_and_release() -> None:
    """It is stored: a change to it would turn every repetition across an upgrade into a conflict."""
    assert [content_digest(order(**content)).hex() for order, content in ORDERS] == DIGESTS
    fixed = DIGESTS[0]
    program = "from tests.unit.test_models import *; print(content_digest(DepositOrder(**MOVE)).hex())"
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=Path(__file__).parents[2],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == fixed
