"""What is kept in the process is never older than what was told of it."""

from __future__ import annotations

import math
import time

import pytest

from nexgent_db._near_rows import NearRows

EPOCH = b"ready"
KEYS = ("a", "b")


@pytest.fixture
def rows() -> NearRows:
    """Somebody listens."""
    return listening(NearRows(2))


def listening(rows: NearRows) -> NearRows:
    rows.believe(rows.open(), math.inf)
    return rows


def put(rows: NearRows, *keys: str, value: bytes = b"1") -> None:
    mark = rows.begin(keys)
    rows.keep(EPOCH, keys, [value] * len(keys), mark)
    rows.end(keys, mark)


def test_an_answer_is_found_by_the_same_keys_in_the_same_epoch(rows: NearRows) -> None:
    put(rows, *KEYS)
    assert rows.find(EPOCH, KEYS) == [b"1", b"1"]
    assert rows.find(EPOCH, ("a",)) is None
    assert rows.find(b"another", KEYS) is None
    assert rows.hits == 1


def test_a_change_of_one_key_takes_every_answer_that_it_is_part_of(rows: NearRows) -> None:
    put(rows, *KEYS)
    put(rows, "b")
    rows.forget(["c", 7, b"a"])
    assert len(rows) == 2
    rows.forget(["b"])
    assert len(rows) == 0


@pytest.mark.parametrize("told", ["forget", "clear", "close", "open"])
def test_what_changed_while_it_was_asked_for_is_not_kept(rows: NearRows, told: str) -> None:
    mark = rows.begin(KEYS)
    rows.forget(["a"]) if told == "forget" else getattr(rows, told)()
    rows.keep(EPOCH, KEYS, [b"1", b"1"], mark)
    rows.believe(rows.open(), math.inf) if told in ("close", "open") else None
    assert rows.find(EPOCH, KEYS) is None
    assert len(rows) == 0


def test_who_asks_after_a_change_does_not_keep_what_another_asked_for_before(rows: NearRows) -> None:
    before = rows.begin(KEYS)
    rows.forget(["a"])
    after = rows.begin(KEYS)
    rows.keep(EPOCH, KEYS, [b"old", b"old"], before)
    rows.end(KEYS, before)
    rows.keep(EPOCH, KEYS, [b"new", b"new"], after)
    assert rows.find(EPOCH, KEYS) == [b"new", b"new"]


def test_what_is_missing_is_not_kept(rows: NearRows) -> None:
    rows.keep(EPOCH, KEYS, [b"1", None], rows.begin(KEYS))
    assert len(rows) == 0


def test_the_answer_that_was_not_asked_for_the_longest_goes_first(rows: NearRows) -> None:
    put(rows, "a")
    put(rows, "b")
    assert rows.find(EPOCH, ("a",)) is not None
    put(rows, "c")
    assert [rows.find(EPOCH, (key,)) is not None for key in "abc"] == [True, False, True]


def test_nothing_is_given_or_begun_after_the_last_sign_of_life_is_too_old(rows: NearRows) -> None:
    put(rows, "a")
    turn = rows.open()
    rows.believe(turn, math.inf)
    put(rows, "a")
    rows.believe(turn, time.monotonic())
    assert rows.find(EPOCH, ("a",)) is None
    assert rows.begin(("a",)) is None


def test_who_lost_his_turn_is_not_believed(rows: NearRows) -> None:
    turn = rows.open()
    rows.close()
    rows.believe(turn, math.inf)
    assert not rows.is_turn(turn)
    assert rows.begin(("a",)) is None
