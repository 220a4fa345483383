"""What ``adopt --report`` shows: what a migration would refuse, and what an operator should look at."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from itertools import chain, groupby, islice
from typing import Final

import typer

from nexgent_db.cli.adoption_remarks import remarks
from nexgent_db.cli.schema import connected
from nexgent_db.cli.show import one_line, show_table
from nexgent_db.migrations import Migrator
from nexgent_db.migrations.baseline import AdoptionRefused, is_of_prisma, prisma_migrations
from nexgent_db.migrations.files import LAST_LEGACY_MIGRATION
from nexgent_db.migrations.preflight import (
    DEPENDENT_OBJECTS,
    PreflightViolation,
    checked_tables,
    dependent_objects,
    preflight_violations,
)

__all__ = ["legacy_names", "show_report"]

_ROWS_A_TABLE: Final = 1000
_LONGEST_VALUE: Final = 200


def show_report(conninfo: str, as_json: bool) -> int:
    """Show the findings as they are read; return the number of those that a migration refuses."""
    migrator = Migrator(conninfo)
    applied = [state.name for state in migrator.status() if state.applied_at is not None]
    with connected(conninfo) as conn:
        objects = [] if DEPENDENT_OBJECTS in applied else dependent_objects(conn)
        after = applied[-1] if applied else None
        if not applied and is_of_prisma(conn):
            try:
                after = prisma_migrations(conn, legacy_names(migrator))[-1]
            except AdoptionRefused as refusal:
                objects.append(
                    PreflightViolation("_prisma_migrations", None, "migration_name", None, "adopt", str(refusal), True)
                )
        tables = checked_tables(conn)
        rows = chain(objects, preflight_violations(conn), remarks(conn) if tables else ())
        if as_json:
            return _print_json(after, tables, rows)
        typer.echo(f"checked {', '.join(tables) or 'no table'}; after {after or 'no migration'}")
        return _show(rows)


def legacy_names(migrator: Migrator) -> list[str]:
    """The names of the legacy migrations, in order."""
    return [state.name for state in migrator.status() if state.name <= LAST_LEGACY_MIGRATION]


def _print_json(after: str | None, tables: Sequence[str], rows: Iterator[PreflightViolation]) -> int:
    refused, separator = 0, "\n"
    typer.echo(f'{{"after": {json.dumps(after)}, "tables": {json.dumps(tables)}, "rows": [', nl=False)
    for row in rows:
        typer.echo(separator + json.dumps(dataclasses.asdict(row)), nl=False)
        refused, separator = refused + row.refused, ",\n"
    typer.echo("\n]}")
    return refused


def _show(rows: Iterator[PreflightViolation]) -> int:
    count = 0
    for (table, refused), found in groupby(rows, key=lambda row: (row.table, row.refused)):
        if not refused:
            for row in found:
                where = "" if row.key is None else f" WHERE {row.key}"
                typer.echo(one_line(f"{table}.{row.column}{where}, {row.value}: {row.what_to_do} ({row.rule})"))
            continue
        while some := list(islice(found, _ROWS_A_TABLE)):
            show_table(
                table,
                ("row", "column", "value", "refused by", "what to do"),
                [(row.key or "", row.column, _quoted(row.value), row.rule, row.what_to_do) for row in some],
            )
            count += len(some)
    typer.echo(f"values that a migration would refuse: {count}" if count else "no migration would refuse a value")
    return count


def _quoted(value: str | None) -> str:
    """The text in quotes, so that blanks and an empty text are visible."""
    if value is not None and len(value) > _LONGEST_VALUE:
        return f"{json.dumps(value[:_LONGEST_VALUE], ensure_ascii=False)}… ({len(value)} characters)"
    return json.dumps(value, ensure_ascii=False)
