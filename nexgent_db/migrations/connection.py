"""Connections of the migrator, the migration lock, and the translation of their errors."""

from __future__ import annotations

import getpass
import hashlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC
from typing import Any, Final

import psycopg
from psycopg import errors as pg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from nexgent_db import sessions
from nexgent_db.errors import (
    ConfigurationError,
    ConnectionLost,
    DatabaseError,
    DatabaseUnavailable,
    MigrationError,
    MigrationLocked,
    translate,
)
from nexgent_db.migrations.files import MigrationScript
from nexgent_db.settings import describe, libpq_parameters

__all__ = [
    "StatementFailed",
    "connect",
    "drop_invalid_indexes",
    "ensure_lock_held",
    "has_citus",
    "invalid_indexes",
    "lock_key",
    "migration_lock",
    "never_idle",
    "prepared",
    "translated",
    "user_name",
    "value",
]


def prepared(conninfo: str) -> str:
    """The connection string with the migrator's parameters. Raises ConfigurationError, never with the password."""
    try:
        parts = conninfo_to_dict(conninfo)
    except psycopg.Error:  # libpq's message may repeat a part of the password
        raise ConfigurationError(
            "the connection string is malformed: it should look like postgresql://user:password@host:5432/database,"
            " with odd characters of the password percent-encoded"
        ) from None
    if "@" in str(parts.get("host") or ""):
        raise ConfigurationError(
            "the connection string's host holds an '@': percent-encode that of the password as %40"
        )
    parts["client_encoding"] = "utf8"
    parts.setdefault("fallback_application_name", "nexgent-db migrate")
    if "," in f"{parts.get('host', '')}{parts.get('hostaddr', '')}":  # all connections to the one that can be written
        asked = libpq_parameters(conninfo).get("target_session_attrs", "any")
        parts["target_session_attrs"] = "read-write" if asked == "any" else asked
    return make_conninfo("", **parts)


def connect(conninfo: str) -> sessions.SessionConnection:
    """A connection without open transactions, with the pinned settings and a session of its own.

    Raises AuthenticationFailed, DatabaseUnavailable and its other kinds; ConfigurationError when a pooler answers, as
    :func:`nexgent_db.sessions.connect` does; PermissionDenied for a role that may not pin a setting.
    """
    try:
        return sessions.connect(conninfo)
    except psycopg.Error as e:
        ours = translate(e)
        kind = type(ours) if isinstance(ours, DatabaseError) else DatabaseUnavailable
        raise kind(f"cannot connect as {describe(conninfo)}: {ours}") from e


def never_idle(conn: psycopg.Connection[Any]) -> None:
    """Lets no idle timeout end the session: it waits while another session works. Raises psycopg.Error."""
    conn.execute("SET idle_session_timeout = 0")
    conn.execute("SET idle_in_transaction_session_timeout = 0")


def value(conn: psycopg.Connection[Any], query: str, *parameters: object) -> Any:
    """The first column of the first row; None when there is no row."""
    row = conn.execute(query, parameters or None).fetchone()
    return row[0] if row else None


def has_citus(conn: psycopg.Connection[Any]) -> bool:
    """Is the database a coordinator, or a node, of Citus?"""
    return bool(value(conn, "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')"))


def user_name() -> str:
    """The account that runs this process, for the history tables."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a uid without a passwd entry, as in many containers
        return f"uid {os.getuid()}"


# --- The migration lock -------------------------------------------------------------------------

_LOCK_KEY: Final = 0x6E65_7867_656E_7464  # "nexgentd", that of public; advisory locks are per database
_SINCE_KEY: Final = 0x6E65_7867  # beside it, a lock whose second key is the time since when the first is held
_POLL_S: Final = (0.05, 0.5)  # first and longest pause
_REPORT_S: Final = 10.0


def lock_key(schema: str | None) -> int:
    """The key of a schema's migration lock."""
    if schema in (None, "public"):
        return _LOCK_KEY
    return int.from_bytes(hashlib.sha256(f"nexgent-db {schema}".encode()).digest()[:8], signed=True)


@contextmanager
def migration_lock(
    conninfo: str, wait_s: float, report: Callable[[str], None], schema: str | None = None, what: str = "migrate"
) -> Iterator[psycopg.Connection[Any]]:
    """Holds the migration lock of a schema, by default the current one, on a connection of its own, and until its end
    at the latest. ``what`` the holder does is its session's name.

    The lock is polled: a session that waits inside pg_advisory_lock holds a snapshot, and CREATE INDEX CONCURRENTLY
    would wait for that. ``report`` gets the holder every ten seconds. Raises MigrationLocked after ``wait_s``.
    """
    me = f"nexgent-db {what} {user_name()}@{socket.gethostname()}:{os.getpid()}"
    with connect(conninfo) as conn, translated(conn):
        conn.execute("SELECT set_config('application_name', %s, false)", [me])
        never_idle(conn)
        key = lock_key(schema or value(conn, "SELECT current_schema()"))
        started_at = reported_at = time.monotonic()
        pause, longest = _POLL_S
        while not value(conn, "SELECT pg_try_advisory_lock(%s)", key):
            now = time.monotonic()
            if now >= started_at + wait_s:
                raise MigrationLocked(f"another migrator did not finish within {wait_s:g} s: {_holder(conn, key)}")
            if now >= reported_at + _REPORT_S:
                report(f"{now - started_at:.0f} s, waits for another migrator: {_holder(conn, key)}")
                reported_at = now
            time.sleep(min(pause, max(0.0, started_at + wait_s - now)))
            pause = min(2 * pause, longest)
        try:
            conn.execute(
                "SELECT pg_try_advisory_lock_shared(%s, (extract(epoch FROM clock_timestamp())::bigint - 2^31)::int)",
                [_SINCE_KEY],
            )
            yield conn
        finally:
            with suppress(psycopg.Error):
                conn.execute("SELECT pg_advisory_unlock(%s)", [key])


