"""``queries``: show the named queries with their promises, plans and statistics."""

from __future__ import annotations

import difflib
from decimal import Decimal
from typing import Annotated, Any, Final

import psycopg
import typer
from rich.console import Console
from rich.syntax import Syntax
from rich.text import Text

from nexgent_db import sessions
from nexgent_db.cli import target
from nexgent_db.cli.explain import explain as explain_query
from nexgent_db.cli.machine import print_json
from nexgent_db.cli.project import current
from nexgent_db.cli.show import show_table
from nexgent_db.cli.sources import contract_of, known_contracts, sources
from nexgent_db.cli.statistics import QueryStatistics, Statistics, read_statistics
from nexgent_db.cli.target import DatabaseUrl
from nexgent_db.contract import NamedQuery, Source, compare_offline, described, read, shown_path
from nexgent_db.errors import InvalidInput, translate

__all__ = ["register"]

_CLOSE: Final = 5
_queries = typer.Typer(help="The named queries, a service's too: list, show, explain, count.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="As in queries list: positions.find_by_id.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``."""
    app.add_typer(_queries, name="queries")


@_queries.command(name="list")
def list_(as_json: AsJson = False) -> None:
    """List every query: its name, cardinality, place and promise. Needs no database."""
    project = current()
    queries = described(sources(project), known_contracts(project))
    if as_json:
        print_json({"queries": [_brief(query) for query in queries]})
        return
    console = Console(highlight=False, soft_wrap=True)
    wide = [max(map(len, column)) for column in zip(*map(_columns, queries), strict=True)]
    for query in queries:
        name, rows, place = (text.ljust(width) for text, width in zip(_columns(query), wide, strict=True))
        console.print(Text.assemble((name, "bold"), f"  {rows}  ", (place, "dim"), f"  {query.first_sentence}"))


@_queries.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Show one query: its text, parameters, rows, tables, indexes and the Python that calls it. Needs no database.

    Types, tables and indexes come from the committed contract, which make contract proves.
    """
    source, query = _found(name)
    contract = contract_of(current()) if source.own else None
    stale = compare_offline([source], _only(read(contract.path if contract else None), name), contract)
    if as_json:
        print_json(_whole(query))
    else:
        _show(query)
    for problem in stale:
        typer.echo(f"stale: {problem.declared}: {problem.actual}; {problem.advice}", err=True)


@_queries.command()
def explain(
    name: Name,
    param: Annotated[
        list[str] | None,
        typer.Option(
            "--param",
            "-p",
            metavar="K=V",
            help="A value; it also keeps its '-- if given' lines. K alone keeps them for any value.",
        ),
    ] = None,
    analyze: Annotated[
        bool, typer.Option("--analyze", help="Execute it read-only and show times and rows. Writes are refused.")
    ] = False,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Show the plan of a query: the generic one or, with --param, the one for these values. Changes nothing.

    The generic plan is that of a prepared statement with the types that the driver sends; it ignores the distribution
    of values. The plan for given values considers it.
    """
    source, query = _found(name)
    explain_query(source, query, param or [], database_url, analyze=analyze, as_json=as_json)


@_queries.command()
def stats(as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """Show how often each query ran and how long it took, from pg_stat_statements, and which never ran.

    The variants of a query are counted together; a stream counts only its opening. Only members of pg_read_all_stats
    see the statements of other roles.
    """
    queries = [source.query for source in sources(current())]
    with target.opened(database_url) as where:
        try:
            with sessions.connect(where.settings.conninfo) as connection:
                found = read_statistics(connection, queries)
        except psycopg.Error as error:
            raise translate(error) from error
    if as_json:
        print_json(_counted(found))
    else:
        _show_statistics(found)


def _found(name: str) -> tuple[Source, NamedQuery]:
    """The query of this name. Raises InvalidInput with the nearest names if there is none."""
    project = current()
    by_name = {source.query.qualified_name: source for source in sources(project)}
    if name not in by_name:
        near = difflib.get_close_matches(name, by_name, _CLOSE, 0.6)
        near += [each for each in by_name if name and name.rpartition(".")[2] == each.rpartition(".")[2]]
        advice = ", ".join(list(dict.fromkeys(near))[:_CLOSE])
        hint = f"there is {advice}" if advice else "nexgent-db queries list has them all"
        raise InvalidInput("NAME", f"no query is called {name[:100]!r}: {hint}")
    (query,) = described([by_name[name]], known_contracts(project))
    return by_name[name], query


def _only(contract: dict[str, Any] | None, name: str) -> dict[str, Any] | None:
    """The contract's entries for one query."""
    return contract and {**contract, "queries": [each for each in contract["queries"] if each["query"] == name]}


# --- Showing --------------------------------------------------------------------------------------


def _place(query: NamedQuery) -> str:
    return f"{shown_path(query.path)}:{query.line}"


def _method(query: NamedQuery) -> str | None:
    return f"{shown_path(query.method[0])}:{query.method[1]}" if query.method else None


def _columns(query: NamedQuery) -> tuple[str, str, str]:
    return query.name, f":{query.cardinality}", _place(query)


def _brief(query: NamedQuery) -> dict[str, Any]:
    return {
        "name": query.name,
        "cardinality": query.cardinality,
        "sql": _place(query),
        "promise": query.promise,
    }


def _whole(query: NamedQuery) -> dict[str, Any]:
    return {
        **_brief(query),
        "rows": query.rows,
        "text": query.text,
        "parameters": [
            {
                "name": each.name,
                "type": each.type,
                "nullable": each.nullable,
                "may_be_left_out": each.may_be_left_out,
                "argument": each.argument,
            }
            for each in query.parameters
        ],
        "columns": [{"name": each.name, "type": each.type, "nullable": each.nullable} for each in query.columns],
        "reads": query.reads,
        "writes": query.writes,
        "indexes": query.indexes,
        "variants": query.variants,
        "python": {"signature": query.signature, "place": _method(query)} if query.method else None,
    }


def _show(query: NamedQuery) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print(Text.assemble((query.name, "bold"), (f"  :{query.cardinality}  {_place(query)}", "dim")))
    console.print(Syntax(query.text, "sql", background_color="default", word_wrap=False))
    console.print()
    if query.parameters:
        show_table(
            "Parameters",
            ("name", "type", "may be NULL", "filled by", ""),
            [
                (
                    each.name,
                    each.type,
                    "yes" if each.nullable else "",
                    each.argument,
                    "may be left out" if each.may_be_left_out else "",
                )
                for each in query.parameters
            ],
        )
    if query.columns:
        show_table(
            f"Columns ({query.rows} row{'s' * (query.rows == 'many')})",
            ("name", "type", "may be NULL"),
            [(each.name, each.type, "yes" if each.nullable else "") for each in query.columns],
        )
    for label, names in (("reads", query.reads), ("writes", query.writes), ("indexes", query.indexes)):
        console.print(Text.assemble((f"{label:<8}", "dim"), ", ".join(names) or "none"))
    if query.signature is None:
        console.print(Text.assemble((f"{'Python':<8}", "dim"), "no method calls it"))
    else:
        console.print(Text.assemble((f"{'Python':<8}", "dim"), _method(query) or ""))
        console.print(Syntax(query.signature, "python", background_color="default"))


def _counted(statistics: Statistics) -> dict[str, Any]:
    return {
        "since": statistics.since.isoformat() if statistics.since else None,
        "queries": [
            {
                "name": each.name,
                "calls": each.calls,
                "total_ms": each.total_ms,
                "mean_ms": each.mean_ms,
                "rows": each.rows,
                "cache_hit": each.cache_hit,
            }
            for each in statistics.ran
        ],
        "never_ran": statistics.never_ran,
        "of_another_release": statistics.unknown,
        "hidden_statements": statistics.hidden,
    }


def _show_statistics(statistics: Statistics) -> None:
    since = f" since {statistics.since:%Y-%m-%d %H:%M:%S %Z}" if statistics.since else ""
    show_table(
        f"{len(statistics.ran)} queries ran{since}",
        ("name", "calls", "total, ms", "mean, ms", "rows", "cache hit"),
        [_row(each) for each in statistics.ran],
    )
    for label, names in (("never ran", statistics.never_ran), ("of another release", statistics.unknown)):
        if names:
            typer.echo(f"{label} ({len(names)}): {', '.join(names)}")
    if statistics.hidden:
        typer.echo(f"{statistics.hidden} statements of other roles are hidden: GRANT pg_read_all_stats shows them")


def _row(each: QueryStatistics) -> tuple[str | int | Decimal, ...]:
    hit = "" if each.cache_hit is None else f"{each.cache_hit:.1%}"
    return each.name, each.calls, _ms(each.total_ms), _ms(each.mean_ms), each.rows, hit


def _ms(time: float) -> Decimal:
    return round(Decimal(time), 3)
