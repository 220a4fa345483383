"""Asks the extension plpgsql_check about functions, where the server has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg

__all__ = ["ExtensionSubject", "Remark", "check_with_extension"]

_CHECK: Final = """
SELECT coalesce(lineno, 1), level, concat_ws(': ', message, nullif(detail, ''), nullif(hint, ''))
FROM {}plpgsql_check_function_tb(
    %s::oid::regprocedure, relid => %s::regclass, fatal_errors => false, oldtable => %s, newtable => %s
)
"""
_STYLE: Final = "composite OUT variable"
"""A remark that is only style: a result of several parts may have a composite one."""
_SCHEMA: Final = """
SELECT quote_ident(n.nspname) || '.'
FROM pg_extension AS e
JOIN pg_namespace AS n ON n.oid = e.extnamespace
WHERE e.extname = 'plpgsql_check'
"""


@dataclass(frozen=True, slots=True)
class Remark:
    """An error or a warning at a line of the body, counted from 1."""

    line: int
    level: str
    message: str


@dataclass(frozen=True, slots=True)
class ExtensionSubject:
    """A function with its search_path; a trigger function once for each table, with the names of its REFERENCING."""

    oid: int
    path: str | None
    table: str = "0"
    old_rows: str | None = None
    new_rows: str | None = None


def check_with_extension(
    connection: psycopg.Connection[Any], subjects: Sequence[ExtensionSubject]
) -> dict[int, list[Remark]] | None:
    """The remarks on each function; None without the extension.

    Creates the extension in the open transaction, which the caller rolls back. Performance warnings are left out.
    """
    available = connection.execute("SELECT FROM pg_available_extensions WHERE name = 'plpgsql_check'").fetchone()
    if available is None:
        return None
    try:
        with connection.transaction():
            connection.execute("CREATE EXTENSION IF NOT EXISTS plpgsql_check")
    except psycopg.Error:  # the role may not create it
        return None
    row = connection.execute(_SCHEMA).fetchone()
    query = _CHECK.format(row[0] if row else "").encode()
    remarks: dict[int, list[Remark]] = {}
    for each in subjects:
        if each.path is not None:
            connection.execute("SELECT set_config('search_path', %s, true)", [each.path])
        parameters = [each.oid, each.table, each.old_rows, each.new_rows]
        try:
            with connection.transaction():
                rows = connection.execute(query, parameters).fetchall()
        except psycopg.Error as error:  # it gave up
            rows = [(1, "error", error.diag.message_primary or str(error))]
        known = remarks.setdefault(each.oid, [])
        known += dict.fromkeys(
            Remark(*row) for row in rows if not row[2].startswith(_STYLE) and Remark(*row) not in known
        )
    return remarks