def ensure_lock_held(lock: psycopg.Connection[Any]) -> None:
    """Raises psycopg's error when the session that holds the migration lock has ended: no migration may begin then."""
    lock.execute("SELECT 1")


def _holder(conn: psycopg.Connection[Any], key: int) -> str:
    """The holder of the migration lock: as much as this role may see of another session."""
    row = conn.execute(
        """
        SELECT
            l.pid,
            a.usename,
            a.application_name,
            a.client_addr::text,
            to_timestamp(mod(s.objid::bigint + 2147483648, 4294967296)),
            date_trunc(
                'second', clock_timestamp() - to_timestamp(mod(s.objid::bigint + 2147483648, 4294967296))
            )::text
        FROM pg_locks AS l
        LEFT JOIN pg_locks AS s
            ON s.pid = l.pid AND s.database = l.database AND s.locktype = 'advisory' AND s.objsubid = 2
            AND s.classid = %s
        LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
        WHERE l.locktype = 'advisory'
            AND l.granted
            AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
            AND (l.classid::bigint << 32 | l.objid::bigint) = %s
            AND l.objsubid = 1
        """,
        [_SINCE_KEY, key],
    ).fetchone()
    if row is None:
        return "it has just finished; run again"
    pid, role, application, address, since, ago = row
    who = f"backend {pid}, role {role or 'unknown'}"
    if application:
        who += f", {application}"
    if address:
        who += f", from {address}"
    return f"{who}, since {since.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC ({ago} ago)" if since else who


# --- INVALID indexes ----------------------------------------------------------------------------


def invalid_indexes(conn: psycopg.Connection[Any]) -> list[str]:
    """The quoted names of INVALID indexes in the search path's schemas, without those that are being built."""
    rows = conn.execute(
        """
        SELECT format('%I.%I', n.nspname, c.relname)
        FROM pg_index AS i
        INNER JOIN pg_class AS c ON c.oid = i.indexrelid
        INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE NOT i.indisvalid
            AND c.relkind = 'i'
            AND n.nspname = ANY (current_schemas(FALSE))
            AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index AS p WHERE p.index_relid = i.indexrelid)
        ORDER BY 1
        """
    )
    return [name for (name,) in rows]


def drop_invalid_indexes(conn: psycopg.Connection[Any]) -> list[str]:
    """Drops each of them concurrently; returns their names. The caller holds the migration lock."""
    names = invalid_indexes(conn)
    for name in names:
        conn.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}".encode())
    return names


# --- Errors -------------------------------------------------------------------------------------


class StatementFailed(Exception):
    """A statement of the file at ``line`` failed with ``error``."""

    def __init__(self, error: psycopg.Error, line: int) -> None:
        super().__init__(str(error))
        self.error = error
        self.line = line


@contextmanager
def translated(conn: psycopg.Connection[Any], script: MigrationScript | None = None) -> Iterator[None]:
    """Raises psycopg's errors as ours: with file and line when a statement of ``script`` failed, without row
    contents."""
    place = f"{script.path}" if script else "migrating"
    try:
        yield
    except StatementFailed as e:
        raise _as_ours(e.error, conn, f"{place}:{e.line}") from e.error
    except psycopg.Error as e:
        raise _as_ours(e, conn, place) from e


def _as_ours(error: psycopg.Error, conn: psycopg.Connection[Any], place: str) -> MigrationError | ConnectionLost:
    if error.sqlstate == "25P04":
        return MigrationError(
            f"{place}: transaction_timeout ended the transaction, and nothing of it is applied: '-- statement_timeout:'"
            " in the head of the file lifts it"
        )
    if conn.broken or conn.closed or isinstance(error, (pg.AdminShutdown, pg.CrashShutdown)):
        return ConnectionLost(
            f"{place}: the connection ended; the migration under way is applied and marked, or neither"
        )
    what = error.diag.message_primary or str(error).strip() or type(error).__name__
    # The details of other errors may show rows: those of RAISE are the file's, and dependent objects are named only.
    named = isinstance(error, pg.DependentObjectsStillExist | pg.FeatureNotSupported)
    own_words = (error.sqlstate or "").startswith("P0") or named
    if error.diag.message_hint and not named:
        what = f"{what}. {error.diag.message_hint}"
    if isinstance(error, pg.ActiveSqlTransaction):
        what = f"{what}: declare '-- transactional: false' in the head of a file of its own"
    ours: MigrationError
    if isinstance(error, (pg.LockNotAvailable, pg.DeadlockDetected)):
        ours = MigrationLocked(f"{place}: {what}; a long transaction holds the lock")
    else:
        ours = MigrationError(f"{place}: {what}")
    ours.sqlstate = error.sqlstate
    ours.explanation = (error.diag.message_detail or "") if own_words else ""
    return ours
