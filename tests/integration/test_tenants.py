"""A connection whose task was cancelled: the next user sees no row of the previous one."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import psycopg
import pytest

from nexgent_db import AsyncDatabase
from nexgent_db.settings import Settings
from tests.integration.aio.factories import new_owner
from tests.support.servers.roles import RoledDatabase

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.mark.parametrize("in_transaction", [False, True])
async def test_cancelled_task_leaves_no_tenant_to_next_user(roled: RoledDatabase, in_transaction: bool) -> None:
    settings = replace(Settings.from_url(roled.url_of("app")), pool_max_size=1)
    async with AsyncDatabase(settings) as app:
        me, other = await new_owner(app), await new_owner(app)
        async with AsyncDatabase(settings, tenant=me.user_id) as mine:
            theirs = mine.for_tenant(other.user_id)

            async def deposit() -> None:
                if in_transaction:
                    async with mine.transaction() as tx:
                        await tx.trades.deposit(me.deposit("1"))
                else:
                    await mine.trades.deposit(me.deposit("1"))

            for _ in range(3):
                async with app.transaction() as tx:  # the other trade of this wallet waits for it
                    await tx.trades.deposit(me.deposit("1"))
                    task = asyncio.create_task(deposit())
                    async with await psycopg.AsyncConnection.connect(roled.url, autocommit=True) as superuser:
                        while (await (await superuser.execute(WAITING)).fetchone()) != (1,):  # noqa: ASYNC110
                            await asyncio.sleep(0.005)
                    task.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await task
                    assert await theirs.agents.find_by_id(me.agent_id) is None
                    found = await theirs.agents.find_by_id(other.agent_id)
                    assert found is not None
                    assert found.agent.id == other.agent_id
                assert await mine.transactions.count_by_agent(other.agent_id) == 0
            assert await mine.transactions.count_by_agent(me.agent_id) == 3
