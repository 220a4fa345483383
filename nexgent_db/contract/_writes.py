"""Checks that no INSERT leaves out a NOT NULL column, and that no statement writes NULL to one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nexgent_db.contract._catalog import CatalogColumn, CatalogTable
from nexgent_db.contract._expressions import Parameter
from nexgent_db.contract._findings import Findings
from nexgent_db.contract._nodes import Node, walk
from nexgent_db.contract._scope import INSERT, UPDATE, Scope, plain
from nexgent_db.queries.statement import Statement

__all__ = ["check_writes"]


def check_writes(findings: Findings, statement: Statement, tree: Node, known: Mapping[int, Parameter]) -> None:
    """Check every INSERT and UPDATE in the statement against the NOT NULL columns of its table."""
    for query in walk(tree):
        if query["node"] != "QUERY" or query["commandType"] not in (INSERT, UPDATE):
            continue
        scope = Scope(query, None, findings.catalog)
        table = scope.relation(scope.result_table)
        if table is None:
            continue
        given = {int(entry["resno"]): entry["expr"] for entry in query["targetList"] or []}
        for number, column in table.columns.items():
            if not column.never_null or column.is_generated:
                continue
            if number in given:
                _check_value(findings, statement, table, column, given[number], known)
            elif query["commandType"] == INSERT and not column.has_default:
                _report_missing(findings, table, column)


def _report_missing(findings: Findings, table: CatalogTable, column: CatalogColumn) -> None:
    if not findings.excused("filled", column.name):
        findings.report(
            "missing column",
            findings.word_place(table.name),
            f"an INSERT INTO {table.name} without {column.name}",
            f"{table.name}.{column.name} is NOT NULL and has no default",
            f"insert it, or -- check: filled {column.name}: who fills it",
        )


def _check_value(
    findings: Findings,
    statement: Statement,
    table: CatalogTable,
    column: CatalogColumn,
    expression: Any,
    known: Mapping[int, Parameter],
) -> None:
    expression = plain(expression)
    while expression["node"] == "FUNCEXPR" and expression["funcformat"] in ("1", "2"):
        expression = plain(expression["args"][0])
    if expression["node"] == "CONST" and expression["constisnull"] == "true":
        value, place = "NULL", findings.word_place(column.name)
    elif expression["node"] == "PARAM" and known[int(expression["paramid"])].nullable:
        name = statement.parameters[int(expression["paramid"]) - 1]
        found = findings.source.parameters.get(name)
        if found is None or found.either:
            return
        value, place = f":{name} as {found.text}", findings.query.parameter_location(name)
    else:
        return
    findings.report(
        "null written",
        place,
        f"{value} for {table.name}.{column.name}",
        f"{table.name}.{column.name} is NOT NULL",
        "make the parameter required, or give coalesce() another value",
    )
