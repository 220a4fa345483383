"""Brings a database to a version of the schema, and back; yoyo keeps the files and the books.

yoyo alone applies a migration in one transaction and marks it in another, guards with a committed row that a
killed process leaves behind, and runs DDL to show a status. Here a migration, its log entry and its mark are one
transaction: whatever is killed, wherever, a migration is applied and marked, or neither. Migrators take turns by a
session advisory lock, which ends with its session. Status is read without any lock or write. What is recorded is
what yoyo records, so ``yoyo list`` on the same database says the same.

The one exception is a file that declares ``-- transactional: false`` (CREATE INDEX CONCURRENTLY and the like): a
crash between its only statement and the mark leaves it unmarked, and the next run repeats the statement. So it has
to be one that can be repeated, and an INVALID index that an interrupted run left is reported, never built upon.

Connect straight to PostgreSQL: a pooler that changes sessions between transactions breaks the lock.
"""

from __future__ import annotations

import difflib
import getpass
import logging
import os
import random
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import psycopg
from psycopg import errors as pg
from psycopg import generators, pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from yoyo import internalmigrations
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.migrations import default_migration_table

from nexgent_db._data import data_dir
from nexgent_db._migration_files import Migration, MigrationError, Script, read_folder
from nexgent_db.errors import (
    AuthenticationFailed,
    ConfigurationError,
    ConnectionLost,
    DatabaseUnavailable,
    InvalidInput,
)
from nexgent_db.settings import describe

__all__ = ["MigrationError", "MigrationLocked", "MigrationStatus", "Migrator", "StepCallback"]

StepCallback = Callable[[str, int, int], None]
"""``on_step(name, done, total)``: called as each step begins (``done`` counts those before it) and as it ends."""

_log: Final = logging.getLogger(__name__)

_LOCK_KEY: Final = 0x6E65_7867_656E_7464  # "nexgentd"; advisory locks are per database
_LOCK_POLL_S: Final = (0.05, 0.5)  # first and longest pause
_RETRY_PAUSE_S: Final = (0.25, 5.0)


class MigrationLocked(MigrationError):
    """Somebody held what the migration needs for too long: the migration lock (then it says who), or a table.

    Nothing of this migration was done; run again when the other one is finished.
    """


@dataclass(frozen=True, slots=True)
class MigrationStatus:
    """One migration: when it was applied (aware, UTC; None = pending), and whether the folder has it."""

    name: str
    applied_at: datetime | None
    known: bool = True


