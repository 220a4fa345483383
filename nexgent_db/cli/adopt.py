"""``adopt``: take over a database that Prisma created, or only report the rows that a migration would refuse."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from typing import Annotated, Any, Final

import psycopg
import typer

from nexgent_db.cli import target
from nexgent_db.cli.schema import Scratch, catalog_after, connected, show_differences
from nexgent_db.cli.show import one_line, show_table
from nexgent_db.cli.target import DatabaseUrl
from nexgent_db.errors import InvalidInput
from nexgent_db.migrations import Migrator
from nexgent_db.migrations.baseline import AdoptionRefused, ensure_no_differences, prisma_migrations
from nexgent_db.migrations.files import LAST_LEGACY_MIGRATION
from nexgent_db.migrations.preflight import PreflightViolation, checked_tables, preflight_violations
from nexgent_db.schema.diff import Difference

__all__ = ["register"]

_ROWS_A_TABLE: Final = 1000
_LONGEST_VALUE: Final = 200


def register(app: typer.Typer) -> None:
    """Add this command to ``app``."""
    app.command()(adopt)


def adopt(
    ignore: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A harmless difference to leave as it is; recorded with the reason."),
    ] = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why the differences may be ignored.")] = "",
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
    """Take over a database that Prisma created: mark its legacy migrations as applied, if its schema matches them.

    If the schema differs, the command changes nothing, and shows each difference with the statement that repairs it. It
    deletes nothing of Prisma's. Afterwards run nexgent-db migrate.
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
        legacy = _legacy_names(migrator)
        with connected(database.settings.conninfo) as conn:
            names = prisma_migrations(conn, legacy)
        applied = {state.name for state in migrator.status() if state.applied_at is not None}
        if applied.issuperset(names):
            typer.echo(f"already adopted: {len(names)} migrations, up to {names[-1]}")
            return
        expected = catalog_after(names, scratch)
        ignored = list[Difference]()

        def verify(conn: psycopg.Connection[object]) -> None:
            if prisma_migrations(conn, legacy) != names:
                raise AdoptionRefused("Prisma has migrated meanwhile: adopt again")
            ignored.extend(ensure_no_differences(conn, expected, ignore or ()))

        note = "adopted from Prisma" + (f"; ignored {', '.join(ignore)}: {reason.strip()}" if ignore else "")
        try:
            marked = migrator.mark_applied(names, note, verify)
        except AdoptionRefused as refusal:
            if refusal.differences:
                show_differences(refusal.differences)
            raise
    typer.echo(f"adopted: {len(marked)} migrations marked as applied, up to {names[-1]}; now nexgent-db migrate")


def _legacy_names(migrator: Migrator) -> list[str]:
    return [state.name for state in migrator.status() if state.name <= LAST_LEGACY_MIGRATION]


# --- The report ---------------------------------------------------------------------------------


def _report(database_url: str | None, as_json: bool) -> int:
    """Show the preflight violations as they are read; return their number."""
    with target.opened(database_url) as database, connected(database.settings.conninfo) as conn:
        after = _last_migration(Migrator(database.settings.conninfo), conn)
        tables = checked_tables(conn)
        if as_json:
            return _print_json(after, tables, preflight_violations(conn))
        typer.echo(f"checked {', '.join(tables) or 'no table'}; after {after or 'no migration'}")
        return _show(preflight_violations(conn))


def _last_migration(migrator: Migrator, conn: psycopg.Connection[Any]) -> str | None:
    """The last migration recorded here: in our history, else in Prisma's."""
    if applied := [state.name for state in migrator.status() if state.applied_at is not None]:
        return applied[-1]
    try:
        return prisma_migrations(conn, _legacy_names(migrator))[-1]
    except AdoptionRefused:
        return None


def _print_json(after: str | None, tables: Sequence[str], rows: Iterator[PreflightViolation]) -> int:
    refused, separator = 0, "\n"
    typer.echo(f'{{"after": {json.dumps(after)}, "tables": {json.dumps(tables)}, "rows": [', nl=False)
    for row in rows:
        typer.echo(separator + json.dumps(dataclasses.asdict(row), ensure_ascii=False), nl=False)
        refused, separator = refused + row.refused, ",\n"
    typer.echo("\n]}")
    return refused


def _show(rows: Iterator[PreflightViolation]) -> int:
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
    typer.echo(f"values that a migration would refuse: {count}" if count else "no migration would refuse a value")
    return count


def _quoted(value: str | None) -> str:
    """The text in quotes, so that blanks and an empty text are visible."""
    if value is not None and len(value) > _LONGEST_VALUE:
        return f"{json.dumps(value[:_LONGEST_VALUE], ensure_ascii=False)}… ({len(value)} characters)"
    return json.dumps(value, ensure_ascii=False)
