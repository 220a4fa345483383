"""Checks the queries of another revision on a migrated database: a migration must not break old services."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import psycopg

from nexgent_db.contract._check import check
from nexgent_db.contract._checked import CheckedColumn, CheckedQuery, CheckedVariant
from nexgent_db.contract._declared import Declared
from nexgent_db.contract._file import VERSION, read
from nexgent_db.contract._problem import Problem
from nexgent_db.contract._source import Source, without_method
from nexgent_db.errors import ConfigurationError, SqlFileError
from nexgent_db.queries.sqlfile import load_file, query_files
from nexgent_db.queries.statement import Query

__all__ = ["check_older"]

_ROWS: Final = ("none", "one", "at most one", "many")
"""The possible numbers of a query's rows; a caller that handles one of these also handles the earlier ones."""

Promise = dict[str, Any]
"""One line of a committed contract."""


def check_older(connection: psycopg.Connection[Any], folder: Path, label: str) -> list[Problem]:
    """The problems that all queries of the ``.sql`` files in ``folder`` have on this database.

    Problems are files that cannot be read and statements that the database refuses. If ``folder`` has a contract.json,
    so are parameters, columns and rows that differ from it. A column that can no longer be NULL, or fewer rows, are
    no problem. ``label`` stands for the folder in the problems' paths.
    """
    problems: list[Problem] = []
    queries: list[Query] = []
    for path in query_files(folder):
        try:
            queries += load_file(path).queries.values()
        except SqlFileError as error:
            problems.append(_unreadable(error))
    promises = _promises(folder / "contract.json")
    report = check(connection, [_source(query, promises.get(query.qualified_name, [])) for query in queries])
    problems += [problem for problem in report.problems if problem.rule == "refused"]
    for checked in report.queries:
        problems += _broken_promises(checked, promises.get(checked.source.query.qualified_name, []))
    problems.sort(key=lambda each: (each.sql_path, each.sql_line, each.sql_column))
    return [replace(each, sql_path=Path(label) / each.sql_path.name) for each in problems]


def _promises(path: Path) -> Mapping[str, list[Promise]]:
    """The contract's entries by query; empty without a contract, or if it has another format."""
    try:
        committed = read(path)
    except ConfigurationError:
        return {}
    if committed is None or committed.get("version") != VERSION:
        return {}
    found: dict[str, list[Promise]] = {}
    for line in committed["queries"]:
        found.setdefault(line["query"], []).append(line)
    return found


def _source(query: Query, promises: list[Promise]) -> Source:
    """The query; its contract says which parameters may be NULL, the server infers their types."""
    nullable = {
        name: Declared("?", type_, type_.endswith("?"))
        for promise in promises
        for name, type_ in _pairs(promise["parameters"])
    }
    return without_method(query, nullable)


def _unreadable(error: SqlFileError) -> Problem:
    return Problem(
        rule="unreadable",
        query=Path(error.path).name,
        sql_path=Path(error.path),
        sql_line=error.line,
        sql_column=error.column,
        python=None,
        declared="a file of named queries",
        actual=error.problem,
        advice="nothing of this file was checked; it cannot be loaded at that revision either",
    )


# --- The promises ---------------------------------------------------------------------------------


def _broken_promises(checked: CheckedQuery, promises: list[Promise]) -> Iterator[Problem]:
    query = checked.source.query
    now = {frozenset(variant.statement.parameters) - query.required: variant for variant in checked.variants}
    counts: dict[tuple[str, str], int] = {}
    for promise in promises:
        variant = now.get(frozenset(promise.get("first_given", ())))
        if variant is not None:  # else the database refused it
            for difference in _differences(promise, variant):
                counts[difference] = counts.get(difference, 0) + 1
    for (was, is_now), count in counts.items():
        yield Problem(
            rule="changed result",
            query=query.qualified_name,
            sql_path=query.path,
            sql_line=query.line,
            sql_column=1,
            python=None,
            declared=was,
            actual=is_now,
            advice="keep what services of that revision rely on until the last of them is gone",
            variants=count,
        )


def _differences(promise: Promise, variant: CheckedVariant) -> Iterator[tuple[str, str]]:
    types = dict(zip(variant.statement.parameters, variant.parameter_types, strict=True))
    for name, promised in _pairs(promise["parameters"]):
        if name in types and types[name] != promised.removesuffix("?"):
            yield f":{name} {promised.removesuffix('?')}", types[name]
    was = [
        CheckedColumn(name, type_.removesuffix("?"), type_.endswith("?")) for name, type_ in _pairs(promise["columns"])
    ]
    if [each.name for each in was] != [each.name for each in variant.columns]:
        yield _named(was), _named(variant.columns)
    else:
        for one, other in zip(was, variant.columns, strict=True):
            if one.type != other.type:
                yield f"{one.name} {one.type}", other.type
            elif other.nullable and not one.nullable:
                yield f"{one.name} {one.type}, never NULL", "it can be NULL"
    if _ROWS.index(variant.rows) > _ROWS.index(promise["rows"]):
        yield f"rows: {promise['rows']}", variant.rows


def _named(columns: Sequence[CheckedColumn]) -> str:
    return f"columns {', '.join(each.name for each in columns)}"


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """The names and types of ``id uuid, name varchar(255)?``."""
    for each in text.split(", ") if text else ():
        name, _, type_ = each.partition(" ")
        yield name, type_
