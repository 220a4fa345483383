"""What the cache costs a trade, what it spares a reader, and how often Redis is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from statistics import quantiles
from uuid import UUID, uuid4

from psycopg.conninfo import make_conninfo

from nexgent_db import AsyncDatabase, Database
from nexgent_db.aio.trades import Trades
from nexgent_db.models import SOL_MINT, BuyOrder, TokenPrice
from nexgent_db.settings import Settings
from tests.benchmarks.result import Result, interleaved, medians
from tests.integration.sync.factories import Owner, new_owner
from tests.support.faulty_proxy import FaultyProxy, faulty_proxy
from tests.support.valkey_server import ValkeyServer, valkey_server

_CONNECTIONS = 6
_ROUNDS = 9
_BUYS = 60
_POSITIONS = 20
_PAIRS = 600


def run(url: str) -> Iterator[Result]:
    """Buys with a cache, without, and with a dead one; twenty positions of an agent; round trips."""
    with valkey_server() as server:
        yield _buys(url, server)
        yield _async_buys(url, server)
        yield _buys_without_redis(url)
        yield from _reads(url, server)
        yield _warm(url, server)
        with faulty_proxy(server.socket) as proxy:
            yield from _trips(url, proxy)


def _cached(url: str, redis_url: str) -> Settings:
    return replace(Settings.from_url(url), redis_url=redis_url, cache_prefix=f"{uuid4()}:")


def _funded(db: Database) -> Owner:
    owner = new_owner(db)
    db.trades.deposit(owner.deposit("1000000", SOL_MINT))
    return owner


def _order(owner: Owner) -> BuyOrder:
    return owner.buy(
        "0.1234",
        "1234567.654321",
        f"T{uuid4().hex}",
        transaction_hash=uuid4().hex * 2,
        protocol_fee_sol="0.0001",
        network_fee_sol="0.000005",
        routes=[{"label": "Raydium", "percent": 100}],
        swap_payload={"inAmount": "123400000", "outAmount": "1234567654321", "mode": "ExactIn"},
        stop_loss_percentage="30",
        take_profit_levels=4,
    )


# --- Buys -----------------------------------------------------------------------------------------


def _buys(url: str, server: ValkeyServer) -> Result:
    # Everybody gets new connections, many times: see reads.py.
    taken = []
    for _ in range(_CONNECTIONS):
        with Database(_uncached(url)) as plain, Database(_cached(url, server.url)) as cached:

            def contestant(db: Database) -> Callable[[], object]:
                orders = _orders(_funded(db))
                return lambda: db.trades.buy(next(orders))

            contestants = {"plain": contestant(plain), "cached": contestant(cached)}
            taken.append(interleaved(contestants, rounds=_ROUNDS, calls=_BUYS))
            assert cached.cache.metrics().state == "closed"
    return _beside("buy with the cache, beside without", medians(*taken), at_most=1.25)


def _async_buys(url: str, server: ValkeyServer) -> Result:
    taken = []
    for _ in range(_CONNECTIONS):
        with asyncio.Runner() as runner, Database(_uncached(url)) as db:
            plain, cached = AsyncDatabase(_uncached(url)), AsyncDatabase(_cached(url, server.url))
            runner.run(plain.open())
            runner.run(cached.open())

            def contestant(trades: Trades, db: Database, runner: asyncio.Runner) -> Callable[[], object]:
                orders = _orders(_funded(db))

                async def buys() -> None:
                    for _ in range(_BUYS):
                        await trades.buy(next(orders))

                return lambda: runner.run(buys())  # many at once: to run the loop costs as well

            contestants = {
                "plain": contestant(plain.trades, db, runner),
                "cached": contestant(cached.trades, db, runner),
            }
            taken.append(interleaved(contestants, rounds=_ROUNDS, calls=1, warm_up=1))
            assert cached.cache.metrics().state == "closed"
            runner.run(plain.close())
            runner.run(cached.close())
    times = {name: seconds / _BUYS for name, seconds in medians(*taken).items()}
    return _beside("buy with the cache, beside without; async", times, at_most=1.25)


def _buys_without_redis(url: str) -> Result:
    """What an open breaker costs, probes every half second and all; not what the disk does at times."""
    url = make_conninfo(url, options="-csynchronous_commit=off")
    plain: list[float] = []
    dead: list[float] = []
    for _ in range(_CONNECTIONS):
        with (
            valkey_server() as server,
            Database(_uncached(url)) as absent,
            Database(_cached(url, server.url)) as cached,
        ):

            def contestant(db: Database) -> Callable[[], object]:
                owner = _funded(db)
                orders = iter([_order(owner) for _ in range(_PAIRS + 20)])
                return lambda: db.trades.buy(next(orders))

            contestants = {"plain": contestant(absent), "dead": contestant(cached)}
            server.kill()
            taken = interleaved(contestants, rounds=_PAIRS, calls=1)
            assert cached.cache.metrics().state == "open"
            plain += taken["plain"]
            dead += taken["dead"]
    without, withal = (quantiles(times, n=100)[98] * 1e3 for times in (plain, dead))
    return Result(
        name="p99 of a buy with Redis dead, over that with none",
        ours=withal - without,
        unit="ms",
        at_most=1,
        note=f"{withal:.2f} and {without:.2f} ms",
    )


def _uncached(url: str) -> Settings:
    return replace(Settings.from_url(url), redis_url=None)


def _orders(owner: Owner) -> Iterator[BuyOrder]:
    """Enough of them, made before the time is taken."""
    return iter([_order(owner) for _ in range(_BUYS * (_ROUNDS + 1))])


def _beside(name: str, times: dict[str, float], at_most: float | None = None) -> Result:
    return Result(name=name, ours=times["cached"] * 1e6, unit="µs", baseline=times["plain"] * 1e6, at_most=at_most)


# --- Reads ----------------------------------------------------------------------------------------


def _reads(url: str, server: ValkeyServer) -> Iterator[Result]:
    with Database(_cached(url, server.url)) as db:
        owner = _funded(db)
        for _ in range(_POSITIONS):
            db.trades.buy(_order(owner))
        (position, *_) = db.cache.positions_of_agent(owner.agent_id)
        times = medians(
            interleaved(
                {
                    "cached": lambda: db.cache.positions_of_agent(owner.agent_id),
                    "plain": lambda: db.positions.list_by_agent(owner.agent_id),
                },
                rounds=31,
                calls=50,
            )
        )
        yield _beside(f"{_POSITIONS} positions of an agent by the cache, beside SQL", times)
        times = medians(
            interleaved(
                {
                    "cached": lambda: db.cache.position(position.id),
                    "plain": lambda: db.positions.find_by_id(position.id),
                },
                rounds=31,
                calls=100,
            )
        )
        yield _beside("a position by the cache, beside SQL", times)
        yield _near(db, position.id)


def _near(db: Database, position_id: UUID) -> Result:
    """Most of the rounds: so soon after its opening the server may not tell of changes yet."""
    with Database(replace(db.settings, near_cache_rows=100)) as near:
        times = medians(
            interleaved(
                {
                    "cached": lambda: near.cache.position(position_id),
                    "plain": lambda: db.cache.position(position_id),
                },
                rounds=31,
                calls=100,
            )
        )
        assert near.cache.metrics().near_hits
    return _beside("a position kept in the process, beside the cache", times)


def _warm(url: str, server: ValkeyServer) -> Result:
    """All that the buys have left, into an empty cache."""
    with Database(_cached(url, server.url)) as db:
        warmed = db.cache.warm()
        return Result(name="cache warm", ours=warmed.rows / warmed.seconds, unit="rows/s", note=f"{warmed.rows:,} rows")


# --- Round trips ----------------------------------------------------------------------------------


def _trips(url: str, proxy: FaultyProxy) -> Iterator[Result]:
    """Counted at a proxy: how often something was sent after something had come back."""
    with Database(_cached(url, proxy.url)) as db:
        owner = _funded(db)
        position = db.trades.buy(_order(owner)).position
        assert position is not None
        prices = [
            TokenPrice(
                token_address=f"Token{number}",
                price_sol=Decimal("0.000001234"),
                price_usd=Decimal("0.000201"),
                last_updated=datetime.now(UTC),
            )
            for number in range(100)
        ]
        tokens = [price.token_address for price in prices]

        def block() -> None:
            with db.transaction() as tx:
                for _ in range(5):
                    tx.trades.buy(_order(owner))

        operations: dict[str, tuple[Callable[[], object], int]] = {
            "a buy": (lambda: db.trades.buy(_order(owner)), 1),
            "a block of 5 buys": (block, 1),
            "position": (lambda: db.cache.position(position.id), 1),
            "positions_of_agent": (lambda: db.cache.positions_of_agent(owner.agent_id), 1),
            "positions_of_token": (lambda: db.cache.positions_of_token(position.token_address), 1),
            "balance": (lambda: db.cache.balance(owner.agent_id, owner.wallet_address, SOL_MINT), 1),
            "balances_of_wallet": (lambda: db.cache.balances_of_wallet(owner.agent_id, owner.wallet_address), 1),
            "config": (lambda: db.cache.config(owner.agent_id), 1),
            "trading_flags": (lambda: db.cache.trading_flags(owner.agent_id), 1),
            "active_agents": (lambda: db.cache.active_agents(), 1),
            "set_prices, 100": (lambda: db.cache.set_prices(prices), 1),
            "prices, 100": (lambda: db.cache.prices(tokens), 1),
        }
        for name, (operation, most) in operations.items():
            for _ in range(3):  # what was missed is there then
                operation()
            before = proxy.round_trips
            operation()
            yield Result(name=f"round trips to Redis of {name}", ours=proxy.round_trips - before, unit="", at_most=most)
