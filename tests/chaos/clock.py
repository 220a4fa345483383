"""The clock is set back an hour, and forth again: that of PostgreSQL, of Redis, of the service, or of all at once.

Threads trade and read through the cache meanwhile. Each must go on: a call that fails raises a typed error, and every
thread has a success within two seconds. Clocks are shifted by a library before libc (tests/support/faults), so the
service runs in a process of its own: ``python -m tests.chaos.clock`` is that process.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import psycopg

from nexgent_db import Database
from nexgent_db.errors import DatabaseError, NexgentError
from nexgent_db.settings import Settings
from tests.chaos.amounts import Clock
from tests.chaos.child import CHECKOUT
from tests.chaos.sending import execute
from tests.chaos.wallets import Wallet
from tests.chaos.worker import stale_rows
from tests.integration.sync.factories import new_owner
from tests.support.faults.shifted_clock import ShiftedClock, why_no_shifted_clock
from tests.support.oracles.state import broken_rules
from tests.support.oracles.trade_oracle import Findings, examine, examine_cache
from tests.support.servers.postgres_process import PostgresProcess, migrated_cluster
from tests.support.servers.valkey_server import ValkeyServer, valkey_server

CALLERS: Final = 4
FIRST_SUCCESS_S: Final = 2.0
PAUSE_S: Final = 0.5
"""For which a clock stays as it is, after that."""
STATEMENT_TIMEOUT_S: Final = 2.0
LONGEST_S: Final = STATEMENT_TIMEOUT_S + 2.0
_VARIABLE: Final = "NEXGENT_CHAOS_CLOCK"
_PREFIX: Final = "clock:"
_STUCK_S: Final = 60.0
_CLOCKS: Final = ("database", "redis", "service")


class ClockLoad:
    """The threads of the service, and how long their calls take."""

    def __init__(self, url: str, valkey: ValkeyServer, seed: int) -> None:
        self._url = url
        self._valkey = valkey
        self.findings = Findings()
        self.errors: Counter[str] = Counter()
        self.counted: Counter[str] = Counter()
        self.longest_s = 0.0
        self._settings = replace(
            Settings.from_url(url, {}, redis_url=valkey.url),
            pool_max_size=CALLERS + 1,
            statement_timeout_s=STATEMENT_TIMEOUT_S,
            lock_timeout_s=STATEMENT_TIMEOUT_S,
            cache_prefix=_PREFIX,
        )
        with Database(url) as setup:
            self._wallets = [Wallet(new_owner(setup), random.Random(f"{seed} {number}")) for number in range(CALLERS)]
        self._last = [0.0] * CALLERS
        self._over = threading.Event()
        self._failures: list[BaseException] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """The threads work inside the ``with``. Raises what ended one."""
        with Database(self._settings) as db:
            work = [threading.Thread(target=self._work, args=(db, number)) for number in range(CALLERS)]
            work.append(threading.Thread(target=self._maintain, args=(db,)))
            for thread in work:
                thread.start()
            try:
                yield
            finally:
                self._over.set()
                for thread in work:
                    thread.join(_STUCK_S)
            if not self._failures:
                self._judge(db)
        if self._failures:
            raise self._failures[0]

    def _maintain(self, db: Database) -> None:
        while not self._over.wait(0.1):
            with suppress(NexgentError):
                db.cache.maintenance.run_once()

    def first_success_s(self) -> float:
        """How long until every thread has had a success of a call that began after this."""
        started = time.monotonic()
        while min(self._last) < started and not self._failures:
            if time.monotonic() - started > _STUCK_S:
                raise AssertionError(f"no success any more: {self.errors}")
            time.sleep(0.005)
        return time.monotonic() - started

    def _work(self, db: Database, number: int) -> None:
        wallet = self._wallets[number]
        try:
            while not self._over.is_set():
                one = wallet.draw()
                orders = [(one.kind, one.order)]
                while True:
                    started = time.monotonic()
                    try:
                        results = execute(db, "single", orders)
                        break
                    except DatabaseError as error:
                        self.errors[type(error).__name__] += 1
                    finally:
                        self.longest_s = max(self.longest_s, time.monotonic() - started)
                for stale in stale_rows(db, orders, results):
                    self.findings.add("stale read", stale)
                self.counted["trades"] += 1
                self._last[number] = started
        except BaseException as error:
            self._failures.append(error)

    def _judge(self, db: Database) -> None:
        deadline = time.monotonic() + _STUCK_S
        while db.cache.maintenance.waiting() and time.monotonic() < deadline:
            db.cache.maintenance.run_once()
        with psycopg.connect(self._url) as database, self._valkey.client() as client:
            examine(database, [wallet.record for wallet in self._wallets], self.findings)
            examine_cache(client, database, _PREFIX, self.findings)


def _serve(amounts: Clock, seed: int, clocks: dict[str, ShiftedClock], url: str) -> list[str]:
    os.environ |= clocks["redis"].environment
    found = []
    with valkey_server() as valkey:
        load = ClockLoad(url, valkey, seed)
        firsts: list[float] = []
        with load.running():
            load.first_success_s()
            for _ in range(amounts.times):
                for names in (*((one,) for one in _CLOCKS), _CLOCKS):
                    for seconds in (-amounts.seconds, 0):
                        for name in names:
                            clocks[name].shift(seconds)
                        firsts.append(load.first_success_s())
                        time.sleep(PAUSE_S)
                        _ensure_shifted(url, valkey, seconds if len(names) > 1 else None)
        if max(firsts) > FIRST_SUCCESS_S:
            found.append(f"the first success of every thread came {max(firsts):.2f} s after the clock was set")
        if load.longest_s > LONGEST_S:
            found.append(f"a call took {load.longest_s:.2f} s")
        found += [*load.findings.lines(), *(f"{name}: {rows}" for name, rows in broken_rules(url).items())]
        print(
            f"{load.counted['trades']:,} trades, clocks set {len(firsts)} times, errors {dict(load.errors)},"
            f" longest call {load.longest_s:.2f} s,"
            f" first success of every thread at most {max(firsts):.2f} s\n{load.findings}",
            flush=True,
        )
    return found


def _ensure_shifted(url: str, valkey: ValkeyServer, seconds: int | None) -> None:
    """Do all three clocks say so?"""
    if seconds is None:
        return
    machine = float(
        subprocess.run(["date", "+%s"], env={"PATH": os.environ["PATH"]}, capture_output=True, check=True).stdout
    )
    with psycopg.connect(url) as database, valkey.client() as client:
        (epoch,) = database.execute("SELECT extract(epoch FROM clock_timestamp())").fetchone() or (0,)
        times = [float(epoch), float(client.time()[0]), time.time()]
    wrong = [one for one in times if abs(one - machine - seconds) > _STUCK_S]
    assert not wrong, f"the clocks say {times}, {machine} shifted by {seconds} is expected"


def run(amounts: Clock, seed: int) -> list[str]:
    """The part of the command line: print the figures, return what was found."""
    if reason := why_no_shifted_clock():
        print(f"skipped: {reason}", flush=True)
        return []
    with migrated_cluster() as cluster, tempfile.TemporaryDirectory(dir=cluster.root) as name:
        directory = Path(name)
        directory.chmod(0o755)
        clocks = {clock: ShiftedClock(directory, clock) for clock in _CLOCKS}
        server = PostgresProcess(cluster, run_by=clocks["database"].run_by)
        try:
            server.start()
            options = {"amounts": asdict(amounts), "seed": seed, "directory": name, "url": server.unix_url}
            environment = {**os.environ, **clocks["service"].environment, _VARIABLE: json.dumps(options)}
            ended = subprocess.run(
                [sys.executable, "-m", "tests.chaos.clock"], cwd=CHECKOUT, env=environment, check=False
            )
        finally:
            server.remove()
    return [] if ended.returncode == 0 else ["see above"]


def main() -> int:
    """The service's process."""
    options: dict[str, Any] = json.loads(os.environ[_VARIABLE])
    directory = Path(options["directory"])
    clocks = {clock: ShiftedClock(directory, clock) for clock in _CLOCKS}
    found = _serve(Clock(**options["amounts"]), options["seed"], clocks, options["url"])
    for one in found:
        print(f"found: {one}", file=sys.stderr, flush=True)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
