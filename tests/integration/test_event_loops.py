"""uvloop and asyncio's own loop: cancelled calls lose no trade and no connection.

On other interpreters the same runs by ``make test-pythons``.
"""

from __future__ import annotations

import asyncio
import time
from uuid import uuid4

import psycopg
import pytest

from nexgent_db import AsyncDatabase
from tests.chaos.accounting import USES, Place, run_child
from tests.integration.aio.factories import balance_of, funded_owner
from tests.support.servers.roles import RoledDatabase
from tests.support.servers.valkey_server import ValkeyServer

CANCELLATIONS = 150
"""In each use."""

uvloop = pytest.importorskip("uvloop", reason="uvloop is not to be had on this platform")


def test_query_waits_and_is_cancelled_on_each_loop(database_url: str) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert isinstance(runner.get_loop(), uvloop.Loop)
        runner.run(_cancel_a_wait(database_url))


async def _cancel_a_wait(database_url: str) -> None:
    async with AsyncDatabase(database_url) as db:
        owner = await funded_owner(db)
        with psycopg.connect(database_url, autocommit=True) as other, other.transaction():
            other.execute("SELECT FROM agents WHERE id = %s FOR UPDATE", [owner.agent_id])
            waiting = asyncio.create_task(db.trades.deposit(owner.deposit("1")))
            done, _ = await asyncio.wait([waiting], timeout=0.2)
            assert not done  # it waits for the lock
            started = time.monotonic()
            waiting.cancel()
            await asyncio.wait([waiting])
            assert waiting.cancelled()
            assert time.monotonic() - started < 1
        assert (await db.users.find_by_id(owner.user_id)) is not None
        assert (await db.users.find_by_id(uuid4())) is None
        assert await balance_of(db, owner) == 100


def test_cancellations_lose_no_trade_and_no_connection(roled: RoledDatabase, server: ValkeyServer) -> None:
    place = Place(roled.url, roled.url_of("app"), server.url)
    runs = run_child(
        "tests.chaos.cancellations",
        place,
        interruptions=CANCELLATIONS,
        seed=1,
        pool_sizes=[2],
        options=["--uvloop"],
    )
    faults = {figures.use: (figures.interrupted >= CANCELLATIONS, figures.faults()) for figures in runs}
    assert faults == dict.fromkeys(USES, (True, []))
