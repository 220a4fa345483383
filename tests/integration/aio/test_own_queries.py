"""A service's own SQL file, bound to a class of its own and run beside the package's repositories."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import pytest_asyncio

from nexgent_db import AsyncDatabase
from nexgent_db.aio import Executed, Repository, query
from nexgent_db.errors import (
    BlockMisuse,
    CheckViolation,
    InvalidInput,
    QueryBindingError,
    SqlFileError,
    UniqueViolation,
)
from nexgent_db.models import TokenNumber
from nexgent_db.models.base import BigInt, Input, Limit, Row
from nexgent_db.models.pages import Page, decode_cursor, make_page_by, one_more_than
from nexgent_db.observe import QueryEvent
from nexgent_db.queries import binding
from nexgent_db.settings import Settings
from tests.integration.aio.factories import Owner, funded_owner

SQL = Path(__file__).parents[1] / "aio" / "price_alerts.sql"
TABLE = """
    CREATE TABLE price_alerts (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        agent_id uuid NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
        price numeric(38, 18) NOT NULL CONSTRAINT price_alerts_price_check CHECK (price > 0)
    )
"""


class PriceAlert(Row):
    """A price that an agent waits for."""

    id: int
    agent_id: UUID
    price: TokenNumber


class AfterAlert(Input):
    """A position in a list of alerts."""

    after_id: BigInt | None = None


class AlertOrder(Input):
    """What an alert is made of."""

    agent_id: UUID
    price: TokenNumber | None = None


class PriceAlerts(Repository, sql=SQL):
    """The alerts of agents."""

    @query
    async def create(self, agent_id: UUID, price: TokenNumber) -> PriceAlert:
        """Create an alert of the agent."""
        ...

    @query
    async def list_by_agent(
        self, agent_id: UUID, from_price: TokenNumber | None = None, limit: Limit | None = None
    ) -> list[PriceAlert]:
        """The agent's alerts, the lowest price first."""
        ...

    @query
    def stream_all(self) -> AsyncIterator[PriceAlert]:
        """All alerts."""
        ...

    @query
    async def list_after(self, agent_id: UUID, after: AfterAlert, limit: Limit) -> list[PriceAlert]:
        """The agent's alerts after another."""
        ...

    async def page_by_agent(self, agent_id: UUID, limit: Limit = 100, cursor: str | None = None) -> Page[PriceAlert]:
        """A page of the agent's alerts."""
        after = decode_cursor(cursor, "price_alerts", AfterAlert)
        rows = await self.list_after(agent_id, after, one_more_than(limit))
        return make_page_by(lambda alert: (str(alert.id),), rows, limit, "price_alerts")

    @query
    async def create_by_order(self, order: AlertOrder) -> PriceAlert:
        """Create the alert of an order."""
        ...

    @query
    async def pause_agent(self, agent_id: UUID) -> int:
        """Turn the simulated trading of the agent off."""
        ...


@pytest_asyncio.fixture
async def db(fresh_database_url: str) -> AsyncIterator[AsyncDatabase]:
    """A database with the service's table."""
    with psycopg.connect(fresh_database_url, autocommit=True) as psql:
        psql.execute(TABLE)
    async with AsyncDatabase(fresh_database_url) as database:
        yield database


@pytest_asyncio.fixture
async def owner(db: AsyncDatabase) -> Owner:
    return await funded_owner(db)


async def test_own_queries_run_beside_the_packages(db: AsyncDatabase, owner: Owner) -> None:
    alerts = db.use(PriceAlerts)
    second = await alerts.create(owner.agent_id, Decimal("0.02"))
    first = await alerts.create(owner.agent_id, Decimal("1e-18"))
    assert first == PriceAlert(id=first.id, agent_id=owner.agent_id, price=Decimal("1e-18"))
    assert await alerts.list_by_agent(owner.agent_id) == [first, second]
    assert await alerts.list_by_agent(owner.agent_id, from_price=Decimal("0.01")) == [second]
    assert [alert async for alert in alerts.stream_all()] == [second, first]


async def test_own_orders_and_pages_work_as_the_packages(db: AsyncDatabase, owner: Owner) -> None:
    alerts = db.use(PriceAlerts)
    orders = [AlertOrder(agent_id=owner.agent_id, price=Decimal(price)) for price in (3, 2)]
    made = [await alerts.create_by_order(order) for order in [*orders, AlertOrder(agent_id=owner.agent_id)]]
    assert [alert.price for alert in made] == [3, 2, 1]
    first = await alerts.page_by_agent(owner.agent_id, limit=2)
    assert first.items == made[:2]
    second = await alerts.page_by_agent(owner.agent_id, limit=2, cursor=first.next)
    assert (second.items, second.next) == (made[2:], None)
    with pytest.raises(InvalidInput, match="cursor: it is a cursor of price_alerts, not of agents"):
        await db.agents.page_all(cursor=first.next)
    with pytest.raises(InvalidInput, match="order: AlertOrder expected, dict given"):
        await alerts.create_by_order({"agent_id": owner.agent_id})  # type: ignore[arg-type]


