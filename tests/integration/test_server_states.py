"""Servers that temporarily refuse connections or writes: the error class of each state."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from psycopg import pq

from nexgent_db import Database, Settings, Transaction
from nexgent_db.embedded import postgres_bin_dir
from nexgent_db.embedded._binaries import postgres_major
from nexgent_db.errors import (
    DatabaseError,
    DatabaseUnavailable,
    NexgentError,
    ReadOnlyBlock,
    ServerNotReady,
    ServerReadOnly,
    TooManyConnections,
)
from nexgent_db.models import SOL_MINT
from tests.integration.sync.factories import Owner, balance_of, funded_owner
from tests.support.servers.postgres_server import PostgresServer, postgres_server
from tests.support.servers.standby import either_of, promote, standby_of, wait_until_replayed

RESERVES = postgres_major(postgres_bin_dir()) >= 16
"""PostgreSQL 16 brought reserved_connections and their role."""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A migrated server with 6 connections: 1 for superusers, 1 reserved (before 16: for superusers), 4 for all."""
    with postgres_server() as running:
        running.stop()
        reserved = {"superuser_reserved_connections": "1", "reserved_connections": "1"}
        before_16 = {"superuser_reserved_connections": "2"}
        running.configure_next_start(max_connections="6", **(reserved if RESERVES else before_16))
        running.start()
        for statement in (
            "CREATE ROLE alice LOGIN CONNECTION LIMIT 1",
            "CREATE ROLE bob LOGIN",
            *(["CREATE ROLE carol LOGIN IN ROLE pg_use_reserved_connections"] if RESERVES else []),
            "CREATE DATABASE narrow CONNECTION LIMIT 1",
            "CREATE DATABASE closed ALLOW_CONNECTIONS false",
        ):
            run(running.url, statement)
        yield running


