"""A TCP proxy that delays data from clients to PostgreSQL, so that an order arrives late."""

from __future__ import annotations

import socket
import threading
from contextlib import AbstractContextManager, suppress
from typing import Final

from psycopg.conninfo import make_conninfo

from tests.support.faults.serving import connected_to, serving

_CHUNK: Final = 65_536
_PATIENCE_S: Final = 30.0


class HoldingProxy:
    """Listens on a loopback port and talks to the server of ``url``.

    After ``hold()`` nothing that clients send reaches the server until ``release()``, not even when they are gone:
    ``hang_up()`` ends the clients' connections only.
    """

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._pieces_until_held = 0
        self._passes = threading.Event()
        self._passes.set()
        self._changed = threading.Condition()
        self._clients: set[socket.socket] = set()
        self._servers: set[socket.socket] = set()
        self._held_for: set[socket.socket] = set()
        here = {"host": "127.0.0.1", "port": self._listener.getsockname()[1]}
        self.url = make_conninfo(server_url, **here)
        """How to reach the server through the proxy."""

    def hold(self, after: int = 0) -> None:
        """Keep the clients' data from now on, after the next ``after`` messages (the data sent before each reply)."""
        self._pieces_until_held = after
        self._passes.clear()

    def wait_until_something_is_held(self) -> None:
        """Raises AssertionError when no client sends anything within half a minute."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._held_for, _PATIENCE_S), "no client sent anything"

    def hang_up(self) -> None:
        """End the connections of the clients; what they have sent stays here."""
        with self._changed:
            for client in self._clients:
                _shut_down(client)

    def release(self) -> None:
        """Forward the kept data, and wait until the server has replied to all of it."""
        self._passes.set()
        with self._changed:
            assert self._changed.wait_for(lambda: not self._held_for, _PATIENCE_S), "the server did not answer"

    def serve(self) -> None:
        with suppress(OSError):  # closed: the end
            while True:
                client, _ = self._listener.accept()
                server = connected_to(self._server_url)
                with self._changed:
                    self._clients.add(client)
                    self._servers.add(server)
                threading.Thread(target=self._forward, args=(client, server), daemon=True).start()
                threading.Thread(target=self._return, args=(server, client), daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        """Forward a client's data in time; a close is not forwarded, as on a network that loses it."""
        with suppress(OSError):
            while piece := client.recv(_CHUNK):
                if not self._passes.is_set() and self._is_to_be_held():
                    self._mark(server, held=True)
                    self._passes.wait()
                server.sendall(piece)

    def _is_to_be_held(self) -> bool:
        with self._changed:
            self._pieces_until_held -= 1
            return self._pieces_until_held < 0

    def _return(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while piece := server.recv(_CHUNK):
                self._mark(server, held=False)  # before the client can send its next message, which may be kept
                with suppress(OSError):  # the client is gone: the answer is lost
                    client.sendall(piece)

    def _mark(self, server: socket.socket, *, held: bool) -> None:
        with self._changed:
            (self._held_for.add if held else self._held_for.discard)(server)
            self._changed.notify_all()

    def close(self) -> None:
        _shut_down(self._listener)
        self._listener.close()
        self._passes.set()
        with self._changed:
            for end in self._clients | self._servers:
                _shut_down(end)
                end.close()


def _shut_down(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


def holding_proxy(server_url: str) -> AbstractContextManager[HoldingProxy]:
    """A proxy before the server of ``server_url`` that lets everything pass at first."""
    return serving(HoldingProxy(server_url))
