"""Threads write on the primary and read through two standbys that are disturbed: is any read older than it may be?

``python -m tests.chaos.replicas [--reads N]`` runs N reads, 100,000 by default, and prints who answered them. Exit
code 1 when one was too old or failed.

Each agent has one writer, which names it 1, 2, 3 … A read of it may show no number below the highest that any thread of
the process has written or read before the read began. Another process, played by a second database object, reads with
the token of the position only, and may show no number below that one's. A call on the primary outside of ``db.replica``
is compared with what was written alone: a standby may show a commit an instant before the primary does.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

import psycopg

from nexgent_db import Database
from nexgent_db.errors import ConnectionLost
from nexgent_db.models.replicas import ReplicaMetrics
from nexgent_db.settings import Settings
from tests.chaos.amounts import Replicas
from tests.support.servers.postgres_server import PostgresServer
from tests.support.servers.standby import applying_late, frozen, promote, replicated

READS: Final = 100_000
WORKERS: Final = 6
READS_PER_WRITE: Final = 10
RECOVERY_S: Final = 10.0
"""A replica that is well again must answer reads within this."""
_PATIENCE_S: Final = 60.0


@dataclass(frozen=True)
class Share:
    """The reads of one phase, and those that the primary answered."""

    phase: str
    reads: int
    by_primary: int

    def __str__(self) -> str:
        return (
            f"{self.phase:32} {self.reads:8,} reads, {100 * self.by_primary / max(1, self.reads):5.1f} % by the primary"
        )


class ReplicaReads:
    """The workers, and what they have seen."""

    def __init__(self, primary: PostgresServer, standbys: tuple[PostgresServer, ...], *, wait_s: float = 0.1) -> None:
        urls = [standby.url for standby in standbys]
        settings = Settings.from_url(primary.url, {}, replica_urls=urls)
        self._settings = replace(settings, pool_max_size=WORKERS + 2, replica_wait_s=wait_s)
        self._standbys = standbys
        self.db = Database(self._settings)
        self.other = Database(self._settings)
        self.violations: list[str] = []
        self.failures: list[BaseException] = []
        self.shares: list[Share] = []
        self.back_s: dict[str, float] = {}
        self.counted: Counter[str] = Counter()
        self._agents: list[UUID] = []
        self._seen: list[int] = []
        self._written: list[int] = []
        self._stop = threading.Event()
        self._lock = threading.Lock()

    @contextmanager
    def running(self) -> Iterator[None]:
        """While the workers write and read."""
        with self.db, self.other:
            user = self.db.users.create(f"{random.randrange(2**62)}@example.org")
            self._agents = [self.db.agents.create(user.id, "0").id for _ in range(WORKERS)]
            self._seen = [0] * WORKERS
            self._written = [0] * WORKERS
            threads = [threading.Thread(target=self._work, args=(number,)) for number in range(WORKERS)]
            for thread in threads:
                thread.start()
            try:
                yield
            finally:
                self._stop.set()
                for thread in threads:
                    thread.join()

    # --- The workers ------------------------------------------------------------------------------

    def _work(self, own: int) -> None:
        chance = random.Random(own)
        written = 0
        try:
            while not self._stop.is_set() and not self.violations:
                written += 1
                self.db.agents.update(self._agents[own], name=str(written))
                self._written[own] = written
                self._saw(own, written)
                for _ in range(READS_PER_WRITE):
                    self._read(chance, own if chance.random() < 0.5 else chance.randrange(WORKERS))
        except BaseException as error:
            self.failures.append(error)
            self._stop.set()

    def _read(self, chance: random.Random, agent: int) -> None:
        least = self._seen[agent]
        kind = chance.random()
        if kind < 0.05:
            least = self._written[agent]
            found = self._number(self.db, agent)
        elif kind < 0.15:
            found = self._number(self.other.reads(at_least=self.db.replica.position), agent)
        elif kind < 0.17:
            found = self._number_in_transaction(agent)
        else:
            found = self._number(self.db.replica, agent)
        with self._lock:
            self.counted["reads"] += 1
        if found < least:
            self.violations.append(
                f"agent {agent} was {found} after {least} ({kind:.2f}, {self.counted['reads']:,} reads)"
            )
        elif kind < 0.05 or kind >= 0.15:  # the other process's reads are not this one's
            self._saw(agent, found)

    def _saw(self, agent: int, number: int) -> None:
        with self._lock:
            self._seen[agent] = max(self._seen[agent], number)

    def _number_in_transaction(self, agent: int) -> int:
        while True:
            try:
                with self.db.replica.transaction() as tx:
                    return self._number(tx, agent)
            except ConnectionLost:  # its replica went away within it: start it again
                self.counted["transactions lost"] += 1

    def _number(self, reader: object, agent: int) -> int:
        found = reader.agents.find_by_id(self._agents[agent])  # type: ignore[attr-defined]
        return -1 if found is None else int(found.agent.name)

    # --- The disturbances -------------------------------------------------------------------------

    def phase(self, name: str, during: Callable[[], None]) -> None:
        """Run ``during`` while the workers go on, and note who has answered the reads meanwhile."""
        before = self._figures()
        during()
        after = self._figures()
        self.shares.append(Share(name, sum(after) - sum(before), after[1] - before[1]))
        self._ensure_well()

    def _figures(self) -> tuple[int, int]:
        metrics = (self.db.replica.metrics(), self.other.replica.metrics())
        return sum(each.replica_reads for each in metrics), sum(each.primary_reads for each in metrics)

    def until(self, reads: int) -> None:
        """Wait for this many reads more."""
        target, deadline = self.counted["reads"] + reads, time.monotonic() + _PATIENCE_S + reads / 20
        while self.counted["reads"] < target and not self._stop.is_set() and not self.violations:
            if time.monotonic() > deadline:
                raise AssertionError(f"{reads:,} reads took longer than {_PATIENCE_S + reads / 20:.0f} s")
            time.sleep(0.01)
        self._ensure_well()

    def _ensure_well(self) -> None:
        assert not self.violations, self.violations
        if self.failures:
            raise self.failures[0]

    def wait_for_state(self, number: int, state: str, within_s: float = RECOVERY_S) -> float:
        """Wait until the database has found a replica in this state; the seconds that it took."""
        started = time.monotonic()
        while self.db.replica.metrics().replicas[number].state != state:
            if time.monotonic() - started > within_s:
                found = self.db.replica.metrics().replicas[number]
                raise AssertionError(f"the replica is {found} after {within_s} s, not {state}")
            time.sleep(0.01)
        return time.monotonic() - started

    def disturb(self, reads: int) -> None:
        """Every disturbance in turn, with ``reads`` reads in each."""
        first, second = self._standbys
        self.phase("undisturbed", lambda: self.until(reads))

        def late() -> None:
            with applying_late(first, 0.3), applying_late(second, 0.3):
                self.until(reads)

        def one_late() -> None:
            with applying_late(first, 60):
                self.until(reads)

        def frozen_server() -> None:
            with frozen(second):
                self.until(reads)

        def killed() -> None:
            first.kill()
            self.until(reads)
            first.start()

        def sessions_ended() -> None:
            for _ in range(5):
                for standby in self._standbys:
                    with psycopg.connect(standby.url, autocommit=True) as connection:
                        connection.execute(
                            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
                        )
                self.until(reads // 5)

        for name, during in (
            ("one applies a minute late", one_late),
            ("both apply 0.3 s late", late),
            ("one frozen (SIGSTOP)", frozen_server),
            ("one killed and restarted", killed),
            ("sessions ended 5 times", sessions_ended),
        ):
            self.phase(name, during)
            ended = time.monotonic()
            for number in range(len(self._standbys)):
                self.wait_for_state(number, "ok")
            self.back_s[name] = time.monotonic() - ended

        def promoted() -> None:
            promote(second)
            with psycopg.connect(second.url, autocommit=True) as connection:
                connection.execute("UPDATE agents SET name = '0'")  # what it shows is another history's from here on
            self.until(reads)

        self.phase("one promoted", promoted)
        self.wait_for_state(1, "promoted")


def read_disturbed(reads: int) -> ReplicaReads:
    """All disturbances with this many reads altogether. Raises AssertionError for a read that was too old."""
    with replicated() as (primary, first, second):
        workers = ReplicaReads(primary, (first, second))
        with workers.running():
            workers.disturb(-(-reads // 7))
            metrics: ReplicaMetrics = workers.db.replica.metrics()
        workers._ensure_well()
        for share in workers.shares:
            back_s = workers.back_s.get(share.phase)
            print(share, "" if back_s is None else f", both answer again after {back_s:.1f} s", sep="")
        print(f"{workers.counted}, {len(workers.violations)} violations; {metrics}", flush=True)
        return workers


def main() -> int:
    """The command. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reads", type=int, default=READS)
    return 0 if holds(parser.parse_args().reads) else 1


def holds(reads: int = READS) -> bool:
    """Run them, and say what was found."""
    try:
        read_disturbed(reads)
    except AssertionError as error:
        print(f"found: {error}", file=sys.stderr)
        return False
    return True


def run(amounts: Replicas, seed: int) -> list[str]:
    """The part of the command line. Nothing here is drawn: the seed changes nothing."""
    return [] if holds(amounts.reads) else ["a read was too old"]


if __name__ == "__main__":
    sys.exit(main())
