"""Sockets that are made, read and written in time, whatever the other end does."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from nexgent_db._concurrency import deadline
from nexgent_db.cache.sockets import BoundedSocket, _Attempt

STEP_S = 0.2
LONG_S = 10.0


@pytest.fixture
def ends() -> Iterator[tuple[BoundedSocket, socket.socket]]:
    """A socket with steps of a moment, and its other end."""
    near, far = socket.socketpair()
    with near, far:
        yield BoundedSocket(near, STEP_S), far


def test_each_read_step_ends_in_time(ends: tuple[BoundedSocket, socket.socket]) -> None:
    near, far = ends
    buffer = bytearray(10)
    with pytest.raises(TimeoutError):
        near.recv_into(buffer)
    far.sendall(b"abc")
    assert (near.recv_into(buffer), buffer[:3]) == (3, b"abc")


def test_short_read_steps_end_with_deadline(
    ends: tuple[BoundedSocket, socket.socket],
) -> None:
    near, far = ends
    over = threading.Event()

    def drip() -> None:
        while not over.wait(0.01):
            far.sendall(b"x")

    dripping = threading.Thread(target=drip)
    dripping.start()
    began = time.monotonic()
    try:
        with deadline(0.1), pytest.raises(TimeoutError):
            while time.monotonic() - began < LONG_S:
                near.recv_into(bytearray(10))
    finally:
        over.set()
        dripping.join()
    assert time.monotonic() - began < LONG_S


def test_data_sent_in_steps_arrives_complete(ends: tuple[BoundedSocket, socket.socket]) -> None:
    near, far = ends
    sent, received = bytes(range(256)) * 10_000, bytearray()

    def receive() -> None:
        while len(received) < len(sent):
            received.extend(far.recv(100_000))

    receiving = threading.Thread(target=receive)
    receiving.start()
    near.settimeout(LONG_S)
    near.sendall(sent)
    receiving.join()
    assert received == sent


def test_send_without_reader_ends_with_deadline(ends: tuple[BoundedSocket, socket.socket]) -> None:
    near, _ = ends
    near.settimeout(LONG_S)
    began = time.monotonic()
    with deadline(0.1), pytest.raises(TimeoutError):
        near.sendall(b"x" * 100_000_000)
    assert time.monotonic() - began < LONG_S


def test_late_connection_is_closed() -> None:
    near, far = socket.socketpair()
    over = threading.Event()

    def connect() -> Any:
        assert over.wait(LONG_S)
        return near

    attempt = _Attempt(connect)
    with far:
        with pytest.raises(TimeoutError):
            attempt.result(0.01)
        over.set()
        far.settimeout(LONG_S)
        assert far.recv(1) == b""


def test_failed_connection_raises_its_reason() -> None:
    def connect() -> Any:
        raise ConnectionRefusedError("no")

    with pytest.raises(ConnectionRefusedError, match="no"):
        _Attempt(connect).result(LONG_S)
