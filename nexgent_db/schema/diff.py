"""Compares two catalogs; each difference comes with the statement that repairs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from nexgent_db.schema._order import late_functions, late_types
from nexgent_db.schema.catalog import Catalog, Column, Index, Sequence, Table, Trigger, pinned
from nexgent_db.schema.ddl import (
    comment,
    create_enum,
    create_sequence,
    create_table,
    is_of_table,
    late_constraints,
    triggers_of,
)

__all__ = ["LEFT_ALONE", "Difference", "differences"]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Difference:
    """One object that differs from the expected one.

    ``expected`` is None when the object should not exist, ``actual`` when it is missing. ``repair`` holds the
    statements that make it as expected, to run in the order of the list, outside of a transaction; or a remark
    after ``--`` if no statement can. A ``harmless`` difference affects neither this package's statements nor its
    migrations.
    """

    kind: str
    name: str
    expected: str | None
    actual: str | None
    repair: str
    harmless: bool = False

    def __str__(self) -> str:
        what = "is missing" if self.actual is None else "is not expected" if self.expected is None else "differs"
        return f"{self.kind} {self.name} {what}"


def differences(expected: Catalog, actual: Catalog) -> list[Difference]:
    """The changes that ``actual`` needs, in an order in which they can be made; empty when the two are equal."""
    found = [*_Comparison(expected, actual)]
    late = {"type": {*late_types(expected)}, "function": late_functions(expected)}
    surplus = {*late_types(actual)}

    def place(each: Difference) -> int:
        """What needs no table comes before the tables, the rest of the types and functions after them."""
        kind = each.kind
        if each.expected is None:
            kind = "late type" if kind == "type" and each.name in surplus else kind
        elif kind in late and each.name in late[kind]:
            kind = f"late {kind}"
        return _ORDER.index((kind, each.expected is not None))

    return sorted(found, key=place)


# First drop dependent objects, each before the objects that it needs; then create or change objects; then drop the
# rest.
_KINDS: Final = (
    *("enum", "type", "sequence", "function", "table", "column", "column order", "constraint", "index", "late type"),
    *("view", "late function", "trigger", "rule", "comment"),
)
_FIRST: Final = ("rule", "trigger", "view", "index", "constraint")
_ORDER: Final = (
    *((kind, False) for kind in _FIRST),
    *((kind, True) for kind in _KINDS),
    *((kind, False) for kind in ("comment", "function", "late type", "column", "table", "column order", "sequence")),
    *((kind, False) for kind in ("type", "enum")),
)


_WHOLE_OBJECTS: Final = ("enum", "type", "sequence", "function", "table", "view")
LEFT_ALONE: Final = "-- made by something else, and left alone"
"""The repair of an object that no migration makes: it may be another tool's, and hold rows."""

_BY_VERSION: Final = "The server's version decides its body."
"""How the comment of such a function ends."""


