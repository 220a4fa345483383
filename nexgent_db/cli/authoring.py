"""``new`` and ``lint-migrations``: writing a migration, and what a reviewer would ask of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from nexgent_db._data import data_dir
from nexgent_db._migrating.lint import Finding, lint, squawk
from nexgent_db._migrating.new import write_new
from nexgent_db.cli.machine import Json, print_json
from nexgent_db.cli.show import one_line
from nexgent_db.errors import NexgentError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``."""
    app.command()(new)
    app.command(name="lint-migrations")(lint_migrations)


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it does: small letters, digits and underscores.")],
    directory: Annotated[
        Path | None, typer.Option(metavar="DIR", show_default=False, help="The folder; without it, the package's own.")
    ] = None,
) -> None:
    """Write the two files of a new migration, the last of all by its id, with a head to be filled in.

    Until there is a statement in both, migrate refuses the folder.
    """
    for path in write_new(directory or data_dir("migrations"), name, datetime.now(UTC)):
        typer.echo(path)


def lint_migrations(
    directory: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", show_default=False, help="The folder; without it, the package's own."),
    ] = None,
    with_squawk: Annotated[
        bool, typer.Option("--squawk/--no-squawk", help="Also ask squawk (the wheel squawk-cli), in the right mode.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Check the files of migrations as a reviewer would. Exit code 1 when something was found: each on a line.

    A head with why, locks and what the rollback loses; a way back or a reason for none; names for every constraint and
    index; nothing that would end the transaction; one statement, that can be repeated, outside of one.
    """
    directory = directory or data_dir("migrations")
    found, failure = lint(directory), None
    if with_squawk:
        try:
            found = sorted([*found, *squawk(directory)])
        except NexgentError as error:  # what was found is told first
            failure = error
    if as_json:
        print_json({"findings": [_as_object(each) for each in found]})
    else:
        for each in found:
            typer.echo(one_line(str(each)))
    if failure is not None:
        raise failure
    if found:
        raise typer.Exit(1)
    if not as_json:
        typer.echo(f"{directory}: nothing found")


def _as_object(finding: Finding) -> dict[str, str | int]:
    return {"path": finding.path, "line": finding.line, "rule": finding.rule, "text": finding.text}
