"""Collects what is wrong with one query; the modules beside it each look for one kind of fault."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from pydantic import BaseModel

from nexgent_db.contract._catalog import Catalog
from nexgent_db.contract._problem import Problem
from nexgent_db.contract._source import Override, Source

__all__ = ["FieldsSeen", "Findings", "listed"]


class Findings:
    """One query, the catalog it is held against, and the problems found so far, each counted over the variants."""

    def __init__(self, source: Source, catalog: Catalog) -> None:
        self.source = source
        self.query = source.query
        self.catalog = catalog
        self._found: Counter[Problem] = Counter()
        self._used: set[Override] = set()
        self._items = source.text.items()

    @property
    def problems(self) -> list[Problem]:
        """What was found, once for all variants that have it."""
        return [replace(problem, variants=count) for problem, count in self._found.items()]

    def has(self, *rules: str) -> bool:
        """Whether one of these rules was broken."""
        return any(problem.rule in rules for problem in self._found)

    def problem(
        self, rule: str, place: tuple[int, int], declared: str, actual: str, advice: str, python: str | None = None
    ) -> Problem:
        """A problem at this line and column of the SQL, and at ``python`` or the method."""
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
        """Found once more."""
        self._found[problem] += 1

    def report(
        self, rule: str, place: tuple[int, int], declared: str, actual: str, advice: str, python: str | None = None
    ) -> None:
        """Found once more, as :meth:`problem` has it."""
        self.add(self.problem(rule, place, declared, actual, advice, python))

    # --- Comments that give a reason ------------------------------------------------------------------

    def excused(self, rule: str, subject: str = "") -> bool:
        """Whether a comment in the query gives a reason for this; from now on that comment counts as needed."""
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
        """Of the name line."""
        return self.query.line, 1

    @property
    def cardinality_place(self) -> tuple[int, int]:
        """Of the cardinality in the name line."""
        return self.query.line, len(f"-- name: {self.query.name} ") + 1

    def item_place(self, number: int) -> tuple[int, int]:
        """Of an item in the list that makes the rows."""
        return self._items[number] if number < len(self._items) else self.start

    def word_place(self, word: str) -> tuple[int, int]:
        """Where a word first stands in the query."""
        text = self.source.text
        found = re.search(rf"(?<![\w.:]){re.escape(word)}\b", text.masked)
        return text.place(found.start()) if found else self.start


class FieldsSeen:
    """Over all queries: which optional fields were ever seen to be NULL."""

    def __init__(self) -> None:
        self._can_be: set[tuple[type[BaseModel], str]] = set()
        self._never: dict[tuple[type[BaseModel], str], Problem] = {}

    def add(self, model: type[BaseModel], name: str, problem: Problem | None) -> None:
        """One query's field: what to report should no query ever give NULL for it, or None when this one may."""
        if problem is None:
            self._can_be.add((model, name))
        else:
            self._never.setdefault((model, name), problem)

    def needlessly_optional(self) -> list[Problem]:
        """The fields that no query can give NULL for."""
        return [problem for key, problem in self._never.items() if key not in self._can_be]


def listed(values: Iterable[str]) -> str:
    """Values in quotes and in order, for messages."""
    return ", ".join(map(repr, sorted(values)))
