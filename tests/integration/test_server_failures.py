"""Servers without resources or with damaged files: which writes took effect, and what still works."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from nexgent_db import Database, Settings
from nexgent_db.errors import (
    ConnectionLost,
    DatabaseError,
    DatabaseUnavailable,
    DiskFull,
    NexgentError,
    ServerDamaged,
    ServerOutOfResources,
    TransactionAborted,
    UniqueViolation,
    translate,
)
from nexgent_db.models import DepositOrder
from tests.integration.sync.factories import Owner, balance_of, new_owner
from tests.support.faults.small_disk import MountRefused, SmallDisk, small_disk, tablespace
from tests.support.servers.postgres_server import PostgresServer, postgres_server

MEBIBYTE = 1 << 20
PAGE = 8192


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with postgres_server(migrated=False) as running:
        yield running


@contextmanager
def disk_of(size_bytes: int) -> Iterator[SmallDisk]:
    try:
        with small_disk(size_bytes) as disk:
            yield disk
    except MountRefused as refused:
        pytest.skip(f"a file system cannot be mounted here: {refused}")


def refusal(connection: psycopg.Connection[Any], statement: str) -> NexgentError:
    """The server's error for a statement, translated."""
    with pytest.raises(psycopg.Error) as refused:
        connection.execute(statement.encode())
    error = translate(refused.value, "things.find")
    assert len(str(error).splitlines()) == 1
    if isinstance(error, DatabaseError):
        assert error.sqlstate == refused.value.sqlstate
    return error


# --- Out of resources -----------------------------------------------------------------------------


def test_full_lock_table_is_out_of_resources_and_session_survives(server: PostgresServer) -> None:
    server.stop()
    server.configure_next_start(max_connections="5", max_locks_per_transaction="10", max_wal_senders="0")
    server.start()
    with psycopg.connect(server.url, autocommit=True) as connection:
        error = refusal(
            connection, "DO $$ BEGIN FOR i IN 1..20000 LOOP PERFORM pg_advisory_xact_lock(i); END LOOP; END $$"
        )
        assert type(error) is ServerOutOfResources
        assert error.sqlstate == "53200"
        assert "max_locks_per_transaction" in str(error)
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_reached_temp_file_limit_is_out_of_resources(server: PostgresServer) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("SET temp_file_limit = 100; SET work_mem = 64")
        error = refusal(connection, "SELECT n FROM generate_series(1, 100000) n ORDER BY n % 7, n OFFSET 99999")
        assert type(error) is ServerOutOfResources
        assert error.sqlstate == "53400"


def one_connection(server: PostgresServer) -> Database:
    return Database(replace(Settings.from_url(server.url, {}), pool_max_size=1))


def deposit_until_refused(database: Database, owner: Owner) -> tuple[int, DepositOrder]:
    """Deposit 1 SOL again and again until the disk is full; returns the number of deposits, and the failed order."""
    orders: list[DepositOrder] = []
    with pytest.raises(DiskFull, match="No space left on device"):
        while len(orders) < 2000:
            orders.append(owner.deposit("1"))
            database.trades.deposit(orders[-1])
    return len(orders) - 1, orders[-1]


def test_full_disk_refuses_trade_until_space_is_freed() -> None:
    with (
        disk_of(4 * MEBIBYTE) as disk,
        postgres_server() as server,
        tablespace(server.url, disk, ["agent_transactions", "trade_requests"]),
        one_connection(server) as database,
    ):
        owner = new_owner(database)
        disk.fill()
        session = backend_of(database)
        made, order = deposit_until_refused(database, owner)
        assert balance_of(database, owner) == made
        with pytest.raises(DiskFull), database.transaction() as tx:
            while True:
                tx.trades.deposit(owner.deposit("1"))
        assert balance_of(database, owner) == made
        assert backend_of(database) == session, "reads go on in the same session"
        disk.empty()
        database.trades.deposit(order)
        assert balance_of(database, owner) == made + 1


