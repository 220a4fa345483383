"""Each statement of the page on other engines has a source, and what it says of our migrations is so."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PAGE = CHECKOUT / "docs" / "pages" / "guides" / "engines.md"
_LOCK = "IN SHARE UPDATE EXCLUSIVE MODE"


def without_source(page: str) -> list[str]:
    """The rows below the headings of its tables that neither link to a document nor say that they are our reading."""
    rows = [line for before, line in pairwise(page.splitlines()) if line.startswith("| ") and before]
    return [row for row in rows if "](https://" not in row and "our reading" not in row]


def test_every_row_has_a_source() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page.count("](https://") > 20
    assert without_source(page) == []
    assert without_source("\n| a | b |\n|---|---|\n| fast | very |\n") == ["| fast | very |"]


def test_locking_migrations_are_as_many_as_it_says() -> None:
    migrations = [path for path in (CHECKOUT / "migrations").glob("*.sql") if ".rollback" not in path.suffixes]
    locking = [path for path in migrations if _LOCK in path.read_text(encoding="utf-8")]
    said = re.search(rf"`LOCK TABLE … {_LOCK}`, in (\d+) migrations", PAGE.read_text(encoding="utf-8"))
    assert said is not None
    assert int(said[1]) == len(locking)


def test_features_that_it_calls_unused_are_unused() -> None:
    sql = "\n".join(path.read_text(encoding="utf-8") for path in (CHECKOUT / "migrations").glob("*.sql"))
    words = r"LISTEN|NOTIFY|pg_notify|DEFERRABLE|EXCLUDE|INHERITS"
    assert re.findall(rf"^[^-\n]*?\b({words})\b", sql, re.MULTILINE) == []
