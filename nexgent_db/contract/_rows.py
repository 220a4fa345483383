"""Decides from the parse tree how many rows a statement can give, and whether their order is total."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from nexgent_db.contract._nodes import Node, canonical, walk
from nexgent_db.contract._scope import (
    INSERT,
    MERGE,
    RTE_CTE,
    RTE_FUNCTION,
    RTE_SUBQUERY,
    RTE_VALUES,
    SELECT,
    Scope,
    Variable,
    outputs,
    plain,
    variables,
)

__all__ = ["at_most_one", "gives_a_row", "has_limit", "is_ordered", "is_totally_ordered"]

_UNION: Final = "1"


def at_most_one(scope: Scope) -> bool:
    """Whether the query gives at most one row for any content of the tables."""
    return _determined(scope, ())


def is_ordered(query: Node) -> bool:
    """Whether the query, or the source of an INSERT … SELECT, has an ORDER BY."""
    return bool(_source(query).get("sortClause"))


def has_limit(query: Node) -> bool:
    """Whether the query, or the source of an INSERT … SELECT, has a LIMIT other than LIMIT ALL."""
    return _limit(_source(query)) not in (None, "all")


def is_totally_ordered(scope: Scope) -> bool:
    """Whether ORDER BY leaves no two rows equal: its columns hold a unique key of every table."""
    query = _source(scope.query)
    if query is not scope.query:
        scope = Scope(query, scope, scope.catalog)
    references = {clause["tleSortGroupRef"] for clause in query.get("sortClause") or []}
    keys = [entry["expr"] for entry in query["targetList"] or [] if entry["ressortgroupref"] in references]
    return _determined(scope, keys)


def gives_a_row(scope: Scope) -> bool:
    """Whether the query gives at least one row for any content of the tables."""
    query = scope.query
    if query["commandType"] == INSERT:
        conflict = query.get("onConflict")
        quiet = conflict is not None and (conflict["action"] == "1" or conflict.get("onConflictWhere") is not None)
        return not scope.leaves and not quiet
    if query["commandType"] != SELECT or query.get("limitOffset") is not None or query.get("havingQual") is not None:
        return False
    if _limit(query) == "0":
        return False
    if _limit(query) == "?":
        return False
    if query.get("setOperations"):
        return _set_gives_a_row(query["setOperations"], scope)
    if _has_target_sets(query) or query.get("groupingSets"):
        return False
    if query["hasAggs"] == "true" and not query.get("groupClause"):
        return True
    return _item_gives_a_row(query["jointree"], scope)


def _set_gives_a_row(item: Node, scope: Scope) -> bool:
    if item["node"] == "RANGETBLREF":
        return gives_a_row(Scope(scope.entry(int(item["rtindex"]))["subquery"], scope, scope.catalog))
    return item["op"] == _UNION and any(_set_gives_a_row(item[side], scope) for side in ("larg", "rarg"))


def _item_gives_a_row(item: Node, scope: Scope) -> bool:
    if item["node"] == "FROMEXPR":
        return item["quals"] is None and all(_item_gives_a_row(each, scope) for each in item["fromlist"] or [])
    if item["node"] == "JOINEXPR":
        left, right = (_item_gives_a_row(item[side], scope) for side in ("larg", "rarg"))
        match item["jointype"]:
            case "0":
                return item["quals"] is None and left and right
            case "1":
                return left
            case "2":
                return left or right
            case _:
                return right
    entry = scope.entry(int(item["rtindex"]))
    if entry["rtekind"] == RTE_SUBQUERY:
        return gives_a_row(Scope(entry["subquery"], scope, scope.catalog))
    if entry["rtekind"] == RTE_CTE and (found := scope.common(entry)):
        cte, owner = found
        return cte["cterecursive"] == "false" and gives_a_row(Scope(cte["ctequery"], owner, scope.catalog))
    if entry["rtekind"] == RTE_FUNCTION:
        return all(_returns_one(function) for function in entry["functions"])
    return bool(entry["rtekind"] == RTE_VALUES)


def _source(query: Node) -> Node:
    """The query that has the ORDER BY and the LIMIT: the source of an INSERT … SELECT, else the query itself."""
    if query["commandType"] == INSERT:
        for entry in query.get("rtable") or []:
            if entry["rtekind"] == RTE_SUBQUERY:
                source: Node = entry["subquery"]
                return source
    return query


def _limit(query: Node) -> str | None:
    """The LIMIT: a number such as ``"1"``, ``"?"`` when it is no constant, ``"all"``, or None without one."""
    limit = query.get("limitCount")
    if limit is None:
        return None
    while limit["node"] == "RELABELTYPE" or (limit["node"] == "FUNCEXPR" and limit["funcformat"] in ("1", "2")):
        limit = limit["args"][0] if limit["node"] == "FUNCEXPR" else limit["arg"]
    if limit["node"] != "CONST":
        return "?"
    if limit["constisnull"] == "true":
        return "all"
    numbers = limit["constvalue"].split("[")[1].rstrip(" ]").split()
    return str(int.from_bytes(bytes(int(each) & 0xFF for each in numbers), "little"))


def _has_target_sets(query: Node) -> bool:
    return bool(query["hasTargetSRFs"] == "true")


def _returns_one(function: Node) -> bool:
    return bool(function["funcexpr"].get("funcretset", "false") == "false")


# --- Unique keys ----------------------------------------------------------------------------------


def _determined(scope: Scope, given: Sequence[Any]) -> bool:
    """Whether at most one row has the same values of these expressions. Without any: whether there is at most one."""
    query = scope.query
    if query["commandType"] == SELECT:
        if _limit(query) in ("0", "1") and query.get("limitOption", "0") == "0":
            return True
        shown = [plain(entry["expr"]) for entry in outputs(query)]
        if query.get("setOperations"):
            whole = query["setOperations"]["all"] == "false"
            return whole and all(expression in [plain(each) for each in given] for expression in shown)
        if _has_target_sets(query) or query.get("groupingSets"):
            return False
        if query["hasAggs"] == "true" and not query.get("groupClause"):
            return True
        fixed, single = _fix(scope, given)
        for clauses in (query.get("distinctClause"), query.get("groupClause")):
            if clauses:
                references = {clause["tleSortGroupRef"] for clause in clauses}
                keys = [each["expr"] for each in query["targetList"] or [] if each["ressortgroupref"] in references]
                if all(_is_fixed(key, scope, fixed, single) or plain(key) in map(plain, given) for key in keys):
                    return True
                if clauses is query.get("groupClause"):
                    return False
        return scope.leaves <= single
    if query["commandType"] == MERGE:
        return False
    fixed, single = _fix(scope, given)
    if query["commandType"] == INSERT:
        return scope.leaves <= single or scope.result_table in single
    return scope.result_table in single


def _fix(scope: Scope, given: Sequence[Any]) -> tuple[set[Variable], set[int]]:
    """The columns with a single value and the tables with a single row, when the values of ``given`` are fixed."""
    fixed: set[Variable] = set()
    for expression in map(plain, given):
        if expression["node"] == "VAR" and expression["varlevelsup"] == "0":
            fixed.add(scope.resolve(expression))
    single: set[int] = set()
    equalities = [
        (qual.tables, *pair)
        for qual in scope.quals
        if qual.expression["node"] == "OPEXPR"
        and scope.catalog.operators.get(int(qual.expression["opno"])) == "="
        and len(qual.expression["args"]) == 2
        for pair in (qual.expression["args"], qual.expression["args"][::-1])
    ]
    candidates = set(scope.leaves)
    if scope.query["commandType"] != SELECT:
        candidates.add(scope.result_table)
    while True:
        before = len(fixed), len(single)
        for tables, one, other in equalities:
            bare = plain(one)
            if bare["node"] != "VAR" or bare["varlevelsup"] != "0":
                continue
            variable = scope.resolve(bare)
            if variable[0] in tables and _is_fixed(other, scope, fixed, single):
                fixed.add(variable)
        for number in candidates - single:
            if _is_single(number, scope, given, fixed, single, equalities):
                single.add(number)
        if (len(fixed), len(single)) == before:
            return fixed, single


def _is_fixed(expression: Any, scope: Scope, fixed: set[Variable], single: set[int]) -> bool:
    for node in walk(expression):
        function = node.get("funcid") or node.get("opfuncid")
        if function and (found := scope.catalog.functions.get(int(function))) and found.volatile:
            return False
        if node["node"] in ("AGGREF", "WINDOWFUNC"):
            return False
    return all(variable in fixed or variable[0] in single for variable in variables(expression, scope))


def _is_single(
    number: int,
    scope: Scope,
    given: Sequence[Any],
    fixed: set[Variable],
    single: set[int],
    equalities: Sequence[tuple[frozenset[int], Any, Any]],
) -> bool:
    entry = scope.entry(number)
    own = {column for table, column in fixed if table == number}
    if relation := scope.relation(number):
        filters = {canonical(qual.expression, number) for qual in scope.quals if number in qual.tables}
        bound = {canonical(expression, number) for expression in map(plain, given)}
        bound |= {
            canonical(one, number)
            for tables, one, other in equalities
            if number in tables and _is_fixed(other, scope, fixed, single)
        }
        return any(
            own.issuperset(column for column in key.columns if column)
            and bound.issuperset(key.expressions)
            and filters.issuperset(key.condition)
            for key in relation.keys
        )
    kind = entry["rtekind"]
    if kind == RTE_SUBQUERY:
        inner = Scope(entry["subquery"], scope, scope.catalog)
    elif kind == RTE_CTE:
        found = scope.common(entry)
        if found is None or found[0]["cterecursive"] == "true":
            return False
        inner = Scope(found[0]["ctequery"], found[1], scope.catalog)
    elif kind == RTE_FUNCTION:
        width = sum(int(function["funccolcount"]) for function in entry["functions"])
        return width + 1 in own or all(_returns_one(function) for function in entry["functions"])
    else:
        return bool(kind == RTE_VALUES and len(entry["values_lists"]) == 1)
    shown = outputs(inner.query)
    return _determined(inner, [shown[column - 1]["expr"] for column in own if 0 < column <= len(shown)])
