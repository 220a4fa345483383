"""``python -m tests.benchmarks.read``: what a read of one row costs the client, layer by layer.

The figure is the client's processor time for each read. The layers take turns on one connection, so a difference
between two of them is what the outer one adds.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from statistics import median
from uuid import UUID

import psycopg
from psycopg import AsyncRawCursor

from nexgent_db import AsyncDatabase, Database
from nexgent_db.aio.repositories.positions import PositionRepository
from nexgent_db.aio.session import execute
from nexgent_db.models import AgentPosition
from nexgent_db.queries.rows import row_maker
from tests.benchmarks.server import durable_server
from tests.integration.sync.factories import funded_owner

Read = Callable[[], Awaitable[object]]


def main() -> None:
    """Print the median of each layer, and what it adds to the one before."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.read", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="rounds of which the median counts (default: 15)")
    parser.add_argument("--reads", type=int, default=500, help="reads in each turn (default: 500)")
    options = parser.parse_args()
    with durable_server() as server, server.new_database() as url:
        with Database(url) as db:
            owner = funded_owner(db)
            position = db.trades.buy(owner.buy("1", "10")).position
            assert position is not None
        costs_us = asyncio.run(_measure(url, position.id, options.rounds, options.reads))
    before = 0.0
    for name, costs in costs_us.items():
        print(f"{name:38}{median(costs):7.1f} us {median(costs) - before:+7.1f}")
        before = median(costs)
    values = tuple(position.__dict__.values())
    make = row_maker(AgentPosition, list(AgentPosition.model_fields), "positions")
    print(f"to make a model of {len(values)} columns: {_each_us(make, values):.2f} us")


async def _measure(url: str, position_id: UUID, rounds: int, reads: int) -> dict[str, list[float]]:
    bound = PositionRepository.queries["find_by_id"]
    text = bound.call((position_id,), {}).text
    async with AsyncDatabase(url) as db, await psycopg.AsyncConnection.connect(url, autocommit=True) as bare:
        lease = db._lease()
        connection = await lease.acquire()

        async def read_bare() -> object:
            return await (await AsyncRawCursor(bare).execute(text, [position_id])).fetchone()

        async def read_pooled() -> object:
            return await (await AsyncRawCursor(connection).execute(text, [position_id])).fetchone()

        async def read_bound() -> object:
            return await execute(connection, bound, bound.call((position_id,), {}))

        async def read_ours() -> object:
            return await db.positions.find_by_id(position_id)

        layers: dict[str, Read] = {
            "psycopg, a connection": read_bare,
            "with limits on every wait": read_pooled,
            "with checked arguments and a model": read_bound,
            "with the pool: db.positions.find_by_id": read_ours,
        }
        costs_us: dict[str, list[float]] = {name: [] for name in layers}
        for number in range(rounds + 1):
            for name, read in layers.items():
                if read is read_ours:  # it takes the connection from the pool
                    lease.release()
                cost_us = await _turn(read, reads)
                if number:  # the first round prepares the statements
                    costs_us[name].append(cost_us)
            lease = db._lease()
            connection = await lease.acquire()
        lease.over = True
        lease.release()
    return costs_us


async def _turn(read: Read, reads: int) -> float:
    before = time.process_time()
    for _ in range(reads):
        await read()
    return (time.process_time() - before) / reads * 1e6


def _each_us(make: Callable[[tuple[object, ...]], object], values: tuple[object, ...], rows: int = 3000) -> float:
    costs = []
    for _ in range(15):
        before = time.process_time()
        kept = [make(values) for _ in range(rows)]
        costs.append((time.process_time() - before) / len(kept) * 1e6)
    return median(costs)


if __name__ == "__main__":
    main()
