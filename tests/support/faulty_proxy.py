"""A TCP proxy that cuts, delays, swallows and garbles bytes on the way from a server: a network to be tested with."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_CHUNK: Final = 65_536


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to the bytes that a server answers; ``Fault()`` lets them pass.

    ``cut_after``: so many bytes of a connection's answers pass, counted from when the fault is set, then the
    connection is closed. ``delay_s``: each piece is late by it. ``swallow``: nothing comes back, the connection stays
    open. ``garble``: what is sent in place of each piece. ``refuse``: connections are closed as they are made, and
    those that are open at once.
    """

    cut_after: int | None = None
    delay_s: float = 0.0
    swallow: bool = False
    garble: bytes | None = None
    refuse: bool = False


class FaultyProxy:
    """Listens on a loopback port and talks to a server's unix socket. ``fault`` may change at any time."""

    def __init__(self, upstream: Path) -> None:
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._fault = Fault()
        self._passed: dict[socket.socket, int] = {}
        self._unanswered: set[socket.socket] = set()
        self.connections = 0
        """How many were made, refused ones too."""
        self.round_trips = 0
        """How often a client sent something and waited for it: whatever it sends until an answer begins is one."""
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def fault(self) -> Fault:
        """What happens to answers now."""
        return self._fault

    @fault.setter
    def fault(self, fault: Fault) -> None:
        with self._lock:
            self._fault = fault
            self._passed.clear()
            if fault.refuse:
                self._close_all()

    def _serve(self) -> None:
        with suppress(OSError):  # closed: the end
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        if self._fault.refuse:
            client.close()
            return
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(str(self._upstream))
        except OSError:
            server.close()
            client.close()
            return
        with self._lock:
            self._open |= {client, server}
        back = threading.Thread(target=self._pump, args=(server, client, self._answer), daemon=True)
        back.start()
        self._pump(client, server, lambda _, piece: self._ask(client, piece))
        back.join()
        with self._lock:
            self._open -= {client, server}
            self._passed.pop(client, None)
            self._unanswered.discard(client)
        client.close()
        server.close()

    def _pump(
        self, source: socket.socket, target: socket.socket, change: Callable[[socket.socket, bytes], bytes | None]
    ) -> None:
        with suppress(OSError):
            while piece := source.recv(_CHUNK):
                changed = change(target, piece)
                if changed is None:
                    break
                target.sendall(changed)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _ask(self, client: socket.socket, piece: bytes) -> bytes:
        """What of a client's piece reaches the server: all of it."""
        with self._lock:
            self.round_trips += client not in self._unanswered
            self._unanswered.add(client)
        return piece

    def _answer(self, client: socket.socket, piece: bytes) -> bytes | None:
        """What of a server's piece reaches the client; None: close. May take its time."""
        with self._lock:
            self._unanswered.discard(client)
        fault = self._fault
        if fault.delay_s:
            time.sleep(fault.delay_s)
        if fault.swallow:
            return b""
        if fault.garble is not None:
            return fault.garble
        if fault.cut_after is None:
            return piece
        with self._lock:
            passed = self._passed.get(client, 0)
            self._passed[client] = passed + len(piece)
        left = fault.cut_after - passed
        if left >= len(piece):
            return piece
        with suppress(OSError):
            client.sendall(piece[: max(0, left)])
        return None

    def _close_all(self) -> None:
        for end in self._open:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            self._close_all()


@contextmanager
def faulty_proxy(upstream: Path) -> Iterator[FaultyProxy]:
    """A proxy before the server on the unix socket ``upstream``, without any fault at first."""
    proxy = FaultyProxy(upstream)
    thread = threading.Thread(target=proxy._serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy._close()
        thread.join()
