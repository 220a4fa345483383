"""Decides which expressions of a parsed statement can be NULL, by rules for each kind of node."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from nexgent_db.contract._catalog import ServerCatalog
from nexgent_db.contract._known_functions import (
    ALWAYS,
    COUNTS,
    GROUP_AGGREGATES,
    GROUP_COLLECTIONS,
    NEVER_NODES,
    PARTIAL_OPERATORS,
    RANKS,
    TOTAL,
    TOTAL_SETS,
)
from nexgent_db.contract._nodes import Node, parse, walk
from nexgent_db.contract._rows import gives_a_row
from nexgent_db.contract._scope import (
    MAYBE,
    NEVER,
    Nulls,
    Scope,
)

__all__ = ["Expressions", "Parameter"]

_CURRENT_SCHEMA: Final = "14"  # SVFOP_CURRENT_SCHEMA
_FRAME_NONDEFAULT: Final = 1


@dataclass(frozen=True, slots=True)
class Parameter:
    """Whether the signature allows None for a parameter, and for an element of it."""

    nullable: bool = True
    element_nullable: bool = True


class Surroundings(Protocol):
    """The context of an expression: its tables, its subqueries, and the SQL functions that it calls."""

    catalog: ServerCatalog
    parameters: Mapping[int, Parameter]

    def columns(self, query: Node, parent: Scope | None = None) -> list[Nulls]:
        """For each column of a subquery: the causes that can make it NULL."""

    def variable(self, node: Node, scope: Scope) -> Nulls:
        """The causes that can make a table's column NULL."""

    def field(self, node: Node, scope: Scope) -> Nulls:
        """The causes that can make a field of a row NULL."""

    def of_body(self, body: str | None, arguments: Sequence[Any], scope: Scope) -> list[Nulls] | None:
        """For each column of an SQL function with these arguments: the causes that can make it NULL."""