class Migrator:
    """Applies the migrations of a folder to one database.

    ``conninfo`` is a libpq connection string or URL; its ``options=-csearch_path=…`` decides the schema. The folder
    is this package's own unless ``directory`` names another.

    ``lock_wait_s`` bounds the wait for another migrator. ``lock_timeout_s`` bounds each wait for a table's lock, so
    that readers never queue behind a waiting ALTER for longer; a migration that meets it is rolled back and tried
    again, ``attempts`` times in all, with growing pauses. ``statement_timeout_s`` None leaves the server's setting.

    Raises ConfigurationError for a malformed ``conninfo``; nothing is connected or read yet.
    """

    def __init__(
        self,
        conninfo: str,
        directory: Path | None = None,
        *,
        on_step: StepCallback | None = None,
        lock_wait_s: float = 300.0,
        lock_timeout_s: float = 2.0,
        statement_timeout_s: float | None = None,
        attempts: int = 8,
    ) -> None:
        if attempts < 1:
            raise InvalidInput("attempts", "at least 1")
        self._conninfo = _prepared(conninfo)
        self._directory = None if directory is None else Path(directory)
        self._on_step = on_step
        self._lock_wait_s = lock_wait_s
        self._limits = _Limits(lock_timeout_s, statement_timeout_s, attempts)

    def __repr__(self) -> str:
        return f"Migrator({describe(self._conninfo)}, {self.directory})"

    @property
    def directory(self) -> Path:
        """The folder of migrations. Raises ConfigurationError when the installation has none."""
        return self._directory or data_dir("migrations")

    def status(self) -> list[MigrationStatus]:
        """Every migration of the folder in order, then those that only the database knows, oldest first.

        Reads only: no lock, no DDL. Raises MigrationError for an unfit folder, and DatabaseUnavailable or
        AuthenticationFailed.
        """
        folder, applied = self._look()
        known = {m.hash for m in folder}
        return [
            *(MigrationStatus(m.id, applied[m.hash].at if m.hash in applied else None) for m in folder),
            *(MigrationStatus(a.name, a.at, known=False) for hash_, a in applied.items() if hash_ not in known),
        ]

    def pending(self) -> list[str]:
        """The names that ``migrate()`` would apply, in order. Reads, and raises, like ``status()``."""
        return [s.name for s in self.status() if s.applied_at is None]

    def migrate(self, to: str | None = None) -> list[str]:
        """Applies what is pending, up to and including ``to``; the names applied, none when there is nothing to do.

        Each migration is a transaction of its own, so those before a failing one stay. When nothing is pending this
        only reads, and needs no right to write.

        Raises MigrationError for an unfit folder, an unknown ``to``, a database that has migrations which the
        folder does not know or that are later than a pending one, and for a failing statement (with file and line);
        MigrationLocked when another migrator or a table's user does not finish in time; ConnectionLost when the
        server went away meanwhile (the migration under way is then applied and marked, or neither);
        DatabaseUnavailable or AuthenticationFailed when it was never reached.
        """
        folder, applied = self._look()
        if not _to_apply(folder, applied, to):
            return []
        with self._alone() as lock, _Backend(self._conninfo, self._limits) as backend:
            backend.ensure_internal_schema_updated()
            # Others may have been at work while this one waited for its turn.
            todo = _to_apply(folder, _applied(lock), to)
            return self._walk(todo, lock, backend.apply_one)

    def rollback(self, count: int | None = None, *, to: str | None = None) -> list[str]:
        """Undoes the last ``count`` applied migrations (1 if neither is given), or all after ``to``; the names undone.

        What is lost with each is said in the head of its files. Raises InvalidInput when both are given or
        ``count`` is not positive; MigrationError when fewer than ``count`` are applied or ``to`` is not; else like
        ``migrate()``.
        """
        if count is not None and to is not None:
            raise InvalidInput("count", "give count or to, not both")
        if count is not None and count < 1:
            raise InvalidInput("count", "at least 1")
        folder, applied = self._look()
        if not _to_rollback(folder, applied, count, to):
            return []
        with self._alone() as lock, _Backend(self._conninfo, self._limits) as backend:
            backend.ensure_internal_schema_updated()
            todo = _to_rollback(folder, _applied(lock), count, to)
            return self._walk(todo, lock, backend.rollback_one)

    def _look(self) -> tuple[list[Migration], dict[str, _Applied]]:
        folder = read_folder(self.directory)
        with _connect(self._conninfo) as conn, _translated(conn):
            return folder, _applied(conn)

    def _walk(
        self, todo: Sequence[Migration], lock: psycopg.Connection[Any], do: Callable[[Migration], None]
    ) -> list[str]:
        names = list[str]()
        for migration in todo:
            _still_held(lock)
            self._report(migration.id, len(names), len(todo))
            do(migration)
            names.append(migration.id)
            self._report(migration.id, len(names), len(todo))
        return names

    def _report(self, name: str, done: int, total: int) -> None:
        if self._on_step is not None:
            self._on_step(name, done, total)

    @contextmanager
    def _alone(self) -> Iterator[psycopg.Connection[Any]]:
        """Holds the migration lock, on a connection of its own; ends with that connection at the latest.

        By polling: a session that waits inside pg_advisory_lock holds a snapshot, for which CREATE INDEX
        CONCURRENTLY would wait in turn.
        """
        me = f"nexgent-db migrate {_user()}@{socket.gethostname()}:{os.getpid()}"
        with _connect(self._conninfo) as conn, _translated(conn):
            conn.execute(
                "SELECT set_config('application_name', %s, false), set_config('idle_session_timeout', '0', false)", [me]
            )
            deadline = time.monotonic() + self._lock_wait_s
            pause, longest = _LOCK_POLL_S
            while not _value(conn, "SELECT pg_try_advisory_lock(%s)", _LOCK_KEY):
                if time.monotonic() >= deadline:
                    raise MigrationLocked(
                        f"another migrator did not finish within {self._lock_wait_s:g} s: {_holder(conn)}"
                    )
                time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
                pause = min(2 * pause, longest)
            try:
                yield conn
            finally:
                with suppress(psycopg.Error):
                    conn.execute("SELECT pg_advisory_unlock(%s)", [_LOCK_KEY])


