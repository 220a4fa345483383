"""Helpers for tests of migrations: reads of the database, and a folder of migrations per test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict

from nexgent_db.migrations import Migrator
from nexgent_db.schema.catalog import Catalog
from nexgent_db.schema.diff import differences
from nexgent_db.schema.introspect import read_catalog

CHECKOUT: Final = Path(__file__).parents[3]

Write = Callable[..., Path]
"""``write(name, up, down="SELECT 1;")`` writes the files of a migration, without a way back when ``down`` is None."""


@contextmanager
def connected(conninfo: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(conninfo, autocommit=True) as conn:
        yield conn


def one(conninfo: str, query: str) -> Any:
    with connected(conninfo) as conn:
        row = conn.execute(query).fetchone()
        return row[0] if row else None


def tables(conninfo: str) -> list[str]:
    """The tables of the current schema, without yoyo's."""
    names = one(
        conninfo,
        "SELECT array_agg(tablename::text ORDER BY tablename) FROM pg_tables"
        " WHERE schemaname = current_schema() AND tablename !~ '^(_yoyo|_nexgent|yoyo)_'",
    )
    return names or []


def log_of(conninfo: str) -> list[str]:
    with connected(conninfo) as conn:
        rows = conn.execute("SELECT operation || ' ' || migration_id FROM _yoyo_log ORDER BY created_at_utc")
        return [line for (line,) in rows]


def applied(migrator: Migrator) -> list[str]:
    return [s.name for s in migrator.status() if s.applied_at is not None]


def catalog_of(conninfo: str) -> Catalog:
    with connected(conninfo) as conn:
        return read_catalog(conn)


def assert_same(expected: Catalog, actual: Catalog, when: str) -> None:
    found = [f"{each}: {each.expected} became {each.actual}" for each in differences(expected, actual)]
    assert not found, "\n".join([when, *found])


def url_of(conninfo: str) -> str:
    """The same as a URL, with a query."""
    parts = {name: str(value) for name, value in conninfo_to_dict(conninfo).items()}
    user = quote(parts.pop("user", ""), safe="")
    if "password" in parts:
        user += f":{quote(parts.pop('password'), safe='')}"
    return f"postgresql://{user}@/{quote(parts.pop('dbname'))}?{urlencode(parts)}"


def yoyo_command(command: str, conninfo: str, directory: Path) -> list[str]:
    """What runs plain yoyo on this database and folder."""
    url = url_of(conninfo).replace("postgresql:", "postgresql+psycopg:", 1)
    return [sys.executable, "-m", "yoyo", command, "--batch", "--no-config-file", "--database", url, str(directory)]
