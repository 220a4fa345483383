"""A pytest plugin: servers, migrated databases and funded wallets for the tests of a service.

pytest finds it by itself once ``nexgent-db[testing]`` is installed. It is idle until a test asks for one of its
fixtures: nothing is imported, started or connected before.

| fixture | scope | what it gives |
|---|---|---|
| ``nexgent_server_url`` | session | a PostgreSQL server: TESTS_DATABASE_URL, else DATABASE_URL, else an embedded one |
| ``nexgent_redis_url`` | session | a Valkey or Redis: TESTS_REDIS_URL, else REDIS_URL, else an embedded one |
| ``nexgent_databases`` | session | a :class:`~nexgent_db.testing.databases.Databases` on that server |
| ``nexgent_template_url`` | session | a database with all migrations, to be copied; override it to add rows |
| ``nexgent_shared_database_url`` | session | one copy for all tests that clean up behind them |
| ``nexgent_database_url`` | test | a copy of the test's own |
| ``nexgent_settings`` | test | the Settings of that copy, without Redis; override it to change some |
| ``nexgent_cached_settings`` | test | the same with Redis, under a prefix of the test's own |
| ``nexgent_database``, ``nexgent_async_database`` | test | an open database of ``nexgent_settings`` |
| ``nexgent_cached_database``, ``nexgent_cached_async_database`` | test | one of ``nexgent_cached_settings`` |
| ``nexgent_transaction``, ``nexgent_async_transaction`` | test | a transaction on the shared database, rolled back |

All migrations are those of this package and of the project's ``[tool.nexgent-db]``. Each worker of pytest-xdist has a
session, so an embedded server and a template, of its own. The asynchronous fixtures need pytest-asyncio, or anyio where
that is not installed. Wallets with money come from ``nexgent_db.testing.aio`` and ``nexgent_db.testing.sync``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from nexgent_db.settings import Settings
    from nexgent_db.sync.database import Database
    from nexgent_db.sync.transaction import Transaction
    from nexgent_db.testing.databases import Databases


class RolledBack(Exception):
    """Leaves a transaction without committing it; no test sees it."""


def pytest_configure(config: pytest.Config) -> None:
    """Add the asynchronous fixtures where a plugin can run them."""
    plugins = config.pluginmanager
    if plugins.hasplugin("asyncio") or plugins.hasplugin("anyio"):
        from nexgent_db.testing import async_fixtures

        plugins.register(async_fixtures, "nexgent_db_async_fixtures")


def _given(name: str) -> str | None:
    return os.environ.get(f"TESTS_{name}", "").strip() or os.environ.get(name, "").strip() or None


# --- Servers and databases ------------------------------------------------------------------------


@pytest.fixture(scope="session")
def nexgent_server_url() -> Iterator[str]:
    """A PostgreSQL server on which databases can be made: a given one, else an embedded one in memory."""
    if (given := _given("DATABASE_URL")) is not None:
        yield given
        return
    from nexgent_db.embedded import postgres
    from nexgent_db.testing.in_memory import started_in_memory

    with started_in_memory(postgres()) as url:
        yield url


@pytest.fixture(scope="session")
def nexgent_redis_url() -> Iterator[str]:
    """A Valkey or Redis server: a given one, else an embedded one in memory."""
    if (given := _given("REDIS_URL")) is not None:
        yield given
        return
    from nexgent_db.embedded import valkey
    from nexgent_db.testing.in_memory import started_in_memory

    with started_in_memory(valkey()) as url:
        yield url


@pytest.fixture(scope="session")
def nexgent_databases(nexgent_server_url: str) -> Databases:
    """Makes databases: ``with nexgent_databases.empty() as url``, or ``.copy(url)``."""
    from nexgent_db.testing.databases import Databases

    return Databases(nexgent_server_url, embedded=_given("DATABASE_URL") is None)


@pytest.fixture(scope="session")
def nexgent_template_url(nexgent_databases: Databases, pytestconfig: pytest.Config) -> Iterator[str]:
    """A database with all migrations, which the others are copied from: do not stay connected to it."""
    from nexgent_db.testing.databases import migrate

    with nexgent_databases.empty() as url:
        migrate(url, pytestconfig.rootpath)
        yield url


@pytest.fixture(scope="session")
def nexgent_shared_database_url(nexgent_databases: Databases, nexgent_template_url: str) -> Iterator[str]:
    """A migrated database for all tests of the session that do not mind the rows of others."""
    with nexgent_databases.copy(nexgent_template_url) as url:
        yield url


@pytest.fixture
def nexgent_database_url(nexgent_databases: Databases, nexgent_template_url: str) -> Iterator[str]:
    """A migrated database of the test's own."""
    with nexgent_databases.copy(nexgent_template_url) as url:
        yield url


@pytest.fixture
def nexgent_settings(nexgent_database_url: str) -> Settings:
    """Settings of the test's own database, without Redis. NEXGENT_DB_* of the environment do not count."""
    from nexgent_db.settings import Settings

    return Settings.from_url(nexgent_database_url, {})


@pytest.fixture
def nexgent_cached_settings(nexgent_settings: Settings, nexgent_redis_url: str) -> Iterator[Settings]:
    """The same with Redis, under a prefix of the test's own; its keys are deleted afterwards."""
    from nexgent_db.testing.databases import cached

    with cached(nexgent_settings, nexgent_redis_url) as settings:
        yield settings


# --- Synchronous databases; the asynchronous ones are in async_fixtures ----------------------------


@pytest.fixture
def nexgent_database(nexgent_settings: Settings) -> Iterator[Database]:
    """An open database of the test's own, without a cache."""
    from nexgent_db.sync.database import Database

    with Database(nexgent_settings) as database:
        yield database


@pytest.fixture
def nexgent_cached_database(nexgent_cached_settings: Settings) -> Iterator[Database]:
    """An open database of the test's own, with a cache."""
    from nexgent_db.sync.database import Database

    with Database(nexgent_cached_settings) as database:
        yield database


@pytest.fixture
def nexgent_transaction(nexgent_shared_database_url: str) -> Iterator[Transaction]:
    """A transaction on the shared database, rolled back after the test. The fastest: nothing is copied."""
    from nexgent_db.settings import Settings
    from nexgent_db.sync.database import Database

    settings = Settings.from_url(nexgent_shared_database_url, {})
    with Database(settings) as database, suppress(RolledBack), database.transaction() as transaction:
        yield transaction
        raise RolledBack
