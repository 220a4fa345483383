"""With a near cache a hot read asks nobody, and no caller is told less than without one once the server has told."""

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
from nexgent_db.aio import _near_cache
from nexgent_db.models import SOL_MINT, AgentPosition
from nexgent_db.settings import Settings
from tests.integration.aio.factories import TOKEN, Owner, funded_owner
from tests.support.bell import AsyncBell
from tests.support.tls_proxy import tls_proxy
from tests.support.valkey_server import ValkeyServer
from tests.support.valkey_topologies import sentinel_group

ROWS = 10
README = Path(__file__).resolve().parents[3] / "README.md"


class Ear:
    """Waits for what the server tells a database's near cache."""

    def __init__(self, db: AsyncDatabase, client: Callable[[], redis.Redis]) -> None:
        link: Any = db.cache._link
        assert link.near is not None
        self.link = link
        self.rows = link.near.rows
        self._client = client
        self._bell = AsyncBell()
        self._changed: set[object] = set()
        self._forget = self.rows.forget
        self.rows.forget = self._forgetting
        for name in ("believe", "clear", "close"):
            setattr(self.rows, name, self._noticing(getattr(self.rows, name)))

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        await self._bell.until(condition, what)

    async def listening(self) -> None:
        await self.until(lambda: self.rows._until > time.monotonic(), "the server tells of changes")

    async def told(self) -> None:
        mark = f"{self.link.keys.prefix}told:{uuid4()}"
        with self._client() as client:
            client.set(mark, "1")
        await self.until(lambda: mark in self._changed, "everything that changed is told")

    def holds(self, position: AgentPosition) -> bool:
        return (self.link.keys.position(position.id),) in self.rows._answers

    def _forgetting(self, keys: Any) -> None:
        changed = set(keys)
        self._forget(changed)
        self._changed |= changed
        self._bell.ring()

    def _noticing(self, inner: Any) -> Any:
        def noticed(*arguments: Any) -> None:
            inner(*arguments)
            self._bell.ring()

        return noticed


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy for a second does not make the near cache doubt."""
    monkeypatch.setattr(_near_cache, "BELIEVED_S", 30.0)


@pytest.fixture
def settings(fresh_database_url: str, server: ValkeyServer) -> Settings:
    return replace(Settings.from_url(fresh_database_url), redis_url=server.url, near_cache_rows=ROWS)


@pytest_asyncio.fixture
async def db(settings: Settings) -> AsyncIterator[AsyncDatabase]:
    """A process with a near cache."""
    database = AsyncDatabase(settings)
    yield database
    await database.close()


@pytest_asyncio.fixture
async def ear(db: AsyncDatabase, server: ValkeyServer) -> Ear:
    """The process's, which begins now."""
    ear = Ear(db, server.client)
    await db.open()
    await ear.listening()
    return ear


@pytest_asyncio.fixture
async def deaf(settings: Settings) -> AsyncIterator[AsyncDatabase]:
    """A process with a near cache that believes itself told of everything, and is told of nothing."""
    database = AsyncDatabase(settings)
    ear = Ear(database, lambda: pytest.fail("it is told nothing"))
    ear.link.near._told = lambda changed: None
    await database.open()
    await ear.listening()
    yield database
    await database.close()


@pytest_asyncio.fixture
async def other(settings: Settings) -> AsyncIterator[AsyncDatabase]:
    """A process without one."""
    async with AsyncDatabase(replace(settings, near_cache_rows=0)) as database:
        yield database


@pytest_asyncio.fixture
async def owner(other: AsyncDatabase) -> Owner:
    return await funded_owner(other)


@pytest_asyncio.fixture
async def position(other: AsyncDatabase, owner: Owner, db: AsyncDatabase, ear: Ear) -> AgentPosition:
    """One that the near cache holds."""
    made = (await other.trades.buy(owner.buy("1", "1000", TOKEN))).position
    assert made is not None
    await ear.told()
    assert await db.cache.position(made.id) == made
    assert ear.holds(made)
    return made


async def bought_more(db: AsyncDatabase, owner: Owner) -> AgentPosition:
    made = (await db.trades.dca_buy(owner.dca_buy("1", "500"))).position
    assert made is not None
    return made


def raise_peak(db: AsyncDatabase, position: AgentPosition, peak: str) -> None:
    """By hand: nobody brings it into the cache."""
    with psycopg.connect(db.settings.conninfo, autocommit=True) as psql:
        psql.execute("UPDATE agent_positions SET peak_price = %s WHERE id = %s", [peak, position.id])


