"""Writes a catalog as SQL that a DBA reads from top to bottom, and that makes the same catalog again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nexgent_db.catalog._model import Catalog, Sequence

__all__ = ["comment", "create_enum", "create_sequence", "create_table", "is_of_table", "render", "triggers_of"]


def render(catalog: Catalog) -> str:
    """The statements that make ``catalog`` in an empty schema, each table with what belongs to it; deterministic."""
    late = _late_functions(catalog)
    parts = [f"{create_enum(name, labels)};" for name, labels in catalog.enums.items()]
    parts += [f"{statement};" for statement in catalog.types.values()]
    parts += [f"{create_sequence(name, sequence)};" for name, sequence in catalog.sequences.items()]
    parts += [_function(catalog, name) for name in catalog.functions if name not in late]
    parts += [_table(catalog, name) for name in catalog.tables]
    parts += [f"{statement};" for statement in _late_foreign_keys(catalog)]
    parts += [_function(catalog, name) for name in catalog.functions if name in late]
    parts += [f"{statement};" for statement in catalog.views.values()]
    parts += [f"{statement};" for statement in catalog.rules.values()]
    parts += [f"{comment(about, text)};" for about, text in _other_comments(catalog).items()]
    return "\n\n".join(part for part in parts if part) + "\n"


def create_enum(name: str, labels: tuple[str, ...]) -> str:
    """CREATE TYPE … AS ENUM."""
    return f"CREATE TYPE {name} AS ENUM ({', '.join(map(_literal, labels))})"


def create_sequence(name: str, sequence: Sequence) -> str:
    """CREATE SEQUENCE, with what is not usual."""
    return " ".join(filter(None, ("CREATE SEQUENCE", name, sequence.unusual)))


def create_table(catalog: Catalog, name: str) -> str:
    """CREATE TABLE with columns and constraints; foreign keys to tables that come later are left out."""
    table = catalog.tables[name]
    columns = catalog.columns.get(name, {})
    width = max(map(len, columns), default=0)
    later = {key for key, _ in _late(catalog)}
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


def _table(catalog: Catalog, name: str) -> str:
    lines = [f"{create_table(catalog, name)};"]
    lines += [
        f"ALTER SEQUENCE {sequence} OWNED BY {of_it.owned_by};"
        for sequence, of_it in catalog.sequences.items()
        if of_it.owned_by and of_it.owned_by.startswith(f"{name}.")
    ]
    lines += [f"{index.definition};" for index in catalog.indexes.values() if index.table == name]
    lines += [f"{statement};" for statement in triggers_of(catalog, name)]
    lines += [
        f"{comment(about, text)};" for about, text in catalog.comments.items() if is_of_table(catalog, about, name)
    ]
    return "\n".join(lines)


def _function(catalog: Catalog, signature: str) -> str:
    lines = [f"{catalog.functions[signature]};"]
    lines += [
        f"{comment(about, text)};" for about, text in catalog.comments.items() if about == f"FUNCTION {signature}"
    ]
    return "\n".join(lines)


def triggers_of(catalog: Catalog, table: str) -> Iterator[str]:
    """CREATE TRIGGER for each of the table's, and how it is enabled where that is not usual."""
    for (of_table, name), trigger in catalog.triggers.items():
        if of_table == table:
            yield trigger.definition
            if trigger.enabled != "ENABLE":
                yield f"ALTER TABLE {table} {trigger.enabled} TRIGGER {name}"


def _late(catalog: Catalog) -> Iterator[tuple[tuple[str, str], str]]:
    """The foreign keys to tables that come after their own: of a circle, one."""
    order = {name: place for place, name in enumerate(catalog.tables)}
    for (table, name), definition in catalog.constraints.items():
        if definition.startswith("FOREIGN KEY"):
            target = definition.partition(" REFERENCES ")[2].partition("(")[0]
            if order.get(target, -1) > order.get(table, -1):
                yield (table, name), definition


def _late_foreign_keys(catalog: Catalog) -> Iterator[str]:
    for (table, name), definition in _late(catalog):
        yield f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}"


def _late_functions(catalog: Catalog) -> set[str]:
    """Those whose bodies are parsed when they are made, and may name tables: after the tables."""
    return {name for name, definition in catalog.functions.items() if "BEGIN ATOMIC" in definition}


def is_of_table(catalog: Catalog, about: str, table: str) -> bool:
    """Whether a comment is on the table or on a part of it that goes with it."""
    kind, _, name = about.partition(" ")
    if kind == "COLUMN":
        return name.startswith(f"{table}.")
    if kind == "INDEX":
        return name in catalog.indexes and catalog.indexes[name].table == table
    if kind in ("CONSTRAINT", "TRIGGER"):
        return name.endswith(f" ON {table}")
    return about in (f"TABLE {table}", f"FOREIGN TABLE {table}")


def _other_comments(catalog: Catalog) -> Mapping[str, str]:
    """Those that are not said beside a table or a function."""
    return {
        about: text
        for about, text in catalog.comments.items()
        if not any(is_of_table(catalog, about, table) for table in catalog.tables)
        and about not in {f"FUNCTION {signature}" for signature in catalog.functions}
    }


def _literal(text: str) -> str:
    quoted = "'" + text.replace("'", "''") + "'"
    return f"E{quoted}".replace("\\", "\\\\") if "\\" in text else quoted
