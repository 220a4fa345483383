"""Cursors that are used again: fewer objects for each call, and never another call's settings or answer."""

from __future__ import annotations

from datetime import UTC
from uuid import uuid4

import pytest

from nexgent_db.aio import cursors
from nexgent_db.aio.connection import PooledConnection
from nexgent_db.aio.cursors import Cursor
from nexgent_db.errors import EmailTaken
from tests.integration.aio.factories import new_owner
from tests.integration.aio.test_connection import one_connection


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Cursor]:
    """The cursors that were made."""
    made: list[Cursor] = []
    make = Cursor.__init__

    def make_and_note(self: Cursor, connection: PooledConnection) -> None:
        made.append(self)
        make(self, connection)

    monkeypatch.setattr(Cursor, "__init__", make_and_note)
    return made


async def test_second_call_uses_cursor_of_first_and_keeps_no_rows(database_url: str, made: list[Cursor]) -> None:
    async with one_connection(database_url) as db:
        owner = await new_owner(db)
        for _ in range(2):
            assert await db.users.find_by_id(owner.user_id) is not None
        async with db.transaction() as tx:
            assert await tx.users.find_by_id(owner.user_id) is not None
        of_query = [each for each in made if each._last_query and b"users.find_by_id" in bytes(each._last_query)]  # type: ignore[arg-type]
        assert len(of_query) == 1
        assert of_query[0].pgresult is None
        assert of_query[0]._results == []
        assert of_query[0]._tx.pgresult is None


@pytest.mark.parametrize("setting", ["TimeZone = 'Asia/Tokyo'", "DateStyle = 'ISO, DMY'", "IntervalStyle = iso_8601"])
async def test_call_under_other_settings_leaves_no_cursor(database_url: str, made: list[Cursor], setting: str) -> None:
    async with one_connection(database_url) as db:
        owner = await new_owner(db)
        async with db.transaction() as tx:
            await tx._connection.execute(f"SET LOCAL {setting}")
            assert await tx.users.find_by_id(owner.user_id) is not None
        before = len(made)
        user = await db.users.find_by_id(owner.user_id)
        assert user is not None
        assert user.created_at.utcoffset() == UTC.utcoffset(None)
        assert len(made) == before + 1


async def test_failed_call_leaves_no_cursor(database_url: str, made: list[Cursor]) -> None:
    async with one_connection(database_url) as db:
        owner = await new_owner(db)
        user = await db.users.find_by_id(owner.user_id)
        assert user is not None
        before = len(made)
        for _ in range(2):
            with pytest.raises(EmailTaken):
                await db.users.create(user.email, "hash")
        assert len(made) == before + 1  # the first one took the cursor of the owner's own creation


async def test_cursors_of_a_connection_are_bounded(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cursors, "MAX_CURSORS", 2)
    async with one_connection(database_url) as db:
        for _ in range(3):
            await db.users.find_by_id(uuid4())
            await db.agents.find_by_id(uuid4())
            await db.wallets.list_by_agent(uuid4())
            await db.positions.list_by_agent(uuid4())
        lease = db._lease()
        connection = await lease.acquire()
        assert sum(map(len, connection.cursors._idle.values())) == connection.cursors._count <= 2
        lease.release()
