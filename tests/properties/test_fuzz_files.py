"""Any file of queries, any migration and any history to replay is read, or refused with its own error."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest
from hypothesis import example, given

from nexgent_db.contract import read as read_contract
from nexgent_db.contract._plpgsql import read_body
from nexgent_db.contract._plpgsql_flow import flow_of
from nexgent_db.contract._plpgsql_nodes import Unreadable
from nexgent_db.errors import ConfigurationError, MigrationError, SqlFileError
from nexgent_db.migrations.files import read_folder
from nexgent_db.migrations.lint import lint, lint_own
from nexgent_db.migrations.touched import created, touched
from nexgent_db.project import Project
from nexgent_db.queries.lexer import lexemes, statements
from nexgent_db.queries.sqlfile import load_directory, load_file
from nexgent_db.replay import BadLine, ReplayError
from nexgent_db.replay.events import read_history
from nexgent_db.resources import data_dir
from tests.support.builders.mutants import ensure_good, fuzz, mutant_bytes, mutants

_QUERIES: Final = (
    "-- Positions.\n\n-- name: find :optional\n-- A promise.\nSELECT id FROM t WHERE id = :id\n"
    "  AND a = :a -- if given\nLIMIT :limit;\n",
    "-- name: a :exec\nUPDATE t SET x = E'\\n:x' WHERE y = :y;\n-- name: b :stream\nSELECT $$:x$$, \"a:b\" /* :c */;\n",
)
_MIGRATIONS: Final = (
    "-- Why: a table.\n-- Locks: none.\n-- Rollback loses: all of it.\n-- lock_timeout: 5s\n"
    "CREATE TABLE t (id int CONSTRAINT t_pkey PRIMARY KEY, n numeric DEFAULT 0);\nCREATE INDEX t_n ON t (lower(n));\n",
    "-- transactional: false\nCREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (a);\n",
    "-- depends: 0000\n-- irreversible: it is\n"
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; END;\n"
    "ALTER TABLE a.b ADD COLUMN c text DEFAULT now(), DROP COLUMN d;\n"
    "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING;\n"
    "DO $$ BEGIN IF EXISTS (SELECT FROM t) THEN RAISE EXCEPTION 'x'; END IF; END $$;\n",
)
_SQL: Final = (
    ":a",
    "--",
    "-- name: c :one\n",
    "-- if given\n",
    "E'",
    "U&'",
    "$t$",
    "BEGIN",
    "END",
    "COMMIT",
    "COPY",
    "(",
)
_BODIES: Final = (
    "DECLARE a int := 1; b record;\nBEGIN\n IF a = 1 THEN RETURN; ELSIF a > 2 THEN a := a + 1; ELSE NULL; END IF;\n"
    " FOR i IN REVERSE 1 .. 3 BY 2 LOOP CONTINUE WHEN i = 2; END LOOP;\n"
    " RAISE EXCEPTION 'x %', a USING ERRCODE = 'P0001';\nEND",
    "<<l>> BEGIN CASE a WHEN 1 THEN PERFORM f(); ELSE RETURN QUERY EXECUTE 'x' USING a; END CASE;\n"
    "SELECT x INTO STRICT a.b FROM t; GET DIAGNOSTICS a = ROW_COUNT; EXCEPTION WHEN others THEN NULL; END l;",
)
_PLPGSQL: Final = (
    "BEGIN",
    "END",
    "IF",
    "THEN",
    "LOOP",
    "END LOOP;",
    ";",
    "..",
    ":=",
    "INTO",
    "<<a>>",
    "EXCEPTION WHEN",
)
_LINES: Final = tuple(
    json.dumps(event)
    for event in (
        {
            "kind": "transfer_in",
            "tx_hash": "h",
            "time": "2025-04-27T22:54:01Z",
            "wallet": "W",
            "mint": "native",
            "symbol": "SOL",
            "amount": "1.5",
            "amount_usd": "0",
            "to": None,
        },
        {
            "kind": "swap",
            "tx_hash": "h",
            "time": "0001-01-01T00:00:00+14:00",
            "wallet": "W",
            "input_mint": "native",
            "input_symbol": "SOL",
            "input_amount": "1",
            "input_usd": "150.25",
            "output_mint": "T",
            "output_symbol": "T",
            "output_amount": "3e2",
        },
    )
)
_JSON: Final = (
    '"',
    "{",
    "}",
    "[",
    ":",
    ",",
    "\\ud800",
    "\\u0000",
    '"kind":',
    '"9999-12-31T23:59:59-14:00"',
    '"1e-400"',
)
_PROJECTS: Final = (
    '[tool.nexgent-db]\nsql = ["a"]\nmodules = ["a.b"]\ncontract = "c.json"\n'
    '[tool.nexgent-db.migrations]\nalerts = "m"\n',
)
_TOML: Final = ("=", "[", "]", "[[", '"""', "queries", "migrations = ", "1e9", "inf", "1979-05-27", "{", "}")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@fuzz
@given(mutant_bytes(_QUERIES, _SQL))
def test_any_file_of_queries_is_read_or_refused(folder: Path, content: bytes) -> None:
    path = folder / "queries" / "some_file.sql"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    try:
        for query in load_file(path).queries.values():
            for statement in query.variants():
                assert statement.text
        load_directory(path.parent)
    except SqlFileError as error:
        ensure_good(error)