class Expressions:
    """The nullability of the expressions of one statement."""

    def __init__(self, statement: Surroundings) -> None:
        self._statement = statement
        self._catalog = statement.catalog

    def nulls(self, node: Any, scope: Scope) -> Nulls:
        """The causes that can make the expression NULL."""
        if not isinstance(node, dict):
            return MAYBE
        kind = node["node"]
        if kind in NEVER_NODES:
            return NEVER
        handler = _HANDLERS.get(kind)
        return handler(self, node, scope) if handler else MAYBE

    def any_of(self, nodes: Sequence[Any] | None, scope: Scope) -> Nulls:
        """The causes of all these expressions: the result is NULL when one of them is."""
        return NEVER.union(*(self.nulls(node, scope) for node in nodes or []))

    def _constant(self, node: Node, _: Scope) -> Nulls:
        return MAYBE if node["constisnull"] == "true" else NEVER

    def _parameter(self, node: Node, _: Scope) -> Nulls:
        parameter = self._statement.parameters.get(int(node["paramid"])) if node["paramkind"] == "0" else None
        return MAYBE if parameter is None or parameter.nullable else NEVER

    def _argument(self, node: Node, scope: Scope) -> Nulls:
        return self.nulls(node["arg"], scope)

    def _operator(self, node: Node, scope: Scope) -> Nulls:
        name = self._catalog.operators.get(int(node["opno"]))
        function = self._catalog.functions.get(int(node["opfuncid"]))
        if name is None or name in PARTIAL_OPERATORS or function is None or not function.builtin:
            return MAYBE
        if any(self._catalog.category(oid) == "G" for oid in function.argument_types):
            return MAYBE
        return self.any_of(node["args"], scope)

    def _function(self, node: Node, scope: Scope) -> Nulls:
        function = self._catalog.functions.get(int(node["funcid"]))
        arguments = node["args"] or []
        if function is None:
            return MAYBE
        if node["funcretset"] == "true":
            alone = sum(each.get("funcretset") == "true" for each in walk(scope.query["targetList"])) == 1
            return NEVER if alone and function.builtin and function.name in TOTAL_SETS else MAYBE
        if not function.builtin:
            query = last_query(function.body) if function.body else None
            columns = self._statement.of_body(function.body, arguments, scope)
            if query is None or not columns or columns[0] != NEVER:
                return MAYBE
            if not gives_a_row(Scope(query, None, self._catalog)):
                return MAYBE
            return self.any_of(arguments, scope) if function.strict else NEVER
        if function.name in ALWAYS:  # but not of VARIADIC NULL
            return self.any_of(arguments, scope) if node.get("funcvariadic") == "true" else NEVER
        of_json = any(self._catalog.type_name(oid) in ("json", "jsonb") for oid in function.argument_types)
        if node["funcformat"] in ("1", "2") and not of_json:  # a cast; JSON's null may become NULL
            return self.any_of(arguments, scope)
        if function.name == "substring":  # by position, not by pattern
            numbers = all(self._catalog.type_name(oid) == "int4" for oid in function.argument_types[1:])
            return self.any_of(arguments, scope) if numbers else MAYBE
        if function.name not in TOTAL or any(self._catalog.category(oid) == "G" for oid in function.argument_types):
            return MAYBE
        if of_json and function.name in ("numeric", "bool", "int2", "int4", "int8", "float4", "float8"):
            return MAYBE
        ranges = ("anyrange", "anymultirange")
        if any(self._catalog.type_name(oid) in ranges for oid in function.argument_types):
            return MAYBE  # lower() of an empty range
        return self.any_of(arguments, scope)

    def _boolean(self, node: Node, scope: Scope) -> Nulls:
        return self.any_of(node["args"], scope)

    def _any_element(self, node: Node, scope: Scope) -> Nulls:
        left, right = node["args"]
        if right["node"] != "ARRAYEXPR" or right.get("multidims") == "true":
            return MAYBE
        return self.nulls(left, scope) | self.any_of(right["elements"], scope)

    def _coalesce(self, node: Node, scope: Scope) -> Nulls:
        found = [self.nulls(argument, scope) for argument in node["args"]]
        if any(nulls == NEVER for nulls in found):
            return NEVER
        known = [nulls for nulls in found if "?" not in nulls]
        for place, one in enumerate(known):
            for other in known[place + 1 :]:
                if all(_exclude(first, second) for first in one for second in other):
                    return NEVER
        return min(known, key=len, default=MAYBE)

    def _case(self, node: Node, scope: Scope) -> Nulls:
        if node.get("defresult") is None:
            return MAYBE
        before = set(scope.assumed)
        found = NEVER
        try:
            for when in node["args"]:
                condition = when["expr"] if node.get("arg") is None else None
                scope_before = set(scope.assumed)
                if condition is not None:
                    scope.assumed |= scope.implied(condition)
                found |= self.nulls(when["result"], scope)
                scope.assumed = scope_before | (scope.refuted(condition) if condition is not None else set())
            return found | self.nulls(node["defresult"], scope)
        finally:
            scope.assumed = before

    def _aggregate(self, node: Node, scope: Scope) -> Nulls:
        function = self._catalog.functions.get(int(node["aggfnoid"]))
        if function is None or not function.builtin:
            return MAYBE
        if function.name in COUNTS:
            return NEVER
        owner = scope.up(int(node["agglevelsup"]))
        grouped = owner is not None and owner.query.get("groupClause") and not owner.query.get("groupingSets")
        if not grouped or node.get("aggfilter") is not None:
            return MAYBE
        if function.name in GROUP_COLLECTIONS:
            return MAYBE if function.name.endswith("strict") else NEVER
        if function.name not in GROUP_AGGREGATES:
            return MAYBE
        values = [entry["expr"] for entry in node["args"] or [] if entry["resjunk"] == "false"]
        nulls = self.any_of(values[:1], scope)
        return NEVER if nulls == NEVER else MAYBE

    def _window(self, node: Node, scope: Scope) -> Nulls:
        function = self._catalog.functions.get(int(node["winfnoid"]))
        if function is None or not function.builtin:
            return MAYBE
        if function.name in RANKS or function.name in COUNTS:
            return NEVER
        arguments = node["args"] or []
        if function.name == "ntile":
            return self.any_of(arguments, scope)
        if function.name in ("lag", "lead"):
            whole = len(arguments) == 3
            return NEVER if whole and self.any_of(arguments, scope) == NEVER else MAYBE
        if node.get("aggfilter") is not None or not self._has_default_frame(node, scope):
            return MAYBE
        if function.name in GROUP_COLLECTIONS:
            return NEVER
        if function.name in GROUP_AGGREGATES or function.name in ("first_value", "last_value"):
            return NEVER if self.any_of(arguments[:1], scope) == NEVER else MAYBE
        return MAYBE

    def _has_default_frame(self, node: Node, scope: Scope) -> bool:
        """Whether the window frame surely holds the current row; an explicit frame may not."""
        for clause in scope.query.get("windowClause") or []:
            if clause["winref"] == node["winref"]:
                return not int(clause["frameOptions"]) & _FRAME_NONDEFAULT
        return False

    def _sublink(self, node: Node, scope: Scope) -> Nulls:
        match node["subLinkType"]:
            case "0" | "6":  # EXISTS, ARRAY
                return NEVER
            case "1" | "2":  # ALL, ANY
                columns = self._statement.columns(node["subselect"], scope)
                simple = isinstance(node["testexpr"], dict) and node["testexpr"]["node"] == "OPEXPR"
                return MAYBE if not simple or any(columns) else self.nulls(node["testexpr"]["args"][0], scope)
            case "4":  # one value, or NULL without a row
                columns = self._statement.columns(node["subselect"], scope)
                sure = gives_a_row(Scope(node["subselect"], scope, self._catalog))
                return NEVER if sure and columns[0] == NEVER else MAYBE
            case _:
                return MAYBE

    def _row_comparison(self, node: Node, scope: Scope) -> Nulls:
        return self.any_of([*node["largs"], *node["rargs"]], scope)

    def _greatest(self, node: Node, scope: Scope) -> Nulls:
        return NEVER if any(self.nulls(each, scope) == NEVER for each in node["args"]) else MAYBE

    def _value_function(self, node: Node, _: Scope) -> Nulls:
        return MAYBE if node["op"] == _CURRENT_SCHEMA else NEVER

    def _json_constructor(self, node: Node, scope: Scope) -> Nulls:
        return self.nulls(node["func"], scope) if node.get("func") else NEVER


