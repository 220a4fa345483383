"""Behind PgBouncer in transaction mode: no call relies on what another transaction left in the session."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from typer.testing import CliRunner

from nexgent_db import AsyncDatabase, Database, Settings
from nexgent_db.cli.app import app
from nexgent_db.errors import ConfigurationError, DatabaseError, StatementTimeout
from nexgent_db.migrations import Migrator
from nexgent_db.models import SOL_MINT
from nexgent_db.poolers import Pooler
from nexgent_db.sessions import PINNED
from tests.integration.aio import factories as aio
from tests.integration.sync.factories import Owner, new_owner
from tests.support.builders.migrating import connected, one, tables
from tests.support.faults.session_settings import CHANGED
from tests.support.oracles.round_trips import round_trips
from tests.support.servers.pgbouncer import keeps_statements, pgbouncer, pgbouncer_program
from tests.support.servers.roles import RoledDatabase

RUN: Final = CliRunner()
CALLERS = 12
DEPOSITS = 20
SERVER_SESSIONS = 2

pytestmark = pytest.mark.skipif(pgbouncer_program() is None, reason="no PgBouncer: apt-get install pgbouncer")


@pytest.fixture(scope="module")
def pooled(roled: RoledDatabase) -> Iterator[list[Settings]]:
    """The service's and the tenants' databases through one pooler, as its users have it: nothing is said about it."""
    with pgbouncer([roled.url, *map(roled.url_of, ("app", "tenant"))], server_sessions=SERVER_SESSIONS) as urls:
        yield [replace(Settings.from_url(url, {}), pool_max_size=CALLERS, pool_timeout_s=30.0) for url in urls[1:]]


@pytest.fixture
def service(pooled: list[Settings]) -> Settings:
    return pooled[0]


def _deposit(db: Database, owner: Owner, number: int) -> None:
    order = owner.deposit("1")
    match number % 4:
        case 0:
            db.trades.deposit(order)
        case 1:
            with db.transaction() as tx:
                tx.trades.deposit(order)
        case 2:
            with db.transaction(pipeline=True) as tx:
                tx.trades.deposit(order)
        case _:
            with db.transaction() as tx, tx.transaction() as inner:
                inner.trades.deposit(order)
    assert db.trades.deposit(order).duplicate


def test_callers_sharing_sessions_lose_and_double_no_deposit(service: Settings) -> None:
    with Database(service) as db, ThreadPoolExecutor(CALLERS) as threads:
        owners = [new_owner(db) for _ in range(CALLERS)]
        work = [(db, owner, number) for owner in owners for number in range(DEPOSITS)]
        list(threads.map(lambda each: _deposit(*each), work))
        for owner in owners:
            balance = db.balances.find_by_wallet_and_token(owner.wallet_address, SOL_MINT)
            assert balance is not None
            assert (balance.balance, len(db.transactions.list_by_agent(owner.agent_id, limit=100))) == (20, 20)


def test_tenants_sharing_sessions_see_only_their_own_rows(pooled: list[Settings]) -> None:
    service, tenants = pooled
    with Database(service) as db:
        owners = [new_owner(db) for _ in range(CALLERS)]

    def look(owner: Owner) -> set[bool]:
        with Database(replace(tenants, pool_max_size=1), tenant=owner.user_id) as db:
            return {
                (db.users.find_by_id(other.user_id) is not None) == (other is owner)
                for other in owners
                for _ in range(3)
            }

    with ThreadPoolExecutor(CALLERS) as threads:
        assert list(threads.map(look, owners)) == [{True}] * CALLERS


def test_tenants_of_services_database_share_sessions_with_it(service: Settings) -> None:
    """The pooler drops the startup option of a role, but a transaction's own role stays."""
    with Database(service) as db:
        owners = [new_owner(db) for _ in range(CALLERS)]

        def look(owner: Owner) -> set[bool]:
            tenant = db.for_tenant(owner.user_id)
            return {
                (tenant.users.find_by_id(other.user_id) is not None) == (other is owner)
                and db.users.find_by_id(other.user_id) is not None
                for other in owners
                for _ in range(3)
            }

        with ThreadPoolExecutor(CALLERS) as threads:
            assert list(threads.map(look, owners)) == [{True}] * CALLERS


def test_stream_is_whole_while_others_use_the_session(service: Settings) -> None:
    with Database(service) as db:
        owner = new_owner(db)
        for _ in range(5):
            db.trades.deposit(owner.deposit("1"))
        stream: Any = db.transactions.stream_by_agent(owner.agent_id)
        with closing(stream):
            first = next(stream)
            assert [db.users.find_by_id(uuid4()) for _ in range(2 * SERVER_SESSIONS)] == [None] * (2 * SERVER_SESSIONS)
            assert len([first, *stream]) == 5


