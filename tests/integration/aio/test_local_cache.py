"""A hot read from the local cache asks no server, and returns no older row than Redis once a change is reported."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import pytest_asyncio
import redis

from nexgent_db import AsyncDatabase
from nexgent_db.aio.cache import invalidation
from nexgent_db.models import SOL_MINT, AgentPosition
from nexgent_db.settings import Settings
from tests.integration.aio.factories import TOKEN, Owner, funded_owner
from tests.support.faults.wait_for import AsyncNotifier
from tests.support.servers.tls_proxy import tls_proxy
from tests.support.servers.valkey_server import ValkeyServer
from tests.support.servers.valkey_topologies import sentinel_group

ROWS = 10
GUIDE = Path(__file__).resolve().parents[3] / "docs/pages/guides/cache-operations.md"


class Listener:
    """Waits for the server's reports to a database's local cache."""

    def __init__(self, db: AsyncDatabase, client: Callable[[], redis.Redis]) -> None:
        cache_client: Any = db.cache._client
        assert cache_client.local is not None
        self.cache_client = cache_client
        self.store = cache_client.local.store
        self._client = client
        self._notifier = AsyncNotifier()
        self._changed: set[object] = set()
        self._forget = self.store.forget
        self.store.forget = self._forgetting
        for name in ("mark_valid", "clear", "close"):
            setattr(self.store, name, self._noticing(getattr(self.store, name)))

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        await self._notifier.wait_for(condition, what)

    async def listening(self) -> None:
        await self.until(lambda: self.store._valid_until > time.monotonic(), "the server reports changes")

    async def reported(self) -> None:
        key = f"{self.cache_client.keys.prefix}reported:{uuid4()}"
        with self._client() as client:
            client.set(key, "1")
        await self.until(lambda: key in self._changed, "every earlier change is reported")

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


@pytest_asyncio.fixture
async def db(settings: Settings) -> AsyncIterator[AsyncDatabase]:
    """A process with a local cache."""
    database = AsyncDatabase(settings)
    yield database
    await database.close()


@pytest_asyncio.fixture
async def listener(db: AsyncDatabase, server: ValkeyServer) -> Listener:
    """The process's listener, which starts now."""
    listener = Listener(db, server.client)
    await db.open()
    await listener.listening()
    return listener


@pytest_asyncio.fixture
async def deaf(settings: Settings) -> AsyncIterator[AsyncDatabase]:
    """A process with a local cache that counts as listening, and drops every report."""
    database = AsyncDatabase(settings)
    listener = Listener(database, lambda: pytest.fail("it gets no report"))
    listener.cache_client.local._invalidate = lambda changed: None
    await database.open()
    await listener.listening()
    yield database
    await database.close()


@pytest_asyncio.fixture
async def other(settings: Settings) -> AsyncIterator[AsyncDatabase]:
    """A process without a local cache."""
    async with AsyncDatabase(replace(settings, local_cache_rows=0)) as database:
        yield database


@pytest_asyncio.fixture
async def owner(other: AsyncDatabase) -> Owner:
    return await funded_owner(other)


@pytest_asyncio.fixture
async def position(other: AsyncDatabase, owner: Owner, db: AsyncDatabase, listener: Listener) -> AgentPosition:
    """A position that the local cache holds."""
    made = (await other.trades.buy(owner.buy("1", "1000", TOKEN))).position
    assert made is not None
    await listener.reported()
    assert await db.cache.position(made.id) == made
    assert listener.holds(made)
    return made


async def bought_more(db: AsyncDatabase, owner: Owner) -> AgentPosition:
    made = (await db.trades.dca_buy(owner.dca_buy("1", "500"))).position
    assert made is not None
    return made


def raise_peak(db: AsyncDatabase, position: AgentPosition, peak: str) -> None:
    """Changes the row by psql, so that no process sends it to the cache."""
    with psycopg.connect(db.settings.conninfo, autocommit=True) as psql:
        psql.execute("UPDATE agent_positions SET peak_price = %s WHERE id = %s", [peak, position.id])


async def test_hot_read_does_not_ask_redis(
    db: AsyncDatabase, listener: Listener, server: ValkeyServer, owner: Owner, position: AgentPosition
) -> None:
    async def read() -> list[object]:
        return [
            await db.cache.position(position.id),
            await db.cache.balance(owner.agent_id, owner.wallet_address, SOL_MINT),
            await db.cache.config(owner.agent_id),
            await db.cache.trading_flags(owner.agent_id),
        ]

    await read()  # what is not cached is brought there by this,
    await listener.reported()
    first = await read()  # and is kept here from this
    calls, hits = db.cache.metrics().calls, db.cache.metrics().local_hits
    with server.client() as client:
        asked = client.info("commandstats")["cmdstat_mget"]["calls"]
        for _ in range(3):
            assert await read() == first
        assert client.info("commandstats")["cmdstat_mget"]["calls"] == asked
    assert db.cache.metrics().calls == calls
    assert db.cache.metrics().local_hits == hits + 12


