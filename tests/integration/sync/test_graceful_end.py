# Generated from tests/integration/aio/test_graceful_end.py by `make sync`: do not edit.
"""Closing relays the outbox for a bounded time: nothing that was committed is lost, and what is left is reported."""

from __future__ import annotations

import logging
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Final

import psycopg
import pytest

from nexgent_db import Database
from nexgent_db.errors import BlockMisuse, InvalidInput
from nexgent_db.migrations import Cells
from nexgent_db.settings import Settings
from tests.integration.sync.factories import Owner, new_owner
from tests.support.faults.concurrently import concurrently
from tests.support.servers.postgres_server import postgres_server
from tests.support.servers.valkey_server import ValkeyServer

MARGIN_S: Final = 2.0
"""What one more attempt of each kind may take on a busy machine; the drains below take 1 s or 20 s."""


@pytest.fixture
def db(fresh_database_url: str, server: ValkeyServer) -> Iterator[Database]:
    """A database of the test's own with a cache that nobody else relays to."""
    database = Database(replace(Settings.from_url(fresh_database_url), redis_url=server.url))
    database.open()
    yield database
    database.close(0)


def waiting(url: str) -> int:
    with psycopg.connect(url) as psql:
        return len(psql.execute("SELECT version FROM cache_outbox").fetchall())


def test_close_drains_the_outbox(db: Database, fresh_database_url: str) -> None:
    owner = new_owner(db)
    for _ in range(5):
        db.trades.deposit(owner.deposit("1"))
    assert waiting(fresh_database_url) > 0
    assert db.close(20) == 0
    assert waiting(fresh_database_url) == 0


def test_close_without_drain_leaves_the_outbox(db: Database, fresh_database_url: str) -> None:
    owner = new_owner(db)
    db.trades.deposit(owner.deposit("1"))
    before = waiting(fresh_database_url)
    assert db.close() is None
    assert waiting(fresh_database_url) == before > 0
    assert db.close(5) is None  # it is closed


def test_settings_say_how_long_the_end_of_the_block_drains(fresh_database_url: str, server: ValkeyServer) -> None:
    settings = Settings.from_url(fresh_database_url, {"NEXGENT_DB_DRAIN_S": "20"}, redis_url=server.url)
    with Database(settings) as db:
        owner = new_owner(db)
        db.trades.deposit(owner.deposit("1"))
    assert waiting(fresh_database_url) == 0


@pytest.mark.parametrize("fault", ["killed", "hung"])
def test_dead_redis_takes_no_longer_than_the_drain(
    db: Database, fresh_database_url: str, server: ValkeyServer, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    owner = new_owner(db)
    db.trades.deposit(owner.deposit("1"))
    if fault == "killed":
        server.kill()
    else:
        server.hang()
    started = time.monotonic()
    with caplog.at_level(logging.WARNING, "nexgent_db"):
        left = db.close(1)
    assert 1 <= time.monotonic() - started < 1 + MARGIN_S
    assert left == waiting(fresh_database_url) > 0
    assert f"closed with {left} changes in cache_outbox" in caplog.text


def test_redis_that_comes_back_in_time_gets_the_changes(
    db: Database, fresh_database_url: str, server: ValkeyServer
) -> None:
    owner = new_owner(db)
    server.kill()
    db.trades.deposit(owner.deposit("1"))
    server.start()
    assert db.close(20) == 0
    assert waiting(fresh_database_url) == 0


def test_without_redis_what_is_left_is_counted_at_once(fresh_database_url: str) -> None:
    db = Database(fresh_database_url)
    db.open()
    new_owner(db)
    started = time.monotonic()
    assert db.close(20) == waiting(fresh_database_url) > 0
    assert time.monotonic() - started < MARGIN_S


def test_calls_in_flight_commit_and_are_drained_too(db: Database, fresh_database_url: str) -> None:
    """Eight transactions are open when the database is closed: each is there whole, and the outbox is empty."""
    owners = [new_owner(db) for _ in range(8)]
    begun, acknowledged = list[Owner](), list[Owner]()

    def trade(owner: Owner) -> int | None:
        with db.transaction() as tx:
            tx.trades.deposit(owner.deposit("1"))
            begun.append(owner)
            time.sleep(0.3)
            tx.trades.deposit(owner.deposit("2"))
        acknowledged.append(owner)
        return None

    def close() -> int | None:
        for _ in range(1000):
            if len(begun) == len(owners):
                break
            time.sleep(0.01)
        return db.close(20)

    calls: list[Callable[[], int | None]] = [partial(trade, owner) for owner in owners]
    concurrently([*calls, close])
    assert waiting(fresh_database_url) == 0
    with psycopg.connect(fresh_database_url) as psql:
        balances = psql.execute("SELECT balance FROM agent_balances").fetchall()
    assert balances == [(3,)] * len(acknowledged) == [(3,)] * len(owners)


@pytest.mark.parametrize("fault", ["killed", "frozen"])
def test_database_that_is_gone_is_not_waited_for(server: ValkeyServer, fault: str) -> None:
    with postgres_server() as postgres:
        db = Database(replace(Settings.from_url(postgres.url), redis_url=server.url))
        db.open()
        new_owner(db)
        frozen = [] if fault == "killed" else [postgres.pid, *postgres.children()]
        if fault == "killed":
            postgres.kill()
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        try:
            started = time.monotonic()
            assert db.close(1) is None
            assert time.monotonic() - started < 1 + MARGIN_S
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)


def test_cells_are_drained_within_the_same_time(db: Database, fresh_database_url: str) -> None:
    names = ["cell_1", "cell_2"]
    for name in names:
        Cells(fresh_database_url).create(name)
        cell = db.for_schema(name)
        owner = new_owner(cell)
        cell.trades.deposit(owner.deposit("1"))
    assert db.close(20) == 0
    with psycopg.connect(fresh_database_url) as psql:
        for name in names:
            assert psql.execute(f'SELECT count(*) FROM "{name}".cache_outbox').fetchone() == (0,)


@pytest.mark.parametrize("drain_s", [-1, math.nan, math.inf])
def test_senseless_time_closes_nothing(db: Database, drain_s: float) -> None:
    with pytest.raises(InvalidInput, match="drain_s"):
        db.close(drain_s)
    assert db.health().ok


def test_part_of_a_database_is_not_closed(db: Database) -> None:
    with pytest.raises(BlockMisuse):
        db.for_schema("public").close(1)


def test_maintenance_ends_when_the_database_is_closed(db: Database) -> None:
    ended = list[float]()

    def maintain() -> None:
        db.cache.maintenance.run(60.0)
        ended.append(time.monotonic())

    def close() -> None:
        time.sleep(0.3)
        db.close(1)

    started = time.monotonic()
    concurrently([maintain, close])
    assert ended[0] - started < 30
    db.cache.maintenance.run()  # closed: ends at once


def test_maintenance_stops_and_starts_again(db: Database) -> None:
    def maintain() -> None:
        db.cache.maintenance.run(60.0)
        db.cache.maintenance.run(60.0)

    def stop() -> None:
        for _ in range(2):
            time.sleep(0.4)
            db.cache.maintenance.stop()

    started = time.monotonic()
    concurrently([maintain, stop])
    assert time.monotonic() - started < 30
    assert db.health().ok
