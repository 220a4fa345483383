"""Preflight violations: the rows that a migration of ours would refuse, found without changing anything.

The queries are those of the preflight migrations. ``20261123085900_refuse_unfit_rows`` has one for each table, in a
dollar quote tagged with the table's name; ``20261123085910_refuse_dependent_objects`` one for the catalog. The files
say what must hold, and why.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.rows import class_row

from nexgent_db.queries.lexer import lexemes
from nexgent_db.resources import data_dir
from nexgent_db.schema.migration_text import read_sql

__all__ = ["MIGRATION", "PreflightViolation", "checked_tables", "dependent_objects", "preflight_violations"]

MIGRATION: Final = "20261123085900_refuse_unfit_rows"
DEPENDENT_OBJECTS: Final = "20261123085910_refuse_dependent_objects"

_ROWS_A_FETCH: Final = 1000


@dataclass(frozen=True, slots=True)
class PreflightViolation:
    """A value that ``rule`` (a constraint of a later migration, or a migration) refuses, and what to do about it.

    ``key`` is a condition that finds its row. Where ``refused`` is false, a migration runs but does not keep what
    ``value`` counts; there is no key then.
    """

    table: str
    key: str | None
    column: str
    value: str | None
    rule: str
    what_to_do: str
    refused: bool


def checked_tables(conn: psycopg.Connection[Any]) -> list[str]:
    """The tables of the current schema that ``preflight_violations`` reads: a pending migration may add others."""
    return [table for table in dict.fromkeys(table for table, _ in _queries()) if _is_here(conn, table)]


def preflight_violations(conn: psycopg.Connection[Any]) -> Iterator[PreflightViolation]:
    """Yields what a migration would refuse now, by table and key, in constant memory.

    Reads one snapshot in a read-only transaction; holds ACCESS SHARE on each table until the end. Raises psycopg's
    InsufficientPrivilege where a policy would hide rows.
    """
    with conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        conn.execute("SET LOCAL row_security = off")
        for table, query in _queries():
            if _is_here(conn, table):
                with conn.cursor("preflight_violations", row_factory=class_row(PreflightViolation)) as cursor:
                    cursor.itersize = _ROWS_A_FETCH
                    cursor.execute(_WITH_TABLE.replace("<query>", query).replace("<table>", table).encode())
                    yield from cursor


def dependent_objects(conn: psycopg.Connection[Any]) -> list[PreflightViolation]:
    """The objects that a later migration stops at, while DEPENDENT_OBJECTS is pending; ``key`` describes the object."""
    ((_, query),) = _queries(DEPENDENT_OBJECTS)
    return [
        PreflightViolation(table, key, column or "", None, rule, what_to_do, refused=True)
        for key, table, column, rule, what_to_do in conn.execute(query.encode())
    ]


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


def _queries(migration: str = MIGRATION) -> list[tuple[str, str]]:
    """The migration's queries, each with its table: in its DO body, a table's name and a query in a dollar quote."""
    text = read_sql(data_dir("migrations") / f"{migration}.sql")
    body = next(_unquoted(lexeme.text) for lexeme in lexemes(text) if lexeme.kind == "dollar")
    pieces = list(lexemes(body))
    return [
        (name.text.strip("'"), _unquoted(query.text))
        for name, _, query in zip(pieces, pieces[1:], pieces[2:], strict=False)
        if query.kind == "dollar"
    ]


def _unquoted(literal: str) -> str:
    """What a dollar quote holds."""
    _, tag, rest = literal.split("$", 2)
    return rest.removesuffix(f"${tag}$")


def _is_here(conn: psycopg.Connection[Any], table: str) -> bool:
    found = conn.execute("SELECT to_regclass(format('%%I.%%I', current_schema(), %s::text)) IS NOT NULL", [table])
    return found.fetchone() == (True,)
