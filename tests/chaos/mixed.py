"""A service works for a long time, with cache and maintenance: does anything grow that should not?

Tasks of an AsyncDatabase and threads of a Database in one process trade in every way, read through the cache, list and
stream; maintenance runs as a task. Every few seconds the process and both servers are measured. What is measured in
the last quarter is compared with the second quarter: the first is for the pools, caches and statements to fill.
"""

from __future__ import annotations

import asyncio
import gc
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import aclosing, closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import median
from typing import Final

import psutil
import psycopg

from nexgent_db import AsyncDatabase, Database
from nexgent_db.embedded import postgres
from nexgent_db.migrations import Migrator
from nexgent_db.models import SOL_MINT
from nexgent_db.settings import Settings
from tests.chaos.amounts import Mixed
from tests.chaos.sending import TOGETHER, Orders, execute, execute_async
from tests.chaos.wallets import Wallet
from tests.integration.sync.factories import new_owner
from tests.support.oracles.state import broken_rules
from tests.support.oracles.trade_oracle import Findings, Record, examine
from tests.support.servers.valkey_server import ValkeyServer, valkey_server

CALLERS: Final = 4
"""Tasks, and as many threads."""
PAUSE_S: Final = 0.02
"""Of every caller after each trade: the load is steady, and the machine has other work."""
POOL: Final = 5
LOCAL_ROWS: Final = 500
SAMPLES: Final = 200
"""At most one in a quarter of a second."""
ROWS: Final = 50
"""Of a stream that has no end of its own while the ledger grows."""
MOST_TOGETHER: Final = 4
MEGABYTE: Final = 1 << 20
STUCK_S: Final = 120.0


@dataclass(frozen=True)
class Limit:
    """How much the last quarter may be above the second: a part of it, and so much besides."""

    part: float
    besides: float


LIMITS: Final = {
    "memory_mb": Limit(0.05, 4),
    "redis_mb": Limit(0.10, 1),
    "sessions": Limit(0, 0),
    "threads": Limit(0, 0),
    "descriptors": Limit(0, 4),
    "outbox": Limit(1, 200),
    "dead_tuples": Limit(1, 1000),
}
"""Of the medians. The outbox and dead tuples rise until they are relayed and vacuumed, once a minute."""


