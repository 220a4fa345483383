"""``migrate``, ``rollback``, ``status``, ``repair`` and ``mark-applied``: the schema of the database."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nexgent_db.cli import target
from nexgent_db.cli.machine import Json, print_json, reporting
from nexgent_db.cli.progress import Progress
from nexgent_db.cli.show import one_line, show_table, visible_lines
from nexgent_db.cli.target import DatabaseUrl, RequireUrl
from nexgent_db.errors import InvalidInput
from nexgent_db.migrations import HistoryProblem, MigrationStatus, Migrator

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``."""
    app.command()(migrate)
    app.command()(rollback)
    app.command()(status)
    app.command()(repair)
    app.command()(mark_applied)


def migrate(
    to: Annotated[str | None, typer.Option(metavar="ID", help="The last migration to apply; all by default.")] = None,
    drop_invalid: Annotated[
        bool, typer.Option("--drop-invalid", help="First drop the INVALID indexes that an interrupted run left.")
    ] = False,
    as_json: Json = False,
    require_url: RequireUrl = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Bring the database to this release's schema; do nothing when it is up to date.

    Each migration is applied whole or not at all. When one fails, the earlier ones stay. Progress is shown on stderr.
    """
    progress, dropped = Progress(), list[str]()
    document = {"applied": progress.done, "dropped_invalid_indexes": dropped}
    with reporting(document, as_json), target.written(database_url, require_url) as database:
        migrator = _migrator(database, progress)
        if drop_invalid:
            dropped += migrator.drop_invalid_indexes()
        for name in dropped:
            typer.echo(f"dropped the INVALID index {name}", err=True)
        applied = migrator.migrate(to)
    if not as_json:
        done = "the schema is up to date" if to is None else f"{to} is applied"
        typer.echo(f"{len(applied)} migrations applied" if applied else f"nothing to do: {done}")


def rollback(
    count: Annotated[int | None, typer.Option(min=1, help="How many migrations to roll back; 1 without --to.")] = None,
    to: Annotated[
        str | None, typer.Option(metavar="ID", help="Roll back all that were applied after this one.")
    ] = None,
    history: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only those of this history: nexgent_db, or one of the service's."),
    ] = None,
    as_json: Json = False,
    require_url: RequireUrl = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Roll back the migrations that were applied last. The head of each file says what a rollback loses."""
    progress = Progress()
    with (
        reporting({"undone": progress.done}, as_json),
        target.written(database_url, require_url) as database,
    ):
        undone = _migrator(database, progress).rollback(count, to=to, history=history)
    if not as_json:
        typer.echo(f"{len(undone)} migrations undone" if undone else "nothing to do: no migration is applied after it")


def repair(
    reason: Annotated[str, typer.Option(metavar="TEXT", help="The reason; recorded with who and when.")],
    forget: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Forget this migration, which only the database has.")
    ] = None,
    as_json: Json = False,
    require_url: RequireUrl = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Accept the migration files where they differ from the recorded history. Runs none of their SQL."""
    accepted = list[dict[str, Any]]()
    with (
        reporting({"accepted": accepted}, as_json),
        target.written(database_url, require_url) as database,
    ):
        found = _migrator(database, Progress()).repair(reason, forget or ())
        accepted += map(_problem_object, found)
    if not as_json:
        for problem in found:
            typer.echo(f"accepted: {problem.text}")
        typer.echo(f"{len(found)} accepted" if found else "nothing to do: files and database agree")


def mark_applied(
    names: Annotated[list[str], typer.Argument(metavar="ID...", show_default=False, help="The migrations to mark.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="The reason; recorded with who and when.")],
    squashed: Annotated[
        bool,
        typer.Option("--squashed", help="They replace those that only the database has: forget these at once."),
    ] = False,
    forget: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="With --squashed: forget this one, though it is later than all of the folder."),
    ] = None,
    as_json: Json = False,
    require_url: RequireUrl = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Mark migrations as applied without running them, all or none: their schema is there already.

    For a history that was squashed into fewer files, or a database that was made in another way. The command does not
    look at the schema: nexgent-db drift compares it afterwards.
    """
    if not reason.strip():
        raise InvalidInput("reason", "say why the schema is there already: --reason")
    marked = list[str]()
    with reporting({"marked": marked}, as_json), target.written(database_url, require_url) as database:
        marked += _migrator(database, Progress()).mark_applied(
            names, reason.strip(), squashed=squashed, forget=forget or ()
        )
    if not as_json:
        for name in marked:
            typer.echo(f"marked: {name}")
        typer.echo(f"{len(marked)} marked; now nexgent-db drift" if marked else "nothing to do: all are marked")


def _migrator(database: target.Target, progress: Progress) -> Migrator:
    return target.migrator(database.settings.conninfo, progress.step, progress.message)


# --- Status -------------------------------------------------------------------------------------


def status(as_json: Json = False, database_url: DatabaseUrl = None) -> None:
    """List the migrations and when each was applied. Exit code 0: up to date; 2: some are pending; 1: a problem.

    Reads only, without locks. Problems are those that migrate refuses: a file that was edited, renamed or removed after
    it was applied, or is out of order; or an INVALID index.
    """
    with target.opened(database_url) as database:
        migrator = target.migrator(database.settings.conninfo)
        states = migrator.status()
        invalid = migrator.invalid_indexes()
    pending = sum(state.applied_at is None for state in states)
    found = [state.problem for state in states if state.problem is not None]
    if as_json:
        print_json(
            {
                "state": "problem" if found or invalid else "pending" if pending else "up to date",
                "pending": pending,
                "migrations": [_status_object(state) for state in states],
                "invalid_indexes": invalid,
            }
        )
    else:
        _show_states(states)
        _show_problems(found, invalid)
        typer.echo(f"{pending} pending: nexgent-db migrate" if pending else "up to date")
    if found or invalid:
        raise typer.Exit(1)
    if pending:
        raise typer.Exit(2)


def _show_states(states: list[MigrationStatus]) -> None:
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


def _show_problems(found: list[HistoryProblem], invalid: list[str]) -> None:
    for problem in found:
        typer.echo(f"problem: {one_line(problem.text)}")
        if problem.details:
            typer.echo(visible_lines(problem.details))
    for name in invalid:
        typer.echo(f"problem: {one_line(name)} is an INVALID index: nexgent-db migrate --drop-invalid")


def _status_object(state: MigrationStatus) -> dict[str, Any]:
    return {
        "name": state.name,
        "history": state.history,
        "applied_at": None if state.applied_at is None else state.applied_at.isoformat(),
        "known": state.known,
        "problem": None if state.problem is None else _problem_object(state.problem),
    }


def _problem_object(problem: HistoryProblem) -> dict[str, Any]:
    return {
        "kind": problem.kind,
        "name": problem.name,
        "text": problem.text,
        "details": problem.details or None,
        "new_name": problem.new_name,
    }
