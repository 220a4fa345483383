"""Fixtures: a folder of migrations, a database that Prisma made, a Valkey to disturb."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.browser import Browser, chromium
from tests.support.builders.migrating import Write
from tests.support.faults.faulty_proxy import FaultyProxy, faulty_proxy
from tests.support.servers.prisma import Prisma, make_as_prisma_does
from tests.support.servers.valkey_server import ValkeyServer, valkey_server


@pytest.fixture
def server() -> Iterator[ValkeyServer]:
    """A Valkey of the test itself, which may kill and restart it."""
    with valkey_server() as running:
        yield running


@pytest.fixture
def proxy(server: ValkeyServer) -> Iterator[FaultyProxy]:
    """A proxy before it that can cause faults."""
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


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    program = chromium()
    if program is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    return Browser(program, tmp_path)
