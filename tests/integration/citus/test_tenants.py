"""Tenants and roles need restrictive policies, which Citus makes permissive: a distributed cell has neither."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from nexgent_db import Database
from nexgent_db.errors import MigrationError, TenantNotIsolated
from nexgent_db.migrations import Cells, Migrator
from nexgent_db.schema.roles import ROLES, apply_roles
from nexgent_db.settings import with_schema
from tests.integration.citus.conftest import CitusCell
from tests.integration.sync.factories import balance_of, funded_owner, new_owner

POLICIES = (
    "CREATE ROLE {app} LOGIN NOINHERIT",
    "CREATE ROLE {tenant} LOGIN",
    "GRANT {tenant} TO {app}",
    "GRANT USAGE ON SCHEMA {schema} TO {app}, {tenant}",
    "GRANT SELECT ON agents TO {app}, {tenant}",
    "ALTER TABLE agents ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY everyone ON agents FOR ALL TO {app}, {tenant} USING (true)",
    "CREATE POLICY one_user ON agents AS RESTRICTIVE FOR ALL TO {tenant}"
    " USING (user_id = nullif(current_setting('nexgent.user_id', true), '')::uuid)",
)
"""Policies without subqueries, as a service might write them for Citus: all that a tenant needs to read agents."""


@pytest.fixture
def prefix(coordinator: str) -> Iterator[str]:
    """Of roles, which belong to the server; what they were granted in the database goes with them."""
    prefix = f"t{uuid4().hex[:10]}"
    yield prefix
    with psycopg.connect(coordinator, autocommit=True) as connection:
        for role in roles_of(connection, prefix):
            drop = sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)).as_string(connection)
            connection.execute("SELECT FROM run_command_on_all_nodes(%s)", [drop])
        for role in roles_of(connection, prefix):
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def roles_of(connection: psycopg.Connection[Any], prefix: str) -> list[str]:
    found = connection.execute(
        "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", [[f"{prefix}_{role}" for role in ROLES]]
    )
    return [name for (name,) in found]


@pytest.fixture
def own_cell(new_cell: Callable[[], CitusCell], prefix: str) -> Iterator[CitusCell]:
    del prefix  # its roles are dropped after the cell
    cell = new_cell()
    yield cell
    cell.cells.drop(cell.name, with_data=True)


@pytest.fixture
def local_schema(coordinator: str, prefix: str) -> Iterator[str]:
    """The URL of a schema with all migrations that is not distributed, on the coordinator."""
    del prefix
    name = f"t_{uuid4().hex[:10]}"
    with psycopg.connect(coordinator, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
        Migrator(with_schema(coordinator, name)).migrate()
        yield name
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))


def agents_seen(url: str, role: str, user_id: UUID) -> set[UUID]:
    """The agents that a transaction reads which has set role and user as a tenant's does."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "SELECT set_config('nexgent.user_id', %s, true), set_config('role', %s, true)", [str(user_id), role]
        )
        return {agent_id for (agent_id,) in connection.execute("SELECT id FROM agents")}


@pytest.mark.parametrize("over", ["coordinator", "node"])
def test_tenant_of_distributed_cell_is_refused(own_cell: CitusCell, prefix: str, over: str) -> None:
    """Over the coordinator its catalog shows a restrictive policy, and yet the node sends the rows of all users: a
    fault of Citus 13.2.2. The day it is gone, the first assertion fails, and the guide changes."""
    app, tenant = f"{prefix}_app", f"{prefix}_tenant"
    names = {"app": app, "tenant": tenant, "schema": own_cell.name}
    with psycopg.connect(own_cell.url, autocommit=True) as connection:
        for statement in POLICIES:
            connection.execute(statement.format(**names).encode())
        assert connection.execute("SELECT polpermissive FROM pg_policy WHERE polname = 'one_user'").fetchone() == (
            False,
        )
    with Database(own_cell.url_of_node) as db:
        me, other = new_owner(db), new_owner(db)
    url = make_conninfo(own_cell.url if over == "coordinator" else own_cell.url_of_node, user=app)
    assert agents_seen(url, tenant, me.user_id) == {me.agent_id, other.agent_id}

    refusal = f"the schema {own_cell.name} is distributed by Citus, which makes restrictive policies permissive"
    with pytest.raises(TenantNotIsolated, match=refusal):
        Database(url, tenant=me.user_id).open()
    with Database(url) as service:
        with pytest.raises(TenantNotIsolated, match=refusal):
            service.assert_tenants()
        for _ in range(2):
            with pytest.raises(TenantNotIsolated, match=refusal):
                service.for_tenant(me.user_id).agents.find_by_id(other.agent_id)


def test_roles_of_distributed_cell_are_refused(cell: CitusCell, prefix: str) -> None:
    with psycopg.connect(cell.url) as connection:
        with pytest.raises(MigrationError, match=f"the schema {cell.name} is distributed by Citus: it would make"):
            apply_roles(connection, prefix)
        (result,) = Cells(cell.coordinator, roles=prefix).migrate([cell.name])
        assert "is distributed by Citus" in str(result.error)
        assert roles_of(connection, prefix) == []


def test_cell_with_roles_is_refused_before_it_is_made(coordinator: str, prefix: str) -> None:
    name = f"t_{uuid4().hex[:10]}"
    with pytest.raises(MigrationError, match=f"{name} would be distributed by Citus: it would make"):
        Cells(coordinator, roles=prefix).create(name)
    assert name not in Cells(coordinator).names()


def test_schema_that_is_not_distributed_has_tenants_and_stays_so(
    coordinator: str, local_schema: str, prefix: str
) -> None:
    url = with_schema(coordinator, local_schema)
    with psycopg.connect(url) as connection:
        apply_roles(connection, prefix)
    with pytest.raises(MigrationError, match=f"{local_schema} would be distributed by Citus, but has 16 restrictive"):
        Cells(coordinator).move(local_schema, None)
    with Database(make_conninfo(url, user=f"{prefix}_app")) as service:
        me, other = funded_owner(service), funded_owner(service)
        mine = service.for_tenant(me.user_id)
        mine.trades.deposit(me.deposit("1"))
        assert (balance_of(mine, me), balance_of(mine, other)) == (101, 0)
        assert mine.agents.find_by_id(other.agent_id) is None
