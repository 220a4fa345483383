"""A database's types, functions, columns and keys, read once from its catalog with six queries."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import psycopg

from nexgent_db.contract._nodes import canonical, parse

__all__ = ["CatalogColumn", "CatalogTable", "Function", "ServerCatalog", "UniqueKey", "read_catalog"]


@dataclass(frozen=True, slots=True)
class Function:
    """One function or aggregate."""

    schema: str
    name: str
    strict: bool
    returns_set: bool
    volatile: bool
    argument_types: tuple[int, ...]
    body: str | None  # the pg_node_tree of BEGIN ATOMIC and RETURN bodies

    @property
    def builtin(self) -> bool:
        """Whether the function is part of PostgreSQL."""
        return self.schema == "pg_catalog"


@dataclass(frozen=True, slots=True)
class CatalogColumn:
    """One column of a table or view."""

    number: int
    name: str
    type: int
    modifier: int
    never_null: bool
    has_default: bool
    is_generated: bool
    allowed: frozenset[str] | None  # the values of the column's enum, or of CHECK (column IN (…))


@dataclass(frozen=True, slots=True)
class UniqueKey:
    """A unique index, enforced at every statement; ``columns`` are numbers, ``expressions`` canonical trees."""

    name: str
    columns: tuple[int, ...]
    expressions: tuple[Any, ...]
    condition: tuple[Any, ...]  # canonical conjuncts of a partial index


@dataclass(frozen=True, slots=True)
class CatalogTable:
    """One table, view or other relation."""

    oid: int
    name: str
    kind: str
    row_type: int
    columns: Mapping[int, CatalogColumn] = field(repr=False)
    keys: tuple[UniqueKey, ...] = field(repr=False)

    def column(self, name: str) -> CatalogColumn | None:
        """The column of this name."""
        return next((column for column in self.columns.values() if column.name == name), None)


class ServerCatalog:
    """The types, functions, tables and operators of a database."""

    def __init__(
        self,
        types: Mapping[int, tuple[str, str, int, str]],
        functions: Mapping[int, Function],
        operators: Mapping[int, str],
        tables: Mapping[int, CatalogTable],
        enums: Mapping[int, frozenset[str]],
    ) -> None:
        self._types = types
        self.functions = functions
        self.operators = operators
        self.tables = tables
        self.enums = enums

    def type_name(self, oid: int, modifier: int = -1) -> str:
        """``numeric(38,18)``, ``varchar(20)``, ``uuid[]``."""
        name, _, element, _ = self._types.get(oid, (f"type {oid}", "", 0, ""))
        if element and name.endswith("[]"):
            return f"{self.type_name(element, modifier)}[]"
        if modifier >= 4 and name == "numeric":
            precision, scale = numeric_of(modifier)
            return f"numeric({precision},{scale})"
        if modifier >= 4 and name in ("varchar", "bpchar"):
            return f"{name}({modifier - 4})"
        return name

    def sql_name(self, oid: int) -> str:
        """The type as SQL names it, whatever the search path."""
        name, _, element, schema = self._types[oid]
        if element and name.endswith("[]"):
            return f"{self.sql_name(element)}[]"
        return '"{}"."{}"'.format(schema.replace('"', '""'), name.replace('"', '""'))

    def element(self, oid: int) -> int:
        """The element type of an array type; 0 for any other type."""
        name, _, element, _ = self._types.get(oid, ("", "", 0, ""))
        return element if name.endswith("[]") else 0

    def category(self, oid: int) -> str:
        """PostgreSQL's category of a type: ``N`` numbers, ``S`` strings, ``G`` geometry, …"""
        return self._types.get(oid, ("", "", 0, ""))[1]

    @cached_property
    def by_name(self) -> Mapping[str, int]:
        """Types by the name that ``type_name`` gives."""
        return {self.type_name(oid): oid for oid in self._types}

    @cached_property
    def tables_by_name(self) -> Mapping[str, CatalogTable]:
        """Tables and views by name."""
        return {table.name: table for table in self.tables.values()}

    @cached_property
    def tables_by_row_type(self) -> Mapping[int, CatalogTable]:
        """Tables and views by the type of their rows."""
        return {table.row_type: table for table in self.tables.values()}


def numeric_of(modifier: int) -> tuple[int, int]:
    """The precision and scale in a numeric's type modifier."""
    scale = (modifier - 4) & 0x7FF
    return (modifier - 4) >> 16 & 0xFFFF, (scale ^ 1024) - 1024


