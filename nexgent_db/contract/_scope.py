"""One query of a parsed statement: its tables, the joins that can make them NULL, the proofs of its filters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from nexgent_db.contract._catalog import CatalogTable, ServerCatalog
from nexgent_db.contract._nodes import Node

__all__ = [
    "DELETE",
    "INSERT",
    "MAYBE",
    "MERGE",
    "NEVER",
    "RTE_CTE",
    "RTE_FUNCTION",
    "RTE_GROUP",
    "RTE_JOIN",
    "RTE_RELATION",
    "RTE_SUBQUERY",
    "RTE_VALUES",
    "SELECT",
    "UPDATE",
    "Nulls",
    "Qual",
    "Scope",
    "outputs",
    "plain",
    "variables",
]

Nulls = frozenset[Any]
"""The causes of a NULL value: outer joins (each named by scope, join and side), and ``"?"`` for anything else."""
NEVER: Final[Nulls] = frozenset()
MAYBE: Final[Nulls] = frozenset({"?"})

SELECT, UPDATE, INSERT, DELETE, MERGE = "1", "2", "3", "4", "5"
RTE_RELATION, RTE_SUBQUERY, RTE_JOIN, RTE_FUNCTION, _RTE_TABLEFUNC, RTE_VALUES, RTE_CTE = "0123456"
RTE_GROUP: Final = "9"
_INNER, _LEFT, _FULL, _RIGHT = "0123"
_PASSING: Final = {"RELABELTYPE": "arg", "COERCEVIAIO": "arg", "COLLATEEXPR": "arg", "ARRAYCOERCEEXPR": "arg"}
_SCOPES: Final = count()

Variable = tuple[int, int]
"""A column: the number of its table in the query's range table, and its number in that table."""


@dataclass(frozen=True, slots=True)
class Qual:
    """One conjunct of WHERE or ON, and the tables whose rows it filters."""

    expression: Any
    tables: frozenset[int]


