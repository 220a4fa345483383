"""What replicas cost and save: ``python -m tests.benchmarks.replicas``, half a minute.

Medians of calls that take turns, so that a busy machine slows all of them alike, over unix sockets; and the CPU time of
the client. A call of a database without replicas stands beside the same call of one that has two.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from nexgent_db import Database
from tests.integration.sync.factories import new_owner
from tests.support.servers.standby import replicated

ROUNDS = 2_000


def main() -> None:
    """Print a line for each call."""
    with (
        replicated() as (primary, first, second),
        Database(primary.url, replica_urls=[first.url, second.url]) as db,
        Database(primary.url) as plain,
    ):
        owner = new_owner(plain)
        calls: dict[str, Callable[[], object]] = {
            "read, without replicas": lambda: plain.agents.find_by_id(owner.agent_id),
            "read on the primary, beside replicas": lambda: db.agents.find_by_id(owner.agent_id),
            "read on a replica": lambda: db.replica.agents.find_by_id(owner.agent_id),
            "write, without replicas": lambda: plain.agents.update(owner.agent_id, name="a"),
            "write, beside replicas": lambda: db.agents.update(owner.agent_id, name="b"),
            "read on a replica, right after a write": lambda: db.replica.agents.find_by_id(owner.agent_id),
        }
        elapsed: dict[str, list[float]] = {name: [] for name in calls}
        used: dict[str, list[float]] = {name: [] for name in calls}
        for number in range(ROUNDS):
            for name, call in calls.items():
                wall, cpu = time.perf_counter(), time.thread_time()
                call()
                if number > ROUNDS // 10:
                    elapsed[name].append(time.perf_counter() - wall)
                    used[name].append(time.thread_time() - cpu)
        for name in calls:
            wall, cpu = statistics.median(elapsed[name]), statistics.median(used[name])
            print(f"{name:40} {wall * 1e6:7.0f} µs, client's CPU {cpu * 1e6:5.0f} µs")
        metrics = db.replica.metrics()
        print(f"{metrics.replica_reads} reads by replicas, {metrics.primary_reads} by the primary")


if __name__ == "__main__":
    main()
