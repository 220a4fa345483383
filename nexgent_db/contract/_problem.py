"""What the check finds: where, what is declared there, what the database says, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = ["Problem", "shown_path"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One disagreement; ``variants`` counts the variants of the query that have it."""

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
        """All of it, for machines."""
        return {**asdict(self), "sql_path": shown_path(self.sql_path)}


def shown_path(path: Path | str) -> str:
    """A path below the working directory without that; so ``file:line`` can be clicked on and is short."""
    path = Path(path)
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
