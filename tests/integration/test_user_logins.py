"""A login of a user's own: whatever SQL the user writes, it sees and changes this user's rows alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from typer.testing import CliRunner

from nexgent_db import Database
from nexgent_db.cli.app import app
from nexgent_db.errors import InvalidInput, TenantNotIsolated, WalletNotFound
from nexgent_db.models import BalanceSnapshotOrder, PriceUpdate, SignalOrder
from nexgent_db.schema.logins import add_login, drop_login, login_of, user_of_login
from nexgent_db.testing.databases import Databases
from tests.integration.sync.factories import Owner, balance_of, funded_owner
from tests.support.servers.roles import RoledDatabase, roled_copy

RUN: Final = CliRunner()
PASSWORD: Final = "a password for tests"
TABLES: Final = {
    "users": "id = '{user}'",
    "api_keys": "user_id = '{user}'",
    "agents": "user_id = '{user}'",
    "trading_signals": "user_id = '{user}'",
    "user_cells": "user_id = '{user}'",
    "agent_wallets": "agent_id = '{agent}'",
    "agent_balances": "agent_id = '{agent}'",
    "agent_balance_snapshots": "agent_id = '{agent}'",
    "agent_positions": "agent_id = '{agent}'",
    "agent_transactions": "agent_id = '{agent}'",
    "agent_historical_swaps": "agent_id = '{agent}'",
    "signal_executions": "agent_id = '{agent}'",
    "trade_requests": "agent_id = '{agent}'",
}
"""The condition under which a row of each table is a user's."""
WITHOUT_ROWS: Final = {"ledger_purges", "adopted_deviations", "cache_outbox"}
"""Two have rows after rare operations alone; of the outbox, only rows of the own transaction are seen."""


@dataclass(frozen=True)
class Logins:
    """Two users with rows in every table; the first has a login."""

    database: RoledDatabase
    mine: Owner
    other: Owner
    login: str

    @property
    def url(self) -> str:
        return make_conninfo(self.database.url, user=self.login, password=PASSWORD)


def fill(db: Database, owner: Owner) -> None:
    """A row of this owner in every table."""
    db.api_keys.create(owner.user_id, "a key")
    db.trades.buy(owner.buy("2", "1000"))
    db.trades.buy(owner.buy("2", "1000", token="T2"))
    db.trades.sell(owner.sell("1000", "3", token="T2"))
    signal = db.signals.create(
        SignalOrder(user_id=owner.user_id, token_address="T", signal_type="BUY", signal_strength=50)
    )
    db.signal_executions.create_pending(signal.id, owner.agent_id)
    db.balance_snapshots.upsert(
        BalanceSnapshotOrder(
            agent_id=owner.agent_id,
            wallet_address=owner.wallet_address,
            snapshot_timestamp=datetime(2026, 1, 1, tzinfo=UTC),
            portfolio_balance_sol=Decimal(1),
            sol_balance=Decimal(1),
            positions_value_sol=Decimal(0),
            unrealized_pnl_sol=Decimal(0),
        )
    )
    db.user_cells.create(owner.user_id, "a_cell")


@pytest.fixture(scope="module")
def logins(server_url: str, nexgent_databases: Databases, nexgent_template_url: str) -> Iterator[Logins]:
    with roled_copy(server_url, nexgent_databases, nexgent_template_url) as database:
        with Database(database.url_of("app")) as db:
            mine, other = funded_owner(db), funded_owner(db)
            fill(db, mine)
            fill(db, other)
        with psycopg.connect(database.url, autocommit=True) as superuser:
            login = add_login(superuser, mine.user_id, database.prefix)
            superuser.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(login), PASSWORD))
            try:
                yield Logins(database, mine, other, login)
            finally:
                drop_login(superuser, mine.user_id, database.prefix)


def count(connection: psycopg.Connection[Any], table: str, owner: Owner) -> int:
    condition = TABLES[table].format(user=owner.user_id, agent=owner.agent_id)
    row = connection.execute(f"SELECT count(*) FROM {table} WHERE {condition}".encode()).fetchone()
    assert row is not None
    return int(row[0])


# --- What the user's SQL sets first ---------------------------------------------------------------

