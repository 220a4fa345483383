# Generated from tests/integration/aio/test_cache_helpers.py by `make sync`: do not edit.
"""Locks, de-duplication and remembered outcomes: what they promise, and that without Redis nothing waits for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from nexgent_db import Database
from nexgent_db.cache_keys import EXECUTION_MS, IDEMPOTENCY_MS, LOCK_MS, SIGNAL_CREATE_MS
from nexgent_db.errors import InvalidInput, LockLost, LockNotAcquired
from nexgent_db.settings import Settings
from tests.support.valkey_server import ValkeyServer


@pytest.fixture
def db(database_url: str, server: ValkeyServer) -> Iterator[Database]:
    settings = replace(Settings.from_url(database_url), redis_url=server.url, cache_prefix=f"{uuid4()}:")
    with Database(settings) as database:
        yield database


def lifetime_ms(db: Database, key: str) -> int:
    link: Any = db.cache._link
    return int(link.call("PTTL", link.keys.prefix + key))


# --- Locks --------------------------------------------------------------------------------------


def test_a_lock_has_one_holder_at_a_time(db: Database) -> None:
    with db.cache.lock("rebalance") as lock:
        assert lock.held
        assert 0 < lifetime_ms(db, "lock:rebalance") <= LOCK_MS
        with pytest.raises(LockNotAcquired, match="somebody else holds it"), db.cache.lock("rebalance"):
            pytest.fail("two hold it")
        with db.cache.lock("another"):
            pass
    assert not lock.held
    with db.cache.lock("rebalance"):
        pass


def test_a_lock_that_was_extended_lasts_longer(db: Database) -> None:
    with db.cache.lock("rebalance", lease_s=1) as lock:
        lock.extend(30)
        assert lifetime_ms(db, "lock:rebalance") > 20_000
        lock.extend()
        assert lifetime_ms(db, "lock:rebalance") <= 1000


def test_a_lock_of_another_holder_is_neither_extended_nor_released(db: Database) -> None:
    link: Any = db.cache._link
    key = link.keys.lock("rebalance")
    with pytest.raises(LockLost, match="rebalance"), db.cache.lock("rebalance") as lock:
        link.call("SET", key, "somebody else", "PX", 60_000)  # as after a pause longer than the lease
        with pytest.raises(LockLost):
            lock.extend()
        assert not lock.held
    assert link.call("GET", key) == b"somebody else"
    assert lifetime_ms(db, "lock:rebalance") > 50_000


def test_a_block_that_raised_keeps_its_error_when_the_lock_was_lost(db: Database) -> None:
    link: Any = db.cache._link
    with pytest.raises(ZeroDivisionError), db.cache.lock("rebalance"):
        link.call("UNLINK", link.keys.lock("rebalance"))
        raise ZeroDivisionError


def test_a_lock_is_lost_with_the_redis_that_held_it(db: Database, server: ValkeyServer) -> None:
    with pytest.raises(LockLost), db.cache.lock("rebalance") as lock:
        server.kill()
        server.start()
        with pytest.raises(LockLost):
            lock.extend()
        assert db.cache._recover()


def test_a_lock_object_is_entered_once(db: Database) -> None:
    lock = db.cache.lock("rebalance")
    with lock:
        pass
    with pytest.raises(LockNotAcquired, match="ask for a new one"), lock:
        pass


@pytest.mark.parametrize("lease_s", [0.0, -1.0, 86_401.0, float("nan")])
def test_a_lease_has_its_limits(db: Database, lease_s: float) -> None:
    with pytest.raises(InvalidInput, match="lease_s"):
        db.cache.lock("rebalance", lease_s=lease_s)


# --- De-duplication and outcomes ----------------------------------------------------------------


def test_an_equal_signal_is_seen_within_a_minute(db: Database) -> None:
    user_id = uuid4()
    assert not db.cache.signal_seen(user_id, "TokenA", "momentum", 3)
    assert db.cache.signal_seen(user_id, "TokenA", "momentum", 3)
    assert not db.cache.signal_seen(user_id, "TokenA", "momentum", 4)
    assert not db.cache.signal_seen(None, "TokenA", "momentum", 3)
    assert 0 < lifetime_ms(db, f"signal_create:{user_id}:TokenA:momentum:3") <= SIGNAL_CREATE_MS


def test_an_executions_status_is_noted_for_a_day(db: Database) -> None:
    agent_id = uuid4()
    assert db.cache.execution(7, agent_id) is None
    db.cache.note_execution(7, agent_id, "PENDING")
    db.cache.note_execution(7, agent_id, "EXECUTED")
    assert db.cache.execution(7, agent_id) == "EXECUTED"
    assert 0 < lifetime_ms(db, f"signal:7:{agent_id}:executions") <= EXECUTION_MS
    with pytest.raises(InvalidInput, match="status"):
        db.cache.note_execution(7, agent_id, "DONE")  # type: ignore[arg-type]


def test_the_first_outcome_of_an_operation_is_remembered(db: Database) -> None:
    assert db.cache.remembered("order-1") is None
    assert db.cache.remember("order-1", "made") == "made"
    assert db.cache.remember("order-1", "refused") == "made"
    assert db.cache.remembered("order-1") == "made"
    assert 0 < lifetime_ms(db, "idempotency:order-1") <= IDEMPOTENCY_MS


def test_a_reset_leaves_the_helpers_alone(db: Database) -> None:
    link: Any = db.cache._link
    db.cache.remember("order-1", "made")
    with db.cache.lock("rebalance"):
        assert link.reset()
    assert db.cache.remembered("order-1") == "made"


def test_half_of_a_surrogate_pair_does_not_put_the_cache_away(db: Database) -> None:
    assert not db.cache.signal_seen(None, "\ud800", "momentum", 3)
    with pytest.raises(LockNotAcquired, match="surrogate"), db.cache.lock("\ud800"):
        pass
    assert db.cache.metrics().state == "closed"


# --- Without Redis --------------------------------------------------------------------------------


def assert_nothing_is_known(db: Database) -> None:
    agent_id = uuid4()
    for _ in range(2):
        assert not db.cache.signal_seen(None, "TokenA", "momentum", 3)
        db.cache.note_execution(7, agent_id, "EXECUTED")
        assert db.cache.execution(7, agent_id) is None
        assert db.cache.remember("order-1", "made") == "made"
        assert db.cache.remember("order-1", "refused") == "refused"
        assert db.cache.remembered("order-1") is None
        with pytest.raises(LockNotAcquired), db.cache.lock("rebalance"):
            pytest.fail("nobody can promise that")


def test_without_redis_nothing_is_seen_and_no_lock_is_given(database_url: str) -> None:
    with Database(replace(Settings.from_url(database_url), redis_url=None)) as db:
        assert_nothing_is_known(db)


def test_a_redis_that_is_gone_is_asked_once(db: Database, server: ValkeyServer) -> None:
    server.kill()
    calls = db.cache.metrics().calls
    assert_nothing_is_known(db)
    assert db.cache.metrics().calls == calls + 1


def test_a_hanging_redis_is_waited_for_once(db: Database, server: ValkeyServer) -> None:
    calls = db.cache.metrics().calls
    with server.hanging():
        assert_nothing_is_known(db)
        assert db.cache.metrics().calls == calls + 1


def test_a_lock_whose_release_nobody_answers_ends_by_itself(db: Database, server: ValkeyServer) -> None:
    with db.cache.lock("rebalance") as lock:
        server.kill()
    assert not lock.held
