"""The tools that put a real server into a state: a standby, its promotion, a full disk, a server that refuses."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import pq

from tests.support.faults.small_disk import MountRefused, SmallDisk, small_disk, tablespace
from tests.support.servers.postgres_server import PostgresServer, postgres_server
from tests.support.servers.standby import demote, either_of, promote, standby_of, wait_until_replayed

MEBIBYTE = 1 << 20


@pytest.fixture
def primary() -> Iterator[PostgresServer]:
    with postgres_server(migrated=False) as running:
        with psycopg.connect(running.url, autocommit=True) as connection:
            connection.execute("CREATE TABLE numbers (n integer PRIMARY KEY)")
        yield running


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    try:
        with small_disk(8 * MEBIBYTE) as mounted:
            yield mounted
    except MountRefused as refused:
        pytest.skip(f"a file system cannot be mounted here: {refused}")


def write(url: str, number: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO numbers VALUES (%s)", [number])


def numbers(url: str) -> list[int]:
    with psycopg.connect(url) as connection:
        return [n for (n,) in connection.execute("SELECT n FROM numbers ORDER BY n").fetchall()]


def test_standby_follows_and_is_promoted_and_old_primary_follows_it(primary: PostgresServer) -> None:
    with standby_of(primary) as standby:
        write(primary.url, 1)
        wait_until_replayed(primary, standby)
        assert numbers(standby.url) == [1]
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            write(standby.url, 2)
        primary.stop()
        promote(standby)
        write(standby.url, 2)
        demote(primary, standby)
        primary.start()
        write(either_of(primary, standby, target="read-write"), 3)
        wait_until_replayed(standby, primary)
        assert numbers(primary.url) == [1, 2, 3]
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            write(primary.url, 4)


def test_read_only_server_refuses_writes_until_it_is_ended(primary: PostgresServer) -> None:
    primary.set_read_only(True)
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        write(primary.url, 1)
    primary.set_read_only(False)
    write(primary.url, 1)


def test_setting_of_next_start_applies_after_it(primary: PostgresServer) -> None:
    primary.stop()
    primary.configure_next_start(max_connections="7")
    primary.start()
    with psycopg.connect(primary.url) as connection:
        assert connection.execute("SHOW max_connections").fetchone() == ("7",)


def test_server_that_stops_refuses_until_its_last_session_ends(primary: PostgresServer) -> None:
    with psycopg.connect(primary.url) as connection:
        primary.begin_stopping()
        assert primary.ping() is pq.Ping.REJECT
        assert connection.execute("SELECT 1").fetchone() == (1,)
    primary.wait_for(pq.Ping.NO_RESPONSE)
    primary.stop()
    primary.start()
    assert numbers(primary.url) == []


def test_server_that_may_not_accept_starts_refusing(primary: PostgresServer) -> None:
    with standby_of(primary, start=False) as standby:
        standby.configure_next_start(hot_standby="off")
        standby.start_refusing()
        with pytest.raises(psycopg.OperationalError, match="the database system is "):
            psycopg.connect(standby.url)
        standby.stop()


def test_full_disk_refuses_writes_until_freed(primary: PostgresServer, disk: SmallDisk) -> None:
    with tablespace(primary.url, disk, ["numbers"]), psycopg.connect(primary.url, autocommit=True) as connection:
        disk.fill()
        assert disk.free_bytes == 0
        many = "INSERT INTO numbers SELECT generate_series(1, 10000)"
        with pytest.raises(psycopg.errors.DiskFull):
            connection.execute(many)
        disk.empty()
        connection.execute(many)
    assert len(numbers(primary.url)) == 10_000


def test_server_runs_on_own_disk() -> None:
    try:
        with small_disk(256 * MEBIBYTE) as disk, postgres_server(disk.path, migrated=False) as server:
            disk.fill(leave_bytes=16 * MEBIBYTE)
            assert 0 < disk.free_bytes <= 16 * MEBIBYTE
            assert server.ping() is pq.Ping.OK
    except MountRefused as refused:
        pytest.skip(f"a file system cannot be mounted here: {refused}")
