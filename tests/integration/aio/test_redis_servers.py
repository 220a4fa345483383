"""Connections to Redis: what they share."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from nexgent_db.aio.cache import servers as servers_module
from nexgent_db.aio.cache.servers import RedisServers
from tests.support.servers.tls_proxy import tls_proxy
from tests.support.servers.valkey_server import valkey_server


async def test_system_certificates_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    create = ssl.create_default_context

    def creating(*arguments: Any, **options: Any) -> ssl.SSLContext:
        made.append(1)
        return create(*arguments, **options)

    async def greet(connection: Any) -> None:
        await connection.on_connect()

    with valkey_server() as server, tls_proxy(server.socket, tmp_path) as proxy:
        monkeypatch.setattr(ssl, "create_default_context", creating)
        monkeypatch.setattr(servers_module, "TIMEOUT_S", 10)  # a busy machine takes its time to greet by TLS
        servers = RedisServers(proxy.url(ssl_ca_certs=str(proxy.authority)), greet)
        connections = [await servers.connect() for _ in range(3)]
        for connection in connections:
            await connection.disconnect()
    assert (len(connections), len(made)) == (3, 1)