def backend_of(database: Database) -> int:
    with database.transaction() as tx:
        return tx._connection.info.backend_pid


def test_disk_that_is_full_for_wal_crashes_server_and_outcome_is_unknown() -> None:
    with disk_of(256 * MEBIBYTE) as disk, postgres_server(disk.path, migrated=False) as server:
        disk.fill(leave_bytes=4 * MEBIBYTE)
        with psycopg.connect(server.url, autocommit=True) as connection:
            wal = "SELECT count(pg_logical_emit_message(true, 'x', repeat('x', 1000000))) FROM generate_series(1, 100)"
            error = refusal(connection, wal)
        assert type(error) is ConnectionLost, "the server crashed: what it had written is unknown"
        assert error.sqlstate == "53100"
        server.wait_for_end()  # recovery needs space as well
        with pytest.raises(DatabaseUnavailable) as refused, one_connection(server):
            pass
        assert type(refused.value) is DatabaseUnavailable
        disk.empty()
        server.stop()
        server.start()
        with one_connection(server) as database:
            assert database.health().server_version is not None


# --- Damaged --------------------------------------------------------------------------------------


@pytest.fixture
def table(server: PostgresServer) -> Path:
    """The file of the table ``numbers`` with an index, of a server that is stopped."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE numbers (n integer PRIMARY KEY)")
        connection.execute("INSERT INTO numbers SELECT generate_series(1, 1000)")
    path = file_of(server, "numbers")
    server.stop()
    return path


def file_of(server: PostgresServer, relation: str) -> Path:
    with psycopg.connect(server.url) as connection:
        row = connection.execute("SELECT pg_relation_filepath(%s::regclass)", [relation]).fetchone()
    assert row is not None
    return server.data / str(row[0])


def overwrite(path: Path, page: bytes) -> None:
    with path.open("r+b") as file:
        file.write(page)


def assert_damaged(server: PostgresServer, sqlstate: str, query: str = "SELECT sum(n) FROM numbers") -> None:
    server.start()
    with psycopg.connect(server.url, autocommit=True) as connection:
        error = refusal(connection, query)
        assert type(error) is ServerDamaged
        assert error.sqlstate == sqlstate
        assert str(error).endswith("; look at the server's log and disk")
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_corrupt_page_is_damage(server: PostgresServer, table: Path) -> None:
    overwrite(table, b"\xaa" * PAGE)
    assert_damaged(server, "XX001")


def test_corrupt_index_is_damage(server: PostgresServer, table: Path) -> None:
    server.start()
    index = file_of(server, "numbers_pkey")
    server.stop()
    overwrite(index, b"\0" * PAGE)
    assert_damaged(server, "XX002", "SET enable_seqscan = off; SELECT n FROM numbers WHERE n = 1")


def test_missing_file_is_damage(server: PostgresServer, table: Path) -> None:
    table.unlink()
    assert_damaged(server, "58P01")


def test_unreadable_server_file_is_damage_and_not_missing_right(server: PostgresServer, table: Path) -> None:
    table.chmod(0)
    assert_damaged(server, "42501")


# --- Nothing of that kind -------------------------------------------------------------------------


def test_message_refused_by_server_keeps_connection(server: PostgresServer) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        result = connection.pgconn.exec_params(b"SELECT $1::int + $2::int", [b"1"])
        error = translate(psycopg.errors.error_from_result(result))
        assert type(error) is DatabaseError
        assert error.sqlstate == "08P01"
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_statement_after_error_in_pipeline_is_transaction_aborted(database_url: str) -> None:
    with Database(database_url) as database:
        user = database.users.create(email := f"{uuid4()}@example.org")
        with pytest.raises(TransactionAborted), database.transaction(pipeline=True) as tx:
            with pytest.raises(UniqueViolation):
                tx.users.create(email)
            tx.users.find_by_id(user.id)
