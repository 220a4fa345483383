"""A TCP proxy that cuts, delays, slows, discards or corrupts a server's replies."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.faults.serving import serving

_CHUNK: Final = 65_536


@dataclass(frozen=True, slots=True)
class Fault:
    """The fault in a server's replies; ``Fault()`` forwards them unchanged.

    ``cut_after``: forwards this many bytes of a connection's replies, counted from when the fault is set, then closes
    the connection. ``delay_s``: delays each piece by this time. ``drip_s``: sends single bytes, each this long after
    the one before. ``endless_s``: replaces each piece by a reply without an end, a part of it at this interval.
    ``swallow``: discards replies and keeps the connection open. ``garble``: replaces each piece by these bytes.
    ``replace``: replaces the first bytes by the second, of the same length, where a piece has them.
    ``refuse``: closes new connections, and the open ones at once.
    """

    cut_after: int | None = None
    delay_s: float = 0.0
    drip_s: float = 0.0
    endless_s: float = 0.0
    swallow: bool = False
    garble: bytes | None = None
    replace: tuple[bytes, bytes] | None = None
    refuse: bool = False


class FaultyProxy:
    """Listens on a loopback port and talks to a server's unix socket, or to another port of this machine.

    ``fault`` may change at any time.
    """

    def __init__(self, upstream: Path | int) -> None:
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

    def serve(self) -> None:
        with suppress(OSError):  # closed: the end
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        if self._fault.refuse:
            client.close()
            return
        server = self._connected()
        if server is None:
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

    def _connected(self) -> socket.socket | None:
        if isinstance(self._upstream, int):
            with suppress(OSError):
                return socket.create_connection(("127.0.0.1", self._upstream))
            return None
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(str(self._upstream))
        except OSError:
            server.close()
            return None
        return server

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
        """The part of a client's data that reaches the server: all of it."""
        with self._lock:
            self.round_trips += client not in self._unanswered
            self._unanswered.add(client)
        return piece

    def _answer(self, client: socket.socket, piece: bytes) -> bytes | None:
        """The part of a server's data that reaches the client, after any delay; None closes the connection."""
        with self._lock:
            self._unanswered.discard(client)
        fault = self._fault
        if fault.delay_s:
            time.sleep(fault.delay_s)
        if fault.drip_s or fault.endless_s:
            return self._drip(client, piece, fault)
        if fault.swallow:
            return b""
        if fault.garble is not None:
            return fault.garble
        if fault.replace is not None:
            return piece.replace(*fault.replace)
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

    def _drip(self, client: socket.socket, piece: bytes, fault: Fault) -> bytes:
        """Send for as long as the fault lasts, or the client; what of the piece is left then."""
        with suppress(OSError):
            if fault.endless_s:
                client.sendall(b"$1000000000\r\n")
            while self._fault is fault and (piece or fault.endless_s):
                time.sleep(fault.drip_s or fault.endless_s)
                if fault.endless_s:
                    client.sendall(b"x" * 1000)
                else:
                    client.sendall(piece[:1])
                    piece = piece[1:]
            return piece
        return b""

    def _close_all(self) -> None:
        for end in self._open:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            self._close_all()


def faulty_proxy(upstream: Path | int) -> AbstractContextManager[FaultyProxy]:
    """A proxy before the server on the unix socket or port ``upstream``, without any fault at first."""
    return serving(FaultyProxy(upstream))
