"""What the command line says before it writes, after an error, with --json, and to a shell that completes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

import nexgent_db as package
from nexgent_db import errors
from nexgent_db.cli.machine import EXIT_CODES, exit_code_of
from nexgent_db.embedded import EmbeddedServerError
from tests.integration.test_cli import CHECKOUT, in_own_process, nexgent_db

DOWN = "postgresql://alice:s3cret@127.0.0.1:1/trading"
ERRORS = CHECKOUT / "docs" / "pages" / "reference" / "errors.md"


# --- Where to -----------------------------------------------------------------------------------


def test_writing_command_says_to_which_database(fresh_database_url: str, redis_url: str) -> None:
    parts = conninfo_to_dict(fresh_database_url)
    place = f"writes to postgres at {parts['host']}:{parts['port']}, database {parts['dbname']}"
    commands: list[tuple[str, ...]] = [
        ("migrate",),
        ("repair", "--reason", "none"),
        ("roles", "apply", "--prefix", "says_where"),
        ("ledger", "prune-requests", "--older-than-days", "1"),
        ("demo",),
    ]
    for command in commands:
        done = nexgent_db(*command, DATABASE_URL=fresh_database_url)
        assert done.stderr.splitlines()[0] == place, command
    for action in ("warm", "repair", "reset", "relay"):
        command = ("cache", action)
        done = nexgent_db(*command, DATABASE_URL=fresh_database_url, REDIS_URL=redis_url)
        assert done.stderr.splitlines()[0].startswith(f"{place}, and to unix://"), (command, done.stderr)
    commands = [("status",), ("plan",), ("roles", "apply", "--check", "--prefix", "says_where"), ("drift",)]
    for command in commands:
        done = nexgent_db(*command, DATABASE_URL=fresh_database_url)
        assert "writes to" not in done.stderr, command
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        for name in ("owner", "migrator", "app", "tenant", "worker", "readonly"):
            connection.execute(f"REASSIGN OWNED BY says_where_{name} TO postgres; DROP OWNED BY says_where_{name}")
            connection.execute(f"DROP ROLE says_where_{name}")


def test_password_is_not_said(fresh_database_url: str) -> None:
    url = make_conninfo(fresh_database_url, password="s3cret")
    done = nexgent_db("migrate", DATABASE_URL=url)
    assert done.returncode == 0
    assert "s3cret" not in done.stdout + done.stderr


@pytest.mark.parametrize("command", [("migrate",), ("rollback",), ("roles", "apply"), ("adopt",)])
def test_command_that_requires_url_does_not_start_embedded_server(command: tuple[str, ...], tmp_path: Path) -> None:
    for arguments, environ in (((), {"CI": "true"}), (("--require-url",), {})):
        refused = nexgent_db(*command, *arguments, XDG_DATA_HOME=str(tmp_path), **environ)
        assert refused.returncode == 3
        assert "DATABASE_URL is not set" in refused.stderr
        assert "--require-url, or CI=true" in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_given_database_is_migrated_in_ci(empty_database: str) -> None:
    assert nexgent_db("migrate", DATABASE_URL=empty_database, CI="true").returncode == 0


# --- Errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        ("migrate",),
        ("rollback",),
        ("status",),
        ("plan",),
        ("drift",),
        ("queries", "stats"),
        ("cache", "warm"),
        ("replay", str(CHECKOUT / "nexgent_db" / "cli" / "demo_history.jsonl")),
    ],
    ids=" ".join,
)
def test_json_has_error_of_each_command(command: tuple[str, ...]) -> None:
    done = nexgent_db(*command, "--json", DATABASE_URL=DOWN, REDIS_URL="redis://127.0.0.1:1")
    assert done.returncode == (2 if command == ("drift",) else 4)  # no comparison was possible
    (line,) = done.stdout.splitlines()
    error = json.loads(line)["error"]
    assert error["code"] == "database_unavailable"
    assert "Connection refused" in error["message"]
    assert "s3cret" not in done.stdout + done.stderr
    assert done.stderr.splitlines()[-1].startswith("nexgent-db: ")


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
