"""Real processes trade and read while processes and servers are killed: is a trade lost or doubled, or a read stale?

Every trader is a thread here that knows its wallet, and a process there that trades for it (tests/chaos/worker.py).
When the process or the database is killed, the trader repeats the orders that were not answered, under their request
ids, in the next process. Readers in processes of their own pass the versions that were acknowledged. Each disturbance
lasts until every trader has made progress: how much is done does not depend on the speed of the machine.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Final
from uuid import UUID

import psycopg

from nexgent_db import Database
from nexgent_db.settings import Settings
from tests.chaos import worker
from tests.chaos.amounts import Trades
from tests.chaos.child import CHECKOUT, STUCK_S, Child, Found, Target
from tests.chaos.traders import Reader, Trader
from tests.chaos.wallets import Wallet
from tests.integration.sync.factories import Owner, new_owner
from tests.support.builders.trade_ways import KINDS
from tests.support.oracles.state import broken_rules
from tests.support.oracles.trade_oracle import Findings, examine, examine_cache
from tests.support.servers.postgres_server import PostgresServer, postgres_server
from tests.support.servers.valkey_server import ValkeyServer, valkey_server

PREFIX: Final = "chaos:"
READERS: Final = 2
REDIS_FAULTS: Final = ("Redis flushed", "Redis hung", "Redis killed", "Redis full")
_MEANWHILE: Final = 10
"""Orders of every trader, while something is away."""
_LOCAL_ROWS: Final = ("0", "100")
"""Of every second process."""


def disturbances(amounts: Trades, chance: random.Random) -> list[str]:
    """All of them, in any order."""
    faults = [REDIS_FAULTS[number % len(REDIS_FAULTS)] for number in range(amounts.redis_faults)]
    victims = ("trader", "trader", "trader", "reader", "maintenance")
    kills = [f"{victims[number % len(victims)]} killed" for number in range(amounts.kills)]
    stops = ["PostgreSQL stopped at once"] * amounts.stops
    every = [*kills, *["backend terminated"] * amounts.backends, *faults, *stops]
    chance.shuffle(every)
    return every


class Chaos:
    """Traders, readers and a process of maintenance around two servers."""

    def __init__(
        self, database: PostgresServer, valkey: ValkeyServer, seed: int, *, processes: int = 4, deaths: float = 0.01
    ) -> None:
        self.database = database
        self.valkey = valkey
        self.random = random.Random(seed)
        self.counted: Counter[str] = Counter()
        self.findings = Findings()
        self._settings = Settings.from_url(database.url, {})
        self._environment = {
            **os.environ,
            "DATABASE_URL": database.url,
            "REDIS_URL": valkey.url,
            "NEXGENT_DB_CACHE_PREFIX": PREFIX,
            "NEXGENT_DB_POOL_MIN_SIZE": "1",
            "NEXGENT_DB_POOL_TIMEOUT_S": "1",
        }
        with Database(self._settings) as db:
            owners = [new_owner(db) for _ in range(processes - 1)]
            another = db.wallets.create(f"L{UUID(int=self.random.getrandbits(128)).hex}", owners[0].agent_id, "live")
            # Two wallets of one agent: its set is moved by two processes.
            owners.append(Owner(owners[0].user_id, owners[0].agent_id, another.wallet_address))
        self.traders = [
            Trader(
                Wallet(owner, random.Random(f"{seed} wallet {number}"), resets=number < processes - 1),
                self._child(worker.serve, local_rows=_LOCAL_ROWS[number % len(_LOCAL_ROWS)]),
                random.Random(f"{seed} {number}"),
                deaths,
                self.counted,
                self.findings,
            )
            for number, owner in enumerate(owners)
        ]
        self.readers = [self._child(worker.serve) for _ in range(READERS)]
        self.maintenance = self._child(partial(worker.relay, True))
        self._progress = threading.Condition()
        self._over = threading.Event()
        self._failures: list[BaseException] = []

    def _child(self, target: Target, local_rows: str = "0") -> Child:
        return Child({**self._environment, "NEXGENT_DB_LOCAL_CACHE_ROWS": local_rows}, target)

    # --- The course of it ---------------------------------------------------------------------------

    @contextmanager
    def running(self) -> Iterator[None]:
        """All processes work inside the ``with``; every order is answered after it."""
        work = [self._until_over(trader.trade) for trader in self.traders]
        work += [
            self._until_over(Reader(self.traders, child, f"reader {number}").read)
            for number, child in enumerate(self.readers)
        ]
        with ExitStack() as children:
            for child in (*self.readers, self.maintenance, *[trader.child for trader in self.traders]):
                children.callback(child.end)
                child.start()
            for thread in work:
                thread.start()
            try:
                self.get_on()
                yield
            finally:
                self._over.set()
                for thread in work:
                    thread.join(STUCK_S)
        self._raise()

    def run(self, amounts: Trades) -> None:
        """All disturbances, spread over all trades. Raises Found."""
        every = disturbances(amounts, self.random)
        with self.running():
            for number, disturbance in enumerate(every, 1):
                self.disturb(disturbance)
                self._wait_for(lambda number=number: self.trades >= amounts.trades * number // len(every))  # type: ignore[misc]
        self.judge()

    @property
    def trades(self) -> int:
        """How many were executed, without those that were refused."""
        return sum(self.counted[kind] for kind in KINDS)

    def _until_over(self, step: Callable[[], None]) -> threading.Thread:
        def go_on() -> None:
            try:
                while not self._over.is_set():
                    step()
                    with self._progress:
                        self._progress.notify_all()
            except BaseException as error:
                self._failures.append(error)
                with self._progress:
                    self._progress.notify_all()

        return threading.Thread(target=go_on, daemon=True)

    def _raise(self) -> None:
        for failure in self._failures:
            raise failure

    def get_on(self, orders: int = 1) -> None:
        """Wait until every trader has this many more answers. Raises Found when there are none any more."""
        until = [trader.made + orders for trader in self.traders]
        self._wait_for(lambda: all(trader.made >= most for trader, most in zip(self.traders, until, strict=True)))

    def _wait_for(self, reached: Callable[[], bool]) -> None:
        deadline, last = time.monotonic() + STUCK_S, self.trades
        with self._progress:
            while not self._failures and not reached():
                self._progress.wait(1)
                if self.trades > last:
                    deadline, last = time.monotonic() + STUCK_S, self.trades
                if time.monotonic() > deadline:
                    raise Found(f"no trade is acknowledged any more: {dict(self.counted)}")
        self._raise()

    # --- Disturbances -------------------------------------------------------------------------------

    def disturb(self, kind: str) -> None:
        """Cause one disturbance, then wait until every trader makes progress."""
        kinds = {
            "trader killed": lambda: self._kill([trader.child for trader in self.traders]),
            "reader killed": lambda: self._kill(self.readers),
            "maintenance killed": self._kill_maintenance,
            "backend terminated": self._terminate_a_backend,
            "Redis flushed": self._flush_valkey,
            "Redis hung": self._hang_valkey,
            "Redis killed": self._kill_valkey,
            "Redis full": self._fill_valkey,
            "PostgreSQL stopped at once": self._stop_postgres,
        }
        kinds[kind]()
        self.counted[kind] += 1
        self.get_on()

    def _kill(self, children: list[Child]) -> None:
        while not self.random.choice(children).kill():
            time.sleep(0.01)

    def _kill_maintenance(self) -> None:
        self.maintenance.start()  # it ends by itself when the database is away
        self._kill([self.maintenance])
        self.get_on(_MEANWHILE)
        self.maintenance.start()

    def _terminate_a_backend(self) -> None:
        """One that works, if any does."""
        deadline = time.monotonic() + STUCK_S
        with psycopg.connect(self.database.url, autocommit=True) as psql:
            while not psql.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'nexgent-db'"
                " ORDER BY state = 'active' DESC, random() LIMIT 1"
            ).fetchall():
                if time.monotonic() > deadline:
                    raise Found("no process is connected any more")

    def _flush_valkey(self) -> None:
        with self.valkey.client() as client:
            client.flushall()

    def _hang_valkey(self) -> None:
        with self.valkey.hanging():
            self.get_on(_MEANWHILE)

    def _kill_valkey(self) -> None:
        self.valkey.kill()
        self.get_on(_MEANWHILE)
        self.valkey.start()

    def _fill_valkey(self) -> None:
        with self.valkey.configured("maxmemory", "1"):
            self.get_on(_MEANWHILE)

    def _stop_postgres(self) -> None:
        self.database.stop_at_once()
        self.database.start()

    # --- What came of it ----------------------------------------------------------------------------

    def judge(self) -> None:
        """Raise Found when the database differs from what the traders know, or the cache from the database."""
        with psycopg.connect(self.database.url) as psql:
            examine(psql, [trader.wallet.record for trader in self.traders], self.findings)
        if broken := broken_rules(self.database.url):
            raise Found(f"rules broken: {broken}")
        with Database(self._settings) as db:
            maintenance = self._child(partial(worker.relay, False))
            maintenance.start()
            if maintenance.wait() != 0 or db.cache.maintenance.waiting():
                raise Found("maintenance does not come to its end")
            maintenance.end()
        with self.valkey.client() as client, psycopg.connect(self.database.url) as psql:
            examine_cache(client, psql, PREFIX, self.findings)
            self.counted["keys compared"] = sum(1 for _ in client.scan_iter(f"{PREFIX}*", count=1000))
        if self.findings.counts:
            raise Found("; ".join(self.findings.lines()))
        verified = subprocess.run(
            [sys.executable, "-m", "nexgent_db.cli", "cache", "verify"],
            env=self._environment,
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=False,
        )
        if verified.returncode != 0:
            raise Found(f"cache verify: {verified.stdout}{verified.stderr}")


def run(amounts: Trades, seed: int) -> list[str]:
    """The part of the command line: print the figures, return what was found."""
    with postgres_server() as database, valkey_server() as valkey:
        chaos = Chaos(database, valkey, seed, processes=amounts.processes)
        started = time.monotonic()
        try:
            chaos.run(amounts)
        except Found as error:
            return [str(error)]
        finally:
            figures = ", ".join(f"{name}: {count:,}" for name, count in sorted(chaos.counted.items()))
            print(
                f"{chaos.trades:,} trades in {time.monotonic() - started:.0f} s, {figures}\n{chaos.findings}",
                flush=True,
            )
    return []
