"""Fills a service's empty tables on a temporary server, so that plans are those of large tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import psycopg
from psycopg import sql

from nexgent_db.contract._checked import CheckedQuery

__all__ = ["fill_own_tables"]

_ROWS: Final = 20_000

_COLUMNS: Final = """
SELECT
    a.attname,
    b.typname,
    b.typtype,
    a.attnotnull,
    information_schema._pg_char_max_length(b.oid, coalesce(nullif(a.atttypmod, -1), t.typtypmod)),
    information_schema._pg_numeric_precision(b.oid, coalesce(nullif(a.atttypmod, -1), t.typtypmod))
        - information_schema._pg_numeric_scale(b.oid, coalesce(nullif(a.atttypmod, -1), t.typtypmod)),
    (SELECT e.enumlabel FROM pg_enum AS e WHERE e.enumtypid = b.oid ORDER BY e.enumsortorder LIMIT 1)
FROM pg_attribute AS a
INNER JOIN pg_type AS t ON t.oid = a.atttypid
INNER JOIN pg_type AS b ON b.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END
WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
ORDER BY a.attnum
"""
_CHECKS: Final = """
SELECT k.conname, regexp_replace(pg_get_constraintdef(k.oid), ' NOT VALID$', '')
FROM pg_constraint AS k
WHERE k.conrelid = %s::regclass AND k.contype = 'c'
"""
_VALUES: Final = {
    "uuid": "md5(n::text)::uuid",
    "bool": "n % 2 = 0",
    "int2": "n % 30000",
    "int4": "n",
    "int8": "n",
    "float4": "n",
    "float8": "n",
    "timestamptz": "now() - n * interval '1 minute'",
    "timestamp": "localtimestamp - n * interval '1 minute'",
    "date": "current_date - n",
    "time": "localtime",
    "interval": "n * interval '1 minute'",
    "json": "'{}'",
    "jsonb": "'{}'",
    "bytea": "n::text::bytea",
    "inet": "'0.0.0.0'::inet + n",
}
_TEXTS: Final = {"text", "varchar", "bpchar", "citext", "name"}
_FEW_DIGITS: Final = 5


def fill_own_tables(connection: psycopg.Connection[Any], queries: Iterable[CheckedQuery]) -> list[str]:
    """Put rows into the tables that a service's queries use and that are empty; returns the names of those that
    cannot be filled. Needs a superuser. The rows mean nothing, and foreign keys and checks do not hold for them."""
    used = {table for each in queries if each.source.own for v in each.variants for table in (*v.reads, *v.writes)}
    rows = connection.execute(
        "SELECT c.relname FROM pg_class AS c WHERE c.relnamespace = quote_ident(current_schema())::regnamespace"
        " AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname = ANY (%s) ORDER BY 1",
        [sorted(used)],
    ).fetchall()
    left = list[str]()
    for (table,) in rows:
        try:
            with connection.transaction():
                _fill(connection, table)
        except (psycopg.Error, _NoValue):
            left.append(table)
    connection.execute("ANALYZE")
    return left


class _NoValue(Exception):
    """A column needs a value of a type that is not known here."""


def _fill(connection: psycopg.Connection[Any], table: str) -> None:
    name = sql.Identifier(table)
    if connection.execute(sql.SQL("SELECT FROM {} LIMIT 1").format(name)).fetchone() is not None:
        return
    connection.execute("SET LOCAL session_replication_role = replica")
    quoted = name.as_string(connection)
    checks = connection.execute(_CHECKS, [quoted]).fetchall()
    for check, _ in checks:
        connection.execute(sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(name, sql.Identifier(check)))
    values = {column: _value(*rest) for column, *rest in connection.execute(_COLUMNS, [quoted]).fetchall()}
    insert = sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM generate_series(1, {}) AS n")
    columns, items = sql.SQL(", ").join(map(sql.Identifier, values)), sql.SQL(", ").join(values.values())
    connection.execute(insert.format(name, columns, items, sql.Literal(_ROWS)))
    add = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {} NOT VALID")
    for check, definition in checks:
        connection.execute(add.format(name, sql.Identifier(check), sql.SQL(definition)))


def _value(
    type_: str, kind: str, needed: bool, length: int | None, digits: int | None, label: str | None
) -> sql.Composable:
    if kind == "e":
        return sql.Literal(label)
    if type_ in _TEXTS:
        return sql.SQL("left('x' || n, {})").format(sql.Literal(length or 100))
    if type_ == "numeric":
        return sql.SQL("n" if digits is None or digits >= _FEW_DIGITS else "n % 10")
    if type_.startswith("_"):
        return sql.SQL("'{}'")
    if type_ in _VALUES:
        return sql.SQL(_VALUES[type_])
    if needed:
        raise _NoValue(type_)
    return sql.NULL
