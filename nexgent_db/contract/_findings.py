"""Collects the problems of one query. Each of the modules beside it looks for one kind of problem."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from pydantic import BaseModel

from nexgent_db.contract._catalog import ServerCatalog
from nexgent_db.contract._problem import Problem
from nexgent_db.contract._source import Override, Source

__all__ = ["FieldsSeen", "Findings", "listed"]


class Findings:
    """One query, the catalog that it is checked against, and its problems so far, each counted over the variants."""

    def __init__(self, source: Source, catalog: ServerCatalog) -> None:
        self.source = source
        self.query = source.query
        self.catalog = catalog
        self._found: Counter[Problem] = Counter()
        self._used: set[Override] = set()
        self._items = source.text.items()

    @property
    def problems(self) -> list[Problem]:
        """The problems, each once, with the number of variants that have it."""
        return [replace(problem, variants=count) for problem, count in self._found.items()]

    def has(self, *rules: str) -> bool:
        """Whether the query broke one of these rules."""
        return any(problem.rule in rules for problem in self._found)

    def problem(
        self, rule: str, place: tuple[int, int], declared: str, actual: str, advice: str, python: str | None = None
    ) -> Problem:
        """Make a problem at this line and column of the SQL, and at ``python``, by default the method."""
        return Problem(
            rule=rule,
            query=self.query.qualified_name,
            sql_path=self.query.path,
            sql_line=place[0],
            sql_column=place[1],
            python=python or self.source.python,
            declared=declared,
            actual=actual,
            advice=advice,
        )

    def add(self, problem: Problem) -> None:
        """Count the problem once more."""
        self._found[problem] += 1

    def report(
        self, rule: str, place: tuple[int, int], declared: str, actual: str, advice: str, python: str | None = None
    ) -> None:
        """Make a problem as :meth:`problem` does, and count it."""
        self.add(self.problem(rule, place, declared, actual, advice, python))

    # --- Comments that give a reason ------------------------------------------------------------------

    def excused(self, rule: str, subject: str = "") -> bool:
        """Whether a comment in the query gives a reason for this. That comment counts as needed from then on."""
        override = self._override(rule, subject)
        if override is not None:
            self._used.add(override)
        return override is not None

    def has_override(self, rule: str, subject: str) -> bool:
        """Whether there is such a comment, needed or not."""
        return self._override(rule, subject) is not None

    def unused(self) -> set[Override]:
        """The comments that excused nothing."""
        return set(self.source.overrides) - self._used

    def _override(self, rule: str, subject: str) -> Override | None:
        return next(
            (each for each in self.source.overrides if each.rule == rule and each.subject in (subject, "")), None
        )

    # --- Places in the file ---------------------------------------------------------------------------

    @property
    def start(self) -> tuple[int, int]:
        """The place of the name line."""
        return self.query.line, 1

    @property
    def cardinality_place(self) -> tuple[int, int]:
        """The place of the cardinality in the name line."""
        return self.query.line, len(f"-- name: {self.query.name} ") + 1

    def item_place(self, number: int) -> tuple[int, int]:
        """The place of an item in the list that makes the rows."""
        return self._items[number] if number < len(self._items) else self.start

    def word_place(self, word: str) -> tuple[int, int]:
        """The first place of a word in the query."""
        text = self.source.text
        found = re.search(rf"(?<![\w.:]){re.escape(word)}\b", text.masked)
        return text.place(found.start()) if found else self.start


class FieldsSeen:
    """Collects over all queries which optional fields can be NULL."""

    def __init__(self) -> None:
        self._can_be: set[tuple[type[BaseModel], str]] = set()
        self._never: dict[tuple[type[BaseModel], str], Problem] = {}

    def add(self, model: type[BaseModel], name: str, problem: Problem | None) -> None:
        """Add a query's field: None if the query can give NULL for it, else the problem to report if no query can."""
        if problem is None:
            self._can_be.add((model, name))
        else:
            self._never.setdefault((model, name), problem)

    def needlessly_optional(self) -> list[Problem]:
        """The problems of the fields for which no query can give NULL."""
        return [problem for key, problem in self._never.items() if key not in self._can_be]


def listed(values: Iterable[str]) -> str:
    """The values quoted and sorted, for messages."""
    return ", ".join(map(repr, sorted(values)))