_HANDLERS: Final[dict[str, Callable[[Expressions, Node, Scope], Nulls]]] = {
    "VAR": lambda self, node, scope: self._statement.variable(node, scope),
    "FIELDSELECT": lambda self, node, scope: self._statement.field(node, scope),
    "CONST": Expressions._constant,
    "PARAM": Expressions._parameter,
    "RELABELTYPE": Expressions._argument,
    "COERCEVIAIO": Expressions._argument,
    "ARRAYCOERCEEXPR": Expressions._argument,
    "COERCETODOMAIN": Expressions._argument,
    "CONVERTROWTYPEEXPR": Expressions._argument,
    "COLLATEEXPR": Expressions._argument,
    "OPEXPR": Expressions._operator,
    "FUNCEXPR": Expressions._function,
    "BOOLEXPR": Expressions._boolean,
    "SCALARARRAYOPEXPR": Expressions._any_element,
    "COALESCEEXPR": Expressions._coalesce,
    "CASEEXPR": Expressions._case,
    "AGGREF": Expressions._aggregate,
    "WINDOWFUNC": Expressions._window,
    "SUBLINK": Expressions._sublink,
    "ROWCOMPAREEXPR": Expressions._row_comparison,
    "MINMAXEXPR": Expressions._greatest,
    "SQLVALUEFUNCTION": Expressions._value_function,
    "JSONCONSTRUCTOREXPR": Expressions._json_constructor,
    "JSONISPREDICATE": lambda self, node, scope: self.nulls(node["expr"], scope),
}


def _exclude(one: Any, other: Any) -> bool:
    """Whether two outer joins never give NULLs in the same row: they are the two sides of one FULL JOIN."""
    if one[0] == "of" and other[0] == "of":
        return bool(one[:3] == other[:3]) and _exclude(one[3], other[3])
    return len(one) == 3 and len(other) == 3 and one[:2] == other[:2] and one[2] != other[2]


def last_query(body: str) -> Node | None:
    """The query whose rows an SQL function returns: the last one of its body."""
    tree = parse(body)
    while isinstance(tree, list):
        tree = tree[-1] if tree else None
    return tree if isinstance(tree, dict) and tree["node"] == "QUERY" else None