ATTACKS: Final = (
    "SELECT 1",
    "SET nexgent.user_id = '{other}'",
    "SET LOCAL nexgent.user_id = '{other}'",
    "SELECT set_config('nexgent.user_id', '{other}', false)",
    "RESET ROLE",
    "RESET ALL",
    "DISCARD ALL",
    "SET ROLE {tenant}",
    "SET ROLE NONE; SET nexgent.user_id = '{other}'",
    "SET ROLE {tenant}; SET nexgent.user_id = '{other}'",
    "SET SESSION AUTHORIZATION DEFAULT; SET nexgent.user_id = '{other}'",
    "SET search_path = pg_catalog, public; SET nexgent.user_id = '{other}'",
    "SET row_security = on; SET nexgent.user_id = '{other}'",
    "DO $$ BEGIN PERFORM set_config('nexgent.user_id', '{other}', false); END $$",
    "PREPARE p AS SELECT set_config('nexgent.user_id', '{other}', false); EXECUTE p",
    "ALTER ROLE {login} SET role = '{tenant}'; SET nexgent.user_id = '{other}'",
    "SET application_name = '{tenant}_user_{other_hex}'; SET nexgent.user_id = '{other}'",
)


def attacked(connection: psycopg.Connection[Any], statements: str, logins: Logins) -> None:
    names = {
        "other": logins.other.user_id,
        "other_hex": logins.other.user_id.hex,
        "tenant": logins.database.name_of("tenant"),
        "login": logins.login,
    }
    for statement in statements.split("; ") if "$$" not in statements else [statements]:
        connection.execute(statement.format(**names).encode())


@pytest.mark.parametrize("statements", ATTACKS)
def test_rows_of_other_users_stay_unseen_and_unchanged(logins: Logins, statements: str) -> None:
    for reconnected in (False, True):
        with psycopg.connect(logins.url, autocommit=True) as connection:
            if not reconnected:
                attacked(connection, statements, logins)
            for table in TABLES:
                assert count(connection, table, logins.mine) > 0, table
                assert count(connection, table, logins.other) == 0, table
                assert connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone() == (
                    count(connection, table, logins.mine),
                )
            for change in (
                f"UPDATE users SET email = 'taken@example.org' WHERE id = '{logins.other.user_id}'",
                f"UPDATE agents SET name = 'taken' WHERE id = '{logins.other.agent_id}'",
                f"DELETE FROM agent_balance_snapshots WHERE agent_id = '{logins.other.agent_id}'",
                f"DELETE FROM trading_signals WHERE user_id = '{logins.other.user_id}'",
            ):
                assert connection.execute(change.encode()).rowcount == 0
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(
                    "INSERT INTO agents (id, user_id, name) VALUES (%s, %s, 'planted')", (uuid4(), logins.other.user_id)
                )
    with psycopg.connect(logins.database.url, autocommit=True) as superuser:
        superuser.execute(sql.SQL("ALTER ROLE {} RESET ALL").format(sql.Identifier(logins.login)))


def test_login_that_tenants_share_is_told_its_user_by_a_setting(logins: Logins) -> None:
    """Why a user's SQL needs a login of the user's own."""
    with psycopg.connect(logins.database.url_of("tenant"), autocommit=True) as connection:
        attacked(connection, "SET nexgent.user_id = '{other}'", logins)
        assert count(connection, "agents", logins.other) == 1


@pytest.mark.parametrize("statements", [each for each in ATTACKS if each != "DISCARD ALL"])  # none in a transaction
def test_wallets_of_other_users_do_not_trade(logins: Logins, statements: str) -> None:
    with Database(logins.database.url_of("app")) as app:
        before = balance_of(app, logins.other)
        position = app.positions.list_by_agent(logins.other.agent_id)[0]
        with Database(logins.url) as db:
            with db.transaction() as tx:
                attacked(tx.connection, statements, logins)
            trades: tuple[Callable[[], object], ...] = (
                lambda: db.trades.withdraw(logins.other.withdraw("1")),
                lambda: db.trades.buy(logins.other.buy("1", "1", token="T3")),
                lambda: db.trades.write_off(logins.other.write_off()),
                lambda: db.trades.reset_wallet(logins.other.reset("5")),
            )
            for trade in trades:
                with pytest.raises(WalletNotFound):
                    trade()
            assert db.wallets.change_address(logins.other.agent_id, logins.other.wallet_address, "W" * 40) is None
            priced = db.positions.record_prices([PriceUpdate(position_id=position.id, price=Decimal(9))])
            assert (priced.changed, priced.closed) == ((), (position.id,))
            db.trades.deposit(logins.mine.deposit("1"))
        assert balance_of(app, logins.other) == before
        assert app.positions.find_by_id(position.id) == position
    with psycopg.connect(logins.database.url, autocommit=True) as superuser:
        superuser.execute(sql.SQL("ALTER ROLE {} RESET ALL").format(sql.Identifier(logins.login)))


