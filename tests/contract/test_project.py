"""The queries of this package, the committed contract, and the command."""

import json
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from nexgent_db.aio._repository import Repository
from nexgent_db.cli.app import app
from nexgent_db.contract import _file, all_sources, check, compare, compare_offline, explain, read, render, seed

RUN = CliRunner()


def test_every_query_agrees_with_its_method_and_the_schema(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        report = check(connection, all_sources(Repository))
    assert [str(problem) for problem in report.problems] == []
    assert [str(problem) for problem in compare(report.queries, read())] == []


def test_no_query_reads_a_large_table_from_end_to_end(fresh_database_url: str) -> None:
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        report = check(connection, all_sources(Repository))
        seed(connection)
        plans = explain(connection, report.queries)
    assert [str(problem) for problem in plans.problems] == []
    assert "agents_pkey" in plans.indexes["agents.update"]


def test_without_its_comment_a_sequential_scan_is_told(fresh_database_url: str, tmp_path: Path) -> None:
    from tests.contract.support import made_up

    sources = [
        made_up(tmp_path, f"-- name: q :rows\n{comment}DELETE FROM agent_positions WHERE token_symbol = 'X';", {}, int)
        for comment in [""]
    ]
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        report = check(connection, sources)
        seed(connection)
        (problem,) = explain(connection, report.queries).problems
    assert problem.rule == "seq scan"
    assert "agent_positions, 20,000 rows" in problem.actual


def test_the_contract_is_compared_without_a_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = all_sources(Repository)
    committed = read()
    assert committed is not None
    assert compare_offline(sources, committed) == []
    changed: dict[str, Any] = json.loads(json.dumps(committed))
    changed["queries"][0]["digest"] = "another"
    gone = changed["queries"].pop()["query"]
    changed["queries"].append({**committed["queries"][0], "query": "users.of_old"})
    changed["migrations"] = "others"
    problems = compare_offline(sources, changed)
    assert {problem.rule for problem in problems} == {"stale contract"}
    assert {committed["queries"][0]["query"], gone, "users.of_old", "contract.json"} == {
        problem.query for problem in problems
    }
    assert [problem.actual for problem in compare_offline(sources, None)] == ["there is none of this version"]


def test_a_contract_of_another_schema_is_told(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        report = check(connection, all_sources(Repository))
    committed = json.loads(render(report.queries, {}))
    committed["queries"][0]["columns"] = "id int4"
    (problem,) = compare(report.queries, committed)
    assert "id int4" in problem.declared
    assert problem.query == committed["queries"][0]["query"]


def test_the_command_tells_machines_what_it_found(database_url: str) -> None:
    done = RUN.invoke(app, ["check", "--database-url", database_url, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["problems"] == []
    assert {"query": "agents.update", "variants": 16, "indexes": None} in found["queries"]


def test_the_command_fails_offline_on_a_stale_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert RUN.invoke(app, ["check", "--offline"]).exit_code == 0
    monkeypatch.setattr(_file, "contract_path", lambda: tmp_path / "contract.json")
    done = RUN.invoke(app, ["check", "--offline"])
    assert done.exit_code == 1
    assert "stale contract" in done.output


def test_queries_of_another_revision_are_run_on_these_migrations(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "old.sql").write_text(
        "-- name: fine :one\nSELECT 1;\n-- name: broken :one\nSELECT nothing FROM users;\n"
    )
    for command in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    done = RUN.invoke(app, ["check", "--database-url", database_url, "--against", "HEAD"])
    assert done.exit_code == 1
    assert "old.broken" in done.output
    assert "old.fine" not in done.output
    assert 'column "nothing" does not exist' in done.output
