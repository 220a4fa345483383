"""``migrate``, ``rollback``, ``status`` and ``repair``: the schema of the database."""

from __future__ import annotations

from typing import Annotated

import typer

from nexgent_db.cli import target
from nexgent_db.cli.show import show_table
from nexgent_db.cli.target import DatabaseUrl
from nexgent_db.migrations import Migrator

__all__ = ["register", "tell_step"]


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``."""
    app.command()(migrate)
    app.command()(rollback)
    app.command()(status)
    app.command()(repair)


def tell_step(name: str, done: int, total: int) -> None:
    """Say on stderr which migration begins."""
    if done < total and name != _told.get("name"):
        _told["name"] = name
        typer.echo(f"[{done + 1}/{total}] {name}", err=True)


_told: dict[str, str] = {}


def migrate(
    to: Annotated[str | None, typer.Option(metavar="ID", help="The last migration to apply; without it, all.")] = None,
    drop_invalid: Annotated[
        bool, typer.Option("--drop-invalid", help="First drop INVALID indexes, which an interrupted run left.")
    ] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Bring the database to this release's schema; do nothing when it is there."""
    with target.opened(database_url) as database:
        migrator = Migrator(database.settings.conninfo, on_step=tell_step)
        for name in migrator.drop_invalid_indexes() if drop_invalid else ():
            typer.echo(f"dropped the INVALID index {name}", err=True)
        applied = migrator.migrate(to)
    done = "the schema is up to date" if to is None else f"{to} is applied"
    typer.echo(f"{len(applied)} migrations applied" if applied else f"nothing to do: {done}")


def rollback(
    count: Annotated[int | None, typer.Option(min=1, help="How many migrations to undo; 1 without --to.")] = None,
    to: Annotated[str | None, typer.Option(metavar="ID", help="Undo all that were applied after this one.")] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Undo the migrations applied last. The head of each file says what is lost."""
    with target.opened(database_url) as database:
        undone = Migrator(database.settings.conninfo, on_step=tell_step).rollback(count, to=to)
    typer.echo(f"{len(undone)} migrations undone" if undone else "nothing to do: no migration is applied after it")


def status(database_url: DatabaseUrl = None) -> None:
    """List the migrations and when each was applied. Reads only."""
    with target.opened(database_url) as database:
        states = Migrator(database.settings.conninfo).status()
    show_table(
        "Migrations",
        ("migration", "applied (UTC)"),
        [
            (
                state.name if state.known else f"{state.name} (unknown to this release)",
                "pending" if state.applied_at is None else f"{state.applied_at:%Y-%m-%d %H:%M:%S}",
            )
            for state in states
        ],
    )
    pending = sum(state.applied_at is None for state in states)
    typer.echo(f"{pending} pending: nexgent-db migrate" if pending else "up to date")


def repair(
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; it is recorded with who and when.")],
    forget: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="A migration that only the database knows, to be forgotten.")
    ] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Accept the migration files as they are, where the database remembers others. No SQL of theirs is run."""
    with target.opened(database_url) as database:
        accepted = Migrator(database.settings.conninfo, on_step=tell_step).repair(reason, forget or ())
    for problem in accepted:
        typer.echo(f"accepted: {problem.text}")
    typer.echo(f"{len(accepted)} accepted" if accepted else "nothing to do: files and database agree")