class _Comparison:
    def __init__(self, expected: Catalog, actual: Catalog) -> None:
        self.expected = expected
        self.actual = actual
        self._both = (expected, actual)
        self.missing = expected.tables.keys() - actual.tables.keys()
        self.foreign = actual.tables.keys() - expected.tables.keys()

    def __iter__(self) -> Iterator[Difference]:
        expected, actual = self.expected, self.actual
        yield from self._pairs("enum", expected.enums, actual.enums, self._enum)
        yield from self._pairs("type", expected.types, actual.types, self._type)
        yield from self._pairs("sequence", self._sequences(expected), self._sequences(actual), self._sequence)
        yield from self._pairs("function", self._functions(expected), self._functions(actual), self._function)
        yield from self._pairs("table", expected.tables, actual.tables, self._table)
        for table in expected.columns.keys() & actual.columns.keys():
            yield from self._columns(table)
        constraints = self._of_both(expected.constraints), self._of_both(actual.constraints)
        yield from self._renamed_constraints(*constraints)
        yield from self._pairs("constraint", *constraints, self._constraint)
        indexes = self._indexes(expected), self._indexes(actual)
        yield from self._renamed_indexes(*indexes)
        yield from self._pairs("index", *indexes, self._index)
        yield from self._pairs("view", expected.views, actual.views, self._view)
        yield from self._pairs(
            "trigger", self._of_both(expected.triggers), self._of_both(actual.triggers), self._trigger
        )
        yield from self._pairs("rule", self._of_both(expected.rules), self._of_both(actual.rules), self._rule)
        yield from self._pairs("comment", self._comments(expected), self._comments(actual), self._comment)

    def _pairs(
        self,
        kind: str,
        expected: Mapping[str, _T],
        actual: Mapping[str, _T],
        repair: Callable[[str, _T | None, _T | None], tuple[str, bool]],
    ) -> Iterator[Difference]:
        for name in [*expected, *sorted(actual.keys() - expected.keys())]:
            before, after = expected.get(name), actual.get(name)
            if before != after:
                statement, harmless = repair(name, before, after)
                if before is None and harmless and kind in _WHOLE_OBJECTS:
                    statement = f"{LEFT_ALONE}: nexgent-db drift --ignore '{kind} {name}' passes over it"
                yield Difference(kind, name, _shown(before), _shown(after), statement, harmless)

    @staticmethod
    def _renamed_constraints(expected: dict[str, str], actual: dict[str, str]) -> Iterator[Difference]:
        """The constraints that differ by their name alone; takes them out of both."""
        for name in [*expected.keys() - actual.keys()]:
            table, _, constraint = name.partition(".")
            alike = (
                other
                for other in sorted(actual.keys() - expected.keys())
                if other.startswith(f"{table}.") and actual[other] == expected[name]
            )
            if (other := next(alike, None)) is not None:
                repair = f"ALTER TABLE {table} RENAME CONSTRAINT {other.partition('.')[2]} TO {constraint};"
                yield Difference("constraint", name, expected.pop(name), f"{other}: {actual.pop(other)}", repair)

    @staticmethod
    def _renamed_indexes(expected: dict[str, Index], actual: dict[str, Index]) -> Iterator[Difference]:
        """The indexes that differ by their name alone; takes them out of both."""
        for name in [*expected.keys() - actual.keys()]:
            definition = expected[name].definition
            alike = (
                other
                for other in sorted(actual.keys() - expected.keys())
                if actual[other].valid and actual[other].definition.replace(f" {other} ", f" {name} ", 1) == definition
            )
            if (other := next(alike, None)) is not None:
                repair = f"ALTER INDEX {other} RENAME TO {name};"
                yield Difference("index", name, str(expected.pop(name)), str(actual.pop(other)), repair)

    # The parts of a missing table, or of one that is not ours, are reported with the table.

    def _of_both(self, objects: Mapping[tuple[str, str], _T]) -> dict[str, _T]:
        return {
            f"{table}.{name}": each
            for (table, name), each in objects.items()
            if table not in self.missing and table not in self.foreign
        }

    def _indexes(self, catalog: Catalog) -> dict[str, Index]:
        return {
            name: index for name, index in catalog.indexes.items() if index.table not in self.missing | self.foreign
        }

    def _functions(self, catalog: Catalog) -> dict[str, str]:
        """As they would be in the actual schema, whose name a repair pins. Without the bodies that the server's version
        decides: two servers may differ in them."""
        by_version = {
            name
            for name in self.expected.functions.keys() & self.actual.functions.keys()
            if all(each.comments.get(f"FUNCTION {name}", "").endswith(_BY_VERSION) for each in self._both)
        }
        return {
            name: _BY_VERSION if name in by_version else pinned(text, self.actual.schema)
            for name, text in catalog.functions.items()
        }

    def _sequences(self, catalog: Catalog) -> dict[str, Sequence]:
        return {
            name: sequence
            for name, sequence in catalog.sequences.items()
            if (sequence.owned_by or "").partition(".")[0] not in self.foreign
        }

    def _comments(self, catalog: Catalog) -> dict[str, str]:
        """The comments on expected objects, except those on missing tables."""
        objects = _commented(self.expected) - {
            about
            for table in self.missing
            for about in self.expected.comments
            if is_of_table(self.expected, about, table)
        }
        return {about: text for about, text in catalog.comments.items() if about in objects}

    # --- One kind each: the statements, and whether the difference is harmless ---------------------------

    def _enum(self, name: str, expected: tuple[str, ...] | None, actual: tuple[str, ...] | None) -> tuple[str, bool]:
        if expected is None:
            return f"DROP TYPE {name};", True
        if actual is None:
            return f"{create_enum(name, expected)};", False
        kept = [label for label in expected if label in actual]
        if list(actual) != kept:
            return "-- labels cannot be taken away or moved: make a new type and change the columns to it", False
        added = []
        for place, label in enumerate(expected):
            if label not in actual:
                where = f"AFTER {_quoted(expected[place - 1])}" if place else f"BEFORE {_quoted(actual[0])}"
                added.append(f"ALTER TYPE {name} ADD VALUE {_quoted(label)} {where};")
        return "\n".join(added), False

    def _type(self, name: str, expected: str | None, actual: str | None) -> tuple[str, bool]:
        kind = "DOMAIN" if (expected or actual or "").startswith("CREATE DOMAIN") else "TYPE"
        return _again(f"DROP {kind} {name}", expected, actual), expected is None

    def _sequence(self, name: str, expected: Sequence | None, actual: Sequence | None) -> tuple[str, bool]:
        if expected is None:
            return f"DROP SEQUENCE {name};", True
        owner = f"ALTER SEQUENCE {name} OWNED BY {expected.owned_by or 'NONE'};"
        if actual is None:
            return f"{create_sequence(name, expected)};" + (f"\n{owner}" if expected.owned_by else ""), False
        lines = [f"ALTER SEQUENCE {name} {expected.options};"] if expected.options != actual.options else []
        return "\n".join(lines + ([owner] if expected.owned_by != actual.owned_by else [])), False

    def _function(self, name: str, expected: str | None, actual: str | None) -> tuple[str, bool]:
        if expected is None:
            ours = {each.partition("(")[0] for each in self.expected.functions}
            return f"DROP ROUTINE {name};", name.partition("(")[0] not in ours
        lines = [f"{expected};"]
        if actual is not None and _result(actual) != _result(expected):
            lines.insert(0, f"DROP ROUTINE {name};  -- with its grants")
            actual = None
        if actual is None and _is_definer(expected):
            lines.append(f"REVOKE EXECUTE ON ROUTINE {name} FROM public;")
        return "\n".join(lines), False

    def _table(self, name: str, expected: Table | None, actual: Table | None) -> tuple[str, bool]:
        if expected is None:
            return "", True
        if actual is None:
            return "\n".join(f"{statement};" for statement in self._whole(name)), False
        if (expected.kind, expected.partition) != (actual.kind, actual.partition):
            if {expected.kind, actual.kind} == {"TABLE", "UNLOGGED TABLE"}:
                return f"ALTER TABLE {name} SET {'LOGGED' if expected.kind == 'TABLE' else 'UNLOGGED'};", False
            return f"-- {name} cannot be changed into this: create it again and move the rows", False
        lines = []
        if gone := [option.partition("=")[0] for option in actual.options if option not in expected.options]:
            lines.append(f"ALTER TABLE {name} RESET ({', '.join(gone)});")
        if new := [option for option in expected.options if option not in actual.options]:
            lines.append(f"ALTER TABLE {name} SET ({', '.join(new)});")
        return "\n".join(lines), True

    def _whole(self, table: str) -> Iterator[str]:
        catalog = self.expected
        yield create_table(catalog, table)
        for of_table, name, definition in late_constraints(catalog):
            if of_table == table:
                yield f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}"
        for index in catalog.indexes.values():
            if index.table == table:
                yield index.definition
        yield from triggers_of(catalog, table)
        for about, text in catalog.comments.items():
            if is_of_table(catalog, about, table):
                yield comment(about, text)

    def _columns(self, table: str) -> Iterator[Difference]:
        expected, actual = self.expected.columns[table], self.actual.columns[table]

        def repair(name: str, before: Column | None, after: Column | None) -> tuple[str, bool]:
            return _column(table, name.removeprefix(f"{table}."), before, after)

        yield from self._pairs(
            "column",
            {f"{table}.{name}": column for name, column in expected.items()},
            {f"{table}.{name}": column for name, column in actual.items()},
            repair,
        )
        both = [name for name in expected if name in actual], [name for name in actual if name in expected]
        if both[0] != both[1]:
            yield Difference(
                "column order",
                table,
                ", ".join(both[0]),
                ", ".join(both[1]),
                "-- columns cannot be moved; every statement of this package names its columns",
                harmless=True,
            )

    def _constraint(self, name: str, expected: str | None, actual: str | None) -> tuple[str, bool]:
        table, _, constraint = name.partition(".")
        alter = f"ALTER TABLE {table}"
        if expected is None:
            return f"{alter} DROP CONSTRAINT {constraint};", False
        if actual is None and expected.startswith(("CHECK", "FOREIGN KEY")) and not expected.endswith(_NOT_VALID):
            return (
                f"{alter} ADD CONSTRAINT {constraint} {expected}{_NOT_VALID};\n"
                f"{alter} VALIDATE CONSTRAINT {constraint};"
            ), False
        if actual is None:
            return f"{alter} ADD CONSTRAINT {constraint} {expected};", False
        if actual == expected + _NOT_VALID:
            return f"{alter} VALIDATE CONSTRAINT {constraint};", False
        if actual + _NOT_VALID == expected:
            return "-- nothing: it is proven already", True
        return f"{alter} DROP CONSTRAINT {constraint}, ADD CONSTRAINT {constraint} {expected};", False

    def _index(self, name: str, expected: Index | None, actual: Index | None) -> tuple[str, bool]:
        drop = f"DROP INDEX CONCURRENTLY {name};"
        if expected is None:
            return drop, actual is not None and not actual.unique
        create = f"{expected.definition.replace(' INDEX ', ' INDEX CONCURRENTLY ', 1)};"
        if actual is None:
            return create, False
        if actual.definition == expected.definition and actual.table == expected.table:
            return f"REINDEX INDEX CONCURRENTLY {name};", False
        return f"{drop}\n{create}", False

    def _view(self, name: str, expected: str | None, actual: str | None) -> tuple[str, bool]:
        kind = "MATERIALIZED VIEW" if (actual or expected or "").startswith("CREATE MATERIALIZED") else "VIEW"
        return _again(f"DROP {kind} {name}", expected, actual), expected is None

    def _trigger(self, name: str, expected: Trigger | None, actual: Trigger | None) -> tuple[str, bool]:
        table, _, trigger = name.partition(".")
        if expected is not None and actual is not None and expected.definition == actual.definition:
            return f"ALTER TABLE {table} {expected.enabled} TRIGGER {trigger};", False
        lines = [] if actual is None else [f"DROP TRIGGER {trigger} ON {table};"]
        if expected is not None:
            lines.append(f"{expected.definition};")
            if expected.enabled != "ENABLE":
                lines.append(f"ALTER TABLE {table} {expected.enabled} TRIGGER {trigger};")
        return "\n".join(lines), False

    def _rule(self, name: str, expected: str | None, actual: str | None) -> tuple[str, bool]:
        table, _, rule = name.partition(".")
        return _again(f"DROP RULE {rule} ON {table}", expected, actual), False

    def _comment(self, about: str, expected: str | None, actual: str | None) -> tuple[str, bool]:
        del actual
        return f"{comment(about, expected)};", True


