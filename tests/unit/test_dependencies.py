"""What is installed with this package: each file has a hash, each package a row in the docs and a known author."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, distribution, metadata, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

CHECKOUT = Path(__file__).parents[2]
EXTRAS = ("embedded", "keys", "opentelemetry", "prometheus", "testing")
PIN = re.compile(
    r"^([A-Za-z0-9._-]+)==([^ ;\\]+)([^\\\n]*)\\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE
)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(name: str, extras: Iterable[str], found: dict[str, set[str]]) -> dict[str, set[str]]:
    """Every installed package that this one needs with these extras."""
    key, wanted = normal(name), {"", *extras}
    if wanted <= found.get(key, set()):
        return found
    found.setdefault(key, set()).update(wanted)
    for text in distribution(name).requires or ():
        needed = Requirement(text)
        if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in wanted):
            try:
                closure(needed.name, needed.extras, found)
            except PackageNotFoundError:  # of another platform
                continue
    return found


def of_users() -> set[str]:
    return set(closure("nexgent-db", EXTRAS, {})) - {"nexgent-db"}


def pins() -> dict[str, str]:
    text = (CHECKOUT / "constraints.txt").read_text(encoding="utf-8")
    return {normal(found[1]): found[2] for found in PIN.finditer(text)}


def documented() -> Iterator[str]:
    text = (CHECKOUT / "docs" / "pages" / "architecture" / "dependencies.md").read_text(encoding="utf-8")
    for row in re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE):
        yield from re.findall(r"`([^`]+)`", row)


def test_every_line_of_the_constraints_is_a_pin_with_hashes() -> None:
    text = (CHECKOUT / "constraints.txt").read_text(encoding="utf-8")
    assert PIN.sub("", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)) == ""
    assert len(pins()) > 90


@pytest.mark.parametrize("name", sorted(of_users() | {"hatchling", "ruff", "mypy"}))
def test_installed_package_is_pinned_in_this_version(name: str) -> None:
    assert pins().get(name) == version(name)


def test_tools_that_build_the_package_are_pinned() -> None:
    assert closure("hatchling", (), {}).keys() <= pins().keys()


def test_docs_have_a_row_for_every_package_of_users_and_no_other() -> None:
    assert sorted(documented()) == sorted(of_users())


@pytest.mark.parametrize("name", sorted(of_users()))
def test_package_names_somebody_who_keeps_it(name: str) -> None:
    fields = metadata(name)
    names = [fields[field] for field in ("Author", "Author-email", "Maintainer", "Maintainer-email") if field in fields]
    assert any(names)


@pytest.mark.parametrize(
    "name", ["Makefile", "README.md", "docs/pages/quickstart.md", "docs/pages/architecture/dependencies.md"]
)
def test_every_command_that_installs_asks_for_hashes(name: str) -> None:
    """The package itself is built with the tools that were installed before, and brings nothing along."""
    text = (CHECKOUT / name).read_text(encoding="utf-8").replace("$(PIP)", "pip install")
    commands = re.findall(r"(?m)^(?:\$ |\t).*\bpip install +(-.*)$", text)
    assert commands[:1] == ["--require-hashes --requirement constraints.txt"]
    assert len(commands) > 1
    for options in map(str.split, commands[1:]):
        assert {"--no-deps", "--no-build-isolation"} <= set(options) or "--require-hashes" in options
        assert not any("[" in option for option in options)
