"""How much of an answer was read is seen from outside: whatever one step of the driver reads, the limit holds."""

from __future__ import annotations

import socket
from collections.abc import Generator
from contextlib import suppress
from threading import Thread

import pytest
from psycopg.waiting import WAIT_R, Ready, Wait, wait_selector

from nexgent_db.errors import AnswerTooLong
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
