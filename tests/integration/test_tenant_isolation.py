"""Isolation of tenants fails closed on every connection, whatever its session is or was set to."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from nexgent_db import Database, Settings
from nexgent_db.errors import TenantNotIsolated
from nexgent_db.migrations import Migrator
from nexgent_db.models import ResetWalletOrder
from nexgent_db.schema.roles import apply_roles
from nexgent_db.testing.databases import Databases
from tests.integration.sync.factories import Owner, funded_owner, new_owner
from tests.support.servers.pgbouncer import pgbouncer, pgbouncer_program
from tests.support.servers.roles import RoledDatabase, new_prefix, roled_copy, roles_dropped

NOBODY: Final = UUID(int=0)


@pytest.fixture
def fresh(server_url: str, nexgent_databases: Databases, nexgent_template_url: str) -> Iterator[RoledDatabase]:
    """A migrated database of the test's own, with roles of its own."""
    with roled_copy(server_url, nexgent_databases, nexgent_template_url) as database:
        yield database


def administer(database: RoledDatabase, *statements: str) -> None:
    names = {role: database.name_of(role) for role in ("app", "tenant", "worker", "readonly", "everyone")}
    with psycopg.connect(database.url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.format(**names).encode())


@contextmanager
def opened(url: str, **settings: Any) -> Iterator[Database]:
    with Database(replace(Settings.from_url(url, {}), **settings)) as db:
        yield db


def ensure_refused(url: str, match: str) -> None:
    """By a database that is opened for a tenant, by the first call for one, and by the assertion."""
    with pytest.raises(TenantNotIsolated, match=match):
        Database(url, tenant=NOBODY).open()
    with opened(url) as db:
        for _ in range(2):
            with pytest.raises(TenantNotIsolated, match=match):
                db.for_tenant(NOBODY).users.find_first()
            with pytest.raises(TenantNotIsolated, match=match):
                db.assert_tenants()


# --- Where queries find the tables ----------------------------------------------------------------


@pytest.mark.parametrize("role", ["app", "tenant"])
@pytest.mark.parametrize("way", ["url", "role", "database"])
@pytest.mark.parametrize("has_tables", [False, True])
def test_other_schema_ahead_is_refused(fresh: RoledDatabase, role: str, way: str, has_tables: bool) -> None:
    administer(fresh, "CREATE SCHEMA other", "GRANT USAGE ON SCHEMA other TO {app}, {tenant}")
    if has_tables:
        administer(
            fresh, "CREATE TABLE other.agents (id uuid, user_id uuid)", "GRANT SELECT ON other.agents TO {tenant}"
        )
    url = fresh.url_of(role)
    if way == "url":
        url = make_conninfo(url, options="-csearch_path=other,public")
    elif way == "role":
        administer(fresh, f"ALTER ROLE {{{role}}} SET search_path = other, public")
    else:
        administer(
            fresh, f"ALTER DATABASE {psycopg.conninfo.conninfo_to_dict(url)['dbname']} SET search_path = other, public"
        )
    ensure_refused(url, "looks for tables in other, public, ")


@pytest.mark.parametrize("named_like", ["app", "tenant"])
def test_schema_named_like_role_is_refused(fresh: RoledDatabase, named_like: str) -> None:
    administer(
        fresh, f"CREATE SCHEMA {{{named_like}}}", f"GRANT USAGE ON SCHEMA {{{named_like}}} TO {{app}}, {{tenant}}"
    )
    ensure_refused(fresh.url_of(named_like), f"looks for tables in {fresh.name_of(named_like)}, public, ")
    ensure_refused(fresh.url_of("app"), f"looks for tables in {fresh.name_of(named_like)}, public, ")


def test_path_without_tables_is_refused(roled: RoledDatabase) -> None:
    ensure_refused(make_conninfo(roled.url_of("app"), options="-csearch_path=nowhere"), "looks for tables in no schema")


