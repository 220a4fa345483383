"""``adopt``: take over a database that Prisma created, or only report the rows that a migration would refuse."""

from __future__ import annotations

from typing import Annotated

import psycopg
import typer

from nexgent_db.cli import target
from nexgent_db.cli.adoption_report import legacy_names, show_report
from nexgent_db.cli.schema import Scratch, catalog_after, connected, show_differences
from nexgent_db.cli.target import DatabaseUrl, RequireUrl
from nexgent_db.errors import InvalidInput
from nexgent_db.migrations import Migrator
from nexgent_db.migrations.baseline import (
    AdoptionRefused,
    adoption_note,
    ensure_no_differences,
    prisma_migrations,
)
from nexgent_db.schema.diff import Difference

__all__ = ["register"]


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
    require_url: RequireUrl = None,
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
        with target.opened(database_url) as database:
            if show_report(database.settings.conninfo, as_json):
                raise typer.Exit(1)
        return
    with target.written(database_url, require_url) as database:
        migrator = Migrator(database.settings.conninfo)
        legacy = legacy_names(migrator)
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

        try:
            marked = migrator.mark_applied(names, adoption_note(ignore or (), reason), verify)
        except AdoptionRefused as refusal:
            if refusal.differences:
                show_differences(refusal.differences)
            raise
    typer.echo(f"adopted: {len(marked)} migrations marked as applied, up to {names[-1]}; now nexgent-db migrate")
