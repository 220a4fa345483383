"""``schema`` and ``drift``: write the schema that the migrations create, and compare a database with it."""

from __future__ import annotations

import difflib
import secrets
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import psycopg
import typer
from psycopg.conninfo import make_conninfo
from rich.console import Console
from rich.text import Text

from nexgent_db import sessions
from nexgent_db._text import visible
from nexgent_db.cli import target
from nexgent_db.cli.machine import print_error, print_json
from nexgent_db.cli.project import current
from nexgent_db.cli.show import one_line
from nexgent_db.cli.target import DatabaseUrl
from nexgent_db.embedded import postgres
from nexgent_db.errors import InvalidInput, NexgentError, SchemaNotReady, translate
from nexgent_db.migrations.baseline import ignored_at_adoption
from nexgent_db.migrations.partitions import TABLES, Partitioner
from nexgent_db.resources import data_dir
from nexgent_db.schema.catalog import Catalog
from nexgent_db.schema.ddl import render
from nexgent_db.schema.diff import Difference, differences
from nexgent_db.schema.introspect import read_catalog
from nexgent_db.settings import Settings

__all__ = [
    "Expected",
    "Scratch",
    "catalog_after",
    "catalog_of",
    "compared",
    "connected",
    "empty_database",
    "register",
    "show_differences",
]

Scratch = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        show_default=False,
        help="A database to migrate on, in a new schema that is dropped afterwards. Without it, a throw-away server's.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``."""
    app.command()(schema)
    app.command()(drift)


def schema(
    database_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="A database to write out; a temporary server's, freshly migrated, by default."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write to this file instead of stdout.")] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing; fail when FILE, or the package's sql/schema.sql, differs."),
    ] = False,
) -> None:
    """Write the schema as SQL: each table with its columns, constraints, indexes and comments; a service's too.

    The command ignores DATABASE_URL: it uses a temporary server, freshly migrated, or the database of --database-url.
    The text is the same on PostgreSQL 15 to 18, except for the body of new_id().
    """
    if check and out is None and current().migrations:
        raise InvalidInput("check", "name the service's file: --out FILE --check")
    if database_url is not None:
        text = render(catalog_of(Settings.from_url(database_url.strip()).conninfo))
    else:
        text = _head() + render(catalog_after(None, None))
    if check:
        _ensure_fresh(text, out)
    elif out is not None:
        out.write_text(text, encoding="utf-8")
    else:
        typer.echo(text, nl=False)


_HEAD = """\
-- What all migrations together make, table by table. Written by {command}, never by hand.
-- Nothing reads this file but people: the migrations make the schema, and {check} compares.

"""


def _head() -> str:
    if current().migrations:
        return _HEAD.format(command="`nexgent-db schema --out`", check="`nexgent-db schema --check --out`")
    return _HEAD.format(command="`make schema`", check="`make check`")


def _ensure_fresh(text: str, out: Path | None) -> None:
    path = out or data_dir("sql") / "schema.sql"
    name, remedy = (str(out), f"nexgent-db schema --out {out}") if out else ("sql/schema.sql", "make schema")
    committed = path.read_text(encoding="utf-8") if path.is_file() else ""
    if committed != text:
        lines = difflib.unified_diff(
            committed.splitlines(), text.splitlines(), name, "the migrations", lineterm="", n=1
        )
        typer.echo("\n".join(lines))
        raise SchemaNotReady(f"{name} is not what the migrations make: run {remedy}")


