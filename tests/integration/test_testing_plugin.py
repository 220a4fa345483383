"""The pytest plugin in the project of a stranger: what it gives, alone and under xdist, and that it costs nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.metadata import requires
from pathlib import Path
from types import MappingProxyType

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from redis import Redis

from nexgent_db import Settings
from nexgent_db.errors import ConfigurationError, DatabaseError, PermissionDenied
from nexgent_db.testing import databases as plugin_databases
from nexgent_db.testing.databases import Databases

_UNCHANGED: Mapping[str, str] = MappingProxyType({})
PYPROJECT = """
[tool.pytest.ini_options]
filterwarnings = ["error"]
asyncio_default_fixture_loop_scope = "function"
"""

SYNC_TESTS = """
from nexgent_db import Database, Settings, Transaction
from nexgent_db.models import BuyOrder
from nexgent_db.testing.sync import funded_wallet


def test_each_test_has_its_own_database(nexgent_database: Database) -> None:
    assert nexgent_database.users.list() == []
    nexgent_database.users.create("same@example.org")


def test_same_email_again(nexgent_database: Database) -> None:
    assert nexgent_database.users.list() == []
    nexgent_database.users.create("same@example.org")


def test_trade(nexgent_database: Database) -> None:
    nexgent_database.assert_schema()
    owner = funded_wallet(nexgent_database, 10)
    order = BuyOrder.of(owner.wallet, "TokenAAA", "AAA", sol_amount=4, token_amount=100)
    nexgent_database.trades.buy(order)
    balances = nexgent_database.balances.list_by_wallet(owner.agent.id, owner.wallet.wallet_address)
    assert {balance.token_symbol: balance.balance for balance in balances} == {"SOL": 6, "AAA": 100}


def test_second_wallet_of_the_user_and_an_empty_one(nexgent_transaction: Transaction) -> None:
    first = funded_wallet(nexgent_transaction)
    second = funded_wallet(nexgent_transaction, 0, user=first.user)
    assert second.user == first.user
    assert nexgent_transaction.balances.list_by_wallet(second.agent.id, second.wallet.wallet_address) == []


def test_transaction_is_rolled_back(nexgent_transaction: Transaction, nexgent_shared_database_url: str) -> None:
    nexgent_transaction.users.create("rolled.back@example.org")
    with Database(Settings.from_url(nexgent_shared_database_url, {})) as database:
        assert database.users.list() == []


def test_transaction_is_rolled_back_again(nexgent_transaction: Transaction) -> None:
    nexgent_transaction.users.create("rolled.back@example.org")


def test_cache(nexgent_cached_database: Database) -> None:
    owner = funded_wallet(nexgent_cached_database, 10)
    (balance,) = nexgent_cached_database.cache.balances_of_wallet(owner.agent.id, owner.wallet.wallet_address)
    assert balance.balance == 10
    assert nexgent_cached_database.cache.metrics().state == "closed"
"""

ASYNC_TESTS = """
import pytest

from nexgent_db import AsyncDatabase, AsyncTransaction
from nexgent_db.testing.aio import funded_wallet

pytestmark = pytest.mark.{marker}


async def test_database(nexgent_async_database: AsyncDatabase) -> None:
    owner = await funded_wallet(nexgent_async_database, 10)
    async with nexgent_async_database.transaction() as transaction:
        (balance,) = await transaction.balances.list_by_wallet(owner.agent.id, owner.wallet.wallet_address)
    assert balance.balance == 10


@pytest.mark.parametrize("again", [False, True])
async def test_transaction(nexgent_async_transaction: AsyncTransaction, again: bool) -> None:
    await nexgent_async_transaction.users.create("rolled.back@example.org")
    async with nexgent_async_transaction.transaction() as inner:
        await funded_wallet(inner)


async def test_cache(nexgent_cached_async_database: AsyncDatabase) -> None:
    owner = await funded_wallet(nexgent_cached_async_database, 10)
    assert await nexgent_cached_async_database.cache.config(owner.agent.id) is not None
"""

REPORT_MODULES = """
import json, pathlib, sys

def pytest_sessionfinish():
    pathlib.Path(__file__).with_name("modules.json").write_text(json.dumps(sorted(sys.modules)))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A stranger's project; its tests run in a process of their own, with the plugin that is installed here."""
    folder = tmp_path / "stranger"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PYPROJECT)
    return folder