@pytest.mark.parametrize(
    "statement",
    [
        "SET ROLE {app}",
        "SET ROLE {owner}",
        "SET SESSION AUTHORIZATION {app}",
        "SELECT set_config('role', '{app}', false)",
        "SELECT set_config('session_authorization', '{app}', false)",
        "GRANT {app} TO {login}",
        "ALTER ROLE {login} RENAME TO {prefix}_user_{other}",
        "ALTER ROLE {login} BYPASSRLS",
        "ALTER ROLE {login} SET nexgent.user_id = '{other}'",
        "CREATE ROLE {prefix}_user_{other} LOGIN",
        "CREATE FUNCTION session_user_() RETURNS int LANGUAGE sql RETURN 1",
        "CREATE TEMPORARY TABLE agents (id uuid)",
        "CREATE OR REPLACE FUNCTION caller_acts_for(user_id uuid) RETURNS boolean LANGUAGE sql RETURN true",
        "ALTER TABLE agents DISABLE ROW LEVEL SECURITY",
        "DROP POLICY {tenant} ON agents",
        "SELECT act_for_every_user()",
        "SELECT prune_trade_requests_v1(NULL, 1)",
        "SELECT * FROM pg_authid",
        "SELECT pg_read_file('postgresql.conf')",
        "COPY users TO PROGRAM 'cat'",
        "TRUNCATE agents",
        "UPDATE agent_balances SET balance = 1",
        "UPDATE agents SET user_id = '{other}'",
        "SET row_security = off; SELECT count(*) FROM users",
    ],
)
def test_login_gets_no_more_rights(logins: Logins, statement: str) -> None:
    names = {role: logins.database.name_of(role) for role in ("app", "owner", "tenant")}
    names |= {"login": logins.login, "prefix": logins.database.prefix, "other": logins.other.user_id.hex}
    with psycopg.connect(logins.url, autocommit=True) as connection, pytest.raises(psycopg.Error) as refused:
        for each in statement.split("; "):
            connection.execute(each.format(**names).encode())
    assert refused.value.sqlstate in ("42501", "0A000")  # no right to; a session's own login is never renamed


def test_settings_of_connection_name_no_other_user(logins: Logins) -> None:
    url = make_conninfo(logins.url, options=f"-cnexgent.user_id={logins.other.user_id}")
    with psycopg.connect(url) as connection:
        assert count(connection, "agents", logins.mine) == 1
        assert count(connection, "agents", logins.other) == 0


def test_statistics_of_other_rows_are_hidden(logins: Logins) -> None:
    with psycopg.connect(logins.database.url, autocommit=True) as superuser:
        superuser.execute("ANALYZE")
        assert superuser.execute("SELECT FROM pg_stats WHERE tablename = 'users'").rowcount > 0
    with psycopg.connect(logins.url) as connection:
        assert connection.execute("SELECT FROM pg_stats WHERE tablename = ANY(%s)", (list(TABLES),)).rowcount == 0


def test_every_table_that_tenants_read_is_tried(logins: Logins) -> None:
    with psycopg.connect(logins.url) as connection:
        readable = connection.execute(
            "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
            " AND has_any_column_privilege(oid, 'SELECT') AND relname !~ '^(_yoyo_|yoyo_lock$|_nexgent_)'"
        ).fetchall()
        assert {name for (name,) in readable} - WITHOUT_ROWS == set(TABLES)
        for name in {name for (name,) in readable} & WITHOUT_ROWS:
            assert connection.execute(f"SELECT count(*) FROM {name}".encode()).fetchone() == (0,)


# --- The library over such a login ----------------------------------------------------------------


def test_login_acts_for_its_user_with_and_without_tenant(logins: Logins) -> None:
    with Database(logins.url) as db, Database(logins.url, tenant=logins.mine.user_id) as tenant:
        db.assert_tenants()
        for each in (db, tenant, db.for_tenant(logins.mine.user_id)):
            assert [found.agent.id for found in each.agents.list_all()] == [logins.mine.agent_id]
            assert each.users.find_by_id(logins.other.user_id) is None


def test_login_refuses_other_tenant(logins: Logins) -> None:
    match = f"the login acts for user {logins.mine.user_id} alone, not for {logins.other.user_id}"
    with pytest.raises(TenantNotIsolated, match=match):
        Database(logins.url, tenant=logins.other.user_id).open()
    with Database(logins.url) as db:
        for _ in range(2):
            with pytest.raises(TenantNotIsolated, match=match):
                db.for_tenant(logins.other.user_id).users.find_first()
        assert db.for_tenant(logins.mine.user_id).users.find_first() is not None


def test_name_says_the_user_to_database_and_to_library(logins: Logins) -> None:
    assert user_of_login(logins.login) == logins.mine.user_id
    assert user_of_login(logins.database.name_of("tenant")) is None
    assert user_of_login(f"{logins.login}x") is None
    for url, acts in ((logins.url, True), (logins.database.url_of("tenant"), False)):
        with psycopg.connect(url) as connection:
            called = connection.execute("SELECT caller_acts_for(%s)", (logins.mine.user_id,)).fetchone()
            assert called == (acts or None,)
            assert count(connection, "users", logins.mine) == int(acts)


