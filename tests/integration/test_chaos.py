"""A short run of what ``make chaos`` does for longer: real processes, killed at a fixed number of moments; threads."""

from __future__ import annotations

import pytest

from tests.chaos.processes import Chaos
from tests.chaos.threads import Threads
from tests.support.postgres_server import postgres_server
from tests.support.valkey_server import valkey_server

DISTURBANCES = (
    "trader killed",
    "backends terminated",
    "Valkey stopped for a while",
    "trader killed",
    "maintenance killed",
    "Valkey killed",
    "reader killed",
    "PostgreSQL killed",
)


def test_whatever_is_killed_nothing_is_lost_doubled_or_told_wrongly() -> None:
    with postgres_server() as database, valkey_server() as valkey:
        chaos = Chaos(database, valkey, seed=1, deaths=0.01)
        with chaos.running():
            for disturbance in DISTURBANCES:
                chaos.disturb(disturbance)
        chaos.judge()
        assert chaos.counted["reads"] > 0
        assert chaos.counted["sent again after a death"] >= 2


@pytest.mark.parametrize("near_rows", [0, 100])
def test_no_thread_is_told_less_than_it_did_whatever_becomes_of_redis(database_url: str, near_rows: int) -> None:
    with valkey_server() as valkey:
        threads = Threads(database_url, valkey, seed=1, near_rows=near_rows)
        with threads.running():
            for disturbance in Threads.DISTURBANCES:
                threads.disturb(disturbance)
        assert threads.metrics().openings >= 4  # all but what is over at once, or costs nothing
