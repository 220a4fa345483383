"""Other programs keep keys under the cache's prefix, as the public system did: none of theirs is ever deleted."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid4

import psycopg
import redis

from nexgent_db import Database
from nexgent_db.settings import Settings
from tests.integration.sync.factories import funded_owner
from tests.support.oracles.cache_oracle import differences, missing
from tests.support.servers.valkey_server import valkey_server

ID = UUID("0198c0de-0000-7000-8000-000000000001")
OF_OTHERS = (
    "refresh_token:abc",
    f"refresh_token:{ID}:fence",
    "blacklist:eyJhbGciOi",
    f"burn_lock:{ID}",
    f"position_lock:{ID}",
    f"position:{ID}:lock",
    "position:latest",
    f"position:{ID}x",
    f"agent:{ID}:burn_lock",
    f"agent:{ID}:positions:archived",
    "balance:total",
    "config:global",
    "session:price:x",
    "active_agents_history",
    "watermark:image",
    "epochs",
    "scanner-report",
    "a\nposition",
    "ü",
)
"""Names that look like ours, begin with one of ours, or end like one."""
OF_COORDINATION = ("lock:agent", "idempotency:buy", f"signal:7:{ID}:executions", "signal_create:a:b:c:1")


def test_no_key_of_another_program_is_ever_deleted(fresh_database_url: str) -> None:
    with valkey_server() as server, server.client() as client:
        settings = replace(Settings.from_url(fresh_database_url), redis_url=server.url)
        kept = {f"nexgent:{name}": f"value of {name}" for name in (*OF_OTHERS, *OF_COORDINATION)}
        client.mset(kept)
        client.set(b"nexgent:\xff\xfe", "no text")
        client.set("other:position", "another prefix")
        stale = [
            f"nexgent:{name}" for name in (f"position:{uuid4()}", f"config:{uuid4()}", f"balance:{ID}:W:T", "price:t")
        ]
        client.mset(dict.fromkeys(stale, "left by the public system"))
        client.sadd("nexgent:active_agents", str(uuid4()))

        with Database(settings) as db:
            assert_kept(client, kept, "opening")
            assert client.exists(*stale, "nexgent:active_agents") == 0
            owner = funded_owner(db)
            db.trades.buy(owner.buy("1", "1000"))
            db.cache.admin.warm()
            db.cache.admin.verify()
            db.cache.admin.repair()
            db.cache.admin.status()
            assert_kept(client, kept, "a repair")
            db.cache.admin.reset()
            assert_kept(client, kept, "a reset")
            client.set("nexgent:watermark", "9000000000000000000")  # as after a restore to an older database
        with Database(settings) as db:
            assert db.cache.metrics().state == "closed"
            assert int(client.get("nexgent:watermark") or 0) < 9_000_000_000_000_000_000
            assert_kept(client, kept, "another epoch")
            db.cache.admin.warm()
            client.unlink(*kept, b"nexgent:\xff\xfe")  # which the oracle would take for ours
            with psycopg.connect(fresh_database_url) as psql:
                assert (missing(client, psql, "nexgent:"), differences(client, psql, "nexgent:")) == ([], [])


def assert_kept(client: redis.Redis, kept: dict[str, str], after: str) -> None:
    lost = {name for name, value in kept.items() if client.get(name) != value}
    assert lost == set(), after
    assert client.get(b"nexgent:\xff\xfe") == "no text", after
    assert client.get("other:position") == "another prefix", after
