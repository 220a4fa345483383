"""Locks, claimed signals and stored results: what they promise, and that without Redis nothing waits for them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from nexgent_db import AsyncDatabase
from nexgent_db.cache.keys import EXECUTION_MS, IDEMPOTENCY_MS, LOCK_MS, SIGNAL_CREATE_MS
from nexgent_db.errors import CacheUnreachable, InvalidInput, LockLost, LockNotAcquired
from nexgent_db.settings import Settings
from tests.integration.aio.caches import catch_up
from tests.support.servers.valkey_server import ValkeyServer


@pytest_asyncio.fixture
async def db(database_url: str, server: ValkeyServer) -> AsyncIterator[AsyncDatabase]:
    settings = replace(Settings.from_url(database_url), redis_url=server.url, cache_prefix=f"{uuid4()}:")
    async with AsyncDatabase(settings) as database:
        await catch_up(database)
        yield database


async def lifetime_ms(db: AsyncDatabase, key: str) -> int:
    cache_client: Any = db.cache._client
    return int(await cache_client.call("PTTL", cache_client.keys.prefix + key))


# --- Locks --------------------------------------------------------------------------------------


async def test_lock_has_one_holder_at_a_time(db: AsyncDatabase) -> None:
    async with db.cache.coordination.lock("rebalance") as lock:
        assert lock.held
        assert 0 < await lifetime_ms(db, "lock:rebalance") <= LOCK_MS
        with pytest.raises(LockNotAcquired, match="another holder"):
            async with db.cache.coordination.lock("rebalance"):
                pytest.fail("two hold it")
        async with db.cache.coordination.lock("another"):
            pass
    assert not lock.held
    async with db.cache.coordination.lock("rebalance"):
        pass


async def test_extended_lock_lasts_longer(db: AsyncDatabase) -> None:
    async with db.cache.coordination.lock("rebalance", lease_s=1) as lock:
        await lock.extend(30)
        assert await lifetime_ms(db, "lock:rebalance") > 20_000
        await lock.extend()
        assert await lifetime_ms(db, "lock:rebalance") <= 1000


async def test_lost_lock_is_neither_extended_nor_released(db: AsyncDatabase) -> None:
    cache_client: Any = db.cache._client
    key = cache_client.keys.lock("rebalance")
    with pytest.raises(LockLost, match="rebalance"):
        async with db.cache.coordination.lock("rebalance") as lock:
            await cache_client.call("SET", key, "another holder", "PX", 60_000)  # after the lease
            with pytest.raises(LockLost):
                await lock.extend()
            assert not lock.held
    assert await cache_client.call("GET", key) == b"another holder"
    assert await lifetime_ms(db, "lock:rebalance") > 50_000


async def test_error_of_body_is_kept_when_lock_was_lost(db: AsyncDatabase) -> None:
    cache_client: Any = db.cache._client
    with pytest.raises(ZeroDivisionError):
        async with db.cache.coordination.lock("rebalance"):
            await cache_client.call("UNLINK", cache_client.keys.lock("rebalance"))
            raise ZeroDivisionError


async def test_lock_is_lost_with_its_redis(db: AsyncDatabase, server: ValkeyServer) -> None:
    with pytest.raises(LockLost):
        async with db.cache.coordination.lock("rebalance") as lock:
            server.kill()
            server.start()
            with pytest.raises(LockLost):
                await lock.extend()
            assert await db.cache._recovery.recover()


async def test_lock_object_is_entered_once(db: AsyncDatabase) -> None:
    lock = db.cache.coordination.lock("rebalance")
    async with lock:
        pass
    with pytest.raises(LockNotAcquired, match="ask for a new one"):
        async with lock:
            pass


@pytest.mark.parametrize("lease_s", [0.0, -1.0, 86_401.0, float("nan")])
async def test_lease_outside_limits_is_refused(db: AsyncDatabase, lease_s: float) -> None:
    with pytest.raises(InvalidInput, match="lease_s"):
        db.cache.coordination.lock("rebalance", lease_s=lease_s)


# --- De-duplication and outcomes ----------------------------------------------------------------


async def test_equal_signal_is_claimed_once_a_minute(db: AsyncDatabase) -> None:
    user_id = uuid4()
    assert await db.cache.coordination.claim_signal(user_id, "TokenA", "momentum", 3)
    assert not await db.cache.coordination.claim_signal(user_id, "TokenA", "momentum", 3)
    assert await db.cache.coordination.claim_signal(user_id, "TokenA", "momentum", 4)
    assert await db.cache.coordination.claim_signal(None, "TokenA", "momentum", 3)
    assert 0 < await lifetime_ms(db, f"signal_create:{user_id}:TokenA:momentum:3") <= SIGNAL_CREATE_MS


async def test_execution_status_is_stored_for_a_day(db: AsyncDatabase) -> None:
    agent_id = uuid4()
    assert await db.cache.coordination.get_execution(7, agent_id) is None
    await db.cache.coordination.store_execution(7, agent_id, "PENDING")
    await db.cache.coordination.store_execution(7, agent_id, "EXECUTED")
    assert await db.cache.coordination.get_execution(7, agent_id) == "EXECUTED"
    assert 0 < await lifetime_ms(db, f"signal:7:{agent_id}:executions") <= EXECUTION_MS
    with pytest.raises(InvalidInput, match="status"):
        await db.cache.coordination.store_execution(7, agent_id, "DONE")  # type: ignore[arg-type]


async def test_first_result_of_an_operation_is_kept(db: AsyncDatabase) -> None:
    assert await db.cache.coordination.get_result("order-1") is None
    assert await db.cache.coordination.store_result("order-1", "made") == "made"
    assert await db.cache.coordination.store_result("order-1", "refused") == "made"
    assert await db.cache.coordination.get_result("order-1") == "made"
    assert 0 < await lifetime_ms(db, "idempotency:order-1") <= IDEMPOTENCY_MS


async def test_result_is_stored_once_for_callers_lifetime(db: AsyncDatabase) -> None:
    coordination = db.cache.coordination
    assert await coordination.store_result("order-1", "made", lifetime_s=3600) == "made"
    assert 3_500_000 < await lifetime_ms(db, "idempotency:order-1") <= 3_600_000
    assert await coordination.store_result("order-1", "refused", lifetime_s=1) == "made"
    assert await lifetime_ms(db, "idempotency:order-1") > 3_500_000
    assert await coordination.store_result("order-2", "made", lifetime_s=0.001) == "made"
    while await coordination.get_result("order-2") is not None:
        pass
    assert await coordination.store_result("order-2", "again", if_unavailable="raise") == "again"


async def test_cleared_result_is_stored_anew(db: AsyncDatabase) -> None:
    coordination = db.cache.coordination
    assert not await coordination.clear_result("order-1")
    await coordination.store_result("order-1", "made")
    assert await coordination.clear_result("order-1", if_unavailable="raise")
    assert await coordination.get_result("order-1") is None
    assert await coordination.store_result("order-1", "refused") == "refused"


@pytest.mark.parametrize("lifetime_s", [0, -1.0, 86_401, float("nan"), float("inf"), "60"])
async def test_lifetime_outside_limits_is_refused(db: AsyncDatabase, lifetime_s: Any) -> None:
    with pytest.raises(InvalidInput, match="lifetime_s"):
        await db.cache.coordination.store_result("order-1", "made", lifetime_s=lifetime_s)
    assert await db.cache.coordination.get_result("order-1") is None


async def test_unknown_choice_for_absent_redis_is_refused(db: AsyncDatabase) -> None:
    wrong: Any = "open"
    with pytest.raises(InvalidInput, match="if_unavailable"):
        await db.cache.coordination.store_result("order-1", "made", if_unavailable=wrong)
    with pytest.raises(InvalidInput, match="if_unavailable"):
        await db.cache.coordination.get_result("order-1", if_unavailable=wrong)
    assert await db.cache.coordination.get_result("order-1") is None


async def test_reset_keeps_locks_and_results(db: AsyncDatabase) -> None:
    cache_client: Any = db.cache._client
    await db.cache.coordination.store_result("order-1", "made")
    async with db.cache.coordination.lock("rebalance"):
        assert await cache_client.epoch.reset()
    assert await db.cache.coordination.get_result("order-1") == "made"


async def test_half_of_a_surrogate_pair_keeps_breaker_closed(db: AsyncDatabase) -> None:
    assert await db.cache.coordination.claim_signal(None, "\ud800", "momentum", 3)
    with pytest.raises(LockNotAcquired, match="surrogate"):
        async with db.cache.coordination.lock("\ud800"):
            pass
    assert db.cache.metrics().state == "closed"


# --- Without Redis --------------------------------------------------------------------------------


async def assert_nothing_is_known(db: AsyncDatabase) -> None:
    agent_id = uuid4()
    for _ in range(2):
        assert await db.cache.coordination.claim_signal(None, "TokenA", "momentum", 3)
        await db.cache.coordination.store_execution(7, agent_id, "EXECUTED")
        assert await db.cache.coordination.get_execution(7, agent_id) is None
        assert await db.cache.coordination.store_result("order-1", "made") == "made"
        assert await db.cache.coordination.store_result("order-1", "refused") == "refused"
        assert await db.cache.coordination.get_result("order-1") is None
        assert not await db.cache.coordination.clear_result("order-1")
        with pytest.raises(LockNotAcquired):
            async with db.cache.coordination.lock("rebalance"):
                pytest.fail("no lock exists without Redis")


async def assert_every_call_raises(db: AsyncDatabase) -> None:
    coordination, agent_id = db.cache.coordination, uuid4()
    with pytest.raises(CacheUnreachable):
        await coordination.claim_signal(None, "TokenA", "momentum", 3, if_unavailable="raise")
    with pytest.raises(CacheUnreachable):
        await coordination.store_execution(7, agent_id, "EXECUTED", if_unavailable="raise")
    with pytest.raises(CacheUnreachable):
        await coordination.get_execution(7, agent_id, if_unavailable="raise")
    with pytest.raises(CacheUnreachable):
        await coordination.store_result("order-1", "made", if_unavailable="raise")
    with pytest.raises(CacheUnreachable):
        await coordination.get_result("order-1", if_unavailable="raise")
    with pytest.raises(CacheUnreachable):
        await coordination.clear_result("order-1", if_unavailable="raise")


async def test_coordination_without_redis_stores_nothing(database_url: str) -> None:
    async with AsyncDatabase(replace(Settings.from_url(database_url), redis_url=None)) as db:
        await assert_nothing_is_known(db)
        await assert_every_call_raises(db)


async def test_caller_may_refuse_to_go_on_without_redis(db: AsyncDatabase, server: ValkeyServer) -> None:
    with server.hanging():
        calls = db.cache.metrics().calls
        await assert_every_call_raises(db)
        assert db.cache.metrics().calls == calls + 1
        await assert_nothing_is_known(db)
    while db.cache.metrics().state != "closed":
        await db.cache._recovery.recover()
    assert await db.cache.coordination.store_result("order-2", "made", if_unavailable="raise") == "made"


async def test_killed_redis_is_asked_once(db: AsyncDatabase, server: ValkeyServer) -> None:
    server.kill()
    calls = db.cache.metrics().calls
    await assert_nothing_is_known(db)
    assert db.cache.metrics().calls == calls + 1


async def test_hanging_redis_is_waited_for_once(db: AsyncDatabase, server: ValkeyServer) -> None:
    calls = db.cache.metrics().calls
    with server.hanging():
        await assert_nothing_is_known(db)
        assert db.cache.metrics().calls == calls + 1


async def test_lock_without_reply_to_release_ends_by_itself(db: AsyncDatabase, server: ValkeyServer) -> None:
    async with db.cache.coordination.lock("rebalance") as lock:
        server.kill()
    assert not lock.held
