"""A folder of migrations of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.migrating import Write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "migrations [1]"  # yoyo takes a folder for a glob pattern
    path.mkdir()
    return path


@pytest.fixture
def write(folder: Path) -> Write:
    def write(name: str, up: str, down: str | None = "SELECT 1;") -> Path:
        (folder / f"{name}.sql").write_text(up, encoding="utf-8")
        if down is not None:
            (folder / f"{name}.rollback.sql").write_text(down, encoding="utf-8")
        return folder / f"{name}.sql"

    return write


@pytest.fixture
def three(write: Write, folder: Path) -> Path:
    """Three migrations that cannot be applied twice: each makes a table, and the second two statements."""
    write("0001_a", "CREATE TABLE a (n int);", "DROP TABLE a;")
    write("0002_b", "CREATE TABLE b (n int);\nINSERT INTO a VALUES (1);", "DELETE FROM a;\nDROP TABLE b;")
    write("0003_c", "CREATE TABLE c (n int);", "DROP TABLE c;")
    return folder