async def test_async_calls_work_behind_pooler(service: Settings) -> None:
    async with AsyncDatabase(service) as db:
        owner = await aio.new_owner(db)
        async with db.transaction(pipeline=True) as tx:
            await tx.trades.deposit(owner.deposit("1"))
        assert (await db.health()).ok
        balance = await db.balances.find_by_wallet_and_token(owner.wallet_address, SOL_MINT)
        assert balance is not None
        assert balance.balance == 1


# --- What a session and a transaction are set to --------------------------------------------------

CHANGED_BY_ROLE: Final = {
    **{name: value for name, value in CHANGED.items() if name != "session_replication_role"},
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "search_path": "nowhere, public",
}
ASKED: Final = {
    **PINNED,
    "transaction_isolation": "read committed",
    "statement_timeout": "20s",
    "lock_timeout": "4s",
    "idle_in_transaction_session_timeout": "30s",
    "work_mem": "7MB",
    "search_path": "public",
}


@pytest.fixture
def odd_role(roled: RoledDatabase) -> Iterator[str]:
    """The worker's URL, when its sessions begin with other settings than any of ours."""
    role = sql.Identifier(roled.name_of("worker"))
    with psycopg.connect(roled.url, autocommit=True) as connection:
        for name, value in CHANGED_BY_ROLE.items():
            setting = sql.SQL("ALTER ROLE {} SET {} = {}").format(role, sql.Identifier(name), sql.Literal(value))
            connection.execute(setting)
        try:
            yield roled.url_of("worker")
        finally:
            connection.execute(sql.SQL("ALTER ROLE {} RESET ALL").format(role))


def _as_asked(url: str, pooler: Pooler | None) -> Settings:
    asked = make_conninfo(url, options="-csearch_path=public -c work_mem=7MB")
    limits = {"statement_timeout_s": 20.0, "lock_timeout_s": 4.0, "pool_max_size": CALLERS}
    return replace(Settings.from_url(asked, {}), pooler=pooler, **limits)  # type: ignore[arg-type]


_OTHERWISE: Final = (
    "SELECT name, current_setting(name) AS value FROM unnest(:names::text[], :wanted::text[]) AS w (name, value)"
    " WHERE current_setting(name) <> w.value"
)


def _settings_in(db: Database, number: int) -> list[Any]:
    """The settings that differ from those that were asked for, in a transaction of one of several kinds."""
    asked = {"names": list(ASKED), "wanted": list(ASKED.values())}
    match number % 4:
        case 0:
            return list(db.execute(_OTHERWISE, asked).rows)
        case 1:
            with db.transaction(read_only=True, lock_timeout_s=4) as tx:
                return list(tx.execute(_OTHERWISE, asked).rows)
        case 2:
            with db.transaction(pipeline=True) as tx:
                tx.agents.find_by_id(uuid4())
                return list(tx.execute(_OTHERWISE, asked).rows)
        case _:
            with db.transaction() as tx, tx.transaction() as inner:
                return list(inner.execute(_OTHERWISE, asked).rows)


@pytest.mark.parametrize("pooler", [None, "transaction", "session"])
@pytest.mark.parametrize("ignores_options", [False, True])
@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_every_transaction_has_settings_asked_for(
    odd_role: str, roled: RoledDatabase, mode: str, ignores_options: bool, pooler: Pooler | None
) -> None:
    if (mode, pooler) == ("transaction", "session"):
        pytest.skip("the setting says what is not so")
    sessions = SERVER_SESSIONS if mode == "transaction" else CALLERS
    with (
        pgbouncer([roled.url, odd_role], server_sessions=sessions, mode=mode, ignores_options=ignores_options) as urls,
        Database(_as_asked(urls[1], pooler)) as db,
        ThreadPoolExecutor(CALLERS) as threads,
    ):
        assert list(threads.map(lambda n: _settings_in(db, n), range(8 * CALLERS))) == [[]] * (8 * CALLERS)
        now: Any = db.execute("SELECT now() AS now").rows[0]["now"]
        assert now.utcoffset().total_seconds() == 0


def test_session_that_is_lent_to_two_connections_is_refused(roled: RoledDatabase) -> None:
    """The one wrong setting that takes the limits off; the first connection alone cannot know it."""
    for mode in ("session", "transaction"):
        with pgbouncer([roled.url], server_sessions=3, mode=mode) as (url,):
            settings = replace(_as_asked(url, "session"), pool_max_size=1)
            for _ in range(3):  # one after the other is what a session is for
                with Database(settings) as db:
                    db.users.find_by_id(uuid4())
                    if mode == "session":
                        with Database(settings) as other:
                            other.users.find_by_id(uuid4())
                    else:
                        with pytest.raises(ConfigurationError, match="it is in transaction mode"):
                            Database(settings).open()