def test_open_table_behind_is_refused(fresh: RoledDatabase) -> None:
    administer(
        fresh,
        "CREATE SCHEMA other",
        "GRANT USAGE ON SCHEMA other TO {app}, {tenant}",
        "CREATE TABLE other.notes (n int)",
    )
    url = make_conninfo(fresh.url_of("app"), options="-csearch_path=public,other")
    with opened(url) as db:
        db.assert_tenants()
    administer(fresh, "GRANT UPDATE (n) ON other.notes TO {tenant}")
    ensure_refused(url, "sees all users' rows in other.notes")


def test_tables_of_extensions_do_not_count(fresh: RoledDatabase) -> None:
    with psycopg.connect(fresh.url, autocommit=True) as connection:
        if not connection.execute("SELECT FROM pg_available_extensions WHERE name = 'pg_stat_statements'").rowcount:
            pytest.skip("the server has no extension with a table")
        connection.execute("CREATE EXTENSION pg_stat_statements")
    with opened(fresh.url_of("app")) as db:
        db.assert_tenants()


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE agent_positions DISABLE ROW LEVEL SECURITY",
        "DROP POLICY {tenant} ON agent_positions",
        "ALTER POLICY {tenant} ON agent_positions TO {worker}",
        "DROP POLICY {tenant} ON agent_positions; CREATE POLICY {tenant} ON agent_positions AS RESTRICTIVE FOR SELECT"
        " TO {tenant} USING (false)",
        "DROP POLICY {tenant} ON agent_positions; CREATE POLICY {tenant} ON agent_positions TO {tenant} USING (false)",
        "CREATE VIEW everything AS SELECT * FROM agent_positions; GRANT SELECT ON everything TO {tenant}",
        "ALTER TABLE agent_positions OWNER TO {tenant}",
    ],
)
def test_every_new_connection_is_verified(fresh: RoledDatabase, statement: str) -> None:
    with opened(fresh.url_of("app"), pool_max_size=2) as db, ThreadPoolExecutor(1) as thread:
        owner = new_owner(db)
        tenant = db.for_tenant(owner.user_id)
        assert tenant.users.find_by_id(owner.user_id) is not None
        administer(fresh, *statement.split("; "))
        with db.transaction():  # on the connection that was verified, so that the call gets a new one
            call = thread.submit(tenant.users.find_by_id, owner.user_id)
            with pytest.raises(TenantNotIsolated):
                call.result()
        with pytest.raises(TenantNotIsolated):
            db.assert_tenants()


def tables_of_tenants(database: RoledDatabase) -> list[str]:
    """The tables in which the tenants' role has any right."""
    with psycopg.connect(database.url) as connection:
        found = connection.execute(
            "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
            " AND has_any_column_privilege(%s, oid, 'SELECT, INSERT, UPDATE, REFERENCES') ORDER BY relname",
            (database.name_of("tenant"),),
        )
        return [name for (name,) in found if not name.startswith("_")]


def refusal(db: Database) -> str:
    """Why the database is refused for tenants; empty when it is not."""
    try:
        db.assert_tenants()
    except TenantNotIsolated as refused:
        return str(refused)
    return ""


def test_no_table_is_missed(fresh: RoledDatabase) -> None:
    tables = tables_of_tenants(fresh)
    assert len(tables) >= 15
    missed = []
    with opened(fresh.url_of("app")) as db:
        assert refusal(db) == ""
        for table in tables:
            for broken, repair in (
                ("DROP POLICY {tenant} ON {table}", ""),
                ("ALTER TABLE {table} DISABLE ROW LEVEL SECURITY", ""),
                ("ALTER TABLE {table} OWNER TO {tenant}", "ALTER TABLE {table} OWNER TO CURRENT_USER"),
            ):
                administer(fresh, broken.replace("{table}", table))
                said = refusal(db)
                if not said or (table not in said and table != "agents"):  # its policy names the tenants' role
                    missed.append((table, broken, said))
                administer(fresh, *([repair.replace("{table}", table)] if repair else []))
                fresh.apply()
                assert refusal(db) == ""
    assert missed == []


