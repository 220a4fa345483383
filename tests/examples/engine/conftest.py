"""Databases with a single connection, whose round trips can be counted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import uuid4

import pytest_asyncio

from nexgent_db import AsyncDatabase
from nexgent_db.settings import Settings


@pytest_asyncio.fixture
async def db(fresh_database_url: str, redis_url: str) -> AsyncIterator[AsyncDatabase]:
    """A database of the test's own, for all users, with a cache."""
    settings = Settings.from_url(fresh_database_url)
    settings = replace(settings, redis_url=redis_url, cache_prefix=f"{uuid4()}:", pool_max_size=1)
    async with AsyncDatabase(settings) as database:
        yield database


@pytest_asyncio.fixture
async def without_cache(db: AsyncDatabase) -> AsyncIterator[AsyncDatabase]:
    """The same database without Redis."""
    async with AsyncDatabase(replace(db.settings, redis_url=None)) as database:
        yield database
