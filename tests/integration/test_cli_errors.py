"""What the command line says before it writes, after an error, with --json, and to a shell that completes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from typer.main import get_command

import nexgent_db as package
from nexgent_db import errors
from nexgent_db.cli.app import app
from nexgent_db.cli.machine import EXIT_CODES, exit_code_of
from nexgent_db.cli.replay import DEMO_HISTORY
from nexgent_db.embedded import EmbeddedServerError
from tests.integration.test_cli import CHECKOUT, in_own_process, nexgent_db

DOWN = "postgresql://alice:s3cret@127.0.0.1:1/trading"
ERRORS = CHECKOUT / "docs" / "pages" / "reference" / "errors.md"

ARGUMENTS: dict[str, tuple[str, ...]] = {
    "repair": ("--reason", "r"),
    "mark-applied": ("0001_none", "--reason", "r"),
    "new": ("name",),
    "replay": (str(DEMO_HISTORY),),
    "queries show": ("users.find_by_id",),
    "queries explain": ("users.find_by_id",),
    "roles login": (str(UUID(int=1)),),
    "ledger prune-requests": ("--older-than-days", "1"),
    "ledger purge-agent": (str(UUID(int=1)), "--reason", "r"),
    "partition retire": ("trade_requests",),
    "cells create": ("east",),
    "cells move": ("east", "localhost:5432"),
    "cells drop": ("east", "--confirm", "east"),
}
"""The arguments that a command requires."""


def _commands(group: Any, *above: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, *above, name)
        else:
            yield " ".join((*above, name)), command


COMMANDS = dict(_commands(get_command(app)))


def takes(name: str, parameter: str) -> bool:
    return parameter in {each.name for each in COMMANDS[name].params}


def called(name: str) -> tuple[str, ...]:
    return (*name.split(), *ARGUMENTS.get(name, ()))


WRITING = [name for name in COMMANDS if takes(name, "require_url")]


# --- Where to -----------------------------------------------------------------------------------


READING = {
    *("check", "doctor", "drift", "lint-migrations", "plan", "report", "schema", "status", "verify"),
    *("cache status", "cells list", "ledger check", "partition check", "partition plan"),
    *("queries explain", "queries list", "queries show", "queries stats"),
}
"""The commands that write to no database."""
ELSEWHERE = {
    "new": "writes files",
    "serve": "is about the embedded servers",
    "demo": "makes rows up, to look at them on the embedded server",
}
"""Those that may write where no URL is given, whatever CI says."""


@pytest.mark.parametrize("name", COMMANDS)
def test_command_reads_or_can_require_url(name: str) -> None:
    """A new command is one or the other: this fails for one that nobody has named."""
    assert takes(name, "require_url") is (name not in READING | ELSEWHERE.keys())


@pytest.mark.parametrize("name", [*WRITING, "demo"])
def test_writing_command_says_to_which_database(name: str) -> None:
    done = nexgent_db(*called(name), DATABASE_URL=DOWN, REDIS_URL="redis://127.0.0.1:1")
    said = done.stderr.splitlines()[0]
    place = "writes to alice at 127.0.0.1:1, database trading"
    with_cache = name == "replay" or takes(name, "redis_url")
    assert said == (f"{place}, and to redis://127.0.0.1:1" if with_cache else place)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name in READING and takes(name, "database_url")])
def test_reading_command_says_of_no_database_that_it_writes(name: str) -> None:
    done = nexgent_db(*called(name), "--database-url", DOWN, REDIS_URL="redis://127.0.0.1:1")
    assert done.returncode in (1, 2, 4)
    assert "Connection refused" in done.stdout + done.stderr
    assert "writes to" not in done.stderr


def test_places_are_those_of_servers(fresh_database_url: str, redis_url: str) -> None:
    parts = conninfo_to_dict(fresh_database_url)
    place = f"writes to postgres at {parts['host']}:{parts['port']}, database {parts['dbname']}"
    done = nexgent_db("migrate", DATABASE_URL=fresh_database_url)
    assert done.stderr.splitlines()[0] == place
    done = nexgent_db("cache", "warm", DATABASE_URL=fresh_database_url, REDIS_URL=redis_url)
    assert done.stderr.splitlines()[0].startswith(f"{place}, and to unix://")
    for command in (("status",), ("plan",), ("roles", "apply", "--check", "--prefix", "says_where"), ("drift",)):
        done = nexgent_db(*command, DATABASE_URL=fresh_database_url)
        assert "writes to" not in done.stderr, command


def test_password_is_not_said(fresh_database_url: str) -> None:
    url = make_conninfo(fresh_database_url, password="s3cret")
    done = nexgent_db("migrate", DATABASE_URL=url)
    assert done.returncode == 0
    assert "s3cret" not in done.stdout + done.stderr


@pytest.mark.parametrize("name", WRITING)
def test_command_that_requires_url_does_not_start_embedded_server(name: str, tmp_path: Path) -> None:
    for arguments, environ in (((), {"CI": "true"}), (("--require-url",), {})):
        refused = nexgent_db(*called(name), *arguments, XDG_DATA_HOME=str(tmp_path), **environ)
        assert refused.returncode == (2 if name in ("cache verify", "cache repair") else 3)  # no comparison
        assert "DATABASE_URL is not set" in refused.stderr
        assert "--require-url, or CI=true" in refused.stderr
        assert "writes to" not in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_given_database_is_migrated_in_ci(empty_database: str) -> None:
    assert nexgent_db("migrate", DATABASE_URL=empty_database, CI="true").returncode == 0


# --- Errors -------------------------------------------------------------------------------------


MACHINES = [name for name in COMMANDS if takes(name, "as_json")]
COMPARING = ("drift", "cache verify", "cache repair")
"""Exit code 2 says that they compared nothing."""


def error_in(done: CompletedProcess[str]) -> dict[str, Any]:
    """The error of the one object on stdout; as a person reads it, it ends stderr, on one line."""
    (line,) = done.stdout.splitlines()
    error: dict[str, Any] = json.loads(line)["error"]
    assert error.keys() >= {"code", "message", "details"}
    assert done.stderr.splitlines()[-1].startswith("nexgent-db: ")
    return error


@pytest.mark.parametrize("name", [name for name in MACHINES if takes(name, "database_url") and name != "doctor"])
def test_json_says_that_server_is_gone(name: str) -> None:
    report = ("--report",) if name == "adopt" else ()  # what it prints as JSON
    done = nexgent_db(*called(name), *report, "--json", "--database-url", DOWN, REDIS_URL="redis://127.0.0.1:1")
    error = error_in(done)
    assert done.returncode == (2 if name in COMPARING else 4)
    assert error["code"] == "database_unavailable"
    assert "Connection refused" in error["message"]
    assert "s3cret" not in done.stdout + done.stderr


def test_doctor_finds_that_server_is_gone() -> None:
    """It has no other answer than findings."""
    done = nexgent_db("doctor", "--json", DATABASE_URL=DOWN)
    findings = json.loads(done.stdout)["findings"]
    assert done.returncode == 1
    assert findings[0]["level"] == "problem"
    assert "Connection refused" in findings[0]["message"]
    assert "s3cret" not in done.stdout + done.stderr


@pytest.mark.parametrize("name", [name for name in MACHINES if not takes(name, "database_url")])
def test_json_has_error_without_database(name: str, tmp_path: Path) -> None:
    """The commands that use no server, and serve, which starts it: a wrong project; a root where no server can be."""
    (tmp_path / "pyproject.toml").write_text('[tool.nexgent-db]\nmodule = ["a"]\n')
    done = nexgent_db("--project", tmp_path, *called(name), "--json", NEXGENT_DB_HOME="/dev/null/home")
    code, exit_code = ("embedded_server_error", 4) if name == "serve" else ("configuration_error", 3)
    assert (error_in(done)["code"], done.returncode) == (code, exit_code)


def test_errors_have_distinct_exit_codes(empty_database: str, fresh_database_url: str) -> None:
    assert nexgent_db("status", DATABASE_URL="mysql://h/d").returncode == 3
    assert nexgent_db("status", DATABASE_URL=DOWN).returncode == 4
    assert nexgent_db("replay", CHECKOUT / "README.md", DATABASE_URL=empty_database).returncode == 5
    assert nexgent_db("migrate", "--to", "none", DATABASE_URL=empty_database).returncode == 6
    assert nexgent_db("queries", "show", "none.such").returncode == 2
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        connection.execute("CREATE ROLE exit_codes LOGIN")
        try:
            url = make_conninfo(fresh_database_url, user="exit_codes")
            assert nexgent_db("ledger", "check", DATABASE_URL=url).returncode == 8
        finally:
            connection.execute("DROP OWNED BY exit_codes; DROP ROLE exit_codes")


def test_exit_code_is_that_of_nearest_base() -> None:
    assert exit_code_of(errors.MigrationLocked("locked")) == 7
    assert exit_code_of(errors.PoolExhausted("full")) == 4
    assert exit_code_of(errors.TenantNotIsolated("open")) == 3
    assert exit_code_of(errors.ListTooLong("a.b", 1)) == 1
    assert exit_code_of(EmbeddedServerError("none")) == 4


def test_page_has_each_exit_code() -> None:
    rows = re.findall(r"^\| (\d) \| (.*?) \| (.*?) \|$", ERRORS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert [(code, classes, meaning) for code, classes, meaning in rows if code != "0"] == [
        (str(code), ", ".join(f"`{kind.__name__}`" for kind in kinds), meaning)
        for code, (kinds, meaning) in EXIT_CODES.items()
    ]


# --- A shell ------------------------------------------------------------------------------------


def test_shell_completes_commands() -> None:
    environ = {"_NEXGENT_DB_COMPLETE": "complete_bash", "COMP_WORDS": "nexgent-db ca", "COMP_CWORD": "1"}
    assert in_own_process(**environ).stdout.split() == ["cache"]


def test_version_of_package_is_that_of_command() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", package.__version__)
    assert nexgent_db("--version").stdout == f"nexgent-db {package.__version__}\n"
