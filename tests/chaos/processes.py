"""Real processes trade and read while processes and servers are killed: is a trade lost or doubled, or a read stale?

Every trader is a thread here that knows its wallet, and a process there that trades for it (tests/chaos/worker.py).
When the process or the database is killed, the trader repeats the order that was not acknowledged, under its request
id, in the next process. Readers in processes of their own pass the versions that were acknowledged. Each disturbance
lasts until every trader has made progress: how much is done does not depend on the speed of the machine.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psycopg

from nexgent_db import Database
from nexgent_db.models import SOL_MINT
from nexgent_db.settings import Settings
from tests.integration.sync.factories import Owner, new_owner
from tests.support.oracles.cache_oracle import differences
from tests.support.oracles.state import broken_rules
from tests.support.servers.postgres_server import PostgresServer
from tests.support.servers.valkey_server import ValkeyServer

PREFIX: Final = "chaos:"
TOKENS: Final = ("TokenA", "tokena", "TokenB")
"""The first two share the key of their set."""
TRADERS: Final = 3
READERS: Final = 2
SILENT: Final = 0.2
"""The probability that a process does not notify the cache of an order: until maintenance has relayed it, only a reader
that passes its version sees it."""
STUCK_S: Final = 120.0
_MEANWHILE: Final = 10
"""Orders of every trader, while something is away."""
_CHECKOUT: Final = Path(__file__).resolve().parents[2]


class Found(AssertionError):
    """A trade was lost or doubled, or an answer was wrong."""


class Killed(Exception):
    """The process is gone: it may or may not have executed the request."""


class Child:
    """A process that is restarted when it is needed and was killed."""

    def __init__(self, environment: dict[str, str], *command: str) -> None:
        self._environment = environment
        self._command = command
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self._ended = False

    def start(self) -> subprocess.Popen[str] | None:
        """The running process; None once it is to run no more."""
        with self._lock:
            if self._process is not None and self._process.poll() is not None:
                self._close(self._process)
            if self._process is None and not self._ended:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", *self._command],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                    cwd=_CHECKOUT,
                    env=self._environment,
                )
            return self._process

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Send one request and return the answer. Raises Killed."""
        process = self.start()
        if process is None:
            raise Killed
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            print(json.dumps(question, default=str), file=process.stdin, flush=True)
            line = process.stdout.readline()
        except (OSError, ValueError):
            raise Killed from None
        if not line.endswith("\n"):
            if process.wait(STUCK_S) != -signal.SIGKILL:
                raise Found(f"{self._command} ended by itself, with {process.returncode}: {question}")
            raise Killed
        answer: dict[str, Any] = json.loads(line)
        return answer

    def kill(self) -> None:
        """SIGKILL."""
        with self._lock:
            if self._process is not None:
                self._process.kill()

    def end(self) -> None:
        """Kill it for good."""
        with self._lock:
            self._ended = True
            if self._process is not None:
                self._process.kill()
                self._process.wait(STUCK_S)
                self._close(self._process)

    def _close(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.close()
        with suppress(BrokenPipeError):
            process.stdin.close()
        self._process = None


@dataclass
class Position:
    """An open position, as its trader knows it."""

    id: str
    amount: Decimal
    version: int


@dataclass
class Trader:
    """Decides the next trade of one wallet, and knows its expected result."""

    owner: Owner
    child: Child
    random: random.Random
    deaths: float
    """How probable it is that the process dies between the COMMIT of an order and the cache."""
    counted: Counter[str]
    sol: Decimal = Decimal(0)
    held: dict[str, Position] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)

    def trade(self) -> None:
        """One order, repeated until it is acknowledged. Raises Found."""
        name, order, change = self._next()
        dies, silent = self.random.random() < self.deaths, self.random.random() < SILENT
        token = order.token_address
        before = self.held.get(token)
        if name == "sell":
            self.held.pop(token)  # from now on no reader can be sure of it
        while True:
            self.counted["orders sent"] += 1
            try:
                asked = {"trade": name, "order": order.model_dump(mode="json"), "dies": dies, "silent": silent}
                answer = self.child.ask(asked)
            except Killed:
                self.counted["sent again after a death"] += 1
                dies = False
                continue
            if "failed" not in answer:
                break
            self.counted["sent again after a failure"] += 1
        if answer["wrong"]:
            raise Found(f"{name} {order.request_id}: {answer['wrong']}")
        self.counted["done already when sent again"] += answer["duplicate"]
        self.made.append(str(order.trade_id))
        self.sol += change
        if name in ("buy", "dca_buy", "take_profit"):
            left = Decimal(0) if before is None else before.amount
            left += -order.token_amount if name == "take_profit" else order.token_amount
            self.held[token] = Position(answer["position"], left, answer["version"])

    def _next(self) -> tuple[str, Any, Decimal]:
        token = self.random.choice(TOKENS)
        held = self.held.get(token)
        if self.sol < 10:
            return "deposit", self.owner.deposit("100"), Decimal(100)
        sol = Decimal(self.random.randint(1, 10**9)) / 10**9
        amount = Decimal(self.random.randint(1, 10**12)) / 10**6
        if held is None:
            return "buy", self.owner.buy(str(sol), str(amount), token), -sol
        match self.random.choice(("dca_buy", "take_profit", "sell")):
            case "dca_buy":
                return "dca_buy", self.owner.dca_buy(str(sol), str(amount), token), -sol
            case "take_profit" if (part := round(held.amount / 3, 6)) > 0:
                return "take_profit", self.owner.take_profit(str(part), str(sol), token), sol
        return "sell", self.owner.sell(str(held.amount), str(sol), token), sol


