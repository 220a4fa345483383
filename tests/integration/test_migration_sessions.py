"""A migration that changes its session or is very long, and migrations that are marked without being run."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from psycopg.conninfo import make_conninfo
from typer.testing import CliRunner

from nexgent_db.cli.app import app
from nexgent_db.errors import MigrationError
from nexgent_db.migrations import Migrator
from nexgent_db.migrations.files import read_folder
from nexgent_db.queries.lexer import statements, tokens_of_any
from tests.integration.test_cli_migrations import package  # noqa: F401  # a fixture
from tests.support.builders.migrating import Write, applied, connected, log_of, one, tables

RUN: Final = CliRunner()

# --- Statements that change the session ---------------------------------------------------------

CHANGES: Final = {
    "search_path": "SET search_path = elsewhere, public",
    "no search_path": "SET search_path = ''",
    "role": "SET ROLE nobody_of_the_tests",
    "session authorization": "SET SESSION AUTHORIZATION nobody_of_the_tests",
    "read only": "SET default_transaction_read_only = on",
    "replica": "SET session_replication_role = replica",
    "strings": "SET standard_conforming_strings = off",
    "statement_timeout": "SET statement_timeout = '1ms'",
    "row_security": "SET row_security = off",
    "temporary table": "CREATE TEMPORARY TABLE _yoyo_migration (n int)",
}


@pytest.fixture
def with_role(empty_database: str) -> Any:
    with connected(empty_database) as conn:
        conn.execute("CREATE SCHEMA elsewhere")
        conn.execute("CREATE TABLE elsewhere._yoyo_migration (n int)")
        conn.execute("CREATE ROLE nobody_of_the_tests")
        yield
        conn.execute("DROP ROLE nobody_of_the_tests")


@pytest.mark.usefixtures("with_role")
@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
@pytest.mark.parametrize("transactional", ["true", "false"])
def test_mark_is_written_whatever_the_file_changes(
    empty_database: str, write: Write, folder: Path, change: str, transactional: str
) -> None:
    head = f"-- transactional: {transactional}\n"
    text = f"{head}DO $$ BEGIN {change}; END $$;" if transactional == "false" else f"{head}{change};"
    write("0001_a", "CREATE TABLE a (n int);", "DROP TABLE a;")
    write("0002_changes", text, text)
    write("0003_c", "CREATE TABLE c (n int);", "DROP TABLE c;")
    migrator = Migrator(empty_database, folder)
    assert migrator.migrate() == ["0001_a", "0002_changes", "0003_c"]
    assert applied(migrator) == ["0001_a", "0002_changes", "0003_c"]
    assert tables(empty_database) == ["a", "c"]
    assert one(empty_database, "SELECT count(*) FROM _nexgent_migration") == 3
    assert migrator.rollback(3) == ["0003_c", "0002_changes", "0001_a"]
    assert [line.partition(" ")[0] for line in log_of(empty_database)] == ["apply"] * 3 + ["rollback"] * 3


def test_mark_that_cannot_be_written_says_what_is_left_to_do(empty_database: str, write: Write, folder: Path) -> None:
    write("0001_a", "CREATE TABLE runs (n int);", "DROP TABLE runs;")
    breaks = "ALTER TABLE _nexgent_migration ADD CONSTRAINT none CHECK (checksum IS NULL) NOT VALID"
    once = f"IF (SELECT count(*) FROM runs) = 1 THEN {breaks}; END IF"
    text = f"-- transactional: false\nDO $$ BEGIN INSERT INTO runs VALUES (1); {once}; END $$;"
    write("0002_breaks", text, text)
    migrator = Migrator(empty_database, folder)
    said = (
        r"0002_breaks\.sql: its statement was run, but is not marked: .*\"none\".*\."
        r" Run nexgent-db migrate again: it repeats the statement, then writes the mark"
    )
    with pytest.raises(MigrationError, match=said):
        migrator.migrate()
    assert applied(migrator) == ["0001_a"]
    assert one(empty_database, "SELECT count(*) FROM runs") == 1
    with connected(empty_database) as connection:
        connection.execute("ALTER TABLE _nexgent_migration DROP CONSTRAINT none")
    assert migrator.migrate() == ["0002_breaks"]
    assert applied(migrator) == ["0001_a", "0002_breaks"]
    assert one(empty_database, "SELECT count(*) FROM runs") == 2, "repeated"
    assert migrator.pending() == []


# --- Long files ---------------------------------------------------------------------------------

COUNT: Final = 60_000
SHAPES: Final = {
    "rows": lambda n: "".join(f"INSERT INTO t VALUES ({i}, 'some text here');\n" for i in range(n)),
    "one line": lambda n: "".join(f"INSERT INTO t VALUES ({i});" for i in range(n)),
    "comments": lambda n: "SELECT 1;\n" + "-- a comment; about\n/* it */\n" * n,
    "long insert": lambda n: "INSERT INTO t VALUES (1)" + ",\n('x', 2)" * n + ";",
    "continued strings": lambda n: "SELECT 'a'" + "\n'b'" * n + ";",
    "functions": lambda n: "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; END;\n" * (n // 4),
    "brackets": lambda n: "SELECT " + "(" * n + "1" + ")" * n + ";",
    "backslashes": lambda n: "SELECT E'\\\\', 'b\\';\n" * (n // 2),
    "tables": lambda n: "".join(f"CREATE TABLE t{i} (n int, CONSTRAINT a{i} CHECK (n > 0));\n" for i in range(n // 4)),
    "dollars": lambda n: "".join(f"SELECT $a{i}$;$a{i}$;\n" for i in range(n // 2)),
    "unclosed": lambda n: "".join(f"SELECT $a{i}$;\n" for i in range(n)),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
def test_reading_time_is_proportional_to_length(write: Write, folder: Path, shape: Callable[[int], str]) -> None:
    """In processor time, which other programs do not lengthen. Quadratic reading would take 16 times as long."""

    def read(count: int) -> float:
        write("0001_long", shape(count))
        began = time.process_time()
        read_folder(folder)
        return time.process_time() - began

    short, long = read(COUNT // 4), read(COUNT)
    assert long < 2.0
    assert long < 10 * max(short, 0.1)


def test_long_file_is_applied(empty_database: str, write: Write, folder: Path) -> None:
    write("0001_long", "CREATE TABLE t (n int, s text);\n" + SHAPES["rows"](COUNT), "DROP TABLE t;")
    assert Migrator(empty_database, folder).migrate() == ["0001_long"]
    assert one(empty_database, "SELECT count(*) FROM t") == COUNT


def test_failed_statement_of_long_file_has_its_line(empty_database: str, write: Write, folder: Path) -> None:
    write("0001_long", "CREATE TABLE t (n int, s text);\n" + SHAPES["rows"](COUNT) + "SELECT 1/0;\n", "DROP TABLE t;")
    with pytest.raises(MigrationError, match=rf"0001_long\.sql:{COUNT + 2}: division by zero"):
        Migrator(empty_database, folder).migrate()


def test_statements_of_any_text_cover_it() -> None:
    text = "create or replace function f(a int) begin atomic; case when (1) then; end; end; select ');'; (a;) b; x"
    found = [text[each.start : each.end] for each in statements(text)]
    assert found == [text.partition("; select")[0], "select ');'", "(a;) b", "x"]
    assert sum(token.end - token.start for token in tokens_of_any(text)) == len(text)


# --- Errors -------------------------------------------------------------------------------------


def test_hint_of_server_is_kept(empty_database: str, write: Write, folder: Path) -> None:
    write("0001_a", "CREATE TABLE a (amount int);")
    write("0002_b", "SELECT amuont FROM a;")
    with pytest.raises(MigrationError, match=r'column "amuont" does not exist\. Perhaps you meant .*"a\.amount"'):
        Migrator(empty_database, folder).migrate()


# --- Marks without a run ------------------------------------------------------------------------


@pytest.mark.usefixtures("package")
def test_squashed_history_is_marked_in_one_step(empty_database: str, three: Path, write: Write) -> None:
    migrator = Migrator(empty_database, three)
    migrator.migrate()
    texts = {name: (three / f"{name}.sql").read_text() for name in ("0001_a", "0002_b", "0003_c")}
    for path in three.iterdir():
        path.unlink()
    write(
        "0003_squashed",
        "CREATE TABLE a (n int); CREATE TABLE b (n int); CREATE TABLE c (n int);",
        "DROP TABLE a, b, c;",
    )
    with pytest.raises(MigrationError, match="0001_a: the database has it"):
        migrator.migrate()

    def mark(*more: str) -> Any:
        environment = {"DATABASE_URL": empty_database}
        return RUN.invoke(app, ["mark-applied", "0003_squashed", *more], env=environment)

    assert "say why" in str(mark("--reason", " ").exception)
    assert "0001_a: the database has it" in str(mark("--reason", "x").exception)
    assert applied(migrator) == ["0001_a", "0002_b", "0003_c"]
    done = mark("--reason", "squashed into one", "--squashed")
    assert (done.exit_code, done.stdout) == (0, "marked: 0003_squashed\n1 marked; now nexgent-db drift\n")
    assert applied(migrator) == ["0003_squashed"]
    assert migrator.migrate() == []
    assert tables(empty_database) == ["a", "b", "c"]
    forgotten = one(empty_database, "SELECT accepted FROM _nexgent_repair")
    assert {each["migration"]: each["content"] for each in forgotten} == texts
    assert mark("--reason", "again", "--squashed").stdout == "nothing to do: all are marked\n"


def test_squash_forgets_no_migration_of_newer_release(empty_database: str, three: Path, write: Write) -> None:
    migrator = Migrator(empty_database, three)
    migrator.migrate()
    for path in three.iterdir():
        path.unlink()
    write("0002_squashed", "SELECT 1;")
    with pytest.raises(MigrationError, match="probably newer than this release: it has 0003_c"):
        migrator.mark_applied(["0002_squashed"], "squashed", squashed=True)
    assert applied(migrator) == ["0001_a", "0002_b", "0003_c"]
    assert migrator.mark_applied(["0002_squashed"], "squashed", squashed=True, forget=["0003_c"]) == ["0002_squashed"]
    assert applied(migrator) == ["0002_squashed"]


def test_marks_are_in_schema_of_search_path(empty_database: str, three: Path) -> None:
    with connected(empty_database) as conn:
        conn.execute("CREATE SCHEMA cell")
    cell = make_conninfo(empty_database, options="-csearch_path=cell")
    Migrator(cell, three).mark_applied(["0001_a"], "made by hand")
    assert applied(Migrator(cell, three)) == ["0001_a"]
    assert applied(Migrator(empty_database, three)) == []
