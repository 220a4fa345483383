# Generated from tests/integration/aio/test_local_cache.py by `make sync`: do not edit.
"""A hot read from the local cache asks no server, and returns no older row than Redis once a change is reported."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import redis

from nexgent_db import Database
from nexgent_db.models import SOL_MINT, AgentPosition
from nexgent_db.settings import Settings
from nexgent_db.sync.cache import invalidation
from tests.integration.sync.factories import TOKEN, Owner, funded_owner
from tests.support.faults.wait_for import Notifier
from tests.support.servers.tls_proxy import tls_proxy
from tests.support.servers.valkey_server import ValkeyServer
from tests.support.servers.valkey_topologies import sentinel_group

ROWS = 10
GUIDE = Path(__file__).resolve().parents[3] / "docs/pages/guides/cache-operations.md"


class Listener:
    """Waits for the server's reports to a database's local cache."""

    def __init__(self, db: Database, client: Callable[[], redis.Redis]) -> None:
        cache_client: Any = db.cache._client
        assert cache_client.local is not None
        self.cache_client = cache_client
        self.store = cache_client.local.store
        self._client = client
        self._notifier = Notifier()
        self._changed: set[object] = set()
        self._forget = self.store.forget
        self.store.forget = self._forgetting
        for name in ("mark_valid", "clear", "close"):
            setattr(self.store, name, self._noticing(getattr(self.store, name)))

    def until(self, condition: Callable[[], bool], what: str) -> None:
        self._notifier.wait_for(condition, what)

    def listening(self) -> None:
        self.until(lambda: self.store._valid_until > time.monotonic(), "the server reports changes")

    def reported(self) -> None:
        key = f"{self.cache_client.keys.prefix}reported:{uuid4()}"
        with self._client() as client:
            client.set(key, "1")
        self.until(lambda: key in self._changed, "every earlier change is reported")

    def holds(self, position: AgentPosition) -> bool:
        return (self.cache_client.keys.position(position.id),) in self.store._answers

    def _forgetting(self, keys: Any) -> None:
        changed = set(keys)
        self._forget(changed)
        self._changed |= changed
        self._notifier.notify()

    def _noticing(self, inner: Any) -> Any:
        def noticed(*arguments: Any) -> None:
            inner(*arguments)
            self._notifier.notify()

        return noticed


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A longer limit, so that rows stay valid when the machine is busy for a second."""
    monkeypatch.setattr(invalidation, "VALID_S", 30.0)


@pytest.fixture
def settings(fresh_database_url: str, server: ValkeyServer) -> Settings:
    return replace(Settings.from_url(fresh_database_url), redis_url=server.url, local_cache_rows=ROWS)


@pytest.fixture
def db(settings: Settings) -> Iterator[Database]:
    """A process with a local cache."""
    database = Database(settings)
    yield database
    database.close()


@pytest.fixture
def listener(db: Database, server: ValkeyServer) -> Listener:
    """The process's listener, which starts now."""
    listener = Listener(db, server.client)
    db.open()
    listener.listening()
    return listener


@pytest.fixture
def deaf(settings: Settings) -> Iterator[Database]:
    """A process with a local cache that counts as listening, and drops every report."""
    database = Database(settings)
    listener = Listener(database, lambda: pytest.fail("it gets no report"))
    listener.cache_client.local._invalidate = lambda changed: None
    database.open()
    listener.listening()
    yield database
    database.close()


@pytest.fixture
def other(settings: Settings) -> Iterator[Database]:
    """A process without a local cache."""
    with Database(replace(settings, local_cache_rows=0)) as database:
        yield database


@pytest.fixture
def owner(other: Database) -> Owner:
    return funded_owner(other)


@pytest.fixture
def position(other: Database, owner: Owner, db: Database, listener: Listener) -> AgentPosition:
    """A position that the local cache holds."""
    made = other.trades.buy(owner.buy("1", "1000", TOKEN)).position
    assert made is not None
    listener.reported()
    assert db.cache.position(made.id) == made
    assert listener.holds(made)
    return made


def bought_more(db: Database, owner: Owner) -> AgentPosition:
    made = db.trades.dca_buy(owner.dca_buy("1", "500")).position
    assert made is not None
    return made


def raise_peak(db: Database, position: AgentPosition, peak: str) -> None:
    """Changes the row by psql, so that no process sends it to the cache."""
    with psycopg.connect(db.settings.conninfo, autocommit=True) as psql:
        psql.execute("UPDATE agent_positions SET peak_price = %s WHERE id = %s", [peak, position.id])


