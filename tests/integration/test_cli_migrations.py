"""The migration commands: output, JSON, exit codes, and the progress that they report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from typer.testing import CliRunner, Result

from nexgent_db import resources
from nexgent_db.cli.app import app
from nexgent_db.errors import NexgentError
from nexgent_db.migrations import MigrationError, Migrator
from tests.integration.test_cli import nexgent_db
from tests.support.builders.migrating import Write, connected, one, tables

RUN = CliRunner()


@pytest.fixture
def package(three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The three migrations of the test are the package's."""
    package = tmp_path / "nexgent_db"
    package.mkdir()
    (package / "_migrations").symlink_to(three)
    monkeypatch.setattr(resources, "_PACKAGE", package)
    return three


def run(url: str, *arguments: str) -> Result:
    return RUN.invoke(app, list(arguments), env={"DATABASE_URL": url, "COLUMNS": "40"})


def document(done: Result) -> dict[str, Any]:
    (line,) = done.stdout.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


# --- status -------------------------------------------------------------------------------------


def test_status_exit_code_is_pending_up_to_date_or_problem(empty_database: str, package: Path, write: Write) -> None:
    def status() -> tuple[int, str, str]:
        done, machine = run(empty_database, "status"), run(empty_database, "status", "--json")
        assert done.exit_code == machine.exit_code
        assert (done.stderr, machine.stderr) == ("", "")
        return done.exit_code, done.stdout.splitlines()[-1], document(machine)["state"]

    assert status() == (2, "3 pending: nexgent-db migrate", "pending")
    run(empty_database, "migrate")
    assert status() == (0, "up to date", "up to date")
    write("0001_a", "CREATE TABLE a (n bigint);", "DROP TABLE a;")
    assert status()[::2] == (1, "problem")


def test_status_exits_with_4_without_database() -> None:
    assert nexgent_db("status", DATABASE_URL="postgresql://nobody@127.0.0.1:1/none").returncode == 4


def test_status_shows_problem_with_its_difference(empty_database: str, package: Path, write: Write) -> None:
    run(empty_database, "migrate", "--to", "0002_b")
    write("0001_a", "CREATE TABLE a (n bigint);", "DROP TABLE a;")
    done = run(empty_database, "status")
    for line in ("problem: ", "0001_a.sql: was edited after it was applied", "\n-CREATE TABLE a (n int);", "1 pending"):
        assert line in done.stdout
    found = document(run(empty_database, "status", "--json"))
    problem = found["migrations"][0]["problem"]
    assert (problem["kind"], problem["name"]) == ("edited", "0001_a")
    assert "-CREATE TABLE a (n int);" in problem["details"]
    assert [each["problem"] for each in found["migrations"][1:]] == [None, None]
    assert found["migrations"][2] == {
        "name": "0003_c",
        "history": "nexgent_db",
        "applied_at": None,
        "known": True,
        "problem": None,
    }


def test_status_reports_invalid_index(empty_database: str, package: Path) -> None:
    run(empty_database, "migrate")
    with connected(empty_database) as conn:
        conn.execute("CREATE INDEX left_over ON a (n)")
        conn.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'left_over'::regclass")
    done = run(empty_database, "status")
    assert done.exit_code == 1
    assert "problem: public.left_over is an INVALID index: nexgent-db migrate --drop-invalid" in done.stdout
    assert document(run(empty_database, "status", "--json"))["invalid_indexes"] == ["public.left_over"]
    migrated = document(run(empty_database, "migrate", "--drop-invalid", "--json"))
    assert migrated == {"applied": [], "dropped_invalid_indexes": ["public.left_over"], "error": None}
    assert run(empty_database, "status").exit_code == 0


# --- migrate, rollback, repair ------------------------------------------------------------------


