"""A database as the public system's Prisma creates it, and its content with every value as text."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from typing import Any, Final

import psycopg

from nexgent_db.migrations.files import LAST_LEGACY_MIGRATION
from nexgent_db.resources import data_dir

HISTORY: Final = sorted(
    path.stem
    for path in data_dir("migrations").glob("*.sql")
    if not path.name.endswith(".rollback.sql") and path.stem <= LAST_LEGACY_MIGRATION
)

_BOOKS: Final = """
CREATE TABLE _prisma_migrations (
    id VARCHAR(36) PRIMARY KEY NOT NULL,
    checksum VARCHAR(64) NOT NULL,
    finished_at TIMESTAMPTZ,
    migration_name VARCHAR(255) NOT NULL,
    logs TEXT,
    rolled_back_at TIMESTAMPTZ,
    started_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    applied_steps_count INTEGER NOT NULL DEFAULT 0
)
"""

Prisma = Callable[[int], str]
"""``prisma(count)`` creates a database with ``count`` legacy migrations and returns its URL."""

Rows = list[dict[str, str | None]]


def make_as_prisma_does(url: str, count: int) -> None:
    """Apply the first ``count`` legacy migrations, each with its history entry."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(_BOOKS)
        for name in HISTORY[:count]:
            text = (data_dir("migrations") / f"{name}.sql").read_bytes()
            conn.execute(text)
            conn.execute(
                "INSERT INTO _prisma_migrations VALUES (%s, %s, clock_timestamp(), %s, NULL, NULL,"
                " clock_timestamp(), 1)",
                [str(uuid.uuid4()), hashlib.sha256(text).hexdigest(), name],
            )


def columns(conn: psycopg.Connection[Any]) -> dict[str, dict[str, str]]:
    """The columns of each table of the schema, with their types."""
    found = dict[str, dict[str, str]]()
    for table, column, kind in conn.execute(
        "SELECT table_name, column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = current_schema() ORDER BY table_name, ordinal_position"
    ):
        found.setdefault(table, {})[column] = kind
    return found


def content(url: str) -> dict[str, Rows]:
    """Every row of every table, the history tables of Prisma, yoyo and ours included, in the order of its text."""
    with psycopg.connect(url, options="-c timezone=UTC") as conn:
        found = dict[str, Rows]()
        for table, of_table in columns(conn).items():
            texts = ", ".join(f'"{name}"::text' for name in of_table)
            rows = conn.execute(f'SELECT {texts} FROM "{table}" ORDER BY ROW({texts})'.encode())
            found[table] = [dict(zip(of_table, row, strict=True)) for row in rows]
        return found
