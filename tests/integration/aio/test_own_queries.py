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
from nexgent_db.aio import Repository, query
from nexgent_db.errors import BlockMisuse, CheckViolation, InvalidInput, QueryBindingError, SqlFileError
from nexgent_db.models import TokenNumber
from nexgent_db.models.base import Limit, Row
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
