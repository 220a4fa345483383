"""The wheel: it carries the SQL, and migrates a database from anywhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import psycopg
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT],
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("*.whl")
    return built


def test_wheel_carries_every_sql_file_inside_package(wheel: Path) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("sql", "migrations"):
        files = {path.name for path in (ROOT / folder).rglob("*") if path.is_file()}
        assert len(files) > 9
        assert {name.rpartition("/")[2] for name in packed if name.startswith(f"nexgent_db/_{folder}/")} == files
    assert "nexgent_db/py.typed" in packed
    assert {name.split("/")[0].split("-")[0] for name in packed} == {"nexgent_db"}


def test_wheel_has_the_pytest_plugin(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        (entry_points,) = (name for name in packed.namelist() if name.endswith("entry_points.txt"))
        assert "[pytest11]\nnexgent_db = nexgent_db.testing\n" in packed.read(entry_points).decode()
        assert {"nexgent_db/testing/__init__.py", "nexgent_db/testing/sync/__init__.py"} <= set(packed.namelist())


def test_installed_wheel_migrates_from_empty_directory(wheel: Path, empty_database: str, tmp_path: Path) -> None:
    venv, elsewhere = tmp_path / "venv", tmp_path / "elsewhere"
    elsewhere.mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    pip: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        venv / "bin/python",
        "--quiet",
        "--disable-pip-version-check",
    ]
    # The wheel itself has no hash, and pip wants one of each or of none.
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    versions = tmp_path / "versions.txt"
    versions.write_text(re.sub(r" \\\n(?:    --hash=.*\n)+", "\n", pins), encoding="utf-8")
    subprocess.run([*pip, "install", "--no-compile", "--constraint", versions, wheel], check=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [venv / "bin/nexgent-db", "migrate"],
        cwd=elsewhere,
        env=environment | {"DATABASE_URL": empty_database},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with psycopg.connect(empty_database) as connection:
        row = connection.execute("SELECT count(*) FROM _yoyo_migration").fetchone()
    assert row == (len([path for path in (ROOT / "migrations").glob("*.sql") if ".rollback." not in path.name]),)
    assert list(elsewhere.iterdir()) == []