async def test_a_hot_read_does_not_ask_redis(
    db: AsyncDatabase, ear: Ear, server: ValkeyServer, owner: Owner, position: AgentPosition
) -> None:
    async def read() -> list[object]:
        return [
            await db.cache.position(position.id),
            await db.cache.balance(owner.agent_id, owner.wallet_address, SOL_MINT),
            await db.cache.config(owner.agent_id),
            await db.cache.trading_flags(owner.agent_id),
        ]

    await read()  # what is not cached is brought there by this,
    await ear.told()
    first = await read()  # and is kept here from this
    calls, hits = db.cache.metrics().calls, db.cache.metrics().near_hits
    with server.client() as client:
        asked = client.info("commandstats")["cmdstat_mget"]["calls"]
        for _ in range(3):
            assert await read() == first
        assert client.info("commandstats")["cmdstat_mget"]["calls"] == asked
    assert db.cache.metrics().calls == calls
    assert db.cache.metrics().near_hits == hits + 12


async def test_another_process_s_change_is_seen_when_the_server_tells_of_it(
    db: AsyncDatabase, other: AsyncDatabase, ear: Ear, owner: Owner, position: AgentPosition
) -> None:
    changed = await bought_more(other, owner)
    await ear.told()
    assert await db.cache.position(position.id) == changed
    await other.trades.sell(owner.sell("1500", "3"))
    await ear.told()
    assert await db.cache.position(position.id) is None


async def test_a_change_that_was_not_told_yet_is_seen_with_its_version(
    db: AsyncDatabase, other: AsyncDatabase, ear: Ear, owner: Owner, position: AgentPosition
) -> None:
    changed = await bought_more(other, owner)
    assert await db.cache.position(position.id, at_least=changed.version) == changed


async def test_own_changes_are_seen_at_once_though_nothing_was_told(
    deaf: AsyncDatabase, other: AsyncDatabase, owner: Owner
) -> None:
    position = (await deaf.trades.buy(owner.buy("1", "1000", TOKEN))).position
    assert position is not None
    for _ in range(3):
        assert await deaf.cache.position(position.id) == position
        assert await deaf.cache.position(position.id) == position
        position = await bought_more(deaf, owner)
    assert deaf.cache.metrics().near_hits == 3
    assert await deaf.cache.position(position.id) == position
    # Left to the outbox, and brought from there into the cache by another process.
    raise_peak(deaf, position, "7")
    deaf.cache.leave_to_outbox()
    await other.cache.maintain()
    assert await deaf.cache._recover()
    found = await deaf.cache.position(position.id)
    assert found is not None
    assert found.peak_price == 7


