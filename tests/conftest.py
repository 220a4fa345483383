"""Servers and databases for the tests: those of DATABASE_URL and REDIS_URL when set, else temporary embedded ones.

TESTS_POSTGRES_BIN names a directory of PostgreSQL programs that the embedded servers are to be of (`make test-oldest`).
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pytest_postgresql import factories
from pytest_postgresql.executors import NoopExecutor
from pytest_postgresql.janitor import DatabaseJanitor

from nexgent_db.embedded import _binaries, postgres, valkey
from nexgent_db.migrations import Migrator
from tests.support.servers.in_memory import in_memory
from tests.support.servers.roles import RoledDatabase, new_prefix, roles_dropped


def _set_aside(name: str) -> str | None:
    """Move a server's URL to a variable that no test reads and that xdist's workers inherit, since they start later."""
    url = os.environ.pop(name, None)
    if url is not None:
        os.environ[f"TESTS_{name}"] = url
    return os.environ.get(f"TESTS_{name}")


os.environ.pop("CI", None)  # where it is set, commands that write refuse embedded servers
_SERVERS = {name: _set_aside(name) for name in ("DATABASE_URL", "REDIS_URL")}
if "TESTS_POSTGRES_BIN" in os.environ:
    _PROGRAMS = [Path(os.environ["TESTS_POSTGRES_BIN"])]
    _binaries._postgres_candidates = lambda: iter(_PROGRAMS)
_NUMBERS = itertools.count(1)
_LONGEST = (
    "test_cache_properties.py",
    "test_forks.py",
    "test_concurrent_trades.py",
    "test_replay.py",
    "test_chaos.py",
    "test_outages.py",
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


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """A PostgreSQL server on which databases can be made."""
    if url := _SERVERS["DATABASE_URL"]:
        yield url
    else:
        with postgres() as url:
            yield url


@pytest.fixture(scope="session")
def pg_server(server_url: str) -> SimpleNamespace:
    """The same server in the form that pytest-postgresql expects."""
    parts = conninfo_to_dict(server_url)
    return SimpleNamespace(
        host=parts.get("host", "127.0.0.1"),
        port=int(parts.get("port") or 5432),
        user=parts.get("user", "postgres"),
        password=parts.get("password"),
        options="",
        maintenance_dbname=parts.get("dbname", "postgres"),
        template_dbname=None,
    )


def _migrate(**connection: Any) -> None:
    connection.pop("autocommit", None)
    Migrator(make_conninfo("", **connection)).migrate()


migrated_template = factories.postgresql_noproc(depends_on="pg_server", load=[_migrate])


@contextmanager
def new_database(server: SimpleNamespace | NoopExecutor, template: str | None) -> Iterator[str]:
    """The URL of a database that exists until the ``with`` ends, created from ``template`` when it is given."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    name = f"nexgent_test_{worker}_{os.getpid()}_{next(_NUMBERS)}"
    with DatabaseJanitor(
        user=server.user,
        host=server.host,
        port=server.port,
        password=server.password,
        maintenance_dbname=server.maintenance_dbname,
        dbname=name,
        template_dbname=template,
    ):
        yield make_conninfo(
            "", host=server.host, port=server.port, user=server.user, password=server.password, dbname=name
        )


@pytest.fixture(scope="session")
def database_url(migrated_template: NoopExecutor) -> Iterator[str]:
    """A migrated database shared by the session: make your own user, agent and wallet in it."""
    with new_database(migrated_template, migrated_template.template_dbname) as url:
        yield url


@pytest.fixture
def fresh_database_url(migrated_template: NoopExecutor) -> Iterator[str]:
    """A migrated database of the test's own."""
    with new_database(migrated_template, migrated_template.template_dbname) as url:
        yield url


@pytest.fixture
def empty_database(pg_server: SimpleNamespace) -> Iterator[str]:
    """A database of the test's own with nothing in it."""
    with new_database(pg_server, None) as url:
        yield url


@pytest.fixture(scope="session")
def roled(server_url: str, migrated_template: NoopExecutor) -> Iterator[RoledDatabase]:
    """A migrated database with the roles of sql/roles.sql, shared by the session: make your own users in it."""
    prefix = new_prefix()
    with (
        roles_dropped(server_url, prefix),
        new_database(migrated_template, migrated_template.template_dbname) as url,
    ):
        database = RoledDatabase(url, prefix)
        database.apply()
        yield database


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Valkey or Redis server."""
    if url := _SERVERS["REDIS_URL"]:
        yield url
    else:
        with valkey() as url:
            yield url
