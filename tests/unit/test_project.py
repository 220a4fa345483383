"""The section ``[tool.nexgent-db]`` of a pyproject.toml: what it may say, and the error that names file and key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nexgent_db.errors import ConfigurationError
from nexgent_db.project import Project


def written(folder: Path, section: str) -> Path:
    file = folder / "pyproject.toml"
    file.write_text(f"[tool.nexgent-db]\n{section}\n")
    return file


def test_every_key_is_read_with_absolute_paths(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        """
        modules = ["my_service.alerts"]
        sql = ["my_service/sql", "more"]
        contract = "proofs/contract.json"
        migrations = { alerts = "db/alerts", audit = "db/audit" }
        ignore-drift = ["table alembic_version"]
        """,
    )
    project = Project.find(tmp_path)
    assert project == Project(
        file=file,
        modules=("my_service.alerts",),
        sql=(tmp_path / "my_service/sql", tmp_path / "more"),
        migrations={"alerts": tmp_path / "db/alerts", "audit": tmp_path / "db/audit"},
        contract=tmp_path / "proofs/contract.json",
        ignore_drift=("table alembic_version",),
    )
    assert list(project.migrations) == ["alerts", "audit"]


def test_contract_lies_with_the_first_sql_files_by_default(tmp_path: Path) -> None:
    written(tmp_path, 'sql = ["queries", "more"]')
    assert Project.find(tmp_path).contract == tmp_path / "queries/contract.json"
    written(tmp_path, 'modules = ["alerts"]')
    assert Project.find(tmp_path).contract == tmp_path / "contract.json"
    written(tmp_path, 'migrations = { alerts = "migrations" }')
    assert Project.find(tmp_path).contract is None


def test_nearest_file_with_the_section_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "services" / "alerts"
    inner.mkdir(parents=True)
    assert Project.find(inner) == Project()
    written(tmp_path, 'modules = ["outer"]')
    (inner / "pyproject.toml").write_text("[project]\nname = 'alerts'\n")
    monkeypatch.chdir(inner)
    assert Project.find().modules == ("outer",)
    written(inner, 'modules = ["inner"]')
    assert Project.find().modules == ("inner",)


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ("migration = {}", "unknown key 'migration': did you mean 'migrations'"),
        ("ignore_drift = []", "unknown key 'ignore_drift': did you mean 'ignore-drift'"),
        ("zzz = 1", "unknown key 'zzz': the keys are modules, sql, contract, migrations, ignore-drift"),
        ('modules = "alerts"', "modules: should be a list"),
        ('modules = ["my-service"]', "modules: 'my-service' is not the name of a module"),
        ("sql = [1]", "sql: should be a list"),
        ('sql = ["a", "a"]', "sql: 'a' is given twice"),
        ("contract = 1", "contract: should be the path of a file"),
        ('migrations = "migrations"', 'migrations: should be a table: { my_service = "migrations" }'),
        ('migrations = { "my-service" = "m" }', "migrations: 'my-service' cannot name a history"),
        ("migrations = { alerts = 1 }", "migrations.alerts: should be the path of a folder"),
    ],
)
def test_mistake_is_named_with_file_and_key(tmp_path: Path, section: str, problem: str) -> None:
    file = written(tmp_path, section)
    with pytest.raises(ConfigurationError, match=re.escape(f"{file}: [tool.nexgent-db]: {problem}")):
        Project.find(tmp_path)


def test_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_bytes(b"[tool.nexgent-db\n")
    with pytest.raises(ConfigurationError, match=f"{file}: is not TOML"):
        Project.find(tmp_path)
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match=f"{file}: is not TOML"):
        Project.find(tmp_path)
    file.write_text("[tool]\nnexgent-db = 1\n")
    with pytest.raises(ConfigurationError, match="should be a table"):
        Project.find(tmp_path)
