"""Each promise of the security page names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PAGE = CHECKOUT / "docs" / "pages" / "concepts" / "security.md"
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def missing(page: str) -> list[str]:
    """The tests that a page names and that do not exist."""
    found = []
    for path, name in _TEST.findall(page):
        file = CHECKOUT / path
        if not file.is_file() or not re.search(rf"^(?:async )?def {name}\(", file.read_text(), re.MULTILINE):
            found.append(f"{path}::{name}")
    return found


def test_every_promise_names_a_test_that_exists() -> None:
    page = PAGE.read_text(encoding="utf-8")
    promises = page.split("## What is promised")[1].split("\n## ")[0]
    rows = [line for line in promises.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 15
    assert [row for row in rows if not _TEST.search(row)] == []
    assert missing(page) == []


def test_missing_test_is_found() -> None:
    assert missing("`tests/unit/test_security_page.py::test_missing_test_is_found`") == []
    assert missing("`tests/unit/test_security_page.py::test_none`") == ["tests/unit/test_security_page.py::test_none"]
    assert missing("`tests/unit/test_nowhere.py::test_none`") == ["tests/unit/test_nowhere.py::test_none"]
