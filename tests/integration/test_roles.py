"""The roles of sql/roles.sql: the rights of each, no unneeded right, and a second run that changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors as pg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from typer.testing import CliRunner

from nexgent_db import Database
from nexgent_db.cli.app import app
from nexgent_db.errors import InvalidInput, LedgerProtected, PermissionDenied
from nexgent_db.migrations import BOOKKEEPING_TABLES, Migrator
from nexgent_db.queries.sqlfile import load_directory
from nexgent_db.queries.statement import Query
from nexgent_db.resources import data_dir
from nexgent_db.schema.diff import differences
from nexgent_db.schema.introspect import read_catalog
from nexgent_db.schema.roles import ROLES, apply_roles, roles_sql
from nexgent_db.settings import Settings
from nexgent_db.testing.databases import Databases
from tests.integration.sync.factories import new_owner
from tests.support.oracles.state import broken_rules
from tests.support.servers.roles import NOT_THE_TENANTS, RoledDatabase, new_prefix, roled_copy, roles_dropped

RUN: Final = CliRunner()
SERVICES: Final = ("app", "tenant", "worker")


@pytest.fixture
def fresh(server_url: str, nexgent_databases: Databases, nexgent_template_url: str) -> Iterator[RoledDatabase]:
    """A migrated database of the test's own, with roles of its own."""
    with roled_copy(server_url, nexgent_databases, nexgent_template_url) as database:
        yield database


@pytest.fixture(scope="module")
def restored(server_url: str, nexgent_databases: Databases, nexgent_template_url: str) -> Iterator[RoledDatabase]:
    """A database with roles for tests that restore what they change."""
    with roled_copy(server_url, nexgent_databases, nexgent_template_url) as database:
        yield database


@pytest.fixture
def superuser(roled: RoledDatabase) -> Iterator[psycopg.Connection[Any]]:
    """A superuser's connection whose transaction is rolled back after the test."""
    with psycopg.connect(roled.url) as connection:
        yield connection
        connection.rollback()


def become(connection: psycopg.Connection[Any], role: str) -> None:
    connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))


# --- Rights that no role has --------------------------------------------------------------------


@pytest.mark.parametrize("role", [*SERVICES, "readonly"])
@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE notes (n int)",
        "CREATE TEMPORARY TABLE notes (n int)",
        "CREATE VIEW notes AS SELECT 1",
        "CREATE FUNCTION f() RETURNS int RETURN 1",
        "CREATE SCHEMA notes",
        "CREATE ROLE another",
        "ALTER TABLE agents ADD COLUMN note text",
        "ALTER TABLE agents DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE agents DISABLE TRIGGER ALL",
        "CREATE INDEX ON agents (name)",
        "DROP TABLE cache_outbox",
        "DROP POLICY {tenant} ON agents",
        "TRUNCATE agent_balances",
        "COMMENT ON TABLE agents IS 'mine'",
        "UPDATE agent_transactions SET input_amount = 1",
        "DELETE FROM agent_transactions",
        "TRUNCATE agent_transactions CASCADE",
        "INSERT INTO agent_transactions (id) VALUES (gen_random_uuid()) ON CONFLICT (id) DO UPDATE SET fees = 0",
        "SELECT FROM agent_transactions FOR UPDATE",
        "UPDATE agents SET id = gen_random_uuid()",  # its transactions would go with it
        "UPDATE agents SET user_id = gen_random_uuid()",
        "UPDATE agent_wallets SET wallet_address = 'w'",
        "UPDATE agent_wallets SET agent_id = gen_random_uuid()",
        "UPDATE trading_signals SET id = 1",
        "SET SESSION AUTHORIZATION postgres",
        "SELECT setval('row_version_seq', 1)",
        "SELECT nextval('row_version_seq')",
        "INSERT INTO cache_outbox (version, entity, deleted) VALUES (9223372036854775807, 'agent', false)",
        "UPDATE cache_outbox SET version = version + 1",
        "DELETE FROM _yoyo_migration",
        "UPDATE _nexgent_migration SET checksum = ''",
    ],
)
def test_no_service_role_changes_schema_or_ledger(roled: RoledDatabase, role: str, statement: str) -> None:
    with psycopg.connect(roled.url_of(role)) as connection:
        refused = pytest.raises((pg.InsufficientPrivilege, pg.UndefinedObject))  # no role is called postgres elsewhere
        with refused:
            connection.execute(statement.replace("{tenant}", roled.name_of("tenant")).encode())


