"""A short run of ``make chaos``: processes killed at a fixed number of moments, and threads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nexgent_db.testing.databases import Databases
from tests.chaos.accounting import Place
from tests.chaos.commandline import interrupt
from tests.chaos.processes import Chaos
from tests.chaos.threads import Threads
from tests.support.servers.postgres_server import postgres_server
from tests.support.servers.roles import RoledDatabase, roled_copy
from tests.support.servers.valkey_server import valkey_server

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


INTERRUPTIONS = 25
"""In each of five uses, with two sizes of the pool, of tasks and of threads."""


@pytest.fixture
def database_with_roles(
    server_url: str, nexgent_databases: Databases, nexgent_template_url: str
) -> Iterator[RoledDatabase]:
    """A migrated database of the test's own, with roles."""
    with roled_copy(server_url, nexgent_databases, nexgent_template_url) as database:
        yield database


def test_killed_processes_lose_double_or_misreport_no_trade() -> None:
    with postgres_server() as database, valkey_server() as valkey:
        chaos = Chaos(database, valkey, seed=1, deaths=0.01)
        with chaos.running():
            for disturbance in DISTURBANCES:
                chaos.disturb(disturbance)
        chaos.judge()
        assert chaos.counted["reads"] > 0
        assert chaos.counted["sent again after a death"] >= 2


@pytest.mark.parametrize("local_rows", [0, 100])
def test_reads_include_own_writes_during_redis_faults(database_url: str, local_rows: int) -> None:
    with valkey_server() as valkey:
        threads = Threads(database_url, valkey, seed=1, local_rows=local_rows)
        with threads.running():
            opened = {name for name in Threads.DISTURBANCES if threads.disturb(name)}
        assert opened >= {"hung for long", "emptied", "full"}  # the others may be over at once, or cost nothing


def test_interrupted_calls_lose_no_trade_and_no_connection(database_with_roles: RoledDatabase) -> None:
    with valkey_server() as valkey:
        place = Place(database_with_roles.url, database_with_roles.url_of("app"), valkey.url)
        assert interrupt(INTERRUPTIONS, 1, place) == []
