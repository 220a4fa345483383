"""Servers before PostgreSQL 15, and databases in another encoding than UTF8: every way in is refused by one plain
sentence, and nothing is changed.

A server that is too old is played by a proxy: it lets a supported one announce version 14.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from typer.testing import CliRunner

from nexgent_db import AsyncDatabase, Database, resources
from nexgent_db.cli.app import app
from nexgent_db.errors import DatabaseUnavailable
from nexgent_db.migrations import Migrator
from nexgent_db.resources import data_dir
from tests.support.faults.faulty_proxy import Fault, faulty_proxy
from tests.support.servers.localized import LocalizedServer, localized_server

RUN: Final = CliRunner()
ENCODINGS: Final = ("SQL_ASCII", "LATIN1", "WIN1252", "LATIN9", "EUC_JP")
VERSION_14: Final = "version 14"
COMMANDS: Final = [
    *(["migrate"], ["status"], ["rollback"], ["plan"], ["repair", "--reason", "x"], ["adopt"], ["adopt", "--report"]),
    *(["mark-applied", "20251211112932_init", "--reason", "x"], ["drift"], ["schema"], ["check"], ["report"]),
    *(["roles", "apply"], ["ledger", "check"], ["queries", "stats"], ["queries", "explain", "users.find_by_id"]),
    *(["cache", "warm"], ["cache", "verify"], ["doctor"], ["verify"]),
]


@pytest.fixture(scope="module")
def server() -> Iterator[LocalizedServer]:
    with localized_server() as running:
        yield running


@dataclass(frozen=True)
class Unsupported:
    """An empty database. ``url`` is how the package reaches it, ``direct_url`` how the test does."""

    url: str
    direct_url: str
    refusal: str


@pytest.fixture(scope="module", params=[*ENCODINGS, VERSION_14])
def unsupported(server: LocalizedServer, request: pytest.FixtureRequest) -> Iterator[Unsupported]:
    encoding = "UTF8" if request.param == VERSION_14 else request.param
    with server.database(f"ENCODING '{encoding}' LOCALE_PROVIDER libc LOCALE 'C'") as url:
        if encoding != "UTF8":
            yield Unsupported(url, url, f"has the encoding {encoding}: UTF8 is needed")
            return
        with psycopg.connect(url) as connection:
            announced = f"server_version\0{connection.info.server_version // 10000}".encode()
            socket = Path(connection.info.host, f".s.PGSQL.{connection.info.port}")
        with faulty_proxy(socket) as proxy:
            proxy.fault = Fault(replace=(announced, b"server_version\x0014"))
            old_url = make_conninfo(url, host="127.0.0.1", port=urlsplit(proxy.url).port)
            yield Unsupported(old_url, url, "the server is PostgreSQL 14: 15 or newer is needed")


async def test_service_is_refused_when_it_opens(unsupported: Unsupported) -> None:
    with pytest.raises(DatabaseUnavailable, match=unsupported.refusal):
        Database(unsupported.url).open()
    with pytest.raises(DatabaseUnavailable, match=unsupported.refusal):
        await AsyncDatabase(unsupported.url).open()


def test_migrator_is_refused_and_changes_nothing(unsupported: Unsupported) -> None:
    migrator = Migrator(unsupported.url)
    calls: list[Any] = [
        migrator.status,
        migrator.migrate,
        migrator.pending,
        migrator.rollback,
        migrator.invalid_indexes,
    ]
    for call in calls:
        with pytest.raises(DatabaseUnavailable, match=unsupported.refusal):
            call()
    with psycopg.connect(unsupported.direct_url) as connection:
        count = connection.execute("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace")
        assert count.fetchone() == (0,)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_command_is_refused(unsupported: Unsupported, redis_url: str, command: list[str]) -> None:
    options = ["--redis-url", redis_url] if command[0] == "cache" else []
    done = RUN.invoke(app, [*command, *options, "--database-url", unsupported.url])
    assert done.exit_code != 0
    assert unsupported.refusal in f"{done.output}{done.exception}"


def test_utf8_database_without_locale_is_accepted(server: LocalizedServer) -> None:
    with (
        ExitStack() as stack,
        Database(stack.enter_context(server.database("ENCODING 'UTF8' LOCALE_PROVIDER libc LOCALE 'C'"))) as db,
    ):
        assert db.health().state == "schema not ready"


def test_shipped_sql_is_ascii() -> None:
    """A session of any encoding, psql's too, reads it alike."""
    package = Path(str(resources._PACKAGE))
    files = [*data_dir("sql").rglob("*.sql"), *data_dir("migrations").rglob("*.sql"), *package.rglob("*.lua")]
    assert len(files) > 150
    assert [path.name for path in files if not path.read_text(encoding="utf-8").isascii()] == []
