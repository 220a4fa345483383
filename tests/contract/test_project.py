"""The queries of this package, the committed contract, and the command."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from typer.testing import CliRunner

from nexgent_db.aio.repositories.base import Repository
from nexgent_db.cli.app import app
from nexgent_db.contract import (
    CheckedQuery,
    _file,
    all_sources,
    check,
    check_older,
    compare,
    compare_offline,
    contract_path,
    explain,
    read,
    render,
    seed,
)
from nexgent_db.schema.roles import apply_roles
from nexgent_db.testing.databases import Databases
from tests.contract.support import made_up
from tests.support.servers.roles import NOT_THE_TENANTS, new_prefix

RUN = CliRunner()


def test_every_query_matches_its_method_and_schema(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        report = check(connection, all_sources(Repository))
    assert [str(problem) for problem in report.problems] == []
    assert [str(problem) for problem in compare(report.queries, read())] == []


@pytest.fixture(scope="module")
def seeded(nexgent_databases: Databases, nexgent_template_url: str) -> Iterator[psycopg.Connection[Any]]:
    """Tables large enough that their indexes matter."""
    with nexgent_databases.copy(nexgent_template_url) as url, psycopg.connect(url) as connection:
        connection.autocommit = True
        seed(connection)
        yield connection


@pytest.fixture(scope="module")
def proven(seeded: psycopg.Connection[Any]) -> Sequence[CheckedQuery]:
    """Every query, as the check found it."""
    return check(seeded, all_sources(Repository)).queries


def test_no_query_scans_large_table(seeded: psycopg.Connection[Any], proven: Sequence[CheckedQuery]) -> None:
    plans = explain(seeded, proven)
    assert [str(problem) for problem in plans.problems] == []
    assert "agents_pkey" in plans.indexes["agents.update"]


def test_row_level_security_adds_no_scan_of_large_table(
    seeded: psycopg.Connection[Any], proven: Sequence[CheckedQuery]
) -> None:
    queries = [
        each
        for each in proven
        if each.source.query.qualified_name not in NOT_THE_TENANTS and each.source.query.file != "doctor"
    ]
    prefix = new_prefix()
    with seeded.transaction(force_rollback=True):
        apply_roles(seeded, prefix)
        seeded.execute(f"SET LOCAL ROLE {prefix}_tenant".encode())
        plans = explain(seeded, queries)
    assert [str(problem) for problem in plans.problems if problem.rule == "seq scan"] == []
    assert "agents_user_id_idx" in plans.indexes["positions.list_by_agent"]


@pytest.mark.parametrize(
    ("comment", "where", "rule", "reported"),
    [
        ("", "token_symbol = 'X'", "seq scan", "agent_positions, 20,000 rows, is read from end to end"),
        ("-- check: seq scan agent_positions: once a year\n", "token_symbol = 'X'", None, None),
        (
            "-- check: seq scan agent_positions: once a year\n",
            "id = gen_random_uuid() AND id = :id",
            "needless override",
            "no sequential scan of a large table agent_positions",
        ),
        ("-- check: seq scan agents: once a year\n", "token_symbol = 'X'", "needless override", "large table agents"),
    ],
)
def test_sequential_scan_and_its_comment_require_each_other(
    comment: str, where: str, rule: str | None, reported: str | None, seeded: psycopg.Connection[Any], tmp_path: Path
) -> None:
    parameters = {"id": UUID} if ":id" in where else {}
    query = made_up(tmp_path, f"-- name: q :rows\n{comment}DELETE FROM agent_positions WHERE {where};", parameters, int)
    found = {problem.rule: problem for problem in explain(seeded, check(seeded, [query]).queries).problems}
    if rule is None or reported is None:
        assert found == {}
    else:
        assert reported in found[rule].actual
        assert found[rule].sql == f"{tmp_path / 'things.sql'}:{2 if comment else 1}:1"
        assert found[rule].python is not None


def test_offline_check_compares_contract_without_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_contract_of_other_schema_is_reported(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        report = check(connection, all_sources(Repository))
    committed = json.loads(render(report.queries, {}))
    committed["queries"][0]["columns"] = "id int4"
    (problem,) = compare(report.queries, committed)
    assert "id int4" in problem.declared
    assert problem.query == committed["queries"][0]["query"]


def test_check_json_reports_success(database_url: str) -> None:
    done = RUN.invoke(app, ["check", "--database-url", database_url, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["problems"] == []
    assert {"query": "agents.update", "variants": 16, "indexes": None} in found["queries"]


def test_offline_check_fails_on_stale_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert RUN.invoke(app, ["check", "--offline"]).exit_code == 0
    monkeypatch.setattr(_file, "contract_path", lambda: tmp_path / "contract.json")
    done = RUN.invoke(app, ["check", "--offline"])
    assert done.exit_code == 1
    assert "stale contract" in done.output


def test_check_json_reports_problems(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = [made_up(tmp_path, "-- name: q :many\nSELECT id FROM agents ORDER BY id;", {}, list[UUID])]
    monkeypatch.setattr("nexgent_db.cli.check.all_sources", lambda _: sources)
    done = RUN.invoke(app, ["check", "--database-url", database_url, "--json"])
    assert done.exit_code == 1
    (problem,) = json.loads(done.stdout)["problems"]
    python = problem.pop("python")
    assert python.startswith("tests/contract/support.py:")
    assert problem == {
        "rule": "limit",
        "query": "things.q",
        "sql_path": str(tmp_path / "things.sql"),
        "sql_line": 1,
        "sql_column": 12,
        "declared": ":many",
        "actual": "no LIMIT: the whole table",
        "advice": "add LIMIT, or -- check: limit: what limits it",
        "variants": 1,
    }


# --- Another revision -------------------------------------------------------------------------------

OLD_SQL = {
    "old": (
        "-- name: fine :one\nSELECT 1 AS number;\n"
        "-- name: broken :one\nSELECT nothing FROM users;\n"
        "-- name: wider :optional\nSELECT id, balance FROM agent_balances WHERE id = :id;\n"
        "-- name: narrower :optional\nSELECT email FROM users WHERE id = :id;\n"
        "-- name: more :optional\nSELECT id FROM agents WHERE name = :name; -- check: one: as it was\n"
        "-- name: some :many\nSELECT id FROM agents\nWHERE id = :id -- if given\nORDER BY id LIMIT 5;\n"
    ),
    "torn": "-- name: q :one\nSELECT 'never closed;\n",
    "wrong": "\n-- name: q :several\nSELECT 1;\n",
    "gone": "-- name: q :one\nSELECT 1 FROM nowhere;\n-- name: r :one\nSELECT 1 FROM nowhere_else;\n",
}
OLD_CONTRACT = [
    ("old.fine", "one", "", "number int4", {}),
    ("old.broken", "one", "", "nothing int4", {}),
    ("old.wider", "at most one", "id uuid", "id uuid, balance numeric(20,8)", {}),
    ("old.narrower", "at most one", "id uuid", "email varchar(255)?", {}),
    ("old.more", "at most one", "name varchar", "id uuid", {}),
    ("old.some", "many", "id uuid", "id uuid", {"variants": 2, "first_given": []}),
    ("old.some", "many", "id int8", "id uuid", {"variants": 2, "first_given": ["id"]}),
]


@pytest.fixture
def another_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the queries of an older system, whose files and contract can be changed."""
    (tmp_path / "sql").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commit(place: Path, sql: dict[str, str], contract: list[tuple[str, str, str, str, dict[str, Any]]] | None) -> None:
    for name, text in sql.items():
        (place / "sql" / f"{name}.sql").write_text(text)
    if contract is not None:
        lines = [
            {"query": query, "rows": rows, "parameters": parameters, "columns": columns, **more}
            for query, rows, parameters, columns, more in contract
        ]
        (place / "sql" / "contract.json").write_text(json.dumps({"version": 1, "queries": lines}))
    for command in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"]):
        subprocess.run(["git", *command], cwd=place, check=True)


