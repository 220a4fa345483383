"""Citus refuses what the rules find, and takes what they let pass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.integration.citus.conftest import CitusCell
from tests.support.builders.refused import ACCEPTED, REFUSED, TABLES

NOT_REFUSED_AT_ONCE = {
    "session-function-in-upsert": "Citus 13.2 garbles each INSERT … SELECT of a cell, as shown below",
    "unpinned-function": "a node refuses its call, where it finds no name",
    "whole-row-argument": "a function of the table's own type is looked up with that of the shard, and is missing then",
    "function-in-simple-case": "only a SQL function that is inlined is sent on wrongly: test_trades.py resets wallets",
}


@pytest.fixture
def connection(cell: CitusCell) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(cell.url, autocommit=True) as connection:
        for table in TABLES:
            connection.execute(table.encode())
        yield connection
        connection.execute("DROP TABLE t, u")


@pytest.mark.parametrize(("rule", "sql"), [each for each in REFUSED if each[0] not in NOT_REFUSED_AT_ONCE])
def test_citus_refuses(connection: psycopg.Connection[Any], rule: str, sql: str) -> None:
    with pytest.raises(psycopg.Error) as refused:
        connection.execute(sql.encode())
    assert refused.value.sqlstate == "0A000", (rule, refused.value)


def test_insert_select_is_garbled(cell: CitusCell, connection: psycopg.Connection[Any]) -> None:
    """A fault of Citus 13.2.2 on PostgreSQL 15, also on the cell's node. The day it passes, the guide changes."""
    del connection
    with psycopg.connect(cell.url_of_node) as on_node, pytest.raises(psycopg.errors.SyntaxError, match='near "NOT"'):
        on_node.execute("INSERT INTO t (id) SELECT u.id FROM u")


@pytest.mark.parametrize("sql", [each for each in ACCEPTED if " SELECT " not in each or not each.startswith("INSERT")])
def test_citus_takes(cell: CitusCell, connection: psycopg.Connection[Any], sql: str) -> None:
    """Definitions over the coordinator, all else over the cell's node."""
    if sql.startswith("ALTER"):
        connection.execute(sql.encode())
    else:
        with psycopg.connect(cell.url_of_node) as on_node:
            on_node.execute(sql.encode())
