"""Connections to Redis: what they share."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from nexgent_db.aio.cache import servers as servers_module
from nexgent_db.aio.cache.servers import TIMEOUT_S, RedisServers
from nexgent_db.errors import ConfigurationError
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


async def test_options_of_url_do_not_replace_own(tmp_path: Path) -> None:
    """A server that hangs would hold each call for a minute."""

    async def greet(connection: Any) -> None:
        await connection.on_connect()

    with valkey_server() as server:
        servers = RedisServers(f"unix://{server.socket}?socket_timeout=60&retry_on_timeout=yes&db=3", greet)
        connection = await servers.connect()
        assert connection.socket_timeout in (None, TIMEOUT_S)  # asynchronous calls have a deadline of their own
        assert (connection.retry.get_retries(), connection.db) == (0, 3)
        await connection.disconnect()
    with pytest.raises(ConfigurationError, match="REDIS_URL has the option decode_responses"):
        RedisServers(f"unix://{tmp_path}/x.sock?decode_responses=yes", greet)