@pytest.mark.parametrize("role", ROLES)
def test_no_role_has_superuser_attributes(superuser: psycopg.Connection[Any], roled: RoledDatabase, role: str) -> None:
    row = superuser.execute(
        "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls, rolcanlogin"
        " FROM pg_roles WHERE rolname = %s",
        [roled.name_of(role)],
    ).fetchone()
    assert row == (False, role != "owner")


@pytest.mark.parametrize("role", ["worker", "readonly"])
@pytest.mark.parametrize("column", ["users (password_hash)", "api_keys (key_hash)"])
def test_only_app_reads_hashes(roled: RoledDatabase, role: str, column: str) -> None:
    table, name = column.rstrip(")").split(" (")
    with psycopg.connect(roled.url_of(role)) as connection, pytest.raises(pg.InsufficientPrivilege):
        connection.execute(f"SELECT {name} FROM {table}".encode())


# --- The rights of each role, and no more -------------------------------------------------------

# The worker's queries are those about trading; people, their agents and their keys are the app's.
NOT_THE_WORKERS: Final = {
    "agents": {"create", "update", "delete", "lock_config", "store_config"},
    "wallets": {"create", "change_address", "delete"},
    "signals": {"create", "create_many", "update", "delete"},
    "user_cells": {"create", "update", "delete"},
}


@cache
def queries_of(role: str) -> list[Query]:
    """The queries, shortest first, because they are planned fastest."""
    queries = [query for file in load_directory(data_dir("sql")).values() for query in file.queries.values()]
    queries = [query for query in queries if query.file != "doctor"]  # two of them need a superuser
    queries.sort(key=lambda query: len(query.statement(query.required).text))
    if role == "worker":
        return [
            query
            for query in queries
            if query.file not in ("users", "api_keys") and query.name not in NOT_THE_WORKERS.get(query.file, set())
        ]
    if role == "tenant":
        return [query for query in queries if query.qualified_name not in NOT_THE_TENANTS]
    return queries


@cache
def tables_of() -> dict[str, set[str]]:
    """The tables that each query reads or writes, as the contract has it."""
    found: dict[str, set[str]] = {}
    for query in json.loads((data_dir("sql") / "contract.json").read_text())["queries"]:
        found.setdefault(query["query"], set()).update(query["reads"], query["writes"])
    return found


class Plans:
    """Plans queries: PostgreSQL checks the same rights as for executing them."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._prepared: dict[str, str] = {}
        connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")

    def refused(self, query: Query) -> bool:
        """Is the connection's current role not allowed to run it?"""
        for place, variant in enumerate(self._outermost(query)):
            name = f"q{len(self._prepared)}"
            nulls = f"({', '.join(['NULL'] * len(variant.parameters))})" if variant.parameters else ""
            known = self._prepared.get(f"{query.qualified_name} {place}")
            try:
                with self._connection.transaction():
                    if known is None:
                        self._connection.execute(f"PREPARE {name} AS {variant.text}".encode())
                        known = self._prepared[f"{query.qualified_name} {place}"] = name
                    self._connection.execute(f"EXPLAIN EXECUTE {known}{nulls}".encode())
            except pg.InsufficientPrivilege:
                return True
        return False

    @staticmethod
    def _outermost(query: Query) -> list[Any]:
        """The shortest variant and the longest: between them they have every line."""
        least, *_, most = [query.statement(query.required), query.statement(query.parameters)]
        return [least] if least is most else [least, most]