def test_hot_read_does_not_ask_redis(
    db: Database, listener: Listener, server: ValkeyServer, owner: Owner, position: AgentPosition
) -> None:
    def read() -> list[object]:
        return [
            db.cache.position(position.id),
            db.cache.balance(owner.agent_id, owner.wallet_address, SOL_MINT),
            db.cache.config(owner.agent_id),
            db.cache.trading_flags(owner.agent_id),
        ]

    read()  # what is not cached is brought there by this,
    listener.reported()
    first = read()  # and is kept here from this
    calls, hits = db.cache.metrics().calls, db.cache.metrics().local_hits
    with server.client() as client:
        asked = client.info("commandstats")["cmdstat_mget"]["calls"]
        for _ in range(3):
            assert read() == first
        assert client.info("commandstats")["cmdstat_mget"]["calls"] == asked
    assert db.cache.metrics().calls == calls
    assert db.cache.metrics().local_hits == hits + 12


def test_reported_change_of_another_process_is_read(
    db: Database, other: Database, listener: Listener, owner: Owner, position: AgentPosition
) -> None:
    changed = bought_more(other, owner)
    listener.reported()
    assert db.cache.position(position.id) == changed
    other.trades.sell(owner.sell("1500", "3"))
    listener.reported()
    assert db.cache.position(position.id) is None


def test_unreported_change_is_read_with_at_least(
    db: Database, other: Database, listener: Listener, owner: Owner, position: AgentPosition
) -> None:
    changed = bought_more(other, owner)
    assert db.cache.position(position.id, at_least=changed.version) == changed


def test_own_unreported_changes_are_read_at_once(deaf: Database, other: Database, owner: Owner) -> None:
    position = deaf.trades.buy(owner.buy("1", "1000", TOKEN)).position
    assert position is not None
    for _ in range(3):
        assert deaf.cache.position(position.id) == position
        assert deaf.cache.position(position.id) == position
        position = bought_more(deaf, owner)
    assert deaf.cache.metrics().local_hits == 3
    assert deaf.cache.position(position.id) == position
    # Left to the outbox, and brought from there into the cache by another process.
    raise_peak(deaf, position, "7")
    deaf.cache._writer.leave_to_outbox()
    other.cache.maintenance.run_once()
    assert deaf.cache._recovery.recover()
    found = deaf.cache.position(position.id)
    assert found is not None
    assert found.peak_price == 7


def test_version_passed_as_at_least_is_read_without_report(deaf: Database, other: Database, owner: Owner) -> None:
    cache, agent_id = deaf.cache, owner.agent_id
    held = deaf.trades.buy(owner.buy("1", "1000", TOKEN)).position
    assert held is not None

    def read(what: str, at_least: int = 0) -> Any:
        match what:
            case "position":
                return cache.position(held.id, at_least=at_least)
            case "balance":
                return cache.balance(agent_id, owner.wallet_address, SOL_MINT, at_least=at_least)
            case "flags":
                return cache.trading_flags(agent_id, at_least=at_least).automated_trading_simulation
        config = cache.config(agent_id, at_least=at_least)
        assert config is not None
        return config.signals.min_score

    for score, what in enumerate(("position", "balance", "flags", "config"), 2):
        read(what)
        before, hits = read(what), cache.metrics().local_hits
        bought = other.trades.dca_buy(owner.dca_buy("1", "500"))
        other.agents.set_automated_trading(agent_id, "simulation", score % 2 == 0)
        other.agents.update_config(agent_id, {"signals": {"minScore": score}})
        agent = other.cache.trading_flags(agent_id)
        sol = next(row for row in bought.balances if row.token_address == SOL_MINT)
        after, version = {
            "position": (bought.position, bought.position.version if bought.position else None),
            "balance": (sol, sol.version),
            "flags": (score % 2 == 0, agent.version),
            "config": (score, agent.version),
        }[what]
        assert read(what) == before != after
        assert cache.metrics().local_hits == hits + 1  # it is old because it is local
        assert version is not None
        assert read(what, version) == after


def test_reset_of_own_process_drops_rows_without_report(deaf: Database, owner: Owner) -> None:
    position = deaf.trades.buy(owner.buy("1", "1000", TOKEN)).position
    assert position is not None
    assert deaf.cache.position(position.id) == position
    raise_peak(deaf, position, "7")
    cache_client: Any = deaf.cache._client
    call = cache_client.call
    found: list[Any] = []

    def emptied(*command: Any, **options: Any) -> Any:
        if command[0] == "SCAN":
            found.append(deaf.cache.position(position.id))
        return call(*command, **options)

    cache_client.call = emptied
    cache_client.epoch.reset()
    assert [row.peak_price for row in found] == [7]