@dataclass
class Samples:
    """What was measured, by its name, in the order of time."""

    series: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in LIMITS})

    def add(self, **values: float) -> None:
        """One measurement of everything."""
        for name, value in values.items():
            self.series[name].append(value)

    def quarters(self, name: str) -> tuple[float, float]:
        """The medians of the second and of the last quarter."""
        values = self.series[name]
        quarter = max(1, len(values) // 4)
        return median(values[quarter : 2 * quarter] or values), median(values[-quarter:])

    def grown(self) -> list[str]:
        """What is not flat."""
        found = []
        for name, limit in LIMITS.items():
            before, after = self.quarters(name)
            if after > before * (1 + limit.part) + limit.besides:
                found.append(f"{name} grew from {before:,.1f} to {after:,.1f}")
        return found

    def __str__(self) -> str:
        return ", ".join(
            f"{name} {before:,.1f} -> {after:,.1f} (at most {max(self.series[name]):,.1f})"
            for name in LIMITS
            for before, after in [self.quarters(name)]
        )


class MixedLoad:
    """The service, its callers, and the measurements."""

    def __init__(self, url: str, valkey: ValkeyServer, seed: int) -> None:
        self._url = url
        self._valkey = valkey
        self._settings = replace(
            Settings.from_url(url, {}, redis_url=valkey.url),
            pool_max_size=POOL,
            local_cache_rows=LOCAL_ROWS,
            cache_prefix="mixed:",
        )
        with Database(url) as setup:
            self._wallets = [
                Wallet(new_owner(setup), random.Random(f"{seed} wallet {number}")) for number in range(2 * CALLERS)
            ]
        for wallet in self._wallets:
            wallet.record = Record(wallet.record.wallet_address, forgets=True)
        self._randoms = [random.Random(f"{seed} {number}") for number in range(2 * CALLERS)]
        self.records = [wallet.record for wallet in self._wallets]
        self.counted: Counter[str] = Counter()
        self.samples = Samples()
        self._over = threading.Event()
        self._failures: list[BaseException] = []

    def run(self, seconds: float) -> None:
        """Work for so long, and measure meanwhile. Raises what ended a caller."""
        threads = [threading.Thread(target=self._guarded, args=(self._run_async,))]
        with Database(self._settings) as db:
            threads += [
                threading.Thread(target=self._guarded, args=(partial(self._work, db, number),))
                for number in range(CALLERS)
            ]
            for thread in threads:
                thread.start()
            try:
                self._measure(seconds)
            finally:
                self._over.set()
                for thread in threads:
                    thread.join(STUCK_S)
        if self._failures:
            raise self._failures[0]

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self._failures.append(error)
            self._over.set()

    def _measure(self, seconds: float) -> None:
        process, pause_s = psutil.Process(), max(0.25, seconds / SAMPLES)
        until = time.monotonic() + seconds
        with psycopg.connect(self._url, autocommit=True) as database, self._valkey.client() as client:
            while time.monotonic() < until and not self._over.wait(pause_s):
                gc.collect()
                sessions, outbox, dead = database.execute(
                    "SELECT (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND application_name = 'nexgent-db'),"
                    " (SELECT count(*) FROM cache_outbox),"
                    " (SELECT sum(n_dead_tup) FROM pg_stat_user_tables)"
                ).fetchone() or (0, 0, 0)
                self.samples.add(
                    memory_mb=process.memory_info().rss / MEGABYTE,
                    redis_mb=client.info("memory")["used_memory"] / MEGABYTE,
                    sessions=sessions,
                    threads=process.num_threads(),
                    descriptors=process.num_fds(),
                    outbox=outbox,
                    dead_tuples=float(dead or 0),
                )

    # --- Callers ------------------------------------------------------------------------------------

    def _drawn(self, number: int) -> tuple[str, Orders]:
        chance = self._randoms[number]
        how, count = (
            ("single", 1) if chance.random() < 0.7 else (chance.choice(TOGETHER), chance.randint(2, MOST_TOGETHER))
        )
        self.counted["trades"] += count
        return how, [(one.kind, one.order) for one in (self._wallets[number].draw() for _ in range(count))]

    def _work(self, db: Database, number: int) -> None:
        owner, chance = self._wallets[number].owner, self._randoms[number]
        while not self._over.is_set():
            execute(db, *self._drawn(number))
            self.counted["reads"] += 1
            time.sleep(PAUSE_S)
            match chance.randrange(6):
                case 0:
                    db.cache.positions_of_agent(owner.agent_id)
                case 1:
                    db.cache.balance(owner.agent_id, owner.wallet_address, SOL_MINT)
                case 2:
                    db.transactions.page_by_agent(owner.agent_id, limit=20)
                case 3:
                    self._stream(db, number)
                case 4:
                    db.health()
                case _:
                    db.cache.balances_of_wallet(owner.agent_id, owner.wallet_address)

    def _stream(self, db: Database, number: int) -> None:
        with closing(db.transactions.stream_by_agent(self._wallets[number].owner.agent_id)) as rows:  # type: ignore[type-var]
            for place, _ in enumerate(rows):
                if place == ROWS:
                    break

    def _run_async(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        async with AsyncDatabase(self._settings) as db:
            maintenance = asyncio.create_task(db.cache.maintenance.run())
            await asyncio.gather(*(self._work_async(db, number) for number in range(CALLERS, 2 * CALLERS)))
            maintenance.cancel()
            await asyncio.wait({maintenance})

    async def _work_async(self, db: AsyncDatabase, number: int) -> None:
        owner, chance = self._wallets[number].owner, self._randoms[number]
        while not self._over.is_set():
            await execute_async(db, *self._drawn(number))
            self.counted["reads"] += 1
            await asyncio.sleep(PAUSE_S)
            match chance.randrange(6):
                case 0:
                    await db.cache.positions_of_agent(owner.agent_id)
                case 1:
                    await db.cache.balance(owner.agent_id, owner.wallet_address, SOL_MINT)
                case 2:
                    await db.transactions.page_by_agent(owner.agent_id, limit=20)
                case 3:
                    async with aclosing(db.transactions.stream_by_agent(owner.agent_id)) as rows:  # type: ignore[type-var]
                        place = 0
                        async for _ in rows:
                            place += 1
                            if place == ROWS:
                                break
                case 4:
                    await db.health()
                case _:
                    await db.cache.balances_of_wallet(owner.agent_id, owner.wallet_address)


@contextmanager
def mixed_load(seed: int) -> Iterator[tuple[str, MixedLoad]]:
    """Its URL and a load with servers of its own."""
    with postgres() as url, valkey_server() as valkey:
        Migrator(url).migrate()
        yield url, MixedLoad(url, valkey, seed)


def run(amounts: Mixed, seed: int) -> list[str]:
    """The part of the command line: print the figures, return what was found."""
    findings = Findings()
    with mixed_load(seed) as (url, load):
        load.run(60 * amounts.minutes)
        with psycopg.connect(url) as database:
            examine(database, load.records, findings)
        found = [
            *load.samples.grown(),
            *findings.lines(),
            *(f"{name}: {rows}" for name, rows in broken_rules(url).items()),
        ]
    print(f"{load.counted['trades']:,} trades, {load.counted['reads']:,} reads; {load.samples}", flush=True)
    return found
