# Generated from tests/integration/aio/test_pool_outages.py by `make sync`: do not edit.
"""A known outage fails calls at once with the connection's error, and ends within a second; a full pool says so."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from nexgent_db import Database, Settings
from nexgent_db.errors import DatabaseUnavailable, PoolExhausted, TooManyConnections
from nexgent_db.sync.pool import ALIVE_S, ConnectionPool
from tests.support.faults.concurrently import concurrently
from tests.support.faults.faulty_proxy import Fault, faulty_proxy
from tests.support.servers.postgres_server import postgres_server

AT_ONCE_S = 1.0


def settings(url: str, **changes: float) -> Settings:
    return replace(Settings.from_url(url, {}), **changes)  # type: ignore[arg-type]


def ask(db: Database) -> None:
    db.users.find_by_id(uuid4())


def test_stopped_server_is_refused_at_once_and_used_within_a_second_of_its_return() -> None:
    with postgres_server() as server, Database(settings(server.url, pool_max_size=3)) as db:
        concurrently([lambda: ask(db)] * 3)
        server.stop()
        with pytest.raises(DatabaseUnavailable):
            ask(db)
        down_until = time.monotonic() + 3
        while time.monotonic() < down_until:  # long enough for a growing pause between attempts to show
            started = time.monotonic()
            errors = concurrently([lambda: ask(db)] * 20, return_exceptions=True)
            assert time.monotonic() - started < AT_ONCE_S
            assert {type(error) for error in errors} == {DatabaseUnavailable}
            assert all("connection to server" in str(error) for error in errors)
            assert all(isinstance(error.__cause__, psycopg.OperationalError) for error in errors if error)
        assert db.health().state == "gone"
        server.start()
        back_at = time.monotonic()
        while not db.health().ok:
            assert time.monotonic() - back_at < 1
            time.sleep(0.01)
        ask(db)


def test_unreachable_server_is_unavailable_although_a_connection_is_held(database_url: str) -> None:
    parts = conninfo_to_dict(database_url)
    host, port = str(parts.get("host", "")), str(parts.get("port", 5432))
    if not host.startswith("/"):
        pytest.skip("the server is reached by TCP")
    with faulty_proxy(Path(host, f".s.PGSQL.{port}")) as proxy:
        proxied = make_conninfo(database_url, host="127.0.0.1", port=proxy.url.rpartition(":")[2])
        pool = ConnectionPool(settings(proxied, pool_max_size=2, pool_timeout_s=30.0, connect_timeout_s=2))
        pool.open()
        held = pool.lease()
        held.acquire()
        proxy.fault = Fault(swallow=True)
        with pytest.raises(DatabaseUnavailable, match="timeout") as refused:
            pool.lease().acquire()
        assert type(refused.value) is DatabaseUnavailable
        started = time.monotonic()
        with pytest.raises(DatabaseUnavailable, match="timeout") as refused:
            concurrently([lambda: pool.lease().acquire()] * 2)
        assert type(refused.value) is DatabaseUnavailable
        assert time.monotonic() - started < 3
        proxy.fault = Fault()
        back_at = time.monotonic()
        while True:
            lease = pool.lease()
            try:
                lease.acquire()
                break
            except DatabaseUnavailable:
                assert time.monotonic() - back_at < 1
        lease.release()
        held.release()
        pool.close()


def test_caller_waits_for_connections_in_use_while_the_server_serves_them(fresh_database_url: str) -> None:
    """One attempt to connect that fails is no outage: a connection that is returned every 0.1 s shows it."""
    name = conninfo_to_dict(fresh_database_url)["dbname"]
    pool = ConnectionPool(settings(fresh_database_url, pool_max_size=2))
    pool.open()
    busy = pool.lease()
    busy.acquire()
    with psycopg.connect(make_conninfo(fresh_database_url, dbname="postgres"), autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        busy.release()
        busy.acquire()

        def release() -> None:
            time.sleep(ALIVE_S / 2)
            busy.release()

        def wait() -> None:
            lease = pool.lease()
            lease.acquire()
            lease.release()

        concurrently([wait, release])
        busy.acquire()
        time.sleep(1.1 * ALIVE_S)
        with pytest.raises(DatabaseUnavailable, match="not currently accepting connections") as refused:
            wait()
        assert not isinstance(refused.value, PoolExhausted)
        busy.release()
    pool.close()


def test_full_server_lets_callers_wait_for_the_pool(fresh_database_url: str) -> None:
    name = conninfo_to_dict(fresh_database_url)["dbname"]
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        connection.execute("CREATE ROLE sole LOGIN CONNECTION LIMIT 1")
        connection.execute(f'GRANT CONNECT ON DATABASE "{name}" TO sole')
        try:
            url = make_conninfo(fresh_database_url, user="sole")
            pool = ConnectionPool(settings(url, pool_max_size=2, pool_timeout_s=2 * ALIVE_S))
            pool.open()
            held = pool.lease()
            held.acquire()
            time.sleep(1.1 * ALIVE_S)
            with pytest.raises(
                PoolExhausted, match="became free within 2.0 s; the last attempt .* too many connections"
            ):
                pool.lease().acquire()
            held.release()
            held.acquire()
            held.release()
            pool.close()
            assert issubclass(TooManyConnections, DatabaseUnavailable)
        finally:
            connection.execute("DROP OWNED BY sole; DROP ROLE sole")