def test_sessions_of_other_programs_stay_as_they_were(odd_role: str, roled: RoledDatabase) -> None:
    """All but what the pooler itself keeps for each of its clients."""
    kept = ("DateStyle", "TimeZone", "standard_conforming_strings", "IntervalStyle")
    others = {name: value for name, value in CHANGED_BY_ROLE.items() if name not in kept}
    with pgbouncer([roled.url, odd_role], server_sessions=1) as (_, url), Database(_as_asked(url, None)) as db:
        for number in range(8):
            assert _settings_in(db, number) == []
        with psycopg.connect(url, autocommit=True, prepare_threshold=None) as other:
            changed = other.execute(
                "SELECT name, setting, reset_val FROM pg_settings WHERE name = ANY (%s) AND setting <> reset_val",
                [list(others)],
            )
            assert changed.fetchall() == []


def test_settings_left_by_another_client_change_nothing(roled: RoledDatabase) -> None:
    """A program that shares the server's only session sets what it likes for that."""
    role = roled.name_of("app")
    with pgbouncer([roled.url, roled.url_of("app")], server_sessions=1) as (_, url):
        settings = _as_asked(url, None)
        with Database(settings) as db, psycopg.connect(url, autocommit=True, prepare_threshold=None) as other:
            owner = new_owner(db)
            other.execute("SET search_path = pg_catalog")
            other.execute("SET statement_timeout = 0")
            other.execute("SET bytea_output = escape")
            other.execute("SET extra_float_digits = -15")
            other.execute(f"SET ROLE {roled.name_of('tenant')}".encode())
            for number in range(8):
                assert _settings_in(db, number) == []
            assert db.users.find_by_id(owner.user_id) is not None, f"not as {role}"
            assert db.for_tenant(owner.user_id).users.find_by_id(owner.user_id) is not None
            assert db.for_tenant(uuid4()).users.find_by_id(owner.user_id) is None
            assert db.health().ok


def test_limits_end_statements_in_every_session(service: Settings) -> None:
    with Database(replace(service, statement_timeout_s=0.3)) as db, ThreadPoolExecutor(CALLERS) as threads:

        def sleep(number: int) -> str:
            try:
                if number % 2:
                    db.execute("SELECT pg_sleep(5)")
                with db.transaction(statement_timeout_s=0.2) as tx:
                    tx.execute("SELECT pg_sleep(5)")
            except StatementTimeout:
                return "ended"
            return "slept"

        assert list(threads.map(sleep, range(CALLERS))) == ["ended"] * CALLERS


def test_schema_of_url_is_used(roled: RoledDatabase) -> None:
    with psycopg.connect(roled.url, autocommit=True) as connection:
        connection.execute('CREATE SCHEMA "a cell"')
    try:
        place = make_conninfo(roled.url, options='-csearch_path="a\\ cell"')
        Migrator(place).migrate()
        with pgbouncer([roled.url], server_sessions=SERVER_SESSIONS) as (url,):
            parts = conninfo_to_dict(url)
            through = (
                f"postgresql:///{parts['dbname']}?host={parts['host']}&port={parts['port']}&user={parts['user']}"
                "&schema=a%20cell"
            )
            with Database(through) as db:
                owner = new_owner(db)
                db.trades.deposit(owner.deposit("1"))
                assert [w.wallet_address for w in db.wallets.list_by_agent(owner.agent_id)] == [owner.wallet_address]
            assert one(roled.url, f"SELECT count(*) FROM public.users WHERE id = '{owner.user_id}'") == 0
            assert one(place, "SELECT count(*) FROM users") == 1
    finally:
        with psycopg.connect(roled.url, autocommit=True) as connection:
            connection.execute('DROP SCHEMA "a cell" CASCADE')


def test_option_that_sets_nothing_is_refused(roled: RoledDatabase) -> None:
    with pgbouncer([roled.url], server_sessions=1) as (url,):
        with pytest.raises(ConfigurationError, match="options have one that sets nothing"):
            Database(make_conninfo(url, options="-d 2")).open()
        with pytest.raises(DatabaseError, match="statement_timeout"):
            Database(make_conninfo(url, options="-cstatement_timeout=soon")).open()


def test_direct_connection_is_not_taken_for_a_pooler(roled: RoledDatabase) -> None:
    """Whatever the options ask for."""
    for options in ("", "-d 0", "-cstatement_timeout=1min", "-cstatement_timeout=1.5s", "-clock_timeout=0x10"):
        settings = Settings.from_url(make_conninfo(roled.url, options=options), {})
        with Database(replace(settings, pool_max_size=1)) as db, db.transaction() as tx:
            assert tx._connection.transaction_settings is None, options


