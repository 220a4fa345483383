"""``nexgent-db cells``: made, listed, migrated several at a time, moved and dropped; each refusal changes nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import psycopg
import pytest
from typer.testing import CliRunner, Result

from nexgent_db import Database
from nexgent_db.cli.app import app
from nexgent_db.errors import InvalidInput, MigrationError, MigrationLocked
from nexgent_db.migrations import Cells, Migrator
from nexgent_db.migrations import connection as server
from nexgent_db.resources import data_dir
from nexgent_db.settings import with_schema
from tests.support.builders.migrating import connected
from tests.support.servers.cells import make_empty_cells

RUN: Final = CliRunner()
LAST: Final = max(path.stem for path in data_dir("migrations").glob("*.sql") if "rollback" not in path.name)


def cells(*arguments: str, url: str) -> Result:
    return RUN.invoke(app, ["cells", *arguments, "--database-url", url])


def said(result: Result) -> str:
    return f"{result.output} {result.exception or ''}"


def states(url: str) -> dict[str, str]:
    return {cell.name: cell.state for cell in Cells(url).statuses()}


@pytest.fixture
def two(empty_database: str) -> str:
    """A database of two cells with all migrations, and nothing outside of them."""
    make_empty_cells(empty_database, ["cell_1", "cell_2"])
    assert [each.error for each in Cells(empty_database).migrate()] == [None, None]
    return empty_database


def test_cell_is_made_listed_and_dropped(empty_database: str) -> None:
    made = cells("create", "cell_7", url=empty_database)
    assert made.exit_code == 0, said(made)
    assert "cell_7 made:" in made.output
    listed = cells("list", "--json", url=empty_database)
    assert json.loads(listed.stdout) == {
        "cells": [{"name": "cell_7", "state": "up to date", "pending": 0, "problem": None, "node": None}]
    }
    assert (listed.exit_code, cells("list", url=empty_database).exit_code) == (0, 0)
    with Database(empty_database) as db:
        db.for_schema("cell_7").assert_schema()
    dropped = cells("drop", "cell_7", "--confirm", "cell_7", url=empty_database)
    assert "cell_7 dropped" in dropped.output
    assert states(empty_database) == {}


def test_made_twice_is_refused_and_changes_nothing(two: str) -> None:
    with pytest.raises(MigrationError, match="there is a schema cell_1 already"):
        Cells(two).create("cell_1")
    assert states(two) == {"cell_1": "up to date", "cell_2": "up to date"}


@pytest.mark.parametrize("name", ["", "pg_toast", "information_schema", "x" * 64, "$user"])
def test_impossible_name_is_refused(empty_database: str, name: str) -> None:
    with pytest.raises(InvalidInput, match="^cell: "):
        Cells(empty_database).create(name)


def test_cells_behind_are_listed_and_one_failure_stops_no_other(two: str) -> None:
    """cell_1 has a table of the pending migration's name already."""
    make_empty_cells(two, ["cell_3"])
    for cell in ("cell_1", "cell_2"):
        Migrator(with_schema(two, cell)).rollback(1)
    with connected(two) as conn:
        conn.execute("CREATE TABLE cell_1.user_cells (n int)")
    listed = cells("list", url=two)
    assert listed.exit_code == 2
    assert "3 cells, 3 behind: nexgent-db cells migrate" in listed.output
    migrated = cells("migrate", "--json", "--jobs", "2", url=two)
    assert migrated.exit_code == 1
    results = {each["name"]: each for each in json.loads(migrated.stdout)["cells"]}
    assert results["cell_1"]["error"]["code"] == "migration_error"
    assert f"{LAST}.sql:" in results["cell_1"]["error"]["message"]
    assert results["cell_1"]["applied"] == []
    assert results["cell_2"] == {"name": "cell_2", "applied": [LAST], "error": None}
    assert results["cell_3"]["error"] is None
    assert LAST in results["cell_3"]["applied"]
    assert states(two) == {"cell_1": "behind", "cell_2": "up to date", "cell_3": "up to date"}
    with connected(two) as conn:
        conn.execute("DROP TABLE cell_1.user_cells")
    again = cells("migrate", url=two)
    assert (again.exit_code, "1 cells migrated, 0 failed" in again.output) == (0, True)
    assert "nothing to do" in cells("migrate", url=two).output


def test_newer_cell_is_listed_and_refused(two: str) -> None:
    with connected(two) as conn:
        conn.execute(
            "UPDATE cell_1._yoyo_migration SET migration_id = '29991231_next', migration_hash = 'x'"
            f" WHERE migration_id = '{LAST}'"
        )
    listed = cells("list", url=two)
    assert (listed.exit_code, states(two)["cell_1"]) == (1, "newer")
    assert "the database is newer than this release" in listed.output
    result = cells("migrate", url=two)
    assert result.exit_code == 1
    assert "cell_1: 29991231_next: the database has it" in result.output
    assert states(two)["cell_2"] == "up to date"


