"""Migrates a database to a version of the schema, and back: this package's migrations, and a service's beside them.

yoyo finds the files and records what is applied.

yoyo alone applies a migration in one transaction and marks it in another, locks with a committed row that a killed
process leaves behind, and runs DDL to show a status. Here a migration, its log entry and its mark are one transaction:
a process that is killed at any point leaves the migration applied and marked, or neither. A session advisory lock, the
migration lock, lets one migrator run at a time; it ends with its session. Status is read without a lock or a write.
yoyo's tables hold what yoyo would write, so ``yoyo list`` on the same database shows the same. The applied text is
recorded beside them, so an edited, renamed, missing or out-of-order file is refused (``repair`` accepts it, with a
reason).

The one exception is a file that declares ``-- transactional: false`` (CREATE INDEX CONCURRENTLY and the like): a
crash between its only statement and the mark leaves it unmarked, and the next run repeats the statement. So the
statement must be repeatable, and an INVALID index that an interrupted run left stops the next run.

Connect straight to PostgreSQL: a pooler that changes sessions between transactions would break the lock, so every
method that connects raises ConfigurationError when a pooler answers. NEXGENT_DB_POOLER=session allows one that keeps
sessions.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psycopg
from psycopg import errors as pg

from nexgent_db.errors import InvalidInput, MigrationError
from nexgent_db.migrations import connection as server
from nexgent_db.migrations import history as tables
from nexgent_db.migrations.dependents import broken_by
from nexgent_db.migrations.files import Migration, history_of, read_folders
from nexgent_db.migrations.history import MigrationHistory
from nexgent_db.migrations.lock_report import LockReport, lock_reports
from nexgent_db.migrations.planner import (
    HistoryProblem,
    ensure_forgettable,
    problems,
    to_apply,
    to_rollback,
    unrecorded,
)
from nexgent_db.migrations.runner import Limits, MessageCallback, Runner
from nexgent_db.project import PACKAGE_HISTORY, check_history_name
from nexgent_db.resources import data_dir
from nexgent_db.settings import describe

__all__ = ["MigrationStatus", "Migrator", "PlannedMigration", "StepCallback"]

StepCallback = Callable[[str, int, int], None]
"""``on_step(name, done, total)``: called when a step begins (``done`` counts those before it) and when it ends."""


@dataclass(frozen=True, slots=True)
class MigrationStatus:
    """One migration: when it was applied (aware, UTC; None: pending), and whether the folder of its history has it.

    ``problem`` is the contradiction that stops the next ``migrate()``, if there is one.
    """

    name: str
    applied_at: datetime | None
    known: bool = True
    problem: HistoryProblem | None = None

    @property
    def history(self) -> str:
        """The history that it belongs to; ``nexgent_db`` for this package's."""
        return history_of(self.name)


@dataclass(frozen=True, slots=True)
class PlannedMigration:
    """What ``migrate()`` would send for one migration, with its timeouts. ``sql`` is sent as one simple query.

    A timeout of None is the server's own; 0 means no timeout. ``preflight``: the file is also sent before all others,
    in a read-only transaction. ``breaks``: the objects that it drops or changes although an object of others depends on
    them, as ``drops column agents.name: view report depends on it``.
    """

    name: str
    path: Path
    sql: str
    transactional: bool
    lock_timeout_s: float | None
    statement_timeout_s: float | None
    preflight: bool
    breaks: tuple[str, ...] = ()