@pytest.mark.parametrize("role", SERVICES)
def test_role_may_run_its_queries(superuser: psycopg.Connection[Any], roled: RoledDatabase, role: str) -> None:
    plans = Plans(superuser)
    become(superuser, roled.name_of(role))
    assert [query.qualified_name for query in queries_of(role) if plans.refused(query)] == []


@dataclass(frozen=True)
class Granted:
    """A right to a table, or to some of its columns."""

    table: str
    privilege: str
    column: str

    def revoke_from(self, role: str) -> sql.Composed:
        column = sql.SQL("({})").format(sql.Identifier(self.column)) if self.column else sql.SQL("")
        return sql.SQL("REVOKE {} {} ON {} FROM {}").format(
            sql.SQL(self.privilege), column, sql.Identifier(self.table), sql.Identifier(role)
        )


def grants_of(connection: psycopg.Connection[Any], role: str) -> list[Granted]:
    rows = connection.execute(
        """
        SELECT c.relname, a.privilege_type, ''
        FROM pg_class AS c, aclexplode(c.relacl) AS a
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.grantee = %(role)s::regrole
        UNION ALL
        SELECT c.relname, a.privilege_type, t.attname
        FROM pg_class AS c JOIN pg_attribute AS t ON t.attrelid = c.oid, aclexplode(t.attacl) AS a
        WHERE c.relnamespace = 'public'::regnamespace AND a.grantee = %(role)s::regrole
        ORDER BY 1, 2, 3
        """,
        {"role": role},
    )
    return [Granted(*row) for row in rows if row[0] not in BOOKKEEPING_TABLES]


@pytest.mark.parametrize("role", ["app", "worker"])
def test_role_has_no_unneeded_right(superuser: psycopg.Connection[Any], roled: RoledDatabase, role: str) -> None:
    """Without each right, PostgreSQL refuses one of the role's queries."""
    name = roled.name_of(role)
    plans = Plans(superuser)
    idle = []
    for granted in grants_of(superuser, name):
        with superuser.transaction(force_rollback=True):
            superuser.execute(granted.revoke_from(name))
            become(superuser, name)
            concerned = (each for each in queries_of(role) if granted.table in tables_of()[each.qualified_name])
            if not any(plans.refused(query) for query in concerned):
                idle.append((granted.table, granted.privilege, granted.column))
    assert idle == []


def test_tenant_has_rights_of_app_except_on_outbox(superuser: psycopg.Connection[Any], roled: RoledDatabase) -> None:
    more = set(grants_of(superuser, roled.name_of("app"))) - set(grants_of(superuser, roled.name_of("tenant")))
    less = set(grants_of(superuser, roled.name_of("tenant"))) - set(grants_of(superuser, roled.name_of("app")))
    directory = {
        *(Granted("user_cells", right, "") for right in ("INSERT", "DELETE")),
        *(Granted("user_cells", "UPDATE", column) for column in ("cell", "updated_at")),
    }
    assert more == {Granted("cache_outbox", "DELETE", ""), Granted("cache_outbox", "UPDATE", "created_at"), *directory}
    assert less == set()


def test_readonly_reads_every_column_except_hashes(superuser: psycopg.Connection[Any], roled: RoledDatabase) -> None:
    rows = superuser.execute(
        """
        SELECT c.relname || '.' || t.attname
        FROM pg_class AS c JOIN pg_attribute AS t ON t.attrelid = c.oid AND t.attnum > 0 AND NOT t.attisdropped
        WHERE c.relnamespace = 'public'::regnamespace
            AND c.relkind = 'r'
            AND NOT has_column_privilege(%s, c.oid, t.attnum, 'SELECT')
        ORDER BY 1
        """,
        [roled.name_of("readonly")],
    )
    assert [name for (name,) in rows] == ["api_keys.key_hash", "users.password_hash"]


