# Generated from tests/integration/aio/test_near_cache.py by `make sync`: do not edit.
"""With a near cache a hot read asks nobody, and no caller is told less than without one once the server has told."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from nexgent_db import Database
from nexgent_db.models import SOL_MINT, AgentPosition
from nexgent_db.settings import Settings
from nexgent_db.sync import _near_cache
from tests.integration.sync.factories import TOKEN, Owner, new_owner
from tests.support.valkey_server import ValkeyServer, valkey_server

ROWS = 10


class Ear:
    """Waits for what the server tells a database's near cache."""

    def __init__(self, db: Database, server: ValkeyServer) -> None:
        link: Any = db.cache._link
        assert link.near is not None
        self.link = link
        self.rows = link.near.rows
        self._server = server
        self._heard = threading.Event()
        self._changed: set[object] = set()
        self._forget = self.rows.forget
        self.rows.forget = self._forgetting
        for name in ("believe", "clear", "close"):
            setattr(self.rows, name, self._noticing(getattr(self.rows, name)))

    def until(self, condition: Any) -> None:
        while True:
            self._heard.clear()
            if condition():
                return
            self._heard.wait()

    def listening(self) -> None:
        """The server tells of changes."""
        self.until(lambda: self.rows._until > time.monotonic())

    def told(self) -> None:
        """Everything that changed until now was told."""
        mark = f"{self.link.keys.prefix}told:{uuid4()}"
        with self._server.client() as client:
            client.set(mark, "1")
        self.until(lambda: mark in self._changed)

    def _forgetting(self, keys: Any) -> None:
        changed = set(keys)
        self._forget(changed)
        self._changed |= changed
        self._heard.set()

    def _noticing(self, inner: Any) -> Any:
        def noticed(*arguments: Any) -> None:
            inner(*arguments)
            self._heard.set()

        return noticed


@pytest.fixture
def server() -> Iterator[ValkeyServer]:
    with valkey_server() as running:
        yield running


@pytest.fixture
def settings(fresh_database_url: str, server: ValkeyServer) -> Settings:
    return replace(Settings.from_url(fresh_database_url), redis_url=server.url, near_cache_rows=ROWS)


@pytest.fixture
def db(settings: Settings) -> Iterator[Database]:
    """A process with a near cache."""
    database = Database(settings)
    yield database
    database.close()


@pytest.fixture
def ear(db: Database, server: ValkeyServer) -> Ear:
    """The process's, which begins now."""
    ear = Ear(db, server)
    db.open()
    ear.listening()
    return ear


@pytest.fixture
def other(settings: Settings) -> Iterator[Database]:
    """A process without one."""
    with Database(replace(settings, near_cache_rows=0)) as database:
        yield database


@pytest.fixture
def owner(other: Database) -> Owner:
    made = new_owner(other)
    other.trades.deposit(made.deposit("100"))
    return made


@pytest.fixture
def position(other: Database, owner: Owner, db: Database, ear: Ear) -> AgentPosition:
    """One that the near cache holds."""
    made = other.trades.buy(owner.buy("1", "1000", TOKEN)).position
    assert made is not None
    ear.told()
    assert db.cache.position(made.id) == made
    assert near(db, ear, made)
    return made


def near(db: Database, ear: Ear, position: AgentPosition) -> bool:
    return (ear.link.keys.position(position.id),) in ear.rows._answers


def bought_more(db: Database, owner: Owner) -> AgentPosition:
    made = db.trades.dca_buy(owner.dca_buy("1", "500")).position
    assert made is not None
    return made


def test_a_hot_read_does_not_ask_redis(
    db: Database, ear: Ear, server: ValkeyServer, owner: Owner, position: AgentPosition
) -> None:
    def read() -> list[object]:
        return [
            db.cache.position(position.id),
            db.cache.balance(owner.agent_id, owner.wallet_address, SOL_MINT),
            db.cache.config(owner.agent_id),
            db.cache.trading_flags(owner.agent_id),
        ]

    read()  # what is not cached is brought there by this,
    ear.told()
    first = read()  # and is kept here from this
    calls, hits = db.cache.metrics().calls, db.cache.metrics().near_hits
    with server.client() as client:
        asked = client.info("commandstats")["cmdstat_mget"]["calls"]
        for _ in range(3):
            assert read() == first
        assert client.info("commandstats")["cmdstat_mget"]["calls"] == asked
    assert db.cache.metrics().calls == calls
    assert db.cache.metrics().near_hits == hits + 12


def test_another_process_s_change_is_seen_when_the_server_tells_of_it(
    db: Database, other: Database, ear: Ear, owner: Owner, position: AgentPosition
) -> None:
    changed = bought_more(other, owner)
    ear.told()
    assert db.cache.position(position.id) == changed
    other.trades.sell(owner.sell("1500", "3"))
    ear.told()
    assert db.cache.position(position.id) is None


def test_a_change_that_was_not_told_yet_is_seen_with_its_version(
    db: Database, other: Database, ear: Ear, owner: Owner, position: AgentPosition
) -> None:
    changed = bought_more(other, owner)
    assert db.cache.position(position.id, at_least=changed.version) == changed


