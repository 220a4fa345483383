"""The lines of a history: how events are read, and the error of a line that is no event."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from nexgent_db.cli.replay import DEMO_HISTORY
from nexgent_db.models.base import SOL_MINT
from nexgent_db.replay import events
from nexgent_db.replay.events import BadLine, Line, ReplayError, SwapEvent, TransferEvent, read_history

TRANSFER: dict[str, Any] = {
    "tx_hash": "hash",
    "time": "2026-01-01T00:00:00Z",
    "wallet": "wallet",
    "kind": "transfer_out",
    "mint": "native",
    "symbol": "SOL",
    "amount": "1.5",
    "amount_usd": "225",
    "to": "",
}
SWAP: dict[str, Any] = {
    "tx_hash": "hash",
    "time": "2026-01-01T00:00:00Z",
    "wallet": "wallet",
    "kind": "swap",
    "input_mint": "native",
    "input_symbol": "SOL",
    "input_amount": "0.06632",
    "input_usd": "9.948",
    "output_mint": "token",
    "output_symbol": "",
    "output_amount": "1000000000",
}


def read(tmp_path: Path, *lines: dict[str, Any] | str | bytes) -> list[Line | BadLine]:
    path = tmp_path / "history.jsonl"
    encoded = [
        line if isinstance(line, bytes) else (line if isinstance(line, str) else json.dumps(line)).encode()
        for line in lines
    ]
    path.write_bytes(b"\n".join(encoded))
    return list(read_history(path))


def problem(tmp_path: Path, line: dict[str, Any] | str | bytes) -> str:
    (bad,) = read(tmp_path, line)
    assert isinstance(bad, BadLine)
    assert bad.number == 1
    assert "\n" not in bad.problem
    return bad.problem


def test_native_is_sol_and_numbers_are_exact(tmp_path: Path) -> None:
    transfer, swap = (line.event for line in read(tmp_path, TRANSFER, SWAP) if isinstance(line, Line))
    assert isinstance(transfer, TransferEvent)
    assert (transfer.mint, transfer.amount, transfer.to) == (SOL_MINT, Decimal("1.5"), "")
    assert isinstance(swap, SwapEvent)
    assert (swap.input_mint, swap.traded_mint, swap.output_symbol) == (SOL_MINT, "token", "")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"amount": "NaN"}, "amount: NaN is not a number that can be stored"),
        ({"amount": "Infinity"}, "amount: Infinity is not a number that can be stored"),
        ({"amount": "1,5"}, "amount: '1,5' is not a decimal number"),
        ({"amount": 1.5}, "amount: should be a number as text, in quotes"),
        ({"amount": 1}, "amount: should be a number as text, in quotes"),
        ({"amount": None}, "amount: should be a number as text, in quotes"),
        ({"amount": "-1"}, "amount: should not be negative"),
        ({"amount": "0." + "0" * 18 + "1"}, "amount: 1E-19 has more than 18 decimals"),
        ({"amount": "1e-999999999"}, "amount: 1E-999999999 has more than 18 decimals"),
        ({"amount": "1e20"}, "amount: 1E+20 has more than 20 whole digits"),
        ({"amount_usd": "0.000000001"}, "amount_usd: 1E-9 has more than 8 decimals"),
        ({"symbol": "x" * 300}, "symbol: String should have at most 20 characters"),
        ({"symbol": "a\0b"}, "symbol: text with the character NUL cannot be stored"),
        ({"mint": ""}, "mint: String should have at least 1 character"),
        ({"tx_hash": ""}, "tx_hash: String should have at least 1 character"),
        ({"wallet": "w" * 45}, "wallet: String should have at most 44 characters"),
        ({"time": "yesterday"}, "time: 'yesterday' is not a time such as 2025-04-27T22:54:01Z"),
        ({"time": "2026-01-01T00:00:00"}, "time: Input should have timezone info"),
        ({"time": 1}, "time: should be a time such as 2025-04-27T22:54:01Z"),
        ({"kind": "airdrop"}, "kind: 'airdrop' is not one of transfer_in, transfer_out, swap"),
    ],
)
def test_bad_field_is_named(tmp_path: Path, changes: dict[str, Any], expected: str) -> None:
    assert problem(tmp_path, TRANSFER | changes) == expected


@pytest.mark.parametrize("field", sorted(TRANSFER.keys() - {"to"}))
def test_missing_field_is_named(tmp_path: Path, field: str) -> None:
    line = {name: value for name, value in TRANSFER.items() if name != field}
    assert problem(tmp_path, line) == f"{field}: missing"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (json.dumps(SWAP)[:60], "not JSON: "),
        ("null", "not an event: a JSON object is expected"),
        ("[" * 100_000, "not an event: nested too deeply"),
        (json.dumps(TRANSFER).replace('"1.5"', "NaN"), "not JSON: NaN is not a number"),
        (json.dumps(TRANSFER).replace('"1.5"', "1" * 5000), "Exceeds the limit"),
        (b'{"symbol": "\xff"}', "not UTF-8 text"),
        (json.dumps(TRANSFER | {"symbol": "\ud800"}), "symbol: text that is not Unicode"),
        ('{"a": "' + "x" * events.MAX_LINE_BYTES + '"}', "longer than 1000000 bytes"),
    ],
)
def test_line_that_is_no_object_is_reported(tmp_path: Path, line: str | bytes, expected: str) -> None:
    assert problem(tmp_path, line).startswith(expected)


def test_bad_line_does_not_hide_others(tmp_path: Path) -> None:
    long = "x" * (events.MAX_LINE_BYTES + 5)
    lines = read(
        tmp_path, b"\xef\xbb\xbf" + json.dumps(TRANSFER).encode(), "{", "", long, json.dumps(SWAP) + "\r", TRANSFER
    )
    assert [(line.number, type(line)) for line in lines] == [
        (1, Line),
        (2, BadLine),
        (4, BadLine),
        (5, Line),
        (6, Line),
    ]
    assert isinstance(lines[-1], Line)
    assert lines[-1].end == (tmp_path / "history.jsonl").stat().st_size


def test_zero_of_any_exponent_is_written_as_zero(tmp_path: Path) -> None:
    (line,) = read(tmp_path, TRANSFER | {"amount_usd": "0E-999999999"})
    assert isinstance(line, Line)
    assert isinstance(line.event, TransferEvent)
    assert str(line.event.amount_usd) == "0"


def test_events_of_one_transaction_are_its_legs(tmp_path: Path) -> None:
    lines = read(tmp_path, TRANSFER, SWAP, TRANSFER | {"tx_hash": "other"}, TRANSFER)
    assert [line.leg for line in lines if isinstance(line, Line)] == [0, 1, 0, 2]


def test_leg_count_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_REMEMBERED_TRANSACTIONS", 2)
    legs = events._Legs()
    assert [legs.next_of(name) for name in "abacadeab"] == [0, 0, 1, 0, 2, 0, 0, 3, 0]
    assert len(legs._young) + len(legs._old) <= 4


def test_second_wallet_is_refused(tmp_path: Path) -> None:
    _, bad = read(tmp_path, TRANSFER, TRANSFER | {"wallet": "another"})
    assert str(bad) == "line 2: of the wallet 'another': the lines above are the history of 'wallet'"


@pytest.mark.parametrize(
    ("event", "nothing"),
    [
        (TRANSFER, False),
        (TRANSFER | {"amount": "0.000"}, True),
        (SWAP, False),
        (SWAP | {"input_amount": "0"}, True),
        (SWAP | {"output_amount": "0"}, True),
        (SWAP | {"output_mint": SOL_MINT}, True),
    ],
)
def test_event_without_movement_is_no_trade(tmp_path: Path, event: dict[str, Any], nothing: bool) -> None:
    (line,) = read(tmp_path, event)
    assert isinstance(line, Line)
    assert line.event.says_nothing is nothing


def test_unreadable_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match="cannot read .*: No such file or directory"):
        list(read_history(tmp_path / "missing.jsonl"))
    with pytest.raises(ReplayError, match="cannot read .*: Is a directory"):
        list(read_history(tmp_path))


def test_made_up_history_has_every_kind_of_event() -> None:
    lines = list(read_history(DEMO_HISTORY))
    found = [line.event for line in lines if isinstance(line, Line)]
    swaps = [event for event in found if isinstance(event, SwapEvent)]
    assert len(lines) == len(found) < 200
    assert any(
        swap.output_amount * Decimal("6.632e-11") == swap.input_amount for swap in swaps if swap.input_mint == SOL_MINT
    )
    assert any(not swap.output_symbol for swap in swaps)
    assert any(SOL_MINT not in (swap.input_mint, swap.output_mint) for swap in swaps)
    assert any(event.says_nothing for event in found)
    assert any(line.leg for line in lines if isinstance(line, Line))
    assert '"mint": "native"' in DEMO_HISTORY.read_text(encoding="utf-8")
