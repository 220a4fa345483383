"""The cache behind Sentinel, and on a cluster: real servers, a real failover."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
import redis
from redis.crc import key_slot

from nexgent_db import AsyncDatabase
from nexgent_db.cache.keys import CacheKeys
from nexgent_db.models import SOL_MINT
from nexgent_db.settings import Settings
from tests.integration.aio.factories import TOKEN, Owner, funded_owner
from tests.support.servers.valkey_topologies import (
    PASSWORD,
    SENTINEL_PASSWORD,
    SentinelGroup,
    sentinel_group,
    valkey_cluster,
)

PREFIX = "{nexgent}:"


@asynccontextmanager
async def opened(database_url: str, redis_url: str) -> AsyncIterator[AsyncDatabase]:
    settings = replace(Settings.from_url(database_url), redis_url=redis_url, cache_prefix=PREFIX)
    async with AsyncDatabase(settings) as db:
        yield db


async def assert_all_is_read_from_redis(db: AsyncDatabase, owner: Owner) -> None:
    position = await db.positions.find_by_id((await db.positions.list_by_agent(owner.agent_id))[0].id)
    assert position is not None
    for _ in range(2):
        before = db.cache.metrics().hits
        assert await db.cache.position(position.id) == position
        assert await db.cache.positions_of_agent(owner.agent_id) == [position]
        assert await db.cache.positions_of_token(position.token_address) == [position]
        assert await db.cache.balance(owner.agent_id, owner.wallet_address, SOL_MINT) is not None
        assert len(await db.cache.balances_of_wallet(owner.agent_id, owner.wallet_address)) == 2
        assert (await db.cache.trading_flags(owner.agent_id)).source in ("cache", "database")
        assert owner.agent_id in await db.cache.active_agents()
    assert db.cache.metrics().hits == before + 7


async def owner_with_a_position(db: AsyncDatabase) -> Owner:
    owner = await funded_owner(db)
    await db.trades.buy(owner.buy("1", "1000"))
    return owner


async def recovered(db: AsyncDatabase) -> None:
    """As its background work would, but at once."""
    for _ in range(20):
        if await db.cache._recovery.recover():
            return
    raise AssertionError(f"the cache did not come back: {db.cache.metrics().reason}")


async def test_promoted_replica_is_reset_and_used(fresh_database_url: str) -> None:
    with sentinel_group() as group:
        async with opened(fresh_database_url, group.url) as db:
            assert db.cache.metrics().state == "closed"
            owner = await owner_with_a_position(db)
            await assert_all_is_read_from_redis(db, owner)
            (position,) = await db.positions.list_by_agent(owner.agent_id)
            assert is_replicated(group, CacheKeys(PREFIX).position(position.id)), "it will be old then"
            resets = db.cache.metrics().resets
            group.master.kill()
            added = (await db.trades.dca_buy(owner.dca_buy("1", "500"))).position  # no Redis takes it
            assert added is not None
            group.wait_for_failover()
            await recovered(db)
            assert db.cache.metrics().resets == resets + 1
            assert await db.cache.position(added.id) == added
            await assert_all_is_read_from_redis(db, owner)


def is_replicated(group: SentinelGroup, key: str) -> bool:
    with redis.Redis(port=group.ports[0], password=PASSWORD) as master:
        master.execute_command("WAIT", 1, 5000)
    with redis.Redis(port=group.ports[1], password=PASSWORD) as replica:
        return bool(replica.exists(key))


async def test_demoted_master_is_left(fresh_database_url: str) -> None:
    with sentinel_group() as group:
        async with opened(fresh_database_url, group.url) as db:
            owner = await owner_with_a_position(db)
            await db.cache._client.epoch.verify_server()  # type: ignore[union-attr]
            group.fail_over()
            await db.cache.maintenance.run_once()  # once a second it asks Sentinel; the master still answers
            assert db.cache.metrics().state == "open"
            await recovered(db)
            await assert_all_is_read_from_redis(db, owner)


async def test_missing_sentinel_reads_database_and_hides_password(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"redis+sentinel://:{PASSWORD}@127.0.0.1:1/nexgent?sentinel_password={SENTINEL_PASSWORD}"
    caplog.set_level("DEBUG", "nexgent_db")
    async with opened(database_url, url) as db:
        owner = await owner_with_a_position(db)
        assert len(await db.cache.positions_of_agent(owner.agent_id)) == 1
        metrics = db.cache.metrics()
        assert (metrics.state, metrics.hits) == ("open", 0)
        cache_client: Any = db.cache._client
        servers = cache_client.servers
        said = f"{caplog.text} {metrics} {db!r} {db.settings!r} {servers._sentinel!r} {servers._client!r}"
    assert "no Sentinel of 1 knows a master 'nexgent'" in said
    assert PASSWORD not in said
    assert SENTINEL_PASSWORD not in said


async def test_cluster_with_hash_tag_prefix_is_used(fresh_database_url: str) -> None:
    with valkey_cluster((0, 16383)) as (url,):
        async with opened(fresh_database_url, url) as db:
            assert db.cache.metrics().state == "closed"
            owner = await owner_with_a_position(db)
            await assert_all_is_read_from_redis(db, owner)
            async with db.cache.coordination.lock("rebalance"):
                assert await db.cache.coordination.claim_signal(None, TOKEN, "momentum", 3)
            cache_client: Any = db.cache._client
            assert await cache_client.epoch.reset()
            await assert_all_is_read_from_redis(db, owner)


async def test_owning_node_is_found_through_another(fresh_database_url: str) -> None:
    slot = key_slot(PREFIX.encode())
    with valkey_cluster((0, slot - 1), (slot, 16383)) as (other, own):
        async with opened(fresh_database_url, other) as db:
            await recovered(db)
            owner = await owner_with_a_position(db)
            await assert_all_is_read_from_redis(db, owner)
        with redis.Redis.from_url(own) as client:
            assert client.dbsize() > 0


async def test_prefix_with_hash_tag_keeps_keys_in_one_slot() -> None:
    keys = CacheKeys(PREFIX)
    ids = [uuid4() for _ in range(20)]
    tagged = [
        *(keys.epoch, keys.watermark, keys.active_agents, keys.lock("a}b"), keys.idempotency("{x}")),
        *(name for id_ in ids for name in (keys.position(id_), keys.config(id_), keys.positions_of_agent(id_))),
        *(f"{keys.position(id_)}:fence" for id_ in ids),
    ]
    others = ["plain", "{}empty", "a{b}c{d}", "{open", "émigré", *(CacheKeys().position(id_) for id_ in ids)]
    with valkey_cluster((0, 16383)) as (url,), redis.Redis.from_url(url) as client:
        for key in (*tagged, *others):
            assert key_slot(key.encode()) == client.execute_command("CLUSTER", "KEYSLOT", key)
    assert {key_slot(key.encode()) for key in tagged} == {key_slot(PREFIX.encode())}
    assert len({key_slot(key.encode()) for key in others}) > 10