class Chaos:
    """Traders, readers and a process of maintenance around two servers."""

    def __init__(self, database: PostgresServer, valkey: ValkeyServer, seed: int, deaths: float = 0.01) -> None:
        self.database = database
        self.valkey = valkey
        self.random = random.Random(seed)
        self.counted: Counter[str] = Counter()
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
            owners = [new_owner(db) for _ in range(TRADERS - 1)]
            another = db.wallets.create(f"L{UUID(int=self.random.getrandbits(128)).hex}", owners[0].agent_id, "live")
            # Two wallets of one agent: its set is moved by two processes.
            owners.append(Owner(owners[0].user_id, owners[0].agent_id, another.wallet_address))
        self.traders = [
            Trader(owner, self._child("tests.chaos.worker"), random.Random(f"{seed} {number}"), deaths, self.counted)
            for number, owner in enumerate(owners)
        ]
        self.readers = [self._child("tests.chaos.worker") for _ in range(READERS)]
        self.maintenance = self._child("nexgent_db.cli", "cache", "relay", "--follow")
        self._progress = threading.Condition()
        self._over = threading.Event()
        self._failures: list[BaseException] = []

    def _child(self, *command: str) -> Child:
        return Child(self._environment, *command)

    # --- The course of it ---------------------------------------------------------------------------

    @contextmanager
    def running(self) -> Iterator[None]:
        """All processes work inside the ``with``; every order is acknowledged after it."""
        work = [self._until_over(trader.trade) for trader in self.traders]
        work += [self._until_over(self._reading(child, number)) for number, child in enumerate(self.readers)]
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
        """Wait until every trader has this many more acknowledged orders. Raises Found for a fault meanwhile."""
        until = [len(trader.made) + orders for trader in self.traders]
        with self._progress:
            reached = self._progress.wait_for(
                lambda: (
                    bool(self._failures)
                    or all(len(trader.made) >= most for trader, most in zip(self.traders, until, strict=True))
                ),
                STUCK_S,
            )
        self._raise()
        if not reached:
            raise Found(f"no trade is acknowledged any more: {dict(self.counted)}")

    def _reading(self, child: Child, number: int) -> Callable[[], None]:
        chance = random.Random(number)

        def read() -> None:
            trader = chance.choice(self.traders)
            token, held = chance.choice([*list(trader.held.items()), ("", None)])
            if held is None:
                time.sleep(0.001)
                return
            asked = {"position": held.id, "version": held.version, "agent": trader.owner.agent_id, "token": token}
            try:
                answer = child.ask(asked)
            except Killed:
                return
            if "failed" in answer:
                self.counted["reads without the database"] += 1
                return
            self.counted["reads"] += 1
            still = trader.held.get(token)
            closed = still is None or still.id != held.id
            for version in answer["versions"]:
                if version is None and not closed:
                    raise Found(f"position {held.id} is acknowledged and open, and was not found")
                if version is not None and version < held.version:
                    raise Found(f"position {held.id} of version {version} for a reader who passed {held.version}")

        return read

    # --- Disturbances -------------------------------------------------------------------------------

    def disturb(self, kind: str | None = None) -> None:
        """Cause one disturbance, then wait until every trader makes progress."""
        kinds = {
            "trader killed": lambda: self.random.choice(self.traders).child.kill(),
            "reader killed": self._kill_a_reader,
            "maintenance killed": self._kill_maintenance,
            "backends terminated": self._terminate_backends,
            "Valkey killed": self._kill_valkey,
            "Valkey stopped for a while": self._stop_valkey,
            "PostgreSQL killed": self._kill_postgres,
        }
        chosen = kind or self.random.choices(list(kinds), (8, 2, 2, 4, 2, 2, 1))[0]
        self.counted[chosen] += 1
        kinds[chosen]()
        self.get_on()

    def _kill_a_reader(self) -> None:
        self.random.choice(self.readers).kill()

    def _kill_maintenance(self) -> None:
        self.maintenance.kill()
        self.get_on(_MEANWHILE)
        self.maintenance.start()

    def _terminate_backends(self) -> None:
        with psycopg.connect(self.database.url, autocommit=True) as psql:
            psql.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'nexgent-db' AND random() < 0.5"
            )

    def _kill_valkey(self) -> None:
        self.valkey.kill()
        self.get_on(_MEANWHILE)
        self.valkey.start()

    def _stop_valkey(self) -> None:
        with self.valkey.hanging():
            self.get_on(_MEANWHILE)

    def _kill_postgres(self) -> None:
        self.database.kill()
        self.database.start()

    # --- What came of it ----------------------------------------------------------------------------

    def judge(self) -> None:
        """Raise Found when the database differs from the acknowledged trades, or the cache from the database."""
        self._nothing_lost_or_doubled()
        if broken := broken_rules(self.database.url):
            raise Found(f"rules broken: {broken}")
        with Database(self._settings) as db:
            maintenance = self._child("nexgent_db.cli", "cache", "relay")
            process = maintenance.start()
            assert process is not None
            if process.wait(STUCK_S) or db.cache.maintenance.waiting():
                raise Found("maintenance does not come to its end")
            maintenance.end()
        with self.valkey.client() as client, psycopg.connect(self.database.url) as psql:
            if wrong := differences(client, psql, PREFIX):
                raise Found(f"cached otherwise: {wrong}")
            self.counted["keys compared"] = sum(1 for _ in client.scan_iter(f"{PREFIX}*", count=1000))
        verified = subprocess.run(
            [sys.executable, "-m", "nexgent_db.cli", "cache", "verify"],
            env=self._environment,
            cwd=_CHECKOUT,
            capture_output=True,
            text=True,
            check=False,
        )
        if verified.returncode != 0:
            raise Found(f"cache verify: {verified.stdout}{verified.stderr}")

    def _nothing_lost_or_doubled(self) -> None:
        with psycopg.connect(self.database.url) as psql:
            for trader in self.traders:
                wallet = trader.owner.wallet_address
                requests = psql.execute("SELECT id FROM trade_requests WHERE wallet_address = %s", [wallet]).fetchall()
                if sorted(str(row[0]) for row in requests) != sorted(trader.made):
                    raise Found(f"{len(requests)} orders are recorded for {wallet}, {len(trader.made)} were made")
                (entries,) = psql.execute(
                    "SELECT count(*) FROM agent_transactions WHERE wallet_address = %s", [wallet]
                ).fetchone() or (None,)
                if entries != len(trader.made):
                    raise Found(f"{entries} transactions of {wallet}, {len(trader.made)} orders")
                balances: dict[str, Decimal] = dict(
                    psql.execute(
                        "SELECT token_address, balance FROM agent_balances WHERE wallet_address = %s AND balance <> 0",
                        [wallet],
                    ).fetchall()
                )
                expected = {token: held.amount for token, held in trader.held.items()}
                if trader.sol:
                    expected[SOL_MINT] = trader.sol
                if balances != expected:
                    raise Found(f"{wallet} holds {balances}, not {expected}")
            self.counted["orders acknowledged"] = sum(len(trader.made) for trader in self.traders)
