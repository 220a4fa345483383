"""Servers and databases for the tests: those of DATABASE_URL and REDIS_URL when set, else temporary embedded ones.

TESTS_POSTGRES_BIN names a directory of PostgreSQL programs that the embedded servers are to be of (`make test-oldest`).
TESTS_PARTITIONED partitions the tables that only grow.
With TESTS_POOLER=1 every pool goes through PgBouncer in transaction mode (`make test-pooler`).
Hypothesis draws the same inputs in every run, so that luck does not decide what lands; `make fuzz` draws new ones.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import hypothesis
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from nexgent_db.embedded import _binaries
from nexgent_db.migrations.partitions import Partitioner
from nexgent_db.testing.databases import Databases, migrate
from nexgent_db.testing.in_memory import in_memory
from tests.support.servers.cells import CelledDatabase, celled_copy
from tests.support.servers.pgbouncer import pools_go_through
from tests.support.servers.roles import RoledDatabase, roled_copy


def _set_aside(name: str) -> None:
    """Move a server's URL to the variable that the plugin reads first and the code under test does not read.

    xdist's workers inherit it, since they start later.
    """
    url = os.environ.pop(name, None)
    if url is not None:
        os.environ[f"TESTS_{name}"] = url


os.environ.pop("CI", None)  # where it is set, commands that write refuse embedded servers
for _name in ("DATABASE_URL", "REDIS_URL"):
    _set_aside(_name)
if "TESTS_POSTGRES_BIN" in os.environ:
    _PROGRAMS = [Path(os.environ["TESTS_POSTGRES_BIN"])]
    _binaries._postgres_candidates = lambda: iter(_PROGRAMS)
if "FUZZ_EXAMPLES" not in os.environ:
    hypothesis.settings.register_profile("same inputs", derandomize=True)
    hypothesis.settings.load_profile("same inputs")
collect_ignore = ["examples/service"]  # a project of its own: tests/integration/test_service_example.py runs its tests
_LONGEST = (
    "test_cache_properties.py",
    "test_forks.py",
    "test_concurrent_trades.py",
    "test_replay.py",
    "test_trade_failpoints.py",
    "test_service_example.py",
    "test_testing_plugin.py",
    "test_chaos.py",
    "test_outages.py",
    "test_replica_reads.py",
    "test_replicas.py",
    "test_forks_multiprocessing.py",
    "test_forks_gunicorn.py",
    "test_event_loops.py",
    "test_migration_killed.py",
    "test_legacy_migrations.py",
    "test_preflight_violations.py",
    "test_schema_catalog.py",
    "test_adopt.py",
    "test_cli_queries.py",
    "test_embedded.py",
    "test_project.py",
    "test_docs.py",
)
"""The files that take longest, in this order; the others are short."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest files first: workers take whole files in this order, and should finish together."""
    place = {name: number for number, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


@pytest.fixture(scope="session", autouse=True)
def temporary_directories_in_memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the servers' files in memory; a test's ``tmp_path``, which pytest keeps, stays on disk."""
    tmp_path_factory.getbasetemp()
    with in_memory():
        yield


@pytest.fixture(scope="session", autouse=True)
def through_pooler(request: pytest.FixtureRequest) -> Iterator[None]:
    """With TESTS_POOLER, the pools of all tests connect through a pooler."""
    if "TESTS_POOLER" not in os.environ:
        yield
        return
    with pools_go_through(_keywords(request.getfixturevalue("nexgent_server_url"))):
        yield


# --- The plugin's fixtures under short names, with URLs as libpq keywords, to which a test adds more ----


def _keywords(url: str) -> str:
    return make_conninfo("", **conninfo_to_dict(url))


@pytest.fixture(scope="session")
def server_url(nexgent_server_url: str) -> str:
    """A PostgreSQL server on which databases can be made."""
    return nexgent_server_url


@pytest.fixture(scope="session")
def nexgent_template_url(nexgent_databases: Databases, pytestconfig: pytest.Config) -> Iterator[str]:
    """The plugin's, whose growing tables are partitioned when TESTS_PARTITIONED is set (`make test-partitioned`)."""
    with nexgent_databases.empty() as url:
        migrate(url, pytestconfig.rootpath)
        if os.environ.get("TESTS_PARTITIONED"):
            Partitioner(url).apply(first_ends=datetime(2026, 1, 1, tzinfo=UTC))
        yield url


@pytest.fixture(scope="session")
def database_url(nexgent_shared_database_url: str) -> str:
    """A migrated database shared by the session: make your own user, agent and wallet in it."""
    return _keywords(nexgent_shared_database_url)


@pytest.fixture
def fresh_database_url(nexgent_database_url: str) -> str:
    """A migrated database of the test's own."""
    return _keywords(nexgent_database_url)


@pytest.fixture(scope="session")
def altering_url() -> Callable[[str], str]:
    """From a URL that a test uses, the one that alters its tables: the same; on Citus, the coordinator's."""
    return lambda url: url


@pytest.fixture(scope="session")
def redis_url(nexgent_redis_url: str) -> str:
    """A Valkey or Redis server."""
    return nexgent_redis_url


# --- What the plugin does not offer ------------------------------------------------------------------


@pytest.fixture
def empty_database(nexgent_databases: Databases) -> Iterator[str]:
    """A database of the test's own with nothing in it."""
    with nexgent_databases.empty() as url:
        yield _keywords(url)


@pytest.fixture(scope="session")
def roled(server_url: str, nexgent_databases: Databases, nexgent_template_url: str) -> Iterator[RoledDatabase]:
    """A migrated database with the roles of sql/roles.sql, shared by the session: make your own users in it."""
    with roled_copy(server_url, nexgent_databases, nexgent_template_url) as database:
        yield database


@pytest.fixture(scope="session")
def celled(nexgent_databases: Databases, nexgent_template_url: str) -> Iterator[CelledDatabase]:
    """A migrated database with 50 cells, shared by the session: make your own users in them."""
    with celled_copy(nexgent_databases, nexgent_template_url, 50) as database:
        yield database
