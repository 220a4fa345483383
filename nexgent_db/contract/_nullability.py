"""Which columns of a statement can be NULL, from its parsed form. What is not known to be never NULL can be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from nexgent_db.contract._catalog import Catalog
from nexgent_db.contract._nodes import Node, parse, walk
from nexgent_db.contract._rows import gives_a_row
from nexgent_db.contract._scope import (
    DELETE,
    INSERT,
    MAYBE,
    MERGE,
    NEVER,
    RTE_CTE,
    RTE_FUNCTION,
    RTE_GROUP,
    RTE_JOIN,
    RTE_RELATION,
    RTE_SUBQUERY,
    RTE_VALUES,
    SELECT,
    UPDATE,
    Nulls,
    Scope,
    outputs,
)

__all__ = ["Analysis", "Parameter"]

# Builtin functions that return a value whenever their arguments are values. A function that is missing here (to_char
# of infinity is NULL, jsonb lookups are) counts as one that can return NULL.
_TOTAL: Final = frozenset(
    """
    abs acos age array_append array_cat array_prepend array_positions array_remove array_replace array_to_string
    ascii asin atan atan2 bit_length bool btrim cardinality cbrt ceil ceiling char_length character_length chr
    clock_timestamp concat concat_ws convert_from convert_to cos date date_bin date_trunc decode degrees div encode
    exp float4 float8 floor format gcd gen_random_uuid hashtext hashtextextended initcap int2 int4 int8 isfinite
    json_build_array json_build_object jsonb_build_array jsonb_build_object json_object jsonb_object
    jsonb_pretty jsonb_set jsonb_insert jsonb_strip_nulls json_strip_nulls jsonb_typeof json_typeof
    jsonb_array_length json_array_length lcm left length ln localtimestamp log lower lpad ltrim make_date
    make_interval make_time make_timestamp make_timestamptz md5 mod nextval normalize now num_nonnulls num_nulls
    numeric octet_length overlay pg_advisory_xact_lock pg_backend_pid pg_current_xact_id pg_try_advisory_xact_lock
    pi position pow power quote_ident quote_literal quote_nullable radians random regexp_count regexp_instr
    regexp_like regexp_replace regexp_split_to_array repeat replace reverse right round row_to_json rpad rtrim
    setseed sha224 sha256 sha384 sha512 sign sin split_part sqrt starts_with statement_timestamp strpos substr tan
    text textlen timezone timestamp timestamptz to_date to_hex to_json to_jsonb to_timestamp
    transaction_timestamp translate trim_scale trunc txid_current upper uuidv4 uuidv7 varchar width_bucket
    """.split()  # noqa: SIM905
)
_ALWAYS: Final = frozenset(
    """
    array_append array_prepend concat json_build_array json_build_object jsonb_build_array jsonb_build_object
    num_nonnulls num_nulls quote_nullable
    """.split()  # noqa: SIM905
)
"""Those that return a value even for NULL."""
_TOTAL_SETS: Final = frozenset(
    """
    generate_series generate_subscripts jsonb_array_elements json_array_elements jsonb_each json_each
    jsonb_object_keys json_object_keys regexp_split_to_table
    """.split()  # noqa: SIM905
)
_PARTIAL_OPERATORS: Final = frozenset({"->", "->>", "#>", "#>>", "@?", "@@"})
_COUNTS: Final = frozenset({"count", "regr_count"})
_GROUP_AGGREGATES: Final = frozenset(
    "sum min max avg bool_and bool_or every bit_and bit_or bit_xor string_agg any_value range_agg".split()  # noqa: SIM905
)
_GROUP_COLLECTIONS: Final = frozenset(
    "array_agg json_agg jsonb_agg json_object_agg jsonb_object_agg json_agg_strict jsonb_agg_strict".split()  # noqa: SIM905
)
_RANKS: Final = frozenset({"row_number", "rank", "dense_rank", "percent_rank", "cume_dist"})
_NEVER_NODES: Final = frozenset(
    "NULLTEST BOOLEANTEST DISTINCTEXPR ARRAYEXPR ROWEXPR GROUPINGFUNC MERGESUPPORTFUNC NEXTVALUEEXPR".split()  # noqa: SIM905
)
_CURRENT_SCHEMA: Final = "14"  # SVFOP_CURRENT_SCHEMA
_FRAME_NONDEFAULT: Final = 1
_DEEPEST: Final = 20


@dataclass(frozen=True, slots=True)
class Parameter:
    """What the signature says of one parameter: whether it, or an element of it, may be None."""

    nullable: bool = True
    element_nullable: bool = True


class Analysis:
    """The nullability of one parsed statement, for parameters of which the signature says so much."""

    def __init__(self, catalog: Catalog, parameters: Mapping[int, Parameter], depth: int = 0) -> None:
        self.catalog = catalog
        self._parameters = parameters
        self._depth = depth
        self._recursive: dict[tuple[int, str], list[Nulls]] = {}
        self._known: dict[tuple[int, int], list[Nulls]] = {}

    def columns(self, query: Node, parent: Scope | None = None) -> list[Nulls]:
        """What can make each of the columns NULL."""
        scope = Scope(query, parent, self.catalog)
        if query.get("setOperations"):
            return self._set_operation(query["setOperations"], scope)
        entries = outputs(query)
        if query.get("groupingSets"):  # which make NULL of whole expressions
            sure = ("AGGREF", "CONST", "GROUPINGFUNC")
            return [self.nulls(each["expr"], scope) if each["expr"]["node"] in sure else MAYBE for each in entries]
        return [self.nulls(entry["expr"], scope) for entry in entries]

    def _in_from(self, query: Node, parent: Scope) -> list[Nulls]:
        """The same of a subquery that a FROM reads: once, so that all its columns name the same joins."""
        key = id(query), parent.number
        if key in self._known:
            return self._known[key]
        assumed: list[tuple[Scope, set[tuple[int, int]]]] = []
        scope: Scope | None = parent
        while scope is not None:  # what a CASE proves does not hold here
            assumed.append((scope, scope.assumed))
            scope.assumed = set()
            scope = scope.parent
        try:
            found = self.columns(query, parent)
        finally:
            for scope, before in assumed:
                scope.assumed = before
        if not self._recursive:
            self._known[key] = found
        return found

    def _set_operation(self, item: Node, scope: Scope) -> list[Nulls]:
        if item["node"] == "RANGETBLREF":
            return [
                NEVER if nulls == NEVER else MAYBE
                for nulls in self.columns(scope.entry(int(item["rtindex"]))["subquery"], scope)
            ]
        left, right = self._set_operation(item["larg"], scope), self._set_operation(item["rarg"], scope)
        match item["op"]:
            case "1":
                return [one | other for one, other in zip(left, right, strict=True)]
            case "2":
                return [one & other for one, other in zip(left, right, strict=True)]
            case _:
                return left

    # --- Columns ------------------------------------------------------------------------------------

    def _variable(self, node: Node, scope: Scope) -> Nulls:
        owner = scope.up(int(node["varlevelsup"]))
        if owner is None:
            return MAYBE
        table, column = int(node["varno"]), int(node["varattno"])
        command = owner.query["commandType"]
        if table == owner.result_table and command != SELECT:
            side = node.get("varreturningtype", "0")  # OLD is 1, NEW is 2
            if (side == "1" and command not in (UPDATE, DELETE)) or (side == "2" and command not in (INSERT, UPDATE)):
                return MAYBE
        elif command == MERGE:
            return MAYBE
        if owner.query.get("groupingSets"):
            return MAYBE
        entry = owner.entry(table)
        if entry["rtekind"] == RTE_JOIN and column > 0:
            return self.nulls(entry["joinaliasvars"][column - 1], owner)
        if entry["rtekind"] == RTE_GROUP:
            return self.nulls(entry["groupexprs"][column - 1], owner)
        if (table, column) in owner.assumed:
            return NEVER
        from_joins = owner.nullings.get(table, NEVER)
        found = from_joins | self._of_entry(entry, table, column, owner)
        proved = owner.proved.get((table, column))
        return proved if proved is not None and ("?" in found or len(proved) < len(found)) else found

    def _of_entry(self, entry: Node, table: int, column: int, scope: Scope) -> Nulls:
        kind = entry["rtekind"]
        if column <= 0:  # the whole row, or a system column
            return NEVER if kind == RTE_RELATION else MAYBE
        if kind == RTE_RELATION:
            relation = scope.relation(table)
            declared = relation.columns.get(column) if relation and relation.kind in "rpf" else None
            return NEVER if declared and declared.never_null else MAYBE
        if kind == RTE_SUBQUERY:
            columns = self._in_from(entry["subquery"], scope)
        elif kind == RTE_CTE:
            columns = self._of_cte(entry, scope)
        elif kind == RTE_VALUES:
            rows = entry["values_lists"]
            return frozenset[Any]().union(*(self.nulls(row[column - 1], scope) for row in rows))
        elif kind == RTE_FUNCTION:
            return self._of_functions(entry, column, scope)
        else:
            return MAYBE
        if column > len(columns):  # the columns of SEARCH and CYCLE
            return MAYBE
        return frozenset(each if each == "?" else ("of", scope.number, table, each) for each in columns[column - 1])

    def _of_cte(self, entry: Node, scope: Scope) -> list[Nulls]:
        found = scope.common(entry)
        if found is None:
            return []
        cte, owner = found
        key = owner.number, cte["ctename"]
        if key in self._recursive:
            return self._recursive[key]
        query = cte["ctequery"]
        if cte["cterecursive"] == "false":
            return self._in_from(query, owner)
        known = [NEVER] * len(outputs(query))
        try:
            while True:  # every round some column turns from NEVER to MAYBE, or it is the last
                self._recursive[key] = known
                again = [MAYBE if nulls else NEVER for nulls in self.columns(query, owner)]
                if again == known:
                    return known
                known = [one | other for one, other in zip(known, again, strict=True)]
        finally:
            self._recursive.pop(key, None)

    def _of_functions(self, entry: Node, column: int, scope: Scope) -> Nulls:
        functions = entry["functions"]
        for function in functions:
            width = int(function["funccolcount"])
            if column > width:
                column -= width
                continue
            if len(functions) > 1:  # the shorter ones are filled up with NULL
                return MAYBE
            return self._of_table_function(function["funcexpr"], column, width, scope)
        return NEVER  # WITH ORDINALITY

    def _of_table_function(self, call: Node, column: int, width: int, scope: Scope) -> Nulls:
        if call["node"] != "FUNCEXPR":
            return MAYBE if width > 1 else self.nulls(call, scope)
        function = self.catalog.functions.get(int(call["funcid"]))
        if function is None:
            return MAYBE
        if function.builtin:
            if function.name in _TOTAL_SETS:
                return NEVER
            if function.name == "unnest" and call["args"][0]["node"] == "PARAM":
                parameter = self._parameters.get(int(call["args"][0]["paramid"]))
                return MAYBE if parameter is None or parameter.element_nullable else NEVER
            return MAYBE if call["funcretset"] == "true" or width > 1 else self.nulls(call, scope)
        columns = self._of_body(function.body, call["args"] or [], scope)
        if columns is None or column > len(columns):
            return MAYBE
        if call["funcretset"] == "false":
            return MAYBE if width > 1 else self.nulls(call, scope)
        return NEVER if columns[column - 1] == NEVER else MAYBE

    def _of_body(self, body: str | None, arguments: Sequence[Any], scope: Scope) -> list[Nulls] | None:
        """The columns of a function that is written in SQL, for these arguments."""
        if body is None or self._depth > _DEEPEST:
            return None
        parameters = {
            place: Parameter(nullable=bool(self.nulls(argument, scope))) for place, argument in enumerate(arguments, 1)
        }
        query = last_query(body)
        return Analysis(self.catalog, parameters, self._depth + 1).columns(query) if query else None

    # --- Expressions ----------------------------------------------------------------------------------

    def nulls(self, node: Any, scope: Scope) -> Nulls:
        """What can make the expression NULL."""
        if not isinstance(node, dict):
            return MAYBE
        kind = node["node"]
        if kind in _NEVER_NODES:
            return NEVER
        handler = _HANDLERS.get(kind)
        return handler(self, node, scope) if handler else MAYBE

    def any_of(self, nodes: Sequence[Any] | None, scope: Scope) -> Nulls:
        """NULL when one of them is."""
        return NEVER.union(*(self.nulls(node, scope) for node in nodes or []))

    def _constant(self, node: Node, _: Scope) -> Nulls:
        return MAYBE if node["constisnull"] == "true" else NEVER

    def _parameter(self, node: Node, _: Scope) -> Nulls:
        parameter = self._parameters.get(int(node["paramid"])) if node["paramkind"] == "0" else None
        return MAYBE if parameter is None or parameter.nullable else NEVER

    def _argument(self, node: Node, scope: Scope) -> Nulls:
        return self.nulls(node["arg"], scope)

    def _operator(self, node: Node, scope: Scope) -> Nulls:
        name = self.catalog.operators.get(int(node["opno"]))
        function = self.catalog.functions.get(int(node["opfuncid"]))
        if name is None or name in _PARTIAL_OPERATORS or function is None or not function.builtin:
            return MAYBE
        if any(self.catalog.category(oid) == "G" for oid in function.argument_types):
            return MAYBE
        return self.any_of(node["args"], scope)

    def _function(self, node: Node, scope: Scope) -> Nulls:
        function = self.catalog.functions.get(int(node["funcid"]))
        arguments = node["args"] or []
        if function is None:
            return MAYBE
        if node["funcretset"] == "true":
            alone = sum(each.get("funcretset") == "true" for each in walk(scope.query["targetList"])) == 1
            return NEVER if alone and function.builtin and function.name in _TOTAL_SETS else MAYBE
        if not function.builtin:
            query = last_query(function.body) if function.body else None
            columns = self._of_body(function.body, arguments, scope)
            if query is None or not columns or columns[0] != NEVER:
                return MAYBE
            if not gives_a_row(Scope(query, None, self.catalog)):
                return MAYBE
            return self.any_of(arguments, scope) if function.strict else NEVER
        if function.name in _ALWAYS:  # but not of VARIADIC NULL
            return self.any_of(arguments, scope) if node.get("funcvariadic") == "true" else NEVER
        of_json = any(self.catalog.type_name(oid) in ("json", "jsonb") for oid in function.argument_types)
        if node["funcformat"] in ("1", "2") and not of_json:  # a cast; JSON's null may become NULL
            return self.any_of(arguments, scope)
        if function.name == "substring":  # by position, not by pattern
            numbers = all(self.catalog.type_name(oid) == "int4" for oid in function.argument_types[1:])
            return self.any_of(arguments, scope) if numbers else MAYBE
        if function.name not in _TOTAL or any(self.catalog.category(oid) == "G" for oid in function.argument_types):
            return MAYBE
        if of_json and function.name in ("numeric", "bool", "int2", "int4", "int8", "float4", "float8"):
            return MAYBE
        ranges = ("anyrange", "anymultirange")
        if any(self.catalog.type_name(oid) in ranges for oid in function.argument_types):
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
        function = self.catalog.functions.get(int(node["aggfnoid"]))
        if function is None or not function.builtin:
            return MAYBE
        if function.name in _COUNTS:
            return NEVER
        owner = scope.up(int(node["agglevelsup"]))
        grouped = owner is not None and owner.query.get("groupClause") and not owner.query.get("groupingSets")
        if not grouped or node.get("aggfilter") is not None:
            return MAYBE
        if function.name in _GROUP_COLLECTIONS:
            return MAYBE if function.name.endswith("strict") else NEVER
        if function.name not in _GROUP_AGGREGATES:
            return MAYBE
        values = [entry["expr"] for entry in node["args"] or [] if entry["resjunk"] == "false"]
        nulls = self.any_of(values[:1], scope)
        return NEVER if nulls == NEVER else MAYBE

    def _window(self, node: Node, scope: Scope) -> Nulls:
        function = self.catalog.functions.get(int(node["winfnoid"]))
        if function is None or not function.builtin:
            return MAYBE
        if function.name in _RANKS or function.name in _COUNTS:
            return NEVER
        arguments = node["args"] or []
        if function.name == "ntile":
            return self.any_of(arguments, scope)
        if function.name in ("lag", "lead"):
            whole = len(arguments) == 3
            return NEVER if whole and self.any_of(arguments, scope) == NEVER else MAYBE
        if node.get("aggfilter") is not None or not self._has_default_frame(node, scope):
            return MAYBE
        if function.name in _GROUP_COLLECTIONS:
            return NEVER
        if function.name in _GROUP_AGGREGATES or function.name in ("first_value", "last_value"):
            return NEVER if self.any_of(arguments[:1], scope) == NEVER else MAYBE
        return MAYBE

    def _has_default_frame(self, node: Node, scope: Scope) -> bool:
        """Whether the frame holds at least the current row; of those that are written out nothing is known."""
        for clause in scope.query.get("windowClause") or []:
            if clause["winref"] == node["winref"]:
                return not int(clause["frameOptions"]) & _FRAME_NONDEFAULT
        return False

    def _sublink(self, node: Node, scope: Scope) -> Nulls:
        match node["subLinkType"]:
            case "0" | "6":  # EXISTS, ARRAY
                return NEVER
            case "1" | "2":  # ALL, ANY
                columns = self.columns(node["subselect"], scope)
                simple = isinstance(node["testexpr"], dict) and node["testexpr"]["node"] == "OPEXPR"
                return MAYBE if not simple or any(columns) else self.nulls(node["testexpr"]["args"][0], scope)
            case "4":  # one value, or NULL without a row
                columns = self.columns(node["subselect"], scope)
                sure = gives_a_row(Scope(node["subselect"], scope, self.catalog))
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


_HANDLERS: Final[dict[str, Callable[[Analysis, Node, Scope], Nulls]]] = {
    "VAR": Analysis._variable,
    "CONST": Analysis._constant,
    "PARAM": Analysis._parameter,
    "RELABELTYPE": Analysis._argument,
    "COERCEVIAIO": Analysis._argument,
    "ARRAYCOERCEEXPR": Analysis._argument,
    "COERCETODOMAIN": Analysis._argument,
    "CONVERTROWTYPEEXPR": Analysis._argument,
    "COLLATEEXPR": Analysis._argument,
    "OPEXPR": Analysis._operator,
    "FUNCEXPR": Analysis._function,
    "BOOLEXPR": Analysis._boolean,
    "SCALARARRAYOPEXPR": Analysis._any_element,
    "COALESCEEXPR": Analysis._coalesce,
    "CASEEXPR": Analysis._case,
    "AGGREF": Analysis._aggregate,
    "WINDOWFUNC": Analysis._window,
    "SUBLINK": Analysis._sublink,
    "ROWCOMPAREEXPR": Analysis._row_comparison,
    "MINMAXEXPR": Analysis._greatest,
    "SQLVALUEFUNCTION": Analysis._value_function,
    "JSONCONSTRUCTOREXPR": Analysis._json_constructor,
    "JSONISPREDICATE": lambda self, node, scope: self.nulls(node["expr"], scope),
}


def _exclude(one: Any, other: Any) -> bool:
    """Whether two outer joins' NULLs never come together: the two sides of one FULL JOIN."""
    if one[0] == "of" and other[0] == "of":
        return bool(one[:3] == other[:3]) and _exclude(one[3], other[3])
    return len(one) == 3 and len(other) == 3 and one[:2] == other[:2] and one[2] != other[2]


def last_query(body: str) -> Node | None:
    """The query of a SQL function's body whose rows it returns."""
    tree = parse(body)
    while isinstance(tree, list):
        tree = tree[-1] if tree else None
    return tree if isinstance(tree, dict) and tree["node"] == "QUERY" else None
