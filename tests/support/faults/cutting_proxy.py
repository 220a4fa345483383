"""A TCP proxy that cuts the reply to a COMMIT after PostgreSQL has committed."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from typing import Final

from psycopg.conninfo import make_conninfo

from tests.support.faults.serving import connected_to, serving

_CHUNK: Final = 65_536
_READY: Final = ord("Z")
_COMPLETE: Final = ord("C")
_COLUMNS: Final = ord("T")
_HEADER_BYTES: Final = 5


class CuttingProxy:
    """Listens on a loopback port and talks to the server of ``url``.

    After :meth:`cut_next` the next reply to a COMMIT is read to its end, so that the server has committed; the client
    gets a random part of it, never the whole, and its connection is closed.
    """

    def __init__(self, server_url: str, chance: random.Random) -> None:
        self._server_url = server_url
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._chance = chance
        self._lock = threading.Lock()
        self._commit: tuple[int, bytes] | None = None
        self._ends: set[socket.socket] = set()
        self.cuts = 0
        """How many replies were cut."""
        port = self._listener.getsockname()[1]
        self.url = make_conninfo(server_url, host="127.0.0.1", port=port)

    def cut_next(self, *, trade: bool) -> None:
        """Cut the reply to the next COMMIT; or to the next ``trade`` outside of a transaction, which is committed."""
        with self._lock:
            self._commit = (_COLUMNS, b"outcome\0") if trade else (_COMPLETE, b"COMMIT\0")

    def serve(self) -> None:
        with suppress(OSError):  # closed: the end
            while True:
                client, _ = self._listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                server = connected_to(self._server_url)
                with self._lock:
                    self._ends |= {client, server}
                threading.Thread(target=self._forward, args=(client, server), daemon=True).start()
                threading.Thread(target=self._return, args=(server, client), daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while piece := client.recv(_CHUNK):
                server.sendall(piece)
        self._close_both(client, server)

    def _return(self, server: socket.socket, client: socket.socket) -> None:
        """Forward whole messages; those from a COMMIT's on when the server waits for the client again."""
        kept, commits = b"", False
        with suppress(OSError):
            while piece := server.recv(_CHUNK):
                if self._commit is None and not kept:
                    client.sendall(piece)
                    continue
                kept += piece
                passed = 0
                for start, end in _messages(kept):
                    commits = commits or self._is_commit(kept[start:end])
                    if commits and kept[start] == _READY:
                        self._cut(client, kept)
                        raise ConnectionAbortedError
                    passed = passed if commits else end
                client.sendall(kept[:passed])
                kept = kept[passed:]
        self._close_both(client, server)

    def _is_commit(self, message: bytes) -> bool:
        commit = self._commit
        return commit is not None and message[0] == commit[0] and commit[1] in message[_HEADER_BYTES:]

    def _cut(self, client: socket.socket, reply: bytes) -> None:
        client.sendall(reply[: self._chance.randrange(len(reply))])
        with self._lock:
            self._commit = None
            self.cuts += 1

    def _close_both(self, *ends: socket.socket) -> None:
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._ends -= set(ends)
        for end in ends:
            end.close()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            ends = set(self._ends)
        self._close_both(*ends)


def _messages(reply: bytes) -> Iterator[tuple[int, int]]:
    """Where each complete message begins and ends."""
    start = 0
    while len(reply) - start >= _HEADER_BYTES:
        end = start + 1 + int.from_bytes(reply[start + 1 : start + _HEADER_BYTES], "big")
        if end > len(reply):
            return
        yield start, end
        start = end


def cutting_proxy(server_url: str, chance: random.Random) -> AbstractContextManager[CuttingProxy]:
    """A proxy before the server of ``server_url`` that lets everything pass at first."""
    return serving(CuttingProxy(server_url, chance))