def test_every_role_reads_migration_history(roled: RoledDatabase) -> None:
    for role in (*SERVICES, "readonly"):
        assert all(state.applied_at for state in Migrator(roled.url_of(role)).status())
        with Database(roled.url_of(role)) as db:
            db.assert_schema()
    with Database(roled.url_of("app"), tenant=uuid4()) as db:
        db.assert_schema()


def test_every_table_has_owner_and_policies(superuser: psycopg.Connection[Any], roled: RoledDatabase) -> None:
    """sql/roles.sql must name every new table, function and type."""
    rows = superuser.execute(
        """
        SELECT 'function ' || proname FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace AND proowner <> %(owner)s::regrole
        UNION ALL
        SELECT 'type ' || typname FROM pg_type
        WHERE typnamespace = 'public'::regnamespace AND typtype = 'e' AND typowner <> %(owner)s::regrole
        UNION ALL
        SELECT relname FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S', 'v') AND relowner <> %(owner)s::regrole
        UNION ALL
        SELECT relname || ' without policies'
        FROM pg_class AS c
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> ALL (%(bookkeeping)s)
            AND NOT (
                relrowsecurity
                AND ARRAY(SELECT polname::text FROM pg_policy WHERE polrelid = c.oid ORDER BY 1) = %(policies)s
                AND NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = c.oid AND 0 = ANY (polroles))
            )
        """,
        {
            "owner": roled.name_of("owner"),
            "bookkeeping": list(BOOKKEEPING_TABLES),
            "policies": [roled.name_of("everyone"), roled.name_of("tenant")],
        },
    )
    assert [name for (name,) in rows] == []


# --- The work of each role ----------------------------------------------------------------------


def test_app_executes_every_kind_of_trade(roled: RoledDatabase) -> None:
    with Database(roled.url_of("app")) as db:
        owner = new_owner(db)
        db.trades.deposit(owner.deposit("100"))
        db.trades.buy(owner.buy("10", "1000"))
        db.trades.dca_buy(owner.dca_buy("10", "1000"))
        db.trades.take_profit(owner.take_profit("500", "20"))
        db.trades.sell(owner.sell("1500", "20"))
        db.trades.reset_wallet(owner.reset("5"))
        assert len(db.transactions.list_by_agent(owner.agent_id)) > 5
        assert broken_rules(roled.url_of("readonly")) == {}
        for protected in (
            lambda: db.wallets.delete(owner.agent_id, owner.wallet_address),
            lambda: db.users.delete(owner.user_id),
        ):
            with pytest.raises(LedgerProtected):
                protected()
        without_ledger = new_owner(db)
        assert db.wallets.delete(without_ledger.agent_id, without_ledger.wallet_address) == 1
        assert db.users.delete(without_ledger.user_id) == 1


def test_worker_trades_and_maintains_cache(roled: RoledDatabase) -> None:
    with Database(roled.url_of("app")) as app_db:
        owner = new_owner(app_db)
    with Database(roled.url_of("worker")) as db:
        db.trades.deposit(owner.deposit("100"))
        db.trades.buy(owner.buy("10", "1000"))
        assert db.agents.set_automated_trading(owner.agent_id, "live", enabled=False) is not None
        assert db.cache.maintenance.lag_s() > 0
        for refused in (
            lambda: db.users.find_by_id(owner.user_id),
            lambda: db.api_keys.list_by_user(owner.user_id),
            lambda: db.agents.delete(owner.agent_id),
            lambda: db.wallets.delete(owner.agent_id, owner.wallet_address),
        ):
            with pytest.raises(PermissionDenied, match="permission denied for table"):
                refused()


def test_worker_relays_changes_of_all_users(fresh: RoledDatabase, redis_url: str) -> None:
    with Database(fresh.url_of("app")) as app_db:
        owner = new_owner(app_db)
        app_db.trades.deposit(owner.deposit("100"))
    settings = replace(Settings.from_url(fresh.url_of("worker")), redis_url=redis_url, cache_prefix=f"{uuid4()}:")
    with Database(settings) as db:
        db.cache.maintenance.run_once()
        assert db.cache.metrics().state == "closed"
        assert db.cache.maintenance.lag_s() == 0


