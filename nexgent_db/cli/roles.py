"""``roles``: create the roles of the database and grant their rights."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from nexgent_db.cli import target
from nexgent_db.cli.schema import connected
from nexgent_db.cli.show import one_line
from nexgent_db.cli.target import DatabaseUrl, RequireUrl
from nexgent_db.schema.logins import add_login, drop_login
from nexgent_db.schema.roles import Change, apply_roles

__all__ = ["register"]

Prefix = Annotated[str, typer.Option(metavar="NAME", help="The prefix of the roles' names.")]

_roles = typer.Typer(help="Roles with no more rights than each needs: sql/roles.sql.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``."""
    app.add_typer(_roles, name="roles")


@_roles.command()
def apply(
    prefix: Prefix = "nexgent",
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit with 1 when something would change.")
    ] = False,
    require_url: RequireUrl = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Create the roles, grant each the rights of sql/roles.sql, and revoke all its other rights.

    Run it as a superuser, or as the owner of database and tables with CREATEROLE; as the migrator once the roles exist.
    Run it again after each migrate. A second run changes nothing.
    """
    with (
        target.opened(database_url, writes=not check, require_url=require_url and not check) as database,
        connected(database.settings.conninfo) as conn,
    ):
        changes = apply_roles(conn, prefix, keep=not check)
    for change in changes:
        _show(change)
    if not changes:
        typer.echo("nothing to do: roles, grants and policies are as sql/roles.sql says")
    elif check:
        typer.echo(f"{len(changes)} would be changed: nexgent-db roles apply")
        raise typer.Exit(1)
    else:
        typer.echo(f"{len(changes)} changed")


@_roles.command()
def login(
    user_id: Annotated[UUID, typer.Argument(metavar="USER_ID", show_default=False, help="The user.")],
    max_connections: Annotated[int, typer.Option(min=1, help="How many connections it may have at a time.")] = 5,
    drop: Annotated[bool, typer.Option("--drop", help="Drop the login.")] = False,
    prefix: Prefix = "nexgent",
    require_url: RequireUrl = None,
    database_url: DatabaseUrl = None,
) -> None:
    r"""Create a login for SQL that this user writes: it sees this user's rows alone, whatever the SQL sets.

    It has no password: \password in psql sets one. Run it as a role with CREATEROLE that may grant the tenants' role.
    """
    with (
        target.written(database_url, require_url) as database,
        connected(database.settings.conninfo) as conn,
    ):
        if drop:
            found = drop_login(conn, user_id, prefix)
            typer.echo(f"login of user {user_id} dropped" if found else f"user {user_id} has no login")
        else:
            name = add_login(conn, user_id, prefix, max_connections=max_connections)
            typer.echo(f"login {name} acts for user {user_id} alone")


def _show(change: Change) -> None:
    typer.echo(one_line(change.subject))
    for sign, state in (("-", change.before), ("+", change.after)):
        if state is not None:
            typer.echo(f"  {sign} {one_line(state)}")
