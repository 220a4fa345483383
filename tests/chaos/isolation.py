"""Mixed trades in repeatable read and serializable transactions under run_transaction: conflicts, but no anomaly.

More threads than wallets read, trade and read again in one transaction. Each transaction checks that its snapshot is
one: that a balance equals its ledger, which another statement reads a moment later, and that rows read twice are the
same. Pairs of wallets have a rule that no single row can hold, a common floor: each withdrawal looks at both first.
Serializable transactions must keep it; in repeatable read the floor may be broken (write skew), and is counted, to
show that the load can break it. Afterwards every wallet is compared with what was answered: a lost update would show.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from decimal import Decimal
from typing import Final, Literal

import psycopg

from nexgent_db import Database, Transaction
from nexgent_db.embedded import postgres
from nexgent_db.errors import InsufficientBalance, NexgentError, TradeRefused, TransactionConflict
from nexgent_db.migrations import Migrator
from nexgent_db.models import SOL_MINT
from nexgent_db.models.trades import TradeResult, WalletOrder
from nexgent_db.settings import Settings
from tests.chaos.amounts import Isolation
from tests.chaos.sending import Result
from tests.chaos.shared_wallet import SharedWallet
from tests.integration.sync.factories import Owner, new_owner
from tests.support.oracles.state import broken_rules
from tests.support.oracles.trade_oracle import Findings, examine, examine_cache
from tests.support.servers.valkey_server import ValkeyServer, valkey_server

Level = Literal["read committed", "repeatable read", "serializable"]
"""The first one is for a test: its snapshots are of single statements, so that every check must fail."""
THREADS: Final = 8
WALLETS: Final = 4
FLOOR: Final = Decimal(10)
"""Of the SOL in a pair of wallets together."""
MOST_TOGETHER: Final = 3
PAUSE_S: Final = 0.002
_LEDGER: Final = """\
SELECT b.balance AS balance, (
    SELECT sum(e.change)
    FROM agent_transactions AS t
    CROSS JOIN LATERAL transaction_effects(
        t.transaction_type, t.input_mint, t.input_amount, t.output_mint, t.output_amount,
        t.protocol_fee_sol, t.network_fee_sol, t.settled_dust
    ) AS e
    WHERE t.wallet_address = b.wallet_address AND e.token_address = b.token_address
) AS entered
FROM agent_balances AS b
WHERE b.wallet_address = :wallet AND b.token_address = :token
"""


class IsolatedThreads:
    """Threads in one isolation level."""

    def __init__(self, url: str, valkey: ValkeyServer, level: Level, seed: int) -> None:
        self._url = url
        self._valkey = valkey
        self._level: Level = level
        self._seed = seed
        self._prefix = f"isolation-{level.replace(' ', '-')}:"
        with Database(url) as db:
            self._wallets = [SharedWallet(new_owner(db)) for _ in range(WALLETS)]
            self._pair = new_owner(db), new_owner(db)
            for owner in self._pair:
                db.trades.deposit(owner.deposit(str(FLOOR)))
        self.counted: Counter[str] = Counter()
        self.conflicts: Counter[str] = Counter()
        self.anomalies: list[str] = []
        self._left = 0
        self._lock = threading.Lock()
        self._failures: list[BaseException] = []

    def run(self, transactions: int) -> list[str]:
        """So many transactions are committed; what was found."""
        self._left = transactions
        settings = replace(
            Settings.from_url(self._url, {}, redis_url=self._valkey.url),
            pool_max_size=THREADS,
            statement_timeout_s=60,
            lock_timeout_s=60,
            cache_prefix=self._prefix,
        )
        with Database(settings) as db, ExitStack() as stack:
            for number in range(THREADS):
                chance = random.Random(f"{self._seed} {self._level} {number}")
                thread = threading.Thread(target=self._work, args=(db, chance))
                thread.start()
                stack.callback(thread.join)
        if self._failures:
            raise self._failures[0]
        return [*self.anomalies[:10], *self._judged(settings)]

    def _judged(self, settings: Settings) -> list[str]:
        findings = Findings()
        with Database(settings) as db, psycopg.connect(self._url) as database, self._valkey.client() as client:
            while db.cache.maintenance.run_once() or db.cache.maintenance.waiting():
                pass
            examine(database, [wallet.record for wallet in self._wallets], findings)
            examine_cache(client, database, self._prefix, findings)
        return [*findings.lines(), *(f"{name}: {rows}" for name, rows in broken_rules(self._url).items())]

    def _work(self, db: Database, chance: random.Random) -> None:
        try:
            while self._claim():
                (self._withdraw_from_pair if chance.random() < 0.3 else self._trade)(db, chance)
        except BaseException as error:
            self._failures.append(error)

    def _claim(self) -> bool:
        with self._lock:
            self._left -= 1
            return self._left >= 0

    def _count(self, name: str) -> None:
        with self._lock:
            self.counted[name] += 1

    def _until_committed(self, db: Database, function: object) -> list[Result]:
        """Any error but a conflict that outlives run_transaction's attempts ends the run."""
        while True:
            try:
                return db.run_transaction(function, isolation=self._level)  # type: ignore[arg-type]
            except TransactionConflict as conflict:
                with self._lock:
                    self.conflicts[type(conflict).__name__] += 1

    # --- Transactions -------------------------------------------------------------------------------

    def _trade(self, db: Database, chance: random.Random) -> None:
        wallet, other = chance.sample(self._wallets, 2)
        drawn: list[tuple[str, WalletOrder, int]] = []
        attempts = 0

        def work(tx: Transaction) -> list[Result]:
            nonlocal attempts
            attempts += 1
            before = self._look(tx, wallet.owner), self._look(tx, other.owner)
            if not drawn:  # the same orders in every attempt
                drawn.extend(wallet.draw(tx, chance) for _ in range(chance.randint(1, MOST_TOGETHER)))
            time.sleep(chance.uniform(0, PAUSE_S))
            if (self._look(tx, wallet.owner), self._look(tx, other.owner)) != before:
                self.anomalies.append(f"rows of {other.owner.wallet_address} changed inside a transaction")
            results = [_result(tx, kind, order) for kind, order, _ in drawn]
            self._look(tx, wallet.owner)
            return results

        results = self._until_committed(db, work)
        self._count("transactions")
        with self._lock:
            self.counted["attempts"] += attempts
        for (kind, order, number), result in zip(drawn, results, strict=True):
            wallet.note(kind, order, number, result)
            self._count("refused" if isinstance(result, TradeRefused) else "trades")
            if isinstance(result, TradeResult) and not result.duplicate:
                self._read_own(db, result)

    def _look(self, tx: Transaction, owner: Owner) -> tuple[object, ...]:
        """The wallet's SOL, by its row and by its ledger."""
        row = tx.balances.find_by_wallet_and_token(owner.wallet_address, SOL_MINT)
        found = tx.execute(_LEDGER, {"wallet": owner.wallet_address, "token": SOL_MINT})
        balance, entered = tuple(found.rows[0].values()) if found.rows else (None, None)
        if (None if row is None else row.balance) != balance or balance != entered:
            self.anomalies.append(f"{owner.wallet_address}: {row}, {balance}, ledger {entered} in one snapshot")
        return row, balance, entered

    def _read_own(self, db: Database, result: TradeResult) -> None:
        """The cache is not older than its writer's answer."""
        for row in result.balances:
            cached = db.cache.balance(row.agent_id, row.wallet_address, row.token_address)
            if cached is None or cached.version < row.version:
                self.anomalies.append(f"stale read: {cached} after {row}")

    def _withdraw_from_pair(self, db: Database, chance: random.Random) -> None:
        owner = chance.choice(self._pair)
        amount = Decimal(chance.randint(1, 5))
        withdrawal, deposit = owner.withdraw(str(amount)), owner.deposit(str(amount))
        broken = False

        def work(tx: Transaction) -> list[Result]:
            nonlocal broken
            rows = [tx.balances.find_by_wallet_and_token(one.wallet_address, SOL_MINT) for one in self._pair]
            left = sum((row.balance for row in rows if row is not None), Decimal(0))
            broken = left < FLOOR
            time.sleep(chance.uniform(0, PAUSE_S))
            if left - amount < FLOOR:
                return [tx.trades.deposit(deposit)]
            try:
                return [tx.trades.withdraw(withdrawal)]
            except InsufficientBalance as refused:
                return [refused]

        self._until_committed(db, work)
        self._count("transactions")
        if broken:
            self._count("floor broken (write skew)")
            if self._level == "serializable":
                self.anomalies.append(f"{self._pair} have less than {FLOOR} together")


def _result(tx: Transaction, kind: str, order: WalletOrder) -> Result:
    try:
        result: Result = getattr(tx.trades, kind)(order)
    except TradeRefused as refused:
        return refused
    return result


def run(amounts: Isolation, seed: int) -> list[str]:
    """The part of the command line: print the figures, return what was found."""
    found: list[str] = []
    levels: tuple[Level, ...] = ("repeatable read", "serializable")
    with postgres() as url, valkey_server() as valkey:
        Migrator(url).migrate()
        for level in levels:
            started = time.monotonic()
            threads = IsolatedThreads(url, valkey, level, seed)
            try:
                found += [f"{level}: {one}" for one in threads.run(amounts.transactions)]
            except NexgentError as error:
                found.append(f"{level}: {type(error).__name__}: {error}")
            figures = ", ".join(f"{name}: {count:,}" for name, count in sorted(threads.counted.items()))
            print(
                f"{level}: {figures}, conflicts after all attempts {dict(threads.conflicts)}, anomalies"
                f" {len(threads.anomalies)} ({time.monotonic() - started:.0f} s)",
                flush=True,
            )
    return found