# --- Deciding what to do ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Applied:
    name: str
    at: datetime


def _to_apply(folder: list[Migration], applied: Mapping[str, _Applied], to: str | None) -> list[Migration]:
    _refuse_unknown(folder, applied)
    last = len(folder) - 1 if to is None else _position(folder, to)
    pending = [(i, m) for i, m in enumerate(folder) if m.hash not in applied]
    newest = max((i for i, m in enumerate(folder) if m.hash in applied), default=-1)
    if late := [m.id for i, m in pending if i < newest]:
        raise MigrationError(
            f"not applied, but older than {folder[newest].id}, which is: {', '.join(late)}."
            " Their order was changed after the fact: give them later names, or roll back to before them"
        )
    return [m for i, m in pending if i <= last]


def _to_rollback(
    folder: list[Migration], applied: Mapping[str, _Applied], count: int | None, to: str | None
) -> list[Migration]:
    _refuse_unknown(folder, applied)
    done = [m for m in folder if m.hash in applied]
    if to is not None:
        target = folder[_position(folder, to)]
        if target.hash not in applied:
            raise MigrationError(f"cannot roll back to {to}: it is not applied")
        return [m for m in reversed(done) if folder.index(m) > folder.index(target)]
    count = 1 if count is None else count
    if count > len(done):
        raise MigrationError(f"cannot roll back {count}: {len(done)} applied")
    return done[::-1][:count]


def _refuse_unknown(folder: list[Migration], applied: Mapping[str, _Applied]) -> None:
    known = {m.hash for m in folder}
    if unknown := [a.name for hash_, a in applied.items() if hash_ not in known]:
        raise MigrationError(
            f"the database has migrations that {folder[0].up.path.parent} does not: {', '.join(unknown)}."
            " It is newer than this release, or a file was renamed or removed"
        )


def _position(folder: list[Migration], name: str) -> int:
    names = [m.id for m in folder]
    if name in names:
        return names.index(name)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise MigrationError(f"no migration is called {name!r}{hint}")


def _applied(conn: psycopg.Connection[Any]) -> dict[str, _Applied]:
    """What is marked, by yoyo's hash of the name, oldest first. Plain reads; yoyo looks in the same schema."""
    schema = _schema(conn)
    table = f"{_quoted(schema)}.{_quoted(default_migration_table)}"
    if _value(conn, "SELECT to_regclass(%s) IS NULL", table):
        return {}
    rows = conn.execute(
        f"SELECT migration_hash, migration_id, applied_at_utc FROM {table} ORDER BY applied_at_utc, migration_id"  # noqa: S608
    )
    return {hash_: _Applied(name, at.replace(tzinfo=UTC)) for hash_, name, at in rows}


def _schema(conn: psycopg.Connection[Any]) -> str:
    found = _value(conn, "SELECT current_schema()")
    if found is None:
        path = _value(conn, "SELECT current_setting('search_path')")
        raise MigrationError(f"no schema of the search path ({path}) exists: CREATE SCHEMA first")
    return str(found)


# --- yoyo, hardened -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Limits:
    lock_timeout_s: float
    statement_timeout_s: float | None
    attempts: int


