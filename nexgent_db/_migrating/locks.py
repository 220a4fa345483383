"""Measures what a migration does to the tables that were there before: its locks, what it rewrites, what it reads.

It is run on a copy that nobody else uses. A transactional file is applied as the migrator applies it, and its locks are
read right before the end. What runs outside of a transaction commits as it goes: it is run beside a transaction that
writes to every table, and looked at when it waits for that.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from nexgent_db._migrating.files import Migration
from nexgent_db._migrating.server import connect, translated

__all__ = ["MeasuredMigration", "TableLock", "measured"]

_WRITERS_WAIT: Final = {"SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE"}
_STRENGTH: Final = (
    "ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE",
    "SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE",
)  # fmt: skip
_POLL_S: Final = 0.005


@dataclass(frozen=True, slots=True)
class TableLock:
    """A lock on a table, in the words of LOCK TABLE. ``new``: the migration itself makes the table, nobody knows it."""

    table: str
    mode: str
    new: bool

    @property
    def writers_wait(self) -> bool:
        """Do trades, and whatever else writes to the table, wait meanwhile?"""
        return not self.new and self.mode in _WRITERS_WAIT

    @property
    def readers_wait(self) -> bool:
        """Does even a SELECT wait meanwhile?"""
        return not self.new and self.mode == "ACCESS EXCLUSIVE"


@dataclass(frozen=True, slots=True)
class MeasuredMigration:
    """What one migration did. Only tables are looked at, by name.

    ``locks`` are held to the end of a transactional file, weakest first. Of a file outside of a transaction they are
    those that it held, or asked for, when it waited for a transaction that writes to every table; none when it never
    had to wait. ``read`` (from end to end) shows only where the copy has rows.
    """

    name: str
    transactional: bool
    locks: tuple[TableLock, ...]
    rewritten: frozenset[str] = frozenset()
    read: frozenset[str] = frozenset()
    lock_timeout_ms: int = 0
    waited_for_writers: bool = False

    @property
    def blocked(self) -> frozenset[str]:
        """The tables whose writers wait for the migration."""
        return frozenset(lock.table for lock in self.locks if lock.writers_wait)


def measured(
    conninfo: str, migrations: Sequence[Migration], wanted: Collection[str] | None = None
) -> Iterator[MeasuredMigration]:
    """Applies the migrations in turn to a database that is a copy, and measures those that are ``wanted`` (None: all).

    The books are not written. Raises MigrationError, DatabaseUnavailable and their like.
    """
    with connect(conninfo) as conn:
        for migration in migrations:
            with translated(conn, migration.up):
                if wanted is not None and migration.id not in wanted:
                    conn.execute(migration.up.text.encode())
                elif migration.up.transactional:
                    yield _measure_transaction(conn, migration)
                else:
                    yield _measure_beside_a_writer(conninfo, conn, migration)
                conn.execute("RESET ALL")  # what a file sets is for that file


def _measure_transaction(conn: psycopg.Connection[Any], migration: Migration) -> MeasuredMigration:
    with conn.transaction():
        before, read_before = _tables(conn), _rows_read(conn)
        conn.execute(migration.up.text.encode())
        after, read_after = _tables(conn), _rows_read(conn)
        return MeasuredMigration(
            migration.id,
            True,
            _locks(conn, conn.info.backend_pid, _names(before), _names(after)),
            frozenset(name for oid, (name, node) in before.items() if oid in after and after[oid][1] != node),
            frozenset(name for oid, (name, _) in before.items() if read_after.get(oid, 0) > read_before.get(oid, 0)),
            int(conn.execute("SELECT setting FROM pg_settings WHERE name = 'lock_timeout'").fetchall()[0][0]),
        )


def _measure_beside_a_writer(conninfo: str, conn: psycopg.Connection[Any], migration: Migration) -> MeasuredMigration:
    pid = conn.info.backend_pid
    with connect(conninfo) as writer, ThreadPoolExecutor(1) as pool:
        before = _names(_tables(writer))
        writer.execute("BEGIN")
        try:
            for name in before.values():
                writer.execute(f"LOCK TABLE {_quoted(name)} IN ROW EXCLUSIVE MODE".encode())
            running: Future[object] = pool.submit(conn.execute, migration.up.text.encode())
            waited, locks = False, tuple[TableLock, ...]()
            while not running.done() and not waited:
                waited = writer.execute("SELECT pg_backend_pid() = ANY (pg_blocking_pids(%s))", [pid]).fetchone() == (
                    True,
                )
                if waited:
                    locks = _locks(writer, pid, before, before)
                else:
                    time.sleep(_POLL_S)
        finally:
            writer.execute("ROLLBACK")  # before the pool is left: that waits for the migration, which waits for this
        running.result()
    return MeasuredMigration(migration.id, False, locks, waited_for_writers=waited)


def _tables(conn: psycopg.Connection[Any]) -> dict[int, tuple[str, int | None]]:
    """Name and file of every table of the search path, by its oid."""
    rows = conn.execute(
        """
        SELECT c.oid::int8, c.relname, pg_relation_filenode(c.oid)::int8
        FROM pg_class AS c
        INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = ANY (current_schemas(FALSE)) AND c.relkind IN ('r', 'p', 'm')
        ORDER BY c.relname
        """
    )
    return {oid: (name, node) for oid, name, node in rows}


def _names(tables: dict[int, tuple[str, int | None]]) -> dict[int, str]:
    return {oid: name for oid, (name, _) in tables.items()}


def _rows_read(conn: psycopg.Connection[Any]) -> dict[int, int]:
    return dict(conn.execute("SELECT relid::int8, seq_tup_read FROM pg_stat_xact_user_tables").fetchall())


def _locks(
    conn: psycopg.Connection[Any], pid: int, before: dict[int, str], after: dict[int, str]
) -> tuple[TableLock, ...]:
    """The locks of a session on tables, those that it waits for included; for a dropped one the name that it had."""
    names = after | before
    rows = conn.execute(
        """
        SELECT l.relation::int8, l.mode
        FROM pg_locks AS l
        WHERE l.pid = %s
            AND l.locktype = 'relation'
            AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
        """,
        [pid],
    ).fetchall()
    found = {TableLock(names[oid], _in_words(mode), oid not in before) for oid, mode in rows if oid in names}
    return tuple(sorted(found, key=lambda lock: (_STRENGTH.index(lock.mode), lock.table)))


def _in_words(mode: str) -> str:
    """``AccessExclusiveLock`` as LOCK TABLE has it."""
    return " ".join(re.findall("[A-Z][a-z]+", mode.removesuffix("Lock"))).upper()


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'
