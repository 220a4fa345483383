"""Whatever stands in Redis: reads answer from the database, and maintenance, verify and repair go on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from nexgent_db import AsyncDatabase
from nexgent_db.aio.cache.reconciler import Reconciler
from nexgent_db.aio.cache.servers import IdleConnections
from nexgent_db.cache import sockets
from nexgent_db.errors import CacheUnreachable
from nexgent_db.models.cache import CacheDifference
from nexgent_db.settings import Settings
from tests.integration.aio.factories import TOKEN, Owner, funded_owner
from tests.support.faults.flooding_server import flooding_server
from tests.support.servers.valkey_server import ValkeyServer

NESTED: Final = b"[" * 100_000 + b"]" * 100_000
PAYLOADS: Final = {
    "nested": b'{"version":1,"x":' + NESTED + b"}",
    "nested objects": b'{"version":1,"id":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
    "long": b'{"version":1,"tokenSymbol":"' + b"x" * 3_000_000 + b'"}',
    "many digits": b'{"version":' + b"9" * 100_000 + b"}",
    "highest version": b'{"version":9999999999999999999}',
    "huge decimal": b'{"version":1,"balance":"1e999999999","purchasePrice":"1e-999999999"}',
    "no JSON": b"\xff\xfe\0\r\n\x1b[2J",
    "empty": b"",
    "null": b"null",
}
KINDS: Final = ("hash", "list", "sorted set", "stream")


@pytest.fixture
def settings(fresh_database_url: str, server: ValkeyServer) -> Settings:
    return replace(Settings.from_url(fresh_database_url), redis_url=server.url)


@pytest_asyncio.fixture
async def db(settings: Settings) -> AsyncIterator[AsyncDatabase]:
    async with AsyncDatabase(settings) as database:
        yield database


@pytest_asyncio.fixture
async def owner(db: AsyncDatabase) -> Owner:
    made = await funded_owner(db)
    await db.trades.buy(made.buy("1", "1000"))
    return made


async def read_all(db: AsyncDatabase, owner: Owner) -> list[object]:
    positions = await db.cache.positions_of_agent(owner.agent_id)
    return [
        positions,
        await db.cache.position(positions[0].id),
        await db.cache.positions_of_token(TOKEN),
        await db.cache.balances_of_wallet(owner.agent_id, owner.wallet_address),
        await db.cache.config(owner.agent_id),
        (await db.cache.trading_flags(owner.agent_id)).automated_trading_live,
        await db.cache.active_agents(),
    ]


async def maintained(db: AsyncDatabase) -> None:
    """Relay what waits, then two whole scan passes: the second repairs what the first found."""
    reconciler: Any = db.cache._reconciler
    assert isinstance(reconciler, Reconciler)
    for _ in range(2):
        reconciler._cursor, reconciler._next_pass = b"0", 0.0
        passes = reconciler.scan_passes
        while reconciler.scan_passes == passes:
            await db.cache.maintenance.run_once()
        await db.cache.maintenance.run_once()


async def assert_right(db: AsyncDatabase, owner: Owner, truth: list[object]) -> None:
    assert await read_all(db, owner) == truth
    await maintained(db)
    compared = await db.cache.admin.verify(lambda found: None, patience_s=0)
    assert compared.differences == 0
    assert await read_all(db, owner) == truth
    assert db.cache.metrics().openings == 0
    await db.trades.dca_buy(owner.dca_buy("1", "500"))
    position = (await db.cache.positions_of_agent(owner.agent_id))[0]
    assert position == await db.positions.find_by_id(position.id)


@pytest.mark.parametrize("name", PAYLOADS)
async def test_any_text_in_the_place_of_ours(db: AsyncDatabase, owner: Owner, server: ValkeyServer, name: str) -> None:
    truth = await read_all(db, owner)
    with server.client() as client:
        for key in client.keys("nexgent:*"):
            if client.type(key) == "string" and not key.endswith(("epoch", "watermark")):
                client.set(key, PAYLOADS[name])
    await assert_right(db, owner, truth)


@pytest.mark.parametrize("kind", KINDS)
async def test_any_type_in_the_place_of_ours(db: AsyncDatabase, owner: Owner, server: ValkeyServer, kind: str) -> None:
    truth = await read_all(db, owner)
    with server.client() as client:
        for key in client.keys("nexgent:*"):
            if not key.endswith(("epoch", "watermark")):
                client.delete(key)
                put(client, kind, key)
    await assert_right(db, owner, truth)


def put(client: Any, kind: str, key: str) -> None:
    match kind:
        case "hash":
            client.hset(key, "a", "b")
        case "list":
            client.rpush(key, "a")
        case "sorted set":
            client.zadd(key, {"a": 1})
        case "stream":
            client.xadd(key, {"a": "b"})


def hostile_keys(agent_id: UUID) -> Iterator[tuple[bytes, bytes]]:
    some_id = str(uuid4()).encode()
    names = [
        b"balance:%s:W%s" % (some_id, b":" * 100_000),
        b"balance:%s:W\0:T" % some_id,
        b"balance:%s:\xff\xfe:T" % some_id,
        b"position:%s" % some_id,
        b"config:%s" % some_id,
        b"agent:%s:trading_mode" % some_id,
        b"token:%s:positions" % (b"x" * 100_000),
        b"token:\0:positions",
        b"wallet:\0:balances",
        b"agent:%s:positions" % some_id,
        b"x" * 1_000_000,
    ]
    for name in names:
        for payload in PAYLOADS.values():
            yield b"nexgent:" + name, payload
        if name.endswith((b":positions", b":balances")):
            owner = name.split(b":")[1]
            yield b"nexgent:" + name + b":complete", b"1 " + owner
            yield b"nexgent:" + name + b":complete", b"999999999 " + owner
            yield b"nexgent:" + name + b":complete", b"1 \xff"


async def test_any_key_beside_ours(db: AsyncDatabase, owner: Owner, server: ValkeyServer) -> None:
    truth = await read_all(db, owner)
    with server.client() as client:
        for key, payload in hostile_keys(owner.agent_id):
            client.set(key, payload)
            await maintained(db)
        found: list[CacheDifference] = []
        await db.cache.admin.repair(found.append, patience_s=0)
    await assert_right(db, owner, truth)


async def test_maintenance_goes_on_after_any_exception(
    db: AsyncDatabase, owner: Owner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rounds = 0

    class Stopped(BaseException):
        pass

    async def fail_twice() -> int:
        nonlocal rounds
        rounds += 1
        if rounds < 3:
            raise [RecursionError("too deep"), KeyError("x")][rounds - 1]
        raise Stopped

    maintenance = db.cache.maintenance
    monkeypatch.setattr(maintenance, "run_once", fail_twice)
    with pytest.raises(Stopped):
        await maintenance.run(pause_s=0.001)
    assert db.cache.metrics().failed_rounds == 2
    logged = [record.getMessage() for record in caplog.records if "maintenance" in record.getMessage()]
    assert [message.partition(" (at ")[0] for message in logged] == [
        "a round of the cache's maintenance failed: RecursionError('too deep')",
        "a round of the cache's maintenance failed: KeyError('x')",
    ]


FOREIGN = [LookupError, RecursionError, MemoryError]
"""Exceptions that are neither Redis's nor PostgreSQL's."""


@pytest.mark.parametrize("kind", FOREIGN)
async def test_reads_verify_and_repair_survive_any_exception_of_the_client(
    db: AsyncDatabase, owner: Owner, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    truth = await read_all(db, owner)
    await db.cache.admin.warm()
    exchange, left = IdleConnections.exchange, 0

    async def fail(connections: IdleConnections, *command: Any) -> Any:
        nonlocal left
        if left:
            left -= 1
            raise kind("neither Redis's nor PostgreSQL's")
        return await exchange(connections, *command)

    monkeypatch.setattr(IdleConnections, "exchange", fail)
    left = 1_000_000
    assert await read_all(db, owner) == truth
    with pytest.raises(CacheUnreachable, match=kind.__name__):
        await db.cache.admin.verify()
    for compare in (db.cache.admin.verify, db.cache.admin.repair):
        left = 1  # one failure: it waits for Redis and goes on
        assert (await compare(patience_s=0)).differences == 0
        assert left == 0
    assert db.cache.metrics().openings > 0
    await maintained(db)
    assert await read_all(db, owner) == truth


@contextmanager
def short_replies(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setattr(sockets, "MAX_REPLY_BYTES", 1_000_000)
        yield


async def test_reply_without_end_is_cut(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that floods took 3.9 GB of memory."""
    with short_replies(monkeypatch), flooding_server() as flood:
        async with AsyncDatabase(replace(settings, redis_url=flood.url)) as db:
            owner = await funded_owner(db)
            balances = await db.cache.balances_of_wallet(owner.agent_id, owner.wallet_address)
            assert len(balances) == 1
            assert db.cache.metrics().reason == "ConnectionError: the reply is longer than 1,000,000 bytes"
        assert flood.sent_bytes < 100_000_000


async def test_reply_below_the_limit_is_read(
    db: AsyncDatabase, owner: Owner, server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit counts since the last command, not over the life of a connection."""
    with short_replies(monkeypatch), server.client() as client:
        client.set("nexgent:large", b"x" * 900_000)
        for _ in range(3):
            assert len(await db.cache._recovery.client.call("GET", "nexgent:large")) == 900_000  # type: ignore[union-attr]
    assert db.cache.metrics().openings == 0
