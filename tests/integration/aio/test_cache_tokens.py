"""Positions of a token that is given in any case: the cache and the database answer the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import uuid4

import psycopg
import pytest
import pytest_asyncio

from nexgent_db import AsyncDatabase
from nexgent_db.cache.keys import lower_case
from nexgent_db.errors import InvalidInput
from nexgent_db.models import AgentPosition
from nexgent_db.settings import Settings
from tests.integration.aio.factories import TOKEN, Owner, funded_owner


@pytest_asyncio.fixture(params=["cache", "database"])
async def db(request: pytest.FixtureRequest, fresh_database_url: str, redis_url: str) -> AsyncIterator[AsyncDatabase]:
    """A database of the test's own, once with a cache in Redis, once without Redis."""
    settings = replace(Settings.from_url(fresh_database_url), redis_url=None, cache_prefix=f"{uuid4()}:")
    if request.param == "cache":
        settings = replace(settings, redis_url=redis_url)
    async with AsyncDatabase(settings) as database:
        yield database


@pytest_asyncio.fixture
async def owner(db: AsyncDatabase) -> Owner:
    return await funded_owner(db)


async def bought(db: AsyncDatabase, owner: Owner, token: str) -> AgentPosition:
    position = (await db.trades.buy(owner.buy("1", "1000", token))).position
    assert position is not None
    return position


async def positions_of(db: AsyncDatabase, token: str) -> list[AgentPosition]:
    """Read twice: with a cache, the second answer comes from Redis alone."""
    first = await db.cache.positions_of_token(token)
    hits = db.cache.metrics().hits
    assert await db.cache.positions_of_token(token) == first
    assert db.cache.metrics().hits - hits == (db.settings.redis_url is not None)
    return first


async def test_token_in_any_case_has_the_same_positions(db: AsyncDatabase, owner: Owner) -> None:
    for token in (TOKEN, TOKEN.lower()):
        assert await positions_of(db, token) == []
    older = await bought(db, owner, TOKEN)
    newer = await bought(db, await funded_owner(db), TOKEN)
    for token in (TOKEN, TOKEN.lower(), TOKEN.upper(), TOKEN.swapcase()):
        assert await positions_of(db, token) == [newer, older]
        assert await db.cache.positions_of_token(token, at_least=newer.version) == [newer, older]
    await db.trades.sell(owner.sell("1000", "1"))
    for token in (TOKEN.lower(), TOKEN):
        assert await positions_of(db, token) == [newer]
    assert await positions_of(db, TOKEN[:-1]) == []


async def test_equal_token_comes_without_token_that_differs_by_case(db: AsyncDatabase, owner: Owner) -> None:
    upper, lower = await bought(db, owner, "MINT"), await bought(db, owner, "mint")
    for _ in range(2):
        assert await positions_of(db, "MINT") == [upper]
        assert await positions_of(db, "mint") == [lower]
    assert await db.positions.list_by_token("MINT") == [upper]
    await db.trades.sell(owner.sell("1000", "1", "mint"))
    assert await positions_of(db, "mint") == [upper]  # the row says which token it is of
    assert await db.positions.list_by_token("mint") == []
    assert await positions_of(db, "MINT") == [upper]


async def test_address_of_several_tokens_is_refused(db: AsyncDatabase, owner: Owner) -> None:
    await bought(db, owner, "MINT")
    await bought(db, owner, "mint")
    for _ in range(2):
        with pytest.raises(InvalidInput, match="token_address: may be MINT or mint: the exact address is needed"):
            await db.cache.positions_of_token("Mint")
    await db.trades.sell(owner.sell("1000", "1", "mint"))
    assert [row.token_address for row in await positions_of(db, "Mint")] == ["MINT"]


async def test_trades_in_tokens_that_differ_by_case_keep_their_set_complete(db: AsyncDatabase, owner: Owner) -> None:
    upper, lower = await bought(db, owner, "MINT"), await bought(db, owner, "mint")
    await positions_of(db, "MINT")
    hits = db.cache.metrics().hits
    for _ in range(3):
        for token, position in (("MINT", upper), ("mint", lower)):
            changed = (await db.trades.dca_buy(owner.dca_buy("1", "10", token))).position
            assert changed is not None
            assert await db.cache.positions_of_token(token) == [changed]
            assert changed.id == position.id
    await db.trades.sell(owner.sell("1030", "1", "mint"))
    assert await db.cache.positions_of_token("mint") == await db.positions.list_by_token("MINT")
    assert db.cache.metrics().hits - hits == (7 if db.settings.redis_url is not None else 0)


async def test_token_that_changes_case_moves_with_its_position(db: AsyncDatabase, owner: Owner) -> None:
    position = await bought(db, owner, "mint")
    await positions_of(db, "MINT")
    with psycopg.connect(db.settings.conninfo, autocommit=True) as psql:
        psql.execute("UPDATE agent_positions SET token_address = 'Mint' WHERE id = %s", [position.id])
    while db.settings.redis_url is not None and await db.cache.maintenance.run_once():
        pass
    for token in ("mint", "Mint", "MINT"):
        assert [row.token_address for row in await positions_of(db, token)] == ["Mint"]


async def test_warmed_sets_of_tokens_are_right(db: AsyncDatabase, owner: Owner) -> None:
    if db.settings.redis_url is None:
        pytest.skip("warms a cache")
    upper, lower, other = [await bought(db, owner, token) for token in ("MINT", "mint", "Other")]
    await db.cache.admin.reset()
    await db.cache.admin.warm()
    hits = db.cache.metrics().hits
    assert await db.cache.positions_of_token("MINT") == [upper]
    assert await db.cache.positions_of_token("mint") == [lower]
    assert await db.cache.positions_of_token("OTHER") == [other]
    assert db.cache.metrics().hits == hits + 3
    assert (await db.cache.admin.verify(patience_s=0)).different == {}


LETTERS = "Az Ä ß ẞ İ ı K Å Σ ς ǅ Ω Ж ﬀ 𐐀"


async def test_lower_case_equals_that_of_the_database(db: AsyncDatabase) -> None:
    """Other letters than A to Z stay as they are on both sides: the Kelvin sign is no k."""
    letters = [*LETTERS.split(), *map(chr, range(1, 128))]
    with psycopg.connect(db.settings.conninfo) as psql:
        found = psql.execute(
            'SELECT lower(letter COLLATE "C") FROM unnest(%s::text[]) WITH ORDINALITY AS l (letter, n) ORDER BY n',
            [letters],
        ).fetchall()
    assert [lower_case(letter) for letter in letters] == [letter for (letter,) in found]


async def test_letters_beyond_ascii_are_compared_exactly(db: AsyncDatabase, owner: Owner) -> None:
    upper, lower = await bought(db, owner, "ÄPFEL"), await bought(db, owner, "äpfel")
    assert await positions_of(db, "ÄPfel") == [upper]
    assert await positions_of(db, "äPFEL") == [lower]


async def test_text_that_is_no_token_is_refused(db: AsyncDatabase) -> None:
    for token in ("", "T" * 256, "half a \ud83d"):
        with pytest.raises(InvalidInput) as refused:
            await db.cache.positions_of_token(token)
        assert refused.value.field == "token_address"
