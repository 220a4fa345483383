"""Checks the number and order of a statement's rows against the promise of its name line."""

from __future__ import annotations

from nexgent_db.contract._findings import Findings
from nexgent_db.contract._nodes import Node
from nexgent_db.contract._rows import at_most_one, gives_a_row, has_limit, is_ordered, is_totally_ordered
from nexgent_db.contract._scope import SELECT, Scope, outputs
from nexgent_db.queries.statement import Cardinality

__all__ = ["RETURNS_ROWS", "check_cardinality"]

RETURNS_ROWS = frozenset({Cardinality.ONE, Cardinality.OPTIONAL, Cardinality.MANY, Cardinality.STREAM})


def check_cardinality(findings: Findings, tree: Node, scope: Scope, *, has_rows: bool) -> str:
    """Check the number of rows; return ``"one"``, ``"at most one"``, ``"many"`` or ``"none"``."""
    promised = findings.query.cardinality
    if not has_rows:
        if promised in RETURNS_ROWS:
            findings.report(
                "no rows",
                findings.cardinality_place,
                f":{promised}",
                "the statement returns no rows",
                "add RETURNING, or declare :rows or :exec",
            )
        return "none"
    single, sure = at_most_one(scope), gives_a_row(scope)
    rows = ("one" if sure else "at most one") if single else "many"
    if promised not in RETURNS_ROWS:
        _check_unread(findings, tree, rows)
    elif promised in (Cardinality.ONE, Cardinality.OPTIONAL):
        _check_single(findings, single=single, sure=sure)
    elif not single:
        _check_list(findings, tree, scope)
    return rows


def _check_unread(findings: Findings, tree: Node, rows: str) -> None:
    """Report rows that :rows or :exec discards, unless the statement only locks or calls a void function."""
    locks = tree["commandType"] == SELECT and tree.get("rowMarks")
    columns = outputs(tree)
    void = all(findings.catalog.type_name(int(each["expr"].get("funcresulttype", 0))) == "void" for each in columns)
    if not locks and not void and not findings.excused("rows"):
        findings.report(
            "rows unread",
            findings.cardinality_place,
            f":{findings.query.cardinality}",
            f"the statement returns {rows} row{'s' * (rows == 'many')} of {len(columns)} columns",
            "remove RETURNING or declare :one, :optional or :many; or -- check: rows: why they are not read",
        )


def _check_single(findings: Findings, *, single: bool, sure: bool) -> None:
    promised = findings.query.cardinality
    if not single:
        if not findings.excused("one"):
            findings.report(
                "cardinality",
                findings.cardinality_place,
                f":{promised}",
                "any number of rows: no unique key is bound by equality, no aggregate, no LIMIT 1",
                "bind a unique key, add LIMIT 1, or -- check: one: why it is one",
            )
    elif sure and promised is Cardinality.OPTIONAL:
        findings.report(
            "cardinality",
            findings.cardinality_place,
            ":optional",
            "always one row",
            "declare :one, so that the caller need not handle None",
        )


def _check_list(findings: Findings, tree: Node, scope: Scope) -> None:
    place, promised = findings.cardinality_place, findings.query.cardinality
    if not is_ordered(tree):
        if not findings.excused("order"):
            findings.report(
                "order",
                place,
                f":{promised}",
                "no ORDER BY: any order, another one every time",
                "add ORDER BY with a tie-breaker, or -- check: order: why it does not matter",
            )
    elif not is_totally_ordered(scope) and not findings.excused("order"):
        findings.report(
            "order",
            place,
            f":{promised}",
            "ORDER BY leaves rows equal: its columns hold no unique key",
            "end it in a unique column, or -- check: order: why it does not matter",
        )
    if promised is Cardinality.MANY and not has_limit(tree) and not findings.excused("limit"):
        findings.report(
            "limit", place, f":{promised}", "no LIMIT: the whole table", "add LIMIT, or -- check: limit: what limits it"
        )
