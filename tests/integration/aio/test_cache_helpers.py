"""Locks, de-duplication and remembered outcomes: what they promise, and that without Redis nothing waits for them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from nexgent_db import AsyncDatabase
from nexgent_db.cache_keys import EXECUTION_MS, IDEMPOTENCY_MS, LOCK_MS, SIGNAL_CREATE_MS
from nexgent_db.errors import InvalidInput, LockLost, LockNotAcquired
from nexgent_db.settings import Settings
from tests.support.valkey_server import ValkeyServer


@pytest_asyncio.fixture
async def db(database_url: str, server: ValkeyServer) -> AsyncIterator[AsyncDatabase]:
    settings = replace(Settings.from_url(database_url), redis_url=server.url, cache_prefix=f"{uuid4()}:")
    async with AsyncDatabase(settings) as database:
        yield database


async def lifetime_ms(db: AsyncDatabase, key: str) -> int:
    link: Any = db.cache._link
    return int(await link.call("PTTL", link.keys.prefix + key))


# --- Locks --------------------------------------------------------------------------------------


async def test_a_lock_has_one_holder_at_a_time(db: AsyncDatabase) -> None:
    async with db.cache.lock("rebalance") as lock:
        assert lock.held
        assert 0 < await lifetime_ms(db, "lock:rebalance") <= LOCK_MS
        with pytest.raises(LockNotAcquired, match="somebody else holds it"):
            async with db.cache.lock("rebalance"):
                pytest.fail("two hold it")
        async with db.cache.lock("another"):
            pass
    assert not lock.held
    async with db.cache.lock("rebalance"):
        pass


async def test_a_lock_that_was_extended_lasts_longer(db: AsyncDatabase) -> None:
    async with db.cache.lock("rebalance", lease_s=1) as lock:
        await lock.extend(30)
        assert await lifetime_ms(db, "lock:rebalance") > 20_000
        await lock.extend()
        assert await lifetime_ms(db, "lock:rebalance") <= 1000


async def test_a_lock_of_another_holder_is_neither_extended_nor_released(db: AsyncDatabase) -> None:
    link: Any = db.cache._link
    key = link.keys.lock("rebalance")
    with pytest.raises(LockLost, match="rebalance"):
        async with db.cache.lock("rebalance") as lock:
            await link.call("SET", key, "somebody else", "PX", 60_000)  # as after a pause longer than the lease
            with pytest.raises(LockLost):
                await lock.extend()
            assert not lock.held
    assert await link.call("GET", key) == b"somebody else"
    assert await lifetime_ms(db, "lock:rebalance") > 50_000


async def test_a_block_that_raised_keeps_its_error_when_the_lock_was_lost(db: AsyncDatabase) -> None:
    link: Any = db.cache._link
    with pytest.raises(ZeroDivisionError):
        async with db.cache.lock("rebalance"):
            await link.call("UNLINK", link.keys.lock("rebalance"))
            raise ZeroDivisionError


async def test_a_lock_is_lost_with_the_redis_that_held_it(db: AsyncDatabase, server: ValkeyServer) -> None:
    with pytest.raises(LockLost):
        async with db.cache.lock("rebalance") as lock:
            server.kill()
            server.start()
            with pytest.raises(LockLost):
                await lock.extend()
            assert await db.cache._recover()


async def test_a_lock_object_is_entered_once(db: AsyncDatabase) -> None:
    lock = db.cache.lock("rebalance")
    async with lock:
        pass
    with pytest.raises(LockNotAcquired, match="ask for a new one"):
        async with lock:
            pass


@pytest.mark.parametrize("lease_s", [0.0, -1.0, 86_401.0, float("nan")])
async def test_a_lease_has_its_limits(db: AsyncDatabase, lease_s: float) -> None:
    with pytest.raises(InvalidInput, match="lease_s"):
        db.cache.lock("rebalance", lease_s=lease_s)


# --- De-duplication and outcomes ----------------------------------------------------------------


async def test_an_equal_signal_is_seen_within_a_minute(db: AsyncDatabase) -> None:
    user_id = uuid4()
    assert not await db.cache.signal_seen(user_id, "TokenA", "momentum", 3)
    assert await db.cache.signal_seen(user_id, "TokenA", "momentum", 3)
    assert not await db.cache.signal_seen(user_id, "TokenA", "momentum", 4)
    assert not await db.cache.signal_seen(None, "TokenA", "momentum", 3)
    assert 0 < await lifetime_ms(db, f"signal_create:{user_id}:TokenA:momentum:3") <= SIGNAL_CREATE_MS


async def test_an_executions_status_is_noted_for_a_day(db: AsyncDatabase) -> None:
    agent_id = uuid4()
    assert await db.cache.execution(7, agent_id) is None
    await db.cache.note_execution(7, agent_id, "PENDING")
    await db.cache.note_execution(7, agent_id, "EXECUTED")
    assert await db.cache.execution(7, agent_id) == "EXECUTED"
    assert 0 < await lifetime_ms(db, f"signal:7:{agent_id}:executions") <= EXECUTION_MS
    with pytest.raises(InvalidInput, match="status"):
        await db.cache.note_execution(7, agent_id, "DONE")  # type: ignore[arg-type]


async def test_the_first_outcome_of_an_operation_is_remembered(db: AsyncDatabase) -> None:
    assert await db.cache.remembered("order-1") is None
    assert await db.cache.remember("order-1", "made") == "made"
    assert await db.cache.remember("order-1", "refused") == "made"
    assert await db.cache.remembered("order-1") == "made"
    assert 0 < await lifetime_ms(db, "idempotency:order-1") <= IDEMPOTENCY_MS


async def test_a_reset_leaves_the_helpers_alone(db: AsyncDatabase) -> None:
    link: Any = db.cache._link
    await db.cache.remember("order-1", "made")
    async with db.cache.lock("rebalance"):
        assert await link.reset()
    assert await db.cache.remembered("order-1") == "made"


async def test_half_of_a_surrogate_pair_does_not_put_the_cache_away(db: AsyncDatabase) -> None:
    assert not await db.cache.signal_seen(None, "\ud800", "momentum", 3)
    with pytest.raises(LockNotAcquired, match="surrogate"):
        async with db.cache.lock("\ud800"):
            pass
    assert db.cache.metrics().state == "closed"


# --- Without Redis --------------------------------------------------------------------------------


async def assert_nothing_is_known(db: AsyncDatabase) -> None:
    agent_id = uuid4()
    for _ in range(2):
        assert not await db.cache.signal_seen(None, "TokenA", "momentum", 3)
        await db.cache.note_execution(7, agent_id, "EXECUTED")
        assert await db.cache.execution(7, agent_id) is None
        assert await db.cache.remember("order-1", "made") == "made"
        assert await db.cache.remember("order-1", "refused") == "refused"
        assert await db.cache.remembered("order-1") is None
        with pytest.raises(LockNotAcquired):
            async with db.cache.lock("rebalance"):
                pytest.fail("nobody can promise that")


async def test_without_redis_nothing_is_seen_and_no_lock_is_given(database_url: str) -> None:
    async with AsyncDatabase(replace(Settings.from_url(database_url), redis_url=None)) as db:
        await assert_nothing_is_known(db)


async def test_a_redis_that_is_gone_is_asked_once(db: AsyncDatabase, server: ValkeyServer) -> None:
    server.kill()
    calls = db.cache.metrics().calls
    await assert_nothing_is_known(db)
    assert db.cache.metrics().calls == calls + 1


async def test_a_hanging_redis_is_waited_for_once(db: AsyncDatabase, server: ValkeyServer) -> None:
    calls = db.cache.metrics().calls
    with server.hanging():
        await assert_nothing_is_known(db)
        assert db.cache.metrics().calls == calls + 1


async def test_a_lock_whose_release_nobody_answers_ends_by_itself(db: AsyncDatabase, server: ValkeyServer) -> None:
    async with db.cache.lock("rebalance") as lock:
        server.kill()
    assert not lock.held
