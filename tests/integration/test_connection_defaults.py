"""TCP options of the pool's connections, read from the sockets."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from nexgent_db import AsyncDatabase, Database
from nexgent_db.settings import Settings
from tests.support.faults.faulty_proxy import faulty_proxy

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the options have other names elsewhere")

LONGEST_S: Final = 20
"""Until when a peer that vanished is noticed, whether something was sent to it or not."""


@pytest.fixture
def tcp(database_url: str) -> Iterator[str]:
    """Where the database is reached over TCP."""
    parts = conninfo_to_dict(database_url)
    host, port = str(parts.get("host") or ""), parts.get("port") or 5432
    if not host.startswith("/"):
        yield database_url
        return
    with faulty_proxy(Path(host, f".s.PGSQL.{port}")) as proxy:
        yield make_conninfo(database_url, host="127.0.0.1", port=urlsplit(proxy.url).port)


def settings_of(tcp: str, **options: int) -> Settings:
    return Settings.from_url(make_conninfo(tcp, **options), {})


def options_of(tcp: str) -> list[dict[str, int]]:
    """Those of this process's connections to that port, in seconds but for the count."""
    port = int(conninfo_to_dict(tcp)["port"] or 5432)
    found = []
    for descriptor in os.listdir("/proc/self/fd"):  # noqa: PTH208
        with suppress(OSError), closing(socket.socket(fileno=os.dup(int(descriptor)))) as end:
            if end.family in (socket.AF_INET, socket.AF_INET6) and end.getpeername()[1] == port:
                found.append(_options(end))
    return found


def _options(end: socket.socket) -> dict[str, int]:
    def read(name: int) -> int:
        return end.getsockopt(socket.IPPROTO_TCP, name)

    return {
        "keep-alive": end.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
        "idle": read(socket.TCP_KEEPIDLE),
        "interval": read(socket.TCP_KEEPINTVL),
        "count": read(socket.TCP_KEEPCNT),
        "user timeout": read(socket.TCP_USER_TIMEOUT) // 1000,
    }


def check_defaults(tcp: str) -> None:
    (options,) = options_of(tcp)
    assert options["keep-alive"] == 1
    assert options["idle"] + options["interval"] * options["count"] <= LONGEST_S
    assert 0 < options["user timeout"] <= LONGEST_S


def test_default_connection_notices_vanished_peer(tcp: str) -> None:
    with Database(settings_of(tcp)):
        check_defaults(tcp)


async def test_default_async_connection_notices_vanished_peer(tcp: str) -> None:
    async with AsyncDatabase(settings_of(tcp)):
        check_defaults(tcp)


def test_url_options_override_defaults(tcp: str) -> None:
    asked = {"keepalives_idle": 77, "keepalives_interval": 11, "keepalives_count": 5, "tcp_user_timeout": 123_000}
    with Database(settings_of(tcp, **asked)):
        assert options_of(tcp) == [{"keep-alive": 1, "idle": 77, "interval": 11, "count": 5, "user timeout": 123}]


def test_url_can_disable_keepalives(tcp: str) -> None:
    with Database(settings_of(tcp, keepalives=0)):
        (options,) = options_of(tcp)
        assert options["keep-alive"] == 0