def run_pytest(project: Path, *arguments: str, fails: bool = False, environ: Mapping[str, str] = _UNCHANGED) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment.update(environ)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=project,
        env=environment | {"NEXGENT_DB_POOL_MAX_SIZE": "not read"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("workers", [(), ("--numprocesses=2",)], ids=["alone", "xdist"])
def test_project_of_stranger(project: Path, workers: tuple[str, ...]) -> None:
    (project / "test_sync.py").write_text(SYNC_TESTS)
    (project / "test_async.py").write_text(ASYNC_TESTS.format(marker="asyncio"))
    assert "11 passed" in run_pytest(project, *workers)


@pytest.mark.parametrize("prefix", ["", "TESTS_"])
def test_given_servers_are_used_and_left_as_they_were(
    project: Path, server_url: str, redis_url: str, prefix: str
) -> None:
    (project / "test_it.py").write_text("""
import os

def test_it(nexgent_server_url, nexgent_redis_url, nexgent_cached_database):
    assert nexgent_server_url == os.environ["EXPECTED_URL"]
    assert nexgent_redis_url == os.environ["EXPECTED_REDIS_URL"]
    nexgent_cached_database.users.create("a@example.org")
""")

    def left() -> set[str]:
        with psycopg.connect(server_url) as connection:
            names = {str(name) for (name,) in connection.execute("SELECT datname FROM pg_database")}
        with Redis.from_url(redis_url) as client:
            return names | {key.decode() for key in client.scan_iter("{nexgent_test_*")}

    environ = {"TESTS_DATABASE_URL": "", "TESTS_REDIS_URL": "", "DATABASE_URL": "none", "REDIS_URL": "none"}
    environ |= {f"{prefix}DATABASE_URL": server_url, f"{prefix}REDIS_URL": redis_url}
    environ |= {"EXPECTED_URL": server_url, "EXPECTED_REDIS_URL": redis_url}
    before = left()
    assert "1 passed" in run_pytest(project, environ=environ)
    assert left() == before


def test_asynchronous_fixtures_without_pytest_asyncio(project: Path) -> None:
    pytest.importorskip("anyio")
    (project / "pyproject.toml").write_text("")
    (project / "test_async.py").write_text(ASYNC_TESTS.format(marker="anyio"))
    (project / "conftest.py").write_text("import pytest\n\n@pytest.fixture\ndef anyio_backend(): return 'asyncio'\n")
    assert "4 passed" in run_pytest(project, "-p", "no:asyncio")


OWN_SQL = """
-- Things. Model: Thing.

-- name: create :one
-- Creates a thing.
INSERT INTO things (name)
VALUES (:name)
RETURNING
    name;
"""

OWN_TESTS = """
from pathlib import Path

from nexgent_db import Database
from nexgent_db.models.base import Row
from nexgent_db.sync import Repository, query


class Thing(Row):
    name: str


class Things(Repository, sql=Path(__file__).with_name("things.sql")):
    @query
    def create(self, name: str) -> Thing: ...


def test_own_migration(nexgent_database: Database) -> None:
    assert nexgent_database.use(Things).create("a").name == "a"


def test_own_migration_in_transaction(nexgent_transaction: Database) -> None:
    assert nexgent_transaction.use(Things).create("a").name == "a"
"""


def with_own_migration(project: Path) -> None:
    (project / "migrations").mkdir()
    (project / "migrations" / "0001_things.sql").write_text("CREATE TABLE things (name text PRIMARY KEY);")
    (project / "migrations" / "0001_things.rollback.sql").write_text("DROP TABLE things;")
    (project / "pyproject.toml").write_text(f'{PYPROJECT}\n[tool.nexgent-db]\nmigrations = {{things = "migrations"}}\n')
    (project / "things.sql").write_text(OWN_SQL)
    (project / "test_it.py").write_text(OWN_TESTS)


def test_template_has_the_migrations_of_the_project(project: Path) -> None:
    with_own_migration(project)
    assert "2 passed" in run_pytest(project)


def test_faulty_migration_of_the_project_is_named(project: Path) -> None:
    with_own_migration(project)
    (project / "migrations" / "0001_things.sql").write_text("CREATE TABLE things (name text PRIMARY KEYS);")
    assert "0001_things" in run_pytest(project, fails=True)


def test_unknown_key_of_the_project_is_named(project: Path) -> None:
    with_own_migration(project)
    (project / "pyproject.toml").write_text("[tool.nexgent-db]\nmigration = 1\n")
    assert "unknown key 'migration': did you mean 'migrations'?" in run_pytest(project, fails=True)


def test_fixtures_can_be_overridden(project: Path) -> None:
    (project / "conftest.py").write_text("""
from dataclasses import replace

import psycopg
import pytest

@pytest.fixture(scope="session")
def nexgent_template_url(nexgent_template_url):
    with psycopg.connect(nexgent_template_url) as connection:
        connection.execute("CREATE TABLE mine (n int); INSERT INTO mine VALUES (1)")
    return nexgent_template_url

@pytest.fixture
def nexgent_settings(nexgent_settings):
    return replace(nexgent_settings, pool_max_size=3)
""")
    (project / "test_it.py").write_text("""
import psycopg

def test_it(nexgent_database):
    assert nexgent_database.settings.pool_max_size == 3
    with psycopg.connect(nexgent_database.settings.conninfo) as connection:
        assert connection.execute("SELECT n FROM mine").fetchall() == [(1,)]
""")
    assert "1 passed" in run_pytest(project)


def test_plugin_can_be_turned_off(project: Path) -> None:
    (project / "test_it.py").write_text("def test_it(nexgent_database): ...")
    assert "fixture 'nexgent_database' not found" in run_pytest(project, "-p", "no:nexgent_db", fails=True)


# --- What it costs where nothing of it is used ----------------------------------------------------

OURS = {"nexgent_db", "nexgent_db.testing", "nexgent_db.testing.async_fixtures"}


def modules_of_plugin(project: Path, *arguments: str) -> set[str]:
    """The modules that are loaded at the end of a run only because the plugin is there."""
    (project / "conftest.py").write_text(REPORT_MODULES)
    (project / "test_it.py").write_text(
        "def test_unrelated(): ...\n\ndef test_it(nexgent_redis_url, nexgent_async_database): ..."
    )
    loaded = []
    for choice in (["-p", "no:nexgent_db"], []):
        run_pytest(project, *choice, *arguments)
        loaded.append(set(json.loads((project / "modules.json").read_text())))
    return loaded[1] - loaded[0]


def test_idle_plugin_imports_and_starts_nothing(project: Path) -> None:
    assert modules_of_plugin(project, "-k", "unrelated") == OURS


def test_collecting_imports_and_starts_nothing(project: Path) -> None:
    assert modules_of_plugin(project, "--collect-only") == OURS


def test_idle_plugin_loads_in_a_few_milliseconds(project: Path) -> None:
    program = (
        "import pytest, time; started = time.process_time();"
        "import nexgent_db.testing.async_fixtures; print(time.process_time() - started)"
    )
    taken = [
        float(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=60).stdout)
        for _ in range(3)
    ]
    assert min(taken) < 0.05, taken


