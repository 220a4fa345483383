# Generated from tests/integration/aio/test_connection.py by `make sync`: do not edit.
"""States of a pooled connection, and the pool's decision on release in each state."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import psycopg
import pytest

from nexgent_db import Database, Settings
from nexgent_db.errors import ConnectionLost, ServerReadOnly, StatementTimeout
from nexgent_db.sync.connection import ConnectionState, PooledConnection


@contextmanager
def one_connection(database_url: str, **changes: float) -> Iterator[Database]:
    """A database whose pool has one connection."""
    settings = replace(Settings.from_url(database_url, {}), pool_max_size=1, **changes)  # type: ignore[arg-type]
    with Database(settings) as db:
        yield db


def backend_after(db: Database) -> int:
    """The server process behind the pool's connection now."""
    lease = db._lease()
    try:
        return lease.acquire().info.backend_pid
    finally:
        lease.release()


def test_each_state_is_read_from_driver(database_url: str) -> None:
    with one_connection(database_url) as db:
        lease = db._lease()
        connection = lease.acquire()
        assert connection.state is ConnectionState.ACQUIRED
        with connection.transaction():
            assert connection.state is ConnectionState.IN_TRANSACTION
            with connection.pipeline():
                assert connection.state is ConnectionState.IN_PIPELINE
            assert connection.state is ConnectionState.IN_TRANSACTION
        connection.pgconn.send_query(b"SELECT 1")
        assert connection.state is ConnectionState.IN_USE
        while connection.pgconn.get_result() is not None:
            pass
        assert connection.state is ConnectionState.ACQUIRED
        lease.release()
        assert connection.state is ConnectionState.RELEASED
    assert connection.state is ConnectionState.DEAD


def open_transaction(connection: PooledConnection) -> None:
    connection.execute("BEGIN")


def failed_transaction(connection: PooledConnection) -> None:
    connection.execute("BEGIN")
    with pytest.raises(psycopg.Error):
        connection.execute("SELECT 1/0")


def pending_result(connection: PooledConnection) -> None:
    connection.pgconn.send_query(b"SELECT 1")


def pipeline_mode(connection: PooledConnection) -> None:
    connection.pgconn.enter_pipeline_mode()


def another_time_zone(connection: PooledConnection) -> None:
    connection.execute("SET TimeZone = 'Asia/Tokyo'")


def another_date_style(connection: PooledConnection) -> None:
    connection.execute("SET DateStyle = 'German'")


def read_only_by_default(connection: PooledConnection) -> None:
    connection.execute("SET default_transaction_read_only = on")


def closed(connection: PooledConnection) -> None:
    connection.close()


LEFT_BEHIND = [
    open_transaction,
    failed_transaction,
    pending_result,
    pipeline_mode,
    another_time_zone,
    another_date_style,
    read_only_by_default,
    closed,
]


@pytest.mark.parametrize("leave", LEFT_BEHIND, ids=lambda leave: leave.__name__)
def test_release_of_changed_connection_closes_it(database_url: str, leave: object) -> None:
    assert callable(leave)
    with one_connection(database_url) as db:
        lease = db._lease()
        connection = lease.acquire()
        backend = connection.info.backend_pid
        leave(connection)
        lease.release()
        assert connection.state is ConnectionState.DEAD
        assert backend_after(db) != backend
        assert db.health().state == "ok"


def test_release_of_unchanged_connection_keeps_it(database_url: str) -> None:
    with one_connection(database_url) as db:
        backend = backend_after(db)
        with db.transaction(isolation="serializable", read_only=True, statement_timeout_s=60) as tx:
            assert tx._connection.limit_s == 62
        assert backend_after(db) == backend
        lease = db._lease()
        connection = lease.acquire()
        assert (connection.isolation_level, connection.read_only, connection.limit_s) == (None, None, 32)
        lease.release()


def test_wait_for_silent_server_ends_with_limit(database_url: str) -> None:
    with one_connection(database_url, statement_timeout_s=0.3) as db:
        with pytest.raises(StatementTimeout), db.transaction() as tx:
            assert tx._connection.limit_s == pytest.approx(2.3)
            tx._connection.execute("SELECT pg_sleep(10)")
        started = time.monotonic()
        with db.transaction(statement_timeout_s=20) as tx:
            tx._connection.limit_s = 0.2
            with pytest.raises(psycopg.OperationalError, match="did not answer within 0.2 s"):
                tx._connection.execute("SELECT pg_sleep(10)")
        assert time.monotonic() - started < 2
        assert db.health().state == "ok"


def test_pipeline_has_limit_of_each_of_its_statements(database_url: str) -> None:
    with one_connection(database_url) as db:
        with db.transaction(pipeline=True) as tx:
            tx._connection.limit_s = 1.0
            for _ in range(6):  # longer than the limit in all, each statement shorter
                tx._connection.execute("SELECT pg_sleep(0.3)")
        with pytest.raises(ConnectionLost, match="did not answer within"), db.transaction(pipeline=True) as tx:
            tx._connection.limit_s = 0.3
            tx._connection.execute("SELECT pg_sleep(5)")
        assert db.health().state == "ok"


def test_connection_without_statement_timeout_has_no_limit(database_url: str) -> None:
    url = psycopg.conninfo.make_conninfo(database_url, options="-cstatement_timeout=0")
    with one_connection(url) as db:
        lease = db._lease()
        assert lease.acquire().limit_s is None
        lease.release()


def test_server_that_accepts_no_writes_loses_its_connection(database_url: str) -> None:
    url = psycopg.conninfo.make_conninfo(database_url, options="-cdefault_transaction_read_only=on")
    with one_connection(url) as db:
        assert db.health().state == "read only"
        backend = backend_after(db)
        assert db.users.find_by_email("nobody@example.org") is None
        assert backend_after(db) == backend
        with pytest.raises(ServerReadOnly):
            db.users.create("refused@example.org")
        assert backend_after(db) != backend
