"""Times that PostgreSQL can store and Python cannot represent, stored in columns as psql or a trigger can do it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg

BEYOND: Final = ("infinity", "-infinity", "0044-03-15 00:00:00+00 BC", "10000-01-01 00:00:00+00")
"""Times outside of Python's calendar."""

_FUNCTION: Final = """
    CREATE FUNCTION set_beyond_{table}() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RETURN jsonb_populate_record(NEW, jsonb_build_object(TG_ARGV[0], TG_ARGV[1]));
    END
    $$
"""


@contextmanager
def times_unchecked(connection: psycopg.Connection[Any], *tables: str) -> Iterator[None]:
    """While it is open, these tables accept such times, as a table without their check would."""
    found = {}
    for table in tables:
        query = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %s"
        found[table] = connection.execute(query, [f"{table}_times_check"]).fetchone()
        connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {table}_times_check")
    try:
        yield
    finally:
        for table, definition in found.items():
            assert definition is not None
            check = definition[0].removesuffix(" NOT VALID")
            connection.execute(f"ALTER TABLE {table} ADD CONSTRAINT {table}_times_check {check} NOT VALID")


@contextmanager
def unreadable(database_url: str, table: str, column: str, value: str = "infinity") -> Iterator[None]:
    """While it is open, every row written to the table gets the time ``value`` in the column. On exit these rows, and
    the results that trades have stored meanwhile, get a readable time of the year 2999 instead."""
    with psycopg.connect(database_url, autocommit=True) as connection, times_unchecked(connection, table):
        connection.execute(_FUNCTION.format(table=table))
        connection.execute(
            f"CREATE TRIGGER zz_beyond BEFORE INSERT OR UPDATE ON {table}"
            f" FOR EACH ROW EXECUTE FUNCTION set_beyond_{table}('{column}', '{value}')"
        )
        try:
            yield
        finally:
            connection.execute(f"DROP FUNCTION set_beyond_{table} CASCADE")  # and its trigger
            connection.execute("SET session_replication_role = replica")  # the ledger is append-only
            connection.execute(f"UPDATE {table} SET {column} = '2999-01-01' WHERE {column} = %s", [value])
            connection.execute(
                "UPDATE trade_requests SET position_values = replace("
                "position_values::text, to_json(%s::timestamptz)::text, '\"2999-01-01T00:00:00+00:00\"')::jsonb",
                [value],
            )
