"""Checks that parameters have the types that the database expects, and Literals the values that it allows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from nexgent_db.contract._catalog import CatalogColumn, ServerCatalog
from nexgent_db.contract._findings import Findings, listed
from nexgent_db.contract._nodes import Node, walk
from nexgent_db.contract._scope import INSERT, UPDATE, Scope, plain
from nexgent_db.queries.statement import Statement

__all__ = ["check_literals", "check_parameters"]


def check_parameters(findings: Findings, statement: Statement, types: Sequence[int], tree: Node | None) -> None:
    """Check each parameter's annotation against the type that PostgreSQL inferred.

    ``tree`` is None when PostgreSQL refused the statement with the types that the driver sends.
    """
    catalog = findings.catalog
    for number, (name, oid) in enumerate(zip(statement.parameters, types, strict=True), 1):
        found = findings.source.parameters.get(name)
        if found is None or found.accepts(oid, catalog):
            continue
        actual = catalog.type_name(oid)
        # PostgreSQL infers int4 for a parameter beside 0; sent as numeric it stays numeric, unless it is cast.
        guessed = found.kind == "Decimal" and actual in ("int2", "int4", "int8") and tree is not None
        if guessed and not any(_parameter_number(cast) == number for cast in _casts_to(actual, tree, catalog)):
            continue
        is_float = "float" in (found.kind, found.element.kind if found.element else "")
        rounds = is_float and "numeric" in actual
        findings.report(
            "float" if rounds else "parameter type",
            findings.query.parameter_location(name),
            f":{name} as {found.text} ({found.expects()})",
            actual,
            "use Decimal: a float would be rounded silently"
            if rounds
            else "change the annotation, or cast the parameter (:name::type)",
        )


def check_literals(findings: Findings, statement: Statement, tree: Node) -> None:
    """Check a Literal's values against those of the column that it is compared with or written to."""
    literals = {
        place: found
        for place, name in enumerate(statement.parameters, 1)
        if (found := findings.source.parameters.get(name)) and found.values is not None
    }
    if not literals:
        return
    for place, column, table in _meetings(tree, findings.catalog):
        found = literals.get(place)
        if found is None or column.allowed is None or found.values is None:
            continue
        unknown = found.values - column.allowed
        name = statement.parameters[place - 1]
        if unknown and not findings.excused("values", name):
            findings.report(
                "values",
                findings.query.parameter_location(name),
                f":{name} as {found.text}",
                f"{table}.{column.name} holds {listed(column.allowed)} only",
                f"remove {listed(unknown)} from the Literal, or migrate the column",
            )


def _casts_to(type_name: str, tree: Node | None, catalog: ServerCatalog) -> Iterator[Node]:
    for node in walk(tree):
        if (
            node["node"] == "FUNCEXPR"
            and node["funcformat"] in ("1", "2")
            and catalog.type_name(int(node["funcresulttype"])) == type_name
        ):
            yield node


def _meetings(tree: Node, catalog: ServerCatalog) -> Iterator[tuple[int, CatalogColumn, str]]:
    """Each parameter that the statement compares with a column or writes to one: its number, the column, the table."""
    for query in walk(tree):
        if query["node"] != "QUERY":
            continue
        scope = Scope(query, None, catalog)
        if query["commandType"] in (INSERT, UPDATE) and (table := scope.relation(scope.result_table)):
            for entry in query["targetList"] or []:
                column = table.columns.get(int(entry["resno"]))
                if column and (number := _parameter_number(entry["expr"])):
                    yield number, column, table.name
        for qual in scope.quals:
            if qual.expression["node"] != "OPEXPR" or len(qual.expression["args"]) != 2:
                continue
            for one, other in (qual.expression["args"], qual.expression["args"][::-1]):
                bare = plain(one)
                if bare["node"] == "VAR" and bare["varlevelsup"] == "0" and (number := _parameter_number(other)):
                    place, column_number = scope.resolve(bare)
                    table = scope.relation(place)
                    if table and (column := table.columns.get(column_number)):
                        yield number, column, table.name


def _parameter_number(expression: Any) -> int | None:
    expression = plain(expression)
    while expression["node"] in ("FUNCEXPR", "COERCEVIAIO"):
        if expression["node"] == "FUNCEXPR":
            if expression["funcformat"] not in ("1", "2"):
                return None
            expression = plain(expression["args"][0])
        else:
            expression = plain(expression["arg"])
    return int(expression["paramid"]) if expression["node"] == "PARAM" and expression["paramkind"] == "0" else None
