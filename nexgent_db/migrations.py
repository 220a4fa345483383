"""Brings a database to a version of the schema, and back; yoyo keeps the files and the books.

yoyo alone applies a migration in one transaction and marks it in another, guards with a committed row that a
killed process leaves behind, and runs DDL to show a status. Here a migration, its log entry and its mark are one
transaction: whatever is killed, wherever, a migration is applied and marked, or neither. Migrators take turns by a
session advisory lock, which ends with its session. Status is read without any lock or write. What is recorded is
what yoyo records, so ``yoyo list`` on the same database says the same; the text that was applied is recorded beside
it, so an edited, renamed, missing or late file is refused (``repair`` accepts it, for a reason).

The one exception is a file that declares ``-- transactional: false`` (CREATE INDEX CONCURRENTLY and the like): a
crash between its only statement and the mark leaves it unmarked, and the next run repeats the statement. So it has
to be one that can be repeated, and an INVALID index that an interrupted run left is reported, never built upon.

Connect straight to PostgreSQL: a pooler that changes sessions between transactions breaks the lock.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import errors as pg

from nexgent_db._data import data_dir
from nexgent_db._migrating import books, server
from nexgent_db._migrating.books import BOOKKEEPING_TABLES, Books
from nexgent_db._migrating.files import Migration, read_folder
from nexgent_db._migrating.locks import MeasuredMigration, TableLock, measured
from nexgent_db._migrating.runner import Limits, MessageCallback, Runner
from nexgent_db._migrating.state import Problem, problems, to_apply, to_rollback, unrecorded
from nexgent_db.errors import InvalidInput, MigrationError, MigrationLocked
from nexgent_db.settings import describe

__all__ = [
    "BOOKKEEPING_TABLES",
    "MeasuredMigration",
    "MessageCallback",
    "MigrationError",
    "MigrationLocked",
    "MigrationStatus",
    "Migrator",
    "PlannedMigration",
    "Problem",
    "StepCallback",
    "TableLock",
]

StepCallback = Callable[[str, int, int], None]
"""``on_step(name, done, total)``: called as each step begins (``done`` counts those before it) and as it ends."""


@dataclass(frozen=True, slots=True)
class MigrationStatus:
    """One migration: when it was applied (aware, UTC; None = pending), and whether the folder has it.

    ``problem`` is what stands between it and the next ``migrate()``, if anything.
    """

    name: str
    applied_at: datetime | None
    known: bool = True
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class PlannedMigration:
    """What ``migrate()`` would send for one migration, and under which limits. ``sql`` is sent as one simple query.

    A timeout of None is the server's own; 0 is none at all. ``preflight``: it is also sent before all others, in a
    read-only transaction.
    """

    name: str
    path: Path
    sql: str
    transactional: bool
    lock_timeout_s: float | None
    statement_timeout_s: float | None
    preflight: bool


class Migrator:
    """Applies the migrations of a folder to one database.

    ``conninfo`` is a libpq connection string or URL; its ``options=-csearch_path=…`` decides the schema. The folder
    is this package's own unless ``directory`` names another.

    ``lock_wait_s`` bounds the wait for another migrator. ``lock_timeout_s`` bounds each wait for a table's lock, so
    that readers never queue behind a waiting ALTER for longer; a migration that meets it is rolled back and tried
    again, ``attempts`` times in all, with growing pauses. ``statement_timeout_s`` None leaves the server's setting.
    The head of a file may set either of the two for itself (``-- lock_timeout: 5s``).

    Raises ConfigurationError for a malformed ``conninfo``; nothing is connected or read yet.
    """

    def __init__(
        self,
        conninfo: str,
        directory: Path | None = None,
        *,
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
        self._on_step = on_step
        self._on_message = on_message
        self._lock_wait_s = lock_wait_s
        self._limits = Limits(lock_timeout_s, statement_timeout_s, attempts)

    def __repr__(self) -> str:
        return f"Migrator({describe(self._conninfo)}, {self.directory})"

    @property
    def directory(self) -> Path:
        """The folder of migrations. Raises ConfigurationError when the installation has none."""
        return self._directory or data_dir("migrations")

    # --- Reading --------------------------------------------------------------------------------

    def status(self) -> list[MigrationStatus]:
        """Every migration of the folder in order, then those that only the database knows, oldest first.

        Reads only: no lock, no DDL. Raises MigrationError for an unfit folder, and DatabaseUnavailable or
        AuthenticationFailed.
        """
        folder, kept = self._look()
        known = {m.hash for m in folder}
        problem = {p.name: p for p in problems(folder, kept)}
        return [
            *(
                MigrationStatus(
                    m.id, kept.applied[m.hash].at if m.hash in kept.applied else None, problem=problem.get(m.id)
                )
                for m in folder
            ),
            *(
                MigrationStatus(a.name, a.at, known=False, problem=problem.get(a.name))
                for a in kept.applied.values()
                if a.hash not in known
            ),
        ]

    def pending(self) -> list[str]:
        """The names that ``migrate()`` would apply, in order. Reads, and raises, like ``status()``."""
        return [s.name for s in self.status() if s.applied_at is None]

    def plan(self, to: str | None = None) -> list[PlannedMigration]:
        """Exactly what ``migrate(to)`` would send now, in order. Reads, and raises, like ``status()``.

        Also raises MigrationError for what ``migrate()`` would refuse.
        """
        folder, kept = self._look()
        return [
            PlannedMigration(
                m.id,
                m.up.path,
                m.up.text,
                m.up.transactional,
                (limits := self._limits.of(m.up))["lock_timeout"],
                limits["statement_timeout"],
                m.preflight and number > 0,
            )
            for number, m in enumerate(to_apply(folder, kept, to))
        ]

    def measure(self, copy: str, to: str | None = None) -> list[MeasuredMigration]:
        """What each of ``plan(to)`` does to tables: the locks it takes, what it rewrites; measured, not guessed.

        ``copy`` is the connection string of an empty database, or schema, that nobody else uses. It is brought to
        where this database is, then each migration is run there and looked at right before its end; this database is
        only read. Raises like ``plan()``, and MigrationError for a migration that fails on the copy.
        """
        folder, kept = self._look()
        wanted = {m.id for m in to_apply(folder, kept, to)}
        if not wanted:
            return []
        return list(
            measured(server.prepared(copy), [m for m in folder if m.hash in kept.applied or m.id in wanted], wanted)
        )

    def invalid_indexes(self) -> list[str]:
        """The INVALID indexes that an interrupted CREATE INDEX CONCURRENTLY left; schema-qualified, quoted names."""
        with server.connect(self._conninfo) as conn, server.translated(conn):
            return server.invalid_indexes(conn)

    # --- Writing --------------------------------------------------------------------------------

    def migrate(self, to: str | None = None) -> list[str]:
        """Applies what is pending, up to and including ``to``; the names applied, none when there is nothing to do.

        Each migration is a transaction of its own, so those before a failing one stay. A pending file that declares
        ``-- preflight: true`` is also run before all of them, in a read-only transaction: what it raises stops this
        before anything is changed. When nothing is pending this only reads, and needs no right to write.

        Raises MigrationError for an unfit folder, an unknown ``to``, a folder that contradicts what the database has
        (edited, renamed, missing or late migrations; ``details`` has the differences), and for a failing statement
        (with file and line); MigrationLocked when another migrator or a table's user does not finish in time;
        ConnectionLost when the server went away meanwhile (the migration under way is then applied and marked, or
        neither); DatabaseUnavailable or AuthenticationFailed when it was never reached.
        """
        folder, kept = self._look()
        if not to_apply(folder, kept, to):
            if unrecorded(folder, kept):
                self._record_if_allowed(folder)
            return []
        with self._alone() as lock, self._runner() as runner:
            runner.ensure_internal_schema_updated()
            self._record_assumed(folder, runner)
            # Others may have been at work while this one waited for its turn.
            todo = to_apply(folder, books.read(lock), to)
            for migration in todo[1:]:
                if migration.preflight:
                    runner.look_ahead(migration)
            return self._walk(todo, lock, runner.apply_one)

    def rollback(self, count: int | None = None, *, to: str | None = None) -> list[str]:
        """Undoes the last ``count`` applied migrations (1 if neither is given), or all after ``to``; the names undone.

        What is lost with each is said in the head of its files. Raises InvalidInput when both are given or
        ``count`` is not positive; MigrationError when fewer than ``count`` are applied, ``to`` is not, or one is
        irreversible (nothing is undone then); else like ``migrate()``.
        """
        if count is not None and to is not None:
            raise InvalidInput("count", "give count or to, not both")
        if count is not None and count < 1:
            raise InvalidInput("count", "at least 1")
        folder, kept = self._look()
        if not to_rollback(folder, kept, count, to):
            return []
        with self._alone() as lock, self._runner() as runner:
            runner.ensure_internal_schema_updated()
            return self._walk(to_rollback(folder, books.read(lock), count, to), lock, runner.rollback_one)

    def drop_invalid_indexes(self) -> list[str]:
        """Drops, concurrently, what ``invalid_indexes()`` lists; the names. Raises like ``migrate()``."""
        if not self.invalid_indexes():
            return []
        with self._alone() as lock:
            return server.drop_invalid_indexes(lock)

    def mark_applied(
        self, names: Sequence[str], note: str, verify: Callable[[psycopg.Connection[Any]], None] | None = None
    ) -> list[str]:
        """Marks migrations as applied without running them, all or none; those that were not marked before.

        For a database that got its schema in another way. ``verify`` looks at it on the connection, and in the
        transaction, that then marks; whatever it raises undoes everything. ``note`` says in the books why. The
        migration lock is held throughout. Raises MigrationError for an unknown name or marks that would leave a gap;
        else like ``migrate()``.
        """
        folder, _ = self._look()
        by_name = {m.id: m for m in folder}
        if unknown := [name for name in names if name not in by_name]:
            raise MigrationError(f"the folder has no {', '.join(unknown)}")
        with self._alone(), self._runner() as runner, runner.one_transaction() as conn:
            if verify is not None:
                verify(conn)
            runner.ensure_internal_schema_updated()
            kept = books.read(conn)
            todo = [m for m in folder if m.id in names and m.hash not in kept.applied]
            for migration in todo:
                runner.mark_one(migration)
            books.record(conn, todo, "adopted", note)
            if found := problems(folder, books.read(conn)):
                raise MigrationError("; ".join(problem.text for problem in found))
            return [m.id for m in todo]

    def repair(self, reason: str, forget: Collection[str] = ()) -> list[Problem]:
        """Accepts the folder as it is; what was accepted. No migration's SQL is run: only the books change.

        An edited file's text becomes the applied one; a renamed migration keeps its mark under the new name; a late
        one may be applied by the next ``migrate()``; a missing one loses its mark, and what it made stays. A missing
        one that is later than all of the folder is probably a newer release's: it has to be named in ``forget``.
        Recorded, with ``reason``, who and when, in ``_nexgent_repair``.

        Raises InvalidInput for an empty reason; MigrationError for such a missing migration that is not named, and
        for a name in ``forget`` that is not missing; else like ``migrate()``.
        """
        if not reason.strip():
            raise InvalidInput("reason", "say why the folder is to be accepted as it is")
        folder, kept = self._look()
        if not problems(folder, kept):
            return []
        with self._alone(), self._runner() as runner:
            runner.ensure_internal_schema_updated()
            with runner.one_transaction() as conn:
                kept = books.read(conn)
                accepted = problems(folder, kept)
                _refuse_to_forget(accepted, folder, forget)
                notes = [self._accept(problem, folder, kept, runner) for problem in accepted]
                who = f"{conn.info.user}, {server.user_name()}@{socket.gethostname()}"
                books.note_repair(conn, who, reason.strip(), notes)
                return accepted

    def _accept(self, problem: Problem, folder: Sequence[Migration], kept: Books, runner: Runner) -> dict[str, Any]:
        """Changes the books for one problem; what to remember of it."""
        conn, by_name = runner.connection, {m.id: m for m in folder}
        mark = next((a for a in kept.applied.values() if a.name == problem.name), None)
        note: dict[str, Any] = {"kind": problem.kind, "migration": problem.name}
        if mark is not None:
            note |= {"checksum": mark.checksum, "content": mark.content}
        if problem.kind == "edited":
            books.record(conn, [by_name[problem.name]], "repaired", None)
            return note | {"new_checksum": by_name[problem.name].checksum}
        if mark is not None:  # missing or renamed
            runner.unmark(mark.name, mark.hash)
        if problem.new_name is not None and mark is not None:
            runner.mark_at(by_name[problem.new_name], mark.at)
            books.record(conn, [by_name[problem.new_name]], "repaired", f"was {problem.name}")
            return note | {"new_name": problem.new_name}
        return note

    # --- Steps ----------------------------------------------------------------------------------

    def _look(self) -> tuple[list[Migration], Books]:
        folder = read_folder(self.directory)
        with server.connect(self._conninfo) as conn, server.translated(conn):
            return folder, books.read(conn)

    def _walk(
        self, todo: Sequence[Migration], lock: psycopg.Connection[Any], do: Callable[[Migration], None]
    ) -> list[str]:
        names = list[str]()
        for migration in todo:
            server.refuse_lost_lock(lock)
            self._report(migration.id, len(names), len(todo))
            do(migration)
            names.append(migration.id)
            self._report(migration.id, len(names), len(todo))
        return names

    def _record_assumed(self, folder: Sequence[Migration], runner: Runner) -> None:
        """Takes the folder's text for what was applied before these books were opened, or by plain yoyo. Once."""
        kept = books.read(runner.connection)
        if todo := unrecorded(folder, kept):
            with runner.one_transaction() as conn:
                books.record(conn, todo, "assumed", "applied before its text was recorded")

    def _record_if_allowed(self, folder: Sequence[Migration]) -> None:
        """The same when nothing else is to be done: a role that may only read must not fail because of it."""
        try:
            with self._alone(), self._runner() as runner:
                runner.ensure_internal_schema_updated()
                self._record_assumed(folder, runner)
        except MigrationError as e:
            if not isinstance(e.__cause__, pg.InsufficientPrivilege | pg.ReadOnlySqlTransaction):
                raise

    def _runner(self) -> Runner:
        return Runner(self._conninfo, self._limits, self._tell)

    def _report(self, name: str, done: int, total: int) -> None:
        if self._on_step is not None:
            self._on_step(name, done, total)

    def _tell(self, name: str, text: str) -> None:
        if self._on_message is not None:
            self._on_message(name, text)

    @contextmanager
    def _alone(self) -> Iterator[psycopg.Connection[Any]]:
        with server.alone(self._conninfo, self._lock_wait_s, lambda text: self._tell("lock", text)) as conn:
            yield conn


def _refuse_to_forget(found: Sequence[Problem], folder: Sequence[Migration], forget: Collection[str]) -> None:
    missing = {p.name for p in found if p.kind == "missing"}
    newest = max(m.id for m in folder)
    if newer := sorted(name for name in missing if name > newest and name not in forget):
        raise MigrationError(
            f"the database is probably newer than this release: it has {', '.join(newer)}. To forget that all the"
            f" same, name each: --forget {newer[0]}"
        )
    if strangers := sorted(set(forget) - missing):
        raise MigrationError(f"cannot forget {', '.join(strangers)}: the database does not have it, or the folder does")