def test_objects_created_by_migrator_belong_to_owner(fresh: RoledDatabase) -> None:
    """The migrator can also grant rights on them, without CREATEROLE."""
    migrator = Migrator(fresh.url_of("migrator"))
    undone = migrator.rollback(to="20261123091320_index_transaction_hashes")
    assert "20261123091400_trade_requests" in undone
    assert migrator.migrate() == sorted(undone)
    with psycopg.connect(fresh.url_of("migrator"), autocommit=True) as connection:
        owner = connection.execute("SELECT relowner::regrole::text FROM pg_class WHERE relname = 'trade_requests'")
        assert owner.fetchone() == (fresh.name_of("owner"),)
        changes = apply_roles(connection, fresh.prefix)
        assert f"table trade_requests for {fresh.name_of('app')}" in [change.subject for change in changes]
        assert apply_roles(connection, fresh.prefix) == []
    with Database(fresh.url_of("app")) as db:
        owner_of = new_owner(db)
        db.trades.deposit(owner_of.deposit("1"))


def test_new_table_is_readable_by_readonly_and_writable_by_none(fresh: RoledDatabase) -> None:
    with psycopg.connect(fresh.url_of("migrator")) as connection:
        connection.execute("CREATE TABLE notes (n int)")
        for role, reads in (("readonly", True), ("app", False), ("tenant", False), ("worker", False)):
            row = connection.execute(
                "SELECT has_table_privilege(%s, 'notes', 'SELECT')", [fresh.name_of(role)]
            ).fetchone()
            assert row == (reads,), role


# --- Applied ------------------------------------------------------------------------------------


def apply(restored: RoledDatabase, *options: str) -> tuple[int, str]:
    command = ["roles", "apply", "--prefix", restored.prefix, "--database-url", restored.url, *options]
    result = RUN.invoke(app, command)
    return result.exit_code, result.stdout


def test_second_apply_changes_nothing_and_takes_no_lock(restored: RoledDatabase) -> None:
    assert apply(restored) == (0, "nothing to do: roles, grants and policies are as sql/roles.sql says\n")
    assert apply(restored, "--check")[0] == 0
    with psycopg.connect(restored.url) as connection:
        connection.execute(roles_sql(restored.prefix).encode())
        locks = connection.execute(
            "SELECT relation::regclass::text, mode FROM pg_locks WHERE pid = pg_backend_pid() AND relation IN"
            " (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)"
            " AND mode NOT IN ('AccessShareLock')"
        )
        assert locks.fetchall() == []


TAMPERED: Final = {
    "GRANT DELETE ON agent_transactions TO {app}": "table agent_transactions for {app}\n"
    "  - DELETE, SELECT\n  + SELECT\n",
    "GRANT UPDATE (id) ON agents TO {app}": "table agents for {app}\n",
    "GRANT SELECT ON users TO PUBLIC": "table users for PUBLIC\n  - SELECT\n",
    "ALTER ROLE {app} BYPASSRLS": "role {app}\n  - LOGIN, NOINHERIT, BYPASSRLS\n  + LOGIN, NOINHERIT\n",
    "ALTER ROLE {owner} LOGIN": "role {owner}\n  - LOGIN, INHERIT\n  + NOLOGIN, INHERIT\n",
    "GRANT {owner} TO {worker}": "role {worker} as {owner}\n  - may become it\n",
    "GRANT CREATE ON SCHEMA public TO PUBLIC": "schema public for PUBLIC\n  - CREATE, USAGE\n  + USAGE\n",
    "DROP POLICY {tenant} ON users": "table users policy {tenant}\n  + RESTRICTIVE",
    "ALTER POLICY {tenant} ON agent_positions USING (true)": "table agent_positions policy {tenant}\n",
    "ALTER POLICY {prefix}_everyone ON users TO PUBLIC": "table users policy {prefix}_everyone\n  - PERMISSIVE * TO",
    "ALTER TABLE users DISABLE ROW LEVEL SECURITY": "table users\n",
    "ALTER TABLE users OWNER TO {app}": "table users\n",
    "REVOKE SELECT ON agents FROM {worker}": "table agents for {worker}\n",
}