def test_row_changed_during_read_is_not_kept(
    db: Database, other: Database, listener: Listener, owner: Owner, position: AgentPosition
) -> None:
    bought_more(other, owner)
    listener.reported()
    changed: list[AgentPosition] = []
    get = listener.cache_client.get

    def overtaken(*keys: str, **options: Any) -> list[bytes | None]:
        values: list[bytes | None] = get(*keys, **options)
        changed.append(bought_more(other, owner))
        listener.reported()
        return values

    listener.cache_client.get = overtaken
    before = db.cache.position(position.id)
    listener.cache_client.get = get
    assert before != changed[0]
    assert db.cache.position(position.id) == changed[0]


def test_number_of_rows_stays_within_limit(
    db: Database, other: Database, listener: Listener, owner: Owner, position: AgentPosition
) -> None:
    bought = [other.trades.buy(owner.buy("1", "1", f"{TOKEN}{n}")).position for n in range(ROWS)]
    listener.reported()
    for made in bought:
        assert made is not None
        assert db.cache.position(made.id) == made
    assert len(listener.store) == ROWS
    assert not listener.holds(position)


def test_lost_connection_drops_rows_until_reports_resume(
    db: Database,
    other: Database,
    listener: Listener,
    server: ValkeyServer,
    owner: Owner,
    position: AgentPosition,
) -> None:
    with server.client() as client:
        for each in client.client_list():
            if "B" in each["flags"]:
                client.client_kill_filter(_id=each["id"])
    listener.until(lambda: len(listener.store) == 0, "all is dropped")
    assert db.cache.position(position.id) == position
    assert len(listener.store) == 0  # no server reports changes
    changed = bought_more(other, owner)
    assert db.cache.position(position.id) == changed
    listener.listening()
    assert db.cache.position(position.id) == changed
    assert listener.holds(position)


def test_killed_server_drops_rows(
    db: Database, listener: Listener, server: ValkeyServer, position: AgentPosition
) -> None:
    server.kill()
    listener.until(lambda: len(listener.store) == 0, "all is dropped")
    assert db.cache.position(position.id) == position
    server.start()
    listener.listening()


@pytest.mark.parametrize("how", ["FLUSHALL", "reset here", "reset elsewhere", "invalidated"])
def test_emptied_cache_drops_rows(
    db: Database, other: Database, listener: Listener, server: ValkeyServer, position: AgentPosition, how: str
) -> None:
    elsewhere: Any = other.cache._client
    match how:
        case "FLUSHALL":
            with server.client() as client:
                client.flushall()
        case "reset here":
            assert listener.cache_client.epoch.reset()
            assert not listener.holds(position)  # before any report
        case "reset elsewhere":
            assert elsewhere.epoch.reset()
        case "invalidated":
            elsewhere.epoch.invalidate("a test")
    listener.until(lambda: not listener.holds(position), "it is dropped")
    assert db.cache.position(position.id) == position


def test_rows_of_hanging_server_expire_at_bound(
    db: Database,
    listener: Listener,
    server: ValkeyServer,
    position: AgentPosition,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(invalidation, "VALID_S", 0.3)
    listener.until(
        lambda: listener.store._valid_until < time.monotonic() + 0.3 and listener.holds(position), "the bound holds"
    )
    with server.hanging():
        raise_peak(db, position, "7")
        assert listener.store._valid_until < time.monotonic() + 0.3
        listener.until(lambda: not listener.holds(position), "what is kept is dropped")
        found = db.cache.position(position.id)
        assert found is not None
        assert found.peak_price == 7


@contextmanager
def local_cache_at(
    database_url: str, redis_url: str, client: Callable[[], redis.Redis]
) -> Iterator[tuple[Database, Listener]]:
    """A process whose local cache gets the reports of the server of that URL."""
    db = Database(replace(Settings.from_url(database_url), redis_url=redis_url, local_cache_rows=ROWS))
    listener = Listener(db, client)
    db.open()
    try:
        listener.listening()
        yield db, listener
    finally:
        db.close()


def assert_another_process_s_changes_are_seen(
    db: Database, listener: Listener, other: Database, owner: Owner
) -> AgentPosition:
    """A process sees another process's changes of a position that is in its local cache."""
    position = other.trades.buy(owner.buy("1", "1000", f"{TOKEN}{uuid4()}")).position
    assert position is not None
    for _ in range(2):
        listener.reported()
        assert db.cache.position(position.id) == position
        assert listener.holds(position)
        order = owner.dca_buy("1", "500").model_copy(update={"token_address": position.token_address})
        position = other.trades.dca_buy(order).position
        assert position is not None
    listener.reported()
    assert db.cache.position(position.id) == position
    assert listener.holds(position)
    return position


def test_changes_are_reported_over_tls(
    fresh_database_url: str, server: ValkeyServer, other: Database, owner: Owner, tmp_path: Path
) -> None:
    with tls_proxy(server.socket, tmp_path) as proxy:
        url = proxy.url(ssl_ca_certs=str(proxy.authority))
        with local_cache_at(fresh_database_url, url, server.client) as (db, listener):
            assert_another_process_s_changes_are_seen(db, listener, other, owner)
            assert proxy.versions


def let_in(server: ValkeyServer, *without: str) -> str:
    """A user with the rights that the guide names, but these; the URL to log in with."""
    named = [line.strip() for line in GUIDE.read_text().splitlines() if "ACL SETUSER nexgent" in line]
    (rights,) = [line.partition("ACL SETUSER nexgent ")[2].split() for line in named]
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "nexgent", *rights, *without)
    return f"unix://nexgent:secret@{server.socket}"


