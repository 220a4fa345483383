"""With a near cache a hot read asks nobody, and no caller is told less than without one once the server has told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import pytest_asyncio

from nexgent_db import AsyncDatabase
from nexgent_db.aio import _near_cache
from nexgent_db.models import SOL_MINT, AgentPosition
from nexgent_db.settings import Settings
from tests.integration.aio.factories import TOKEN, Owner, new_owner
from tests.support.valkey_server import ValkeyServer, valkey_server

ROWS = 10


class Ear:
    """Waits for what the server tells a database's near cache."""

    def __init__(self, db: AsyncDatabase, server: ValkeyServer) -> None:
        link: Any = db.cache._link
        assert link.near is not None
        self.link = link
        self.rows = link.near.rows
        self._server = server
        self._heard = asyncio.Event()
        self._changed: set[object] = set()
        self._forget = self.rows.forget
        self.rows.forget = self._forgetting
        for name in ("believe", "clear", "close"):
            setattr(self.rows, name, self._noticing(getattr(self.rows, name)))

    async def until(self, condition: Any) -> None:
        while True:
            self._heard.clear()
            if condition():
                return
            await self._heard.wait()

    async def listening(self) -> None:
        """The server tells of changes."""
        await self.until(lambda: self.rows._until > time.monotonic())

    async def told(self) -> None:
        """Everything that changed until now was told."""
        mark = f"{self.link.keys.prefix}told:{uuid4()}"
        with self._server.client() as client:
            client.set(mark, "1")
        await self.until(lambda: mark in self._changed)

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


@pytest_asyncio.fixture
async def db(settings: Settings) -> AsyncIterator[AsyncDatabase]:
    """A process with a near cache."""
    database = AsyncDatabase(settings)
    yield database
    await database.close()


@pytest_asyncio.fixture
async def ear(db: AsyncDatabase, server: ValkeyServer) -> Ear:
    """The process's, which begins now."""
    ear = Ear(db, server)
    await db.open()
    await ear.listening()
    return ear


@pytest_asyncio.fixture
async def other(settings: Settings) -> AsyncIterator[AsyncDatabase]:
    """A process without one."""
    async with AsyncDatabase(replace(settings, near_cache_rows=0)) as database:
        yield database


@pytest_asyncio.fixture
async def owner(other: AsyncDatabase) -> Owner:
    made = await new_owner(other)
    await other.trades.deposit(made.deposit("100"))
    return made


@pytest_asyncio.fixture
async def position(other: AsyncDatabase, owner: Owner, db: AsyncDatabase, ear: Ear) -> AgentPosition:
    """One that the near cache holds."""
    made = (await other.trades.buy(owner.buy("1", "1000", TOKEN))).position
    assert made is not None
    await ear.told()
    assert await db.cache.position(made.id) == made
    assert near(db, ear, made)
    return made


def near(db: AsyncDatabase, ear: Ear, position: AgentPosition) -> bool:
    return (ear.link.keys.position(position.id),) in ear.rows._answers


async def bought_more(db: AsyncDatabase, owner: Owner) -> AgentPosition:
    made = (await db.trades.dca_buy(owner.dca_buy("1", "500"))).position
    assert made is not None
    return made


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
    db: AsyncDatabase, server: ValkeyServer, other: AsyncDatabase, owner: Owner
) -> None:
    async def deaf(message: object) -> None:
        pass

    near: Any = Ear(db, server).link.near
    near._told = deaf
    listening = asyncio.Event()
    believe = near.rows.believe

    def believed(*arguments: Any) -> None:
        believe(*arguments)
        listening.set()

    near.rows.believe = believed
    await db.open()
    await listening.wait()
    position = (await db.trades.buy(owner.buy("1", "1000", TOKEN))).position
    assert position is not None
    for _ in range(3):
        assert await db.cache.position(position.id) == position
        assert await db.cache.position(position.id) == position
        position = await bought_more(db, owner)
    assert db.cache.metrics().near_hits == 3
    assert await db.cache.position(position.id) == position
    # Left to the outbox, and brought from there into the cache by another process.
    with psycopg.connect(db.settings.conninfo, autocommit=True) as psql:
        psql.execute("UPDATE agent_positions SET peak_price = 7 WHERE id = %s", [position.id])
    db.cache.leave_to_outbox()
    await other.cache.maintain()
    assert await db.cache._recover()
    found = await db.cache.position(position.id)
    assert found is not None
    assert found.peak_price == 7


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
    assert not near(db, ear, position)


async def test_all_is_dropped_when_the_connection_is_lost_until_the_server_tells_again(
    db: AsyncDatabase, other: AsyncDatabase, ear: Ear, server: ValkeyServer, owner: Owner, position: AgentPosition
) -> None:
    with server.client() as client:
        for each in client.client_list():
            if "B" in each["flags"]:
                client.client_kill_filter(_id=each["id"])
    await ear.until(lambda: len(ear.rows) == 0)
    assert await db.cache.position(position.id) == position
    assert len(ear.rows) == 0  # nobody would tell of a change
    changed = await bought_more(other, owner)
    assert await db.cache.position(position.id) == changed
    await ear.listening()
    assert await db.cache.position(position.id) == changed
    assert near(db, ear, position)


async def test_all_is_dropped_when_the_server_dies(
    db: AsyncDatabase, ear: Ear, server: ValkeyServer, position: AgentPosition
) -> None:
    server.kill()
    await ear.until(lambda: len(ear.rows) == 0)
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
            assert not near(db, ear, position)  # before anything was told
        case "reset elsewhere":
            assert await elsewhere.reset()
        case "distrusted":
            await elsewhere.distrust("a test")
    await ear.until(lambda: not near(db, ear, position))
    assert await db.cache.position(position.id) == position


async def test_a_hanging_server_is_believed_for_no_longer_than_the_bound(
    db: AsyncDatabase, ear: Ear, server: ValkeyServer, position: AgentPosition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_near_cache, "BELIEVED_S", 0.3)
    last = ear.rows._until
    await ear.until(lambda: ear.rows._until > last and near(db, ear, position))
    with server.hanging():
        with psycopg.connect(db.settings.conninfo, autocommit=True) as psql:
            psql.execute("UPDATE agent_positions SET peak_price = 7 WHERE id = %s", [position.id])
        assert ear.rows._until < time.monotonic() + 0.3
        await ear.until(lambda: not near(db, ear, position))
        found = await db.cache.position(position.id)
        assert found is not None
        assert found.peak_price == 7


async def test_without_the_setting_nobody_listens(
    other: AsyncDatabase, server: ValkeyServer, fresh_database_url: str
) -> None:
    assert Settings.from_url(fresh_database_url, {}).near_cache_rows == 0
    with server.client() as client:
        assert not [each for each in client.client_list() if "B" in each["flags"]]
    assert other.cache.metrics().near_hits == 0