# --- Making one -----------------------------------------------------------------------------------


def test_command_makes_login_and_drops_it(logins: Logins) -> None:
    user, prefix = logins.other.user_id, logins.database.prefix
    options = [str(user), "--prefix", prefix, "--database-url", logins.database.url]
    for connections in ("5", "2"):
        done = RUN.invoke(app, ["roles", "login", *options, "--max-connections", connections])
        assert (done.exit_code, done.stdout) == (0, f"login {login_of(user, prefix)} acts for user {user} alone\n")
    with psycopg.connect(logins.database.url, autocommit=True) as superuser:
        limit = "SELECT rolconnlimit, rolcanlogin, rolinherit FROM pg_roles WHERE rolname = %s"
        assert superuser.execute(limit, (login_of(user, prefix),)).fetchone() == (2, True, True)
    for printed in (f"login of user {user} dropped\n", f"user {user} has no login\n"):
        done = RUN.invoke(app, ["roles", "login", *options, "--drop"])
        assert (done.exit_code, done.stdout) == (0, printed)


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER ROLE {login} BYPASSRLS",
        "ALTER ROLE {login} CREATEROLE",
        "GRANT {app} TO {login}",
        "GRANT pg_read_all_data TO {login}",
        "GRANT SELECT ON users TO {login}",
    ],
)
def test_login_with_more_rights_is_refused(logins: Logins, statement: str) -> None:
    user, prefix = logins.other.user_id, logins.database.prefix
    names = {"login": login_of(user, prefix), "app": logins.database.name_of("app")}
    with psycopg.connect(logins.database.url, autocommit=True) as superuser:
        add_login(superuser, user, prefix)
        superuser.execute(statement.format(**names).encode())
        try:
            with pytest.raises(TenantNotIsolated, match=f"{names['login']} has more rights than {prefix}_tenant"):
                add_login(superuser, user, prefix)
        finally:
            superuser.execute(f"DROP OWNED BY {names['login']}".encode())
            assert drop_login(superuser, user, prefix)


@pytest.mark.parametrize(
    ("prefix", "user", "match"),
    [
        ("A", None, "prefix: should be 1 to 25"),
        ("a" * 26, None, "prefix: should be 1 to 25"),
        ("nowhere", None, "prefix: the server has no role nowhere_tenant"),
        (None, UUID(int=0), f"user_id: there is no user {UUID(int=0)}"),
    ],
)
def test_bad_input_makes_no_login(logins: Logins, prefix: str | None, user: UUID | None, match: str) -> None:
    with psycopg.connect(logins.database.url, autocommit=True) as superuser:
        roles = superuser.execute("SELECT count(*) FROM pg_roles").fetchone()
        with pytest.raises(InvalidInput, match=match):
            add_login(superuser, user or logins.other.user_id, prefix or logins.database.prefix)
        assert superuser.execute("SELECT count(*) FROM pg_roles").fetchone() == roles


# --- What it can still do, as docs/pages/concepts/tenants.md says -----------------------------------


def test_login_can_do_what_the_page_lists_and_no_more_with_it(logins: Logins) -> None:
    mine, other = logins.mine, logins.other
    with psycopg.connect(logins.url) as connection:
        assert connection.execute("SELECT count(password_hash) <= 1 FROM users").fetchone() == (True,)
        lifted = connection.execute("UPDATE users SET failed_login_attempts = 0, locked_until = NULL")
        assert lifted.rowcount == 1
        scopes = (
            "INSERT INTO api_keys (user_id, name, key_hash, key_prefix, scopes) VALUES (%s, 'x', %s, 'nex_x', '{*}')"
        )
        with connection.transaction(force_rollback=True):
            connection.execute(scopes, (mine.user_id, "0" * 64))
        with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
            connection.execute(scopes, (other.user_id, "1" * 64))
        connection.execute("NOTIFY anything, 'anything'")
        with connection.transaction(force_rollback=True):
            assert connection.execute("SELECT lo_from_bytea(0, 'x')").fetchone()
        live = connection.execute("SELECT relname FROM pg_stat_user_tables WHERE relname = 'users'").fetchall()
        assert live == [("users",)]
        for table in TABLES:
            assert count(connection, table, other) == 0
    page = (Path(__file__).parents[2] / "docs/pages/concepts/tenants.md").read_text(encoding="utf-8")
    listed = page.partition("What such SQL can still do:")[2].partition("What no SQL of the services'")[0]
    for word in (
        "hash of its password",
        "locked_until",
        "any scopes",
        "pg_stat_user_tables",
        "large objects",
        "NOTIFY",
    ):
        assert word in listed
