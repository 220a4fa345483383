"""The service on a database of the test's own, with the roles of production, called in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psycopg
import pytest
from callers import Caller, new_caller
from price_alerts.app import app
from psycopg.conninfo import make_conninfo

from nexgent_db import AsyncDatabase, Settings
from nexgent_db.models import FULL_ACCESS
from nexgent_db.schema.roles import apply_roles

RIGHTS = Path(__file__).parents[1] / "rights.sql"


@pytest.fixture(scope="session")
def nexgent_template_url(nexgent_template_url: str) -> str:
    """The plugin's template with the roles as well."""
    with psycopg.connect(nexgent_template_url) as connection:
        apply_roles(connection)
        connection.execute(RIGHTS.read_bytes())
    return nexgent_template_url


@pytest.fixture
async def client(
    nexgent_cached_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    """Calls the service, which started and will end as it does under uvicorn."""
    settings = nexgent_cached_settings
    assert settings.redis_url is not None
    monkeypatch.setenv("DATABASE_URL", make_conninfo(settings.conninfo, user="nexgent_app"))
    monkeypatch.setenv("REDIS_URL", settings.redis_url)
    monkeypatch.setenv("NEXGENT_DB_CACHE_PREFIX", settings.cache_prefix)
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        yield client


@pytest.fixture
async def caller(nexgent_async_database: AsyncDatabase) -> Caller:
    """A user who may do everything."""
    return await new_caller(nexgent_async_database, FULL_ACCESS)
