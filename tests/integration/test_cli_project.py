"""The commands in a service: its queries, contract and migrations beside the package's."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner, Result

from nexgent_db.cli.app import app
from nexgent_db.errors import ConfigurationError, InvalidInput, NexgentError, QueryBindingError, SqlFileError
from nexgent_db.migrations import MigrationError
from nexgent_db.resources import data_dir
from tests.integration.test_cli import in_own_process
from tests.support.builders.migrating import one, tables
from tests.support.builders.service import Service, write_service

RUN = CliRunner()
CONTRACT = json.loads((data_dir("sql") / "contract.json").read_text(encoding="utf-8"))
QUERIES = len({entry["query"] for entry in CONTRACT["queries"]}) + 2
"""How many the package and the service have."""
COUNT = "-- R.\n\n-- name: count :one\n-- How many.\nSELECT count(*) AS n;\n"


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    service = write_service(tmp_path / "service")
    monkeypatch.setattr("sys.path", [*sys.path])
    monkeypatch.chdir(service.root)
    return service


def run(*arguments: str | Path, url: str | None = None) -> Result:
    environ = {"COLUMNS": "200", "DATABASE_URL": url}
    return RUN.invoke(app, list(map(str, arguments)), env=environ)


def error_of(done: Result, kind: type[NexgentError]) -> str:
    assert isinstance(done.exception, kind), done.output
    return str(done.exception)


# --- Queries ------------------------------------------------------------------------------------


@pytest.fixture
def migrated(service: Service, fresh_database_url: str) -> str:
    done = run("migrate", url=fresh_database_url)
    assert done.exit_code == 0, done.output
    return fresh_database_url


def test_check_proves_own_queries_and_writes_their_contract(service: Service, migrated: str) -> None:
    ours = data_dir("sql") / "contract.json"
    before = ours.read_bytes()
    done = run("check", "--database-url", migrated)
    assert done.exit_code == 1
    assert "stale contract  contract.json:1:1" in done.output
    done = run("check", "--write", "--database-url", migrated)
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"{QUERIES} queries, ")
    assert ours.read_bytes() == before
    contract = json.loads(service.contract.read_text())
    assert [(line["query"], line["parameters"], line["writes"]) for line in contract["queries"]] == [
        (f"{service.name}.create", "agent_id uuid, price numeric", [service.name]),
        (f"{service.name}.list_by_agent", "agent_id uuid, limit int8", []),
    ]
    assert run("check", "--database-url", migrated).exit_code == 0

    service.sql.write_text(service.sql.read_text().replace("ORDER BY id", "ORDER BY id DESC"))
    # The module is imported already: what follows runs in a process of its own, as in the service's CI.
    for option in (["--offline"], ["--database-url", migrated]):
        again = in_own_process("--project", service.root, "check", *option)
        assert again.returncode == 1
        assert "declared  statement, signature or model" in again.stdout
        assert "nexgent-db check --plans --write" in again.stdout


def test_plans_of_own_queries_are_those_of_large_tables(service: Service) -> None:
    done = run("check", "--plans", "--write")
    assert done.exit_code == 0, (done.output, done.exception)
    indexes = {
        line["query"]: line["indexes"]
        for line in json.loads(service.contract.read_text())["queries"]
        if "indexes" in line
    }
    assert indexes[f"{service.name}.list_by_agent"] == [f"{service.name}_agent_id_idx"]
    path = service.migrations / "20270101000000_create_alerts.sql"
    path.write_text(
        path.read_text().replace(f"CREATE INDEX {service.name}_agent_id_idx ON {service.name} (agent_id);", "")
    )
    done = run("check", "--plans")
    assert done.exit_code == 1
    assert f"seq scan  {service.name}/sql/{service.name}.sql:" in done.output, done.output


def test_offline_check_needs_no_server_and_sees_new_migrations(service: Service, migrated: str) -> None:
    assert run("check", "--write", "--database-url", migrated).exit_code == 0
    unreachable = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    done = in_own_process("--project", service.root, "check", "--offline", **unreachable)
    assert (done.returncode, done.stdout.count(f"{QUERIES} queries are as in contract.json and ")) == (0, 1), (
        done.stderr
    )
    service.migration("20270102000000_more", "SELECT 1;")
    done = in_own_process("--project", service.root, "check", "--offline", **unreachable)
    assert done.returncode == 1
    assert "declared  the migrations it was made with" in done.stdout


def test_query_that_writes_the_ledger_is_named(service: Service, migrated: str) -> None:
    with service.sql.open("a") as file:
        file.write(
            "\n-- name: fill :exec\n-- Fills.\nUPDATE agent_balances\nSET balance = 1\nWHERE agent_id = :agent_id;\n"
        )
    with service.module.open("a") as file:
        file.write("\n    @query\n    async def fill(self, agent_id: UUID) -> None: ...\n")
    done = run("check", "--json", "--database-url", migrated)
    (problem,) = json.loads(done.output)["problems"]
    assert (problem["rule"], problem["query"], problem["sql_line"]) == ("ledger", f"{service.name}.fill", 25)
    assert problem["sql_path"] == str(service.sql.relative_to(service.root))
    assert problem["python"].startswith(f"{service.name}/alerts.py:")
    assert problem["advice"] == "use a trade, or a table of your own"


def test_queries_are_listed_shown_and_explained(service: Service, migrated: str) -> None:
    assert run("check", "--write", "--database-url", migrated).exit_code == 0
    names = [each["name"] for each in json.loads(run("queries", "list", "--json").output)["queries"]]
    assert names[-2:] == [f"{service.name}.create", f"{service.name}.list_by_agent"]
    assert len(names) == QUERIES
    shown: dict[str, Any] = json.loads(run("queries", "show", f"{service.name}.create", "--json").output)
    assert shown["writes"] == [service.name]
    assert shown["python"]["signature"] == "Alerts.create(agent_id: UUID, price: Decimal) -> Alert"
    explained = run("queries", "explain", f"{service.name}.list_by_agent", url=migrated)
    assert f"on {service.name}" in explained.output, explained.output


def test_report_and_schema_have_own_tables_and_queries(service: Service, migrated: str, tmp_path: Path) -> None:
    page, text = tmp_path / "page.html", tmp_path / "schema.sql"
    done = run("report", "--out", page, "--database-url", migrated)
    assert done.exit_code == 0, (done.output, done.exception)
    assert f"{service.name}.list_by_agent" in page.read_text()
    assert run("schema", "--out", text, "--database-url", migrated).exit_code == 0
    assert f"CREATE TABLE {service.name} (" in text.read_text()
    assert run("schema", "--check", "--out", text, "--database-url", migrated).exit_code == 0
    text.write_text("")
    assert f"{text} is not what the migrations make" in error_of(
        run("schema", "--check", "--out", text, "--database-url", migrated), NexgentError
    )
    assert "--out FILE" in error_of(run("schema", "--check"), InvalidInput)


def test_queries_of_older_revision_are_checked(service: Service, migrated: str) -> None:
    assert run("check", "--write", "--database-url", migrated).exit_code == 0
    git = shutil.which("git")
    if git is None:
        pytest.skip("no git")
    author = ["-c", "user.name=t", "-c", "user.email=t@e"]
    for arguments in (["init", "-q"], ["add", "."], [*author, "commit", "-qm", "x"]):
        subprocess.run([git, *arguments], cwd=service.root, check=True, capture_output=True)
    done = run("check", "--against", "HEAD", "--database-url", migrated)
    assert (done.exit_code, done.output) == (0, "every query of HEAD still works on these migrations\n")
    service.migration("20270102000000_drop", f"ALTER TABLE {service.name} DROP COLUMN price;")
    assert run("migrate", url=migrated).exit_code == 0
    done = run("check", "--against", "HEAD", "--database-url", migrated)
    assert done.exit_code == 1
    assert f"HEAD:{service.name}/sql/{service.name}.sql:5" in done.output, done.output


# --- Mistakes -----------------------------------------------------------------------------------


def test_mistake_in_a_module_is_an_error_with_its_place(service: Service) -> None:
    service.module.write_text(service.module.read_text().replace("create(self, agent_id", "create(self, agent"))
    assert f"{service.sql}:3: {service.name}.create" in error_of(run("queries", "list"), QueryBindingError)


def test_module_that_fails_is_named(service: Service) -> None:
    service.module.write_text("1 / 0\n")
    said = error_of(run("check", "--offline"), ConfigurationError)
    assert f"{service.root}/pyproject.toml: {service.name} cannot be imported: ZeroDivisionError" in said


def test_missing_module_folder_and_file_are_named(service: Service) -> None:
    assert "absent cannot be imported: ModuleNotFoundError" in error_of(
        run("--modules", "absent", "queries", "list"), ConfigurationError
    )
    assert f"{service.root}/absent:1:1: cannot be read" in error_of(
        run("--sql", "absent", "queries", "list"), SqlFileError
    )


def test_missing_file_of_a_repository_is_named(service: Service) -> None:
    service.sql.unlink()
    assert f"{service.sql}:1:1: cannot be read" in error_of(run("queries", "list"), SqlFileError)


def test_unknown_key_is_named_by_every_command(service: Service, fresh_database_url: str) -> None:
    file = service.root / "pyproject.toml"
    file.write_text(file.read_text().replace("modules", "module"))
    for command in (["status"], ["check", "--offline"], ["queries", "list"], ["new", "x"], ["drift"], ["schema"]):
        done = run(*command, url=fresh_database_url)
        said = str(done.exception) if isinstance(done.exception, NexgentError) else done.output
        assert f"{file}: [tool.nexgent-db]: unknown key 'module': did you mean 'modules'?" in said, command


def test_file_without_method_is_proven_and_named_alike_is_refused(service: Service, migrated: str) -> None:
    reports = service.root / "reports"
    reports.mkdir()
    (reports / f"{service.name}_report.sql").write_text(
        "-- R.\n\n-- name: count :one\n-- How many.\nSELECT count(*) AS n;\n"
    )
    arguments: list[str | Path] = ["--sql", service.sql.parent, "--sql", reports]
    done = run(*arguments, "check", "--write", "--database-url", migrated)
    assert done.exit_code == 0, done.output
    assert '"query": "' + f"{service.name}_report.count" in service.contract.read_text()
    (reports / "agents.sql").write_text(COUNT)
    said = error_of(run(*arguments, "queries", "list"), QueryBindingError)
    assert f"{reports}/agents.sql:1: its queries would have the names of those of " in said


# --- Migrations ---------------------------------------------------------------------------------


def test_migration_commands_take_the_service_s_folder(service: Service, fresh_database_url: str) -> None:
    url, name = fresh_database_url, f"{service.name}/20270101000000_create_alerts"
    done = run("status", url=url)
    assert (done.exit_code, done.output.splitlines()[-1]) == (2, "1 pending: nexgent-db migrate")
    assert f"-- [1/1] {name}: one transaction" in run("plan", url=url).output
    assert run("migrate", url=url).output.splitlines()[-1] == "1 migrations applied"
    state = json.loads(run("status", "--json", url=url).output)["migrations"][-1]
    assert (state["name"], state["history"], state["known"]) == (name, service.name, True)
    assert run("drift", url=url).exit_code == 0
    path = service.migrations / "20270101000000_create_alerts.sql"
    path.write_text(path.read_text() + "SELECT 1;\n")
    assert run("status", url=url).exit_code == 1
    assert run("repair", "--reason", "a test", url=url).output.splitlines()[-1] == "1 accepted"
    assert run("rollback", "--history", service.name, url=url).output.splitlines()[-1] == "1 migrations undone"
    assert service.name not in tables(url)


def test_options_before_the_command_replace_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_database_url: str
) -> None:
    service = write_service(tmp_path / "service")
    monkeypatch.chdir(tmp_path)
    done = run("--migrations", "other=service/migrations", "status", "--json", url=fresh_database_url)
    assert json.loads(done.output)["migrations"][-1]["name"] == "other/20270101000000_create_alerts"
    assert run("--project", service.root, "status", url=fresh_database_url).exit_code == 2
    done = run("--migrations", "service/migrations", "status", url=fresh_database_url)
    assert (done.exit_code, "write NAME=DIR" in done.output) == (2, True)
    assert run("status", url=fresh_database_url).exit_code == 0


def test_new_writes_into_the_service_s_folder(service: Service) -> None:
    first, second = run("new", "add_more").output.splitlines()
    assert Path(first).parent == Path(second).parent == service.migrations
    done = run("--migrations", "a=one", "--migrations", "b=two", "new", "x")
    assert "say which with --history" in error_of(done, InvalidInput)
    done = run("--migrations", "a=one", "--migrations", "b=two", "new", "x", "--history", "b")
    assert Path(done.output.splitlines()[0]).parent == service.root / "two"
    done = run("new", "x", "--history", "c")
    assert "no history is called 'c'" in error_of(done, InvalidInput)


def test_new_refuses_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    installed = tmp_path / "site-packages" / "nexgent_db"
    (installed / "_migrations").mkdir(parents=True)
    monkeypatch.setattr("nexgent_db.resources._PACKAGE", installed)
    for arguments in (["new", "x"], ["new", "x", "--directory", str(installed / "_migrations")]):
        assert "is part of an installed package: write into a folder of your own" in error_of(
            run(*arguments), MigrationError
        )
    assert list((installed / "_migrations").iterdir()) == []


def test_lint_finds_what_belongs_to_the_package(service: Service) -> None:
    assert run("lint-migrations").output == f"{service.migrations}: nothing found\n"
    head = "-- Why: a test.\n-- Locks: none.\n-- Rollback loses: nothing.\n"
    path = service.migration(
        "20270102000000_bad",
        f"{head}DROP TABLE users, {service.name};\nALTER TABLE agents ADD COLUMN mood text;\n"
        "DO $$ BEGIN\nUPDATE agent_balances SET balance = 0; END $$;\nCREATE INDEX mine ON agents (name);\n"
        "CREATE TRIGGER mine BEFORE INSERT ON users EXECUTE FUNCTION f();\n"
        "CREATE OR REPLACE FUNCTION new_id() RETURNS uuid RETURN NULL;\n",
    )
    found = json.loads(run("lint-migrations", "--no-squawk", "--json").output)["findings"]
    assert [(each["line"], each["rule"], each["text"].split(":")[0]) for each in found] == [
        (4, "package-object", "drops table users"),
        (5, "package-object", "changes table agents"),
        (7, "package-object", "writes to table agent_balances"),
        (9, "package-object", "changes table users"),
        (10, "package-object", "creates function new_id"),
    ]
    assert {each["path"] for each in found} == {str(path)}


def test_lint_names_ids_that_collide(service: Service) -> None:
    ours = sorted(data_dir("migrations").glob("*_new_id.sql"))[0]
    head = "-- Why: a test.\n-- Locks: none.\n-- Rollback loses: nothing.\n"
    path = service.migration(ours.stem, f"{head}SELECT 1;")
    (found,) = json.loads(run("lint-migrations", "--no-squawk", "--json").output)["findings"]
    assert (found["path"], found["text"]) == (str(path), f"has the name of {ours}: give it another")


def test_drift_leaves_foreign_tables_alone_and_remembers_them(service: Service, migrated: str) -> None:
    with psycopg.connect(migrated, autocommit=True) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
        connection.execute("CREATE VIEW audit AS SELECT id FROM agents")
    done = run("drift", url=migrated)
    assert done.exit_code == 1
    assert "DROP" not in done.output
    assert (
        "repair    -- made by something else, and left alone: nexgent-db drift --ignore 'table alembic_ver"
        in done.output
    )
    assert run("drift", "--ignore", "table alembic_version", url=migrated).exit_code == 1
    assert run("drift", "--ignore", "table alembic_version", "--ignore", "audit", url=migrated).exit_code == 0
    with (service.root / "pyproject.toml").open("a") as file:
        file.write('ignore-drift = ["table alembic_version", "view audit"]\n')
    assert run("drift", url=migrated).exit_code == 0
    assert one(migrated, "SELECT count(*) FROM alembic_version") == 0


def test_synchronous_repositories_are_proven_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_database_url: str
) -> None:
    service = write_service(tmp_path / "service", flavour="sync")
    monkeypatch.chdir(service.root)
    monkeypatch.setattr("sys.path", [*sys.path])
    assert run("migrate", url=fresh_database_url).exit_code == 0
    done = run("check", "--write", "--database-url", fresh_database_url)
    assert done.exit_code == 0, done.output
    assert '"parameters": "agent_id uuid, price numeric"' in service.contract.read_text()