def against(url: str, revision: str = "HEAD") -> tuple[int, dict[tuple[str, str], tuple[int, int, str, str]]]:
    done = RUN.invoke(app, ["check", "--database-url", url, "--against", revision, "--json"])
    return done.exit_code, {
        (each["query"], each["rule"]): (each["sql_line"], each["sql_column"], each["declared"], each["actual"])
        for each in json.loads(done.stdout)["problems"]
    }


def test_check_since_reports_every_broken_file_and_query(database_url: str, another_revision: Path) -> None:
    commit(another_revision, OLD_SQL, None)
    code, found = against(database_url)
    assert code == 1
    assert {key: place[:2] for key, place in found.items()} == {
        ("gone.q", "refused"): (2, 15),
        ("gone.r", "refused"): (4, 15),
        ("old.broken", "refused"): (4, 8),
        ("torn.sql", "unreadable"): (2, 8),
        ("wrong.sql", "unreadable"): (2, 12),
    }
    assert found["old.broken", "refused"][3] == 'column "nothing" does not exist'
    done = RUN.invoke(app, ["check", "--database-url", database_url, "--against", "HEAD"])
    assert "HEAD:sql/gone.sql:4:15" in done.output
    assert "HEAD:sql/torn.sql:2:8" in done.output


def test_check_since_compares_promised_columns(database_url: str, another_revision: Path) -> None:
    commit(another_revision, {"old": OLD_SQL["old"]}, OLD_CONTRACT)
    code, found = against(database_url)
    assert code == 1
    assert found == {
        ("old.broken", "refused"): (4, 8, "a statement", 'column "nothing" does not exist'),
        ("old.wider", "changed result"): (5, 1, "balance numeric(20,8)", "numeric(38,18)"),
        ("old.more", "changed result"): (9, 1, "rows: at most one", "many"),
        ("old.some", "changed result"): (11, 1, ":id int8", "uuid"),
    }