class Scope:
    """One query level."""

    def __init__(self, query: Node, parent: Scope | None, catalog: ServerCatalog) -> None:
        self.query = query
        self.parent = parent
        self.catalog = catalog
        self.number = next(_SCOPES)
        self.tables: list[Node] = query.get("rtable") or []
        self.nullings: dict[int, Nulls] = {}
        self.proved: dict[Variable, Nulls] = {}
        self.quals: list[Qual] = []
        self.assumed: set[Variable] = set()
        self._reductions: list[tuple[Variable, Nulls]] = []
        self.leaves: frozenset[int] = frozenset()
        if query.get("jointree"):
            self.leaves = self._walk(query["jointree"], NEVER)
            self._reduce()

    @property
    def result_table(self) -> int:
        """The number of the table that the query writes; 0 in a SELECT."""
        return int(self.query.get("resultRelation") or 0)

    def entry(self, number: int) -> Node:
        """The range table's entry."""
        entry: Node = self.tables[number - 1]
        return entry

    def relation(self, number: int) -> CatalogTable | None:
        """The table or view of a range table's entry."""
        entry = self.entry(number)
        return self.catalog.tables.get(int(entry["relid"])) if entry["rtekind"] == RTE_RELATION else None

    def up(self, levels: int) -> Scope | None:
        """The scope ``levels`` levels further out."""
        scope: Scope | None = self
        for _ in range(levels):
            scope = scope.parent if scope else None
        return scope

    def common(self, entry: Node) -> tuple[Node, Scope] | None:
        """The CTE that an entry reads, and the scope that defines it."""
        owner = self.up(int(entry["ctelevelsup"]))
        for cte in (owner.query.get("cteList") or []) if owner else []:
            if cte["ctename"] == entry["ctename"]:
                assert owner is not None
                return cte, owner
        return None

    # --- Joins ------------------------------------------------------------------------------------

    def _walk(self, item: Node, above: Nulls) -> frozenset[int]:
        kind = item["node"]
        if kind == "RANGETBLREF":
            number = int(item["rtindex"])
            self.nullings[number] = above
            return frozenset({number})
        if kind == "FROMEXPR":
            tables = frozenset[int]().union(*(self._walk(each, above) for each in item["fromlist"] or []))
            self._filter(item["quals"], tables, above)
            return tables
        assert kind == "JOINEXPR", kind
        join = self.number, int(item["rtindex"])
        type_ = item["jointype"]
        left_above = above | {(*join, "left")} if type_ in (_RIGHT, _FULL) else above
        right_above = above | {(*join, "right")} if type_ in (_LEFT, _FULL) else above
        left = self._walk(item["larg"], left_above)
        right = self._walk(item["rarg"], right_above)
        if type_ == _INNER:
            self._filter(item["quals"], left | right, above)
        elif type_ == _LEFT:
            self._filter(item["quals"], right, right_above)
        elif type_ == _RIGHT:
            self._filter(item["quals"], left, left_above)
        return left | right

    def _filter(self, quals: Any, tables: frozenset[int], above: Nulls) -> None:
        for expression in conjuncts(quals):
            self.quals.append(Qual(expression, tables))
            for variable in self.implied(expression):
                if variable[0] in tables:
                    self._reductions.append((variable, above))

    def _reduce(self) -> None:
        """Treat an outer join as an inner one when a filter above it rejects its NULLs."""
        gone: set[Any] = set()
        for (table, _), above in self._reductions:
            gone |= self.nullings.get(table, NEVER) - above
        for table, nulls in self.nullings.items():
            self.nullings[table] = nulls - gone
        written = self.result_table if self.query["commandType"] in (UPDATE, MERGE) else 0
        for variable, above in self._reductions:
            if variable[0] != written:  # RETURNING shows the new row, the filter saw the old one
                known = self.proved.get(variable)
                left = above - gone
                self.proved[variable] = left if known is None or len(left) < len(known) else known

    # --- Proofs of a condition ------------------------------------------------------------------------

    def implied(self, condition: Any) -> set[Variable]:
        """The columns that are not NULL where the condition is true."""
        kind = condition["node"]
        if kind == "BOOLEXPR":
            parts = condition["args"]
            if condition["boolop"] == "and":
                return set[Variable]().union(*(self.implied(part) for part in parts))
            if condition["boolop"] == "or":
                return set.intersection(*(self.implied(part) for part in parts))
            return self.strict(parts[0])
        if kind == "NULLTEST":
            return self.strict(condition["arg"]) if condition["nulltesttype"] == "1" else set()
        if kind == "BOOLEANTEST":
            return self.strict(condition["arg"]) if condition["booltesttype"] in ("0", "2") else set()
        if kind == "SUBLINK" and condition["subLinkType"] == "2":  # x IN (SELECT …)
            return self.strict(condition["testexpr"])
        if kind == "SCALARARRAYOPEXPR":
            return self.strict(condition["args"][0]) if condition["useOr"] == "true" else set()
        return self.strict(condition)

    def refuted(self, condition: Any) -> set[Variable]:
        """The columns that are not NULL where the condition is not true."""
        if condition["node"] == "NULLTEST" and condition["nulltesttype"] == "0":
            return self.strict(condition["arg"])
        if condition["node"] == "BOOLEXPR" and condition["boolop"] == "or":
            return set[Variable]().union(*(self.refuted(part) for part in condition["args"]))
        if condition["node"] == "BOOLEXPR" and condition["boolop"] == "not":
            negated = condition["args"][0]  # if it is NULL, so is the condition: not true, and nothing proved
            return self.implied(negated) if negated["node"] in ("NULLTEST", "BOOLEANTEST") else set()
        return set()

    def strict(self, expression: Any) -> set[Variable]:
        """The columns that make the expression NULL when they are."""
        if not isinstance(expression, dict):
            return set()
        kind = expression["node"]
        if kind == "VAR":
            return {self.resolve(expression)} if expression["varlevelsup"] == "0" else set()
        if kind in _PASSING:
            return self.strict(expression[_PASSING[kind]])
        function = {"OPEXPR": "opfuncid", "FUNCEXPR": "funcid"}.get(kind)
        if function and (found := self.catalog.functions.get(int(expression[function]))) and found.strict:
            return set[Variable]().union(*(self.strict(each) for each in expression["args"] or []))
        if kind == "SCALARARRAYOPEXPR":
            return set()
        if kind == "BOOLEXPR" and expression["boolop"] == "not":
            return self.strict(expression["args"][0])
        return set()

    def resolve(self, variable: Node) -> Variable:
        """The table's column behind a column of a join or of GROUP BY; any other column unchanged."""
        table, column = int(variable["varno"]), int(variable["varattno"])
        if 0 < table <= len(self.tables) and column > 0:
            entry = self.entry(table)
            behind = None
            if entry["rtekind"] == RTE_JOIN:
                behind = entry["joinaliasvars"][column - 1]
            elif entry["rtekind"] == RTE_GROUP:
                behind = entry["groupexprs"][column - 1]
            if behind is not None:
                behind = plain(behind)
                if behind["node"] == "VAR" and behind["varlevelsup"] == "0":
                    return self.resolve(behind)
        return table, column


def plain(expression: Any) -> Any:
    """The expression without casts that change no value."""
    while isinstance(expression, dict) and expression["node"] == "RELABELTYPE":
        expression = expression["arg"]
    return expression


def conjuncts(quals: Any) -> Iterator[Any]:
    """The parts of a condition that AND joins."""
    if isinstance(quals, list):
        for each in quals:
            yield from conjuncts(each)
    elif isinstance(quals, dict) and quals["node"] == "BOOLEXPR" and quals["boolop"] == "and":
        yield from conjuncts(quals["args"])
    elif quals is not None:
        yield quals


def variables(tree: Any, scope: Scope, depth: int = 0) -> Iterator[Variable]:
    """The scope's columns that an expression reads, also from inside its subqueries."""
    if isinstance(tree, dict):
        if tree["node"] == "VAR":
            if int(tree["varlevelsup"]) == depth:
                yield scope.resolve(tree)
            return
        deeper = depth + (tree["node"] == "QUERY")
        for value in tree.values():
            yield from variables(value, scope, deeper)
    elif isinstance(tree, list):
        for value in tree:
            yield from variables(value, scope, depth)


def outputs(query: Node) -> list[Node]:
    """The target entries of the rows that a query gives."""
    entries: Iterable[Node] = query["targetList" if query["commandType"] == SELECT else "returningList"] or []
    return [entry for entry in entries if entry["resjunk"] == "false"]