async def test_own_queries_and_trades_are_one_transaction(db: AsyncDatabase, owner: Owner) -> None:
    with pytest.raises(ZeroDivisionError):
        async with db.transaction() as tx:
            await tx.trades.buy(owner.buy("1", "10"))
            await tx.use(PriceAlerts).create(owner.agent_id, Decimal(2))
            raise ZeroDivisionError
    assert await db.use(PriceAlerts).list_by_agent(owner.agent_id) == []
    async with db.transaction() as tx:
        await tx.trades.buy(owner.buy("1", "10"))
        alerts = tx.use(PriceAlerts)
        await alerts.create(owner.agent_id, Decimal(2))
    assert len(await db.use(PriceAlerts).list_by_agent(owner.agent_id)) == 1
    assert len(await db.positions.list_by_agent(owner.agent_id)) == 1
    with pytest.raises(BlockMisuse):
        await alerts.create(owner.agent_id, Decimal(3))


async def test_own_constraint_and_arguments_raise_typed_errors(db: AsyncDatabase, owner: Owner) -> None:
    alerts = db.use(PriceAlerts)
    with pytest.raises(CheckViolation, match="price_alerts_price_check"):
        await alerts.create(owner.agent_id, Decimal(0))
    for wrong in (0.5, Decimal("1e-19"), Decimal("NaN")):
        with pytest.raises(InvalidInput, match="price"):
            await alerts.create(owner.agent_id, wrong)  # type: ignore[arg-type]
    assert await alerts.list_by_agent(owner.agent_id) == []


async def test_hooks_and_activity_name_own_queries(fresh_database_url: str) -> None:
    events: list[QueryEvent] = []
    with psycopg.connect(fresh_database_url, autocommit=True) as psql:
        psql.execute(TABLE)
        async with AsyncDatabase(fresh_database_url, on_query=events.append) as db:
            owner = await funded_owner(db)
            await db.use(PriceAlerts).create(owner.agent_id, Decimal(2))
            assert events[-1].name == "price_alerts.create"
            found = psql.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '-- name: price_alerts.create%'"
            ).fetchone()
    assert found == (1,)


async def test_cache_follows_own_changes_of_agents(fresh_database_url: str, redis_url: str) -> None:
    settings = replace(Settings.from_url(fresh_database_url), redis_url=redis_url, cache_prefix=f"{uuid4()}:")
    async with AsyncDatabase(settings) as db:
        owner = await funded_owner(db)
        await db.agents.set_automated_trading(owner.agent_id, "simulation", True)
        assert not (await db.cache.trading_flags(owner.agent_id)).paused()
        with psycopg.connect(fresh_database_url, autocommit=True) as psql:
            psql.execute(TABLE)
        assert await db.use(PriceAlerts).pause_agent(owner.agent_id) == 1
        assert (await db.cache.trading_flags(owner.agent_id)).paused()


# --- Statements without a file --------------------------------------------------------------------


async def test_execute_sends_one_statement_here_or_in_the_transaction(db: AsyncDatabase, owner: Owner) -> None:
    insert = "INSERT INTO price_alerts (agent_id, price) VALUES (:agent_id, :price)"
    with pytest.raises(ZeroDivisionError):
        async with db.transaction() as tx:
            assert await tx.execute(insert, {"agent_id": owner.agent_id, "price": Decimal(1)}) == Executed(1)
            raise ZeroDivisionError
    done = await db.execute(f"{insert} RETURNING price, 'it''s' AS text;", {"agent_id": owner.agent_id, "price": 2})
    assert done == Executed(1, [{"price": Decimal(2), "text": "it's"}])
    select = """
        WITH chosen AS (SELECT price FROM price_alerts)
        SELECT price FROM chosen
        WHERE true
            AND price > :above -- if given
    """
    assert (await db.execute(select)).rows == [{"price": Decimal(2)}]
    assert (await db.execute(select, {"above": 2})) == Executed(0)
    assert await db.execute("WITH x AS (SELECT 1) UPDATE price_alerts SET price = 3 WHERE price = 2") == Executed(1)
    assert await db.execute("SET LOCAL lock_timeout = '1s'") == Executed(0)
    async with db.transaction() as tx:
        assert (await tx.execute("SELECT :document::jsonb AS d", {"document": {"a": 1}})).rows == [{"d": {"a": 1}}]
    with pytest.raises(BlockMisuse):
        await tx.execute("SELECT 1")