async def test_a_version_that_is_asked_for_is_seen_though_nothing_was_told(
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
        before, hits = await read(what), cache.metrics().near_hits
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
        assert cache.metrics().near_hits == hits + 1  # it is old because it is near
        assert version is not None
        assert await read(what, version) == after


async def test_what_this_process_empties_is_not_read_here_meanwhile_though_nothing_was_told(
    deaf: AsyncDatabase, owner: Owner
) -> None:
    position = (await deaf.trades.buy(owner.buy("1", "1000", TOKEN))).position
    assert position is not None
    assert await deaf.cache.position(position.id) == position
    raise_peak(deaf, position, "7")
    link: Any = deaf.cache._link
    call = link.call
    found: list[Any] = []

    async def emptied(*command: Any, **options: Any) -> Any:
        if command[0] == "SCAN":
            found.append(await deaf.cache.position(position.id))
        return await call(*command, **options)

    link.call = emptied
    await link.reset()
    assert [row.peak_price for row in found] == [7]


async def test_what_is_read_while_it_changes_is_not_kept(
    db: AsyncDatabase, other: AsyncDatabase, ear: Ear, owner: Owner, position: AgentPosition
) -> None:
    await bought_more(other, owner)
    await ear.told()
    changed: list[AgentPosition] = []
    get = ear.link.get

    async def overtaken(*keys: str) -> list[bytes | None]:
        values: list[bytes | None] = await get(*keys)
        changed.append(await bought_more(other, owner))
        await ear.told()
        return values

    ear.link.get = overtaken
    before = await db.cache.position(position.id)
    ear.link.get = get
    assert before != changed[0]
    assert await db.cache.position(position.id) == changed[0]


async def test_no_more_rows_are_kept_than_were_allowed(
    db: AsyncDatabase, other: AsyncDatabase, ear: Ear, owner: Owner, position: AgentPosition
) -> None:
    bought = [(await other.trades.buy(owner.buy("1", "1", f"{TOKEN}{n}"))).position for n in range(ROWS)]
    await ear.told()
    for made in bought:
        assert made is not None
        assert await db.cache.position(made.id) == made
    assert len(ear.rows) == ROWS
    assert not ear.holds(position)


async def test_all_is_dropped_when_the_connection_is_lost_until_the_server_tells_again(
    db: AsyncDatabase, other: AsyncDatabase, ear: Ear, server: ValkeyServer, owner: Owner, position: AgentPosition
) -> None:
    with server.client() as client:
        for each in client.client_list():
            if "B" in each["flags"]:
                client.client_kill_filter(_id=each["id"])
    await ear.until(lambda: len(ear.rows) == 0, "all is dropped")
    assert await db.cache.position(position.id) == position
    assert len(ear.rows) == 0  # nobody would tell of a change
    changed = await bought_more(other, owner)
    assert await db.cache.position(position.id) == changed
    await ear.listening()
    assert await db.cache.position(position.id) == changed
    assert ear.holds(position)


async def test_all_is_dropped_when_the_server_dies(
    db: AsyncDatabase, ear: Ear, server: ValkeyServer, position: AgentPosition
) -> None:
    server.kill()
    await ear.until(lambda: len(ear.rows) == 0, "all is dropped")
    assert await db.cache.position(position.id) == position
    server.start()
    await ear.listening()


@pytest.mark.parametrize("how", ["FLUSHALL", "reset here", "reset elsewhere", "distrusted"])
async def test_all_is_dropped_when_all_that_is_cached_is(
    db: AsyncDatabase, other: AsyncDatabase, ear: Ear, server: ValkeyServer, position: AgentPosition, how: str
) -> None:
    elsewhere: Any = other.cache._link
    match how:
        case "FLUSHALL":
            with server.client() as client:
                client.flushall()
        case "reset here":
            assert await ear.link.reset()
            assert not ear.holds(position)  # before anything was told
        case "reset elsewhere":
            assert await elsewhere.reset()
        case "distrusted":
            await elsewhere.distrust("a test")
    await ear.until(lambda: not ear.holds(position), "it is dropped")
    assert await db.cache.position(position.id) == position


async def test_a_hanging_server_is_believed_for_no_longer_than_the_bound(
    db: AsyncDatabase, ear: Ear, server: ValkeyServer, position: AgentPosition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_near_cache, "BELIEVED_S", 0.3)
    await ear.until(lambda: ear.rows._until < time.monotonic() + 0.3 and ear.holds(position), "the bound holds")
    with server.hanging():
        raise_peak(db, position, "7")
        assert ear.rows._until < time.monotonic() + 0.3
        await ear.until(lambda: not ear.holds(position), "what is kept is dropped")
        found = await db.cache.position(position.id)
        assert found is not None
        assert found.peak_price == 7


@asynccontextmanager
async def near_at(
    database_url: str, redis_url: str, client: Callable[[], redis.Redis]
) -> AsyncIterator[tuple[AsyncDatabase, Ear]]:
    """A process whose near cache is told of changes by the server of that URL."""
    db = AsyncDatabase(replace(Settings.from_url(database_url), redis_url=redis_url, near_cache_rows=ROWS))
    ear = Ear(db, client)
    await db.open()
    try:
        await ear.listening()
        yield db, ear
    finally:
        await db.close()


async def assert_another_process_s_changes_are_seen(
    db: AsyncDatabase, ear: Ear, other: AsyncDatabase, owner: Owner
) -> AgentPosition:
    """A position that is in the near cache now, and was once more before it was changed."""
    position = (await other.trades.buy(owner.buy("1", "1000", f"{TOKEN}{uuid4()}"))).position
    assert position is not None
    for _ in range(2):
        await ear.told()
        assert await db.cache.position(position.id) == position
        assert ear.holds(position)
        order = owner.dca_buy("1", "500").model_copy(update={"token_address": position.token_address})
        position = (await other.trades.dca_buy(order)).position
        assert position is not None
    await ear.told()
    assert await db.cache.position(position.id) == position
    assert ear.holds(position)
    return position


async def test_changes_are_told_over_tls(
    fresh_database_url: str, server: ValkeyServer, other: AsyncDatabase, owner: Owner, tmp_path: Path
) -> None:
    with tls_proxy(server.socket, tmp_path) as proxy:
        url = proxy.url(ssl_ca_certs=str(proxy.authority))
        async with near_at(fresh_database_url, url, server.client) as (db, ear):
            await assert_another_process_s_changes_are_seen(db, ear, other, owner)
            assert proxy.versions


def let_in(server: ValkeyServer, *without: str) -> str:
    """A user with the rights that the README names, but these; the URL to log in with."""
    named = [line.strip() for line in README.read_text().splitlines() if "ACL SETUSER nexgent" in line]
    (rights,) = [line.partition("ACL SETUSER nexgent ")[2].split() for line in named]
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "nexgent", *rights, *without)
    return f"unix://nexgent:secret@{server.socket}"


