"""Positions in the write-ahead log, their tokens, and the highest one."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexgent_db._wal import NOWHERE, HighWaterMark, WalPosition, lsn_of, lsn_text
from nexgent_db.errors import InvalidInput

POSITIONS = st.builds(WalPosition, st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1))


@given(POSITIONS)
def test_token_is_read_back_and_fits_a_cookie(position: WalPosition) -> None:
    assert WalPosition.of_token(position.token, "at_least") == position
    assert len(position.token) <= 27
    assert set(position.token) <= set("0123456789abcdef.")


@given(st.integers(0, 2**64 - 1))
def test_text_of_postgresql_is_read_back(lsn: int) -> None:
    assert lsn_of(lsn_text(lsn)) == lsn


@pytest.mark.parametrize(
    ("answer", "position"),
    [
        ("0/3000148 00000001", (1, 0x3000148)),
        ("1A/FF000060 0000000B", (11, 0x1AFF000060)),
        ("0/3002018 00000001", (1, 0x3002000)),  # behind a page's header, where no record ends
        ("0/3000028 00000001", (1, 0x3000000)),  # behind a segment's header
        ("0/3002020 00000001", (1, 0x3002020)),
    ],
)
def test_position_of_primary_is_one_that_a_standby_reaches(answer: str, position: tuple[int, int]) -> None:
    assert WalPosition.of_primary(answer) == position


def test_later_timeline_is_later() -> None:
    assert WalPosition(2, 1) > WalPosition(1, 2**60) > WalPosition(1, 5) > NOWHERE


def test_mark_only_rises_under_threads() -> None:
    mark = HighWaterMark()

    def work(start: int) -> None:
        for number in range(start, 20_000, 8):
            mark.raise_to(WalPosition(1, number), on_replica=number % 2 == 0)
            assert mark.position >= WalPosition(1, number)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert mark.position == WalPosition(1, 19_999)
    assert mark.unconfirmed == WalPosition(1, 19_998)


def test_position_shown_by_replica_is_unconfirmed_until_primary_shows_it() -> None:
    mark = HighWaterMark()
    mark.raise_to(WalPosition(1, 10))
    assert mark.unconfirmed is None
    mark.raise_to(WalPosition(1, 9), on_replica=True)
    assert (mark.position, mark.unconfirmed) == (WalPosition(1, 10), WalPosition(1, 9))
    mark.confirm(WalPosition(1, 9))
    assert mark.unconfirmed is None
    assert HighWaterMark(WalPosition(1, 5)).unconfirmed == WalPosition(1, 5)  # a token may be of a replica


@pytest.mark.parametrize("at_least", [1, 2**63 - 1, NOWHERE.token])
def test_position_of_version_is_asked_for(at_least: int | str) -> None:
    mark = HighWaterMark.of(at_least, "at_least")
    assert (mark.unknown, mark.token) == (True, NOWHERE.token)
    mark.located(WalPosition(1, 9))
    assert mark.unconfirmed == WalPosition(1, 9)  # a replica may have shown the version before the primary does


@pytest.mark.parametrize("version", [0, -1, 2**63, True, False])
def test_impossible_version_is_refused(version: int) -> None:
    with pytest.raises(InvalidInput, match="at_least: the version of a row is expected, from 1 to "):
        HighWaterMark.of(version, "at_least")
