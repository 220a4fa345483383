"""A database object, and owners for trades."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from nexgent_db import AsyncDatabase
from tests.integration.aio.factories import Owner, new_owner
from tests.support.oracles.state import broken_rules


@pytest_asyncio.fixture
async def db(database_url: str) -> AsyncIterator[AsyncDatabase]:
    """An open database, shared by the session's tests."""
    async with AsyncDatabase(database_url) as database:
        yield database


@pytest_asyncio.fixture
async def owner(db: AsyncDatabase) -> Owner:
    """A user's agent with an empty simulation wallet."""
    return await new_owner(db)


@pytest.fixture
def consistent_ledger(database_url: str) -> Iterator[None]:
    """After the test, every query of sql/checks.sql must come back empty."""
    yield
    assert broken_rules(database_url) == {}
