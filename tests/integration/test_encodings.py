"""Databases in another encoding than UTF8: every way in is refused by one plain sentence, and nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from typer.testing import CliRunner

from nexgent_db import AsyncDatabase, Database, resources
from nexgent_db.cli.app import app
from nexgent_db.errors import DatabaseUnavailable
from nexgent_db.migrations import Migrator
from nexgent_db.resources import data_dir
from tests.support.servers.localized import LocalizedServer, localized_server

RUN: Final = CliRunner()
ENCODINGS: Final = ("SQL_ASCII", "LATIN1", "WIN1252", "LATIN9", "EUC_JP")
COMMANDS: Final = [
    *(["migrate"], ["status"], ["rollback"], ["plan"], ["repair", "--reason", "x"], ["adopt"], ["adopt", "--report"]),
    *(["mark-applied", "20251211112932_init", "--reason", "x"], ["drift"], ["schema"], ["check"], ["report"]),
    *(["roles", "apply"], ["ledger", "check"], ["queries", "stats"], ["queries", "explain", "users.find_by_id"]),
    *(["cache", "warm"], ["cache", "verify"]),
]


@pytest.fixture(scope="module")
def server() -> Iterator[LocalizedServer]:
    with localized_server() as running:
        yield running


@pytest.fixture(scope="module", params=ENCODINGS)
def url(server: LocalizedServer, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database in the encoding."""
    with server.database(f"ENCODING '{request.param}' LOCALE_PROVIDER libc LOCALE 'C'") as database:
        yield database


@pytest.fixture
def refusal(url: str) -> str:
    with psycopg.connect(url) as connection:
        encoding = connection.info.parameter_status("server_encoding")
    return f"has the encoding {encoding}: UTF8 is needed"


async def test_service_is_refused_when_it_opens(url: str, refusal: str) -> None:
    with pytest.raises(DatabaseUnavailable, match=refusal):
        Database(url).open()
    with pytest.raises(DatabaseUnavailable, match=refusal):
        await AsyncDatabase(url).open()


def test_migrator_is_refused_and_changes_nothing(url: str, refusal: str) -> None:
    migrator = Migrator(url)
    calls: list[Any] = [
        migrator.status,
        migrator.migrate,
        migrator.pending,
        migrator.rollback,
        migrator.invalid_indexes,
    ]
    for call in calls:
        with pytest.raises(DatabaseUnavailable, match=refusal):
            call()
    with psycopg.connect(url) as connection:
        count = connection.execute("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace")
        assert count.fetchone() == (0,)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_command_is_refused(url: str, refusal: str, redis_url: str, command: list[str]) -> None:
    options = ["--redis-url", redis_url] if command[0] == "cache" else []
    done = RUN.invoke(app, [*command, *options, "--database-url", url])
    assert done.exit_code != 0
    assert refusal in f"{done.output}{done.exception}"


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
