"""``adopt``: take over a database that Prisma made."""

from __future__ import annotations

from typing import Annotated

import psycopg
import typer

from nexgent_db.adoption import LAST_OF_HISTORY, AdoptionRefused, prisma_history, refuse_differences
from nexgent_db.catalog import Difference
from nexgent_db.cli import target
from nexgent_db.cli.catalog import Scratch, catalog_after, connected, show_differences
from nexgent_db.cli.target import DatabaseUrl
from nexgent_db.errors import InvalidInput
from nexgent_db.migrations import Migrator

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add this command to ``app``."""
    app.command()(adopt)


def adopt(
    ignore: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A harmless difference to leave as it is; recorded, with the reason."),
    ] = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why what is ignored may be ignored.")] = "",
    scratch: Scratch = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Take over a database that Prisma made: mark what it has of the history as applied, if its schema is that.

    Each difference is told with the statement that would mend it, and nothing is changed then. Nothing of Prisma's is
    deleted. Afterwards: nexgent-db migrate.
    """
    if ignore and not reason.strip():
        raise InvalidInput("reason", "say why the differences may be ignored: --reason")
    with target.opened(database_url) as database:
        migrator = Migrator(database.settings.conninfo)
        history = [state.name for state in migrator.status() if state.name <= LAST_OF_HISTORY]
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
