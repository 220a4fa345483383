"""Writes a catalog as SQL that a DBA can read from top to bottom, and that creates an equal catalog."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set

from nexgent_db.schema._order import function_of, late_functions, late_types
from nexgent_db.schema.catalog import Catalog, Sequence, pinned

__all__ = [
    "comment",
    "create_enum",
    "create_sequence",
    "create_table",
    "is_of_table",
    "late_constraints",
    "render",
    "triggers_of",
]


def render(catalog: Catalog) -> str:
    """The statements that create ``catalog`` in an empty schema, each table with its parts; deterministic."""
    types, functions = late_types(catalog), late_functions(catalog)
    parts = [f"{create_enum(name, labels)};" for name, labels in catalog.enums.items()]
    parts += [f"{statement};" for name, statement in catalog.types.items() if name not in types]
    parts += [f"{create_sequence(name, sequence)};" for name, sequence in catalog.sequences.items()]
    parts += [_function(catalog, name) for name in catalog.functions if name not in functions]
    parts += [_table(catalog, name, functions) for name in catalog.tables]
    parts += [_constraint(catalog, *constraint) for constraint in late_constraints(catalog)]
    parts += [f"{catalog.types[name]};" for name in types]
    parts += [_function(catalog, name) for name in catalog.functions if name in functions]
    parts += [_triggers(catalog, name, functions) for name in catalog.tables]
    parts += [f"{statement};" for statement in catalog.views.values()]
    parts += [f"{statement};" for statement in catalog.rules.values()]
    parts += [f"{comment(about, text)};" for about, text in _other_comments(catalog).items()]
    return "\n\n".join(part for part in parts if part) + "\n"


def create_enum(name: str, labels: tuple[str, ...]) -> str:
    """CREATE TYPE … AS ENUM."""
    return f"CREATE TYPE {name} AS ENUM ({', '.join(map(_literal, labels))})"


def create_sequence(name: str, sequence: Sequence) -> str:
    """CREATE SEQUENCE, with the options that are not defaults."""
    return " ".join(filter(None, ("CREATE SEQUENCE", name, sequence.unusual)))


def create_table(catalog: Catalog, name: str) -> str:
    """CREATE TABLE with columns and constraints, without the late ones."""
    table = catalog.tables[name]
    columns = catalog.columns.get(name, {})
    width = max(map(len, columns), default=0)
    later = {(of_table, constraint) for of_table, constraint, _ in late_constraints(catalog)}
    lines = [f"{column:<{width}} {definition}" for column, definition in columns.items()]
    lines += [
        f"CONSTRAINT {constraint} {definition}"
        for (of_table, constraint), definition in catalog.constraints.items()
        if of_table == name and (of_table, constraint) not in later
    ]
    body = ",\n    ".join(lines)
    partition = f" {table.partition}" if table.partition else ""
    options = f" WITH ({', '.join(table.options)})" if table.options else ""
    return f"CREATE {table.kind} {name} (\n    {body}\n){partition}{options}"


def comment(about: str, text: str | None) -> str:
    """COMMENT ON."""
    return f"COMMENT ON {about} IS {'NULL' if text is None else _literal(text)}"


def _table(catalog: Catalog, name: str, late: Set[str]) -> str:
    """The table with its parts, but without late constraints and the triggers that call late functions."""
    lines = [f"{create_table(catalog, name)};"]
    lines += [
        f"ALTER SEQUENCE {sequence} OWNED BY {of_it.owned_by};"
        for sequence, of_it in catalog.sequences.items()
        if of_it.owned_by and of_it.owned_by.startswith(f"{name}.")
    ]
    lines += [f"{index.definition};" for index in catalog.indexes.values() if index.table == name]
    waiting = {
        f"TRIGGER {trigger} ON {table}"
        for (table, trigger), each in catalog.triggers.items()
        if function_of(each) in late
    } | {f"CONSTRAINT {constraint} ON {table}" for table, constraint, _ in late_constraints(catalog)}
    lines += [f"{statement};" for statement in triggers_of(catalog, name, without=late)]
    lines += [
        f"{comment(about, text)};"
        for about, text in catalog.comments.items()
        if is_of_table(catalog, about, name) and about not in waiting
    ]
    return "\n".join(lines)


def _constraint(catalog: Catalog, table: str, name: str, definition: str) -> str:
    about = f"CONSTRAINT {name} ON {table}"
    lines = [f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition};"]
    if about in catalog.comments:
        lines.append(f"{comment(about, catalog.comments[about])};")
    return "\n".join(lines)


def _function(catalog: Catalog, signature: str) -> str:
    lines = [f"{pinned(catalog.functions[signature], catalog.schema)};"]
    lines += [
        f"{comment(about, text)};" for about, text in catalog.comments.items() if about == f"FUNCTION {signature}"
    ]
    return "\n".join(lines)


def triggers_of(catalog: Catalog, table: str, without: Set[str] = frozenset()) -> Iterator[str]:
    """CREATE TRIGGER for each trigger of the table, and its state unless it is simply enabled.

    Triggers that call a function of ``without`` are left out.
    """
    for (of_table, name), trigger in catalog.triggers.items():
        if of_table == table and function_of(trigger) not in without:
            yield trigger.definition
            if trigger.enabled != "ENABLE":
                yield f"ALTER TABLE {table} {trigger.enabled} TRIGGER {name}"


def _triggers(catalog: Catalog, table: str, late: Set[str]) -> str:
    """The triggers of the table that call late functions, with their comments."""
    early = {*map(function_of, catalog.triggers.values())} - late
    lines = [f"{statement};" for statement in triggers_of(catalog, table, without=early)]
    for of_table, name in catalog.triggers:
        about = f"TRIGGER {name} ON {table}"
        if of_table == table and about in catalog.comments and function_of(catalog.triggers[table, name]) in late:
            lines.append(f"{comment(about, catalog.comments[about])};")
    return "\n".join(lines)


def late_constraints(catalog: Catalog) -> Iterator[tuple[str, str, str]]:
    """Table, name and definition of the constraints that CREATE TABLE cannot make.

    They are foreign keys to later tables, which only tables in a cycle have, and constraints that are not validated: a
    new table would have them validated.
    """
    order = {name: place for place, name in enumerate(catalog.tables)}
    for (table, name), definition in catalog.constraints.items():
        is_forward = False
        if definition.startswith("FOREIGN KEY"):
            target = definition.partition(" REFERENCES ")[2].partition("(")[0]
            is_forward = order.get(target, -1) > order.get(table, -1)
        if is_forward or definition.endswith(" NOT VALID"):
            yield table, name, definition


def is_of_table(catalog: Catalog, about: str, table: str) -> bool:
    """Whether a comment is on the table or on one of its parts."""
    kind, _, name = about.partition(" ")
    if kind == "COLUMN":
        return name.startswith(f"{table}.")
    if kind == "INDEX":
        return name in catalog.indexes and catalog.indexes[name].table == table
    if kind in ("CONSTRAINT", "TRIGGER"):
        return name.endswith(f" ON {table}")
    return about in (f"TABLE {table}", f"FOREIGN TABLE {table}")


def _other_comments(catalog: Catalog) -> Mapping[str, str]:
    """The comments that do not stand beside a table or a function."""
    return {
        about: text
        for about, text in catalog.comments.items()
        if not any(is_of_table(catalog, about, table) for table in catalog.tables)
        and about not in {f"FUNCTION {signature}" for signature in catalog.functions}
    }


def _literal(text: str) -> str:
    quoted = "'" + text.replace("'", "''") + "'"
    return f"E{quoted}".replace("\\", "\\\\") if "\\" in text else quoted
