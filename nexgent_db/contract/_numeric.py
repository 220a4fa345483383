"""Computes from the parse tree how many decimals a numeric expression can have."""

from __future__ import annotations

from typing import Any, Final

from nexgent_db.contract._catalog import ServerCatalog, numeric_of
from nexgent_db.contract._scope import RTE_CTE, RTE_GROUP, RTE_JOIN, RTE_RELATION, RTE_SUBQUERY, Scope, outputs

__all__ = ["decimals"]

_SAME: Final = frozenset({"sum", "min", "max", "abs", "sign", "lag", "lead", "first_value", "last_value", "any_value"})
_INTEGERS: Final = ("int2", "int4", "int8")


def decimals(node: Any, scope: Scope, catalog: ServerCatalog) -> int | None:
    """The most decimals the expression's value can have; None when it is unknown.

    Known: sums, differences, products, ``coalesce``, ``CASE``, ``greatest`` and the like of numbers with known
    decimals. Unknown: quotients, averages, powers and this schema's functions; cast those to ``numeric(p,s)``.
    """
    if not isinstance(node, dict):
        return None
    kind = node["node"]
    if kind == "VAR":
        return _of_variable(node, scope, catalog)
    if kind == "CONST":
        if node["constisnull"] == "true" or catalog.type_name(int(node["consttype"])) in _INTEGERS:
            return 0
        return None
    if kind == "RELABELTYPE":
        return decimals(node["arg"], scope, catalog)
    if kind in ("COALESCEEXPR", "MINMAXEXPR"):
        return _most([decimals(each, scope, catalog) for each in node["args"]])
    if kind == "CASEEXPR":
        results = [when["result"] for when in node["args"]]
        if node.get("defresult"):
            results.append(node["defresult"])
        return _most([decimals(each, scope, catalog) for each in results])
    if kind == "OPEXPR":
        name = catalog.operators.get(int(node["opno"]))
        parts = [decimals(each, scope, catalog) for each in node["args"]]
        if name == "*":
            return None if None in parts else sum(part or 0 for part in parts)
        return _most(parts) if name in ("+", "-", "%") else None
    if kind == "FUNCEXPR":
        return _of_function(node, scope, catalog)
    if kind == "AGGREF":
        function = catalog.functions.get(int(node["aggfnoid"]))
        if function and function.builtin and function.name == "count":
            return 0
        if function and function.builtin and function.name in _SAME:
            return decimals(node["args"][0]["expr"], scope, catalog)
        return None
    if kind == "WINDOWFUNC":
        function = catalog.functions.get(int(node["winfnoid"]))
        if function and function.builtin and function.name in _SAME:
            return decimals(node["args"][0], scope, catalog)
        return None
    if kind == "SUBLINK" and node["subLinkType"] == "4":
        inner = Scope(node["subselect"], scope, catalog)
        return decimals(outputs(inner.query)[0]["expr"], inner, catalog)
    return None


def _most(parts: list[int | None]) -> int | None:
    return None if None in parts else max((part or 0 for part in parts), default=None)


def _of_function(node: Any, scope: Scope, catalog: ServerCatalog) -> int | None:
    function = catalog.functions.get(int(node["funcid"]))
    if function is None or not function.builtin:
        return None
    arguments = node["args"] or []
    if function.name == "numeric" and len(arguments) == 2 and arguments[1]["node"] == "CONST":
        return numeric_of(_integer(arguments[1]))[1]  # ::numeric(p,s)
    if function.name == "numeric" and catalog.type_name(function.argument_types[0]) in _INTEGERS:
        return 0
    if function.name in ("round", "trunc") and len(arguments) == 2 and arguments[1]["node"] == "CONST":
        return max(_integer(arguments[1]), 0)
    if function.name in ("round", "trunc", "ceil", "floor", "div") and function.argument_types[0] == 1700:
        return 0
    return decimals(arguments[0], scope, catalog) if function.name in _SAME and arguments else None


def _integer(constant: Any) -> int:
    numbers = constant["constvalue"].split("[")[1].rstrip(" ]").split()
    return int.from_bytes(bytes(int(each) & 0xFF for each in numbers[:4]), "little", signed=True)


def _of_variable(node: Any, scope: Scope, catalog: ServerCatalog) -> int | None:
    modifier = int(node["vartypmod"])
    if catalog.type_name(int(node["vartype"])) in _INTEGERS:
        return 0
    if modifier >= 4:
        return numeric_of(modifier)[1]
    owner = scope.up(int(node["varlevelsup"]))
    if owner is None:
        return None
    column = int(node["varattno"])
    entry = owner.entry(int(node["varno"]))
    if column <= 0 or entry["rtekind"] == RTE_RELATION:
        return None
    if entry["rtekind"] == RTE_JOIN:
        return decimals(entry["joinaliasvars"][column - 1], owner, catalog)
    if entry["rtekind"] == RTE_GROUP:
        return decimals(entry["groupexprs"][column - 1], owner, catalog)
    if entry["rtekind"] == RTE_SUBQUERY:
        inner = Scope(entry["subquery"], owner, catalog)
    elif entry["rtekind"] == RTE_CTE and (found := owner.common(entry)) and found[0]["cterecursive"] == "false":
        inner = Scope(found[0]["ctequery"], found[1], catalog)
    else:
        return None
    if inner.query.get("setOperations"):
        return None
    shown = outputs(inner.query)
    return decimals(shown[column - 1]["expr"], inner, catalog) if column <= len(shown) else None
