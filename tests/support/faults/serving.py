"""What the proxies share: a connection to the server behind them, and a thread that serves for the ``with`` block."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from psycopg.conninfo import conninfo_to_dict


class Server(Protocol):
    """What :func:`serving` runs."""

    def serve(self) -> None:
        """Serve until it is closed."""

    def close(self) -> None:
        """End every connection, and :meth:`serve`."""


S = TypeVar("S", bound=Server)


@contextmanager
def serving(server: S) -> Iterator[S]:
    """The server, in a thread of its own, closed at the end."""
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join()


def connected_to(server_url: str) -> socket.socket:
    """A new connection to the PostgreSQL server of ``server_url``. Raises OSError."""
    parts = conninfo_to_dict(server_url)
    host, port = str(parts.get("host") or "127.0.0.1"), int(parts.get("port") or 5432)
    if not host.startswith("/"):
        return socket.create_connection((host, port))
    server = socket.socket(socket.AF_UNIX)
    server.connect(f"{host}/.s.PGSQL.{port}")
    return server
