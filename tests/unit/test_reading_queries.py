"""Which queries only read: by their text here, by their names in this test, and on a standby in test_replicas."""

from __future__ import annotations

import re

import pytest

from nexgent_db import AsyncDatabase
from nexgent_db.aio.repositories.base import Repository
from nexgent_db.aio.repositories.trades import _Statements
from nexgent_db.errors import ReadOnlyBlock
from nexgent_db.queries.binding import BoundQuery
from nexgent_db.queries.reading import ensure_reads, only_reads

READING = re.compile(r"(find|list|stream|count|total|summarise|is)(_|$)")
"""The verbs of STYLE: these look, every other one changes or locks."""


def bound_queries() -> dict[str, BoundQuery]:
    """Every query of every repository and of the trades."""
    held = vars(AsyncDatabase("dbname=nowhere")).values()
    queries = [each.queries for each in held if isinstance(each, Repository)] + [_Statements.queries]
    return {bound.name: bound for each in queries for bound in each.values()}


BOUND = bound_queries()


def only_reads_by_name(name: str) -> bool:
    return READING.match(name.partition(".")[2]) is not None


def reads(bound: BoundQuery) -> bool:
    try:
        ensure_reads(bound)
    except ReadOnlyBlock:
        return False
    return True


def test_refusal_names_the_query() -> None:
    with pytest.raises(ReadOnlyBlock, match=r"^agents\.delete: it changes or locks rows"):
        ensure_reads(BOUND["agents.delete"])


@pytest.mark.parametrize("name", BOUND)
def test_query_reads_when_its_name_says_so(name: str) -> None:
    assert reads(BOUND[name]) == only_reads_by_name(name)


def test_queries_of_both_kinds_are_many() -> None:
    assert sum(map(reads, BOUND.values())) > 40
    assert len(BOUND) - sum(map(reads, BOUND.values())) > 30


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 'delete' AS a, \"update\" FROM t -- for update",
        "SELECT updated_at, deleted FROM t WHERE note = $$insert$$",
        "/* merge */ VALUES (1)",
        "SELECT ratio(1, 2), share FROM t",
    ],
)
def test_statement_that_reads_is_accepted(sql: str) -> None:
    assert only_reads(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM t",
        "WITH x AS (insert INTO t DEFAULT VALUES RETURNING a) SELECT a FROM x",
        "SELECT a FROM t FOR UPDATE",
        "SELECT a FROM t FOR NO KEY UPDATE SKIP LOCKED",
        "SELECT a FROM t FOR /* so */ SHARE",
        "SELECT a FROM t FOR KEY SHARE",
        "SELECT nextval('s')",
        "SELECT * FROM trade_buy_v1 (a => 1)",
        "MERGE INTO t USING u ON true WHEN MATCHED THEN DO NOTHING",
    ],
)
def test_statement_that_changes_or_locks_is_refused(sql: str) -> None:
    assert not only_reads(sql)
