"""The content of the page: the schema, the queries, and the relations between them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from nexgent_db.contract import NamedQuery
from nexgent_db.queries.lexer import lexemes
from nexgent_db.report._plan import Step
from nexgent_db.schema.catalog import Catalog

__all__ = ["ForeignKey", "ShownIndex", "ShownPlan", "ShownQuery", "Subject"]

_FOREIGN_KEY: Final = re.compile(r"FOREIGN KEY \((?P<columns>[^)]+)\) REFERENCES (?P<target>[^(]+)\((?P<keys>[^)]+)\)")
_ENFORCING: Final = ("PRIMARY KEY", "UNIQUE", "EXCLUDE")


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key: columns of a table that refer to a row of another table."""

    name: str
    table: str
    columns: tuple[str, ...]
    target: str
    target_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ShownIndex:
    """An index, of a constraint or not, and the queries whose plans use it."""

    name: str
    table: str
    definition: str
    columns: tuple[str, ...]
    enforces: bool
    """Whether the index enforces a constraint; then it is needed even if no query uses it."""
    used_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ShownPlan:
    """A plan, and the variants of the query that have it."""

    label: str
    step: Step


@dataclass(frozen=True, slots=True)
class ShownQuery:
    """A query and its plans."""

    query: NamedQuery
    plans: tuple[ShownPlan, ...]


class Subject:
    """The schema and the queries, with the relations in both directions. Equal subjects give equal pages."""

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
        """The columns of the table's primary key; empty without one."""
        for (owner, _), definition in self.catalog.constraints.items():
            if owner == table and definition.startswith("PRIMARY KEY"):
                return key_columns(definition)
        return ()

    def reading(self, table: str) -> tuple[str, ...]:
        """The queries that read the table."""
        return tuple(each.query.name for each in self.queries if table in each.query.reads)

    def writing(self, table: str) -> tuple[str, ...]:
        """The queries that change the table's rows."""
        return tuple(each.query.name for each in self.queries if table in each.query.writes)

    def serves(self, index: ShownIndex) -> tuple[ForeignKey, ...]:
        """The foreign keys whose referring rows this index finds when a referenced row is deleted."""
        return tuple(key for key in self.keys_of(index.table) if self._finds(index, key))

    def unused_indexes(self) -> tuple[ShownIndex, ...]:
        """The indexes that no query's plan uses; constraints and foreign keys may still need them."""
        return tuple(index for index in self.indexes if not index.used_by)

    def keys_without_index(self) -> tuple[ForeignKey, ...]:
        """The foreign keys without an index: deleting a referenced row scans their whole table."""
        return tuple(
            key for key in self.foreign_keys if not any(self._finds(index, key) for index in self.indexes_of(key.table))
        )

    def _finds(self, index: ShownIndex, key: ForeignKey) -> bool:
        """Whether the index begins with the key's columns, or with those that name the referenced row's primary key.

        The latter are as selective: (agent, wallet) refers to a wallet, and the wallet alone says which.
        """
        primary = self.primary_key(key.target)
        naming = tuple(
            column for column, target in zip(key.columns, key.target_columns, strict=True) if target in primary
        )
        return _begins_with(index, key.columns) or (len(naming) == len(primary) > 0 and _begins_with(index, naming))


def key_columns(definition: str) -> tuple[str, ...]:
    """``a`` and ``lower(b)`` of ``… (a, lower(b) DESC) …``: the content of the first brackets, without the order."""
    depth, start, parts = 0, 0, list[str]()
    for lexeme in lexemes(definition):
        depth += (lexeme.text == "(") - (lexeme.text == ")")
        if lexeme.text == "(" and depth == 1:
            start = lexeme.start + 1
        elif start and (depth == 0 or (lexeme.text == "," and depth == 1)):
            parts.append(definition[start : lexeme.start])
            start = lexeme.start + 1
            if depth == 0:
                break
    return tuple(re.sub(r" (ASC|DESC|NULLS (FIRST|LAST))\b.*$", "", part.strip()) for part in parts)


def _begins_with(index: ShownIndex, columns: tuple[str, ...]) -> bool:
    found = re.search(r" WHERE \((.*)\)$", index.definition)
    if found and found[1] not in {f"{column} IS NOT NULL" for column in columns}:
        return False  # a partial index lacks rows
    return set(index.columns[: len(columns)]) == set(columns)


def _foreign_keys(catalog: Catalog) -> Iterator[ForeignKey]:
    for (table, name), definition in sorted(catalog.constraints.items()):
        if found := _FOREIGN_KEY.match(definition):
            columns, targets = (tuple(found[group].split(", ")) for group in ("columns", "keys"))
            yield ForeignKey(name, table, columns, found["target"].strip(), targets)


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
