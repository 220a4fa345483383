"""Runs one migration: yoyo's backend, hardened.

A migration, its log entry and its mark are one transaction. A process that is killed at any point leaves the migration
applied and marked, or neither. A file that declares ``-- transactional: false`` is the exception: its statement can be
repeated.
"""

from __future__ import annotations

import logging
import random
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

import psycopg
from psycopg import errors as pg
from psycopg import generators, pq
from yoyo import internalmigrations
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.migrations import default_migration_table

from nexgent_db._text import visible
from nexgent_db.errors import ConnectionLost, MigrationError, MigrationLocked
from nexgent_db.migrations import history
from nexgent_db.migrations.connection import (
    StatementFailed,
    connect,
    has_citus,
    invalid_indexes,
    never_idle,
    translated,
    user_name,
    value,
)
from nexgent_db.migrations.files import Migration, MigrationScript
from nexgent_db.migrations.progress import monitored
from nexgent_db.sessions import SessionConnection

__all__ = ["Limits", "MessageCallback", "Runner"]

MessageCallback = Callable[[str, str], None]
"""``on_message(name, text)``: news of migration ``name`` on one line: a NOTICE, a lock that was not granted, the
session that it waits for. May be called from another thread, never from two at once."""

_log: Final = logging.getLogger(__name__)

_RETRY_PAUSE_S: Final = (0.25, 5.0)

