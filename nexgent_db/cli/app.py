"""The command itself: its parts put together, and every expected failure on one line."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version
from io import TextIOWrapper
from typing import Annotated

import typer

from nexgent_db.cli import adopt, authoring, cache, catalog, check, history, plan, queries, report, roles, schema
from nexgent_db.cli.show import one_line, printable_lines
from nexgent_db.errors import NexgentError

__all__ = ["app", "main"]

app = typer.Typer(
    name="nexgent-db",
    help="The PostgreSQL data layer of the Nexgent trading engine.",
    epilog="The database is DATABASE_URL, else an embedded PostgreSQL of this account's own.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # they show local variables, and so passwords
    context_settings={"help_option_names": ["-h", "--help"]},
)
schema.register(app)
plan.register(app)
authoring.register(app)
history.register(app)
check.register(app)
catalog.register(app)
queries.register(app)
report.register(app)
adopt.register(app)
roles.register(app)
cache.register(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        try:
            typer.echo(f"nexgent-db {version('nexgent-db')}")
        except PackageNotFoundError:
            typer.echo("nexgent-db, of a checkout that is not installed")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; exit with 0, or 1 after a failure that is told in one line, or 2 for wrong usage."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a locale may lack a letter; as stderr does
    try:
        app(prog_name="nexgent-db")
    except NexgentError as error:
        if details := getattr(error, "details", ""):  # such as what was edited in a migration
            print(printable_lines(details), file=sys.stderr)  # noqa: T201
        print(f"nexgent-db: {one_line(str(error))}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
