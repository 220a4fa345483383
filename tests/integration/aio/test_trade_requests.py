"""Stored requests: pruned after their retention, and refused from then on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import pytest_asyncio

from nexgent_db import AsyncDatabase
from nexgent_db.errors import IdempotencyConflict, InvalidInput
from tests.integration.aio.factories import funded_owner
from tests.support.oracles.state import rows_of


@pytest_asyncio.fixture
async def db(fresh_database_url: str) -> AsyncIterator[AsyncDatabase]:
    """A database of the test's own."""
    async with AsyncDatabase(fresh_database_url) as database:
        yield database


async def test_pruned_request_is_refused_and_never_executed_again(db: AsyncDatabase, fresh_database_url: str) -> None:
    owner = await funded_owner(db)
    order, reset = owner.deposit("1"), owner.reset("5")
    await db.trades.deposit(order)
    await db.trades.reset_wallet(reset)
    last = await db.trades.deposit(owner.deposit("2"))
    older = last.transaction.created_at
    assert [await db.trade_requests.prune(older, 1) for _ in range(3)] == [1, 1, 0]  # the reset is kept
    kept = await db.trade_requests.list_by_ids([order.trade_id, reset.trade_id, last.transaction.id, uuid4()])
    assert {request.id for request in kept} == {reset.trade_id, last.transaction.id}
    before = rows_of(fresh_database_url, owner.agent_id)
    with pytest.raises(IdempotencyConflict, match=f"transaction {order.trade_id}"):
        await db.trades.deposit(order)
    assert (await db.trades.reset_wallet(reset)).duplicate
    assert rows_of(fresh_database_url, owner.agent_id) == before


async def test_prune_of_nothing_is_refused(db: AsyncDatabase) -> None:
    owner = await funded_owner(db)
    now = (await db.trades.deposit(owner.deposit("1"))).transaction.created_at
    with pytest.raises(InvalidInput, match="limit"):
        await db.trade_requests.prune(now, 0)
    with pytest.raises(InvalidInput, match="before"):
        await db.trade_requests.prune(now.replace(tzinfo=None))
