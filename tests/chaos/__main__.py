"""``python -m tests.chaos [--minutes N]``: search for stale reads and lost trades. Exit code 1 when it finds one.

First PostgreSQL fails in every way, for six minutes: tests/chaos/outages, alone with ``--only outages``. Then replicas
are disturbed during 100,000 reads: tests/chaos/replicas.py, ``--only replicas``. Then calls are interrupted, 250 times
a minute in each use: tests/chaos/cancellations.py and interruptions.py. A fifth of the time threads of one process
trade: tests/chaos/threads.py. Two fifths real processes trade while processes and servers are killed:
tests/chaos/processes.py. A round of either has 40 disturbances. Two fifths the state machine runs:
tests/support/oracles/cache_state_machine.py. Its round is 100 examples of 100 steps; a failure prints the seed.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
from collections import Counter

from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from nexgent_db.embedded import postgres
from nexgent_db.migrations import Migrator
from nexgent_db.sync.cache import servers
from tests.chaos import replicas
from tests.chaos.commandline import interrupt
from tests.chaos.outages import run_all
from tests.chaos.processes import Chaos, Found
from tests.chaos.threads import Lied, Threads
from tests.support.oracles.cache_model import World
from tests.support.oracles.cache_state_machine import CacheStateMachine
from tests.support.servers.postgres_server import postgres_server
from tests.support.servers.valkey_server import valkey_server

EXAMPLES = 100
STEPS = 100
DISTURBANCES = 40


def main() -> int:
    """Run rounds until the time is over or one of them has found a wrong answer."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, help="one round of the machine with it; or that of the part alone")
    parser.add_argument("--only", choices=("outages", "replicas", "interruptions"), help="this part alone")
    options = parser.parse_args()
    seed_of_part = random.randrange(2**32) if options.seed is None else options.seed
    if options.only == "outages":
        return 0 if run_all(seed_of_part) else 1
    if options.only == "replicas":
        return 0 if replicas.holds() else 1
    if options.only == "interruptions":
        return 1 if interrupt(round(500 * options.minutes), seed_of_part) else 0
    fifth_s = 12 * options.minutes
    if options.seed is not None:
        return 0 if _machine(0, options.seed) else 1
    begun_well = (
        run_all(seed_of_part) and replicas.holds() and not interrupt(round(250 * options.minutes), seed_of_part)
    )
    return 0 if begun_well and _threads(fifth_s) and _processes(2 * fifth_s) and _machine(2 * fifth_s, None) else 1


def _machine(seconds: float, given: int | None) -> bool:
    servers.TIMEOUT_S = 0.05  # type: ignore[misc]  # a server that hangs is waited for as often as it hangs
    until = time.monotonic() + seconds
    rounds = 0
    with postgres() as url:
        Migrator(url).migrate()
        with valkey_server() as valkey, World.of(url, valkey) as world:
            while rounds == 0 or (given is None and time.monotonic() < until):
                number = given if given is not None else random.randrange(2**32)
                if not _holds(world, number):
                    print(f"found: python -m tests.chaos --seed {number}", file=sys.stderr)
                    return False
                rounds += 1
                steps = rounds * EXAMPLES * STEPS
                print(f"{steps:,} steps in {rounds * EXAMPLES:,} examples, {_done(world)}: nothing wrong")
    return True


def _processes(seconds: float) -> bool:
    until = time.monotonic() + seconds
    done: Counter[str] = Counter()
    rounds = 0
    with postgres_server() as database, valkey_server() as valkey:
        while rounds == 0 or time.monotonic() < until:
            chaos = Chaos(database, valkey, seed=random.randrange(2**32))
            try:
                with chaos.running():
                    for _ in range(DISTURBANCES):
                        chaos.disturb()
                chaos.judge()
            except Found as error:
                print(f"found: {error}", file=sys.stderr)
                return False
            rounds += 1
            done += chaos.counted
            figures = ", ".join(f"{name}: {count:,}" for name, count in sorted(done.items()))
            print(f"{rounds} rounds with real processes: nothing wrong. {figures}", flush=True)
    return True


def _threads(seconds: float) -> bool:
    until = time.monotonic() + seconds
    rounds = 0
    with postgres() as url:
        Migrator(url).migrate()
        while rounds == 0 or time.monotonic() < until:
            with valkey_server() as valkey:
                threads = Threads(url, valkey, seed=random.randrange(2**32), local_rows=100 * (rounds % 2))
                try:
                    with threads.running():
                        for _ in range(DISTURBANCES):
                            threads.disturb()
                except Lied as error:
                    print(f"found: {error}", file=sys.stderr)
                    return False
            rounds += 1
            metrics = threads.metrics()
            print(f"{rounds} rounds with threads: nothing wrong. {metrics.hits:,} hits, {metrics.openings} openings")
    return True


def _holds(world: World, number: int) -> bool:
    machine = seed(number)(type("Machine", (CacheStateMachine,), {"world": world}))
    limits = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(machine, settings=limits)
    except BaseException:
        traceback.print_exc()
        return False
    return True


def _done(world: World) -> str:
    metrics = [process.db.cache.metrics() for process in world.processes]
    return ", ".join(
        f"{sum(getattr(one, name) for one in metrics):,} {name}" for name in ("hits", "misses", "relayed", "openings")
    )


if __name__ == "__main__":
    sys.exit(main())