def _column(table: str, name: str, expected: Column | None, actual: Column | None) -> tuple[str, bool]:
    if expected is None:
        harmless = actual is not None and (actual.nullable or actual.default is not None or bool(actual.extra))
        return f"-- loses its values\nALTER TABLE {table} DROP COLUMN {name};", harmless
    if actual is None:
        return f"ALTER TABLE {table} ADD COLUMN {name} {expected};", False
    alter = f"ALTER TABLE {table} ALTER COLUMN {name}"
    lines = list[str]()
    if expected.extra != actual.extra:
        lines.append(
            f"-- {expected.extra or 'neither identity nor generated'}: see ALTER TABLE, or add the column again"
        )
    if expected.type != actual.type:
        if actual.default is not None:
            lines.append(f"{alter} DROP DEFAULT;")
        lines.append(
            f"-- loses nothing if this finds no row:"  # noqa: S608
            f" SELECT * FROM {table} WHERE {name}::{expected.type}::{actual.type} IS DISTINCT FROM {name};\n"
            f"{alter} TYPE {expected.type} USING {name}::{expected.type};"
        )
    if expected.default != actual.default or (expected.type != actual.type and expected.default is not None):
        lines.append(
            f"{alter} DROP DEFAULT;" if expected.default is None else f"{alter} SET DEFAULT {expected.default};"
        )
    if expected.nullable != actual.nullable:
        lines.append(f"{alter} {'DROP' if expected.nullable else 'SET'} NOT NULL;")
    return "\n".join(dict.fromkeys(lines)), False


