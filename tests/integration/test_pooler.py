"""Behind PgBouncer in transaction mode: no call relies on what another transaction left in the session."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from nexgent_db import AsyncDatabase, Database, Settings
from nexgent_db.models import SOL_MINT
from tests.integration.aio import factories as aio
from tests.integration.sync.factories import Owner, new_owner
from tests.support.servers.pgbouncer import pgbouncer, pgbouncer_program
from tests.support.servers.roles import RoledDatabase

CALLERS = 12
DEPOSITS = 20
SERVER_SESSIONS = 2

pytestmark = pytest.mark.skipif(pgbouncer_program() is None, reason="no PgBouncer: apt-get install pgbouncer")


@pytest.fixture(scope="module")
def pooled(roled: RoledDatabase) -> Iterator[list[Settings]]:
    """The service's and the tenants' databases through one pooler: without prepared statements, limits set per role."""
    with psycopg.connect(roled.url, autocommit=True) as connection:
        for name in ("app", "tenant"):
            role = sql.Identifier(roled.name_of(name))
            connection.execute(sql.SQL("ALTER ROLE {} SET statement_timeout = '30s'").format(role))
            connection.execute(sql.SQL("ALTER ROLE {} SET timezone = 'UTC'").format(role))
    with pgbouncer([roled.url_of(role) for role in ("app", "tenant")], server_sessions=SERVER_SESSIONS) as urls:
        yield [
            replace(Settings.from_url(url, {}), prepare_threshold=None, pool_max_size=CALLERS, pool_timeout_s=30.0)
            for url in urls
        ]


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


def test_settings_of_role_do_not_reach_answers(roled: RoledDatabase) -> None:
    """The pooler drops start-up options, and keeps the settings that the server reports for each client."""
    role = sql.Identifier(roled.name_of("worker"))
    with psycopg.connect(roled.url, autocommit=True) as connection:
        for name, value in {"DateStyle": "German", "TimeZone": "Asia/Tokyo", "IntervalStyle": "sql_standard"}.items():
            setting = sql.SQL("ALTER ROLE {} SET {} = {}").format(role, sql.Identifier(name), sql.Literal(value))
            connection.execute(setting)
    try:
        with pgbouncer([roled.url_of("worker")], server_sessions=SERVER_SESSIONS) as (url,):
            settings = replace(Settings.from_url(url, {}), prepare_threshold=None, pool_max_size=CALLERS)
            with Database(settings) as db, ThreadPoolExecutor(CALLERS) as threads:
                asked = list(threads.map(lambda _: db.transactions.list_by_ids([uuid4()]), range(5 * CALLERS)))
                assert asked == [[]] * (5 * CALLERS)
                with db.transaction() as tx:
                    row = tx._plain_session._connection.execute("SELECT now(), current_setting('DateStyle')").fetchone()
                assert row is not None
                assert (row[0].utcoffset().total_seconds(), row[1]) == (0, "ISO, MDY")
    finally:
        with psycopg.connect(roled.url, autocommit=True) as connection:
            connection.execute(sql.SQL("ALTER ROLE {} RESET ALL").format(role))