def test_call_is_one_round_trip(service: Settings) -> None:
    with Database(replace(service, pool_max_size=1)) as db:
        owner = new_owner(db)
        tenant = db.for_tenant(owner.user_id)

        def transaction(database: Database) -> None:
            with database.transaction(statement_timeout_s=5) as tx:
                tx.users.find_by_id(owner.user_id)

        for operation, expected in (
            (lambda: db.users.find_by_id(owner.user_id), 1),
            (lambda: tenant.users.find_by_id(owner.user_id), 1),
            (lambda: db.trades.deposit(owner.deposit("1")), 1),
            (lambda: transaction(db), 3),  # with BEGIN and COMMIT
            (lambda: transaction(tenant), 3),
        ):
            for _ in range(3):
                operation()
            with round_trips(db) as counted:
                operation()
            assert counted.count == expected


# --- Prepared statements --------------------------------------------------------------------------


def _prepared(db: Database) -> list[Any]:
    return [row["name"] for row in db.execute("SELECT name FROM pg_prepared_statements ORDER BY name").rows]


def test_no_statement_is_prepared_where_pooler_mixes_them_up(service: Settings) -> None:
    assert service.prepare_threshold == 2
    with Database(service) as db, ThreadPoolExecutor(CALLERS) as threads:
        list(threads.map(lambda _: db.users.find_by_id(uuid4()), range(10 * CALLERS)))
        for _ in range(2 * SERVER_SESSIONS):
            assert _prepared(db) == []


@pytest.mark.skipif(not keeps_statements(), reason="PgBouncer 1.22 or newer is needed: TESTS_PGBOUNCER names one")
def test_statements_are_prepared_where_pooler_keeps_them(roled: RoledDatabase) -> None:
    with pgbouncer([roled.url, roled.url_of("app")], server_sessions=SERVER_SESSIONS, kept_statements=50) as (_, url):
        settings = replace(Settings.from_url(url, {}), pool_max_size=CALLERS)
        with Database(settings) as db, ThreadPoolExecutor(CALLERS) as threads:
            owners = [new_owner(db) for _ in range(CALLERS)]
            work = [(db, owner, number) for owner in owners for number in range(DEPOSITS)]
            list(threads.map(lambda each: _deposit(*each), work))
            assert all(name.startswith("PGBOUNCER_") for name in _prepared(db))
            assert _prepared(db) != []
            with psycopg.connect(roled.url, autocommit=True) as connection:
                connection.execute("ALTER TABLE agents ALTER COLUMN name TYPE varchar(254)")
            try:
                agents = threads.map(lambda owner: db.agents.find_by_id(owner.agent_id), owners * 5)
                assert all(agent is not None for agent in agents)
            finally:
                with psycopg.connect(roled.url, autocommit=True) as connection:
                    connection.execute("ALTER TABLE agents ALTER COLUMN name TYPE varchar(255)")


# --- Commands that need a session -----------------------------------------------------------------


@pytest.mark.parametrize("ignores_options", [False, True])
@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_migrator_refuses_pooler_and_names_setting(
    empty_database: str, three: Path, mode: str, ignores_options: bool
) -> None:
    with pgbouncer([empty_database], server_sessions=2, mode=mode, ignores_options=ignores_options) as (url,):
        for place in (url, make_conninfo(url, options="-csearch_path=public")):
            migrator = Migrator(place, three)
            for refused in (migrator.migrate, migrator.status, migrator.rollback):
                with pytest.raises(ConfigurationError, match="pooler answers .*DIRECT_DATABASE_URL"):
                    refused()
    assert tables(empty_database) == []


def test_migrator_works_through_pooler_that_keeps_sessions(
    empty_database: str, three: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connected(empty_database) as connection:
        connection.execute("CREATE SCHEMA cell")
    monkeypatch.setenv("NEXGENT_DB_POOLER", "session")
    with pgbouncer([empty_database], server_sessions=5, mode="session") as (url,):
        place = make_conninfo(url, options="-csearch_path=cell")
        assert Migrator(place, three).migrate() == ["0001_a", "0002_b", "0003_c"]
        assert [each.applied_at is None for each in Migrator(place, three).status()] == [False] * 3
    assert tables(make_conninfo(empty_database, options="-csearch_path=cell")) == ["a", "b", "c"]
    assert tables(empty_database) == []


@pytest.mark.parametrize("command", [["migrate"], ["status"], ["roles", "apply", "--check"], ["plan"]])
def test_command_takes_direct_url(fresh_database_url: str, monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    with pgbouncer([fresh_database_url], server_sessions=2) as (url,):
        monkeypatch.setenv("DATABASE_URL", url)
        refused = RUN.invoke(app, command)
        assert refused.exit_code != 0
        assert "DIRECT_DATABASE_URL" in str(refused.exception)
        monkeypatch.setenv("DIRECT_DATABASE_URL", fresh_database_url)
        done = RUN.invoke(app, command)
        assert "pooler" not in done.output
        assert done.exit_code == (1 if command[0] == "roles" else 0), done.output
