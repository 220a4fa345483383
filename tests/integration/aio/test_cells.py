"""Cells: schemas of one database, served over one pool; no call of one reaches the rows of another."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import pytest_asyncio

from nexgent_db import AsyncDatabase
from nexgent_db.errors import BlockMisuse, InvalidInput, SchemaNotReady
from nexgent_db.migrations import Migrator
from nexgent_db.models import TransactionFilter
from nexgent_db.schema.roles import apply_roles
from nexgent_db.settings import Settings, with_schema
from tests.integration.aio.factories import Owner, balance_of, funded_owner, new_owner
from tests.support.servers.cells import CelledDatabase
from tests.support.servers.roles import RoledDatabase, new_prefix, roles_dropped

ROUNDS = 12
"""More than the five executions after which the server may keep a plan."""


@pytest_asyncio.fixture
async def whole(celled: CelledDatabase) -> AsyncIterator[AsyncDatabase]:
    """The database around the cells, over a single connection: all cells share its prepared statements."""
    async with AsyncDatabase(replace(Settings.from_url(celled.url), pool_max_size=1)) as database:
        yield database


@pytest_asyncio.fixture
async def first(whole: AsyncDatabase, celled: CelledDatabase) -> AsyncDatabase:
    return whole.for_schema(celled.cells[0])


@pytest_asyncio.fixture
async def second(whole: AsyncDatabase, celled: CelledDatabase) -> AsyncDatabase:
    return whole.for_schema(celled.cells[1])


def rows(url: str, query: str) -> list[Any]:
    with psycopg.connect(url) as connection:
        return connection.execute(query.encode()).fetchall()


async def same_owner(db: AsyncDatabase, ids: Owner, email: str) -> Owner:
    """An owner with these ids: every cell may have one."""
    user = await db.users.create(email, user_id=ids.user_id)
    agent = await db.agents.create(user.id, "tester", agent_id=ids.agent_id)
    wallet = await db.wallets.create(ids.wallet_address, agent.id, "simulation")
    return Owner(user.id, agent.id, wallet.wallet_address)


# --- Rows -----------------------------------------------------------------------------------------


async def test_fifty_cells_with_equal_ids_keep_their_rows_apart(whole: AsyncDatabase, celled: CelledDatabase) -> None:
    """One connection, interleaved, until every statement is prepared: queries, trades, filters on an enum."""
    ids = Owner(uuid4(), uuid4(), f"W{uuid4().hex}")
    deposited: dict[str, int] = {}
    for cell in celled.cells:
        await same_owner(whole.for_schema(cell), ids, f"{cell}@{ids.wallet_address}.example.org")
        deposited[cell] = 0
    assert len(deposited) == 50
    order = random.Random(17)
    for _ in range(ROUNDS):
        for cell in order.sample(celled.cells, len(celled.cells)):
            db = whole.for_schema(cell)
            amount = int(cell.removeprefix("cell_"))
            await db.trades.deposit(ids.deposit(str(amount)))
            deposited[cell] += amount
            user = await db.users.find_by_id(ids.user_id)
            assert user is not None
            assert user.email.startswith(f"{cell}@")
            assert await balance_of(db, ids) == deposited[cell]
    for cell in celled.cells:
        db = whole.for_schema(cell)
        deposits = await db.transactions.list_by_agent(
            ids.agent_id, TransactionFilter(transaction_type="DEPOSIT"), limit=100
        )
        assert [each.input_amount for each in deposits] == [Decimal(cell.removeprefix("cell_"))] * ROUNDS
        assert rows(
            celled.url, f"SELECT count(*) FROM {cell}.agent_transactions WHERE agent_id = '{ids.agent_id}'"
        ) == [(ROUNDS,)]
    assert await whole.users.find_by_id(ids.user_id) is None
    assert rows(celled.url, f"SELECT count(*) FROM public.agents WHERE id = '{ids.agent_id}'") == [(0,)]


async def test_statement_is_prepared_once_for_each_cell(first: AsyncDatabase, second: AsyncDatabase) -> None:
    for _ in range(ROUNDS):
        for db in (first, second):
            await db.users.find_by_id(uuid4())
            await db.transactions.list_by_agent(uuid4(), TransactionFilter(transaction_type="SWAP"), limit=1)
    async with first.transaction() as tx:
        found = await tx.execute(
            "SELECT statement, count(*) AS prepared, min(generic_plans + custom_plans) AS used"
            " FROM pg_prepared_statements WHERE statement LIKE '%users.find_by_id%'"
            " OR statement LIKE '%transactions.list_by_agent%' GROUP BY statement"
        )
    assert [row["prepared"] for row in found.rows] == [2, 2]
    assert all(isinstance(row["used"], int) and row["used"] >= 5 for row in found.rows), found.rows


async def test_transactions_savepoints_streams_and_batches_stay_in_their_cell(
    whole: AsyncDatabase, first: AsyncDatabase, second: AsyncDatabase
) -> None:
    owner = await funded_owner(first)
    async with first.transaction() as tx:
        await tx.trades.deposit(owner.deposit("1"))
        async with tx.transaction() as inner:
            await inner.trades.deposit(owner.deposit("1"))
    async with first.transaction(pipeline=True) as tx:
        await tx.trades.deposit(owner.deposit("1"))
    results = await first.trades.execute_many([owner.deposit("1"), owner.deposit("1")])
    assert len(results) == 2
    streamed = [each async for each in first.transactions.stream_by_agent(owner.agent_id)]
    assert len(streamed) == 6
    assert await balance_of(first, owner) == 105
    for other in (whole, second):
        assert await other.agents.find_by_id(owner.agent_id) is None
        assert [each async for each in other.transactions.stream_by_agent(owner.agent_id)] == []


async def test_failed_call_leaves_connection_in_its_own_schema(whole: AsyncDatabase, first: AsyncDatabase) -> None:
    outside = await new_owner(whole)
    owner = await new_owner(first)
    for _ in range(3):
        with pytest.raises(Exception, match="does not exist"):
            await first.execute("SELECT 1 FROM there_is_no_such_table")
        with pytest.raises(ZeroDivisionError):
            async with first.transaction() as tx:
                await tx.trades.deposit(owner.deposit("1"))
                raise ZeroDivisionError
        assert await whole.users.find_by_id(outside.user_id) is not None
        assert await first.users.find_by_id(outside.user_id) is None
    assert await balance_of(first, owner) == 0


async def test_url_of_cell_and_for_schema_serve_the_same_rows(celled: CelledDatabase, first: AsyncDatabase) -> None:
    owner = await funded_owner(first)
    async with AsyncDatabase(with_schema(celled.url, celled.cells[0])) as db:
        assert await balance_of(db, owner) == 100
        assert await db.for_schema(celled.cells[1]).users.find_by_id(owner.user_id) is None


async def test_migration_of_one_cell_does_not_disturb_another(celled: CelledDatabase, whole: AsyncDatabase) -> None:
    """A changed result type makes the statements of this cell anew."""
    one, other = whole.for_schema(celled.cells[2]), whole.for_schema(celled.cells[3])
    for _ in range(ROUNDS):
        assert await one.user_cells.find_by_user_id(uuid4()) is None
        assert await other.user_cells.find_by_user_id(uuid4()) is None
    with psycopg.connect(celled.url, autocommit=True) as connection:
        connection.execute(f"ALTER TABLE {celled.cells[2]}.user_cells ALTER cell TYPE text".encode())
    for _ in range(ROUNDS):
        assert await one.user_cells.find_by_user_id(uuid4()) is None
        assert await other.user_cells.find_by_user_id(uuid4()) is None


# --- Tenants and roles ----------------------------------------------------------------------------


async def test_tenant_of_cell_sees_own_rows_of_this_cell_only(celled: CelledDatabase, server_url: str) -> None:
    prefix = new_prefix()
    with roles_dropped(server_url, prefix):
        roled = RoledDatabase(celled.url, prefix)
        with psycopg.connect(celled.url, autocommit=True) as connection:
            for cell in celled.cells[4:6]:
                connection.execute("SELECT set_config('search_path', %s, false)", [cell])
                apply_roles(connection, prefix)
            connection.execute("RESET search_path")
        roled.apply()
        try:
            async with AsyncDatabase(replace(Settings.from_url(roled.url_of("app")), pool_max_size=1)) as app:
                one, other = (app.for_schema(cell) for cell in celled.cells[4:6])
                ids = Owner(uuid4(), uuid4(), f"W{uuid4().hex}")
                for db in (one, other):
                    await same_owner(db, ids, f"{uuid4()}@example.org")
                stranger = await funded_owner(one)
                mine = one.for_tenant(ids.user_id)
                await mine.assert_tenants()
                for _ in range(ROUNDS):
                    await mine.trades.deposit(ids.deposit("1"))
                    assert await mine.users.find_by_id(stranger.user_id) is None
                    assert await balance_of(other.for_tenant(ids.user_id), ids) == 0
                async with mine.transaction() as tx:
                    assert await tx.users.find_by_id(stranger.user_id) is None
                    assert await tx.users.find_by_id(ids.user_id) is not None
                assert await balance_of(one, ids) == ROUNDS
                assert await balance_of(app.for_tenant(ids.user_id).for_schema(celled.cells[4]), ids) == ROUNDS
                assert (await mine.health()).ok
        finally:
            with psycopg.connect(celled.url, autocommit=True) as connection:
                for role in ("owner", "migrator", "app", "tenant", "worker", "readonly"):
                    name = roled.name_of(role)
                    connection.execute(f"REASSIGN OWNED BY {name} TO CURRENT_USER".encode())
                    connection.execute(f"DROP OWNED BY {name} CASCADE".encode())


# --- Bad input ------------------------------------------------------------------------------------


async def test_missing_cell_is_named(whole: AsyncDatabase) -> None:
    missing = whole.for_schema("cell_99")
    with pytest.raises(SchemaNotReady, match=r"^schema cell_99: users\.find_by_id: .*does not exist"):
        await missing.users.find_by_id(uuid4())
    with pytest.raises(SchemaNotReady, match="there is no schema cell_99: create the cell first"):
        await missing.assert_schema()
    health = await missing.health()
    assert (health.state, health.error) == ("schema not ready", "SchemaNotReady")
    await whole.assert_schema()
    assert (await whole.health()).ok


async def test_half_migrated_and_newer_cells_are_named(celled: CelledDatabase, whole: AsyncDatabase) -> None:
    half, newer = celled.cells[6:8]
    last = Migrator(with_schema(celled.url, half)).rollback(2)[-1]
    with psycopg.connect(celled.url, autocommit=True) as connection:
        connection.execute(
            f"UPDATE {newer}._yoyo_migration SET migration_id = '29991231_next' WHERE migration_id = "
            f"(SELECT max(migration_id) FROM {newer}._yoyo_migration)".encode()
        )
    with pytest.raises(SchemaNotReady, match=f"schema {half}: 2 of .* migrations are missing, from {last} on"):
        await whole.for_schema(half).assert_schema()
    assert (await whole.for_schema(half).health()).state == "schema not ready"
    with pytest.raises(SchemaNotReady, match=f"schema {newer}: the database is newer than this release"):
        await whole.for_schema(newer).assert_schema()
    Migrator(with_schema(celled.url, half)).migrate()
    await whole.for_schema(half).assert_schema()
    assert (await whole.for_schema(half).health()).ok


@pytest.mark.parametrize("name", ["", "$user", "a\0b", "x" * 64, "\ud800"])
async def test_name_that_no_schema_can_have_is_refused(whole: AsyncDatabase, name: str) -> None:
    with pytest.raises(InvalidInput, match="^schema: "):
        whole.for_schema(name)


async def test_odd_names_are_quoted(celled: CelledDatabase, whole: AsyncDatabase) -> None:
    name = 'Zelle "7", public; \''
    with pytest.raises(SchemaNotReady, match="there is no schema"):
        await whole.for_schema(name).assert_schema()
    with pytest.raises(SchemaNotReady):
        async with whole.for_schema(name).transaction() as tx:
            await tx.users.find_by_id(uuid4())


async def test_cell_is_opened_and_closed_with_its_database(celled: CelledDatabase, first: AsyncDatabase) -> None:
    with pytest.raises(BlockMisuse, match="for_schema"):
        await first.open()
    unopened = AsyncDatabase(celled.url)
    cell = unopened.for_schema(celled.cells[0])
    with pytest.raises(BlockMisuse, match="not open"):
        await cell.users.find_by_id(UUID(int=0))
    async with unopened:
        assert await cell.users.find_by_id(UUID(int=0)) is None


# --- The cache ------------------------------------------------------------------------------------


async def test_cells_have_caches_of_their_own(celled: CelledDatabase, redis_url: str) -> None:
    prefix = f"cells{uuid4().hex}:"
    settings = replace(Settings.from_url(celled.url, redis_url=redis_url), cache_prefix=prefix, pool_max_size=2)
    async with AsyncDatabase(settings) as whole:
        one, other = whole.for_schema(celled.cells[8]), whole.for_schema(celled.cells[9])
        assert one is whole.for_schema(celled.cells[8])
        ids = Owner(uuid4(), uuid4(), f"W{uuid4().hex}")
        for db, amount in ((one, "1"), (other, "2"), (whole, "3")):
            await same_owner(db, ids, f"{uuid4()}@example.org")
            await db.trades.deposit(ids.deposit(amount))
            await db.cache.maintenance.run_once()
        for db in (one, other, whole):
            assert db.cache._client is not None
            while not db.cache._client.breaker.may_read:  # noqa: ASYNC110  # no event says so
                await asyncio.sleep(0.02)
        for _ in range(3):
            for db, cached_amount in ((one, 1), (other, 2), (whole, 3)):
                cached = await db.cache.balances_of_wallet(ids.agent_id, ids.wallet_address)
                assert [row.balance for row in cached] == [cached_amount]
        assert [db.cache.metrics().hits > 0 for db in (one, other, whole)] == [True] * 3
        await whole.cache.admin.reset()
        before = other.cache.metrics().hits
        assert [row.balance for row in await other.cache.balances_of_wallet(ids.agent_id, ids.wallet_address)] == [2]
        assert other.cache.metrics().hits == before + 1, "a reset of the database around it emptied the cell's cache"
        assert whole.cache._keys.prefix == prefix
        assert one.cache._keys.prefix == f"{prefix}cell:{celled.cells[8]}:"
    url = with_schema(celled.url, celled.cells[8])
    async with AsyncDatabase(replace(settings, conninfo=url, schema=celled.cells[8])) as alone:
        assert alone.cache._keys.prefix == one.cache._keys.prefix


# --- The directory --------------------------------------------------------------------------------


async def test_directory_sends_users_to_their_cells(db: AsyncDatabase) -> None:
    user_id, cell = uuid4(), f"cell_{uuid4().hex}"
    assert await db.user_cells.find_by_user_id(user_id) is None
    made = await db.user_cells.create(user_id, cell)
    assert (made.user_id, made.cell) == (user_id, cell)
    assert await db.user_cells.create(user_id, "another") == made
    assert await db.user_cells.find_by_user_id(user_id) == made
    assert await db.user_cells.update(user_id, "another", "third") is None
    moved = await db.user_cells.update(user_id, cell, f"{cell}b")
    assert moved is not None
    assert await db.user_cells.list_by_cell(f"{cell}b", 10) == [moved]
    assert await db.user_cells.list_by_cell(f"{cell}b", 10, user_id) == []
    assert (f"{cell}b", 1) in [(each.cell, each.users) for each in await db.user_cells.count_per_cell(9999)]
    assert await db.user_cells.delete(user_id, cell) == 0
    assert await db.user_cells.delete(user_id, f"{cell}b") == 1
    assert await db.user_cells.find_by_user_id(user_id) is None