def test_function_named_nextval_ahead_on_the_path_is_never_called(fresh: RoledDatabase) -> None:
    """It fits a text better than PostgreSQL's own, which takes a regclass, and would run with its caller's rights."""
    administer(
        fresh,
        "CREATE SCHEMA ahead",
        "GRANT USAGE ON SCHEMA ahead TO PUBLIC",
        "CREATE TABLE ahead.caught (caller name NOT NULL)",
        "GRANT INSERT ON ahead.caught TO PUBLIC",
        "CREATE FUNCTION ahead.nextval(sequence text) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN"
        " INSERT INTO ahead.caught VALUES (current_user); RETURN pg_catalog.nextval(sequence::regclass); END $$",
        "CREATE SEQUENCE ahead.mine",
        "GRANT USAGE ON ahead.mine TO {app}",
    )
    caught = "SELECT count(*) FROM ahead.caught"
    with opened(make_conninfo(fresh.url_of("app"), options="-csearch_path=ahead,public")) as db:
        owner = funded_owner(db)
        db.trades.buy(owner.buy("1", "1000"))
        db.trades.sell(owner.sell("1000", "1"))
        db.trades.reset_wallet(ResetWalletOrder(agent_id=owner.agent_id, wallet_address=owner.wallet_address))
        db.agents.update(owner.agent_id, name="another")
        db.agents.delete(new_agent(db, owner))
        with psycopg.connect(fresh.url) as superuser:
            assert superuser.execute(caught).fetchone() == (0,)
            assert superuser.execute("SELECT count(*) > 5 FROM cache_outbox").fetchone() == (True,)
        assert db.execute("SELECT nextval('ahead.mine') AS n").rows == [{"n": 1}]  # the trap is set
    with psycopg.connect(fresh.url) as superuser:
        assert superuser.execute(caught).fetchone() == (1,)


def new_agent(db: Database, owner: Owner) -> UUID:
    return db.agents.create(owner.user_id, "to be deleted").id


# --- What happened to a session before ------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "SET search_path = pg_catalog",
        "SET ROLE {app}",
        "SET nexgent.user_id = '{other}'",
        "SET row_security = off",
        "SELECT set_config('role', '{tenant}', false)",
    ],
)
def test_settings_left_on_session_change_nothing(roled: RoledDatabase, statement: str) -> None:
    with opened(roled.url_of("app"), pool_max_size=1) as db:
        mine, other = new_owner(db), new_owner(db)
        tenant = db.for_tenant(mine.user_id)
        names = {"app": roled.name_of("app"), "tenant": roled.name_of("tenant"), "other": other.user_id}
        for _ in range(2):
            with db.transaction() as tx:
                tx.connection.execute(statement.format(**names).encode())
            assert tenant.users.find_by_id(other.user_id) is None
            assert tenant.users.find_by_id(mine.user_id) is not None
            with tenant.transaction() as tx:
                assert tx.users.find_by_id(other.user_id) is None
                assert tx.users.find_by_id(mine.user_id) is not None
            assert [each.agent.user_id for each in tenant.agents.stream_all()] == [mine.user_id]


def test_temporary_table_of_our_name_is_not_read(fresh: RoledDatabase) -> None:
    database = psycopg.conninfo.conninfo_to_dict(fresh.url)["dbname"]
    administer(fresh, f"GRANT TEMPORARY ON DATABASE {database} TO {{app}}")
    with opened(fresh.url_of("app"), pool_max_size=1) as db:
        mine, other = new_owner(db), new_owner(db)
        tenant = db.for_tenant(mine.user_id)
        assert tenant.users.find_by_id(other.user_id) is None
        with db.transaction() as tx:
            tx.connection.execute("CREATE TEMPORARY TABLE users AS SELECT * FROM users")
            tx.connection.execute(f"GRANT ALL ON pg_temp.users TO {fresh.name_of('tenant')}".encode())
        assert tenant.users.find_by_id(other.user_id) is None
        assert tenant.users.find_by_id(mine.user_id) is not None
        with pytest.raises(TenantNotIsolated, match="have not all tables"):
            db.assert_tenants()


