"""The cache: what a trade costs while Redis is dead, how fast it is filled, and the round trips to Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from statistics import quantiles
from uuid import uuid4

from psycopg.conninfo import make_conninfo

from nexgent_db import Database
from nexgent_db.models import SOL_MINT, TokenPrice
from nexgent_db.settings import Settings
from tests.benchmarks.race.arena import buy_order
from tests.benchmarks.result import Result, interleaved
from tests.integration.sync.factories import Owner, new_owner
from tests.support.faults.faulty_proxy import FaultyProxy, faulty_proxy
from tests.support.servers.valkey_server import ValkeyServer, valkey_server

_CONNECTIONS = 6
_PAIRS = 600


def run(url: str) -> Iterator[Result]:
    """Buys with a dead cache and without one; filling a cache; round trips."""
    with valkey_server() as server:
        yield _buys_without_redis(url)
        yield _warm(url, server)
        with faulty_proxy(server.socket) as proxy:
            yield from _trips(url, proxy)


def _cached(url: str, redis_url: str) -> Settings:
    return replace(Settings.from_url(url), redis_url=redis_url, cache_prefix=f"{uuid4()}:")


def _funded(db: Database) -> Owner:
    owner = new_owner(db)
    db.trades.deposit(owner.deposit("1000000", SOL_MINT))
    return owner


def _buys_without_redis(url: str) -> Result:
    """The cost of an open breaker, with a probe every half second; without occasional delays of the disk."""
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
                orders = iter([buy_order(owner, f"T{uuid4().hex}") for _ in range(_PAIRS + 20)])
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
        figure=withal - without,
        unit="ms",
        at_most=1,
        note=f"{withal:.2f} and {without:.2f} ms",
    )


def _uncached(url: str) -> Settings:
    return replace(Settings.from_url(url), redis_url=None)


def _warm(url: str, server: ValkeyServer) -> Result:
    """All that the buys have left, into an empty cache."""
    with Database(_cached(url, server.url)) as db:
        warmed = db.cache.admin.warm()
        return Result(
            name="cache warm", figure=warmed.rows / warmed.seconds, unit="rows/s", note=f"{warmed.rows:,} rows"
        )


# --- Round trips ----------------------------------------------------------------------------------


def _trips(url: str, proxy: FaultyProxy) -> Iterator[Result]:
    """Counted at a proxy: how often something was sent after something had come back."""
    with Database(_cached(url, proxy.url)) as db:
        owner = _funded(db)
        position = db.trades.buy(buy_order(owner, f"T{uuid4().hex}")).position
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
                    tx.trades.buy(buy_order(owner, f"T{uuid4().hex}"))

        operations: dict[str, tuple[Callable[[], object], int]] = {
            "a buy": (lambda: db.trades.buy(buy_order(owner, f"T{uuid4().hex}")), 1),
            "a block of 5 buys": (block, 1),
            "position": (lambda: db.cache.position(position.id), 1),
            "positions_of_agent": (lambda: db.cache.positions_of_agent(owner.agent_id), 1),
            "positions_of_token": (lambda: db.cache.positions_of_token(position.token_address), 1),
            "balance": (lambda: db.cache.balance(owner.agent_id, owner.wallet_address, SOL_MINT), 1),
            "balances_of_wallet": (lambda: db.cache.balances_of_wallet(owner.agent_id, owner.wallet_address), 1),
            "config": (lambda: db.cache.config(owner.agent_id), 1),
            "trading_flags": (lambda: db.cache.trading_flags(owner.agent_id), 1),
            "active_agents": (lambda: db.cache.active_agents(), 1),
            "set_prices, 100": (lambda: db.cache.prices.set_many(prices), 1),
            "prices, 100": (lambda: db.cache.prices.get_many(tokens), 1),
        }
        for name, (operation, most) in operations.items():
            for _ in range(3):  # what was missed is there then
                operation()
            before = proxy.round_trips
            operation()
            yield Result(
                name=f"round trips to Redis of {name}", figure=proxy.round_trips - before, unit="", at_most=most
            )