async def test_reported_change_of_another_process_is_read(
    db: AsyncDatabase, other: AsyncDatabase, listener: Listener, owner: Owner, position: AgentPosition
) -> None:
    changed = await bought_more(other, owner)
    await listener.reported()
    assert await db.cache.position(position.id) == changed
    await other.trades.sell(owner.sell("1500", "3"))
    await listener.reported()
    assert await db.cache.position(position.id) is None


async def test_unreported_change_is_read_with_at_least(
    db: AsyncDatabase, other: AsyncDatabase, listener: Listener, owner: Owner, position: AgentPosition
) -> None:
    changed = await bought_more(other, owner)
    assert await db.cache.position(position.id, at_least=changed.version) == changed


async def test_own_unreported_changes_are_read_at_once(deaf: AsyncDatabase, other: AsyncDatabase, owner: Owner) -> None:
    position = (await deaf.trades.buy(owner.buy("1", "1000", TOKEN))).position
    assert position is not None
    for _ in range(3):
        assert await deaf.cache.position(position.id) == position
        assert await deaf.cache.position(position.id) == position
        position = await bought_more(deaf, owner)
    assert deaf.cache.metrics().local_hits == 3
    assert await deaf.cache.position(position.id) == position
    # Left to the outbox, and brought from there into the cache by another process.
    raise_peak(deaf, position, "7")
    deaf.cache._writer.leave_to_outbox()
    await other.cache.maintenance.run_once()
    assert await deaf.cache._recovery.recover()
    found = await deaf.cache.position(position.id)
    assert found is not None
    assert found.peak_price == 7


async def test_version_passed_as_at_least_is_read_without_report(
    deaf: AsyncDatabase, other: AsyncDatabase, owner: Owner
) -> None:
    cache, agent_id = deaf.cache, owner.agent_id
    held = (await deaf.trades.buy(owner.buy("1", "1000", TOKEN))).position
    assert held is not None

    async def read(what: str, at_least: int = 0) -> Any:
        match what:
            case "position":
                return await cache.position(held.id, at_least=at_least)
            case "balance":
                return await cache.balance(agent_id, owner.wallet_address, SOL_MINT, at_least=at_least)
            case "flags":
                return (await cache.trading_flags(agent_id, at_least=at_least)).automated_trading_simulation
        config = await cache.config(agent_id, at_least=at_least)
        assert config is not None
        return config.signals.min_score

    for score, what in enumerate(("position", "balance", "flags", "config"), 2):
        await read(what)
        before, hits = await read(what), cache.metrics().local_hits
        bought = await other.trades.dca_buy(owner.dca_buy("1", "500"))
        await other.agents.set_automated_trading(agent_id, "simulation", score % 2 == 0)
        await other.agents.update_config(agent_id, {"signals": {"minScore": score}})
        agent = await other.cache.trading_flags(agent_id)
        sol = next(row for row in bought.balances if row.token_address == SOL_MINT)
        after, version = {
            "position": (bought.position, bought.position.version if bought.position else None),
            "balance": (sol, sol.version),
            "flags": (score % 2 == 0, agent.version),
            "config": (score, agent.version),
        }[what]
        assert await read(what) == before != after
        assert cache.metrics().local_hits == hits + 1  # it is old because it is local
        assert version is not None
        assert await read(what, version) == after


async def test_reset_of_own_process_drops_rows_without_report(deaf: AsyncDatabase, owner: Owner) -> None:
    position = (await deaf.trades.buy(owner.buy("1", "1000", TOKEN))).position
    assert position is not None
    assert await deaf.cache.position(position.id) == position
    raise_peak(deaf, position, "7")
    cache_client: Any = deaf.cache._client
    call = cache_client.call
    found: list[Any] = []

    async def emptied(*command: Any, **options: Any) -> Any:
        if command[0] == "SCAN":
            found.append(await deaf.cache.position(position.id))
        return await call(*command, **options)

    cache_client.call = emptied
    await cache_client.epoch.reset()
    assert [row.peak_price for row in found] == [7]