_TYPES: Final = """
SELECT t.oid::int8, t.typname, t.typcategory::text, t.typelem::int8, t.typbasetype::int8, n.nspname,
    t.typelem <> 0 AND t.typcategory = 'A' AS is_array, e.typname AS element_name
FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace
LEFT JOIN pg_type AS e ON e.oid = t.typelem
"""
_FUNCTIONS: Final = """
SELECT p.oid::int8, n.nspname, p.proname, p.proisstrict, p.proretset, p.provolatile = 'v',
    p.proargtypes::text, p.prosqlbody::text
FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
"""
_OPERATORS: Final = """
SELECT o.oid::int8, o.oprname FROM pg_operator AS o
JOIN pg_namespace AS n ON n.oid = o.oprnamespace WHERE n.nspname = 'pg_catalog'
"""
_COLUMNS: Final = """
SELECT c.oid::int8, c.relname, c.relkind::text, c.reltype::int8,
    a.attnum::int4, a.attname, a.atttypid::int8, a.atttypmod,
    a.attnotnull AND NOT EXISTS (
        SELECT FROM pg_constraint AS n
        WHERE n.conrelid = c.oid AND n.contype = 'n' AND NOT n.convalidated AND n.conkey = ARRAY[a.attnum]
    ) AS never_null,
    a.atthasdef OR a.attidentity <> '' AS has_default,
    a.attgenerated <> '' OR a.attidentity = 'a' AS is_generated
FROM pg_class AS c
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""
_KEYS: Final = """
SELECT i.indrelid::int8, c.relname, i.indkey::int2[], i.indnkeyatts::int4, i.indexprs::text, i.indpred::text
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE i.indisunique AND i.indisvalid AND i.indimmediate
"""
_CHECKS: Final = """
SELECT conrelid::int8, conkey[1]::int4, pg_get_constraintdef(oid)
FROM pg_constraint WHERE contype = 'c' AND convalidated AND cardinality(conkey) = 1
"""
_ENUMS: Final = "SELECT enumtypid::int8, array_agg(enumlabel::text) FROM pg_enum GROUP BY enumtypid"

_ONE_OF: Final = re.compile(
    r"CHECK \(\(\(?\(?\"?\w+\"?\)?(?:::text)? = ANY \(\(?ARRAY\[(.*?)\]\)?(?:::text\[\])?\)\)?\)"
)
_ONE_VALUE: Final = re.compile(r"'((?:[^']|'')*)'")


def read_catalog(connection: psycopg.Connection[Any]) -> ServerCatalog:
    """Read the whole catalog."""
    rows = connection.execute(_TYPES).fetchall()
    types = {row[0]: (f"{row[7]}[]" if row[6] else row[1], row[2], row[3], row[5]) for row in rows}
    functions = {
        row[0]: Function(row[1], row[2], row[3], row[4], row[5], tuple(int(oid) for oid in row[6].split()), row[7])
        for row in connection.execute(_FUNCTIONS)
    }
    operators = dict(connection.execute(_OPERATORS).fetchall())
    enums = {oid: frozenset(labels) for oid, labels in connection.execute(_ENUMS)}
    allowed = {
        (table, column): frozenset(value.replace("''", "'") for value in _ONE_VALUE.findall(found[1]))
        for table, column, definition in connection.execute(_CHECKS)
        if (found := _ONE_OF.search(definition))
    }
    columns: dict[int, dict[int, CatalogColumn]] = {}
    named: dict[int, tuple[str, str, int]] = {}
    for (
        table,
        name,
        kind,
        row_type,
        number,
        column,
        type_,
        modifier,
        never_null,
        default,
        generated,
    ) in connection.execute(_COLUMNS):
        named[table] = name, kind, row_type
        columns.setdefault(table, {})[number] = CatalogColumn(
            number, column, type_, modifier, never_null, default, generated,
            enums.get(type_, allowed.get((table, number))),
        )  # fmt: skip
    keys: dict[int, list[UniqueKey]] = {}
    for table, name, numbers, width, expressions, condition in connection.execute(_KEYS):
        keys.setdefault(table, []).append(
            UniqueKey(
                name,
                tuple(numbers[:width]),
                tuple(canonical(each, 1) for each in parse(expressions)) if expressions else (),
                tuple(canonical(each, 1) for each in _conjuncts(parse(condition))) if condition else (),
            )
        )
    tables = {
        oid: CatalogTable(oid, name, kind, row_type, columns[oid], tuple(keys.get(oid, ())))
        for oid, (name, kind, row_type) in named.items()
    }
    return ServerCatalog(types, functions, operators, tables, enums)


def _conjuncts(tree: Any) -> list[Any]:
    return tree if isinstance(tree, list) else [tree]
