"""Long computations give way: other tasks run between the parts of the largest lists and batches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import replace
from typing import TypeVar
from uuid import uuid4

import pytest
import pytest_asyncio

from nexgent_db import AsyncDatabase
from nexgent_db.aio import cursors, turns
from nexgent_db.aio.turns import in_turns
from nexgent_db.settings import Settings
from tests.integration.aio.factories import Owner, funded_owner

T = TypeVar("T")
COUNT = 300


@pytest_asyncio.fixture
async def db(fresh_database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncDatabase]:
    monkeypatch.setattr(turns, "TURN_S", -1.0)  # after every 50 items, whatever the time
    monkeypatch.setattr(cursors, "ROWS_AT_ONCE", 50)
    settings = replace(Settings.from_url(fresh_database_url), redis_url=redis_url, cache_prefix=f"{uuid4()}:")
    async with AsyncDatabase(settings) as database:
        yield database


@pytest_asyncio.fixture
async def owner(db: AsyncDatabase) -> Owner:
    return await funded_owner(db)


async def turns_of_another(work: Awaitable[T]) -> tuple[int, T]:
    """How often another task ran meanwhile, and the result."""
    counted = 0

    async def count() -> None:
        nonlocal counted
        while True:
            await asyncio.sleep(0)
            counted += 1

    other = asyncio.create_task(count())
    try:
        result = await work
    finally:
        other.cancel()
    return counted, result


async def test_work_on_many_items_gives_way_and_keeps_their_order() -> None:
    counted, made = await turns_of_another(in_turns(str, range(100)))
    assert made == [str(number) for number in range(100)]
    assert counted <= 2  # a hundredth of a second is not over
    with pytest.raises(ValueError, match="invalid literal"):
        await in_turns(int, ["1", "x"])


async def test_many_items_give_way_after_each_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TURN_S", -1.0)
    counted, made = await turns_of_another(in_turns(str, range(500)))
    assert len(made) == 500
    assert counted >= 9


async def test_largest_lists_and_batches_give_way(db: AsyncDatabase, owner: Owner) -> None:
    deposits = [owner.deposit("1", token=f"T{number}") for number in range(COUNT)]
    counted, results = await turns_of_another(db.trades.execute_many(deposits))
    assert len(results) == COUNT
    assert counted >= 3 * COUNT / 50  # the orders, the changes of the transaction, the batch for the cache

    buys = [owner.buy("0.001", "1", token=f"T{number}") for number in range(COUNT)]
    await db.trades.execute_many(buys)
    reads: list[Awaitable[Sequence[object]]] = [
        db.transactions.list_by_agent(owner.agent_id),
        db.cache.positions_of_agent(owner.agent_id),  # from the database, and stored
        db.cache.positions_of_agent(owner.agent_id),
        db.cache.balances_of_wallet(owner.agent_id, owner.wallet_address),
        db.cache.balances_of_wallet(owner.agent_id, owner.wallet_address),
    ]
    for read in reads:
        counted, rows = await turns_of_another(read)
        assert len(rows) >= COUNT
        assert counted >= COUNT / 50 - 1
    assert db.cache.metrics().hits >= 2


@pytest.mark.parametrize("count", [1, 49, 50, 51, 100, 101])
async def test_list_in_parts_is_whole(db: AsyncDatabase, count: int) -> None:
    answer = await db.execute("SELECT n FROM generate_series(1, :count) AS n", {"count": count})
    assert [row["n"] for row in answer.rows] == list(range(1, count + 1))
