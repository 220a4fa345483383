"""Decides from the parse tree which columns of a statement can be NULL. A column is nullable unless proved NOT NULL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from nexgent_db.contract._catalog import ServerCatalog
from nexgent_db.contract._expressions import Expressions, Parameter, last_query
from nexgent_db.contract._known_functions import (
    TOTAL_SETS,
)
from nexgent_db.contract._nodes import Node
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

__all__ = ["Analysis"]

_DEEPEST: Final = 20


class Analysis:
    """The nullability of one parsed statement with these parameters.

    A row that a function returns may have NULLs where its table has none, unless ``stored_rows`` says that it is one
    that the table holds, or NULL as a whole.
    """

    def __init__(
        self,
        catalog: ServerCatalog,
        parameters: Mapping[int, Parameter],
        stored_rows: Callable[[], bool] = lambda: False,
        depth: int = 0,
    ) -> None:
        self.catalog = catalog
        self._stored_rows = stored_rows
        self.parameters = parameters
        self._depth = depth
        self._recursive: dict[tuple[int, str], list[Nulls]] = {}
        self._known: dict[tuple[int, int], list[Nulls]] = {}
        self._nulls = Expressions(self).nulls

    def columns(self, query: Node, parent: Scope | None = None) -> list[Nulls]:
        """For each column: the causes that can make it NULL."""
        scope = Scope(query, parent, self.catalog)
        if query.get("setOperations"):
            return self._set_operation(query["setOperations"], scope)
        entries = outputs(query)
        if query.get("groupingSets"):  # grouping sets make whole expressions NULL
            sure = ("AGGREF", "CONST", "GROUPINGFUNC")
            return [self._nulls(each["expr"], scope) if each["expr"]["node"] in sure else MAYBE for each in entries]
        return [self._nulls(entry["expr"], scope) for entry in entries]

    def _in_from(self, query: Node, parent: Scope) -> list[Nulls]:
        """The columns of a subquery in FROM: computed once, so that all of them name the same joins."""
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

    def field(self, node: Node, scope: Scope) -> Nulls:
        """The causes that can make a field of a row NULL: that the whole row is, at least."""
        row = node["arg"]
        if row["node"] != "VAR" or not self._is_stored(int(row["vartype"]), int(node["fieldnum"])):
            return MAYBE
        return frozenset((("row", scope.number, row["varlevelsup"], row["varno"], row["varattno"]),))

    def _is_stored(self, row_type: int, column: int) -> bool:
        """Is it a NOT NULL column of a table with this type of row, and are rows as the table holds them?"""
        table = self.catalog.tables_by_row_type.get(row_type)
        declared = table.columns.get(column) if table else None
        return declared is not None and declared.never_null and self._stored_rows()

    def variable(self, node: Node, scope: Scope) -> Nulls:
        """The causes that can make a column of a table in FROM NULL."""
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
            return self._nulls(entry["joinaliasvars"][column - 1], owner)
        if entry["rtekind"] == RTE_GROUP:
            return self._nulls(entry["groupexprs"][column - 1], owner)
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
            return frozenset[Any]().union(*(self._nulls(row[column - 1], scope) for row in rows))
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
            while True:  # each round turns a column from NEVER to MAYBE, or is the last
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
            if len(functions) > 1:  # PostgreSQL pads the shorter ones with NULL
                return MAYBE
            return self._of_table_function(function["funcexpr"], column, width, scope)
        return NEVER  # WITH ORDINALITY

    def _of_table_function(self, call: Node, column: int, width: int, scope: Scope) -> Nulls:
        if call["node"] != "FUNCEXPR":
            return MAYBE if width > 1 else self._nulls(call, scope)
        function = self.catalog.functions.get(int(call["funcid"]))
        if function is None:
            return MAYBE
        if function.builtin:
            if function.name in TOTAL_SETS:
                return NEVER
            if function.name == "unnest" and call["args"][0]["node"] == "PARAM":
                parameter = self.parameters.get(int(call["args"][0]["paramid"]))
                return MAYBE if parameter is None or parameter.element_nullable else NEVER
            if function.name == "unnest" and call["args"][0]["node"] in ("VAR", "FIELDSELECT"):
                rows = call["args"][0]
                element = self.catalog.element(int(rows.get("vartype") or rows["resulttype"]))
                return NEVER if self._is_stored(element, column) else MAYBE
            return MAYBE if call["funcretset"] == "true" or width > 1 else self._nulls(call, scope)
        columns = self.of_body(function.body, call["args"] or [], scope)
        if columns is None or column > len(columns):
            return MAYBE
        if call["funcretset"] == "false":
            return MAYBE if width > 1 else self._nulls(call, scope)
        return NEVER if columns[column - 1] == NEVER else MAYBE

    def of_body(self, body: str | None, arguments: Sequence[Any], scope: Scope) -> list[Nulls] | None:
        """For each column of an SQL function with these arguments: the causes that can make it NULL."""
        if body is None or self._depth > _DEEPEST:
            return None
        parameters = {
            place: Parameter(nullable=bool(self._nulls(argument, scope))) for place, argument in enumerate(arguments, 1)
        }
        query = last_query(body)
        return Analysis(self.catalog, parameters, self._stored_rows, self._depth + 1).columns(query) if query else None
