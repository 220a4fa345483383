"""A proxy cuts the reply to each COMMIT after the server has committed, and the caller sends again.

Half of the cuts are in calls that raise ConnectionLost, of every kind, alone and several in one transaction; the caller
repeats them as they were. The other half are inside ``run_transaction``, which repeats its function by itself. The
second answer must be the first result: the balances that the order left then, by the caller's own account.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from typing import Any, Final

import psycopg

from nexgent_db import AsyncDatabase, Database
from nexgent_db.embedded import postgres
from nexgent_db.errors import ConnectionLost, TradeRefused
from nexgent_db.migrations import Migrator
from nexgent_db.models.trades import ResetResult
from nexgent_db.settings import Settings
from tests.chaos.amounts import Commits
from tests.chaos.sending import Orders, Result, execute, execute_async
from tests.chaos.wallets import Drawn, Wallet
from tests.integration.sync.factories import new_owner
from tests.support.faults.cutting_proxy import CuttingProxy, cutting_proxy
from tests.support.oracles.state import broken_rules
from tests.support.oracles.trade_oracle import Findings, examine
from tests.support.servers.valkey_server import valkey_server

CALLS: Final = ("single", "single", "single", "transaction", "pipeline", "many")
MOST_TOGETHER: Final = 4
ATTEMPTS: Final = 3
"""So often a caller sends again: the first time must do."""

Send = Callable[[str, Orders], Sequence[Result]]
Left = tuple[Drawn, Mapping[str, Fraction]]
"""An order, and the balances that it leaves."""


class CutCommits:
    """One wallet, one flavour of the database behind one proxy, and its cuts."""

    def __init__(self, db: Database, proxy: CuttingProxy, send: Send, wallet: Wallet, chance: random.Random) -> None:
        self._db = db
        self._proxy = proxy
        self._send = send
        self._wallet = wallet
        self._chance = chance
        self.counted: Counter[str] = Counter()
        self.found: list[str] = []

    def cut(self, how: str) -> None:
        """One call whose COMMIT's reply is lost, and everything that may be asked about it afterwards."""
        drawn: list[Left] = []
        for _ in range(1 if how == "single" else self._chance.randint(1, MOST_TOGETHER)):
            one = self._wallet.draw()
            drawn.append((one, dict(self._wallet.record.balances)))
        orders = [(one.kind, one.order) for one, _ in drawn]
        before = self._proxy.cuts
        self._proxy.cut_next(trade=how == "single")
        results = self._until_answered(how, orders)
        if self._proxy.cuts != before + 1:
            self.found.append(f"{how}: {self._proxy.cuts - before} replies were cut, not one")
        self.counted[how] += 1
        self._check(how, drawn, results)
        again = self._send(how, orders)
        if _comparable(again) != _comparable(results):
            self.found.append(f"{how}: sent a third time: {again}, not {results}")

    def _until_answered(self, how: str, orders: Orders) -> Sequence[Result]:
        for attempt in range(ATTEMPTS):
            try:
                results = self._send(how, orders)
            except ConnectionLost as lost:
                if how == "run_transaction":
                    self.found.append(f"run_transaction raised {lost}")
                self.counted["ConnectionLost"] += 1
            else:
                if attempt != (0 if how == "run_transaction" else 1):
                    self.found.append(f"{how} was answered at attempt {attempt + 1}")
                return results
        raise AssertionError(f"{how}: no answer to {orders}")

    def _check(self, how: str, drawn: Sequence[Left], results: Sequence[Result]) -> None:
        for (one, left), result in zip(drawn, results, strict=True):
            if isinstance(result, TradeRefused) or one.intent.refused:
                if not (isinstance(result, TradeRefused) and one.intent.refused):
                    self.found.append(f"{how}: {one.intent} was answered with {result}")
                continue
            self.counted["orders"] += 1
            wrong = [row for row in result.balances if Fraction(row.balance) != left[row.token_address]]
            if not result.duplicate or wrong:
                self.found.append(f"{how}: {one.intent} has another first result: {result.duplicate=}, {wrong}")
            if not isinstance(result, ResetResult) and result.transaction.id != one.order.trade_id:
                self.found.append(f"{how}: {one.intent} was answered with transaction {result.transaction.id}")
        self._check_cache(how, drawn[-1][1])

    def _check_cache(self, how: str, balances: Mapping[str, Fraction]) -> None:
        """The caller reads what it wrote, though only the second answer says that it was committed."""
        owner = self._wallet.owner
        for token, expected in balances.items():
            row = self._db.cache.balance(owner.agent_id, owner.wallet_address, token)
            if Fraction(row.balance if row else 0) != expected:
                self.found.append(f"{how}: the cache says {row}, not {float(expected)} {token}")


def _comparable(results: Sequence[Result]) -> list[Any]:
    return [type(one) if isinstance(one, TradeRefused) else one for one in results]


def cut_commits(url: str, redis_url: str, cuts: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Cut so many replies of calls, and as many of run_transaction; a half in each flavour."""
    counted: Counter[str] = Counter()
    found: list[str] = []
    findings = Findings()
    records = []
    for flavour in ("sync", "async"):
        chance = random.Random(f"{seed} {flavour}")
        with cutting_proxy(url, chance) as proxy, Database(url) as setup:
            wallet = Wallet(new_owner(setup), chance)
            settings = replace(
                Settings.from_url(proxy.url, {}, redis_url=redis_url),
                cache_prefix=f"commits-{seed}-{flavour}:",
                pool_min_size=1,
                pool_max_size=2,
            )
            with Database(settings) as db, _sender(flavour, db, settings) as send:
                cut = CutCommits(db, proxy, send, wallet, chance)
                for _ in range(cuts // 2):
                    cut.cut(chance.choice(CALLS))
                    cut.cut("run_transaction")
        counted += cut.counted
        found += cut.found
        records.append(wallet.record)
    with psycopg.connect(url) as database:
        examine(database, records, findings)
    counted["doubled"] = findings.counts["doubled"]
    return counted, [*found[:10], *findings.lines()]


@contextmanager
def _sender(flavour: str, db: Database, settings: Settings) -> Iterator[Send]:
    if flavour == "sync":
        yield lambda how, orders: execute(db, how, orders)
        return
    with asyncio.Runner() as runner:
        async_db = AsyncDatabase(settings)
        runner.run(async_db.open())
        yield lambda how, orders: runner.run(execute_async(async_db, how, orders))
        runner.run(async_db.close())


def run(amounts: Commits, seed: int) -> list[str]:
    """The part of the command line: print the figures, return what was found."""
    started = time.monotonic()
    with postgres() as url, valkey_server() as valkey:
        Migrator(url).migrate()
        counted, found = cut_commits(url, valkey.url, amounts.cuts, seed)
        found += [f"{name}: {rows}" for name, rows in broken_rules(url).items()]
    figures = ", ".join(f"{name}: {count:,}" for name, count in sorted(counted.items()))
    print(f"{figures}, doubled: {counted['doubled']} ({time.monotonic() - started:.0f} s)", flush=True)
    return found
