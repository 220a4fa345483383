"""What Citus refuses is found in migrations and queries: integration/citus/test_refusals.py shows the refusals."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import nexgent_db
from nexgent_db.migrations.lint import lint
from nexgent_db.queries.citus import refusals
from nexgent_db.queries.lexer import statements
from tests.support.builders.refused import ACCEPTED, REFUSED

PACKAGE = Path(nexgent_db.__file__).parent
_VERBS = {
    "select",
    "insert",
    "update",
    "delete",
    "with",
    "create",
    "alter",
    "drop",
    "set",
    "lock",
    "grant",
    "savepoint",
}


@pytest.mark.parametrize(("rule", "sql"), REFUSED)
def test_refused_statement_is_found(rule: str, sql: str) -> None:
    assert [each.rule for each in refusals(sql)] == [rule]


@pytest.mark.parametrize(("rule", "sql"), REFUSED)
def test_statement_in_body_of_function_is_found_unless_it_is_ddl(rule: str, sql: str) -> None:
    if sql.startswith(("CREATE", "ALTER")):
        return
    body = f"CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$ BEGIN {sql}; END $$"
    assert [each.rule for each in refusals(body)] == [rule]


@pytest.mark.parametrize("sql", ACCEPTED)
def test_accepted_statement_is_not_found(sql: str) -> None:
    assert list(refusals(sql)) == []


@pytest.mark.parametrize(("rule", "sql"), REFUSED)
def test_migration_is_linted(rule: str, sql: str, tmp_path: Path) -> None:
    head = "-- Why: a test.\n-- Locks: none.\n-- Rollback loses: nothing.\n"
    (tmp_path / "20261130235959_x.sql").write_text(f"{head}{sql};\n")
    (tmp_path / "20261130235959_x.rollback.sql").write_text("SELECT 1;")
    found = [(each.rule, each.line) for each in lint(tmp_path) if each.rule == rule]
    assert found == [(rule, 4 + sql[: next(refusals(sql)).offset].count("\n"))]


def multiple(source: str) -> list[str]:
    """The string literals that hold several statements, of which Citus would send each to its nodes whole."""
    found = []
    tree = ast.parse(source)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
    for node in ast.walk(tree):
        if id(node) not in prose and isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            text = node.value if isinstance(node.value, str) else node.value.decode(errors="replace")
            spans = [each for each in statements(text) if each.words[:1] and each.words[0] in _VERBS]
            if ";" in text and len(spans) > 1:
                found.append(text)
    return found


def test_no_string_of_the_package_holds_two_statements() -> None:
    """Those of the contract and the report run on databases of their own."""
    sources = [path for folder in ("aio", "cli", "migrations", "schema") for path in (PACKAGE / folder).rglob("*.py")]
    assert {path.name: found for path in sources if (found := multiple(path.read_text()))} == {}


def test_string_of_two_statements_is_found() -> None:
    assert multiple("a = 'SELECT 1; UPDATE t SET n = 1'\nb = b'SET a = 1;'\nc = 'SELECT ;'") == [
        "SELECT 1; UPDATE t SET n = 1"
    ]
