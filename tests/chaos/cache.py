"""The search for stale reads: threads of one process while Redis is disturbed, then the state machine.

tests/chaos/threads.py has the threads; a round has 40 disturbances. The state machine is
tests/support/oracles/cache_state_machine.py; its round is 100 examples of 100 steps, and its failure prints its seed.
"""

from __future__ import annotations

import random
import time
import traceback

from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from nexgent_db.embedded import postgres
from nexgent_db.migrations import Migrator
from nexgent_db.sync.cache import servers
from tests.chaos.amounts import Cache
from tests.chaos.threads import Lied, Threads
from tests.support.oracles.cache_model import World
from tests.support.oracles.cache_state_machine import CacheStateMachine
from tests.support.servers.valkey_server import valkey_server

EXAMPLES = 100
STEPS = 100
DISTURBANCES = 40


def run(amounts: Cache, seed: int) -> list[str]:
    """The part of the command line: whole rounds, until each half of the time is over or one has found a lie."""
    chance = random.Random(seed)
    return _threads(30 * amounts.minutes, chance) or _machine(30 * amounts.minutes, seed, chance)


def _machine(seconds: float, number: int, chance: random.Random) -> list[str]:
    """Rounds of the machine: the first with the seed itself."""
    servers.TIMEOUT_S = 0.05  # type: ignore[misc]  # a server that hangs is waited for as often as it hangs
    until = time.monotonic() + seconds
    rounds = 0
    with postgres() as url:
        Migrator(url).migrate()
        with valkey_server() as valkey, World.of(url, valkey) as world:
            while rounds == 0 or time.monotonic() < until:
                if not _holds(world, number):
                    return [f"a wrong answer: python -m tests.chaos --only cache --minutes 0 --seed {number}"]
                rounds += 1
                number = chance.randrange(2**32)
                steps = rounds * EXAMPLES * STEPS
                print(f"{steps:,} steps in {rounds * EXAMPLES:,} examples, {_done(world)}: nothing wrong", flush=True)
    return []


def _threads(seconds: float, chance: random.Random) -> list[str]:
    until = time.monotonic() + seconds
    rounds = 0
    with postgres() as url:
        Migrator(url).migrate()
        while seconds and (rounds == 0 or time.monotonic() < until):
            with valkey_server() as valkey:
                threads = Threads(url, valkey, seed=chance.randrange(2**32), local_rows=100 * (rounds % 2))
                try:
                    with threads.running():
                        for _ in range(DISTURBANCES):
                            threads.disturb()
                except Lied as error:
                    return [str(error)]
            rounds += 1
            metrics = threads.metrics()
            figures = f"{metrics.hits:,} hits, {metrics.openings} openings"
            print(f"{rounds} rounds with threads: nothing wrong. {figures}", flush=True)
    return []


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
