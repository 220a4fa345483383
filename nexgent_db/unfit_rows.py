"""The rows that a migration of ours would refuse, found without changing anything.

The queries are those of the migration that stops for such rows, ``20261123085900_refuse_unfit_rows``: it has one for
each table, between two tags of the table's name, and says there what must hold and why.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.rows import class_row

from nexgent_db._data import data_dir
from nexgent_db._migrating.sql import read_sql

__all__ = ["MIGRATION", "UnfitRow", "tables_looked_at", "unfit_rows"]

MIGRATION: Final = "20261123085900_refuse_unfit_rows"

_QUERY: Final = re.compile(r"\$(?P<table>[a-z]\w*)\$\n(?P<sql>.*?)\$(?P=table)\$", re.DOTALL)
_ROWS_A_FETCH: Final = 1000


@dataclass(frozen=True, slots=True)
class UnfitRow:
    """A value that ``rule`` (a constraint of a later migration, or a migration) refuses, and what to do about it.

    ``key`` is a condition that finds its row. Where ``refused`` is false, nothing is refused, but a migration does not
    keep what ``value`` counts; there is no key then.
    """

    table: str
    key: str | None
    column: str
    value: str | None
    rule: str
    what_to_do: str
    refused: bool


def tables_looked_at(conn: psycopg.Connection[Any]) -> list[str]:
    """The tables of the current schema that ``unfit_rows`` reads: a migration of the history may yet bring others."""
    return [table for table in _queries() if _is_here(conn, table)]


def unfit_rows(conn: psycopg.Connection[Any]) -> Iterator[UnfitRow]:
    """What a migration would refuse now, table by table and there by key, as it is read: memory stays the same.

    Of one snapshot, in a read-only transaction; ACCESS SHARE on each table until the end. Raises
    InsufficientPrivilege (psycopg's) where a policy would hide rows.
    """
    with conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        conn.execute("SET LOCAL row_security = off")
        for table, query in _queries().items():
            if _is_here(conn, table):
                with conn.cursor("unfit_rows", row_factory=class_row(UnfitRow)) as cursor:
                    cursor.itersize = _ROWS_A_FETCH
                    cursor.execute(_WITH_TABLE.replace("<query>", query).replace("<table>", table).encode())
                    yield from cursor


_WITH_TABLE: Final = """
SELECT
    '<table>' AS table,
    u.key,
    u.column_name AS column,
    u.value,
    u.rule,
    u.what_to_do,
    u.refused
FROM (<query>) AS u
"""


def _queries() -> dict[str, str]:
    text = read_sql(data_dir("migrations") / f"{MIGRATION}.sql")
    return {found["table"]: found["sql"] for found in _QUERY.finditer(text)}


def _is_here(conn: psycopg.Connection[Any], table: str) -> bool:
    found = conn.execute("SELECT to_regclass(format('%%I.%%I', current_schema(), %s::text)) IS NOT NULL", [table])
    return found.fetchone() == (True,)