class Migrator:
    """Applies the migrations of one or more folders to one database.

    ``conninfo`` is a libpq connection string or URL; its ``options=-csearch_path=…`` decides the schema. The first
    folder is this package's own unless ``directory`` names another. ``migrations`` adds a service's, by the names of
    their histories: ``{"price_alerts": Path("migrations")}``. They are applied after this package's, folder by folder,
    unless ``-- depends:`` asks for another order; each history is checked by itself. Histories that are not named here
    belong to other services, and are left alone.

    ``lock_wait_s`` bounds the wait for another migrator. ``lock_timeout_s`` bounds each wait for a table's lock, so
    that readers never queue behind a waiting ALTER for longer; a migration that exceeds it is rolled back and tried
    again, ``attempts`` times in all, with growing pauses. ``statement_timeout_s`` None leaves the server's setting.
    The head of a file may set either of the two for itself (``-- lock_timeout: 5s``).

    Raises ConfigurationError for a malformed ``conninfo`` or name of a history; nothing is connected or read yet.
    """

    def __init__(
        self,
        conninfo: str,
        directory: Path | None = None,
        *,
        migrations: Mapping[str, Path] = MappingProxyType({}),
        on_step: StepCallback | None = None,
        on_message: MessageCallback | None = None,
        lock_wait_s: float = 300.0,
        lock_timeout_s: float = 2.0,
        statement_timeout_s: float | None = None,
        attempts: int = 8,
    ) -> None:
        if attempts < 1:
            raise InvalidInput("attempts", "at least 1")
        self._conninfo = server.prepared(conninfo)
        self._directory = None if directory is None else Path(directory)
        self._own = {check_history_name(name): Path(folder) for name, folder in migrations.items()}
        self._on_step = on_step
        self._on_message = on_message
        self._lock_wait_s = lock_wait_s
        self._limits = Limits(lock_timeout_s, statement_timeout_s, attempts)

    def __repr__(self) -> str:
        return f"Migrator({describe(self._conninfo)}, {', '.join(map(str, self.folders.values()))})"

    @property
    def directory(self) -> Path:
        """The first folder of migrations. Raises ConfigurationError when the installation has none."""
        return self._directory or data_dir("migrations")

    @property
    def folders(self) -> dict[str, Path]:
        """All folders, by the names of their histories. Raises as :attr:`directory` does."""
        return {PACKAGE_HISTORY: self.directory, **self._own}

    # --- Reading --------------------------------------------------------------------------------

    def status(self) -> list[MigrationStatus]:
        """Every migration of the folders in order, then those of their histories that only the database knows, oldest
        first.

        Reads only: no lock, no DDL. Raises MigrationError for an invalid folder, and DatabaseUnavailable or
        AuthenticationFailed.
        """
        folder, recorded = self._read()
        known = {m.hash for m in folder}
        problem = {p.name: p for p in problems(folder, recorded)}
        return [
            *(
                MigrationStatus(
                    m.id, recorded.applied[m.hash].at if m.hash in recorded.applied else None, problem=problem.get(m.id)
                )
                for m in folder
            ),
            *(
                MigrationStatus(a.name, a.at, known=False, problem=problem.get(a.name))
                for a in recorded.applied.values()
                if a.hash not in known and history_of(a.name) in self.folders
            ),
        ]

    def pending(self) -> list[str]:
        """The names that ``migrate()`` would apply, in order. Reads, and raises, like ``status()``."""
        return [s.name for s in self.status() if s.applied_at is None]

    def plan(self, to: str | None = None) -> list[PlannedMigration]:
        """What ``migrate(to)`` would send now, exactly and in order. Reads, and raises, like ``status()``.

        Also raises MigrationError for what ``migrate()`` would refuse.
        """
        folder, recorded = self._read()
        planned = to_apply(folder, recorded, to)
        with server.connect(self._conninfo) as conn, server.translated(conn):
            breaks = broken_by(conn, folder, planned)
        return [
            PlannedMigration(
                m.id,
                m.up.path,
                m.up.text,
                m.up.transactional,
                (limits := self._limits.of(m.up))["lock_timeout"],
                limits["statement_timeout"],
                m.preflight and number > 0,
                breaks.get(m.id, ()),
            )
            for number, m in enumerate(planned)
        ]

    def lock_report(self, copy: str, to: str | None = None) -> list[LockReport]:
        """The lock report of each migration of ``plan(to)``: the table locks it takes, the tables it rewrites.

        ``copy`` is the connection string of an empty database, or schema, that no other session uses. It is migrated
        to this database's version, then each migration runs there and its locks are read right before its end; this
        database is only read. Raises like ``plan()``, and MigrationError for a migration that fails on the copy.
        """
        folder, recorded = self._read()
        planned = to_apply(folder, recorded, to)
        if not planned:
            return []
        applied = [m for m in folder if m.hash in recorded.applied]
        return list(lock_reports(server.prepared(copy), [*applied, *planned], {m.id for m in planned}))

    def invalid_indexes(self) -> list[str]:
        """The schema-qualified, quoted names of INVALID indexes, left by an interrupted CREATE INDEX CONCURRENTLY."""
        with server.connect(self._conninfo) as conn, server.translated(conn):
            return server.invalid_indexes(conn)

    # --- Writing --------------------------------------------------------------------------------

    def migrate(self, to: str | None = None, *, only: Collection[str] | None = None) -> list[str]:
        """Applies the pending migrations, up to and including ``to``; returns their names, none when none is pending.
        With ``only``, those of these names: for a copy of a database that has no others.

        Each migration is a transaction of its own, so those before a failing one stay. A pending file that declares
        ``-- preflight: true`` also runs before all of them, in a read-only transaction: an error there stops the run
        before anything is changed. When nothing is pending this only reads, and needs no right to write.

        Raises MigrationError for an invalid folder, an unknown ``to``, a folder that contradicts what the database has
        (edited, renamed, missing or out-of-order migrations; ``explanation`` has the differences), and for a failing
        statement (with file and line); MigrationLocked when another migrator, or a transaction on a table, does not end
        in time; ConnectionLost when the server went away meanwhile (the migration under way is then applied and marked,
        or neither); DatabaseUnavailable or AuthenticationFailed when it was never reached.
        """
        folder, recorded = self._read()
        if not to_apply(folder, recorded, to, only):
            if unrecorded(folder, recorded):
                self._record_if_allowed(folder)
            return []
        with self._migration_lock() as lock, self._runner() as runner:
            runner.ensure_internal_schema_updated()
            self._record_assumed(folder, runner)
            # Another migrator may have applied some while this one waited for the lock.
            todo = to_apply(folder, tables.read(lock), to, only)
            for migration in todo[1:]:
                if migration.preflight:
                    runner.run_preflight(migration)
            return self._run_each(todo, lock, runner.apply_one)

    def rollback(self, count: int | None = None, *, to: str | None = None, history: str | None = None) -> list[str]:
        """Rolls back the last ``count`` applied migrations (1 if neither is given), or all that were applied after
        ``to``; returns their names. With ``history``, only those of that history.

        The head of each file says what its rollback loses. Raises InvalidInput when both are given or
        ``count`` is not positive; MigrationError when fewer than ``count`` are applied, ``to`` is not, one is
        irreversible, or an applied one depends on it (nothing is undone then); else like ``migrate()``.
        """
        if count is not None and to is not None:
            raise InvalidInput("count", "give count or to, not both")
        if count is not None and count < 1:
            raise InvalidInput("count", "at least 1")
        folder, recorded = self._read()
        if not to_rollback(folder, recorded, count, to, history):
            return []
        with self._migration_lock() as lock, self._runner() as runner:
            runner.ensure_internal_schema_updated()
            return self._run_each(to_rollback(folder, tables.read(lock), count, to, history), lock, runner.rollback_one)

    def drop_invalid_indexes(self) -> list[str]:
        """Drops concurrently each of ``invalid_indexes()``; returns their names. Raises like ``migrate()``."""
        if not self.invalid_indexes():
            return []
        with self._migration_lock() as lock:
            return server.drop_invalid_indexes(lock)

    def mark_applied(
        self,
        names: Sequence[str],
        note: str,
        verify: Callable[[psycopg.Connection[Any]], None] | None = None,
        *,
        squashed: bool = False,
        forget: Collection[str] = (),
    ) -> list[str]:
        """Marks migrations as applied without running them, all or none; returns those that were not marked before.

        For a database that got its schema in another way. ``verify`` checks it on the connection, and in the
        transaction, that then marks; an error of it rolls everything back. ``note`` is the reason, recorded in the
        history. The migration lock is held throughout.

        ``squashed``: these migrations replace those that only the database has, which lose their marks at once. One
        that is later than all of the folder probably belongs to a newer release, and must be named in ``forget``.
        ``_nexgent_repair`` records them with their text.

        Raises MigrationError for an unknown name, for such a later migration that is not named, and for marks that
        would leave a gap; else like ``migrate()``.
        """
        folder, _ = self._read()
        by_name = {m.id: m for m in folder}
        if unknown := [name for name in names if name not in by_name]:
            raise MigrationError(f"the folder has no {', '.join(unknown)}")
        with self._migration_lock(), self._runner() as runner, runner.one_transaction() as conn:
            if verify is not None:
                verify(conn)
            runner.ensure_internal_schema_updated()
            recorded = tables.read(conn)
            if squashed:
                histories = {by_name[name].history for name in names}
                replaced = [
                    p for p in problems(folder, recorded) if p.kind == "missing" and history_of(p.name) in histories
                ]
                self._accept_all(replaced, folder, recorded, runner, note, forget)
            todo = [m for m in folder if m.id in names and m.hash not in recorded.applied]
            for migration in todo:
                runner.mark_one(migration)
            tables.record(conn, todo, "adopted", note)
            if found := problems(folder, tables.read(conn)):
                raise MigrationError("; ".join(problem.text for problem in found))
            return [m.id for m in todo]

    def repair(self, reason: str, forget: Collection[str] = ()) -> list[HistoryProblem]:
        """Accepts the folder as it is; returns what was accepted. Runs no migration: only the history tables change.

        An edited file's text becomes the applied one. A renamed migration keeps its mark under the new name. The next
        ``migrate()`` may apply one that is out of order. A missing one loses its mark, and what it made stays; one that
        is later than all of the folder probably belongs to a newer release, and must be named in ``forget``.
        ``_nexgent_repair`` records the reason, who and when.

        Raises InvalidInput for an empty reason; MigrationError for such a missing migration that is not named, and
        for a name in ``forget`` that is not missing; else like ``migrate()``.
        """
        if not reason.strip():
            raise InvalidInput("reason", "say why the folder should be accepted as it is")
        folder, recorded = self._read()
        if not problems(folder, recorded):
            return []
        with self._migration_lock(), self._runner() as runner:
            runner.ensure_internal_schema_updated()
            with runner.one_transaction() as conn:
                recorded = tables.read(conn)
                accepted = problems(folder, recorded)
                self._accept_all(accepted, folder, recorded, runner, reason.strip(), forget)
                return accepted

    def _accept_all(
        self,
        accepted: Sequence[HistoryProblem],
        folder: Sequence[Migration],
        recorded: MigrationHistory,
        runner: Runner,
        reason: str,
        forget: Collection[str],
    ) -> None:
        """Changes the history tables for these problems, and records the repair. Raises MigrationError."""
        ensure_forgettable(accepted, folder, forget)
        notes = [self._accept(problem, folder, recorded, runner) for problem in accepted]
        if notes:
            who = f"{runner.connection.info.user}, {server.user_name()}@{socket.gethostname()}"
            tables.note_repair(runner.connection, who, reason, notes)

    def _accept(
        self, problem: HistoryProblem, folder: Sequence[Migration], recorded: MigrationHistory, runner: Runner
    ) -> dict[str, Any]:
        """Changes the history tables for one problem; returns what ``_nexgent_repair`` records of it."""
        conn, by_name = runner.connection, {m.id: m for m in folder}
        mark = next((a for a in recorded.applied.values() if a.name == problem.name), None)
        note: dict[str, Any] = {"kind": problem.kind, "migration": problem.name}
        if mark is not None:
            note |= {"checksum": mark.checksum, "content": mark.content}
        if problem.kind == "edited":
            tables.record(conn, [by_name[problem.name]], "repaired", None)
            return note | {"new_checksum": by_name[problem.name].checksum}
        if mark is not None:  # missing or renamed
            runner.unmark(mark.name, mark.hash)
        if problem.new_name is not None and mark is not None:
            runner.mark_at(by_name[problem.new_name], mark.at)
            tables.record(conn, [by_name[problem.new_name]], "repaired", f"was {problem.name}")
            return note | {"new_name": problem.new_name}
        return note

    # --- Steps ----------------------------------------------------------------------------------

    def _read(self) -> tuple[list[Migration], MigrationHistory]:
        folder = read_folders(self.folders)
        with server.connect(self._conninfo) as conn, server.translated(conn):
            return folder, tables.read(conn)

    def _run_each(
        self, todo: Sequence[Migration], lock: psycopg.Connection[Any], do: Callable[[Migration], None]
    ) -> list[str]:
        names = list[str]()
        for migration in todo:
            server.ensure_lock_held(lock)
            self._report_step(migration.id, len(names), len(todo))
            do(migration)
            names.append(migration.id)
            self._report_step(migration.id, len(names), len(todo))
        return names

    def _record_assumed(self, folder: Sequence[Migration], runner: Runner) -> None:
        """Records the folder's text for migrations that were applied before ours recorded it, or by plain yoyo.
        Once."""
        recorded = tables.read(runner.connection)
        if todo := unrecorded(folder, recorded):
            with runner.one_transaction() as conn:
                tables.record(conn, todo, "assumed", "applied before its text was recorded")

    def _record_if_allowed(self, folder: Sequence[Migration]) -> None:
        """The same when nothing is pending: a role that may only read must not fail here."""
        try:
            with self._migration_lock(), self._runner() as runner:
                runner.ensure_internal_schema_updated()
                self._record_assumed(folder, runner)
        except MigrationError as e:
            if not isinstance(e.__cause__, pg.InsufficientPrivilege | pg.ReadOnlySqlTransaction):
                raise

    def _runner(self) -> Runner:
        return Runner(self._conninfo, self._limits, self._report_message)

    def _report_step(self, name: str, done: int, total: int) -> None:
        if self._on_step is not None:
            self._on_step(name, done, total)

    def _report_message(self, name: str, text: str) -> None:
        if self._on_message is not None:
            self._on_message(name, text)

    @contextmanager
    def _migration_lock(self) -> Iterator[psycopg.Connection[Any]]:
        with server.migration_lock(
            self._conninfo, self._lock_wait_s, lambda text: self._report_message("lock", text)
        ) as conn:
            yield conn
