# Generated from tests/integration/aio/test_pool.py by `make sync`: do not edit.
"""The pool: no slot is lost, callers are served in order, and a known outage fails calls at once."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from uuid import uuid4

import psycopg
import pytest

from nexgent_db import Database, Settings
from nexgent_db.errors import BlockMisuse, DatabaseUnavailable, PoolExhausted
from nexgent_db.sync.pool import ConnectionPool, PoolStats
from tests.support.faults.concurrently import concurrently


def settings(database_url: str, **changes: float) -> Settings:
    return replace(Settings.from_url(database_url, {}), **changes)  # type: ignore[arg-type]


@contextmanager
def open_pool(database_url: str, **changes: float) -> Iterator[ConnectionPool]:
    pool = ConnectionPool(settings(database_url, **changes))
    pool.open()
    try:
        yield pool
    finally:
        pool.close()


def test_connections_open_on_demand(database_url: str) -> None:
    with open_pool(database_url, pool_max_size=3) as pool:
        assert pool.stats() == PoolStats(size=1, available=1, waiting=0)
        leases = [pool.lease() for _ in range(3)]
        for lease in leases:
            lease.acquire()
        assert pool.stats() == PoolStats(size=3, available=0, waiting=0)
        for lease in leases:
            lease.release()
            lease.release()  # again: nothing
        assert pool.stats() == PoolStats(size=3, available=3, waiting=0)


def test_slot_of_forgotten_lease_is_freed(database_url: str) -> None:
    with open_pool(database_url, pool_max_size=1) as pool:
        forgotten = pool.lease()
        connection = forgotten.acquire()
        del forgotten
        gc.collect()
        lease = pool.lease()
        assert lease.acquire() is not connection
        assert connection.closed
        lease.release()


def test_waiting_caller_frees_forgotten_lease(database_url: str) -> None:
    with open_pool(database_url, pool_max_size=1) as pool:
        held = [pool.lease()]
        held[0].acquire()

        def forget() -> None:
            time.sleep(0.1)
            held.clear()
            gc.collect()

        def wait() -> None:
            lease = pool.lease()
            lease.acquire()
            lease.release()

        started = time.monotonic()
        concurrently([wait, forget])
        assert time.monotonic() - started < 2


def test_callers_are_served_in_order(database_url: str) -> None:
    with open_pool(database_url, pool_max_size=1) as pool:
        first = pool.lease()
        first.acquire()
        served: list[int] = []

        def caller(number: int) -> None:
            while pool.stats().waiting < number:  # its place in the queue
                time.sleep(0.001)
            lease = pool.lease()
            lease.acquire()
            served.append(number)
            lease.release()

        def release() -> None:
            while pool.stats().waiting < 5:  # until all have queued
                time.sleep(0.001)
            first.release()

        concurrently([*(lambda number=number: caller(number) for number in range(5)), release])
        assert served == [0, 1, 2, 3, 4]


def test_full_pool_names_its_size_and_time(database_url: str) -> None:
    with open_pool(database_url, pool_max_size=1, pool_timeout_s=0.1) as pool:
        held = pool.lease()
        held.acquire()
        with pytest.raises(PoolExhausted, match=r"none of the pool's 1 connections became free within 0.1 s"):
            pool.lease().acquire()
        held.release()


def test_timed_out_callers_are_not_counted_as_waiting(database_url: str) -> None:
    with open_pool(database_url, pool_max_size=1, pool_timeout_s=0.05, pool_max_waiting=2) as pool:
        held = pool.lease()
        held.acquire()
        for _ in range(10):
            with pytest.raises(PoolExhausted, match="became free"):
                pool.lease().acquire()
            assert pool.stats().waiting == 0
        held.release()


def test_caller_beyond_waiting_limit_is_refused_at_once(database_url: str) -> None:
    with open_pool(database_url, pool_max_size=1, pool_timeout_s=1.0, pool_max_waiting=2) as pool:
        held = pool.lease()
        held.acquire()

        def acquire() -> None:
            pool.lease().acquire()

        started = time.monotonic()
        errors = concurrently([acquire] * 3, return_exceptions=True)
        assert time.monotonic() - started < 3
        assert sorted("callers wait for" in str(error) for error in errors) == [False, False, True]
        held.release()


def test_known_outage_is_raised_at_once_with_cause(fresh_database_url: str) -> None:
    name = psycopg.conninfo.conninfo_to_dict(fresh_database_url)["dbname"]
    maintenance = psycopg.conninfo.make_conninfo(fresh_database_url, dbname="postgres")
    with Database(settings(fresh_database_url, pool_timeout_s=5.0)) as db:
        with psycopg.connect(maintenance, autocommit=True) as connection:
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [name]
            )
            started = time.monotonic()
            for _ in range(200):
                with pytest.raises(DatabaseUnavailable, match="not currently accepting connections") as refused:
                    db.users.find_by_id(uuid4())
                assert not isinstance(refused.value, PoolExhausted)
            assert time.monotonic() - started < 5
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
            recovered = time.monotonic()
        while not db.health().ok:
            assert time.monotonic() - recovered < 1
            time.sleep(0.01)


def test_closed_pool_refuses_callers_and_closes_used_connections(database_url: str) -> None:
    pool = ConnectionPool(settings(database_url, pool_max_size=1))
    pool.open()
    lease = pool.lease()
    connection = lease.acquire()

    def close() -> None:
        pool.close()

    def release() -> None:
        time.sleep(0.05)
        with pytest.raises(BlockMisuse, match="closed"):
            pool.lease().acquire()
        lease.release()

    concurrently([close, release])
    assert connection.closed
    assert pool.stats().size == 0


def test_failed_open_leaves_no_connection(fresh_database_url: str) -> None:
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        (name,) = connection.execute("SELECT quote_ident(current_database())").fetchone() or ("",)
        connection.execute(f"CREATE ROLE few LOGIN CONNECTION LIMIT 1; GRANT ALL ON DATABASE {name} TO few")
        try:
            url = psycopg.conninfo.make_conninfo(fresh_database_url, user="few")
            with pytest.raises(DatabaseUnavailable, match="too many connections"):
                ConnectionPool(settings(url, pool_min_size=2)).open()
            deadline = time.monotonic() + 10
            while connection.execute("SELECT 1 FROM pg_stat_activity WHERE usename = 'few'").fetchone() is not None:
                assert time.monotonic() < deadline
        finally:
            connection.execute("DROP OWNED BY few; DROP ROLE few")