class _Backend(PostgresqlPsycopgBackend):  # type: ignore[misc]  # yoyo has no types
    """yoyo's backend with its own SQL for the books, but our connections, our transactions and no lock table."""

    connection: psycopg.Connection[Any]
    execute: Callable[..., psycopg.Cursor[Any]]
    _internal_schema_updated: bool

    def __init__(self, conninfo: str, limits: _Limits) -> None:
        self._conninfo = conninfo
        self._limits = limits
        super().__init__("postgresql+psycopg:", default_migration_table)  # never a URI with a password in it

    def connect(self, dburi: str) -> psycopg.Connection[Any]:
        del dburi
        return _connect(self._conninfo)

    def copy(self) -> _Backend:
        return _Backend(self._conninfo, self._limits)

    def init_connection(self, connection: psycopg.Connection[Any]) -> None:
        """Nothing: the connection string has set the search path."""

    def list_tables(self, **kwargs: object) -> list[str]:
        """The tables of the current schema, also those this role may not read."""
        del kwargs
        rows = self.connection.execute(
            "SELECT c.relname FROM pg_class AS c INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace"
            " WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p')"
        )
        return [name for (name,) in rows]

    @contextmanager
    def lock(self, timeout: float = 0) -> Iterator[None]:
        """yoyo's lock is a committed row that outlives its process; ours is held by the Migrator meanwhile."""
        del timeout
        yield

    def ensure_internal_schema_updated(self) -> None:
        """Creates yoyo's three tables, or brings them up to date, in one transaction. The caller holds the lock."""
        if self._internal_schema_updated:
            return
        _schema(self.connection)
        with _translated(self.connection):
            try:
                if internalmigrations.needs_upgrading(self):
                    internalmigrations.upgrade(self)
            except AssertionError:
                raise MigrationError("the _yoyo_ tables are of a newer version than this yoyo knows") from None
        self._internal_schema_updated = True

    def get_log_data(self, migration: Migration | None = None, operation: str = "apply") -> dict[str, Any]:
        """As yoyo's, but asks neither the passwd file (which may not know this uid) nor DNS (which may be slow)."""
        return {
            "id": str(uuid.uuid1()),
            "migration_id": migration.id if migration else None,
            "migration_hash": migration.hash if migration else None,
            "username": _user()[:255],
            "hostname": socket.gethostname()[:255],
            "created_at_utc": datetime.now(UTC).replace(tzinfo=None),
            "operation": operation,
        }

    def apply_one(self, migration: Migration, force: bool = False, mark: bool = True) -> None:
        """Applies and marks, as one; yoyo's ``force`` (go on after errors) is not on offer."""
        if force or not mark:
            raise MigrationError(f"{migration.id}: is applied and marked, or neither")
        self._run(migration, "apply")

    def rollback_one(self, migration: Migration, force: bool = False) -> None:
        """Undoes and unmarks, as one."""
        if force:
            raise MigrationError(f"{migration.id}: is undone and unmarked, or neither")
        self._run(migration, "rollback")

    def _run(self, migration: Migration, operation: _Operation) -> None:
        self.ensure_internal_schema_updated()
        script = migration.up if operation == "apply" else migration.down
        _log.info("%s %s", operation, migration.id)
        if not script.transactional:
            with self._session(lock_timeout_s=0) as session, _translated(session.connection, script):
                session._run_alone(migration, script, operation)
            return
        pause, longest = _RETRY_PAUSE_S
        for attempt in range(1, self._limits.attempts + 1):
            try:
                with self._session(self._limits.lock_timeout_s) as session, _translated(session.connection, script):
                    session._run_in_transaction(migration, script, operation)
                return
            except MigrationLocked as e:
                if attempt == self._limits.attempts:
                    e.args = (f"{e}; gave up after {attempt} attempts",)
                    raise
                _log.warning("%s; attempt %d of %d", e, attempt, self._limits.attempts)
                time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311
                pause = min(2 * pause, longest)

    @contextmanager
    def _session(self, lock_timeout_s: float) -> Iterator[_Backend]:
        """A connection for one attempt at one file, so that a SET in it ends with it."""
        with self.copy() as session:
            session._internal_schema_updated = True
            conn = session.connection
            conn.prepare_threshold = None
            conn.add_notice_handler(lambda n: _log.info("%s: %s", n.severity, n.message_primary))
            settings = {"lock_timeout": lock_timeout_s, "statement_timeout": self._limits.statement_timeout_s}
            for name, seconds in settings.items():
                if seconds is not None:
                    conn.execute("SELECT set_config(%s, %s, false)", [name, f"{round(seconds * 1000)}ms"])
            with suppress(psycopg.Error):  # not on every server's platform: then it runs on for a killed client
                conn.execute("SET client_connection_check_interval = '1s'")
            yield session

    def _run_in_transaction(self, migration: Migration, script: Script, operation: _Operation) -> None:
        """The whole file, its log entry and its mark: one transaction.

        The mark comes first: its unique key stops whoever else would apply the same migration, lock or no lock.
        """
        conn = self.connection
        conn.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
        self._in_transaction = True
        self._record(migration, operation)
        mine = _value(conn, "SELECT pg_current_xact_id_if_assigned()::text")
        self._send(script)
        now = _value(conn, "SELECT pg_current_xact_id_if_assigned()::text")
        if conn.info.transaction_status != pq.TransactionStatus.INTRANS or mine != now:
            raise MigrationError(f"{script.path}: ended the migration's transaction: what it did until then has stayed")
        self.commit()

    def _run_alone(self, migration: Migration, script: Script, operation: _Operation) -> None:
        """One statement outside of any transaction, then its log entry and its mark."""
        self._refuse_invalid_indexes(f"{script.path}: not run")
        self._send(script)
        self._refuse_invalid_indexes(f"{script.path}: run, but not marked")
        with self.transaction():
            self._record(migration, operation)

    def _record(self, migration: Migration, operation: _Operation) -> None:
        if operation == "apply":
            try:
                self.mark_one(migration, log=False)
            except pg.UniqueViolation as e:
                raise MigrationError(f"{migration.id}: was applied by somebody else meanwhile; run again") from e
        else:
            unmarked = self.execute(self.format_sql(self.unmark_migration_sql), {"migration_hash": migration.hash})
            if unmarked.rowcount != 1:
                raise MigrationError(f"{migration.id}: was rolled back by somebody else meanwhile; run again")
        self.log_migration(migration, operation)

    def _send(self, script: Script) -> None:
        """Sends the text as it is, as one simple query.

        PostgreSQL stops at the first error; how many statements succeeded says which one failed, for errors that
        have no position.
        """
        conn = self.connection
        conn.pgconn.send_query(script.text.encode())
        *done, last = conn.wait(generators.execute(conn.pgconn))
        if last.status == pq.ExecStatus.FATAL_ERROR:
            error = pg.error_from_result(last)
            raise _Failed(error, _line_of(error, script, len(done))) from error

    def _refuse_invalid_indexes(self, what: str) -> None:
        rows = self.connection.execute(
            """
            SELECT format('%I.%I', n.nspname, c.relname)
            FROM pg_index AS i
            INNER JOIN pg_class AS c ON c.oid = i.indexrelid
            INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace
            WHERE NOT i.indisvalid
              AND c.relkind = 'i'
              AND n.nspname = ANY (current_schemas(FALSE))
              AND i.indexrelid NOT IN (SELECT p.index_relid FROM pg_stat_progress_create_index AS p)
            ORDER BY 1
            """
        ).fetchall()
        if rows:
            names = ", ".join(name for (name,) in rows)
            raise MigrationError(
                f"{what}: INVALID index {names}, left by an interrupted or failed CREATE INDEX CONCURRENTLY."
                f" DROP INDEX CONCURRENTLY it, mend what made it fail, and run again"
            )


