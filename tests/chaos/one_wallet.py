"""Many threads trade with one wallet: is anything minted or lost, and does PostgreSQL find a deadlock?

Most orders are single; some are sent several in one transaction or in one batch, whose locks are held longer.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace

import psycopg

from nexgent_db import Database
from nexgent_db.embedded import postgres
from nexgent_db.errors import NexgentError
from nexgent_db.migrations import Migrator
from nexgent_db.settings import Settings
from tests.chaos.amounts import OneWallet
from tests.chaos.sending import TOGETHER, execute
from tests.chaos.shared_wallet import SharedWallet
from tests.integration.sync.factories import new_owner
from tests.support.oracles.state import broken_rules
from tests.support.oracles.trade_oracle import Findings, examine

SINGLE = 0.85
MOST_TOGETHER = 4


class WalletThreads:
    """The threads of one wallet."""

    def __init__(self, url: str, seed: int, threads: int) -> None:
        self._url = url
        self._seed = seed
        self._threads = threads
        with Database(url) as db:
            self.wallet = SharedWallet(new_owner(db))
        self.findings = Findings()
        self.errors: Counter[str] = Counter()
        self._left = 0
        self._lock = threading.Lock()
        self._failures: list[BaseException] = []

    def run(self, operations: int) -> list[str]:
        """So many orders are answered; what was found."""
        self._left = operations
        deadlocks = count_deadlocks(self._url)
        settings = replace(Settings.from_url(self._url, {}), pool_max_size=self._threads, statement_timeout_s=60)
        settings = replace(settings, lock_timeout_s=60)
        with Database(settings) as db, ExitStack() as stack:
            for number in range(self._threads):
                thread = threading.Thread(target=self._work, args=(db, random.Random(f"{self._seed} {number}")))
                thread.start()
                stack.callback(thread.join)
        if self._failures:
            raise self._failures[0]
        with psycopg.connect(self._url) as database:
            examine(database, [self.wallet.record], self.findings)
        found = [*self.findings.lines(), *(f"{count} times {name}" for name, count in self.errors.items())]
        if more := count_deadlocks(self._url) - deadlocks:
            found.append(f"{more} deadlocks")
        return found + [f"{name}: {rows}" for name, rows in broken_rules(self._url).items()]

    def _claim(self, count: int) -> bool:
        with self._lock:
            self._left -= count
            return self._left + count > 0

    def _work(self, db: Database, chance: random.Random) -> None:
        try:
            while True:
                how, count = "single", 1
                if chance.random() >= SINGLE:
                    how, count = chance.choice(TOGETHER), chance.randint(2, MOST_TOGETHER)
                if not self._claim(count):
                    return
                self._send(db, chance, how, count)
        except BaseException as error:
            self._failures.append(error)

    def _send(self, db: Database, chance: random.Random, how: str, count: int) -> None:
        drawn = [self.wallet.draw(db, chance) for _ in range(count)]
        try:
            results = execute(db, how, [(kind, order) for kind, order, _ in drawn])
        except NexgentError as error:  # nothing may fail here: every lock is waited for
            self.errors[f"{type(error).__name__}: {error}"] += 1
            return
        for (kind, order, number), result in zip(drawn, results, strict=True):
            self.wallet.note(kind, order, number, result)


def count_deadlocks(url: str) -> int:
    """How many PostgreSQL has found in the database, ever."""
    with psycopg.connect(url, autocommit=True) as database:
        time.sleep(1)  # a session reports its statistics at most once a second
        row = database.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").fetchone()
    return 0 if row is None else int(row[0])


def run(amounts: OneWallet, seed: int) -> list[str]:
    """The part of the command line: print the figures, return what was found."""
    with postgres() as url:
        Migrator(url).migrate()
        threads = WalletThreads(url, seed, amounts.threads)
        started = time.monotonic()
        found = threads.run(amounts.operations)
    took_s = time.monotonic() - started
    figures = ", ".join(f"{name}: {count:,}" for name, count in sorted(threads.wallet.counted.items()))
    print(f"{threads.wallet.counted.total():,} operations in {took_s:.0f} s, {figures}\n{threads.findings}", flush=True)
    return found