@fuzz
@given(mutant_bytes(_MIGRATIONS, _SQL), mutant_bytes(_MIGRATIONS, _SQL))
def test_any_migration_is_read_and_linted_or_refused(folder: Path, up: bytes, down: bytes) -> None:
    migrations = folder / "migrations"
    migrations.mkdir(exist_ok=True)
    (migrations / "0001_a.sql").write_bytes(up)
    (migrations / "0001_a.rollback.sql").write_bytes(down)
    for finding in [*lint(migrations), *lint_own({"other": migrations})]:
        assert str(finding)
    try:
        for migration in read_folder(migrations):
            assert created([migration]) is not None
            for script in filter(None, (migration.up, migration.down)):
                assert all(str(each) for each in touched(script))
    except MigrationError as error:
        ensure_good(error)


@fuzz
@given(mutants((*_MIGRATIONS, *_QUERIES), _SQL))
def test_any_script_is_split(text: str) -> None:
    for span in statements(text):
        assert 0 <= span.start < span.end <= len(text)
    for lexeme in lexemes(text):
        assert text[lexeme.start : lexeme.start + len(lexeme.text)].lower() == lexeme.text.lower()


@fuzz
@given(mutants(_BODIES, _PLPGSQL))
def test_any_body_of_a_function_is_read_or_unreadable(body: str) -> None:
    with suppress(Unreadable):
        flow_of(read_body(body))


@fuzz
@given(mutant_bytes(_LINES, _JSON), mutant_bytes(_LINES, _JSON))
@example(b"", _LINES[1].encode())  # a time of the year 0 in UTC
def test_any_line_of_a_history_is_an_event_or_a_bad_line(folder: Path, first: bytes, second: bytes) -> None:
    path = folder / "history.jsonl"
    path.write_bytes(first + b"\n" + second)
    for line in read_history(path):
        if isinstance(line, BadLine):
            assert len(str(line)) < 5_000
        else:
            line.event.model_dump_json()
            assert line.event.time.utctimetuple()
            assert line.event.traded_mint
    with pytest.raises(ReplayError):
        list(read_history(folder / "nothing" / "here"))


@fuzz
@given(mutant_bytes(_PROJECTS, _TOML))
@example(b"a = " + b"[" * 5_000)
def test_any_project_is_read_or_refused(folder: Path, content: bytes) -> None:
    (folder / "pyproject.toml").write_bytes(content)
    try:
        Project.find(folder)
    except ConfigurationError as error:
        ensure_good(error)


@fuzz
@given(mutant_bytes(['{"queries": [{"name": "a"}], "digest": "x"}'], _JSON))
@example(b"[" * 20_000)
def test_any_contract_is_read_or_refused(folder: Path, content: bytes) -> None:
    (folder / "contract.json").write_bytes(content)
    try:
        read_contract(folder / "contract.json")
    except ConfigurationError as error:
        ensure_good(error)


def test_own_files_are_read() -> None:
    """So the samples above stand for what there is."""
    assert load_directory(data_dir("sql"))
    assert read_folder(data_dir("migrations"))
