"""A folder of migrations of the test's own; a database with roles; one that Prisma made; a Valkey to be disturbed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_postgresql.executors import NoopExecutor

from tests.conftest import new_database
from tests.support.faulty_proxy import FaultyProxy, faulty_proxy
from tests.support.migrating import Write
from tests.support.prisma import Prisma, make_as_prisma_does
from tests.support.roles import RoledDatabase, new_prefix, roles_dropped
from tests.support.valkey_server import ValkeyServer, valkey_server


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


@pytest.fixture
def server() -> Iterator[ValkeyServer]:
    """A Valkey of the test's own, to be killed and started."""
    with valkey_server() as running:
        yield running


@pytest.fixture
def proxy(server: ValkeyServer) -> Iterator[FaultyProxy]:
    """A way to it that can be disturbed."""
    with faulty_proxy(server.socket) as between:
        yield between


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "migrations [1]"  # yoyo takes a folder for a glob pattern
    path.mkdir()
    return path


@pytest.fixture
def write(folder: Path) -> Write:
    def write(name: str, up: str, down: str | None = "SELECT 1;") -> Path:
        (folder / f"{name}.sql").write_text(up, encoding="utf-8")
        if down is not None:
            (folder / f"{name}.rollback.sql").write_text(down, encoding="utf-8")
        return folder / f"{name}.sql"

    return write


@pytest.fixture
def three(write: Write, folder: Path) -> Path:
    """Three migrations that cannot be applied twice: each makes a table, and the second two statements."""
    write("0001_a", "CREATE TABLE a (n int);", "DROP TABLE a;")
    write("0002_b", "CREATE TABLE b (n int);\nINSERT INTO a VALUES (1);", "DELETE FROM a;\nDROP TABLE b;")
    write("0003_c", "CREATE TABLE c (n int);", "DROP TABLE c;")
    return folder


@pytest.fixture
def prisma(empty_database: str) -> Prisma:
    def make(count: int) -> str:
        make_as_prisma_does(empty_database, count)
        return empty_database

    return make
