"""Only for tasks: a reader is cancelled while it waits until a change is applied."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Any

from nexgent_db import AsyncDatabase
from nexgent_db.settings import Settings
from tests.integration.aio.factories import funded_owner
from tests.support.servers.valkey_server import valkey_server


async def test_cancelled_reader_leaves_replies_to_others(database_url: str) -> None:
    with valkey_server() as server:
        async with AsyncDatabase(replace(Settings.from_url(database_url), redis_url=server.url)) as db:
            owner = await funded_owner(db)
            old = (await db.trades.buy(owner.buy("1", "1000"))).position
            assert old is not None
            assert await db.cache.position(old.id) == old
            queue: Any = db.cache._client._queue  # type: ignore[union-attr]
            with server.hanging():
                new = (await db.trades.dca_buy(owner.dca_buy("1", "500"))).position
                reader = asyncio.create_task(db.cache.position(old.id))
                while not queue._reading.locked():
                    assert not reader.done()
                    await asyncio.sleep(0)
                reader.cancel()
                with suppress(asyncio.CancelledError):
                    await reader
            assert reader.cancelled()
            hits = db.cache.metrics().hits
            assert await db.cache.position(old.id) == new
            assert (db.cache.metrics().openings, db.cache.metrics().hits) == (0, hits + 1)