_Operation = Literal["apply", "rollback"]


class _Failed(Exception):
    """A statement of the file at ``line`` failed with ``error``."""

    def __init__(self, error: psycopg.Error, line: int) -> None:
        super().__init__(str(error))
        self.error = error
        self.line = line


def _line_of(error: psycopg.Error, script: Script, succeeded: int) -> int:
    if (position := error.diag.statement_position) is not None:
        return script.line(int(position) - 1)
    return script.line_of_statement(succeeded)


# --- Connections and errors ---------------------------------------------------------------------

_REFUSED: Final = ("authentication failed", "no password supplied", "no pg_hba.conf entry", "role ", "peer auth")


def _prepared(conninfo: str) -> str:
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
        parts.setdefault("target_session_attrs", "read-write")
    return make_conninfo("", **parts)


def _connect(conninfo: str) -> psycopg.Connection[Any]:
    try:
        return psycopg.connect(conninfo, autocommit=True)
    except psycopg.OperationalError as e:
        refused = any(sign in str(e) for sign in _REFUSED)
        kind = AuthenticationFailed if refused else DatabaseUnavailable
        raise kind(f"cannot connect as {describe(conninfo)}: {str(e).strip()}") from e


@contextmanager
def _translated(conn: psycopg.Connection[Any], script: Script | None = None) -> Iterator[None]:
    """psycopg's errors as ours: with file and line when a statement of ``script`` failed, without row contents."""
    place = f"{script.path}" if script else "migrating"
    try:
        yield
    except _Failed as e:
        raise _as_ours(e.error, conn, f"{place}:{e.line}") from e.error
    except psycopg.Error as e:
        raise _as_ours(e, conn, place) from e


