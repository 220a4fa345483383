"""``new`` and ``lint-migrations``: write a migration, and check migration files."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from nexgent_db.cli.machine import Json, print_json
from nexgent_db.cli.project import current
from nexgent_db.cli.show import one_line
from nexgent_db.errors import InvalidInput, NexgentError
from nexgent_db.migrations.lint import LintFinding, lint, lint_own, squawk
from nexgent_db.migrations.scaffold import write_new
from nexgent_db.resources import data_dir

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``."""
    app.command()(new)
    app.command(name="lint-migrations")(lint_migrations)


def new(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="The migration's effect in lower-case letters, digits and underscores."),
    ],
    directory: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", show_default=False, help="The folder; the service's, or the package's own, by default."
        ),
    ] = None,
    history: Annotated[
        str | None, typer.Option(metavar="NAME", help="Write into the folder of this history of the service's.")
    ] = None,
) -> None:
    """Write the two files of a new migration, with an id later than all others and a head to fill in.

    Until both files have a statement, migrate refuses the folder.
    """
    for path in write_new(directory or _own_folder(history) or data_dir("migrations"), name, datetime.now(UTC)):
        typer.echo(path)


def _own_folder(history: str | None) -> Path | None:
    """The service's folder, made when it is missing; None outside of a service."""
    migrations = current().migrations
    if history is None and len(migrations) > 1:
        raise InvalidInput("history", f"there are {', '.join(migrations)}: say which with --history")
    if history is not None and history not in migrations:
        raise InvalidInput("history", f"no history is called {history!r}: there is {', '.join(migrations) or 'none'}")
    for name, folder in migrations.items():
        if history in (None, name):
            folder.mkdir(parents=True, exist_ok=True)
            return folder
    return None


def lint_migrations(
    directory: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR", show_default=False, help="The folder; the service's, or the package's own, by default."
        ),
    ] = None,
    with_squawk: Annotated[
        bool, typer.Option("--squawk/--no-squawk", help="Also run squawk (the wheel squawk-cli), in the right mode.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Check the files of migrations as a reviewer would. Prints one finding per line; exit code 1 with findings.

    Each migration needs a head with why, locks and what the rollback loses; a rollback file, or a reason for none; and
    names for every constraint and index. No statement may end the transaction. A migration outside of one has a single
    repeatable statement. A service's migration leaves the package's objects alone, and does not write its ledger.
    """
    own = current().migrations if directory is None else {}
    folders = list(own.values()) or [directory or data_dir("migrations")]
    found, failure = lint_own(own) if own else lint(folders[0]), None
    if with_squawk:
        try:
            found = sorted([*found, *(each for folder in folders for each in squawk(folder))])
        except NexgentError as error:  # show the findings first
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
        typer.echo(f"{', '.join(map(str, folders))}: nothing found")


def _as_object(finding: LintFinding) -> dict[str, str | int]:
    return {"path": finding.path, "line": finding.line, "rule": finding.rule, "text": finding.text}
