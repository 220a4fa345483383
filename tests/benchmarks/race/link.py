"""A link with a delay: ``python -m tests.benchmarks.race.link SOCKET DELAY_S``, a proxy as a process of its own.

It holds back each piece for the delay, in each direction, and sends it on then; pieces that follow one another
closely stay close, as on a wire. It prints its port, and ends when its standard input does.
"""

from __future__ import annotations

import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from psycopg.conninfo import conninfo_to_dict, make_conninfo

DELAY_S: Final = 0.0005
"""In each direction: a round trip takes a millisecond longer."""

_CHUNK: Final = 65_536


@contextmanager
def link(url: str, delay_s: float = DELAY_S) -> Iterator[str]:
    """The URL of the same database through such a link."""
    parts = conninfo_to_dict(url)
    path = f"{parts['host']}/.s.PGSQL.{parts['port']}"
    command = [sys.executable, "-m", "tests.benchmarks.race.link", path, str(delay_s)]
    # A session of its own: Ctrl-C ends the race, which then ends its link.
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as proxy:
        assert proxy.stdin is not None
        assert proxy.stdout is not None
        try:
            port = proxy.stdout.readline().strip()
            yield make_conninfo(url, host="127.0.0.1", port=port, sslmode="disable", gssencmode="disable")
        finally:
            proxy.stdin.close()


def _serve(listener: socket.socket, path: str, delay_s: float) -> None:
    while True:
        client, _ = listener.accept()
        server = socket.socket(socket.AF_UNIX)
        server.connect(path)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for source, target in ((client, server), (server, client)):
            pieces: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
            threading.Thread(target=_receive, args=(source, pieces, delay_s), daemon=True).start()
            threading.Thread(target=_send, args=(target, pieces), daemon=True).start()


def _receive(source: socket.socket, pieces: queue.SimpleQueue[tuple[float, bytes]], delay_s: float) -> None:
    piece = b"?"
    while piece:
        try:
            piece = source.recv(_CHUNK)
        except OSError:
            piece = b""
        pieces.put((time.perf_counter() + delay_s, piece))


def _send(target: socket.socket, pieces: queue.SimpleQueue[tuple[float, bytes]]) -> None:
    with suppress(OSError):
        while (due_and_piece := pieces.get())[1]:
            due, piece = due_and_piece
            if (left := due - time.perf_counter()) > 0:
                time.sleep(left)
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


def main() -> None:
    """Serve until the parent closes the standard input."""
    path, delay_s = sys.argv[1], float(sys.argv[2])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_serve, args=(listener, path, delay_s), daemon=True).start()
        print(listener.getsockname()[1], flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