_Operation = Literal["apply", "rollback", "preflight"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Timeouts and attempts of a migration; the head of its file may set the timeouts."""

    lock_timeout_s: float
    statement_timeout_s: float | None
    attempts: int

    def of(self, script: MigrationScript) -> dict[str, float | None]:
        """The timeouts for this file. Outside of a transaction, waiting for a lock blocks no one: there is no limit."""
        lock_timeout_s = self.lock_timeout_s if script.transactional else 0
        return {
            "lock_timeout": lock_timeout_s if script.lock_timeout_s is None else script.lock_timeout_s,
            "statement_timeout": (
                self.statement_timeout_s if script.statement_timeout_s is None else script.statement_timeout_s
            ),
        }


class Runner(PostgresqlPsycopgBackend):  # type: ignore[misc]  # yoyo has no types
    """yoyo's backend: its SQL for its tables, on our connections, in our transactions, without its lock table."""

    connection: SessionConnection
    execute: Callable[..., psycopg.Cursor[Any]]
    _internal_schema_updated: bool

    def __init__(self, conninfo: str, limits: Limits, report: MessageCallback) -> None:
        self._conninfo = conninfo
        self._limits = limits
        self._report = report
        self._spare: Runner | None = None
        self._sends_single_statements: bool | None = None
        super().__init__("postgresql+psycopg:", default_migration_table)  # never a URI with a password in it

    def __exit__(self, *_: object) -> None:
        for runner in filter(None, (self, self._spare)):
            runner.connection.close()

    def connect(self, dburi: str) -> SessionConnection:
        """A connection of ours: yoyo asks for one."""
        del dburi
        conn = connect(self._conninfo)
        never_idle(conn)
        return conn

    def copy(self) -> Runner:
        """A second runner for the same database: yoyo asks for one."""
        return Runner(self._conninfo, self._limits, self._report)

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
        """Nothing: yoyo's lock is a committed row that outlives its process. The Migrator holds the migration lock."""
        del timeout
        yield

    def ensure_internal_schema_updated(self) -> None:
        """Creates or updates yoyo's three tables, and creates ours. The caller holds the migration lock."""
        if self._internal_schema_updated:
            return
        history.current_schema(self.connection)
        with translated(self.connection):
            try:
                if internalmigrations.needs_upgrading(self):
                    internalmigrations.upgrade(self)
            except AssertionError:
                raise MigrationError("the _yoyo_ tables are of a newer version than this yoyo knows") from None
            history.ensure_tables(self.connection)
        self._internal_schema_updated = True

    @contextmanager
    def one_transaction(self) -> Iterator[psycopg.Connection[Any]]:
        """Makes everything inside one transaction on this connection, yoyo's own statements included."""
        with translated(self.connection), self.connection.transaction():
            self._in_transaction = True  # yoyo then takes savepoints
            try:
                yield self.connection
            finally:
                self._in_transaction = False

    def get_log_data(self, migration: Migration | None = None, operation: str = "apply") -> dict[str, Any]:
        """yoyo's log entry, without reading the passwd file (it may lack this uid) or asking DNS (it may be slow)."""
        return {
            "id": str(uuid.uuid1()),
            "migration_id": migration.id if migration else None,
            "migration_hash": migration.hash if migration else None,
            "username": user_name()[:255],
            "hostname": socket.gethostname()[:255],
            "created_at_utc": datetime.now(UTC).replace(tzinfo=None),
            "operation": operation,
        }

    def apply_one(self, migration: Migration, force: bool = False, mark: bool = True) -> None:
        """Applies and marks in one transaction. Raises MigrationError for yoyo's ``force``, which goes on after
        errors."""
        if force or not mark:
            raise MigrationError(f"{migration.id}: is applied and marked, or neither")
        self._run(migration, migration.up, "apply")

    def rollback_one(self, migration: Migration, force: bool = False) -> None:
        """Rolls back and removes the mark in one transaction. Raises MigrationError for ``force``."""
        if force:
            raise MigrationError(f"{migration.id}: is undone and unmarked, or neither")
        if migration.down is None:
            raise MigrationError(f"{migration.up.path}: cannot be rolled back: {migration.irreversible}")
        self._run(migration, migration.down, "rollback")

    def run_preflight(self, migration: Migration) -> None:
        """Runs a preflight in a read-only transaction, without a mark. Raises what the file raises."""
        self._run(migration, migration.up, "preflight")

    def mark_at(self, migration: Migration, at: datetime) -> None:
        """Marks a migration as applied at that time, without running it, in the caller's transaction."""
        self._mark(migration, at)
        self.log_migration(migration, "mark")

    def _mark(self, migration: Migration, at: datetime) -> None:
        """As yoyo's mark_one(), which would log each migration a second time."""
        when = at.astimezone(UTC).replace(tzinfo=None)
        mark = {"migration_hash": migration.hash, "migration_id": migration.id, "when": when}
        self.execute(self.format_sql(self.mark_migration_sql), mark)

    def unmark(self, name: str, hash_: str) -> None:
        """Removes the mark of a migration that the folder does not have, in the caller's transaction."""
        self.execute(self.format_sql(self.unmark_migration_sql), {"migration_hash": hash_})
        entry = self.get_log_data(None, "unmark") | {"migration_id": name, "migration_hash": hash_}
        self.execute(self.format_sql(self.log_migration_sql), entry)
        history.forget(self.connection, [hash_])

    def _run(self, migration: Migration, script: MigrationScript, operation: _Operation) -> None:
        self.ensure_internal_schema_updated()
        _log.log(logging.DEBUG if operation == "preflight" else logging.INFO, "%s %s", operation, migration.id)
        if not script.transactional:
            with self._session(migration, script) as session:
                session._run_outside_transaction(script)
            self._mark_outside_transaction(migration, script, operation)
            return
        pause, longest = _RETRY_PAUSE_S
        for attempt in range(1, self._limits.attempts + 1):
            try:
                with self._session(migration, script) as session:
                    if operation == "preflight":
                        session._run_read_only(script)
                    else:
                        session._run_in_transaction(migration, script, operation)
                return
            except MigrationLocked as e:
                if attempt == self._limits.attempts:
                    e.args = (f"{e}; gave up after {attempt} attempts",)
                    raise
                _log.info("%s; attempt %d of %d", e, attempt, self._limits.attempts)
                self._report(migration.id, f"{e}; attempt {attempt} of {self._limits.attempts}")
                time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311
                pause = min(2 * pause, longest)

    @contextmanager
    def _session(self, migration: Migration, script: MigrationScript) -> Iterator[Runner]:
        """A session for one attempt at one file, reset after use: no file sees what an earlier one has SET.

        (A connection for each file would take most of the time of all files.)
        """

        def report_notice(notice: pg.Diagnostic) -> None:
            text = visible(f"{notice.severity}: {notice.message_primary}")
            _log.info("%s", text)
            self._report(migration.id, text)

        session, self._spare = self._spare or self.copy(), None
        try:
            session._internal_schema_updated = True
            conn = session.connection
            conn.prepare_threshold = None
            conn.add_notice_handler(report_notice)
            for name, seconds in self._limits.of(script).items():
                if seconds is not None:
                    conn.execute("SELECT set_config(%s, %s, false)", [name, f"{round(seconds * 1000)}ms"])
            if script.limits_itself or self._limits.statement_timeout_s is not None:
                _lift_transaction_timeout(conn)
            with suppress(psycopg.Error):  # not on every platform: there the server runs on for a killed client
                conn.execute("SET client_connection_check_interval = '1s'")
            pid = conn.server_pid
            with (
                monitored(self._conninfo, pid, lambda text: self._report(migration.id, text)),
                translated(conn, script),
            ):
                yield session
            conn.remove_notice_handler(report_notice)
            with suppress(psycopg.Error):  # the file is applied, even if the session ends here
                conn.reset_session()
                self._spare = session
        finally:
            if self._spare is not session:
                session.connection.close()

    def _run_in_transaction(self, migration: Migration, script: MigrationScript, operation: _Operation) -> None:
        """The whole file, its log entry and its mark: one transaction.

        The mark comes first: its unique key stops any other session that applies the same migration, even without the
        lock.
        """
        conn = self.connection
        conn.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
        self._in_transaction = True
        self._record(migration, operation)
        mine = value(conn, "SELECT pg_current_xact_id()::text")
        self._send(script)
        now = value(conn, "SELECT pg_current_xact_id_if_assigned()::text")
        if conn.info.transaction_status != pq.TransactionStatus.INTRANS or mine != now:
            raise MigrationError(
                f"{script.path}: ended the migration's transaction: the statements before stay applied"
            )
        self.commit()

    def _run_read_only(self, script: MigrationScript) -> None:
        """Sends the whole file, without a mark."""
        self.connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY")
        self._send(script)
        self.connection.rollback()

    def _run_outside_transaction(self, script: MigrationScript) -> None:
        """Sends the one statement outside of any transaction."""
        _ensure_no_invalid_indexes(self.connection, f"{script.path}: not run")
        self._send(script)

    def _mark_outside_transaction(self, migration: Migration, script: MigrationScript, operation: _Operation) -> None:
        """Writes the log entry and the mark of a statement that was run.

        On this runner's own session, not on the statement's: that may have another search path or role by now.
        """
        try:
            _ensure_no_invalid_indexes(self.connection, f"{script.path}: run")
            with self.one_transaction():
                self._record(migration, operation)
        except (MigrationError, ConnectionLost) as e:
            again = "migrate" if operation == "apply" else "rollback"
            e.args = (
                f"{script.path}: its statement was run, but is not marked: {e}. Run nexgent-db {again}"
                " again: it repeats the statement, then writes the mark",
            )
            raise

    def _record(self, migration: Migration, operation: _Operation) -> None:
        if operation == "apply":
            try:
                self._mark(migration, datetime.now(UTC))
            except pg.UniqueViolation as e:
                raise MigrationError(f"{migration.id}: was applied by another session meanwhile; run again") from e
            history.record(self.connection, [migration], "applied", None)
        else:
            unmarked = self.execute(self.format_sql(self.unmark_migration_sql), {"migration_hash": migration.hash})
            if unmarked.rowcount != 1:
                raise MigrationError(f"{migration.id}: was rolled back by another session meanwhile; run again")
            history.forget(self.connection, [migration.hash])
        self.log_migration(migration, operation)

    def _send(self, script: MigrationScript) -> None:
        """Sends the text as it is, as one simple query; on Citus, which sends a string on to its nodes as it is, one
        statement after another.

        PostgreSQL stops at the first error. For an error without a position, the number of statements that succeeded
        gives the one that failed.
        """
        conn = self.connection
        if self._sends_single_statements is None:
            self._sends_single_statements = has_citus(conn)
        parts = [(0, 0, script.text)]
        if self._sends_single_statements:
            parts = [(n, each.start, script.text[each.start : each.end]) for n, each in enumerate(script.statements)]
        for number, start, text in parts:
            conn.pgconn.send_query(text.encode())
            *done, last = conn.wait(generators.execute(conn.pgconn))
            if last.status == pq.ExecStatus.FATAL_ERROR:
                error = pg.error_from_result(last)
                raise StatementFailed(error, _line_of(error, script, number + len(done), start)) from error


def _ensure_no_invalid_indexes(conn: psycopg.Connection[Any], what: str) -> None:
    if names := invalid_indexes(conn):
        raise MigrationError(
            f"{what}: INVALID index {', '.join(names)}, left by an interrupted or failed CREATE INDEX CONCURRENTLY."
            " Repair the cause, then run nexgent-db migrate --drop-invalid"
        )


def _lift_transaction_timeout(conn: psycopg.Connection[Any]) -> None:
    if conn.info.server_version >= _FIRST_WITH_TRANSACTION_TIMEOUT:
        conn.execute("SET transaction_timeout = 0")


_FIRST_WITH_TRANSACTION_TIMEOUT: Final = 170000


def _line_of(error: psycopg.Error, script: MigrationScript, succeeded: int, start: int) -> int:
    """The line of the statement that failed, in the text that was sent from the offset ``start`` on."""
    if (position := error.diag.statement_position) is not None:
        return script.line(start + int(position) - 1)
    return script.line_of_statement(succeeded)
