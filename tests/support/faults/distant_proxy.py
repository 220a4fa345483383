"""A TCP proxy that is far away: whatever it forwards arrives later, in either direction, and in order."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from psycopg.conninfo import conninfo_to_dict

from tests.support.faults.serving import connected_to

_CHUNK = 65_536


@contextmanager
def distant(server_url: str, delay_s: float) -> Iterator[str]:
    """The URL of a PostgreSQL server behind such a proxy; a round trip takes twice the delay at least."""
    parts = conninfo_to_dict(server_url)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_serve, args=(listener, server_url, delay_s), daemon=True).start()
        parts |= {"host": "127.0.0.1", "port": listener.getsockname()[1]}
        login = f"{parts.get('user', 'postgres')}@127.0.0.1:{parts['port']}"
        yield f"postgresql://{login}/{parts.get('dbname', 'postgres')}?sslmode=disable&gssencmode=disable"
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def _serve(listener: socket.socket, server_url: str, delay_s: float) -> None:
    with suppress(OSError):  # closed: the end
        while True:
            client, _ = listener.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server = connected_to(server_url)
            for source, target in ((client, server), (server, client)):
                pending: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
                threading.Thread(target=_receive, args=(source, pending, delay_s), daemon=True).start()
                threading.Thread(target=_send, args=(target, pending), daemon=True).start()


def _receive(source: socket.socket, pending: queue.SimpleQueue[tuple[float, bytes]], delay_s: float) -> None:
    data = b"."
    while data:
        data = b""
        with suppress(OSError):
            data = source.recv(_CHUNK)
        pending.put((time.monotonic() + delay_s, data))


def _send(target: socket.socket, pending: queue.SimpleQueue[tuple[float, bytes]]) -> None:
    with suppress(OSError), target:
        while True:
            due, data = pending.get()
            time.sleep(max(0.0, due - time.monotonic()))
            if not data:
                return
            target.sendall(data)
