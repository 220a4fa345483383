"""Connections of tasks to Redis over TLS are closed at once. (Those of threads always are.)"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.integration.aio.factories import funded_owner
from tests.integration.aio.test_cache_tls import LOGIN, PASSWORD, opened
from tests.support.servers.tls_proxy import tls_proxy
from tests.support.servers.valkey_server import valkey_server


async def test_close_leaves_no_socket_open_where_server_hangs(fresh_database_url: str, tmp_path: Path) -> None:
    user = ("--user", "nexgent", "on", f">{PASSWORD}", "~*", "&*", "+@all")
    with valkey_server(*user) as server, tls_proxy(server.socket, tmp_path) as proxy:
        async with opened(fresh_database_url, proxy.url(LOGIN, ssl_ca_certs=str(proxy.authority))) as db:
            owner = await funded_owner(db)
            await db.cache.balances_of_wallet(owner.agent_id, owner.wallet_address)
            client: Any = db.cache._client
            connections = [each for each in client.servers._made if each.is_connected]
            sockets = [each._writer.get_extra_info("socket") for each in connections]
            with proxy.stopped():
                await db.close()
                await asyncio.sleep(0)
                assert [each.fileno() for each in sockets] == [-1] * len(sockets)
            assert sockets