@pytest.mark.parametrize("command", [("migrate",), ("list",)])
def test_unknown_cell_is_named(two: str, command: tuple[str, ...]) -> None:
    assert "no cell is called cell_9" in said(cells(*command, "cell_1", "cell_9", url=two))


def test_cell_with_users_is_dropped_only_with_its_data(two: str) -> None:
    with Database(two) as db:
        db.for_schema("cell_1").users.create(f"{uuid4()}@example.org")
    with pytest.raises(MigrationError, match="cell_1 has 1 users: --with-data"):
        Cells(two).drop("cell_1")
    with pytest.raises(MigrationError, match="no cell is called public"):
        Cells(two).drop("public", with_data=True)
    assert "should repeat the name" in said(cells("drop", "cell_1", "--confirm", "cell_2", "--with-data", url=two))
    assert states(two)["cell_1"] == "up to date"
    assert cells("drop", "cell_1", "--confirm", "cell_1", "--with-data", url=two).exit_code == 0
    assert list(states(two)) == ["cell_2"]


def test_cell_of_the_directorys_users_is_not_dropped(fresh_database_url: str) -> None:
    make_empty_cells(fresh_database_url, ["cell_1"])
    with Database(fresh_database_url) as db:
        db.user_cells.create(uuid4(), "cell_1")
    with pytest.raises(MigrationError, match="cell_1 is the cell of 1 users in the directory: move them first"):
        Cells(fresh_database_url).drop("cell_1", with_data=True)
    assert states(fresh_database_url) == {"cell_1": "empty"}


def test_move_without_citus_is_refused(two: str) -> None:
    with pytest.raises(MigrationError, match="there is no node localhost:5433: the database has no extension citus"):
        Cells(two).move("cell_1", "localhost:5433")
    with pytest.raises(MigrationError, match="no extension citus"):
        Cells(two).create("cell_3", "localhost:5433")
    assert list(states(two)) == ["cell_1", "cell_2"]


@pytest.fixture
def held(two: str) -> Iterator[str]:
    """A mover holds cell_1."""
    begun, over = threading.Event(), threading.Event()

    def hold() -> None:
        with server.migration_lock(two, 5, lambda _: None, "cell_1", "moves the cell cell_1"):
            begun.set()
            over.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert begun.wait(30)
    yield two
    over.set()
    thread.join()


@pytest.mark.parametrize("change", ["move", "drop", "migrate"])
def test_second_change_of_one_cell_names_the_first(held: str, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nexgent_db.migrations.cells._WAIT_S", 0.2)
    found = Cells(held)
    first = "nexgent-db moves the cell cell_1"
    if change == "migrate":
        Migrator(with_schema(held, "cell_2")).rollback(1)
        with connected(held) as conn:
            conn.execute("SET search_path = cell_1")
        with pytest.raises(MigrationLocked, match=first):
            Migrator(with_schema(held, "cell_1"), lock_wait_s=0.2).rollback(1)
        assert [each.error for each in found.migrate()] == [None], "another cell waits for nobody"
        return
    calls: dict[str, Any] = {"move": lambda: found.move("cell_1", None), "drop": lambda: found.drop("cell_1")}
    with pytest.raises(MigrationLocked, match=first):
        calls[change]()
    assert states(held)["cell_1"] == "up to date"


def test_cells_get_their_rights(two: str, tmp_path: Path) -> None:
    del tmp_path
    prefix = f"cells{uuid4().hex[:8]}"
    try:
        assert cells("migrate", "--roles", "--prefix", prefix, url=two).exit_code == 0
        with connected(two) as conn:
            for cell in ("cell_1", "cell_2"):
                for role, may in (("app", True), ("readonly", False)):
                    row = conn.execute(
                        "SELECT has_table_privilege(%s, %s, 'INSERT')", [f"{prefix}_{role}", f"{cell}.users"]
                    ).fetchone()
                    assert (cell, role, row) == (cell, role, (may,))
    finally:
        with psycopg.connect(two, autocommit=True) as connection:
            for role in ("owner", "migrator", "app", "tenant", "worker", "readonly"):
                connection.execute(f"REASSIGN OWNED BY {prefix}_{role} TO CURRENT_USER".encode())
                connection.execute(f"DROP OWNED BY {prefix}_{role} CASCADE".encode())
                connection.execute(f"DROP ROLE {prefix}_{role}".encode())