def test_json_reports_applied_migrations(empty_database: str, package: Path) -> None:
    migrated = run(empty_database, "migrate", "--json", "--to", "0002_b")
    assert document(migrated) == {"applied": ["0001_a", "0002_b"], "dropped_invalid_indexes": [], "error": None}
    assert migrated.stderr.splitlines()[1:] == ["[1/2] 0001_a", "[2/2] 0002_b"]
    assert document(run(empty_database, "rollback", "--json")) == {"undone": ["0002_b"], "error": None}
    (package / "0001_a.sql").write_text("CREATE TABLE a (n int); -- a comment")
    repaired = document(run(empty_database, "repair", "--reason", "a comment", "--json"))
    assert [(each["kind"], each["name"]) for each in repaired["accepted"]] == [("edited", "0001_a")]
    assert repaired["error"] is None


def test_json_reports_failure_with_earlier_migrations(empty_database: str, package: Path, write: Write) -> None:
    write("0002_b", "CREATE TABLE b (n int);\nSELECT nothing;", "DROP TABLE b;")
    done = run(empty_database, "migrate", "--json")
    assert isinstance(done.exception, MigrationError)  # which main() prints on stderr, with exit code 1
    found = document(done)
    assert found["applied"] == ["0001_a"]
    assert found["error"]["code"] == "migration_error"
    assert found["error"]["details"]["sqlstate"] == "42703"
    assert "0002_b.sql:2: column" in found["error"]["message"]
    assert tables(empty_database) == ["a"]


def test_edited_file_is_refused_with_difference_on_command_line(fresh_database_url: str) -> None:
    with psycopg.connect(fresh_database_url) as conn:
        conn.execute(
            "UPDATE _nexgent_migration SET content = 'SELECT 1;', checksum = repeat('0', 64)"
            " WHERE migration_id = '20251213231745_add_swap_payload'"
        )
    done = nexgent_db("migrate", DATABASE_URL=fresh_database_url)
    assert (done.returncode, done.stdout) == (6, "")
    _, *difference, last = done.stderr.splitlines()
    assert difference[0] == "--- 20251213231745_add_swap_payload.sql, as applied"
    assert "-SELECT 1;" in difference
    assert last.startswith("nexgent-db: ")
    assert "20251213231745_add_swap_payload.sql: was edited after it was applied at " in last


def test_notices_and_lock_waits_are_reported_under_migration(empty_database: str, package: Path, write: Write) -> None:
    write("0004_d", "DO $$ BEGIN RAISE NOTICE 'half of\n it'; RAISE WARNING 'done'; END $$;")
    done = run(empty_database, "migrate")
    assert done.stdout == "4 migrations applied\n"
    assert done.stderr.splitlines()[4:] == ["[4/4] 0004_d", "    NOTICE: half of\\n it", "    WARNING: done"]


def test_long_migration_reports_duration_and_blocking_session(empty_database: str, package: Path, write: Write) -> None:
    Migrator(empty_database).migrate()
    write("0004_d", "-- lock_timeout: 1min\nALTER TABLE a ADD COLUMN m int;")
    reported = list[str]()
    with psycopg.connect(empty_database, application_name="the blocker") as blocker:
        blocker.execute("SELECT * FROM a")

        def release(name: str, text: str) -> None:
            reported.append(text)
            blocker.rollback()

        Migrator(empty_database, on_message=release).migrate()
    assert reported[0].startswith(("1 s, waits for backend", "2 s, waits for backend"))
    assert ", the blocker, idle in transaction, its transaction open since " in reported[0]


# --- plan ---------------------------------------------------------------------------------------


def test_plan_says_what_a_migration_would_break(empty_database: str, package: Path, write: Write) -> None:
    run(empty_database, "migrate")
    with connected(empty_database) as conn:
        conn.execute("CREATE VIEW w AS SELECT n FROM a")
    write("0004_drop", "ALTER TABLE a DROP COLUMN n;")
    breaks = "drops column a.n: view w depends on it"
    assert f"\n-- breaks: {breaks}\nALTER TABLE a DROP" in run(empty_database, "plan").stdout
    assert document(run(empty_database, "plan", "--json"))["migrations"][0]["breaks"] == [breaks]
    done = run(empty_database, "migrate")
    assert isinstance(done.exception, MigrationError)
    assert done.exception.explanation == "view w depends on column n of table a"
    assert "cannot drop column n of table a because other objects depend on it" in str(done.exception)


