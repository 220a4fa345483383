"""A server that answers the first command with a reply that never ends, as fast as it is read."""

from __future__ import annotations

import socket
import threading
from contextlib import AbstractContextManager, suppress
from typing import Final

from tests.support.faults.serving import serving

_PIECE: Final = b"x" * 65_536


class FloodingServer:
    """Listens on a loopback port."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}"
        self.sent_bytes = 0

    def serve(self) -> None:
        """Serve until the listener is closed."""
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._flood, args=(client,), daemon=True).start()

    def _flood(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            client.recv(65_536)
            client.sendall(b"$100000000000\r\n")
            while True:
                client.sendall(_PIECE)
                self.sent_bytes += len(_PIECE)

    def close(self) -> None:
        """Accept no more; a flood ends when its client leaves."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def flooding_server() -> AbstractContextManager[FloodingServer]:
    """The server, for the ``with`` block."""
    return serving(FloodingServer())