def test_own_changes_are_seen_at_once_though_nothing_was_told(
    db: Database, server: ValkeyServer, other: Database, owner: Owner
) -> None:
    def deaf(message: object) -> None:
        pass

    near: Any = Ear(db, server).link.near
    near._told = deaf
    listening = threading.Event()
    believe = near.rows.believe

    def believed(*arguments: Any) -> None:
        believe(*arguments)
        listening.set()

    near.rows.believe = believed
    db.open()
    listening.wait()
    position = db.trades.buy(owner.buy("1", "1000", TOKEN)).position
    assert position is not None
    for _ in range(3):
        assert db.cache.position(position.id) == position
        assert db.cache.position(position.id) == position
        position = bought_more(db, owner)
    assert db.cache.metrics().near_hits == 3
    assert db.cache.position(position.id) == position
    # Left to the outbox, and brought from there into the cache by another process.
    with psycopg.connect(db.settings.conninfo, autocommit=True) as psql:
        psql.execute("UPDATE agent_positions SET peak_price = 7 WHERE id = %s", [position.id])
    db.cache.leave_to_outbox()
    other.cache.maintain()
    assert db.cache._recover()
    found = db.cache.position(position.id)
    assert found is not None
    assert found.peak_price == 7


def test_what_is_read_while_it_changes_is_not_kept(
    db: Database, other: Database, ear: Ear, owner: Owner, position: AgentPosition
) -> None:
    bought_more(other, owner)
    ear.told()
    changed: list[AgentPosition] = []
    get = ear.link.get

    def overtaken(*keys: str) -> list[bytes | None]:
        values: list[bytes | None] = get(*keys)
        changed.append(bought_more(other, owner))
        ear.told()
        return values

    ear.link.get = overtaken
    before = db.cache.position(position.id)
    ear.link.get = get
    assert before != changed[0]
    assert db.cache.position(position.id) == changed[0]


def test_no_more_rows_are_kept_than_were_allowed(
    db: Database, other: Database, ear: Ear, owner: Owner, position: AgentPosition
) -> None:
    bought = [other.trades.buy(owner.buy("1", "1", f"{TOKEN}{n}")).position for n in range(ROWS)]
    ear.told()
    for made in bought:
        assert made is not None
        assert db.cache.position(made.id) == made
    assert len(ear.rows) == ROWS
    assert not near(db, ear, position)


def test_all_is_dropped_when_the_connection_is_lost_until_the_server_tells_again(
    db: Database, other: Database, ear: Ear, server: ValkeyServer, owner: Owner, position: AgentPosition
) -> None:
    with server.client() as client:
        for each in client.client_list():
            if "B" in each["flags"]:
                client.client_kill_filter(_id=each["id"])
    ear.until(lambda: len(ear.rows) == 0)
    assert db.cache.position(position.id) == position
    assert len(ear.rows) == 0  # nobody would tell of a change
    changed = bought_more(other, owner)
    assert db.cache.position(position.id) == changed
    ear.listening()
    assert db.cache.position(position.id) == changed
    assert near(db, ear, position)


def test_all_is_dropped_when_the_server_dies(
    db: Database, ear: Ear, server: ValkeyServer, position: AgentPosition
) -> None:
    server.kill()
    ear.until(lambda: len(ear.rows) == 0)
    assert db.cache.position(position.id) == position
    server.start()
    ear.listening()


@pytest.mark.parametrize("how", ["FLUSHALL", "reset here", "reset elsewhere", "distrusted"])
def test_all_is_dropped_when_all_that_is_cached_is(
    db: Database, other: Database, ear: Ear, server: ValkeyServer, position: AgentPosition, how: str
) -> None:
    elsewhere: Any = other.cache._link
    match how:
        case "FLUSHALL":
            with server.client() as client:
                client.flushall()
        case "reset here":
            assert ear.link.reset()
            assert not near(db, ear, position)  # before anything was told
        case "reset elsewhere":
            assert elsewhere.reset()
        case "distrusted":
            elsewhere.distrust("a test")
    ear.until(lambda: not near(db, ear, position))
    assert db.cache.position(position.id) == position


def test_a_hanging_server_is_believed_for_no_longer_than_the_bound(
    db: Database, ear: Ear, server: ValkeyServer, position: AgentPosition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_near_cache, "BELIEVED_S", 0.3)
    last = ear.rows._until
    ear.until(lambda: ear.rows._until > last and near(db, ear, position))
    with server.hanging():
        with psycopg.connect(db.settings.conninfo, autocommit=True) as psql:
            psql.execute("UPDATE agent_positions SET peak_price = 7 WHERE id = %s", [position.id])
        assert ear.rows._until < time.monotonic() + 0.3
        ear.until(lambda: not near(db, ear, position))
        found = db.cache.position(position.id)
        assert found is not None
        assert found.peak_price == 7


def test_without_the_setting_nobody_listens(other: Database, server: ValkeyServer, fresh_database_url: str) -> None:
    assert Settings.from_url(fresh_database_url, {}).near_cache_rows == 0
    with server.client() as client:
        assert not [each for each in client.client_list() if "B" in each["flags"]]
    assert other.cache.metrics().near_hits == 0
