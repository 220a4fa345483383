"""Compares the queries with a database in use, by preparing them: nothing is created, executed or locked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import psycopg

from nexgent_db.contract._catalog import read_catalog
from nexgent_db.contract._file import read
from nexgent_db.contract._server import Refused, Server
from nexgent_db.contract._source import Source

__all__ = ["contract_problems"]


def contract_problems(connection: psycopg.Connection[Any], sources: Iterable[Source]) -> list[str]:
    """``name: what`` for each query that is refused, or has other columns than in the committed contract.

    Works in a read-only session. Each query is prepared without and with its optional lines. A query that the contract
    does not have, such as a service's, is only prepared.
    """
    columns = _columns_by_query()
    problems: list[str] = []
    with connection.transaction(force_rollback=True):
        catalog = read_catalog(connection)
        server = Server(connection, catalog)
        for source in sources:
            name = source.query.qualified_name
            variants = list(source.variants())
            for statement in dict.fromkeys((variants[0], variants[-1])):
                try:
                    _, described = server.describe(statement.text, ())
                except Refused as error:
                    problems.append(f"{name}: {error.message}")
                    break
                found = [f"{each.name} {catalog.type_name(each.type, each.modifier)}" for each in described]
                expected = columns.get(name, [found])
                if found not in expected:
                    other = [column for column in found if column not in expected[0]]
                    problems.append(f"{name}: {', '.join(other) or 'columns are missing'}")
                    break
    return problems


def _columns_by_query() -> dict[str, list[list[str]]]:
    """The columns of each query's variants, without what may be NULL; empty without a contract."""
    found: dict[str, list[list[str]]] = {}
    for line in (read() or {}).get("queries", []):
        names = [column.removesuffix("?") for column in line["columns"].split(", ") if column]
        found.setdefault(line["query"], []).append(names)
    return found