def test_pytest_is_no_requirement_of_the_package() -> None:
    required = [each for each in requires("nexgent-db") or () if each.startswith("pytest")]
    assert required
    assert all("extra ==" in each for each in required)
    program = "import sys; sys.modules['pytest'] = None; import nexgent_db.cli; from nexgent_db import *"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


# --- Databases ------------------------------------------------------------------------------------


def test_copy_takes_tens_of_milliseconds(nexgent_databases: Databases, nexgent_template_url: str) -> None:
    taken = []
    for _ in range(8):
        started = time.perf_counter()
        with nexgent_databases.copy(nexgent_template_url):
            pass
        taken.append(time.perf_counter() - started)
    on_disk = "TESTS_DATABASE_URL" in os.environ or not Path("/dev/shm").is_dir()
    assert min(taken) < (2.0 if on_disk else 0.15), taken


def test_database_is_dropped_under_open_sessions(nexgent_databases: Databases) -> None:
    with nexgent_databases.empty() as url:
        left_open = psycopg.connect(url)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(url)
    left_open.close()


def test_database_is_dropped_after_an_error(nexgent_databases: Databases) -> None:
    with pytest.raises(ZeroDivisionError), nexgent_databases.empty() as url:
        raise ZeroDivisionError
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(url)


def test_template_in_use_is_refused(nexgent_databases: Databases) -> None:
    with (
        nexgent_databases.empty() as url,
        psycopg.connect(url),
        pytest.raises(DatabaseError, match="is being accessed by other users"),
        nexgent_databases.copy(url),
    ):
        pass


def test_role_without_the_right_is_named(nexgent_databases: Databases) -> None:
    with nexgent_databases.empty() as url:
        with psycopg.connect(url) as connection:
            connection.execute("CREATE ROLE nexgent_test_poor LOGIN")
        parts = conninfo_to_dict(url) | {"user": "nexgent_test_poor"}
        poor = Databases(" ".join(f"{name}='{value}'" for name, value in parts.items()))
        try:
            with pytest.raises(PermissionDenied, match="create database"), poor.empty():
                pass
        finally:
            with psycopg.connect(url) as connection:
                connection.execute("DROP ROLE nexgent_test_poor")


@pytest.mark.parametrize("url", ["postgresql://a:b/c@d", "mysql://a/b"])
def test_malformed_server_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        Databases(url)


@pytest.mark.parametrize(
    "conninfo",
    [
        "host=/tmp/a,b port=1,2 user='o o' password='p@ss/w:rd' dbname='a b/c?d' options='-c x=\"1 2\"'",
        "dbname=only",
        "postgresql://u@h:1/d?sslmode=require&target_session_attrs=any",
    ],
)
def test_urls_keep_every_part(conninfo: str) -> None:
    parts = conninfo_to_dict(conninfo)
    assert conninfo_to_dict(plugin_databases._url(parts)) == parts


def test_cached_settings_leave_no_key(nexgent_settings: Settings, nexgent_redis_url: str) -> None:
    with Redis.from_url(nexgent_redis_url) as client:
        with plugin_databases.cached(nexgent_settings, nexgent_redis_url) as settings:
            keys = [f"{settings.cache_prefix}{number}" for number in range(3)]
            for key in keys:
                client.set(key, "1")
            client.set("nexgent_test_stranger", "1")
        assert client.exists(*keys) == 0
        assert client.delete("nexgent_test_stranger") == 1