async def test_row_changed_during_read_is_not_kept(
    db: AsyncDatabase, other: AsyncDatabase, listener: Listener, owner: Owner, position: AgentPosition
) -> None:
    await bought_more(other, owner)
    await listener.reported()
    changed: list[AgentPosition] = []
    get = listener.cache_client.get

    async def overtaken(*keys: str, **options: Any) -> list[bytes | None]:
        values: list[bytes | None] = await get(*keys, **options)
        changed.append(await bought_more(other, owner))
        await listener.reported()
        return values

    listener.cache_client.get = overtaken
    before = await db.cache.position(position.id)
    listener.cache_client.get = get
    assert before != changed[0]
    assert await db.cache.position(position.id) == changed[0]


async def test_number_of_rows_stays_within_limit(
    db: AsyncDatabase, other: AsyncDatabase, listener: Listener, owner: Owner, position: AgentPosition
) -> None:
    bought = [(await other.trades.buy(owner.buy("1", "1", f"{TOKEN}{n}"))).position for n in range(ROWS)]
    await listener.reported()
    for made in bought:
        assert made is not None
        assert await db.cache.position(made.id) == made
    assert len(listener.store) == ROWS
    assert not listener.holds(position)


async def test_lost_connection_drops_rows_until_reports_resume(
    db: AsyncDatabase,
    other: AsyncDatabase,
    listener: Listener,
    server: ValkeyServer,
    owner: Owner,
    position: AgentPosition,
) -> None:
    with server.client() as client:
        for each in client.client_list():
            if "B" in each["flags"]:
                client.client_kill_filter(_id=each["id"])
    await listener.until(lambda: len(listener.store) == 0, "all is dropped")
    assert await db.cache.position(position.id) == position
    assert len(listener.store) == 0  # no server reports changes
    changed = await bought_more(other, owner)
    assert await db.cache.position(position.id) == changed
    await listener.listening()
    assert await db.cache.position(position.id) == changed
    assert listener.holds(position)


async def test_killed_server_drops_rows(
    db: AsyncDatabase, listener: Listener, server: ValkeyServer, position: AgentPosition
) -> None:
    server.kill()
    await listener.until(lambda: len(listener.store) == 0, "all is dropped")
    assert await db.cache.position(position.id) == position
    server.start()
    await listener.listening()


@pytest.mark.parametrize("how", ["FLUSHALL", "reset here", "reset elsewhere", "invalidated"])
async def test_emptied_cache_drops_rows(
    db: AsyncDatabase, other: AsyncDatabase, listener: Listener, server: ValkeyServer, position: AgentPosition, how: str
) -> None:
    elsewhere: Any = other.cache._client
    match how:
        case "FLUSHALL":
            with server.client() as client:
                client.flushall()
        case "reset here":
            assert await listener.cache_client.epoch.reset()
            assert not listener.holds(position)  # before any report
        case "reset elsewhere":
            assert await elsewhere.epoch.reset()
        case "invalidated":
            await elsewhere.epoch.invalidate("a test")
    await listener.until(lambda: not listener.holds(position), "it is dropped")
    assert await db.cache.position(position.id) == position


async def test_rows_of_hanging_server_expire_at_bound(
    db: AsyncDatabase,
    listener: Listener,
    server: ValkeyServer,
    position: AgentPosition,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(invalidation, "VALID_S", 0.3)
    await listener.until(
        lambda: listener.store._valid_until < time.monotonic() + 0.3 and listener.holds(position), "the bound holds"
    )
    with server.hanging():
        raise_peak(db, position, "7")
        assert listener.store._valid_until < time.monotonic() + 0.3
        await listener.until(lambda: not listener.holds(position), "what is kept is dropped")
        found = await db.cache.position(position.id)
        assert found is not None
        assert found.peak_price == 7


@asynccontextmanager
async def local_cache_at(
    database_url: str, redis_url: str, client: Callable[[], redis.Redis]
) -> AsyncIterator[tuple[AsyncDatabase, Listener]]:
    """A process whose local cache gets the reports of the server of that URL."""
    db = AsyncDatabase(replace(Settings.from_url(database_url), redis_url=redis_url, local_cache_rows=ROWS))
    listener = Listener(db, client)
    await db.open()
    try:
        await listener.listening()
        yield db, listener
    finally:
        await db.close()


async def assert_another_process_s_changes_are_seen(
    db: AsyncDatabase, listener: Listener, other: AsyncDatabase, owner: Owner
) -> AgentPosition:
    """A process sees another process's changes of a position that is in its local cache."""
    position = (await other.trades.buy(owner.buy("1", "1000", f"{TOKEN}{uuid4()}"))).position
    assert position is not None
    for _ in range(2):
        await listener.reported()
        assert await db.cache.position(position.id) == position
        assert listener.holds(position)
        order = owner.dca_buy("1", "500").model_copy(update={"token_address": position.token_address})
        position = (await other.trades.dca_buy(order)).position
        assert position is not None
    await listener.reported()
    assert await db.cache.position(position.id) == position
    assert listener.holds(position)
    return position


async def test_changes_are_reported_over_tls(
    fresh_database_url: str, server: ValkeyServer, other: AsyncDatabase, owner: Owner, tmp_path: Path
) -> None:
    with tls_proxy(server.socket, tmp_path) as proxy:
        url = proxy.url(ssl_ca_certs=str(proxy.authority))
        async with local_cache_at(fresh_database_url, url, server.client) as (db, listener):
            await assert_another_process_s_changes_are_seen(db, listener, other, owner)
            assert proxy.versions


def let_in(server: ValkeyServer, *without: str) -> str:
    """A user with the rights that the guide names, but these; the URL to log in with."""
    named = [line.strip() for line in GUIDE.read_text().splitlines() if "ACL SETUSER nexgent" in line]
    (rights,) = [line.partition("ACL SETUSER nexgent ")[2].split() for line in named]
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "nexgent", *rights, *without)
    return f"unix://nexgent:secret@{server.socket}"


