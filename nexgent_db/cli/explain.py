"""``queries explain``: the plan of a named query, generic or for given values."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from nexgent_db import sessions
from nexgent_db.cli import target
from nexgent_db.cli.machine import print_json
from nexgent_db.cli.show import show_whole
from nexgent_db.cli.target import Target
from nexgent_db.contract import Explained, NamedQuery, Source, plan_of, read_catalog, types_sent
from nexgent_db.errors import ConfigurationError, InvalidInput, translate
from nexgent_db.models.base import Input
from nexgent_db.queries.statement import Statement
from nexgent_db.queries.values import NotGiven
from nexgent_db.report import Step, step_of

__all__ = ["explain"]

_LONGEST_SHOWN: Final = 60


@dataclass(frozen=True, slots=True)
class _Wish:
    """The variant to explain, and its values; None for the generic plan."""

    statement: Statement
    values: tuple[str | None, ...] | None


def explain(
    source: Source,
    query: NamedQuery,
    parameters: Sequence[str],
    database_url: str | None,
    *,
    analyze: bool,
    as_json: bool,
) -> None:
    """Print the plan. Raises ConfigurationError, InvalidInput for a wrong parameter, DatabaseError."""
    types = {each.name: each.type for each in query.parameters}
    if not all(types.values()):
        raise ConfigurationError(f"the contract does not know {query.name}: make contract")
    wish = _wish(source, types, _given(types, parameters), values_needed=analyze)
    with target.opened(database_url) as where:
        if where.embedded:
            target.migrate(where)
        version, found = _explained(where, source, types, wish, analyze=analyze)
    if as_json:
        print_json({"query": query.name, "plan": found})
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(Text.assemble((query.name, "bold"), ("  " + _about(wish, version, analyze=analyze), "dim")))
    show_whole(_tree(step_of(found["Plan"])))
    for label in ("Planning Time", "Execution Time"):
        if label in found:
            console.print(Text.assemble((f"{label}: ", "dim"), f"{found[label]:.3f} ms"))


# --- Parameters -----------------------------------------------------------------------------------


def _given(types: Mapping[str, str], parameters: Sequence[str]) -> dict[str, str | None]:
    """Parse the ``k=v`` and ``k`` of --param."""
    given: dict[str, str | None] = {}
    for each in parameters:
        name, equals, value = each.partition("=")
        if name not in types:
            raise InvalidInput(_short(name), f"no such parameter; there is {_typed(types, types) or 'none'}")
        if name in given:
            raise InvalidInput(name, "is given twice")
        given[name] = value if equals else None
    return given


def _wish(source: Source, types: Mapping[str, str], given: Mapping[str, str | None], *, values_needed: bool) -> _Wish:
    query = source.query
    statement = query.statement(query.required.union(given))
    for name in given:
        if name not in statement.parameters:
            others = sorted(set().union(*(group for group in query.optional if name in group)) - given.keys())
            raise InvalidInput(name, f"its line is left out without {_typed(types, others)}")
    if not values_needed and all(value is None for value in given.values()) and statement.parameters:
        return _Wish(statement, None)
    values = {**_defaults(source), **given}
    missing = [name for name in statement.parameters if name not in values and not source.may_be_null(name)]
    if missing:
        why = "--analyze executes the query" if values_needed else "a plan for some values needs all"
        raise InvalidInput("--param", f"{why}: give {_typed(types, missing)}")
    for name in statement.parameters:
        found = source.parameters.get(name)
        value = values.get(name)
        if found is not None and found.values is not None and value is not None and value not in found.values:
            raise InvalidInput(name, f"{_short(value)!r} is none of {', '.join(map(repr, sorted(found.values)))}")
    return _Wish(statement, tuple(values.get(name) for name in statement.parameters))


def _defaults(source: Source) -> dict[str, str | None]:
    """The values that the method sends for missing arguments."""
    found: dict[str, object] = {}
    if source.bound is not None:
        for name, item in inspect.signature(source.bound.method).parameters.items():
            found |= item.default.__dict__ if isinstance(item.default, Input) else {name: item.default}
    return {
        name: json.dumps(value) if isinstance(value, bool) else str(value)
        for name, value in found.items()
        if value not in (None, inspect.Parameter.empty) and not isinstance(value, NotGiven)
    }


def _typed(types: Mapping[str, str], names: Sequence[str] | Mapping[str, str]) -> str:
    return ", ".join(f"{name}={types[name]}" for name in names)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


# --- The database ---------------------------------------------------------------------------------


def _explained(
    where: Target, source: Source, types: Mapping[str, str], wish: _Wish, *, analyze: bool
) -> tuple[int, Explained]:
    """The server's version and its answer, in a read-only transaction: an executed query cannot write."""
    with _translated(source.query.qualified_name):
        connection = sessions.connect(where.settings.conninfo, autocommit=False)
    name = source.query.qualified_name
    with connection, connection.transaction(force_rollback=True), _translated(name):
        connection.execute("SET TRANSACTION READ ONLY")
        connection.execute("SELECT set_config('statement_timeout', %s, true)", [_milliseconds(where)])
        catalog = read_catalog(connection)
        statement = wish.statement
        sent = types_sent(source, statement, [types[each] for each in statement.parameters], catalog)
        for parameter, type_, value in zip(statement.parameters, sent, wish.values or (), strict=False):
            _ensure_readable(connection, parameter, types[parameter], type_, value)
        try:
            found = plan_of(connection, statement, sent, wish.values, analyze=analyze)
        except psycopg.errors.ReadOnlySqlTransaction as error:
            raise InvalidInput(
                "--analyze", f"{name} writes or locks, and would be executed: without it, nothing is"
            ) from error
        return connection.info.server_version, found


def _milliseconds(where: Target) -> str:
    return str(round(where.settings.statement_timeout_s * 1000))


def _ensure_readable(
    connection: psycopg.Connection[Any], name: str, expected: str, type_: str, value: str | None
) -> None:
    try:
        with connection.transaction():
            connection.execute(f"SELECT CAST(%s::text AS {type_})", [value])
    except (psycopg.DataError, UnicodeEncodeError) as error:
        said = error.diag.message_primary if isinstance(error, psycopg.Error) else "no Unicode"
        raise InvalidInput(name, f"{expected} expected: {said or error}") from None


@contextmanager
def _translated(name: str) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise translate(error, name) from error


# --- Showing --------------------------------------------------------------------------------------


def _about(wish: _Wish, version: int, *, analyze: bool) -> str:
    if not wish.statement.parameters:
        kind = "executed, and rolled back" if analyze else "the plan"
    elif wish.values is None:
        kind = "the plan for any values (--param name=value: for those)"
    else:
        kind = "executed with these values, read only" if analyze else "the plan for these values"
    return f"PostgreSQL {version // 10000}, {kind}"


def _tree(step: Step, above: Tree | None = None) -> Tree:
    label = Text.assemble((step.title, "bold"), (f"  ({step.figures})", "cyan"))
    for name, text in step.details:
        label.append(f"\n{name}: ", style="dim").append(text)
    tree = Tree(label) if above is None else above.add(label)
    for each in step.below:
        _tree(each, tree)
    return tree
