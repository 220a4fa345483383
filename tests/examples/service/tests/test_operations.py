"""Keys, probes, metrics, and what the service refuses to start on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import psycopg
import pytest
from callers import Caller, new_caller
from price_alerts.app import app
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from nexgent_db import AsyncDatabase, Settings
from nexgent_db.errors import SchemaNotReady, TenantNotIsolated


async def test_key_needs_the_scope(client: httpx.AsyncClient, nexgent_async_database: AsyncDatabase) -> None:
    reader = await new_caller(nexgent_async_database, "alerts:read")
    query = {"agent_id": str(reader.agent.id)}
    assert (await client.get("/alerts", params=query, headers=reader.headers)).status_code == 200
    refused = await client.post("/alerts", json=reader.alert(), headers=reader.headers)
    assert (refused.status_code, refused.json()) == (403, {"detail": "the API key lacks the scope alerts:write"})


@pytest.mark.parametrize("secret", ["nex_unknown", f"nex_{'a' * 32}", ""])
async def test_unknown_key_is_refused(client: httpx.AsyncClient, secret: str) -> None:
    answer = await client.get("/alerts", params={"agent_id": "x"}, headers={"Authorization": f"Bearer {secret}"})
    assert answer.status_code == 401


async def test_expired_and_revoked_keys_are_refused(
    client: httpx.AsyncClient, caller: Caller, nexgent_async_database: AsyncDatabase
) -> None:
    keys = nexgent_async_database.api_keys
    query = {"agent_id": str(caller.agent.id)}
    (key,) = await keys.list_by_user(caller.user.id)
    assert (await client.get("/alerts", params=query, headers=caller.headers)).status_code == 200
    await keys.revoke(caller.user.id, key.id)
    assert (await client.get("/alerts", params=query, headers=caller.headers)).status_code == 401
    soon = datetime.now(UTC) + timedelta(seconds=30)
    expiring = await keys.create(caller.user.id, "short", ["alerts:read"], soon)
    with psycopg.connect(nexgent_async_database.settings.conninfo) as connection:
        connection.execute("UPDATE api_keys SET expires_at = now(), created_at = now() - interval '1 day'")
    headers = {"Authorization": f"Bearer {expiring.secret.get_secret_value()}"}
    assert (await client.get("/alerts", params=query, headers=headers)).status_code == 401


async def test_probes_and_metrics(client: httpx.AsyncClient, caller: Caller) -> None:
    await client.post("/alerts", json=caller.alert(), headers=caller.headers)
    assert (await client.get("/live")).json() == {"state": "ok"}
    ready = await client.get("/ready")
    assert (ready.status_code, ready.json()["state"], ready.json()["cache"]) == (200, "ok", "closed")
    metrics = (await client.get("/metrics")).text
    assert 'nexgent_db_query_duration_seconds_count{query="price_alerts.create"}' in metrics
    assert 'query="api_keys.verify_hash"' in metrics


async def test_service_is_not_ready_without_its_database(
    client: httpx.AsyncClient, nexgent_database_url: str, caller: Caller
) -> None:
    with psycopg.connect(make_conninfo(nexgent_database_url, dbname="postgres"), autocommit=True) as connection:
        name = conninfo_to_dict(nexgent_database_url)["dbname"]
        connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'.encode())
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
    ready = await client.get("/ready")
    assert (ready.status_code, ready.json()["state"]) == (503, "gone")
    assert (await client.get("/live")).status_code == 200
    answer = await client.get("/alerts", params={"agent_id": str(caller.agent.id)}, headers=caller.headers)
    assert answer.status_code == 503
    assert answer.json() == {"code": "database_unavailable"}
    assert answer.headers["Retry-After"] == "1"


async def test_service_does_not_start_without_its_migration(
    nexgent_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", make_conninfo(nexgent_settings.conninfo, user="nexgent_app"))
    with psycopg.connect(nexgent_settings.conninfo) as connection:
        connection.execute("DELETE FROM _yoyo_migration WHERE migration_id LIKE 'price_alerts/%'")
    with pytest.raises(SchemaNotReady, match="price_alerts"):
        async with app.router.lifespan_context(app):
            pass


async def test_service_does_not_start_where_users_see_each_other(
    nexgent_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", nexgent_settings.conninfo)
    with pytest.raises(TenantNotIsolated, match="log in as another role"):
        async with app.router.lifespan_context(app):
            pass
    monkeypatch.setenv("DATABASE_URL", make_conninfo(nexgent_settings.conninfo, user="nexgent_app"))
    with psycopg.connect(nexgent_settings.conninfo) as connection:
        connection.execute("DROP POLICY tenant ON price_alerts")
    with pytest.raises(TenantNotIsolated, match="price_alerts"):
        async with app.router.lifespan_context(app):
            pass
