"""Any cursor is a place in its list or refused; any payload and any key of the cache is a row or counts as none."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nexgent_db.cache.codec import BALANCE, POSITION, Codec, encode_config, version_of
from nexgent_db.cache.compare import compare_agent, compare_balance, compare_position
from nexgent_db.cache.entries import BalanceEntry, entry_of, is_derived, kind_of, marked_set
from nexgent_db.cache.keys import CacheKeys
from nexgent_db.errors import InvalidInput
from nexgent_db.models import AgentBalance, AgentPosition
from nexgent_db.models.cache import CachedAgent
from nexgent_db.models.pages import (
    AfterAddress,
    AfterTime,
    AfterToken,
    AfterUuid,
    BeforeNumber,
    BeforeUuid,
    decode_cursor,
)
from tests.support.builders.mutants import ensure_good, fuzz, mutant_bytes, mutants

_ID: Final = UUID("01890000-0000-7000-8000-000000000001")
_NOW: Final = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
_KEYS: Final = CacheKeys("nexgent:")
_PLACES: Final = tuple(
    json.dumps(["things", *place])
    for place in ([_NOW.isoformat(), str(_ID)], [_NOW.isoformat(), "7"], [str(_ID)], ["W1"], ["T1"])
)
_JSON: Final = ('"', "{", "}", "[", "]", ":", ",", "\\ud800", "\\u0000", "1e5", '"9999-12-31T23:59:59-14:00"', "0001")
_CURSORS: Final = (BeforeUuid, BeforeNumber, AfterTime, AfterUuid, AfterAddress, AfterToken)


_VALUES: Final[tuple[tuple[str, object], ...]] = (
    ("list", []),
    ("tuple", ()),
    ("UUID", _ID),
    ("Decimal", Decimal("1.5")),
    ("atetime", _NOW),
    ("bool", True),
    ("int", 7),
    ("", "x"),
)
"""A value of each type, by a part of its name."""


def _row_of(model: type[AgentPosition] | type[AgentBalance]) -> bytes:
    """A payload with every field of the model."""
    codec: Codec[AgentPosition] | Codec[AgentBalance] = POSITION if model is AgentPosition else BALANCE
    values = {
        name: next(value for kind, value in _VALUES if kind in str(item.annotation))
        for name, item in model.model_fields.items()
    }
    return codec.encode(model.model_construct(**values))  # type: ignore[arg-type]


_POSITION: Final = _row_of(AgentPosition).decode()
_BALANCE: Final = _row_of(AgentBalance).decode()
_AGENT: Final = CachedAgent(
    id=_ID,
    trading_config='{"a": 1}',
    trading_mode="live",
    automated_trading_simulation=True,
    automated_trading_live=False,
    version=7,
)
_NAMES: Final = tuple(
    f"nexgent:{name}"
    for name in (
        f"position:{_ID}",
        f"config:{_ID}",
        f"agent:{_ID}:trading_mode",
        f"agent:{_ID}:positions",
        f"balance:{_ID}:W:1:T:2",
        "token:t:positions",
        "wallet:W:balances",
        "active_agents",
        "price:T",
        "lock:a",
    )
)
_MARKERS: Final = (f"3 {_ID}", f"3 {_ID} W", "12 t", "0 all")


@fuzz
@given(
    mutant_bytes(_PLACES, _JSON).map(lambda data: base64.urlsafe_b64encode(data).decode()) | mutants(_PLACES, _JSON),
    st.sampled_from(_CURSORS),
)
def test_any_cursor_is_a_place_or_refused(cursor: str, kind: type[BeforeUuid]) -> None:
    try:
        place = decode_cursor(cursor, "things", kind)
    except InvalidInput as error:
        ensure_good(error, longest=300)
    else:
        assert None not in place.model_dump().values()


@pytest.mark.parametrize("kind", _CURSORS)
def test_sample_of_each_kind_is_a_place(kind: type[BeforeUuid]) -> None:
    read = 0
    for place in _PLACES:
        try:
            decode_cursor(base64.urlsafe_b64encode(place.encode()).decode(), "things", kind)
            read += 1
        except InvalidInput:
            continue
    assert read


@fuzz
@given(mutant_bytes([_POSITION, _BALANCE], _JSON))
def test_any_payload_is_a_row_or_none(payload: bytes) -> None:
    version_of(payload)
    if (read := POSITION.decode(payload)) is not None:
        assert POSITION.decode(POSITION.encode(read)) == read
    if (held := BALANCE.decode(payload)) is not None:
        assert BALANCE.decode(BALANCE.encode(held)) == held
    position, balance = POSITION.decode(_POSITION.encode()), BALANCE.decode(_BALANCE.encode())
    assert position is not None
    assert balance is not None
    compare_position(payload, position)
    compare_balance(payload, balance)
    compare_agent(payload, (payload, None, payload), _AGENT)


@fuzz
@given(mutants(_NAMES, (":", "::", "complete", "fence")), mutant_bytes(_MARKERS, (" ", "0")))
def test_any_key_is_an_entry_or_none(key: str, marker: bytes) -> None:
    entry = entry_of(key, _KEYS)
    if isinstance(entry, BalanceEntry):
        assert len(entry.places) <= 32
    is_derived(key, _KEYS)
    kind_of(key, _KEYS)
    if (marked := marked_set(key, marker, _KEYS)) is not None:
        assert marked[0].key == key
        assert marked[1] >= 0


@fuzz
@given(mutants(['{"a": 1}', "{}", "null", "[]"], _JSON).map(lambda text: text.encode(errors="replace").decode()))
@example("")
def test_any_configuration_is_cacheable_or_none(text: str) -> None:
    """The text comes from a column, where no half of a surrogate pair can be."""
    encode_config(_AGENT.model_copy(update={"trading_config": text}))