async def test_changes_are_told_to_a_user_with_the_rights_of_the_readme(
    fresh_database_url: str, server: ValkeyServer, other: AsyncDatabase, owner: Owner
) -> None:
    async with near_at(fresh_database_url, let_in(server), server.client) as (db, ear):
        await assert_another_process_s_changes_are_seen(db, ear, other, owner)
        assert await ear.link.reset()
        await db.cache.maintain()
        assert (await db.cache.status()).prefix == "nexgent:"
        assert db.cache.metrics().state == "closed"
        with server.client() as client:
            refused = client.execute_command("ACL", "LOG")
            assert [each for each in client.client_list() if "B" in each["flags"] and each["user"] == "nexgent"]
        assert refused == []


@pytest.mark.parametrize("right", ["-client|tracking", "-subscribe", "resetchannels"])
async def test_whoever_may_not_be_told_reads_through_redis_and_it_is_logged_once(
    fresh_database_url: str,
    server: ValkeyServer,
    other: AsyncDatabase,
    owner: Owner,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    right: str,
) -> None:
    monkeypatch.setattr(_near_cache, "_PAUSE_S", 0.02)
    url = let_in(server, right)
    db = AsyncDatabase(replace(Settings.from_url(fresh_database_url), redis_url=url, near_cache_rows=ROWS))
    link: Any = db.cache._link
    bell, tried = AsyncBell(), []
    connect = link._servers.connect

    async def connecting() -> Any:
        if link.breaker.answers:
            tried.append(1)
            bell.ring()
        return await connect()

    await db.open()
    link._servers.connect = connecting
    await bell.until(lambda: len(tried) >= 5, "it is tried again")
    position = (await other.trades.buy(owner.buy("1", "1000", TOKEN))).position
    assert position is not None
    for _ in range(3):
        assert await db.cache.position(position.id) == position
        position = await bought_more(other, owner)
    assert (db.cache.metrics().near_hits, db.cache.metrics().hits) == (0, 3)
    await db.close()
    warned = [record.getMessage() for record in caplog.records if "near cache" in record.getMessage()]
    assert len(warned) == 1
    assert "no permission" in warned[0].lower() or "noperm" in warned[0].lower()
    assert "secret" not in caplog.text


async def test_after_a_failover_the_promoted_replica_tells(fresh_database_url: str) -> None:
    with sentinel_group() as group:
        settings = replace(Settings.from_url(fresh_database_url), redis_url=group.url)
        async with (
            AsyncDatabase(settings) as other,
            near_at(fresh_database_url, group.url, group.replica_client) as (db, ear),
        ):
            owner = await funded_owner(other)
            position = (await other.trades.buy(owner.buy("1", "1000", TOKEN))).position
            assert position is not None
            await db.cache.position(position.id)
            assert await db.cache.position(position.id) == position
            assert ear.holds(position)
            group.master.kill()
            await ear.until(lambda: len(ear.rows) == 0, "all is dropped")
            changed = await bought_more(other, owner)
            for one in (other, db):
                assert await one.cache.position(position.id) == changed
            group.wait_for_failover()
            await ear.listening()
            for one in (other, db):
                while one.cache.metrics().state != "closed":
                    await one.cache._recover()
            await assert_another_process_s_changes_are_seen(db, ear, other, owner)


async def test_without_the_setting_nobody_listens(
    other: AsyncDatabase, server: ValkeyServer, fresh_database_url: str
) -> None:
    assert Settings.from_url(fresh_database_url, {}).near_cache_rows == 0
    with server.client() as client:
        assert not [each for each in client.client_list() if "B" in each["flags"]]
    assert other.cache.metrics().near_hits == 0
