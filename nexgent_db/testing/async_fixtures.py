"""The plugin's asynchronous fixtures. pytest-asyncio runs them in the loop of the test; without it, anyio does."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from nexgent_db.testing import RolledBack

if TYPE_CHECKING or "pytest_asyncio" in sys.modules:
    from pytest_asyncio import fixture
else:
    fixture = pytest.fixture

if TYPE_CHECKING:
    from nexgent_db.aio.database import AsyncDatabase
    from nexgent_db.aio.transaction import AsyncTransaction
    from nexgent_db.settings import Settings


@fixture
async def nexgent_async_database(nexgent_settings: Settings) -> AsyncIterator[AsyncDatabase]:
    """An open database of the test's own, without a cache."""
    from nexgent_db.aio.database import AsyncDatabase

    async with AsyncDatabase(nexgent_settings) as database:
        yield database


@fixture
async def nexgent_cached_async_database(nexgent_cached_settings: Settings) -> AsyncIterator[AsyncDatabase]:
    """An open database of the test's own, with a cache."""
    from nexgent_db.aio.database import AsyncDatabase

    async with AsyncDatabase(nexgent_cached_settings) as database:
        yield database


@fixture
async def nexgent_async_transaction(nexgent_shared_database_url: str) -> AsyncIterator[AsyncTransaction]:
    """A transaction on the shared database, rolled back after the test. The fastest: nothing is copied."""
    from nexgent_db.aio.database import AsyncDatabase
    from nexgent_db.settings import Settings

    settings = Settings.from_url(nexgent_shared_database_url, {})
    async with AsyncDatabase(settings) as database:
        with suppress(RolledBack):
            async with database.transaction() as transaction:
                yield transaction
                raise RolledBack
