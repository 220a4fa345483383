"""The command line: assembles the commands, and prints every expected failure on one line."""

from __future__ import annotations

import signal
import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from nexgent_db._version import __version__
from nexgent_db.cli import (
    adopt,
    cache,
    cells,
    check,
    doctor,
    ending,
    ledger,
    new,
    partition,
    plan,
    queries,
    replay,
    report,
    roles,
    schema,
    serve,
    verify,
)
from nexgent_db.cli import migrations as migrations_
from nexgent_db.cli.machine import exit_code_of, print_error
from nexgent_db.cli.project import Contract, MigrationFolders, Modules, ProjectFolder, Sql, choose
from nexgent_db.cli.show import one_line, visible_lines
from nexgent_db.errors import MigrationError, NexgentError

__all__ = ["app", "main"]

app = typer.Typer(
    name="nexgent-db",
    help="The PostgreSQL data layer of the Nexgent trading engine.",
    epilog="The database is DATABASE_URL, else this account's embedded PostgreSQL.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # they would show local variables, and so passwords
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    migrations_,
    plan,
    new,
    replay,
    check,
    schema,
    queries,
    report,
    adopt,
    roles,
    ledger,
    partition,
    cache,
    cells,
    serve,
    doctor,
    verify,
):
    command.register(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nexgent-db {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    project: ProjectFolder = None,
    modules: Modules = None,
    sql: Sql = None,
    migrations: MigrationFolders = None,
    contract: Contract = None,
) -> None:
    choose(project, modules, sql, migrations, contract)


def main() -> None:
    """Run the command line; an error is one line on stderr, a JSON object on stdout after --json, and an exit code."""
    ending.raise_at_sigterm()
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a locale may lack a letter; as stderr does
    try:
        app(prog_name="nexgent-db")
    except NexgentError as error:
        if isinstance(error, MigrationError) and error.explanation:  # such as its edited lines
            typer.echo(visible_lines(error.explanation), err=True)
        typer.echo(f"nexgent-db: {one_line(str(error))}", err=True)
        if "--json" in sys.argv[1:]:
            print_error(error)
        sys.exit(exit_code_of(error))
    except ending.Terminated:
        typer.echo("nexgent-db: ended by SIGTERM: what was not committed is rolled back", err=True)
        sys.exit(128 + signal.SIGTERM)
