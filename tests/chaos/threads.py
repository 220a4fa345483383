"""Threads of one process trade and read through one cache while Redis is disturbed: does each read its own writes?

Each wallet has one trader, so the cache must answer at once with what that trader's trades have returned. A
disturbance begins when the cache is in use, and ends when every trader has made progress.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Final

from nexgent_db import Database
from nexgent_db.models import AgentPosition
from nexgent_db.settings import Settings
from nexgent_db.sync.cache import CacheMetrics
from tests.integration.sync.factories import Owner, new_owner
from tests.support.servers.valkey_server import ValkeyServer

TRADERS: Final = 6
STUCK_S: Final = 120.0
_MEANWHILE: Final = 10
"""Trades of every trader after a disturbance."""


class Lied(AssertionError):
    """The cache returned another state than the acknowledged one."""


class Threads:
    """Traders of a database with a cache; ``local_rows`` for the one in the process."""

    DISTURBANCES: Final = (
        "connections closed",
        "hung for a moment",
        "hung for long",
        "scripts forgotten",
        "emptied",
        "full",
    )

    def __init__(self, url: str, valkey: ValkeyServer, *, seed: int, local_rows: int = 0) -> None:
        settings = replace(Settings.from_url(url), redis_url=valkey.url)
        self._db = Database(replace(settings, pool_max_size=TRADERS + 2, local_cache_rows=local_rows))
        self._valkey = valkey
        self._random = random.Random(seed)  # the same disturbances for the same seed
        self._stop = threading.Event()
        self._trades = [0] * TRADERS
        self._failures: list[BaseException] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """While they trade. Raises Lied, or what ended a trader."""
        with self._db, ExitStack() as stack:
            threads = [threading.Thread(target=self._trade, args=(self._db, number)) for number in range(TRADERS)]
            for thread in threads:
                thread.start()
                stack.callback(thread.join)
            stack.callback(self._stop.set)
            self._wait_until_all_got_on()
            yield
        if self._failures:
            raise self._failures[0]

    def metrics(self) -> CacheMetrics:
        """What the cache did so far."""
        return self._db.cache.metrics()

    def disturb(self, name: str | None = None) -> bool:
        """Do something to Redis, and see that every trader gets on; return whether the breaker opened.

        Raises Lied, or what ended a trader.
        """
        self._wait_until(lambda: self.metrics().state == "closed")
        self._wait_until(self._hits_are_more_than(self.metrics().hits))
        openings = self.metrics().openings
        with self._valkey.client() as client:
            match name or self._random.choice(self.DISTURBANCES):
                case "connections closed":
                    client.client_kill_filter(_type="normal", skipme=True)
                case "hung for a moment":
                    with self._valkey.hanging():
                        time.sleep(self._random.uniform(0, 0.25))
                case "hung for long":
                    with self._valkey.hanging():
                        time.sleep(self._random.uniform(0.25, 0.8))
                case "scripts forgotten":
                    client.script_flush()
                case "emptied":
                    client.flushall()
                case "full":
                    with self._valkey.configured("maxmemory", "1"):
                        self._wait_until_all_got_on()
        self._wait_until_all_got_on()
        return self.metrics().openings > openings

    def _hits_are_more_than(self, hits: int) -> Callable[[], bool]:
        return lambda: self.metrics().hits > hits

    def _wait_until_all_got_on(self) -> None:
        aims = [done + _MEANWHILE for done in self._trades]
        self._wait_until(lambda: all(done >= aim for done, aim in zip(self._trades, aims, strict=True)))

    def _wait_until(self, reached: Callable[[], bool]) -> None:
        until = time.monotonic() + STUCK_S
        while not reached():
            if self._failures:
                raise self._failures[0]
            if time.monotonic() > until:
                raise Lied(f"nothing more happens: {self._trades} trades, {self.metrics()}")
            time.sleep(0.01)

    def _trade(self, db: Database, number: int) -> None:
        chance = random.Random(number)
        try:
            owner = new_owner(db)
            db.trades.deposit(owner.deposit("1000000"))
            position = db.trades.buy(owner.buy("1", "1000")).position
            while not self._stop.is_set():
                assert position is not None
                _compare("position", [db.cache.position(position.id)], position)
                if chance.random() < 0.3:
                    _compare("positions_of_agent", db.cache.positions_of_agent(owner.agent_id), position)
                position = self._increased(db, owner, in_a_block=chance.random() < 0.3)
                self._trades[number] += 1
        except BaseException as error:
            self._failures.append(error)
            raise

    @staticmethod
    def _increased(db: Database, owner: Owner, *, in_a_block: bool) -> AgentPosition | None:
        order = owner.dca_buy("0.001", "500")
        if not in_a_block:
            return db.trades.dca_buy(order).position
        with db.transaction() as tx:
            return tx.trades.dca_buy(order).position


def _compare(read: str, found: Sequence[AgentPosition | None], expected: AgentPosition) -> None:
    if list(found) != [expected]:
        versions = [None if row is None else row.version for row in found]
        raise Lied(f"{read} said versions {versions} after {expected.version} was acknowledged")
