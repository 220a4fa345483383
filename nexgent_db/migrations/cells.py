"""Cells: schemas of one database, each with all tables of its users, made, migrated, moved and dropped together.

A cell is a schema with a mark in its comment, or with migrations of this package; there is no second list of them that
could differ. Every cell has a migration lock of its own, which each change of the cell takes. So several cells are
changed at once, and one cell by one process at a time. On Citus a cell is a distributed schema, whose tables are on
one node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import Any, Final, Literal

import psycopg
from psycopg import sql

from nexgent_db.errors import InvalidInput, MigrationError, NexgentError
from nexgent_db.migrations import connection as server
from nexgent_db.migrations import history as tables
from nexgent_db.migrations.citus_nodes import allow_versions, groups, nodes_of_cells, push_down, restrictive_policies
from nexgent_db.migrations.files import read_folders
from nexgent_db.migrations.migrator import Migrator
from nexgent_db.migrations.planner import problems
from nexgent_db.project import PACKAGE_HISTORY
from nexgent_db.resources import data_dir
from nexgent_db.schema.roles import NOT_ON_CITUS, apply_roles
from nexgent_db.settings import LONGEST_IDENTIFIER, describe, is_schema_name, with_schema

__all__ = ["CellCallback", "CellResult", "CellState", "CellStatus", "Cells"]

CellState = Literal["up to date", "behind", "newer", "problem", "empty"]
"""``empty``: without a migration. ``behind``: some are pending. ``newer``: it has migrations that this release does not
know. ``problem``: another contradiction, which the next migration refuses."""

CellCallback = Callable[[str, str], None]
"""``on_message(cell, text)``: what happens to a cell, on one line. Called from several threads, one at a time."""

MARK: Final = "nexgent-db cell"
"""The comment of a cell's schema, from its first instant on."""
MAX_JOBS: Final = 32
_NOT_CELLS: Final = ("pg_catalog", "information_schema")
_WAIT_S: Final = 2.0
"""How long a change waits for another change of the same cell, unless it is a migration."""


@dataclass(frozen=True, slots=True)
class CellStatus:
    """A cell, how many migrations it lacks, and what contradicts this release; on Citus the node of its tables."""

    name: str
    state: CellState
    pending: int
    problem: str | None = None
    node: str | None = None


@dataclass(frozen=True, slots=True)
class CellResult:
    """What was done to one cell: the applied migrations, or the error that stopped it. Those before stay applied."""

    name: str
    applied: tuple[str, ...] = ()
    error: NexgentError | None = None


