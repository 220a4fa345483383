"""``adopt``: take over a database that Prisma made, or only look for the rows that would be refused then."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from typing import Annotated, Any, Final

import psycopg
import typer

from nexgent_db.adoption import LAST_OF_HISTORY, AdoptionRefused, prisma_history, refuse_differences
from nexgent_db.catalog import Difference
from nexgent_db.cli import target
from nexgent_db.cli.catalog import Scratch, catalog_after, connected, show_differences
from nexgent_db.cli.show import one_line, show_table
from nexgent_db.cli.target import DatabaseUrl
from nexgent_db.errors import InvalidInput
from nexgent_db.migrations import Migrator
from nexgent_db.unfit_rows import UnfitRow, tables_looked_at, unfit_rows

__all__ = ["register"]

_ROWS_A_TABLE: Final = 1000
_LONGEST_VALUE: Final = 200


def register(app: typer.Typer) -> None:
    """Add this command to ``app``."""
    app.command()(adopt)


def adopt(
    ignore: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A harmless difference to leave as it is; recorded, with the reason."),
    ] = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why what is ignored may be ignored.")] = "",
    report: Annotated[
        bool,
        typer.Option(
            "--report",
            help="Change nothing: show each value that a migration would refuse, with its row's key and what to do."
            " Exit code 0: none; 1: some.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --report: print it as one JSON object.")] = False,
    scratch: Scratch = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Take over a database that Prisma made: mark what it has of the history as applied, if its schema is that.

    Each difference is told with the statement that would mend it, and nothing is changed then. Nothing of Prisma's is
    deleted. Afterwards: nexgent-db migrate.
    """
    if ignore and not reason.strip():
        raise InvalidInput("reason", "say why the differences may be ignored: --reason")
    if as_json and not report:
        raise InvalidInput("json", "only --report can be printed as JSON")
    if report:
        if _report(database_url, as_json):
            raise typer.Exit(1)
        return
    with target.opened(database_url) as database:
        migrator = Migrator(database.settings.conninfo)
        history = _history(migrator)
        with connected(database.settings.conninfo) as conn:
            names = prisma_history(conn, history)
        applied = {state.name for state in migrator.status() if state.applied_at is not None}
        if applied.issuperset(names):
            typer.echo(f"already adopted: {len(names)} migrations, up to {names[-1]}")
            return
        expected = catalog_after(names[-1], scratch)
        ignored = list[Difference]()

        def verify(conn: psycopg.Connection[object]) -> None:
            if prisma_history(conn, history) != names:
                raise AdoptionRefused("Prisma has migrated meanwhile: adopt again")
            ignored.extend(refuse_differences(conn, expected, ignore or ()))

        note = "adopted from Prisma" + (f"; ignored {', '.join(ignore)}: {reason.strip()}" if ignore else "")
        try:
            marked = migrator.mark_applied(names, note, verify)
        except AdoptionRefused as refusal:
            if refusal.differences:
                show_differences(refusal.differences)
            raise
    typer.echo(f"adopted: {len(marked)} migrations marked as applied, up to {names[-1]}; now nexgent-db migrate")


def _history(migrator: Migrator) -> list[str]:
    return [state.name for state in migrator.status() if state.name <= LAST_OF_HISTORY]


# --- The report ---------------------------------------------------------------------------------


def _report(database_url: str | None, as_json: bool) -> int:
    """Shows what a migration would refuse, as it is found; how many values that are."""
    with target.opened(database_url) as database, connected(database.settings.conninfo) as conn:
        after = _last_migration(Migrator(database.settings.conninfo), conn)
        tables = tables_looked_at(conn)
        if as_json:
            return _print_json(after, tables, unfit_rows(conn))
        typer.echo(f"looked at {', '.join(tables) or 'no table'}; after {after or 'no migration'}")
        return _show(unfit_rows(conn))


def _last_migration(migrator: Migrator, conn: psycopg.Connection[Any]) -> str | None:
    """The last migration that is recorded here: in our books, else in Prisma's."""
    if applied := [state.name for state in migrator.status() if state.applied_at is not None]:
        return applied[-1]
    try:
        return prisma_history(conn, _history(migrator))[-1]
    except AdoptionRefused:
        return None


def _print_json(after: str | None, tables: Sequence[str], rows: Iterator[UnfitRow]) -> int:
    refused, separator = 0, "\n"
    typer.echo(f'{{"after": {json.dumps(after)}, "tables": {json.dumps(tables)}, "rows": [', nl=False)
    for row in rows:
        typer.echo(separator + json.dumps(dataclasses.asdict(row), ensure_ascii=False), nl=False)
        refused, separator = refused + row.refused, ",\n"
    typer.echo("\n]}")
    return refused


def _show(rows: Iterator[UnfitRow]) -> int:
    count = 0
    for (table, refused), found in groupby(rows, key=lambda row: (row.table, row.refused)):
        if not refused:
            for row in found:
                typer.echo(one_line(f"{table}.{row.column}, {row.value}: {row.what_to_do} ({row.rule})"))
            continue
        while some := list(islice(found, _ROWS_A_TABLE)):
            show_table(
                table,
                ("row", "column", "value", "refused by", "what to do"),
                [(row.key or "", row.column, _quoted(row.value), row.rule, row.what_to_do) for row in some],
            )
            count += len(some)
    typer.echo(f"values that a migration would refuse: {count}" if count else "no migration would refuse any of it")
    return count


def _quoted(value: str | None) -> str:
    """So that blanks and an empty text are seen."""
    if value is not None and len(value) > _LONGEST_VALUE:
        return f"{json.dumps(value[:_LONGEST_VALUE], ensure_ascii=False)}… ({len(value)} characters)"
    return json.dumps(value, ensure_ascii=False)