@pytest.mark.parametrize(
    ("columns", "declared", "actual"),
    [
        ("password_hash varchar(255)", "password_hash varchar(255), never NULL", "it can be NULL"),
        ("password_hash text?", "password_hash text", "varchar(255)"),
        ("hash varchar(255)?", "columns hash", "columns password_hash"),
        ("id uuid, password_hash varchar(255)?", "columns id, password_hash", "columns password_hash"),
    ],
)
def test_changed_column_is_reported(
    columns: str, declared: str, actual: str, database_url: str, another_revision: Path
) -> None:
    sql = "-- name: q :optional\nSELECT password_hash FROM users WHERE id = :id;\n"
    commit(another_revision, {"old": sql}, [("old.q", "at most one", "id uuid", columns, {})])
    assert against(database_url) == (1, {("old.q", "changed result"): (1, 1, declared, actual)})


def test_contract_in_other_format_is_not_compared(database_url: str, another_revision: Path) -> None:
    for text in ('{"version": 99, "queries": 1}', "{"):
        (another_revision / "sql" / "contract.json").write_text(text)
        commit(another_revision, {"old": f"-- name: fine :one\nSELECT {len(text)};\n"}, None)
        assert against(database_url) == (0, {})


def test_committed_contract_still_holds(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        assert [str(each) for each in check_older(connection, contract_path().parent, "sql")] == []


def test_unknown_revision_is_reported(database_url: str, another_revision: Path) -> None:
    commit(another_revision, {"old": "-- name: fine :one\nSELECT 1;\n"}, None)
    for revision in ("nowhere", "--output=x"):
        done = RUN.invoke(app, ["check", "--database-url", database_url, "--against", revision])
        assert done.exit_code == 1
        assert revision in str(done.exception or done.output)
    assert not (another_revision / "x").exists()