def _result(definition: str) -> list[str]:
    """The parameters and the result: CREATE OR REPLACE cannot change them."""
    lines = definition.split("\n")
    return [lines[0], *(line for line in lines[1:2] if line.startswith(" RETURNS "))]


def _is_definer(definition: str) -> bool:
    return any(" SECURITY DEFINER" in line for line in definition.split("\nAS ")[0].split("\n")[1:])


def _again(drop: str, expected: str | None, actual: str | None) -> str:
    lines = [] if actual is None else [f"{drop};"]
    return "\n".join(lines if expected is None else [*lines, f"{expected};"])


def _commented(catalog: Catalog) -> set[str]:
    """The compared objects that can have a comment."""
    return {
        *(f"TABLE {name}" for name in catalog.tables),
        *(f"COLUMN {table}.{name}" for table, columns in catalog.columns.items() for name in columns),
        *(f"INDEX {name}" for name in catalog.indexes),
        *(f"CONSTRAINT {name} ON {table}" for table, name in catalog.constraints),
        *(f"TRIGGER {name} ON {table}" for table, name in catalog.triggers),
        *(f"SEQUENCE {name}" for name in catalog.sequences),
        *(f"FUNCTION {name}" for name in catalog.functions),
        *(f"VIEW {name}" for name in catalog.views),
        *(f"{kind} {name}" for kind in ("TYPE", "DOMAIN") for name in (*catalog.enums, *catalog.types)),
    }


def _shown(thing: object) -> str | None:
    if thing is None or isinstance(thing, str):
        return thing
    return ", ".join(thing) if isinstance(thing, tuple) else str(thing)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


_NOT_VALID: Final = " NOT VALID"
