"""``cells``: schemas of one database, each with all tables of its users."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nexgent_db.cli import project, target
from nexgent_db.cli.machine import Json, print_json, reporting
from nexgent_db.cli.show import one_line, show_table
from nexgent_db.cli.target import DatabaseUrl, RequireUrl
from nexgent_db.errors import InvalidInput
from nexgent_db.migrations import Cells, CellStatus

__all__ = ["register"]

_cells = typer.Typer(help="Cells: schemas, each with all tables of its users.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="CELL", show_default=False, help="The cell, a schema.")]
Names = Annotated[
    list[str] | None, typer.Argument(metavar="[CELL]...", show_default=False, help="These cells; all by default.")
]
Roles = Annotated[bool, typer.Option("--roles", help="Also apply the rights of sql/roles.sql, as `roles apply` does.")]
Prefix = Annotated[str, typer.Option(metavar="NAME", help="With --roles: the prefix of the roles' names.")]
Jobs = Annotated[int, typer.Option(min=1, max=32, help="How many cells at a time, with up to four connections each.")]


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``."""
    app.add_typer(_cells, name="cells")


@_cells.command("list")
def list_(names: Names = None, as_json: Json = False, database_url: DatabaseUrl = None) -> None:
    """List the cells, their state and, on Citus, their node. Exit code 0: all are up to date; 2: some are behind;
    1: a cell is newer than this release, or contradicts it.
    """
    with target.opened(database_url) as database:
        found = _of(database).statuses(names or ())
    if as_json:
        print_json({"cells": [_as_object(cell) for cell in found]})
    else:
        rows = [(cell.name, _state(cell), cell.node or "") for cell in found]
        show_table("Cells", ("cell", "state", "node"), rows)
        for cell in found:
            if cell.problem:
                typer.echo(one_line(f"{cell.name}: {cell.problem}"))
        behind = sum(cell.state in ("behind", "empty") for cell in found)
        typer.echo(f"{len(found)} cells, {behind} behind" + (": nexgent-db cells migrate" if behind else ""))
    if any(cell.state in ("newer", "problem") for cell in found):
        raise typer.Exit(1)
    if any(cell.state != "up to date" for cell in found):
        raise typer.Exit(2)


@_cells.command()
def create(
    name: Name,
    node: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="On Citus: the node of its tables."),
    ] = None,
    roles: Roles = False,
    prefix: Prefix = "nexgent",
    require_url: RequireUrl = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Make a cell with all migrations; on Citus, distribute it. A cell that exists is refused."""
    with target.written(database_url, require_url) as database:
        result = _of(database, roles=prefix if roles else None).create(name, node)
    typer.echo(one_line(f"{name} made: {len(result.applied)} migrations applied"))


@_cells.command()
def migrate(
    names: Names = None,
    to: Annotated[str | None, typer.Option(metavar="ID", help="The last migration to apply; all by default.")] = None,
    jobs: Jobs = 4,
    roles: Roles = False,
    prefix: Prefix = "nexgent",
    as_json: Json = False,
    require_url: RequireUrl = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Bring the cells to this release's schema, several at a time. A cell that fails stops no other.

    Exit code 1 when one failed: the message says which, and at what. Run it again after the repair.
    """
    document: dict[str, Any] = {"cells": []}
    with reporting(document, as_json), target.written(database_url, require_url) as database:
        cells = _of(database, jobs=jobs, roles=prefix if roles else None)
        results = cells.migrate(names or (), to=to)
        document["cells"] = [
            {
                "name": each.name,
                "applied": list(each.applied),
                "error": None if each.error is None else each.error.to_json(),
            }
            for each in results
        ]
    failed = [each for each in results if each.error is not None]
    if not as_json:
        done = len(results) - len(failed)
        for each in failed:
            typer.echo(one_line(f"{each.name}: {each.error}"))
        typer.echo(f"{done} cells migrated, {len(failed)} failed" if results else "nothing to do: all are up to date")
    if failed:
        raise typer.Exit(1)


@_cells.command()
def move(
    name: Name,
    node: Annotated[str, typer.Argument(metavar="HOST:PORT", help="The node of Citus that gets the cell's tables.")],
    require_url: RequireUrl = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Move a cell's tables to another node of Citus while services use them; distribute it first if it is not yet."""
    with target.written(database_url, require_url) as database:
        place = _of(database).move(name, node)
    typer.echo(one_line(f"{name} is on {place}"))


@_cells.command()
def drop(
    name: Name,
    confirm: Annotated[str, typer.Option(metavar="CELL", help="The cell's name once more.")],
    with_data: Annotated[bool, typer.Option("--with-data", help="Also drop its users, agents and ledger.")] = False,
    require_url: RequireUrl = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Drop a cell and all that is in it. One with users needs --with-data; one of the directory's users is refused."""
    if confirm != name:
        raise InvalidInput("confirm", f"should repeat the name of the cell, {name}")
    with target.written(database_url, require_url) as database:
        _of(database).drop(name, with_data=with_data)
    typer.echo(one_line(f"{name} dropped"))


def _of(database: target.Target, *, jobs: int = 4, roles: str | None = None) -> Cells:
    def on_message(cell: str, text: str) -> None:
        typer.echo(one_line(f"{cell}: {text}"), err=True)

    return Cells(
        database.settings.conninfo,
        migrations=project.current().migrations,
        jobs=jobs,
        roles=roles,
        on_message=on_message,
    )


def _state(cell: CellStatus) -> str:
    return f"{cell.pending} behind" if cell.state == "behind" else cell.state


def _as_object(cell: CellStatus) -> dict[str, str | int | None]:
    return {
        "name": cell.name,
        "state": cell.state,
        "pending": cell.pending,
        "problem": cell.problem,
        "node": cell.node,
    }
