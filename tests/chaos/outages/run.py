"""One outage: load, break, repair, wait until all callers succeed, and check the result."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import psycopg

from nexgent_db.settings import Settings
from tests.chaos.outages.journal import READS, WRITES, Journal
from tests.chaos.outages.load import AsyncLoad, Load, SyncLoad
from tests.chaos.outages.rows import Row
from tests.chaos.outages.scenes import Scene
from tests.chaos.outages.verdict import Times, Verdict, compare_with_database, measure
from tests.support.servers.postgres_process import Cluster

STUCK_S: Final = 90.0
"""How long after an outage callers may take to go on before they are given up."""
_LEFT_S: Final = 5.0
"""How long a server may take to notice that a client left."""


@dataclass(frozen=True)
class Options:
    """Of every row.

    ``recovery_slack_s``: what a machine with other work may add to the time to first success. ``callers``: of each
    flavour, besides two monitors; fewer slots than that are in the pool. ``alone``: nothing else in this process opens
    descriptors meanwhile, so they are counted.
    """

    seed: int
    statement_timeout_s: float = 1.0
    recovery_slack_s: float = 0.0
    callers: int = 10
    slots: int = 6
    alone: bool = True

    @classmethod
    def short(cls, seed: int, *, alone: bool = True) -> Options:
        """Those for the short rows."""
        return cls(seed, statement_timeout_s=0.5, recovery_slack_s=0.5, callers=6, slots=4, alone=alone)

    def settings(self, url: str) -> Settings:
        """What services run with."""
        return replace(
            Settings.from_url(url, {}),
            pool_min_size=2,
            pool_max_size=self.slots,
            pool_timeout_s=5.0,
            connect_timeout_s=2,
            statement_timeout_s=self.statement_timeout_s,
            lock_timeout_s=self.statement_timeout_s,
            idle_in_transaction_timeout_s=10.0,
        )


def run_row(row: Row, cluster: Cluster, options: Options) -> list[Verdict]:
    """Both flavours at once in one outage; a verdict for each."""
    with row.scene(cluster) as scene:
        settings = options.settings(scene.url)
        journal = Journal()
        loads: list[Load] = [kind(settings, journal, options.seed, options.callers) for kind in (AsyncLoad, SyncLoad)]
        verdicts = {load.flavour: Verdict(row.name, load.flavour) for load in loads}
        gc.collect()
        descriptors = len(_descriptors())
        with _running(loads):
            times = _disturb(row, scene, journal, loads)
            for load in loads:
                load.stop()
            times = replace(times, judged=time.monotonic())
            for load in loads:
                verdict = verdicts[load.flavour]
                measure(verdict, row, journal, times, options.statement_timeout_s, options.recovery_slack_s)
                _look_at_slots(verdict, load, journal)
                with closing(scene.judge()) as database:
                    compare_with_database(verdict, journal, load.wallets, database)
                    _look_at_sessions(verdict, load, scene, database)
        left = len(_descriptors()) - descriptors
        for load in loads:
            verdict = verdicts[load.flavour]
            verdict.descriptors = left if options.alone else 0
            verdict.require(verdict.descriptors <= 0, f"{left} descriptors are left open")
            verdict.require(_is_gone(load.application_name(), scene), "sessions are left after close()")
    return list(verdicts.values())


@contextmanager
def _running(loads: list[Load]) -> Iterator[None]:
    with ExitStack() as stack:
        for load in loads:
            stack.callback(load.close)
            load.start()
        yield


def _disturb(row: Row, scene: Scene, journal: Journal, loads: list[Load]) -> Times:
    _wait_for_progress(journal, loads, time.monotonic(), READS | WRITES, count=2)
    if row.at_commit:
        for load in loads:
            load.wait_at_commit()
    began = time.monotonic()
    scene.begin()
    broken = time.monotonic()
    try:
        for load in loads:
            load.commit()
        if row.silent:
            for load in loads:
                load.wait_for_a_second()
        for load in loads:
            load.ask_aside()
        time.sleep(max(0.0, row.lasts_s - (time.monotonic() - broken)))
    finally:
        ended = time.monotonic()
        scene.end()
    accepts = _wait_until_it_accepts(scene.url)
    _wait_for_progress(journal, loads, accepts, row.proves_recovery, count=1)
    _wait_for_progress(journal, loads, time.monotonic(), READS | WRITES, count=1)
    time.sleep(max(0.0, accepts + row.first_success_s - time.monotonic()))
    return Times(began, broken, ended, accepts, judged=0)


def _wait_until_it_accepts(url: str) -> float:
    """When a client of another kind can connect and write."""
    until = time.monotonic() + STUCK_S
    while time.monotonic() < until:
        try:
            with psycopg.connect(url, connect_timeout=2) as probe:
                (answer,) = probe.execute("SELECT current_setting('transaction_read_only')").fetchone() or (None,)
            if answer == "off":
                return time.monotonic()
        except psycopg.OperationalError:
            pass
        time.sleep(0.005)
    raise AssertionError("the server does not accept any more")


def _wait_for_progress(journal: Journal, loads: list[Load], since: float, kinds: frozenset[str], count: int) -> None:
    """Until every caller had so many successes of calls begun since then; for STUCK_S, after which it is judged."""
    until = time.monotonic() + STUCK_S
    while time.monotonic() < until:
        if all(_slowest(journal, load, since, kinds) >= count for load in loads):
            return
        for load in loads:
            if load.failure is not None:
                raise load.failure
        time.sleep(0.05)


def _slowest(journal: Journal, load: Load, since: float, kinds: frozenset[str]) -> int:
    done = dict.fromkeys(range(load.callers), 0)
    for call in journal.of(load.flavour, kinds):
        if call.succeeded and call.started >= since:
            done[call.caller] += 1
    return min(done.values())


def _look_at_slots(verdict: Verdict, load: Load, journal: Journal) -> None:
    slots = load.settings.pool_max_size + load.aside.pool_max_size
    held = load.held.total()
    verdict.slots = slots - held
    failed = {f"{call.error}: {call.message}" for call in journal.of(load.flavour, frozenset({"hold"})) if call.error}
    why = sorted(failed - {"TimeoutError: "})  # of those that wait for the others
    verdict.require(verdict.slots == 0, f"only {held} of {slots} transactions can be open at once: {why[:1]}")


def _look_at_sessions(verdict: Verdict, load: Load, scene: Scene, database: psycopg.Connection[Any]) -> None:
    name, slots = load.application_name(), load.settings.pool_max_size + load.aside.pool_max_size
    _eventually(lambda: len(_sessions(database, name)) <= slots)
    states = _sessions(database, name)
    verdict.sessions = max(0, len(states) - slots)
    verdict.require(verdict.sessions == 0, f"{verdict.sessions} sessions more than the pool has slots")
    _eventually(lambda: set(_sessions(database, name)) <= {"idle"})
    busy = [state for state in _sessions(database, name) if state != "idle"]
    verdict.require(not busy, f"sessions are left {busy}")
    if scene.deserted is not None:
        with scene.deserted.connect() as old:
            left = _eventually(lambda: not _sessions(old, name))
            verdict.require(left, f"{len(_sessions(old, name))} sessions are kept with the demoted server")


def _is_gone(name: str, scene: Scene) -> bool:
    with closing(scene.judge()) as database:
        return _eventually(lambda: not _sessions(database, name))


def _sessions(database: psycopg.Connection[Any], name: str) -> list[str]:
    """The states of a service's sessions, of both its pools."""
    rows = database.execute(
        "SELECT state FROM pg_stat_activity WHERE application_name IN (%s, %s)", [name, f"{name}-aside"]
    ).fetchall()
    return [row[0] for row in rows]


def _eventually(holds: Callable[[], bool]) -> bool:
    until = time.monotonic() + _LEFT_S
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def _descriptors() -> list[str]:
    return os.listdir("/proc/self/fd")  # noqa: PTH208
