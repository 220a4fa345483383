"""The results of the check for every query."""

from __future__ import annotations

from dataclasses import dataclass, field

from nexgent_db.contract._problem import Problem
from nexgent_db.contract._source import Source
from nexgent_db.queries.statement import Statement

__all__ = ["CheckedColumn", "CheckedQuery", "CheckedVariant", "Report"]


@dataclass(frozen=True, slots=True)
class CheckedColumn:
    """One column of a statement's rows, as the database describes it."""

    name: str
    type: str
    nullable: bool


@dataclass(frozen=True, slots=True)
class CheckedVariant:
    """One statement that the database accepted."""

    statement: Statement
    parameter_types: tuple[str, ...]
    columns: tuple[CheckedColumn, ...]
    rows: str  # "one", "at most one", "many", "none"
    reads: frozenset[str]  # the tables and views that the statement reads
    writes: frozenset[str]  # the tables whose rows it inserts, updates or deletes


@dataclass(slots=True)
class CheckedQuery:
    """One query and the results of its check."""

    source: Source
    variants: list[CheckedVariant] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Report:
    """The result of :func:`check`."""

    server_version: int
    queries: tuple[CheckedQuery, ...]
    problems: tuple[Problem, ...]
