"""The lock report: the locks that a migration takes on existing tables, the tables that it rewrites and reads.

The migration runs on a copy that no other session uses. A transactional file is applied as the migrator applies it, and
its locks are read right before the end. A statement outside of a transaction commits as it goes: it runs beside a
transaction that writes to every table, and its locks are read while it waits for that.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from nexgent_db.migrations.connection import connect, translated
from nexgent_db.migrations.files import Migration
from nexgent_db.sessions import SessionConnection

__all__ = ["LockReport", "TableLock", "lock_reports"]

_WRITERS_WAIT: Final = {"SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE"}
_STRENGTH: Final = (
    "ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE",
    "SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE",
)  # fmt: skip
_POLL_S: Final = 0.005


@dataclass(frozen=True, slots=True)
class TableLock:
    """A lock on a table, named as in LOCK TABLE. ``new``: the migration itself makes the table."""

    table: str
    mode: str
    new: bool

    @property
    def writers_wait(self) -> bool:
        """Whether trades, and all other writers of the table, wait for the migration."""
        return not self.new and self.mode in _WRITERS_WAIT

    @property
    def readers_wait(self) -> bool:
        """Whether even a SELECT waits for the migration."""
        return not self.new and self.mode == "ACCESS EXCLUSIVE"


@dataclass(frozen=True, slots=True)
class LockReport:
    """What one migration did to tables, by name.

    ``locks`` are held to the end of a transactional file, weakest first. For a file outside of a transaction they are
    the locks that it held, or asked for, while it waited for a transaction that writes to every table; none when it did
    not wait. ``read`` (by a sequential scan) is only known where the copy has rows.
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


def lock_reports(
    conninfo: str, migrations: Sequence[Migration], wanted: Collection[str] | None = None
) -> Iterator[LockReport]:
    """Applies the migrations in turn to a copy of the database; the report of each that is ``wanted`` (None: all).

    Does not write the history tables. Raises MigrationError, DatabaseUnavailable and its other kinds.
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
                conn.reset_session()  # settings of a file end with it


def _measure_transaction(conn: SessionConnection, migration: Migration) -> LockReport:
    with conn.transaction():
        before, read_before = _tables(conn), _rows_read(conn)
        conn.execute(migration.up.text.encode())
        after, read_after = _tables(conn), _rows_read(conn)
        return LockReport(
            migration.id,
            True,
            _locks(conn, conn.server_pid, _names(before), _names(after)),
            frozenset(name for oid, (name, node) in before.items() if oid in after and after[oid][1] != node),
            frozenset(name for oid, (name, _) in before.items() if read_after.get(oid, 0) > read_before.get(oid, 0)),
            int(conn.execute("SELECT setting FROM pg_settings WHERE name = 'lock_timeout'").fetchall()[0][0]),
        )


def _measure_beside_a_writer(conninfo: str, conn: SessionConnection, migration: Migration) -> LockReport:
    pid = conn.server_pid
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
            writer.execute("ROLLBACK")  # before the pool ends: it waits for the migration, which waits for this
        running.result()
    return LockReport(migration.id, False, locks, waited_for_writers=waited)


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
    """The table locks of a session, with those that it waits for; a dropped table has its former name."""
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