async def test_changes_are_reported_to_user_with_rights_of_guide(
    fresh_database_url: str, server: ValkeyServer, other: AsyncDatabase, owner: Owner
) -> None:
    async with local_cache_at(fresh_database_url, let_in(server), server.client) as (db, listener):
        await assert_another_process_s_changes_are_seen(db, listener, other, owner)
        assert await listener.cache_client.epoch.reset()
        await db.cache.maintenance.run_once()
        assert (await db.cache.admin.status()).prefix == "nexgent:"
        assert db.cache.metrics().state == "closed"
        with server.client() as client:
            refused = client.execute_command("ACL", "LOG")
            assert [each for each in client.client_list() if "B" in each["flags"] and each["user"] == "nexgent"]
        assert refused == []


@pytest.mark.parametrize("right", ["-client|tracking", "-subscribe", "resetchannels"])
async def test_user_without_tracking_reads_redis_and_logs_once(
    fresh_database_url: str,
    server: ValkeyServer,
    other: AsyncDatabase,
    owner: Owner,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    right: str,
) -> None:
    monkeypatch.setattr(invalidation, "_PAUSE_S", 0.02)
    url = let_in(server, right)
    db = AsyncDatabase(replace(Settings.from_url(fresh_database_url), redis_url=url, local_cache_rows=ROWS))
    cache_client: Any = db.cache._client
    notifier, tried = AsyncNotifier(), []
    connect = cache_client.servers.connect

    async def connecting() -> Any:
        if cache_client.breaker.answers:
            tried.append(1)
            notifier.notify()
        return await connect()

    await db.open()
    cache_client.servers.connect = connecting
    await notifier.wait_for(lambda: len(tried) >= 5, "it is tried again")
    position = (await other.trades.buy(owner.buy("1", "1000", TOKEN))).position
    assert position is not None
    for _ in range(3):
        assert await db.cache.position(position.id) == position
        position = await bought_more(other, owner)
    assert (db.cache.metrics().local_hits, db.cache.metrics().hits) == (0, 3)
    await db.close()
    warned = [record.getMessage() for record in caplog.records if "local cache" in record.getMessage()]
    assert len(warned) == 1
    assert "no permission" in warned[0].lower() or "noperm" in warned[0].lower()
    assert "secret" not in caplog.text


async def test_promoted_replica_reports_changes(fresh_database_url: str) -> None:
    with sentinel_group() as group:
        settings = replace(Settings.from_url(fresh_database_url), redis_url=group.url)
        async with (
            AsyncDatabase(settings) as other,
            local_cache_at(fresh_database_url, group.url, group.replica_client) as (db, listener),
        ):
            owner = await funded_owner(other)
            position = (await other.trades.buy(owner.buy("1", "1000", TOKEN))).position
            assert position is not None
            await db.cache.position(position.id)
            assert await db.cache.position(position.id) == position
            assert listener.holds(position)
            group.master.kill()
            await listener.until(lambda: len(listener.store) == 0, "all is dropped")
            changed = await bought_more(other, owner)
            for one in (other, db):
                assert await one.cache.position(position.id) == changed
            group.wait_for_failover()
            await listener.listening()
            for one in (other, db):
                while one.cache.metrics().state != "closed":
                    await one.cache._recovery.recover()
            await assert_another_process_s_changes_are_seen(db, listener, other, owner)


async def test_default_settings_have_no_local_cache(
    other: AsyncDatabase, server: ValkeyServer, fresh_database_url: str
) -> None:
    assert Settings.from_url(fresh_database_url, {}).local_cache_rows == 0
    with server.client() as client:
        assert not [each for each in client.client_list() if "B" in each["flags"]]
    assert other.cache.metrics().local_hits == 0
