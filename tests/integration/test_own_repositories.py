"""A service's repositories: of one kind of database, in any event loop, and with the rights of its role."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from nexgent_db import AsyncDatabase, Database, aio, sync
from nexgent_db.errors import DatabaseError, InvalidInput, TenantNotIsolated
from nexgent_db.migrations import Migrator
from nexgent_db.project import LEDGER_TABLES
from nexgent_db.queries.binding import query
from nexgent_db.testing.databases import Databases
from tests.integration.sync.factories import funded_owner
from tests.support.servers.roles import RoledDatabase, roled_copy

POLICIES = """
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY everyone ON notes TO nexgent_app, nexgent_tenant, nexgent_worker, nexgent_readonly USING (true);
CREATE POLICY tenant ON notes AS RESTRICTIVE TO nexgent_tenant USING (agent_id IN (SELECT id FROM agents));
"""
NOTES = """
CREATE TABLE notes (id int GENERATED ALWAYS AS IDENTITY, agent_id uuid REFERENCES agents (id), note text);
GRANT SELECT, INSERT ON notes TO nexgent_app, nexgent_tenant;
"""
QUERIES = """\
-- Notes of agents.

-- name: add :exec
-- Adds a note.
INSERT INTO notes (agent_id, note)
SELECT
    id,
    :note
FROM agents;

-- name: count :one
-- How many there are.
SELECT count(*) AS n
FROM notes;

-- name: fill :exec
-- Writes the ledger.
UPDATE agent_balances
SET balance = 1;
"""


@query
def add(self: object, note: str) -> None:
    """Add a note to each agent."""


@query
def count(self: object) -> int:
    """How many there are."""
    raise NotImplementedError


@query
def fill(self: object) -> None:
    """Write the ledger."""


def test_repository_of_other_kind_is_refused(database_url: str) -> None:
    with pytest.raises(InvalidInput, match=r"a subclass of nexgent_db\.aio\.repositories\.base\.Repository expected"):
        AsyncDatabase(database_url).use(sync.Repository)  # type: ignore[type-var,arg-type]
    with pytest.raises(InvalidInput, match=r"a subclass of nexgent_db\.sync\.repositories\.base\.Repository expected"):
        Database(database_url).use(aio.Repository)  # type: ignore[type-var,arg-type]


def test_one_class_serves_databases_of_several_event_loops(database_url: str, tmp_path: Path) -> None:
    path = tmp_path / "loops.sql"
    path.write_text("-- L.\n\n-- name: one :one\n-- One.\nSELECT 1 AS one;\n")

    @query
    async def one(self: object) -> int:
        """One."""
        raise NotImplementedError

    loops = type("Loops", (aio.Repository,), {"one": one}, sql=path)

    async def run() -> object:
        async with AsyncDatabase(database_url) as first, AsyncDatabase(database_url) as second:
            return [await database.use(loops).one() for database in (first, second)]

    assert [asyncio.run(run()), asyncio.run(run())] == [[1, 1], [1, 1]]


def test_file_is_a_resource_of_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    package = tmp_path / "resource_service"
    (package / "sql").mkdir(parents=True)
    (package / "sql" / "resource_notes.sql").write_text("-- N.\n\n-- name: one :one\n-- One.\nSELECT 1 AS one;\n")
    (package / "__init__.py").write_text(
        "from importlib.resources import files\nfrom nexgent_db.sync import Repository, query\n\n"
        "class Notes(Repository, sql=files('resource_service') / 'sql' / 'resource_notes.sql'):\n"
        "    @query\n    def one(self) -> int: ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("resource_service")
    monkeypatch.delitem(sys.modules, "resource_service")
    with Database(database_url) as db:
        assert db.use(module.Notes).one() == 1


# --- Rights -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own_roles(server_url: str, nexgent_databases: Databases, nexgent_template_url: str) -> Iterator[RoledDatabase]:
    """A database with roles of its own: other tests' tenants must not meet the tables of these."""
    with roled_copy(server_url, nexgent_databases, nexgent_template_url) as database:
        yield database


def migrate(database: RoledDatabase, folder: Path, name: str, up: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.sql").write_text(up.replace("nexgent_", f"{database.prefix}_"))
    (folder / f"{name}.rollback.sql").write_text("SELECT 1;")
    Migrator(database.url_of("migrator"), migrations={"notes": folder}).migrate()


def test_services_have_no_right_to_write_the_ledger(own_roles: RoledDatabase) -> None:
    with psycopg.connect(own_roles.url) as connection:
        rows = connection.execute(
            "SELECT c.relname FROM pg_class AS c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'"
            " AND c.relname !~ '^_|^yoyo' AND NOT has_table_privilege(%(app)s, c.oid, 'INSERT')"
            " AND NOT has_any_column_privilege(%(app)s, c.oid, 'UPDATE')"
            " AND NOT has_table_privilege(%(app)s, c.oid, 'DELETE')",
            {"app": own_roles.name_of("app")},
        ).fetchall()
    of_partitions = {"agent_transaction_keys"}
    assert {name for (name,) in rows} == LEDGER_TABLES - of_partitions


def test_own_queries_have_the_rights_and_rows_of_role_and_tenant(own_roles: RoledDatabase, tmp_path: Path) -> None:
    (tmp_path / "own_notes.sql").write_text(QUERIES)
    methods = {"add": add, "count": count, "fill": fill}
    notes = type("OwnNotes", (sync.Repository,), methods, sql=tmp_path / "own_notes.sql")
    folder = tmp_path / "migrations"
    with Database(own_roles.url_of("app")) as db:
        me, _ = funded_owner(db), funded_owner(db)
        migrate(own_roles, folder, "0001_notes", NOTES)
        with (
            pytest.raises(TenantNotIsolated, match="notes"),
            Database(own_roles.url_of("tenant"), tenant=me.user_id),
        ):
            pass
        migrate(own_roles, folder, "0002_policies", POLICIES)
        db.use(notes).add("all")
        for write in (db.use(notes).fill, lambda: db.execute("UPDATE agent_balances SET balance = 1")):
            with pytest.raises(DatabaseError, match="permission denied for table agent_balances"):
                write()
        assert db.use(notes).count() == 2
        with Database(own_roles.url_of("tenant"), tenant=me.user_id, migrations={"notes": folder}) as mine:
            mine.assert_schema()
            assert mine.use(notes).count() == 1
            assert mine.execute("SELECT count(*) FROM notes").rows == [{"count": 1}]
            with mine.transaction() as tx:
                tx.use(notes).add("mine")
                (row,) = tx.connection.execute("SELECT count(*) FROM notes").fetchall()
            assert row == (2,)
            with pytest.raises(DatabaseError, match="permission denied for table agent_balances"):
                mine.use(notes).fill()
        assert db.use(notes).count() == 3