@pytest.mark.parametrize("statement", TAMPERED)
def test_manual_changes_are_reported_and_corrected(restored: RoledDatabase, statement: str) -> None:
    names = {role: restored.name_of(role) for role in ROLES} | {"prefix": restored.prefix}
    with psycopg.connect(restored.url, autocommit=True) as connection:
        connection.execute(statement.format(**names).encode())
    code, reported = apply(restored, "--check")
    assert (code, TAMPERED[statement].format(**names) in reported) == (1, True), reported
    assert apply(restored, "--check")[0] == 1  # nothing was changed by looking
    code, again = apply(restored)
    assert (code, again.splitlines()[:-1]) == (0, reported.splitlines()[:-1])
    assert apply(restored, "--check")[0] == 0


def test_owner_without_superuser_can_apply(server_url: str, nexgent_databases: Databases) -> None:
    prefix = new_prefix()
    dba = f"{prefix}_dba"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {dba} LOGIN CREATEROLE PASSWORD 'secret'".encode())
    try:
        with roles_dropped(server_url, prefix), nexgent_databases.empty() as url:
            name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
            with psycopg.connect(server_url, autocommit=True) as connection:
                connection.execute(f"ALTER DATABASE {name} OWNER TO {dba}".encode())
            theirs = make_conninfo(url, user=dba, password="secret")
            Migrator(theirs).migrate()
            with psycopg.connect(theirs, autocommit=True) as connection:
                assert len(apply_roles(connection, prefix)) > 100
                assert apply_roles(connection, prefix) == []
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(f"DROP ROLE {dba}".encode())


def test_roles_apply_to_schema_of_any_name(server_url: str, nexgent_databases: Databases) -> None:
    prefix = new_prefix()
    with roles_dropped(server_url, prefix), nexgent_databases.empty() as url:
        with psycopg.connect(url) as connection:
            connection.execute('CREATE SCHEMA "Odd ""name"')
        database = RoledDatabase(make_conninfo(url, options='-csearch_path="Odd\\ ""name"'), prefix)
        Migrator(database.url).migrate()
        database.apply()
        with psycopg.connect(database.url, autocommit=True) as connection:
            assert apply_roles(connection, prefix) == []
        with Database(database.url_of("app")) as db:
            me, other = new_owner(db), new_owner(db)
        with Database(database.url_of("app"), tenant=me.user_id) as db:
            db.assert_schema()
            assert db.agents.find_by_id(me.agent_id) is not None
            assert db.agents.find_by_id(other.agent_id) is None


def test_apply_without_tables_says_to_migrate(server_url: str, empty_database: str) -> None:
    prefix = new_prefix()
    with roles_dropped(server_url, prefix):
        result = RUN.invoke(app, ["roles", "apply", "--prefix", prefix, "--database-url", empty_database])
        assert "SchemaNotReady" in type(result.exception).__name__
        assert "migrate the database first" in str(result.exception)


@pytest.mark.parametrize("prefix", ["", "Nexgent", "a-b", "1a", "a" * 51, 'x"y'])
def test_prefix_that_needs_quotes_is_refused(prefix: str) -> None:
    with pytest.raises(InvalidInput, match="prefix: should be"):
        roles_sql(prefix)


def test_apply_does_not_change_schema(fresh: RoledDatabase, fresh_database_url: str) -> None:
    """Roles, owners and policies do not count as drift."""
    with psycopg.connect(fresh.url) as roled, psycopg.connect(fresh_database_url) as plain:
        assert differences(read_catalog(plain), read_catalog(roled)) == []


def test_roles_file_is_not_loaded_as_queries() -> None:
    assert (Path(data_dir("sql")) / "roles.sql").is_file()
    assert "roles" not in load_directory(data_dir("sql"))