def test_changes_are_reported_to_user_with_rights_of_guide(
    fresh_database_url: str, server: ValkeyServer, other: Database, owner: Owner
) -> None:
    with local_cache_at(fresh_database_url, let_in(server), server.client) as (db, listener):
        assert_another_process_s_changes_are_seen(db, listener, other, owner)
        assert listener.cache_client.epoch.reset()
        db.cache.maintenance.run_once()
        assert db.cache.admin.status().prefix == "nexgent:"
        assert db.cache.metrics().state == "closed"
        with server.client() as client:
            refused = client.execute_command("ACL", "LOG")
            assert [each for each in client.client_list() if "B" in each["flags"] and each["user"] == "nexgent"]
        assert refused == []


@pytest.mark.parametrize("right", ["-client|tracking", "-subscribe", "resetchannels"])
def test_user_without_tracking_reads_redis_and_logs_once(
    fresh_database_url: str,
    server: ValkeyServer,
    other: Database,
    owner: Owner,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    right: str,
) -> None:
    monkeypatch.setattr(invalidation, "_PAUSE_S", 0.02)
    url = let_in(server, right)
    db = Database(replace(Settings.from_url(fresh_database_url), redis_url=url, local_cache_rows=ROWS))
    cache_client: Any = db.cache._client
    notifier, tried = Notifier(), []
    connect = cache_client.servers.connect

    def connecting() -> Any:
        if cache_client.breaker.answers:
            tried.append(1)
            notifier.notify()
        return connect()

    db.open()
    cache_client.servers.connect = connecting
    notifier.wait_for(lambda: len(tried) >= 5, "it is tried again")
    position = other.trades.buy(owner.buy("1", "1000", TOKEN)).position
    assert position is not None
    for _ in range(3):
        assert db.cache.position(position.id) == position
        position = bought_more(other, owner)
    assert (db.cache.metrics().local_hits, db.cache.metrics().hits) == (0, 3)
    db.close()
    warned = [record.getMessage() for record in caplog.records if "local cache" in record.getMessage()]
    assert len(warned) == 1
    assert "no permission" in warned[0].lower() or "noperm" in warned[0].lower()
    assert "secret" not in caplog.text


def test_promoted_replica_reports_changes(fresh_database_url: str) -> None:
    with sentinel_group() as group:
        settings = replace(Settings.from_url(fresh_database_url), redis_url=group.url)
        with (
            Database(settings) as other,
            local_cache_at(fresh_database_url, group.url, group.replica_client) as (db, listener),
        ):
            owner = funded_owner(other)
            position = other.trades.buy(owner.buy("1", "1000", TOKEN)).position
            assert position is not None
            db.cache.position(position.id)
            assert db.cache.position(position.id) == position
            assert listener.holds(position)
            group.master.kill()
            listener.until(lambda: len(listener.store) == 0, "all is dropped")
            changed = bought_more(other, owner)
            for one in (other, db):
                assert one.cache.position(position.id) == changed
            group.wait_for_failover()
            listener.listening()
            for one in (other, db):
                while one.cache.metrics().state != "closed":
                    one.cache._recovery.recover()
            assert_another_process_s_changes_are_seen(db, listener, other, owner)


def test_default_settings_have_no_local_cache(other: Database, server: ValkeyServer, fresh_database_url: str) -> None:
    assert Settings.from_url(fresh_database_url, {}).local_cache_rows == 0
    with server.client() as client:
        assert not [each for each in client.client_list() if "B" in each["flags"]]
    assert other.cache.metrics().local_hits == 0
