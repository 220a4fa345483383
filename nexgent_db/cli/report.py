"""``report``: write the schema and every query on one page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from nexgent_db import sessions
from nexgent_db.cli.check import migrated
from nexgent_db.cli.project import current
from nexgent_db.cli.sources import sources
from nexgent_db.contract import CheckedQuery, Plan, Plans, check, described, explain, fill_own_tables, render, seed
from nexgent_db.errors import ConfigurationError, SchemaNotReady
from nexgent_db.report import ShownPlan, ShownQuery, Subject, page, step_of
from nexgent_db.schema.introspect import read_catalog

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add this command to ``app``."""
    app.command(name="report")(run)


def run(
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where to write the page.")] = Path("nexgent-db.html"),
    database_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="A migrated database to describe; a temporary server's by default."),
    ] = None,
) -> None:
    """Write one HTML page: diagram, tables, indexes, and every query with its SQL, its plan, the Python that calls it.

    The command ignores DATABASE_URL: it uses a database on a temporary server, freshly migrated and filled so that
    plans are those of large tables, or the one that --database-url names, where it reads only catalog and statistics.
    """
    with migrated(database_url) as where, sessions.connect(where.settings.conninfo) as connection:
        found = check(connection, sources(current()))
        if found.problems:
            raise SchemaNotReady(f"{len(found.problems)} problems with the queries: nexgent-db check shows them")
        schema = read_catalog(connection)
        if where.embedded:
            seed(connection)
            fill_own_tables(connection, found.queries)
        plans = explain(connection, found.queries)
    contract = json.loads(render(found.queries, plans.indexes))
    queries = described([checked.source for checked in found.queries], contract)
    shown = [
        ShownQuery(query, tuple(_plans(checked, plans))) for query, checked in zip(queries, found.queries, strict=True)
    ]
    text = page(Subject(schema, shown, f"PostgreSQL {found.server_version // 10000}"))
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{out} cannot be written: {error.strerror}") from None
    typer.echo(f"{out}: {len(schema.tables)} tables, {len(shown)} queries")


def _plans(checked: CheckedQuery, plans: Plans) -> Iterator[ShownPlan]:
    """The plan without the optional lines and the one with all of them, when they differ.

    None of a query of the catalogs alone: its plan changes whenever the server counts their rows.
    """
    reads = frozenset().union(*(variant.reads for variant in checked.variants))
    if reads and all(relation.startswith("pg_") for relation in reads):
        return
    trees = plans.trees[checked.source.query.qualified_name]
    by_size = sorted(range(len(trees)), key=lambda place: len(checked.variants[place].statement.parameters))
    least, most = trees[by_size[0]], trees[by_size[-1]]
    if _alike(least, most):
        yield ShownPlan("" if len(trees) == 1 else "with optional lines or without", step_of(most))
    else:
        yield ShownPlan("without the optional lines", step_of(least))
        yield ShownPlan("with all optional lines", step_of(most))


def _alike(one: Plan, other: Plan) -> bool:
    return list(step_of(one).lines()) == list(step_of(other).lines())
