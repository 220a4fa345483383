"""Text from outside reaches terminals and logs on one line, with everything that does not show escaped."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from typer.testing import CliRunner

from nexgent_db import Database
from nexgent_db._text import visible
from nexgent_db.cli.app import app
from nexgent_db.errors import EmailTaken, InvalidInput, NexgentError
from nexgent_db.migrations import Migrator
from nexgent_db.observe import QueryEvent
from nexgent_db.settings import Settings
from nexgent_db.sync.cache.servers import IdleConnections
from tests.integration.sync.factories import funded_owner
from tests.support.builders.migrating import Write

RUN = CliRunner()
HOSTILE = "a\nb\r\x1b[31mred\x1b[0m\x07\u202egnp.exe\u2028\u200b\x9b2J\t\ud800"
STORED = HOSTILE.replace("\ud800", "")
NAME = STORED[:20].replace('"', "")


def assert_visible(text: str) -> None:
    hidden = [f"{character!r}" for character in text.replace("\n", "") if not character.isprintable()]
    assert hidden == []


def test_text_is_escaped_as_python_writes_it() -> None:
    assert visible("plain, ü, 漢") == "plain, ü, 漢"
    assert visible(HOSTILE) == (r"a\nb\r\x1b[31mred\x1b[0m\x07\u202egnp.exe\u2028\u200b\x9b2J\t\ud800")


def subclasses(kind: type[NexgentError]) -> Iterator[type[NexgentError]]:
    for each in kind.__subclasses__():
        yield each
        yield from subclasses(each)


def test_every_error_is_one_line_of_visible_text() -> None:
    assert str(NexgentError(HOSTILE)) == visible(HOSTILE)
    assert str(InvalidInput(HOSTILE, HOSTILE)) == f"{visible(HOSTILE)}: {visible(HOSTILE)}"
    own = {kind for kind in subclasses(NexgentError) if kind.__module__.startswith("nexgent_db.")}
    assert len(own) > 40
    assert [kind for kind in own if "__str__" in vars(kind) or "__repr__" in vars(kind)] == []


def test_long_message_keeps_its_ends() -> None:
    longest = "<" + "x" * 4_998 + ">"
    assert str(NexgentError(longest)) == longest
    error = InvalidInput("\u202e" * 1_000_000, "is too long")
    assert len(str(error)) <= 5_000
    assert str(error).startswith(r"\u202e\u202e")
    assert str(error).endswith(": is too long")
    assert "5,995,113 characters left out" in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.fixture
def hostile_url(fresh_database_url: str) -> str:
    """A database with hostile text wherever text goes: rows, names of tables and indexes, migrations."""
    with Database(fresh_database_url) as db:
        owner = funded_owner(db)
        db.trades.buy(owner.buy("1", "1000", token="T").model_copy(update={"token_symbol": "\x1b[31m\n\u202ex"}))
    with psycopg.connect(fresh_database_url) as connection:
        connection.execute(f'CREATE TABLE "{NAME}" (n int)'.encode())
        connection.execute(f'CREATE INDEX "{NAME}i" ON users (created_at, id)'.encode())
        connection.execute(
            "INSERT INTO _yoyo_migration (migration_hash, migration_id, applied_at_utc) VALUES (%s, %s, now())",
            (STORED, f"29991231000000_{STORED}"),
        )
    return fresh_database_url


@pytest.mark.parametrize("json_wanted", [False, True], ids=["text", "json"])
@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["migrate"],
        ["plan"],
        ["drift"],
        ["ledger", "check"],
        ["adopt"],
        ["rollback", "--to", STORED],
        ["queries", "show", STORED],
        ["queries", "explain", STORED],
        ["replay", STORED],
        ["check", "--sql", STORED],
        ["verify"],
        ["doctor"],
        ["cells", "list"],
        ["cells", "create", STORED],
        ["partition", "plan"],
        ["partition", "check"],
        ["roles", "apply", "--prefix", NAME],
        ["roles", "login", STORED],
        ["cache", "status"],
        ["cache", "verify"],
    ],
    ids=" ".join,
)
def test_no_command_prints_what_does_not_show(hostile_url: str, command: list[str], json_wanted: bool) -> None:
    done = RUN.invoke(app, [*command, "--database-url", hostile_url, *(["--json"] if json_wanted else [])])
    assert_visible(done.output)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        assert isinstance(done.exception, NexgentError)
        assert "\n" not in str(done.exception)
        assert_visible(str(done.exception))
    if json_wanted and done.stdout.startswith("{"):
        json.loads(done.stdout)
        assert done.stdout.isascii()


def test_server_message_is_one_line(hostile_url: str) -> None:
    with Database(hostile_url) as db:
        db.users.create("taken@example.org")
        with pytest.raises(EmailTaken) as taken:
            db.users.create("TAKEN@example.org")
        assert_visible(str(taken.value))
        with pytest.raises(NexgentError) as refused:
            db.execute(f'SELECT * FROM "{NAME}x"')
        assert "\n" not in str(refused.value)
        assert_visible(str(refused.value))


def test_file_name_in_an_error_is_visible(tmp_path: Path) -> None:
    path = tmp_path / "\x1b[31m\u202e.sql"
    path.write_text("-- name: x\n")
    done = RUN.invoke(app, ["check", "--offline", "--sql", str(path)])
    assert_visible(done.output)
    assert done.exit_code != 0


# --- Logs -----------------------------------------------------------------------------------------


def assert_log_is_visible(caplog: pytest.LogCaptureFixture, part: str) -> None:
    """No message has a line break or a character that does not show; one has this part."""
    messages = [record.getMessage() for record in caplog.records if record.name.startswith("nexgent_db")]
    assert [ascii(message) for message in messages if not message.isprintable()] == []
    assert [message for message in messages if part in message and "\\u202e" in message]


def test_notice_of_migration_is_one_line_of_the_log(
    folder: Path, write: Write, empty_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    text = "".join(f"\\u{ord(character):04x}" for character in STORED)
    write("0001_notice", f"DO $$ BEGIN RAISE NOTICE '%', E'{text}'; END $$;")
    with caplog.at_level(logging.DEBUG):
        Migrator(empty_database, folder).migrate()
    assert_log_is_visible(caplog, "NOTICE")


def test_failure_of_the_caches_client_is_one_line_of_the_log(
    fresh_database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = replace(Settings.from_url(fresh_database_url), redis_url=redis_url, cache_prefix=f"{uuid4()}:")

    def fail(*_: object) -> None:
        raise LookupError(HOSTILE)

    with Database(settings) as db, caplog.at_level(logging.DEBUG):
        owner = funded_owner(db)
        monkeypatch.setattr(IdleConnections, "exchange", fail)
        assert db.cache.balances_of_wallet(owner.agent_id, owner.wallet_address)
        assert [record for record in caplog.records if record.exc_info] == []
    assert_log_is_visible(caplog, "the cache's client failed: LookupError('a\\nb")


def test_failing_hook_is_one_line_of_the_log(fresh_database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    class Hook:
        def __call__(self, event: QueryEvent) -> None:
            raise LookupError(event.name)

        def __repr__(self) -> str:
            return STORED

    with Database(fresh_database_url, on_query=Hook()) as db:
        db.users.find_by_id(uuid4())
    assert_log_is_visible(caplog, "the hook a\\nb")
