# Generated from tests/integration/aio/test_answer_limit.py by `make sync`: do not edit.
"""An answer of PostgreSQL has a limit: libpq would keep all of it in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nexgent_db import Database
from nexgent_db.errors import AnswerTooLong
from nexgent_db.settings import Settings
from nexgent_db.sync import Repository, query
from tests.integration.sync.factories import new_owner

SQL = Path(__file__).parents[1] / "aio" / "numbers.sql"
MIB = 1024 * 1024


class Numbers(Repository, sql=SQL):
    """Texts that the server makes."""

    @query
    def list_texts(self, length: int, count: int) -> list[str]:
        """So many texts of this length."""

    @query
    def stream_texts(self, length: int, count: int) -> Iterator[str]:
        """The same, one after the other."""


@pytest.fixture
def db(fresh_database_url: str) -> Iterator[Database]:
    settings = replace(Settings.from_url(fresh_database_url), max_answer_mib=4, pool_max_size=1)
    with Database(settings) as database:
        yield database


@pytest.mark.parametrize(("length", "count"), [(1000, 300_000), (MIB, 300), (300 * MIB, 1)])
def test_too_long_an_answer_is_given_up(db: Database, length: int, count: int) -> None:
    with pytest.raises(AnswerTooLong) as refused:
        db.use(Numbers).list_texts(length, count)
    assert refused.value.max_bytes == 4 * MIB
    assert str(refused.value) == "the answer is longer than 4,194,304 bytes, the limit of NEXGENT_DB_MAX_ANSWER_MIB"
    assert db.use(Numbers).list_texts(2, 1) == ["xx"]  # the only connection was replaced
    assert db.health().ok


@pytest.mark.parametrize(("length", "count"), [(100, 10_000), (MIB, 3), (2 * MIB, 1)])
def test_answer_below_the_limit_is_read(db: Database, length: int, count: int) -> None:
    for _ in range(3):  # the limit is one answer's, not the connection's
        assert [len(text) for text in db.use(Numbers).list_texts(length, count)] == [length] * count


def test_stream_may_be_longer_than_the_limit(db: Database) -> None:
    found = [len(text) for text in db.use(Numbers).stream_texts(2000, 5000)]
    assert found == [2000] * 5000


def test_transaction_with_too_long_an_answer_is_undone(db: Database) -> None:
    with pytest.raises(AnswerTooLong), db.transaction() as tx:
        user = tx.users.create("a@example.org")
        tx.use(Numbers).list_texts(MIB, 300)
    assert db.users.find_by_id(user.id) is None
    new_owner(db)
