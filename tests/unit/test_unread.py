"""How much of an answer was read is seen from outside: whatever one step of the driver reads, the limit holds."""

from __future__ import annotations

import socket
import sys
from collections.abc import Generator
from contextlib import suppress
from threading import Thread

import pytest
from psycopg.waiting import WAIT_R, Ready, Wait, wait_selector

from nexgent_db.errors import AnswerTooLong
from nexgent_db.sync import unread
from nexgent_db.sync.unread import limited

MIB = 1024 * 1024
PIECE = 8192


def read(end: socket.socket, pieces: list[int]) -> Generator[Wait, Ready | int, bytearray]:
    """Read as the driver does: a small piece, then in each step so many bytes, however many wait in the socket."""
    kept = bytearray()
    for count in pieces:
        yield WAIT_R
        target = len(kept) + count
        while len(kept) < target:
            kept += end.recv(min(MIB, target - len(kept)))
    return kept


def read_limited(pieces: list[int], max_bytes: int) -> bytearray:
    ours, theirs = socket.socketpair()
    with ours:

        def send() -> None:
            with theirs, suppress(BrokenPipeError):  # the reader may give the answer up
                theirs.sendall(bytes(sum(pieces)))

        sender = Thread(target=send)
        sender.start()
        try:
            return wait_selector(limited(read(ours, pieces), ours.fileno(), max_bytes), ours.fileno())
        finally:
            ours.close()
            sender.join()


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([PIECE, 100 * MIB], id="all in the last step"),
        pytest.param([PIECE, 100 * MIB, PIECE], id="all in one step, which is not the last"),
        pytest.param([PIECE] * 3000, id="piece by piece"),
    ],
)
def test_answer_above_the_limit_is_refused(pieces: list[int]) -> None:
    with pytest.raises(AnswerTooLong):
        read_limited(pieces, 4 * MIB)


@pytest.mark.parametrize("pieces", [[PIECE, 4 * MIB - PIECE], [PIECE] * 512, [4 * MIB]])
def test_answer_up_to_the_limit_is_read(pieces: list[int]) -> None:
    assert len(read_limited(pieces, 4 * MIB)) == 4 * MIB


@pytest.mark.parametrize(
    ("waiting", "max_bytes", "refused"),
    [
        # What waited before and after each step, the last of the answer too; the first piece is not counted.
        ([5, 1, 6, 0], 11, False),
        ([5, 1, 6, 0], 10, True),
        ([], 1, False),
    ],
)
def test_read_bytes_are_those_that_waited(
    monkeypatch: pytest.MonkeyPatch, waiting: list[int], max_bytes: int, refused: bool
) -> None:
    lengths = iter(waiting)
    monkeypatch.setattr(unread, "_unread", lambda descriptor: next(lengths))
    gen = limited(pieces(1 + len(waiting) // 2), 0, max_bytes)
    if refused:
        with pytest.raises(AnswerTooLong, match=f"longer than {max_bytes} bytes"):
            result_of(gen)
    else:
        assert result_of(gen) == "answer"


@pytest.mark.parametrize(("grown", "refused"), [(2_000_000, False), (2_000_001, True)])
def test_memory_shows_what_a_fast_server_hides(monkeypatch: pytest.MonkeyPatch, grown: int, refused: bool) -> None:
    monkeypatch.setattr(unread, "_unread", lambda descriptor: 200_000)  # as much as before the step
    monkeypatch.setattr(unread, "_STEPS", 6)
    memory = iter([5, 5 + grown, 5, 5, 5, 5])
    monkeypatch.setattr(unread, "_memory", memory.__next__)
    gen = limited(pieces(9), 0, 1_000_000)
    if refused:
        with pytest.raises(AnswerTooLong, match="longer than 1,000,000 bytes"):
            result_of(gen)
    else:
        assert result_of(gen) == "answer"


def pieces(count: int) -> Generator[Wait, Ready | int, str]:
    for _ in range(count):
        yield WAIT_R
    return "answer"


def result_of(gen: Generator[Wait, Ready | int, str]) -> str:
    try:
        next(gen)
        while True:
            gen.send(Ready.R)
    except StopIteration as end:
        result: str = end.value
        return result


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_that_of_the_process() -> None:
    before = unread._memory()
    kept = bytearray(b"x") * 50_000_000
    assert 40_000_000 < unread._memory() - before < 200_000_000
    assert len(kept) == 50_000_000