def test_plan_prints_exact_sql_and_writes_nothing(empty_database: str, package: Path, write: Write) -> None:
    index = "-- transactional: false\nCREATE INDEX CONCURRENTLY IF NOT EXISTS a_n_idx ON a (n);\n"
    write("0004_index", index, "DROP INDEX CONCURRENTLY IF EXISTS a_n_idx;")
    write("0005_e", "-- statement_timeout: 1min\n-- lock_timeout: 500ms\n-- preflight: true\nSELECT 1;\n")
    read_only = make_conninfo(empty_database, options="-cdefault_transaction_read_only=on")
    done = run(read_only, "plan")
    assert done.exit_code == 0
    server, first = "statement_timeout as the server has it", (package / "0001_a.sql").read_text()
    assert done.stdout.startswith(f"-- [1/5] 0001_a: one transaction, lock_timeout 2 s, {server}\n{first}\n\n")
    assert f"-- [4/5] 0004_index: outside of a transaction, lock_timeout none, {server}\n{index}\n" in done.stdout
    limits = "lock_timeout 0.5 s, statement_timeout 60 s"
    assert f"-- [5/5] 0005_e: one transaction, {limits}, also sent before all others, read only\n" in done.stdout
    found = document(run(empty_database, "plan", "--json", "--to", "0001_a"))
    assert found == {
        "migrations": [
            {
                "name": "0001_a",
                "path": str(resources.data_dir("migrations") / "0001_a.sql"),
                "transactional": True,
                "lock_timeout_s": 2.0,
                "statement_timeout_s": None,
                "preflight": False,
                "breaks": [],
                "sql": first,
            }
        ]
    }
    assert one(empty_database, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == 0


def test_plan_refuses_same_problems_as_migrate(empty_database: str, package: Path, write: Write) -> None:
    run(empty_database, "migrate")
    assert run(empty_database, "plan").stdout == "-- nothing to do\n"
    write("0001_a", "CREATE TABLE a (n bigint);", "DROP TABLE a;")
    refused = run(empty_database, "plan").exception
    assert isinstance(refused, NexgentError)
    assert "was edited" in str(refused)


def test_plan_locks_are_measured_on_copy_of_schema(empty_database: str, package: Path, write: Write) -> None:
    run(empty_database, "migrate")
    write("0004_d", "ALTER TABLE a ADD COLUMN m int;\nCREATE TABLE d (n int);\nALTER TABLE b ALTER n TYPE bigint;")
    write(
        "0005_e",
        "-- transactional: false\nCREATE INDEX CONCURRENTLY IF NOT EXISTS c_n_idx ON c (n);",
        "DROP INDEX CONCURRENTLY IF EXISTS c_n_idx;",
    )
    done = run(empty_database, "plan", "--locks", "--scratch", empty_database)
    cells = [
        tuple(cell.strip() for cell in line.strip("│").split("│")) for line in done.stdout.splitlines() if "│" in line
    ]
    assert cells == [
        ("0004_d", "a", "ACCESS EXCLUSIVE", "reads and trades wait"),
        ("", "b", "ACCESS EXCLUSIVE", "reads and trades wait while it is rewritten"),
        ("", "d", "ACCESS EXCLUSIVE", "the table is new"),
        ("0005_e", "c", "SHARE UPDATE EXCLUSIVE", "trades go on; it waits for open transactions"),
    ]
    *_, first, second = document(run(empty_database, "plan", "--locks", "--json", "--scratch", empty_database))[
        "migrations"
    ]
    alter = {"table": "a", "mode": "ACCESS EXCLUSIVE", "new_table": False, "writers_wait": True, "readers_wait": True}
    assert alter in first["locks"]
    assert (first["rewritten"], second["rewritten"], second["waited_for_writers"]) == (["b"], [], True)
    assert tables(empty_database) == ["a", "b", "c"]
    assert one(empty_database, "SELECT count(*) FROM pg_namespace WHERE nspname ~ 'scratch'") == 0