class Cells:
    """The cells of one database, which ``conninfo`` names; its own search path plays no part.

    ``migrations`` are a service's, as for :class:`Migrator`. ``jobs`` cells are migrated at a time, with up to four
    connections each. With ``roles``, the rights of sql/roles.sql are applied to each cell after its migrations, for
    roles of this prefix. Raises ConfigurationError for a malformed ``conninfo``, InvalidInput for ``jobs``.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        migrations: Mapping[str, Path] = MappingProxyType({}),
        jobs: int = 4,
        roles: str | None = None,
        on_message: CellCallback | None = None,
    ) -> None:
        if not 1 <= jobs <= MAX_JOBS:
            raise InvalidInput("jobs", f"1 to {MAX_JOBS}")
        self._conninfo = server.prepared(conninfo)
        self._migrations = migrations
        self._jobs = jobs
        self._roles = roles
        self._reporting = Lock()
        self._on_message = on_message

    def __repr__(self) -> str:
        return f"Cells({describe(self._conninfo)})"

    # --- Reading --------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """The cells by name. Reads only. Raises DatabaseUnavailable, AuthenticationFailed."""
        with self._connected() as conn:
            return _names(conn)

    def statuses(self, names: Sequence[str] = ()) -> list[CellStatus]:
        """The state of each cell, of all or of ``names``, by name. One connection, no lock.

        Raises MigrationError for an invalid folder and for a cell that does not exist; else as :meth:`names`.
        """
        folder = read_folders({PACKAGE_HISTORY: data_dir("migrations"), **self._migrations})
        with self._connected() as conn:
            known = _names(conn)
            _ensure_known(names, known)
            nodes = nodes_of_cells(conn) if server.has_citus(conn) else {}
            found = list[CellStatus]()
            for name in sorted(names) or known:
                conn.execute("SELECT set_config('search_path', quote_ident(%s), false)", [name])
                recorded = tables.read(conn)
                wrong = problems(folder, recorded)
                pending = sum(migration.hash not in recorded.applied for migration in folder)
                state: CellState = "behind" if pending else "up to date"
                if wrong:
                    newer = all(each.kind == "missing" and each.name > folder[-1].id for each in wrong)
                    state = "newer" if newer else "problem"
                elif not recorded.applied:
                    state = "empty"
                found.append(CellStatus(name, state, pending, wrong[0].text if wrong else None, nodes.get(name)))
        return found

    # --- Writing --------------------------------------------------------------------------------

    def create(self, name: str, node: str | None = None) -> CellResult:
        """Make a cell: its schema, all migrations, and on Citus its place, ``node`` or the one that Citus chooses.

        Raises InvalidInput for a name that no schema can have; MigrationError when there is such a schema, for a
        ``node`` without Citus or one that Citus does not know, and for ``roles`` on Citus; what
        :meth:`Migrator.migrate` raises: the cell is then there, and :meth:`migrate` completes it.
        """
        _check_name(name)
        with self._locked(name, "creates the cell") as conn:
            citus = self._ensure_place(conn, node)
            if citus and self._roles is not None:
                raise MigrationError(f"{name} would be distributed by Citus: {NOT_ON_CITUS}")
            if server.value(conn, "SELECT to_regnamespace(quote_ident(%s)) IS NOT NULL", name):
                raise MigrationError(f"there is a schema {name} already: nexgent-db cells migrate brings it up to date")
            if citus:  # else Citus may distribute it at once, and each migration of an empty cell asks every node
                conn.execute("SET citus.enable_schema_based_sharding = off")
            with conn.transaction():
                conn.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
                conn.execute(sql.SQL("COMMENT ON SCHEMA {} IS {}").format(sql.Identifier(name), sql.Literal(MARK)))
        result = self._migrated(name)
        if result.error is not None:
            raise result.error
        if citus:
            self.move(name, node)
        return result

    def migrate(self, names: Sequence[str] = (), *, to: str | None = None) -> Sequence[CellResult]:
        """Bring every cell, or ``names``, to this release's schema, ``jobs`` at a time; one result each, by name.

        A cell that fails stops no other: its result has the error, and the migrations before it stay. With ``roles``,
        cells without pending migrations get their rights, too. Raises as :meth:`statuses`, before anything is changed.
        """
        todo = [cell for cell in self.statuses(names) if cell.state != "up to date" or self._roles is not None]
        with ThreadPoolExecutor(self._jobs, thread_name_prefix="nexgent-db cells") as threads:
            return list(threads.map(lambda cell: self._migrated(cell.name, to), todo))

    def move(self, name: str, node: str | None) -> str:
        """Move a cell's tables to another node of Citus while they are used; returns the node, as ``host:port``.

        A cell that is not distributed yet is distributed first; without a ``node`` it then stays where Citus puts it.
        Writers of the cell wait at the end, while Citus switches. Raises MigrationError for a cell that does not exist,
        without Citus, for a node that Citus does not know, and before a cell with restrictive policies is distributed;
        MigrationLocked while another process changes the cell.
        """
        with self._locked(name, "moves the cell") as conn:
            _ensure_known([name], _names(conn))
            if not self._ensure_place(conn, node):
                raise MigrationError(f"{name} cannot move: the database has no extension citus")
            if name not in nodes_of_cells(conn):
                if policies := restrictive_policies(conn, name):
                    raise MigrationError(
                        f"{name} would be distributed by Citus, but has {policies} restrictive policies: {NOT_ON_CITUS}"
                    )
                self._report(name, "is distributed")
                conn.execute("SELECT citus_schema_distribute(quote_ident(%s)::regnamespace)", [name])
            place = nodes_of_cells(conn)[name]
            push_down(conn, name)
            if node is not None and place != node:
                self._report(name, f"moves from {place} to {node}")
                conn.execute("CALL citus_cleanup_orphaned_resources()")  # what an earlier move has left on the node
                allow_versions(conn, name, place, node)
                host, port = _host_and_port(node)
                try:
                    conn.execute("SELECT citus_schema_move(quote_ident(%s)::regnamespace, %s, %s)", [name, host, port])
                finally:
                    place = nodes_of_cells(conn)[name]
                    allow_versions(conn, name, place)
            else:
                allow_versions(conn, name, place)
        return place

    def drop(self, name: str, *, with_data: bool = False) -> None:
        """Drop a cell and all that is in it, at once or not at all.

        Raises MigrationError for a cell that does not exist, for one with users unless ``with_data``, and for one that
        the directory of this database sends users to; MigrationLocked while another process changes the cell.
        """
        with self._locked(name, "drops the cell") as conn:
            _ensure_known([name], _names(conn))
            if directed := _directed(conn, name):
                raise MigrationError(f"{name} is the cell of {directed} users in the directory: move them first")
            users = _users(conn, name)
            if users and not with_data:
                raise MigrationError(f"{name} has {users} users: --with-data drops them, their agents and their ledger")
            conn.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))

    # --- Steps ----------------------------------------------------------------------------------

    def _migrated(self, name: str, to: str | None = None) -> CellResult:
        """Never raises NexgentError: other cells go on."""
        applied = list[str]()

        def on_step(migration: str, done: int, total: int) -> None:
            if done > len(applied):
                applied.append(migration)

        conninfo = with_schema(self._conninfo, name)
        try:
            Migrator(conninfo, migrations=self._migrations, on_step=on_step).migrate(to)
            with self._connected() as conn:
                if server.has_citus(conn) and name in nodes_of_cells(conn):
                    push_down(conn, name)
            if self._roles is not None:
                with server.connect(conninfo) as conn, server.translated(conn):
                    apply_roles(conn, self._roles)
        except NexgentError as error:
            self._report(name, f"failed after {len(applied)} migrations: {error}")
            return CellResult(name, tuple(applied), error)
        self._report(name, f"{len(applied)} migrations applied")
        return CellResult(name, tuple(applied))

    @contextmanager
    def _connected(self) -> Iterator[psycopg.Connection[Any]]:
        with server.connect(self._conninfo) as conn, server.translated(conn):
            yield conn

    @contextmanager
    def _locked(self, name: str, what: str) -> Iterator[psycopg.Connection[Any]]:
        with server.migration_lock(
            self._conninfo, _WAIT_S, lambda text: self._report(name, text), name, f"{what} {name}"
        ) as conn:
            yield conn

    def _report(self, name: str, text: str) -> None:
        if self._on_message is not None:
            with self._reporting:
                self._on_message(name, text)

    def _ensure_place(self, conn: psycopg.Connection[Any], node: str | None) -> bool:
        """Has the database nodes? Raises MigrationError for a node that it does not have."""
        if not server.has_citus(conn):
            if node is not None:
                raise MigrationError(f"there is no node {node}: the database has no extension citus")
            return False
        if node is not None and node not in (nodes := groups(conn)):
            raise MigrationError(f"Citus has no node {node} that takes tables: it has {', '.join(nodes) or 'none'}")
        return True


def _check_name(name: str) -> None:
    if not is_schema_name(name) or name.startswith("pg_") or name in _NOT_CELLS:
        raise InvalidInput("cell", f"the name of a schema is expected, in {LONGEST_IDENTIFIER} bytes at most")


def _ensure_known(names: Sequence[str], known: Sequence[str]) -> None:
    if missing := [name for name in names if name not in known]:
        raise MigrationError(f"no cell is called {', '.join(missing)}: nexgent-db cells list shows the {len(known)}")


def _host_and_port(node: str) -> tuple[str, int]:
    host, _, port = node.rpartition(":")
    return host, int(port)


def _names(conn: psycopg.Connection[Any]) -> list[str]:
    return [name for (name,) in conn.execute(_CELLS, [MARK])]


def _users(conn: psycopg.Connection[Any], name: str) -> int:
    """How many users a cell has; 0 without the table."""
    if not server.value(conn, "SELECT to_regclass(quote_ident(%s) || '.users') IS NOT NULL", name):
        return 0
    counted = conn.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name, "users"))).fetchone()
    return int(counted[0]) if counted else 0


def _directed(conn: psycopg.Connection[Any], name: str) -> int:
    """How many users the directory in the connection's own schema sends to a cell; 0 without the table."""
    if not server.value(conn, "SELECT to_regclass('user_cells') IS NOT NULL"):
        return 0
    return int(server.value(conn, "SELECT count(*) FROM user_cells WHERE cell = %s", name))


# By the mark, or by the tables that a migration leaves: a schema of ?schema= that was made by hand is a cell, too.
_CELLS: Final = """
SELECT n.nspname::text
FROM pg_namespace AS n
WHERE n.nspname <> 'public'
    AND (
        obj_description(n.oid, 'pg_namespace') = %s
        OR EXISTS (SELECT FROM pg_class AS c WHERE c.relnamespace = n.oid AND c.relname = '_nexgent_migration')
    )
ORDER BY 1
"""
