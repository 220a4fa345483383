"""An answer of PostgreSQL has a limit: libpq would keep all of it in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from nexgent_db import AsyncDatabase
from nexgent_db.aio import Repository, query
from nexgent_db.errors import AnswerTooLong
from nexgent_db.settings import Settings
from tests.integration.aio.factories import new_owner

SQL = Path(__file__).parents[1] / "aio" / "numbers.sql"
MIB = 1024 * 1024


class Numbers(Repository, sql=SQL):
    """Texts that the server makes."""

    @query
    async def list_texts(self, length: int, count: int) -> list[str]:
        """So many texts of this length."""

    @query
    def stream_texts(self, length: int, count: int) -> AsyncIterator[str]:
        """The same, one after the other."""


@pytest_asyncio.fixture
async def db(fresh_database_url: str) -> AsyncIterator[AsyncDatabase]:
    settings = replace(Settings.from_url(fresh_database_url), max_answer_mib=4, pool_max_size=1)
    async with AsyncDatabase(settings) as database:
        yield database


@pytest.mark.parametrize(("length", "count"), [(1000, 300_000), (MIB, 300), (300 * MIB, 1)])
async def test_too_long_an_answer_is_given_up(db: AsyncDatabase, length: int, count: int) -> None:
    with pytest.raises(AnswerTooLong) as refused:
        await db.use(Numbers).list_texts(length, count)
    assert refused.value.max_bytes == 4 * MIB
    assert str(refused.value) == "the answer is longer than 4,194,304 bytes, the limit of NEXGENT_DB_MAX_ANSWER_MIB"
    assert await db.use(Numbers).list_texts(2, 1) == ["xx"]  # the only connection was replaced
    assert (await db.health()).ok


@pytest.mark.parametrize(("length", "count"), [(100, 10_000), (MIB, 3), (2 * MIB, 1)])
async def test_answer_below_the_limit_is_read(db: AsyncDatabase, length: int, count: int) -> None:
    for _ in range(3):  # the limit is one answer's, not the connection's
        assert [len(text) for text in await db.use(Numbers).list_texts(length, count)] == [length] * count


async def test_stream_may_be_longer_than_the_limit(db: AsyncDatabase) -> None:
    found = [len(text) async for text in db.use(Numbers).stream_texts(2000, 5000)]
    assert found == [2000] * 5000


async def test_transaction_with_too_long_an_answer_is_undone(db: AsyncDatabase) -> None:
    with pytest.raises(AnswerTooLong):
        async with db.transaction() as tx:
            user = await tx.users.create("a@example.org")
            await tx.use(Numbers).list_texts(MIB, 300)
    assert await db.users.find_by_id(user.id) is None
    await new_owner(db)