async def test_execute_refuses_what_it_cannot_send(db: AsyncDatabase) -> None:
    for sql, parameters, problem in (
        ("SELECT 1; SELECT 2", None, "sql: line 1, column 11: a block holds one statement"),
        ("SELECT :a", None, "a: the statement needs a value"),
        ("SELECT 1", {"a": 1}, "a: the statement has no such parameter"),
        ("SELECT :a", {"a": 0.5}, "a: a float rounds"),
        ("SELECT 1 WHERE 1 = %s", {}, "sql: line 1, column 20: %s is psycopg's placeholder"),
        ("", None, "sql: "),
    ):
        with pytest.raises(InvalidInput, match=problem):
            await db.execute(sql, parameters)
    with pytest.raises(InvalidInput, match="name: lower-case letters"):
        await db.execute("SELECT 1", name="My jobs")
    with pytest.raises(UniqueViolation):
        await db.execute("INSERT INTO users (email) VALUES ('a@example.org'), ('a@example.org')")


async def test_execute_is_named_after_its_caller(fresh_database_url: str) -> None:
    events: list[QueryEvent] = []
    async with AsyncDatabase(fresh_database_url, on_query=events.append) as db:
        await db.execute("SELECT 1")
        name = "execute.test_own_queries_test_execute_is_named_after_its_caller"
        assert (events[-1].name, events[-1].rows) == (name, 1)
        with psycopg.connect(fresh_database_url) as psql:
            found = psql.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE %s", [f"-- name: {name} :many%"]
            ).fetchone()
        assert found == (1,)
        await db.execute("SELECT 1", name="count_jobs")
        assert events[-1].name == "execute.count_jobs"


async def test_cache_follows_statements_and_the_connection(fresh_database_url: str, redis_url: str) -> None:
    settings = replace(Settings.from_url(fresh_database_url), redis_url=redis_url, cache_prefix=f"{uuid4()}:")
    async with AsyncDatabase(settings) as db:
        owner = await funded_owner(db)
        for on in (True, False):
            await db.execute(
                'update only public."agents" set automated_trading_simulation = :on where id = :id',
                {"on": on, "id": owner.agent_id},
            )
            assert (await db.cache.trading_flags(owner.agent_id)).paused() is not on
        async with db.transaction() as tx, tx.transaction() as inner:
            await inner.connection.execute("UPDATE agents SET automated_trading_simulation = true")
        assert not (await db.cache.trading_flags(owner.agent_id)).paused()


async def test_connection_copies_in_the_transaction(db: AsyncDatabase, owner: Owner) -> None:
    copy = "COPY price_alerts (agent_id, price) FROM STDIN"
    async with db.transaction() as tx, tx.connection.cursor() as cursor, cursor.copy(copy) as rows:
        for price in ("1", "2"):
            await rows.write_row((owner.agent_id, price))
    assert len(await db.use(PriceAlerts).list_by_agent(owner.agent_id)) == 2
    with pytest.raises(BlockMisuse):
        _ = tx.connection
    with pytest.raises(CheckViolation, match="price_alerts_price_check"):
        async with db.transaction() as tx:
            await tx.connection.execute("UPDATE price_alerts SET price = 0")


# --- Mistakes -------------------------------------------------------------------------------------


def bound(path: Path, method: Any) -> type[Repository]:
    return type("Own", (Repository,), {"find": method}, sql=path)


@binding.query
async def find(self: object, alert_id: int) -> int:
    """The id."""
    raise NotImplementedError


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SqlFileError, match=r"absent\.sql:1:1.*cannot be read"):
        bound(tmp_path / "absent.sql", find)


def test_method_that_differs_is_reported_with_both_places(tmp_path: Path) -> None:
    path = tmp_path / "own_alerts.sql"
    path.write_text("-- Alerts.\n\n-- name: find :one\n-- One.\nSELECT 1 AS one WHERE :other::bigint = 1;\n")
    with pytest.raises(QueryBindingError, match=rf"own_alerts\.sql:3.*{Path(__file__).name}:\d+.*lacks :other"):
        bound(path, find)


def test_name_of_other_file_is_refused(tmp_path: Path) -> None:
    for name in ("trades.sql", "price_alerts.sql"):
        path = tmp_path / name
        path.write_text("-- Alerts.\n\n-- name: find :one\n-- One.\nSELECT :alert_id::bigint AS one;\n")
        with pytest.raises(QueryBindingError, match=rf"{path}:1: .*/{name}: rename the file"):
            bound(path, find)


async def test_class_that_is_no_repository_is_refused(db: AsyncDatabase) -> None:
    for wrong in (dict, "PriceAlerts", None):
        with pytest.raises(InvalidInput, match=r"repository: a subclass of nexgent_db\.\w+\..*Repository expected"):
            db.use(wrong)  # type: ignore[type-var,arg-type]
