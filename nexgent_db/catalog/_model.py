"""The parts of a schema. Names are quoted where SQL needs it; definitions are worded by PostgreSQL itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

__all__ = ["Catalog", "Column", "Index", "Sequence", "Table", "Trigger"]


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
    """One index that no constraint keeps; not valid when an interrupted CREATE INDEX CONCURRENTLY left it."""

    table: str
    definition: str
    valid: bool = True

    @property
    def unique(self) -> bool:
        """Whether it can refuse a row."""
        return self.definition.startswith("CREATE UNIQUE")

    def __str__(self) -> str:
        return self.definition if self.valid else f"{self.definition} (INVALID)"


@dataclass(frozen=True, slots=True)
class Sequence:
    """One sequence, identity columns' aside; ``options`` as for ALTER SEQUENCE, ``unusual`` those to be said."""

    options: str
    unusual: str = ""
    owned_by: str | None = None

    def __str__(self) -> str:
        return f"{self.options} OWNED BY {self.owned_by or 'NONE'}"


@dataclass(frozen=True, slots=True)
class Trigger:
    """One trigger; ``enabled`` is what follows ALTER TABLE … to make it so."""

    definition: str
    enabled: str = "ENABLE"

    def __str__(self) -> str:
        return self.definition if self.enabled == "ENABLE" else f"{self.definition} ({self.enabled})"


@dataclass(frozen=True)
class Catalog:
    """A schema's objects by name; equal when the schemas are.

    Tables and functions come in an order in which they can be made, the rest by name. ``columns`` keeps each table's
    columns in their order, which counts. What belongs to a table has a key of two names, the table's first.
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

    def without_column_order(self) -> Catalog:
        """The same, with each table's columns sorted by name: for a column that a rollback had to add again."""
        return replace(self, columns={t: dict(sorted(c.items())) for t, c in self.columns.items()})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Catalog):
            return NotImplemented
        same = all(getattr(self, each.name) == getattr(other, each.name) for each in fields(Catalog))
        return same and all(list(columns) == list(other.columns[table]) for table, columns in self.columns.items())

    __hash__ = None  # type: ignore[assignment]