@pytest.mark.skipif(pgbouncer_program() is None, reason="no PgBouncer: apt-get install pgbouncer")
@pytest.mark.parametrize("ignores_options", [False, True])
def test_role_that_pooler_drops_is_set_all_the_same(roled: RoledDatabase, ignores_options: bool) -> None:
    with opened(roled.url_of("app")) as db:
        mine, other = new_owner(db), new_owner(db)
    with pgbouncer([roled.url], server_sessions=2, ignores_options=ignores_options) as (url,):
        as_tenant = make_conninfo(url, options=f"-crole={roled.name_of('tenant')}")
        with opened(as_tenant, pool_max_size=4) as db:
            tenant = db.for_tenant(mine.user_id)
            for _ in range(5):
                assert tenant.users.find_by_id(other.user_id) is None
                assert tenant.users.find_by_id(mine.user_id) is not None
                assert db.users.find_by_id(mine.user_id) is None  # the role, without a user
        with pytest.raises(TenantNotIsolated, match="is exempt"):
            Database(url, tenant=mine.user_id).open()


# --- Roles ----------------------------------------------------------------------------------------


def test_second_prefix_keeps_isolation_of_first(fresh: RoledDatabase, server_url: str) -> None:
    with opened(fresh.url_of("app")) as db:
        mine, other = new_owner(db), new_owner(db)
    prefix = new_prefix()
    second = RoledDatabase(fresh.url, prefix)
    with roles_dropped(server_url, prefix):
        second.apply()
        try:
            for database in (fresh, second, fresh):
                with opened(database.url_of("app")) as db:
                    db.assert_tenants()
                    tenant = db.for_tenant(mine.user_id)
                    assert tenant.users.find_by_id(other.user_id) is None
                    assert tenant.users.find_by_id(mine.user_id) is not None
                    assert db.users.find_by_id(other.user_id) is not None
                with psycopg.connect(fresh.url, autocommit=True) as connection:
                    apply_roles(connection, fresh.prefix)
        finally:
            administer(second, *(f"DROP OWNED BY {prefix}_{role}" for role in ("app", "tenant", "worker", "readonly")))
            administer(second, f"DROP OWNED BY {prefix}_migrator", f"DROP OWNED BY {prefix}_owner")


def test_role_without_policy_sees_no_row(fresh: RoledDatabase, server_url: str) -> None:
    with opened(fresh.url_of("app")) as db:
        new_owner(db)
    role = f"outsider_{new_prefix()}"
    administer(fresh, f"CREATE ROLE {role}", f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    try:
        with psycopg.connect(fresh.url) as connection:
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
            assert connection.execute("SELECT count(*) FROM users").fetchone() == (0,)
    finally:
        administer(fresh, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


@pytest.mark.parametrize(
    ("statements", "match"),
    [
        (["GRANT CREATE ON SCHEMA other TO PUBLIC"], "still able to create tables: .*_app in schema other"),
        (["GRANT CREATE ON SCHEMA other TO {tenant}"], "still able to create tables: .*_tenant in schema other"),
        (
            ["GRANT USAGE ON SCHEMA other TO {tenant}", "GRANT SELECT (id) ON other.agents TO PUBLIC"],
            "sees all rows of tables in other schemas: other.agents",
        ),
    ],
)
def test_roles_apply_looks_at_every_schema(fresh: RoledDatabase, statements: list[str], match: str) -> None:
    administer(fresh, "CREATE SCHEMA other", "CREATE TABLE other.agents (id uuid)", *statements)
    for keep in (False, True):
        with (
            psycopg.connect(fresh.url, autocommit=True) as connection,
            pytest.raises(psycopg.errors.RaiseException, match=match),
        ):
            apply_roles(connection, fresh.prefix, keep=keep)


def test_cell_beside_another_is_applied(fresh: RoledDatabase) -> None:
    """Each schema has policies of its own."""
    administer(fresh, "CREATE SCHEMA cell")
    place = make_conninfo(fresh.url, options="-csearch_path=cell")
    Migrator(place).migrate()
    with psycopg.connect(place, autocommit=True) as connection:
        apply_roles(connection, fresh.prefix)
    for path in ("cell", "public"):
        url = make_conninfo(fresh.url_of("app"), options=f"-csearch_path={path}")
        with opened(url) as db:
            mine, other = new_owner(db), new_owner(db)
            assert db.for_tenant(mine.user_id).users.find_by_id(other.user_id) is None
            assert db.for_tenant(mine.user_id).users.find_by_id(mine.user_id) is not None
            assert db.for_tenant(uuid4()).users.find_first() is None