def _as_ours(error: psycopg.Error, conn: psycopg.Connection[Any], place: str) -> MigrationError | ConnectionLost:
    if conn.broken or conn.closed or isinstance(error, (pg.AdminShutdown, pg.CrashShutdown)):
        return ConnectionLost(f"{place}: the connection ended; what was under way is done and marked, or neither")
    what = error.diag.message_primary or str(error).strip() or type(error).__name__
    if error.diag.message_detail and (error.sqlstate or "").startswith("P0"):  # the migration's own words
        what = f"{what}\n{error.diag.message_detail}"
    if isinstance(error, pg.ActiveSqlTransaction):
        what = f"{what}: declare '-- transactional: false' in the head of a file of its own"
    ours: MigrationError
    if isinstance(error, (pg.LockNotAvailable, pg.DeadlockDetected)):
        ours = MigrationLocked(f"{place}: {what}; a long transaction holds what it needs")
    else:
        ours = MigrationError(f"{place}: {what}")
    ours.sqlstate = error.sqlstate
    return ours


def _still_held(lock: psycopg.Connection[Any]) -> None:
    """A migration must not begin when the session that holds the lock has ended."""
    lock.execute("SELECT 1")


def _holder(conn: psycopg.Connection[Any]) -> str:
    row = conn.execute(
        """
        SELECT l.pid, a.usename, a.application_name, a.client_addr::text, a.backend_start
        FROM pg_locks AS l
        LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
        WHERE l.locktype = 'advisory'
          AND l.granted
          AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
          AND (l.classid::bigint << 32 | l.objid::bigint) = %s
          AND l.objsubid = 1
        """,
        [_LOCK_KEY],
    ).fetchone()
    if row is None:
        return "it has just finished; run again"
    pid, role, application, address, since = row
    who = f"backend {pid}, role {role or 'unknown'}"
    if application:
        who += f", {application}"
    if address:
        who += f", from {address}"
    return f"{who}, connected since {since.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if since else who


def _value(conn: psycopg.Connection[Any], query: str, *parameters: object) -> Any:
    row = conn.execute(query, parameters or None).fetchone()
    return row[0] if row else None


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a uid without a passwd entry, as in many containers
        return f"uid {os.getuid()}"