def drift(
    scratch: Scratch = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Pass over this object, as the command names it; ignore-drift of the pyproject.toml remembers it.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the differences as one JSON object.")] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Compare the database with a fresh one of the same migrations. Exit code 0: equal; 1: different; 2: not
    comparable.

    Reads only, without locks. Each difference comes with the statement that repairs it; what something else made, such
    as another tool's table, is never dropped. Owners, grants, row-level
    security and objects of extensions are not compared.
    """
    try:
        with target.opened(database_url) as database:
            last, found = compared(database.settings.conninfo, Expected(scratch), ignore or ())
    except NexgentError as error:
        typer.echo(f"nexgent-db: {one_line(str(error))}", err=True)
        if as_json:
            print_error(error)
        raise typer.Exit(2) from None
    if as_json:
        print_json({"after": last, "differences": [as_object(each) for each in found]})
    elif found:
        show_differences(found)
    else:
        typer.echo(f"the schema is what the migrations make, up to {last}")
    if found:
        raise typer.Exit(1)


class Expected:
    """The catalogs that migrations make, on a temporary server or on ``scratch``; each is made once."""

    def __init__(self, scratch: str | None = None) -> None:
        self._scratch = scratch
        self._catalogs: dict[tuple[tuple[str, ...], tuple[str, ...]], Catalog] = {}

    def after(self, applied: Sequence[str], partitioned: Sequence[str]) -> Catalog:
        """The catalog after these migrations, with these tables partitioned."""
        key = (tuple(applied), tuple(partitioned))
        if key not in self._catalogs:
            self._catalogs[key] = catalog_after(applied, self._scratch, partitioned)
        return self._catalogs[key]


def compared(conninfo: str, expected: Expected, ignore: Sequence[str] = ()) -> tuple[str, list[Difference]]:
    """The last migration of a database, and its differences from what its migrations make; reads only.

    What the project or the adoption passes over is no difference. Raises SchemaNotReady when no comparison is possible,
    EmbeddedServerError without a server to compare on, and what connecting raises.
    """
    applied = _applied(conninfo)
    with connected(conninfo) as conn:
        actual, at_adoption = read_catalog(conn), ignored_at_adoption(conn)
    ignored = {*current().ignore_drift, *ignore, *at_adoption}
    found = [
        each
        for each in differences(expected.after(applied, _partitioned(actual)), actual)
        if ignored.isdisjoint((each.name, f"{each.kind} {each.name}"))
    ]
    return applied[-1], found


def _applied(conninfo: str) -> list[str]:
    """The names of the applied migrations, in order. Raises SchemaNotReady unless they are the first of each folder."""
    states = target.migrator(conninfo).status()
    applied = [state for state in states if state.applied_at is not None]
    if not applied:
        raise SchemaNotReady(
            "no migration is applied here: nexgent-db migrate, or adopt for a database that Prisma made"
        )
    if unknown := [state.name for state in applied if not state.known]:
        raise SchemaNotReady(f"the database is newer than this release, which does not know {', '.join(unknown)}")
    for history in dict.fromkeys(state.history for state in applied):
        of_it = [state for state in states if state.history == history]
        last = max(at for at, state in enumerate(of_it) if state.applied_at is not None)
        if missing := [state.name for state in of_it[:last] if state.applied_at is None]:
            raise SchemaNotReady(f"not applied, but older than {of_it[last].name}, which is: {', '.join(missing)}")
    return [state.name for state in applied]


# --- Catalogs -----------------------------------------------------------------------------------


def catalog_of(conninfo: str) -> Catalog:
    """The catalog of the database. Raises DatabaseUnavailable, other DatabaseErrors, or ConfigurationError."""
    with connected(conninfo) as conn:
        return read_catalog(conn)


def catalog_after(names: Collection[str] | None, scratch: str | None, partitioned: Collection[str] = ()) -> Catalog:
    """The catalog after these migrations (None: all), on a temporary server or on ``scratch``; with these tables
    partitioned."""
    with empty_database(scratch) as conninfo:
        target.migrator(conninfo).migrate(only=names)
        if partitioned:
            Partitioner(conninfo, partitioned).apply()
        return catalog_of(conninfo)


def _partitioned(catalog: Catalog) -> list[str]:
    """The tables of ours that nexgent-db partition has partitioned."""
    ours = (table.name for table in TABLES)
    return [
        name for name in ours if name in catalog.tables and catalog.tables[name].partition.startswith("PARTITION BY")
    ]


@contextmanager
def empty_database(scratch: str | None) -> Iterator[str]:
    """The connection string of a temporary server's database, or of a temporary schema in ``scratch``."""
    if scratch is None:
        with postgres() as url:
            yield Settings.from_url(url).conninfo
        return
    conninfo = Settings.from_url(scratch.strip()).conninfo
    name = f"nexgent_scratch_{secrets.token_hex(6)}"
    with connected(conninfo) as conn:
        conn.execute(f"CREATE SCHEMA {name}")
        try:
            yield make_conninfo(conninfo, options=f"-csearch_path={name}")
        finally:
            conn.execute(f"DROP SCHEMA {name} CASCADE")


@contextmanager
def connected(conninfo: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection that raises our errors."""
    try:
        with sessions.connect(conninfo) as conn:
            yield conn
    except psycopg.Error as error:
        raise translate(error) from error


# --- Showing ------------------------------------------------------------------------------------


def as_object(difference: Difference) -> dict[str, str | bool | None]:
    """The difference as a JSON object."""
    return {
        "kind": difference.kind,
        "name": difference.name,
        "expected": difference.expected,
        "actual": difference.actual,
        "repair": difference.repair,
        "harmless": difference.harmless,
    }


def show_differences(found: Sequence[Difference]) -> None:
    """Show each difference with the expected and the actual definition, and the statement that repairs it."""
    console = Console(highlight=False, soft_wrap=True)
    for each in found:
        console.print(Text.assemble((visible(str(each)), "bold"), ("  harmless" if each.harmless else "", "dim")))
        rows = [("expected", each.expected), ("there", each.actual), ("repair", each.repair)]
        for label, text in rows:
            first, *more = (text or "nothing").splitlines()
            console.print(Text.assemble("  ", (f"{label:<10}", "dim"), visible(first)))
            for line in more:
                console.print(Text(" " * 12 + visible(line)))
    console.print(Text(f"{len(found)} difference{'s' * (len(found) > 1)}", style="bold red"))
