"""``python -m tests.chaos [--minutes N]``: let the machine of tests/support/cache_machine.py try for as long as that.

Each round is 100 examples of 100 steps, with a seed that is printed when it finds something. Exit code 1 then.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback

from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from nexgent_db.embedded import postgres
from nexgent_db.migrations import Migrator
from nexgent_db.sync import _redis_servers
from tests.support.cache_machine import CacheMachine
from tests.support.cache_witness import World
from tests.support.valkey_server import valkey_server

EXAMPLES = 100
STEPS = 100


def main() -> int:
    """Go on until the time is over or a lie was told."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, help="one round with this seed")
    options = parser.parse_args()
    _redis_servers.TIMEOUT_S = 0.05  # type: ignore[misc]  # a server that hangs is waited for as often as it hangs
    until = time.monotonic() + 60 * options.minutes
    rounds = 0
    with postgres() as url:
        Migrator(url).migrate()
        with valkey_server() as valkey, World.of(url, valkey) as world:
            while rounds == 0 or (options.seed is None and time.monotonic() < until):
                number = options.seed if options.seed is not None else random.randrange(2**32)
                if not _holds(world, number):
                    print(f"found: python -m tests.chaos --seed {number}", file=sys.stderr)
                    return 1
                rounds += 1
                steps = rounds * EXAMPLES * STEPS
                print(f"{steps:,} steps in {rounds * EXAMPLES:,} examples, {_done(world)}: nothing wrong")
    return 0


def _holds(world: World, number: int) -> bool:
    machine = seed(number)(type("Machine", (CacheMachine,), {"world": world}))
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
        f"{sum(getattr(one, name) for one in metrics):,} {name}" for name in ("hits", "misses", "drained", "openings")
    )


if __name__ == "__main__":
    sys.exit(main())
