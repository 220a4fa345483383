"""The command line: output, exit codes, one line per failure; the same as a subprocess."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from nexgent_db.cli import main
from nexgent_db.cli.machine import EXIT_CODES
from nexgent_db.cli.replay import DEMO_HISTORY
from nexgent_db.migrations import Migrator
from nexgent_db.migrations.files import LAST_LEGACY_MIGRATION

CHECKOUT = Path(__file__).parents[2]
_NARROW = {"COLUMNS": "40"}
_NOT_OURS = ("CI", "DATABASE_URL", "DIRECT_DATABASE_URL", "REDIS_URL")


def nexgent_db(*arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Runs the command in this process, which has imported the package: a new process takes a second for that."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        for name in _NOT_OURS:
            patch.delenv(name, raising=False)
        for name, value in (_NARROW | environ).items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["nexgent-db", *map(str, arguments)])
        patch.chdir("/")
        with pytest.raises(SystemExit) as ended:
            main()
            sys.exit()
    for said in (out, err):
        said.seek(0)
    return subprocess.CompletedProcess(arguments, int(ended.value.code or 0), out.read(), err.read())


def in_own_process(*arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Runs the command as users do, in a process of its own."""
    clean = {name: value for name, value in os.environ.items() if name not in _NOT_OURS}
    return subprocess.run(
        [sys.executable, "-m", "nexgent_db.cli", *map(str, arguments)],
        env=clean | {"PYTHONPATH": str(CHECKOUT)} | _NARROW | environ,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def failure(*arguments: str | Path, **environ: str) -> str:
    """The one line that a failing command prints on stderr."""
    done = nexgent_db(*arguments, **environ)
    assert done.returncode in EXIT_CODES, done
    assert done.stdout == ""
    (line,) = (line for line in done.stderr.splitlines() if not line.startswith("writes to "))
    assert line.startswith("nexgent-db: ")
    assert "Traceback" not in line
    return line


def success(*arguments: str | Path, **environ: str) -> str:
    done = nexgent_db(*arguments, **environ)
    assert done.returncode == 0, done
    return done.stdout


def pending(**environ: str) -> str:
    done = nexgent_db("status", **environ)
    assert done.returncode == 2, done
    return done.stdout


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory for an embedded server; the user ``nobody`` can reach it when root runs the test."""
    home = Path(tempfile.mkdtemp(prefix="nexgent-home-"))
    home.chmod(0o711)
    yield home
    shutil.rmtree(home)


# --- As a process -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "url", "code"),
    [
        (("--version",), None, 0),
        (("--help",), None, 0),
        (("rollback", "--count", "0"), None, 2),
        (("status",), None, 2),
        (("replay", "{tmp_path}"), None, 5),
        (("migrate",), "postgresql://u:s3%zzcret@host/name", 3),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else None,
)
def test_subprocess_has_same_output_and_exit_code(
    empty_database: str, tmp_path: Path, arguments: tuple[str, ...], url: str | None, code: int
) -> None:
    said = [argument.format(tmp_path=tmp_path) for argument in arguments]
    process, here = (run(*said, DATABASE_URL=url or empty_database) for run in (in_own_process, nexgent_db))
    assert (process.returncode, process.stdout, process.stderr) == (here.returncode, here.stdout, here.stderr)
    assert process.returncode == code


def test_embedded_data_survives_process(home: Path) -> None:
    where = {"NEXGENT_DB_HOME": str(home), "DATABASE_URL": ""}
    migrated = nexgent_db("migrate", **where)
    process = in_own_process("replay", DEMO_HISTORY, "--json", **where)
    (line,) = process.stderr.splitlines()
    for done, said in ((migrated, migrated.stderr.splitlines()[0]), (process, line)):
        assert done.returncode == 0
        assert said.startswith(f"writes to postgres at {home}")
        assert said.endswith(": the embedded PostgreSQL of this account, because DATABASE_URL is not set")
    assert success("replay", DEMO_HISTORY, "--json", **where) == process.stdout


# --- The schema ---------------------------------------------------------------------------------


def test_migrate_status_and_rollback(empty_database: str) -> None:
    where = {"DATABASE_URL": empty_database}
    total = len(Migrator(empty_database).pending())
    assert f"{total} pending" in pending(**where)
    assert success("migrate", **where) == f"{total} migrations applied\n"
    assert success("migrate", **where) == "nothing to do: the schema is up to date\n"
    assert success("rollback", "--count", "2", **where) == "2 migrations undone\n"
    assert "2 pending" in pending(**where)
    assert success("migrate", **where) == "2 migrations applied\n"
    shown = success("status", **where)
    assert shown.count("\n│ 20") == total
    assert shown.endswith("up to date\n")


def test_migrate_and_rollback_stop_at_target(empty_database: str) -> None:
    where = {"DATABASE_URL": empty_database}
    first, second = "20251211112932_init", "20251212112507_remove_price_sol_from_trading_signals"
    assert success("migrate", "--to", second, **where) == "2 migrations applied\n"
    assert success("migrate", "--to", first, **where) == f"nothing to do: {first} is applied\n"
    assert success("rollback", "--to", first, **where) == "1 migrations undone\n"
    assert success("rollback", "--to", first, **where) == "nothing to do: no migration is applied after it\n"
    assert "no migration is called" in failure("migrate", "--to", "20990101000000_later", **where)
    assert "not both" in failure("rollback", "--to", first, "--count", "1", **where)


def test_repair_accepts_changed_text(empty_database: str) -> None:
    where = {"DATABASE_URL": empty_database}
    success("migrate", **where)
    assert success("repair", "--reason", "nothing is wrong", **where) == "nothing to do: files and database agree\n"
    with psycopg.connect(empty_database) as connection:
        connection.execute("UPDATE _nexgent_migration SET checksum = repeat('0', 64) WHERE migration_id LIKE '%_init'")
    refused = nexgent_db("migrate", **where)
    assert refused.returncode == 6
    assert "was edited after it was applied" in refused.stderr.splitlines()[-1]  # below what differs
    reported = success("repair", "--reason", "the same but for a comment", **where)
    assert reported.splitlines()[-1] == "1 accepted"
    assert success("migrate", **where) == "nothing to do: the schema is up to date\n"


def test_invalid_index_is_dropped_on_request(empty_database: str) -> None:
    where = {"DATABASE_URL": empty_database}
    success("migrate", **where)
    with psycopg.connect(empty_database) as connection:
        connection.execute("CREATE INDEX left_over ON users (created_at)")
        connection.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'left_over'::regclass")
    success("migrate", "--drop-invalid", **where)
    with psycopg.connect(empty_database) as connection:
        assert connection.execute("SELECT to_regclass('left_over')").fetchone() == (None,)


def test_option_overrides_environment(empty_database: str) -> None:
    done = nexgent_db("status", "--database-url", empty_database, DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert "pending" in done.stdout


def test_version_help_and_wrong_usage() -> None:
    assert success("--version").startswith("nexgent-db")
    shown = success("--help")
    for command in ("migrate", "rollback", "status", "demo", "replay"):
        assert command in shown
    assert nexgent_db("replay").returncode == 2
    assert nexgent_db("rollback", "--count", "0").returncode == 2


# --- The replay ---------------------------------------------------------------------------------


def test_json_output_is_one_object(fresh_database_url: str) -> None:
    done = nexgent_db("replay", DEMO_HISTORY, "--json", DATABASE_URL=fresh_database_url)
    assert (done.returncode, len(done.stderr.splitlines())) == (0, 1)  # which says to which database it writes
    (line,) = done.stdout.splitlines()
    report = json.loads(line)
    assert list(report) == [
        *("deposit", "withdrawal", "buy", "dca_buy", "take_profit", "sell", "swap", "refused", "invalid"),
        *("open_positions", "closed", "realized_profit_sol", "sol_balance"),
    ]
    with psycopg.connect(fresh_database_url) as connection:
        row = connection.execute(
            "SELECT trim_scale(balance)::text FROM agent_balances WHERE token_address = sol_mint()"
        ).fetchone()
    assert row == (report["sol_balance"],)
    assert json.loads(success("replay", "--json", DEMO_HISTORY, DATABASE_URL=fresh_database_url)) == report

    table = success("replay", DEMO_HISTORY, DATABASE_URL=fresh_database_url)
    for figure in (report["realized_profit_sol"], report["sol_balance"], "events per second"):
        assert figure in table


def test_bad_line_is_reported_with_exit_code_one(fresh_database_url: str, tmp_path: Path) -> None:
    lines = DEMO_HISTORY.read_text(encoding="utf-8").splitlines()
    lines[6] = lines[6][:50]
    lines.insert(
        20,
        lines[20].replace('"symbol": "', '"symbol": "' + "x" * 300).replace('_symbol": "', '_symbol": "' + "x" * 300),
    )
    path = tmp_path / "history.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    done = nexgent_db("replay", path, "--json", DATABASE_URL=fresh_database_url)
    assert done.returncode == 1
    _, first, second = done.stderr.splitlines()
    assert first.startswith("line 7: not JSON")
    assert second.startswith("line 21: ")
    report = json.loads(done.stdout)
    assert report["invalid"] == 5
    assert sum(count for count in report.values() if isinstance(count, int)) > 150


def test_agents_share_history(fresh_database_url: str) -> None:
    report = json.loads(success("replay", DEMO_HISTORY, "--agents", "3", "--json", DATABASE_URL=fresh_database_url))
    assert report["closed"] > 0
    with psycopg.connect(fresh_database_url) as connection:
        assert connection.execute("SELECT count(*) FROM agents").fetchone() == (3,)


def test_missing_history_is_one_line(fresh_database_url: str, tmp_path: Path) -> None:
    where = {"DATABASE_URL": fresh_database_url}
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    assert "holds no event" in failure("replay", empty, **where)
    assert "No such file" in failure("replay", tmp_path / "missing.jsonl", **where)
    assert "is not a file" in failure("replay", tmp_path, **where)
    assert "is not a file" in failure("replay", "/dev/null", **where)


# --- No database --------------------------------------------------------------------------------

EVERY_COMMAND = [("migrate",), ("rollback",), ("status",), ("demo",), ("replay", str(DEMO_HISTORY))]


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=lambda command: command[0])
def test_server_that_is_down_is_one_line(command: tuple[str, ...]) -> None:
    line = failure(*command, DATABASE_URL="postgresql://user:s3cret@127.0.0.1:1/name")
    assert "127.0.0.1" in line
    assert "s3cret" not in line


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=lambda command: command[0])
@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:s3cret@:x/",
        "mysql://u:s3cret@host/name",
        "postgresql://u:s3cret@[::1/name",
        "nonsense",
        "postgresql://u:s3%zzcret@host/name",
    ],
)
def test_malformed_url_is_one_line(command: tuple[str, ...], url: str) -> None:
    line = failure(*command, DATABASE_URL=url)
    assert "DATABASE_URL" in line
    assert "s3" not in line


def test_wrong_password_is_one_line_without_password(fresh_database_url: str) -> None:
    parts = conninfo_to_dict(fresh_database_url)
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        ((method,),) = connection.execute(
            "SELECT auth_method FROM pg_hba_file_rules WHERE auth_method <> 'reject' ORDER BY line_number LIMIT 1"
        ).fetchall()
        if method == "trust":  # the embedded server asks nobody: an unknown role is what it can refuse
            line = failure("status", DATABASE_URL=f"{fresh_database_url} user=nobody_here password=s3cret")
            assert "nobody_here" in line
        else:
            line = failure("status", DATABASE_URL=f"{fresh_database_url} password=s3cret")
            assert "password" in line
    assert "s3cret" not in line
    assert parts.get("dbname") is not None


def test_replay_does_not_migrate_given_database(empty_database: str) -> None:
    where = {"DATABASE_URL": empty_database}
    assert "migrate the database first" in failure("replay", DEMO_HISTORY, **where)
    with psycopg.connect(empty_database) as connection:
        assert connection.execute("SELECT count(*) FROM pg_class WHERE relname = 'agents'").fetchone() == (0,)

    migrator = Migrator(empty_database)
    migrator.migrate(to=LAST_LEGACY_MIGRATION)
    line = failure("replay", DEMO_HISTORY, **where)
    assert "migrate the database first" in line
    assert f"from {migrator.pending()[0]} on" in line


# --- The demo, and the embedded server ----------------------------------------------------------


def test_demo_shows_exact_amounts_and_runs_twice(empty_database: str) -> None:
    shown = success("demo", DATABASE_URL=empty_database)
    for title in ("Balances", "Open positions", "Closed trades", "The last 15 trades", "Replay"):
        assert title in shown
    assert "0.00000000006632 " in shown
    assert "…" not in shown  # nothing is cut off, though 40 columns are too few
    assert "E-" not in shown

    def without_rate(text: str) -> list[str]:
        return [line for line in text.splitlines() if "events per second" not in line]

    assert without_rate(success("demo", DATABASE_URL=empty_database)) == without_rate(shown)


def test_embedded_server_is_used_and_migrated_without_url(home: Path) -> None:
    where = {"NEXGENT_DB_HOME": str(home), "DATABASE_URL": ""}
    assert json.loads(success("replay", DEMO_HISTORY, "--json", **where))["closed"] > 0
    assert success("status", **where).endswith("up to date\n")
    assert "Balances" in success("demo", **where)


def test_unavailable_embedded_server_is_one_line(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.touch()
    assert str(taken) in failure("status", NEXGENT_DB_HOME=str(taken))
