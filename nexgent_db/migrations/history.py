"""The history tables: what the database records of its migrations, yoyo's tables and two of ours.

They hold the migrations of all folders; the names of a service's begin with the name of their history.
Only yoyo's tables say which migrations are applied. ``_nexgent_migration`` adds the text that was applied and its
checksum, ``_nexgent_repair`` every repair. A row of ``_nexgent_migration`` is valid while yoyo's mark
has the same time: plain yoyo may have rolled the migration back and applied another text since.

All tables are looked up in the current schema, as yoyo looks up its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

import psycopg
from psycopg.types.json import Jsonb
from yoyo.migrations import default_migration_table

from nexgent_db.errors import MigrationError
from nexgent_db.migrations.files import Migration

__all__ = [
    "BOOKKEEPING_TABLES",
    "Applied",
    "Origin",
    "current_schema",
    "ensure_tables",
    "note_repair",
    "read",
    "record",
]

BOOKKEEPING_TABLES: Final = (
    "_yoyo_log",
    "_yoyo_migration",
    "_yoyo_version",
    "yoyo_lock",
    "_nexgent_migration",
    "_nexgent_repair",
)
"""The history tables. Comparisons of catalogs leave them out."""

Origin = Literal["applied", "assumed", "adopted", "repaired"]
"""Why the recorded text is taken for the applied one. ``applied``: the migrator applied it. ``assumed``: it was marked
before these tables existed, or by plain yoyo, and the text is the folder's. ``adopted``: ``adopt`` compared the
catalogs. ``repaired``: ``repair`` accepted it."""

_OURS: Final = (
    """
CREATE TABLE IF NOT EXISTS _nexgent_migration (
    migration_hash varchar(64) NOT NULL,
    migration_id varchar(255) NOT NULL,
    applied_at_utc timestamp,
    checksum char(64) NOT NULL,
    content text NOT NULL,
    origin text NOT NULL,
    note text,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    recorded_by text NOT NULL DEFAULT session_user,
    CONSTRAINT _nexgent_migration_pkey PRIMARY KEY (migration_hash),
    CONSTRAINT _nexgent_migration_origin_check CHECK (origin IN ('applied', 'assumed', 'adopted', 'repaired'))
)
""",
    """
CREATE TABLE IF NOT EXISTS _nexgent_repair (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    repaired_at timestamptz NOT NULL DEFAULT now(),
    repaired_by text NOT NULL,
    reason text NOT NULL,
    accepted jsonb NOT NULL,
    CONSTRAINT _nexgent_repair_pkey PRIMARY KEY (id)
)
""",
)
"""One statement a string: Citus sends a string on as it is."""


@dataclass(frozen=True, slots=True)
class Applied:
    """One applied migration: yoyo's mark, and the applied text with its checksum, both None where not recorded."""

    name: str
    hash: str
    at: datetime
    checksum: str | None
    content: str | None


@dataclass(frozen=True, slots=True)
class MigrationHistory:
    """The applied migrations by yoyo's hash of the name, oldest first; and those that ``repair`` lets in out of
    order."""

    applied: dict[str, Applied]
    accepted_out_of_order: frozenset[str]


def read(conn: psycopg.Connection[Any]) -> MigrationHistory:
    """Reads the history tables, without a lock; without tables it is empty. Raises MigrationError without a schema."""
    schema = _quoted(current_schema(conn))
    marks = f"{schema}.{_quoted(default_migration_table)}"
    texts, repairs = f"{schema}._nexgent_migration", f"{schema}._nexgent_repair"
    row = conn.execute("SELECT to_regclass(%s), to_regclass(%s), to_regclass(%s)", [marks, texts, repairs]).fetchone()
    has_marks, has_texts, has_repairs = (name is not None for name in row or ())
    if not has_marks:
        return MigrationHistory({}, frozenset())
    ours = "n.checksum, n.content" if has_texts else "NULL, NULL"
    joined = (
        f" LEFT JOIN {texts} AS n ON n.migration_hash = y.migration_hash"
        " AND n.applied_at_utc IS NOT DISTINCT FROM y.applied_at_utc"
    )
    rows = conn.execute(
        f"SELECT y.migration_id, y.migration_hash, y.applied_at_utc, {ours} FROM {marks} AS y"  # noqa: S608
        f"{joined if has_texts else ''} ORDER BY y.applied_at_utc, y.migration_id"
    )
    applied = {
        hash_: Applied(name, hash_, at.replace(tzinfo=UTC), checksum, content)
        for name, hash_, at, checksum, content in rows
    }
    out_of_order = []
    if has_repairs:
        out_of_order = conn.execute(
            f"SELECT a ->> 'migration' FROM {repairs}, jsonb_array_elements(accepted) AS a"  # noqa: S608
            " WHERE a ->> 'kind' = 'out_of_order'"
        ).fetchall()
    return MigrationHistory(applied, frozenset(name for (name,) in out_of_order))


def ensure_tables(conn: psycopg.Connection[Any]) -> None:
    """Creates our two history tables in the current schema if they are missing. The caller holds the migration lock."""
    row = conn.execute(
        "SELECT count(*) FROM pg_class AS c INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE n.nspname = current_schema() AND c.relname IN ('_nexgent_migration', '_nexgent_repair')"
    ).fetchone()
    if row != (2,):  # IF NOT EXISTS alone sends a NOTICE, and needs the right to create
        with conn.transaction():
            for statement in _OURS:
                conn.execute(statement)


def record(conn: psycopg.Connection[Any], migrations: Iterable[Migration], origin: Origin, note: str | None) -> None:
    """Records the texts of migrations that yoyo has marked, in the caller's transaction."""
    for migration in migrations:
        row = conn.execute(
            f"SELECT applied_at_utc FROM {_quoted(default_migration_table)} WHERE migration_hash = %s",  # noqa: S608
            [migration.hash],
        ).fetchone()
        if row is None:
            continue
        conn.execute(
            "INSERT INTO _nexgent_migration"
            " (migration_hash, migration_id, applied_at_utc, checksum, content, origin, note)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (migration_hash) DO UPDATE SET"
            " applied_at_utc = excluded.applied_at_utc, checksum = excluded.checksum, content = excluded.content,"
            " origin = excluded.origin, note = excluded.note, recorded_at = excluded.recorded_at,"
            " recorded_by = excluded.recorded_by",
            [migration.hash, migration.id, row[0], migration.checksum, migration.up.text, origin, note],
        )


def forget(conn: psycopg.Connection[Any], hashes: Iterable[str]) -> None:
    """Deletes the recorded texts, in the caller's transaction."""
    conn.execute("DELETE FROM _nexgent_migration WHERE migration_hash = ANY (%s)", [list(hashes)])


def note_repair(conn: psycopg.Connection[Any], who: str, reason: str, accepted: list[dict[str, Any]]) -> None:
    """Records a repair, in the caller's transaction."""
    conn.execute(
        "INSERT INTO _nexgent_repair (repaired_by, reason, accepted) VALUES (%s, %s, %s)",
        [who, reason, Jsonb(accepted)],
    )


def current_schema(conn: psycopg.Connection[Any]) -> str:
    """The schema that migrations work in. Raises MigrationError when none of the search path exists."""
    row = conn.execute("SELECT current_schema()::text, current_setting('search_path')").fetchone()
    assert row is not None
    if row[0] is None:
        raise MigrationError(f"no schema of the search path ({row[1]}) exists: CREATE SCHEMA first")
    return str(row[0])


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'
