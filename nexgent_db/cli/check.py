"""``check``: prove every named query against a database."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import psycopg
import typer
from rich.console import Console
from rich.text import Text

from nexgent_db import sessions
from nexgent_db.aio.repositories.base import Repository
from nexgent_db.cli import target
from nexgent_db.cli.machine import print_json
from nexgent_db.cli.project import current
from nexgent_db.cli.sources import contract_of, service_sources
from nexgent_db.cli.target import Target
from nexgent_db.contract import (
    ContractFile,
    Plans,
    Problem,
    Report,
    all_sources,
    check,
    check_functions,
    check_older,
    compare,
    compare_offline,
    explain,
    fill_own_tables,
    read,
    render,
    seed,
    shown_path,
)
from nexgent_db.embedded import postgres
from nexgent_db.errors import ConfigurationError
from nexgent_db.project import Project
from nexgent_db.settings import Settings

__all__ = ["migrated", "register"]


def register(app: typer.Typer) -> None:
    """Add this command to ``app``."""
    app.command(name="check")(run)


def run(
    database_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="A migrated database to check against; a temporary server's by default."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the problems as one JSON object.")] = False,
    write: Annotated[bool, typer.Option("--write", help="Write the contract file when no problem is found.")] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Compare with the contract file only; needs no PostgreSQL.")
    ] = False,
    against: Annotated[
        str | None,
        typer.Option(metavar="REF", help="Check the queries of this git revision against these migrations."),
    ] = None,
    plans: Annotated[bool, typer.Option("--plans", help="Also refuse plans that scan a large table whole.")] = False,
) -> None:
    """Prove that every query of sql/ agrees with its method, its model and the schema, and every function of the schema
    with the schema. Exit code 1 when one does not.

    The command ignores DATABASE_URL: it uses a freshly migrated database on a temporary server, or the one that
    --database-url names. It reads only the catalog there, rolls all work back, and executes no query and no function.
    In a service it proves the service's queries too; the contract file, and what --against reads, are then its own.
    """
    project = current()
    ours, own, contract = all_sources(Repository), service_sources(project), contract_of(project)
    if offline:
        problems = compare_offline(ours, read())
        if contract is not None:
            problems += compare_offline(own, read(contract.path), contract)
        names = "contract.json" if contract is None else f"contract.json and {shown_path(contract.path)}"
        _finish(problems, as_json, f"{len(ours) + len(own)} queries are as in {names}")
        return
    with migrated(database_url) as where, sessions.connect(where.settings.conninfo) as connection:
        if against is not None:
            broken = _older(connection, against, project)
            _finish(broken, as_json, f"every query of {against} still works on these migrations")
            return
        report = check(connection, [*ours, *own])
        functions = check_functions(connection)
        found: Plans | None = None
        if plans or write:
            if where.embedded:
                seed(connection)
                for table in fill_own_tables(connection, report.queries):
                    typer.echo(f"{table} cannot be filled: its plans are those of an empty table", err=True)
            found = explain(connection, report.queries)
    problems = [*report.problems, *functions.problems, *(found.problems if found and plans else ())]
    committed = contract or ContractFile.of_package()
    of_package = [each for each in report.queries if not each.source.own]
    of_service = [each for each in report.queries if each.source.own]
    if not problems and write:
        mine = of_service if contract is not None else of_package
        _write(committed.path, render(mine, found.indexes if found else {}, committed))
    elif not problems and contract is not None:
        problems = compare(of_service, read(contract.path), contract)
    if not problems and (contract is not None or not write):
        problems = compare(of_package, read())
    variants = sum(len(query.variants) for query in report.queries)
    version = report.server_version // 10000
    _finish(
        problems,
        as_json,
        f"{len(report.queries)} queries, {variants} variants, {len(functions.functions)} functions: proven against"
        f" PostgreSQL {version}{' with plpgsql_check' if functions.extended else ''}",
        _details(report, found),
        functions.functions,
    )


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None


@contextmanager
def migrated(database_url: str | None) -> Iterator[Target]:
    """The database of ``database_url``, else a freshly migrated one on a temporary server. Raises SchemaNotReady."""
    if database_url is not None:
        where = Target(Settings.from_url(database_url.strip()), embedded=False)
        target.ensure_migrated(where)
        yield where
        return
    with postgres() as url:
        where = Target(Settings.from_url(url), embedded=True)
        target.migrate(where)
        yield where


def _older(connection: psycopg.Connection[Any], revision: str, project: Project) -> list[Problem]:
    """The problems of another revision's queries on this database: a service's own, else this package's."""
    if project.file is None or not project.sql:
        return _older_of(connection, revision, Path.cwd(), "sql")
    root = project.file.parent
    folders = [os.path.relpath(folder, root) for folder in project.sql]
    return [problem for folder in folders for problem in _older_of(connection, revision, root, folder)]


def _older_of(connection: psycopg.Connection[Any], revision: str, root: Path, folder: str) -> list[Problem]:
    with tempfile.TemporaryDirectory() as place:
        _unpack(revision, root, folder, Path(place))
        return check_older(connection, Path(place), f"{revision}:{folder}")


def _unpack(revision: str, root: Path, folder: str, place: Path) -> None:
    if revision.startswith("-"):
        raise ConfigurationError(f"{revision} is not a git revision")
    command = ["git", "archive", revision, "--", folder]
    done = subprocess.run(command, cwd=root, capture_output=True, check=False)
    if done.returncode:
        raise ConfigurationError(f"git archive {revision}: {done.stderr.decode(errors='replace').strip()}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        for member in archive:  # by name: extractall has its safe filter from Python 3.11.4 on only
            path = Path(member.name)
            if path.parent == Path(folder) and (content := archive.extractfile(member)) is not None:
                (place / path.name).write_bytes(content.read())


# --- Showing --------------------------------------------------------------------------------------


def _details(report: Report, plans: Plans | None) -> list[dict[str, Any]]:
    return [
        {
            "query": query.source.query.qualified_name,
            "variants": len(query.variants),
            "indexes": list(plans.indexes.get(query.source.query.qualified_name, ())) if plans else None,
        }
        for query in report.queries
    ]


def _finish(
    problems: Sequence[Problem],
    as_json: bool,
    success: str,
    queries: Sequence[dict[str, Any]] = (),
    functions: Sequence[str] = (),
) -> None:
    if as_json:
        document = {
            "problems": [problem.as_json() for problem in problems],
            "queries": list(queries),
            "functions": list(functions),
        }
        print_json(document)
    elif problems:
        console = Console(highlight=False, soft_wrap=True)
        for problem in problems:
            _show(console, problem)
        console.print(Text(f"{len(problems)} problem{'s' * (len(problems) > 1)}", style="bold red"))
    else:
        typer.echo(success)
    if problems:
        raise typer.Exit(1)


def _show(console: Console, problem: Problem) -> None:
    count = f" ({problem.variants} variants)" if problem.variants > 1 else ""
    console.print(Text.assemble((problem.rule, "bold red"), "  ", (problem.sql, "bold"), f"  {problem.query}{count}"))
    for label, text in (
        ("declared", problem.declared + (f"   {problem.python}" if problem.python else "")),
        ("database", problem.actual),
        ("to do", problem.advice),
    ):
        console.print(Text.assemble("  ", (f"{label:<10}", "dim"), text))
