"""What the page shows: the schema, the queries and how they meet. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from nexgent_db.catalog import Catalog
from nexgent_db.contract import NamedQuery
from nexgent_db.report._plan import Step

__all__ = ["ForeignKey", "ShownIndex", "ShownPlan", "ShownQuery", "Subject"]

_FOREIGN_KEY: Final = re.compile(r"FOREIGN KEY \((?P<columns>[^)]+)\) REFERENCES (?P<target>[^(]+)\((?P<keys>[^)]+)\)")
_ENFORCING: Final = ("PRIMARY KEY", "UNIQUE", "EXCLUDE")


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """Columns of a table that name a row of another one."""

    name: str
    table: str
    columns: tuple[str, ...]
    target: str


@dataclass(frozen=True, slots=True)
class ShownIndex:
    """An index, or the one behind a constraint, and the queries whose plans use it."""

    name: str
    table: str
    definition: str
    columns: tuple[str, ...]
    enforces: bool
    """Whether the table needs it to hold a rule, whoever reads by it."""
    used_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ShownPlan:
    """A plan, and which of the query's variants it is of."""

    label: str
    step: Step


@dataclass(frozen=True, slots=True)
class ShownQuery:
    """A query and its plans."""

    query: NamedQuery
    plans: tuple[ShownPlan, ...]


class Subject:
    """The schema and the queries, looked at from both ends. Equal input gives an equal page."""

    def __init__(self, catalog: Catalog, queries: Sequence[ShownQuery], version: str) -> None:
        self.catalog = catalog
        self.queries = tuple(queries)
        self.version = version
        self.tables = tuple(sorted(catalog.tables))
        self.foreign_keys = tuple(_foreign_keys(catalog))
        self.indexes = tuple(sorted(_indexes(catalog, _users_of(queries)), key=lambda each: (each.table, each.name)))

    def keys_of(self, table: str) -> tuple[ForeignKey, ...]:
        """The foreign keys that the table has."""
        return tuple(key for key in self.foreign_keys if key.table == table)

    def indexes_of(self, table: str) -> tuple[ShownIndex, ...]:
        """The table's indexes, those of its constraints included."""
        return tuple(index for index in self.indexes if index.table == table)

    def primary_key(self, table: str) -> tuple[str, ...]:
        """Its columns; none when the table has no primary key."""
        for (owner, _), definition in self.catalog.constraints.items():
            if owner == table and definition.startswith("PRIMARY KEY"):
                return key_columns(definition)
        return ()

    def reading(self, table: str) -> tuple[str, ...]:
        """The queries that read the table."""
        return tuple(each.query.name for each in self.queries if table in each.query.reads)

    def writing(self, table: str) -> tuple[str, ...]:
        """The queries that change its rows."""
        return tuple(each.query.name for each in self.queries if table in each.query.writes)

    def serves(self, index: ShownIndex) -> tuple[ForeignKey, ...]:
        """The foreign keys whose rows are found by this index when what they name is deleted."""
        return tuple(key for key in self.keys_of(index.table) if _begins_with(index, key))

    def unused_indexes(self) -> tuple[ShownIndex, ...]:
        """Those that no query's plan uses; constraints and foreign keys may need them all the same."""
        return tuple(index for index in self.indexes if not index.used_by)

    def keys_without_index(self) -> tuple[ForeignKey, ...]:
        """Those for which a deletion of what they name reads their whole table."""
        return tuple(
            key
            for key in self.foreign_keys
            if not any(_begins_with(index, key) for index in self.indexes_of(key.table))
        )


def key_columns(definition: str) -> tuple[str, ...]:
    """``a`` and ``lower(b)`` of ``… (a, lower(b) DESC) …``: what is in the first brackets, without the order."""
    begin = definition.find("(")
    depth, parts, current = 0, list[str](), ""
    for letter in definition[begin:] if begin >= 0 else "":
        depth += (letter == "(") - (letter == ")")
        if depth == 0 or (letter == "," and depth == 1):
            parts.append(current)
            current = ""
            if depth == 0:
                break
        elif not (letter == "(" and depth == 1):
            current += letter
    return tuple(re.sub(r" (ASC|DESC|NULLS (FIRST|LAST))\b.*$", "", part.strip()) for part in parts)


def _begins_with(index: ShownIndex, key: ForeignKey) -> bool:
    found = re.search(r" WHERE \((.*)\)$", index.definition)
    if found and found[1] not in {f"{column} IS NOT NULL" for column in key.columns}:
        return False  # it has not all of the rows
    return set(index.columns[: len(key.columns)]) == set(key.columns)


def _foreign_keys(catalog: Catalog) -> Iterator[ForeignKey]:
    for (table, name), definition in sorted(catalog.constraints.items()):
        if found := _FOREIGN_KEY.match(definition):
            yield ForeignKey(name, table, tuple(found["columns"].split(", ")), found["target"].strip())


def _indexes(catalog: Catalog, users: Mapping[str, tuple[str, ...]]) -> Iterator[ShownIndex]:
    for name, index in catalog.indexes.items():
        unique = index.definition.startswith("CREATE UNIQUE")
        used_by = users.get(name, ())
        yield ShownIndex(name, index.table, index.definition, key_columns(index.definition), unique, used_by)
    for (table, name), definition in catalog.constraints.items():
        if definition.startswith(_ENFORCING):
            yield ShownIndex(name, table, definition, key_columns(definition), True, users.get(name, ()))


def _users_of(queries: Sequence[ShownQuery]) -> dict[str, tuple[str, ...]]:
    users: dict[str, tuple[str, ...]] = {}
    for each in queries:
        for index in each.query.indexes:
            users[index] = (*users.get(index, ()), each.query.name)
    return users