def run(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


def to(server: PostgresServer, role: str, database: str = "postgres") -> str:
    return server.url.replace("postgres@/postgres", f"{role}@/{database}")


def opening(url: str) -> NexgentError:
    """The error of opening a database there: on one line, with the driver's as its cause."""
    with pytest.raises(NexgentError) as refused, Database(Settings.from_url(url, {})):
        pass
    assert len(str(refused.value).splitlines()) == 1
    assert isinstance(refused.value.__cause__, psycopg.Error)
    return refused.value


def assert_opens(url: str) -> None:
    with Database(Settings.from_url(url, {})) as database:
        assert database.health().server_version is not None


# --- No connection left ---------------------------------------------------------------------------


@contextmanager
def sessions(server: PostgresServer, *roles: str, database: str = "postgres") -> Iterator[None]:
    """Sessions of these roles; those of earlier tests have ended."""
    with ExitStack() as stack:
        watcher = stack.enter_context(psycopg.connect(server.url, autocommit=True))
        others = (
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        while watcher.execute(others.encode()).fetchone() != (0,):
            pass
        for role in roles:
            stack.enter_context(psycopg.connect(to(server, role, database)))
        yield


@pytest.mark.parametrize(
    ("open_roles", "role", "database", "limit"),
    [
        (["alice"], "alice", "postgres", "the role's CONNECTION LIMIT"),
        (["bob"], "bob", "narrow", "the database's CONNECTION LIMIT"),
        (["bob"] * 3, "bob", "postgres", "max_connections, less the reserved slots,"),
        (["bob"] * 3 + ["carol"], "carol", "postgres", "max_connections, less the reserved slots,"),
        (["bob"] * 3 + ["postgres"] * 2, "postgres", "postgres", "max_connections"),
    ],
    ids=["role", "database", "reserved", "superusers", "server"],
)
def test_full_server_error_names_limit_and_recovers(
    server: PostgresServer, open_roles: list[str], role: str, database: str, limit: str
) -> None:
    if role == "carol" and not RESERVES:
        pytest.skip("reserved_connections came with PostgreSQL 16")
    with sessions(server, *open_roles, database=database):
        error = opening(to(server, role, database))
    assert type(error) is TooManyConnections
    assert str(error).endswith(f"; {limit} is reached: lower NEXGENT_DB_POOL_MAX_SIZE or raise it")
    with sessions(server):
        assert_opens(to(server, role, database))


def test_database_that_allows_no_connections_is_unavailable(server: PostgresServer) -> None:
    error = opening(to(server, "bob", "closed"))
    assert type(error) is DatabaseUnavailable
    assert str(error).endswith('database "closed" is not currently accepting connections')


# --- Not ready ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def primary() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


def assert_not_ready(server: PostgresServer, said: str) -> None:
    """A starting server reports that first, whatever follows."""
    deadline = time.monotonic() + 30
    while True:
        error = opening(server.url)
        assert type(error) is ServerNotReady
        if f"FATAL: the database system is {said}" in str(error):
            return
        assert "is starting up" in str(error), error
        assert time.monotonic() < deadline, error


def test_starting_server_is_not_ready_and_then_accepts(primary: PostgresServer) -> None:
    with standby_of(primary, start=False) as server:
        go_on = server.directory / "go_on"
        wait = f"while [ ! -e {go_on} ]; do sleep 0.05; done; exit 1"
        server.configure_next_start(restore_command=wait)
        server.start_refusing()
        try:
            assert_not_ready(server, "starting up")
        finally:
            go_on.touch()
        server.wait_for(pq.Ping.OK)
        assert_opens(server.url)


def test_standby_without_hot_standby_is_not_ready(primary: PostgresServer) -> None:
    with standby_of(primary, start=False) as standby:
        standby.configure_next_start(hot_standby="off")
        standby.start_refusing()
        assert_not_ready(standby, "not accepting connections DETAIL: Hot standby mode is disabled.")
        with_one_that_is_gone = standby.url.replace("host=", "host=/nowhere,").replace("port=5432", "port=5432,5432")
        assert type(opening(with_one_that_is_gone)) is ServerNotReady


def test_recovering_server_is_not_ready_and_then_accepts(primary: PostgresServer) -> None:
    with psycopg.connect(primary.url) as stopped, psycopg.connect(primary.url) as killed:
        os.kill(stopped.info.backend_pid, signal.SIGSTOP)  # the postmaster waits five seconds for it
        os.kill(killed.info.backend_pid, signal.SIGKILL)
        primary.wait_for(pq.Ping.REJECT)
        assert_not_ready(primary, "in recovery mode")
        primary.wait_for(pq.Ping.OK)
    assert_opens(primary.url)


def test_stopping_server_is_not_ready_and_accepts_after_restart(primary: PostgresServer) -> None:
    with psycopg.connect(primary.url):
        primary.begin_stopping()
        assert_not_ready(primary, "shutting down")
    primary.stop()
    primary.start()
    assert_opens(primary.url)


@pytest.mark.parametrize("target", ["read-only", "standby"])
def test_server_with_other_target_session_attrs_is_not_ready(primary: PostgresServer, target: str) -> None:
    assert type(opening(either_of(primary, target=target))) is ServerNotReady


# --- Read-only ------------------------------------------------------------------------------------


@pytest.fixture
def writable(primary: PostgresServer) -> Iterator[Database]:
    with Database(Settings.from_url(primary.url, {})) as database:
        yield database


def read_balance(block: Transaction, owner: Owner) -> Decimal | None:
    found = block.balances.find_by_wallet_and_token(owner.wallet_address, SOL_MINT)
    return None if found is None else found.balance


def refused_write(call: Any, *arguments: Any) -> DatabaseError:
    with pytest.raises(DatabaseError) as refused:
        call(*arguments)
    assert refused.value.sqlstate == "25006"
    assert len(str(refused.value).splitlines()) == 1
    return refused.value


def test_read_only_server_refuses_writes_and_serves_reads(primary: PostgresServer, writable: Database) -> None:
    owner = funded_owner(writable)
    primary.set_read_only(True)
    try:
        for call, argument in ((writable.users.create, "a@example.org"), (writable.trades.deposit, owner.deposit("1"))):
            error = refused_write(call, argument)
            assert type(error) is ServerReadOnly
            assert str(error).endswith("; the server is a standby, or default_transaction_read_only is on")
        with pytest.raises(ServerReadOnly), writable.transaction() as tx:
            tx.trades.deposit(owner.deposit("1"))
        assert balance_of(writable, owner) == 100
    finally:
        primary.set_read_only(False)
    writable.trades.deposit(owner.deposit("1"))
    assert balance_of(writable, owner) == 101


def test_standby_refuses_trades_until_it_is_promoted(primary: PostgresServer, writable: Database) -> None:
    owner = funded_owner(writable)
    with standby_of(primary) as standby:
        wait_until_replayed(primary, standby)
        assert type(opening(either_of(standby, target="read-write"))) is ServerNotReady
        with Database(Settings.from_url(standby.url, {})) as database:
            order = owner.deposit("1")
            assert type(refused_write(database.trades.deposit, order)) is ServerReadOnly
            assert balance_of(database, owner) == 100
            promote(standby)
            database.trades.deposit(order)
            assert balance_of(database, owner) == 101


@pytest.mark.parametrize("server_read_only", [False, True])
def test_write_in_read_only_transaction_is_callers_error(
    primary: PostgresServer, writable: Database, server_read_only: bool
) -> None:
    owner = funded_owner(writable)
    primary.set_read_only(server_read_only)
    try:
        with pytest.raises(ReadOnlyBlock), writable.transaction(read_only=True) as tx:
            assert read_balance(tx, owner) == 100
            error = refused_write(tx.trades.deposit, owner.deposit("1"))
            assert type(error) is ReadOnlyBlock
            assert str(error).endswith("; the transaction was opened with read_only=True, or through db.replica")
            raise error
    finally:
        primary.set_read_only(False)


def test_connection_after_read_only_transaction_detects_server_state(
    primary: PostgresServer, writable: Database
) -> None:
    owner = funded_owner(writable)
    with writable.transaction(read_only=True) as tx:
        assert read_balance(tx, owner) == 100
    primary.set_read_only(True)
    try:
        assert type(refused_write(writable.trades.deposit, owner.deposit("1"))) is ServerReadOnly
        with writable.transaction() as tx:
            assert type(refused_write(tx.trades.deposit, owner.deposit("1"))) is ServerReadOnly
    finally:
        primary.set_read_only(False)
