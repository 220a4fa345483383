"""The workflow, the pre-commit hooks and .gitattributes name existing commands and files."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()


def workflow() -> dict[str, Any]:
    document = yaml.safe_load((ROOT / ".github" / "workflows" / "check.yml").read_text())
    jobs: dict[str, Any] = document["jobs"]
    return jobs


def steps() -> list[dict[str, Any]]:
    return [step for job in workflow().values() for step in job["steps"]]


def test_workflow_tests_every_python_that_package_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [kind.removeprefix("Programming Language :: Python :: ") for kind in project["classifiers"] if "::" in kind]
    matrix = workflow()["servers"]["strategy"]["matrix"]
    assert matrix["python"] == [version for version in named if re.fullmatch(r"3\.\d+", version)]
    assert matrix["postgres"] == ["15", "16", "17", "18"]
    assert {image.partition(":")[0] for image in matrix["cache"]} == {"redis", "valkey/valkey"}


def test_workflow_runs_targets_that_exist_and_no_foreign_action() -> None:
    for step in steps():
        assert re.fullmatch(r"actions/[a-z-]+@v\d+", step.get("uses", "actions/checkout@v4"))
        for targets in re.findall(r"^make ([a-z -]+)$", step.get("run", ""), re.MULTILINE):
            for target in targets.split():
                assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target


def test_pre_commit_hooks_run_existing_commands() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        program, *arguments = hook["entry"].split()
        assert program.startswith(".venv/bin/")
        if arguments[0] == "-m":
            assert importlib.util.find_spec(arguments[1]) is not None, hook["id"]


def test_generated_files_are_marked() -> None:
    marked = {
        line.split()[0]
        for line in (ROOT / ".gitattributes").read_text().splitlines()
        if line.endswith(" linguist-generated")
    }
    assert {"nexgent_db/sync/**", "tests/integration/sync/**", "nexgent_db/aio/protocols.py"} <= marked
