"""Trades: one by one, with the cache, many at once, by several writers, and over a link with a delay."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any, Final
from uuid import uuid4

import psycopg

from nexgent_db import AsyncDatabase, Database
from nexgent_db.models import TradeResult
from nexgent_db.settings import Settings
from tests.benchmarks.race import alchemy, alchemy_trades, drivers, pgbench
from tests.benchmarks.race.arena import Market, buy_order, sell_order, take_profit_order
from tests.benchmarks.race.contest import (
    Contender,
    Items,
    Turn,
    Workload,
    in_tasks,
    in_threads,
    on_a_loop,
    one_by_one,
)
from tests.benchmarks.race.link import DELAY_S, link

_BATCH: Final = 100
_FAR: Final = f"{DELAY_S * 2000:g} ms link"

NAMES: Final = (
    "buy",
    "take-profit",
    "sell",
    "batch of 100 buys",
    "4 writers of one wallet",
    "8 writers of different wallets",
    f"buy, {_FAR}",
)


def workloads(market: Market, redis_url: str | None, around: ExitStack) -> Iterator[Workload]:
    """All workloads that trade."""
    scale = market.scale
    buy = _by_all("buy")
    with_cache = {} if redis_url is None else _cached(redis_url)
    yield Workload(
        name="buy",
        contenders={**buy, **with_cache, **_only_buys()},
        items=market.buys(scale.calls(120)),
        check=market.bought,
    )
    yield Workload(
        name="take-profit",
        contenders=_by_all("take_profit"),
        items=market.sales(take_profit_order, scale.calls(80)),
        check=market.took,
    )
    yield Workload(
        name="sell", contenders=_by_all("sell"), items=market.sales(sell_order, scale.calls(80)), check=market.sold
    )
    yield _batch(market)
    yield Workload(
        name="4 writers of one wallet",
        contenders=_writers(4),
        items=market.buys(scale.calls(120), warm=40),
        check=market.bought,
    )
    yield Workload(
        name="8 writers of different wallets",
        contenders=_writers(8),
        items=market.buys(scale.calls(160), writers=8, warm=80),
        check=market.bought,
    )
    far = around.enter_context(link(market.url))
    yield Workload(
        name=f"buy, {_FAR}",
        contenders={name: contender for name, contender in buy.items() if name != "pgbench"} | _only_buys(),
        items=market.buys(scale.calls(30), url=far, warm=12),
        check=market.bought,
    )


def _by_all(method: str) -> dict[str, Contender]:
    """Those who make all kinds of trades."""

    def ours(db: Any, order: Any) -> Any:
        return getattr(db.trades, method)(order)

    contenders = {
        "ours": one_by_one(drivers.ours(ours)),
        "ours async": on_a_loop(drivers.ours_async(ours)),
        "psycopg": one_by_one(drivers.psycopg_trade),
    }
    if drivers.HAS_ASYNCPG:
        contenders["asyncpg"] = on_a_loop(drivers.asyncpg_trade)
    if alchemy.HAS_SQLALCHEMY:
        contenders["SQLAlchemy ORM"] = one_by_one(alchemy_trades.orm_trade)
    if drivers.HAS_AIOSQL:
        contenders["aiosql"] = one_by_one(drivers.aiosql_trade)
    if (executable := pgbench.program()) is not None:
        contenders["pgbench"] = pgbench.pgbench(executable, lambda trades, order: getattr(trades, method)(order))
    return contenders


def _only_buys() -> dict[str, Contender]:
    return {"SQLAlchemy Core": one_by_one(alchemy_trades.core_buy)} if alchemy.HAS_SQLALCHEMY else {}


def _cached(redis_url: str) -> dict[str, Contender]:
    def settings(url: str) -> Settings:
        return replace(Settings.from_url(url), redis_url=redis_url, cache_prefix=f"{uuid4()}:")

    @contextmanager
    def client(url: str) -> Iterator[Callable[[Any], object]]:
        with Database(settings(url)) as db:
            yield db.trades.buy
            drivers.ensure_undisturbed(db.cache.metrics().openings)

    @asynccontextmanager
    async def async_client(url: str) -> AsyncIterator[Callable[[Any], Awaitable[object]]]:
        async with AsyncDatabase(settings(url)) as db:
            yield db.trades.buy
            drivers.ensure_undisturbed(db.cache.metrics().openings)

    return {"ours, cached": one_by_one(client), "ours async, cached": on_a_loop(async_client)}


def _writers(number: int) -> dict[str, Contender]:
    """The contenders with so many connections at once: threads, or tasks of one loop."""

    def ours(db: Any, order: Any) -> Any:
        return db.trades.buy(order)

    contenders = {
        "ours": in_threads(drivers.ours(ours), number),
        "ours async": in_tasks(drivers.ours_async(ours), number),
        "psycopg": in_threads(drivers.psycopg_trade, number),
    }
    if drivers.HAS_ASYNCPG:
        contenders["asyncpg"] = in_tasks(drivers.asyncpg_trade, number)
    if alchemy.HAS_SQLALCHEMY:
        contenders["SQLAlchemy Core"] = in_threads(alchemy_trades.core_buy, number)
        contenders["SQLAlchemy ORM"] = in_threads(alchemy_trades.orm_trade, number)
    if drivers.HAS_AIOSQL:
        contenders["aiosql"] = in_threads(drivers.aiosql_trade, number)
    return contenders


# --- A hundred at once ----------------------------------------------------------------------------


def _batch(market: Market) -> Workload:
    """Each call makes a hundred buys of one wallet; the first batch is not timed."""
    batches = market.scale.calls(2)

    def items() -> Items:
        owner = market.owner()
        orders = [
            [buy_order(owner, f"T{batch * _BATCH + number}") for number in range(_BATCH)]
            for batch in range(batches + 1)
        ]
        return Items(market.url, orders[:1], orders[1:], [owner])

    def single(db: Any, orders: list[Any]) -> object:
        return [db.trades.buy(order) for order in orders]

    def block(db: Any, orders: list[Any]) -> object:
        with db.transaction() as tx:
            return [tx.trades.buy(order) for order in orders]

    def together(db: Any, orders: list[Any]) -> object:
        results = db.trades.execute_many(orders)
        assert all(isinstance(result, TradeResult) for result in results)
        return results

    contenders = {
        "ours, 100 single buys": one_by_one(drivers.ours(single)),
        "ours, one transaction": one_by_one(drivers.ours(block)),
        "psycopg, one transaction": one_by_one(_psycopg_block),
    }
    if hasattr(market.db.trades, "execute_many"):
        contenders["ours, execute_many"] = one_by_one(drivers.ours(together))

    def check(items: Items, turn: Turn) -> None:
        flat = [order for batch in items.timed for order in batch]
        market.bought(replace(items, warm=items.warm[0], timed=flat), turn)

    return Workload(name="batch of 100 buys", contenders=contenders, items=items, check=check, per=_BATCH, note="a buy")


@contextmanager
def _psycopg_block(url: str) -> Iterator[Callable[[Any], object]]:
    with psycopg.connect(url, autocommit=True) as connection:

        def trade(orders: list[Any]) -> object:
            with connection.transaction():
                return [drivers.psycopg_steps(connection, order) for order in orders]

        yield trade
