"""The parts of a schema. Names are quoted where SQL needs it; definitions are worded by PostgreSQL itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

__all__ = ["OWN_SCHEMA", "Catalog", "Column", "Index", "Sequence", "Table", "Trigger", "pinned", "unpinned"]

OWN_SCHEMA = "current_schema()"
"""Stands in a function's pinned search_path for the name of the schema that the function is in."""

_PATH = " SET search_path TO "
_BODY = ("AS ", "RETURN ", "BEGIN ATOMIC")


def unpinned(definition: str, schema: str) -> str:
    """A function's definition with OWN_SCHEMA for its schema's name in the search_path that it pins."""
    return _in_path(definition, _quoted(schema), OWN_SCHEMA)


def pinned(definition: str, schema: str) -> str:
    """The definition as it is in this schema: what ``unpinned`` took away."""
    return _in_path(definition, OWN_SCHEMA, _quoted(schema))


def _in_path(definition: str, old: str, new: str) -> str:
    lines = definition.split("\n")
    for number, line in enumerate(lines):
        if line.startswith(_BODY):
            break
        if line.startswith(_PATH):
            entries = re.findall(r"'(?:[^']|'')*'|[^', ]+", line.removeprefix(_PATH))
            lines[number] = _PATH + ", ".join(new if entry == old else entry for entry in entries)
    return "\n".join(lines)


def _quoted(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its type as ``format_type`` prints it, its default as ``pg_get_expr`` does."""

    type: str
    nullable: bool
    default: str | None = None
    extra: str = ""  # COLLATE, GENERATED

    def __str__(self) -> str:
        null = "" if self.nullable else " NOT NULL"
        default = "" if self.default is None else f" DEFAULT {self.default}"
        extra = f" {self.extra}" if self.extra else ""
        return f"{self.type}{extra}{null}{default}"


@dataclass(frozen=True, slots=True)
class Table:
    """One table without its columns: ``TABLE`` or ``UNLOGGED TABLE``, partitioning, storage parameters."""

    kind: str = "TABLE"
    partition: str = ""
    options: tuple[str, ...] = ()

    def __str__(self) -> str:
        with_ = f"WITH ({', '.join(self.options)})" if self.options else ""
        return " ".join(filter(None, (self.kind, self.partition, with_)))


@dataclass(frozen=True, slots=True)
class Index:
    """One index without a constraint; INVALID when an interrupted CREATE INDEX CONCURRENTLY left it."""

    table: str
    definition: str
    valid: bool = True

    @property
    def unique(self) -> bool:
        """Whether the index is unique."""
        return self.definition.startswith("CREATE UNIQUE")

    def __str__(self) -> str:
        return self.definition if self.valid else f"{self.definition} (INVALID)"


@dataclass(frozen=True, slots=True)
class Sequence:
    """One sequence, without those of identity columns; ``options`` as for ALTER SEQUENCE, ``unusual`` the
    non-defaults."""

    options: str
    unusual: str = ""
    owned_by: str | None = None

    def __str__(self) -> str:
        return f"{self.options} OWNED BY {self.owned_by or 'NONE'}"


@dataclass(frozen=True, slots=True)
class Trigger:
    """One trigger; ``enabled`` holds the ALTER TABLE keywords that set its state."""

    definition: str
    enabled: str = "ENABLE"

    def __str__(self) -> str:
        return self.definition if self.enabled == "ENABLE" else f"{self.definition} ({self.enabled})"


@dataclass(frozen=True)
class Catalog:
    """A schema's objects by name; equal when the schemas are.

    Tables and functions come in an order in which they can be created, the rest by name. ``columns`` keeps the order of
    each table's columns, which is compared. A part of a table has a key of two names, the table's first. The name of
    the ``schema`` is not compared, nor is it where a function pins it (see :func:`pinned`).
    """

    enums: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)  # domains, composites, ranges: CREATE …
    sequences: Mapping[str, Sequence] = field(default_factory=dict)
    functions: Mapping[str, str] = field(default_factory=dict)  # signature -> CREATE OR REPLACE …
    tables: Mapping[str, Table] = field(default_factory=dict)
    columns: Mapping[str, Mapping[str, Column]] = field(default_factory=dict)
    constraints: Mapping[tuple[str, str], str] = field(default_factory=dict)
    indexes: Mapping[str, Index] = field(default_factory=dict)
    views: Mapping[str, str] = field(default_factory=dict)  # CREATE …
    triggers: Mapping[tuple[str, str], Trigger] = field(default_factory=dict)
    rules: Mapping[tuple[str, str], str] = field(default_factory=dict)  # CREATE …
    comments: Mapping[str, str] = field(default_factory=dict)  # "TABLE users" -> text
    schema: str = "public"

    def without_column_order(self) -> Catalog:
        """A copy with each table's columns sorted by name: a rollback adds a dropped column at the end."""
        return replace(self, columns={t: dict(sorted(c.items())) for t, c in self.columns.items()})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Catalog):
            return NotImplemented
        compared = [each.name for each in fields(Catalog) if each.name != "schema"]
        same = all(getattr(self, name) == getattr(other, name) for name in compared)
        return same and all(list(columns) == list(other.columns[table]) for table, columns in self.columns.items())

    __hash__ = None  # type: ignore[assignment]
