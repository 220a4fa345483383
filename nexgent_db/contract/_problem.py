"""A problem of the check: its place, the declaration, the database's answer, and advice."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = ["Problem", "shown_path"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One disagreement between code and database; ``variants`` counts the variants of the query that have it."""

    rule: str
    query: str
    sql_path: Path
    sql_line: int
    sql_column: int
    python: str | None  # file:line
    declared: str
    actual: str
    advice: str
    variants: int = 1

    @property
    def sql(self) -> str:
        """``sql/positions.sql:12:5``."""
        return f"{shown_path(self.sql_path)}:{self.sql_line}:{self.sql_column}"

    def __str__(self) -> str:
        python = f" ({self.python})" if self.python else ""
        return (
            f"{self.rule}: {self.sql}: {self.query}{python}: "
            f"declared {self.declared}; the database says {self.actual}; {self.advice}"
        )

    def as_json(self) -> dict[str, Any]:
        """The problem as a JSON object."""
        return {**asdict(self), "sql_path": shown_path(self.sql_path)}


def shown_path(path: Path | str) -> str:
    """The path, relative to the working directory if it is below it: short, and terminals can open ``file:line``."""
    path = Path(path)
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
