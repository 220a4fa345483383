# Generated from tests/integration/aio/test_cache_coordination.py by `make sync`: do not edit.
"""Locks, claimed signals and stored results: what they promise, and that without Redis nothing waits for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from nexgent_db import Database
from nexgent_db.cache.keys import EXECUTION_MS, IDEMPOTENCY_MS, LOCK_MS, SIGNAL_CREATE_MS
from nexgent_db.errors import CacheUnreachable, InvalidInput, LockLost, LockNotAcquired
from nexgent_db.settings import Settings
from tests.integration.sync.caches import catch_up
from tests.support.servers.valkey_server import ValkeyServer


@pytest.fixture
def db(database_url: str, server: ValkeyServer) -> Iterator[Database]:
    settings = replace(Settings.from_url(database_url), redis_url=server.url, cache_prefix=f"{uuid4()}:")
    with Database(settings) as database:
        catch_up(database)
        yield database


def lifetime_ms(db: Database, key: str) -> int:
    cache_client: Any = db.cache._client
    return int(cache_client.call("PTTL", cache_client.keys.prefix + key))


# --- Locks --------------------------------------------------------------------------------------


def test_lock_has_one_holder_at_a_time(db: Database) -> None:
    with db.cache.coordination.lock("rebalance") as lock:
        assert lock.held
        assert 0 < lifetime_ms(db, "lock:rebalance") <= LOCK_MS
        with pytest.raises(LockNotAcquired, match="another holder"), db.cache.coordination.lock("rebalance"):
            pytest.fail("two hold it")
        with db.cache.coordination.lock("another"):
            pass
    assert not lock.held
    with db.cache.coordination.lock("rebalance"):
        pass


def test_extended_lock_lasts_longer(db: Database) -> None:
    with db.cache.coordination.lock("rebalance", lease_s=1) as lock:
        lock.extend(30)
        assert lifetime_ms(db, "lock:rebalance") > 20_000
        lock.extend()
        assert lifetime_ms(db, "lock:rebalance") <= 1000


def test_lost_lock_is_neither_extended_nor_released(db: Database) -> None:
    cache_client: Any = db.cache._client
    key = cache_client.keys.lock("rebalance")
    with pytest.raises(LockLost, match="rebalance"), db.cache.coordination.lock("rebalance") as lock:
        cache_client.call("SET", key, "another holder", "PX", 60_000)  # after the lease
        with pytest.raises(LockLost):
            lock.extend()
        assert not lock.held
    assert cache_client.call("GET", key) == b"another holder"
    assert lifetime_ms(db, "lock:rebalance") > 50_000


def test_error_of_body_is_kept_when_lock_was_lost(db: Database) -> None:
    cache_client: Any = db.cache._client
    with pytest.raises(ZeroDivisionError), db.cache.coordination.lock("rebalance"):
        cache_client.call("UNLINK", cache_client.keys.lock("rebalance"))
        raise ZeroDivisionError


def test_lock_is_lost_with_its_redis(db: Database, server: ValkeyServer) -> None:
    with pytest.raises(LockLost), db.cache.coordination.lock("rebalance") as lock:
        server.kill()
        server.start()
        with pytest.raises(LockLost):
            lock.extend()
        assert db.cache._recovery.recover()


def test_lock_object_is_entered_once(db: Database) -> None:
    lock = db.cache.coordination.lock("rebalance")
    with lock:
        pass
    with pytest.raises(LockNotAcquired, match="ask for a new one"), lock:
        pass


@pytest.mark.parametrize("lease_s", [0.0, -1.0, 86_401.0, float("nan")])
def test_lease_outside_limits_is_refused(db: Database, lease_s: float) -> None:
    with pytest.raises(InvalidInput, match="lease_s"):
        db.cache.coordination.lock("rebalance", lease_s=lease_s)


# --- De-duplication and outcomes ----------------------------------------------------------------


def test_equal_signal_is_claimed_once_a_minute(db: Database) -> None:
    user_id = uuid4()
    assert db.cache.coordination.claim_signal(user_id, "TokenA", "momentum", 3)
    assert not db.cache.coordination.claim_signal(user_id, "TokenA", "momentum", 3)
    assert db.cache.coordination.claim_signal(user_id, "TokenA", "momentum", 4)
    assert db.cache.coordination.claim_signal(None, "TokenA", "momentum", 3)
    assert 0 < lifetime_ms(db, f"signal_create:{user_id}:TokenA:momentum:3") <= SIGNAL_CREATE_MS


def test_execution_status_is_stored_for_a_day(db: Database) -> None:
    agent_id = uuid4()
    assert db.cache.coordination.get_execution(7, agent_id) is None
    db.cache.coordination.store_execution(7, agent_id, "PENDING")
    db.cache.coordination.store_execution(7, agent_id, "EXECUTED")
    assert db.cache.coordination.get_execution(7, agent_id) == "EXECUTED"
    assert 0 < lifetime_ms(db, f"signal:7:{agent_id}:executions") <= EXECUTION_MS
    with pytest.raises(InvalidInput, match="status"):
        db.cache.coordination.store_execution(7, agent_id, "DONE")  # type: ignore[arg-type]


def test_first_result_of_an_operation_is_kept(db: Database) -> None:
    assert db.cache.coordination.get_result("order-1") is None
    assert db.cache.coordination.store_result("order-1", "made") == "made"
    assert db.cache.coordination.store_result("order-1", "refused") == "made"
    assert db.cache.coordination.get_result("order-1") == "made"
    assert 0 < lifetime_ms(db, "idempotency:order-1") <= IDEMPOTENCY_MS


def test_result_is_stored_once_for_callers_lifetime(db: Database) -> None:
    coordination = db.cache.coordination
    assert coordination.store_result("order-1", "made", lifetime_s=3600) == "made"
    assert 3_500_000 < lifetime_ms(db, "idempotency:order-1") <= 3_600_000
    assert coordination.store_result("order-1", "refused", lifetime_s=1) == "made"
    assert lifetime_ms(db, "idempotency:order-1") > 3_500_000
    assert coordination.store_result("order-2", "made", lifetime_s=0.001) == "made"
    while coordination.get_result("order-2") is not None:
        pass
    assert coordination.store_result("order-2", "again", if_unavailable="raise") == "again"


def test_cleared_result_is_stored_anew(db: Database) -> None:
    coordination = db.cache.coordination
    assert not coordination.clear_result("order-1")
    coordination.store_result("order-1", "made")
    assert coordination.clear_result("order-1", if_unavailable="raise")
    assert coordination.get_result("order-1") is None
    assert coordination.store_result("order-1", "refused") == "refused"


@pytest.mark.parametrize("lifetime_s", [0, -1.0, 86_401, float("nan"), float("inf"), "60"])
def test_lifetime_outside_limits_is_refused(db: Database, lifetime_s: Any) -> None:
    with pytest.raises(InvalidInput, match="lifetime_s"):
        db.cache.coordination.store_result("order-1", "made", lifetime_s=lifetime_s)
    assert db.cache.coordination.get_result("order-1") is None


def test_unknown_choice_for_absent_redis_is_refused(db: Database) -> None:
    wrong: Any = "open"
    with pytest.raises(InvalidInput, match="if_unavailable"):
        db.cache.coordination.store_result("order-1", "made", if_unavailable=wrong)
    with pytest.raises(InvalidInput, match="if_unavailable"):
        db.cache.coordination.get_result("order-1", if_unavailable=wrong)
    assert db.cache.coordination.get_result("order-1") is None


def test_reset_keeps_locks_and_results(db: Database) -> None:
    cache_client: Any = db.cache._client
    db.cache.coordination.store_result("order-1", "made")
    with db.cache.coordination.lock("rebalance"):
        assert cache_client.epoch.reset()
    assert db.cache.coordination.get_result("order-1") == "made"


def test_half_of_a_surrogate_pair_keeps_breaker_closed(db: Database) -> None:
    assert db.cache.coordination.claim_signal(None, "\ud800", "momentum", 3)
    with pytest.raises(LockNotAcquired, match="surrogate"), db.cache.coordination.lock("\ud800"):
        pass
    assert db.cache.metrics().state == "closed"


# --- Without Redis --------------------------------------------------------------------------------


def assert_nothing_is_known(db: Database) -> None:
    agent_id = uuid4()
    for _ in range(2):
        assert db.cache.coordination.claim_signal(None, "TokenA", "momentum", 3)
        db.cache.coordination.store_execution(7, agent_id, "EXECUTED")
        assert db.cache.coordination.get_execution(7, agent_id) is None
        assert db.cache.coordination.store_result("order-1", "made") == "made"
        assert db.cache.coordination.store_result("order-1", "refused") == "refused"
        assert db.cache.coordination.get_result("order-1") is None
        assert not db.cache.coordination.clear_result("order-1")
        with pytest.raises(LockNotAcquired), db.cache.coordination.lock("rebalance"):
            pytest.fail("no lock exists without Redis")


def assert_every_call_raises(db: Database) -> None:
    coordination, agent_id = db.cache.coordination, uuid4()
    with pytest.raises(CacheUnreachable):
        coordination.claim_signal(None, "TokenA", "momentum", 3, if_unavailable="raise")
    with pytest.raises(CacheUnreachable):
        coordination.store_execution(7, agent_id, "EXECUTED", if_unavailable="raise")
    with pytest.raises(CacheUnreachable):
        coordination.get_execution(7, agent_id, if_unavailable="raise")
    with pytest.raises(CacheUnreachable):
        coordination.store_result("order-1", "made", if_unavailable="raise")
    with pytest.raises(CacheUnreachable):
        coordination.get_result("order-1", if_unavailable="raise")
    with pytest.raises(CacheUnreachable):
        coordination.clear_result("order-1", if_unavailable="raise")


def test_coordination_without_redis_stores_nothing(database_url: str) -> None:
    with Database(replace(Settings.from_url(database_url), redis_url=None)) as db:
        assert_nothing_is_known(db)
        assert_every_call_raises(db)


def test_caller_may_refuse_to_go_on_without_redis(db: Database, server: ValkeyServer) -> None:
    with server.hanging():
        calls = db.cache.metrics().calls
        assert_every_call_raises(db)
        assert db.cache.metrics().calls == calls + 1
        assert_nothing_is_known(db)
    while db.cache.metrics().state != "closed":
        db.cache._recovery.recover()
    assert db.cache.coordination.store_result("order-2", "made", if_unavailable="raise") == "made"


def test_killed_redis_is_asked_once(db: Database, server: ValkeyServer) -> None:
    server.kill()
    calls = db.cache.metrics().calls
    assert_nothing_is_known(db)
    assert db.cache.metrics().calls == calls + 1


def test_hanging_redis_is_waited_for_once(db: Database, server: ValkeyServer) -> None:
    calls = db.cache.metrics().calls
    with server.hanging():
        assert_nothing_is_known(db)
        assert db.cache.metrics().calls == calls + 1


def test_lock_without_reply_to_release_ends_by_itself(db: Database, server: ValkeyServer) -> None:
    with db.cache.coordination.lock("rebalance") as lock:
        server.kill()
    assert not lock.held
