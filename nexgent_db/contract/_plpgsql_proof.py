"""Proves one PL/pgSQL function: each statement on the server, each variable's use, each way through it."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from nexgent_db.contract._catalog import ServerCatalog
from nexgent_db.contract._collation import COLLATION_RULE, case_word, uses_database_collation
from nexgent_db.contract._nodes import Node, walk
from nexgent_db.contract._plpgsql import read_body
from nexgent_db.contract._plpgsql_flow import flow_of
from nexgent_db.contract._plpgsql_nodes import (
    Assign,
    AssignmentTarget,
    Branch,
    Case,
    Declaration,
    Exit,
    If,
    Loop,
    Other,
    Piece,
    PlpgsqlBlock,
    Raise,
    Return,
    Sql,
    Statement,
    Unreadable,
)
from nexgent_db.contract._plpgsql_server import Answer, Asked, PlpgsqlServer, Variable, names_in
from nexgent_db.contract._plpgsql_words import identifier
from nexgent_db.queries.lexer import lexemes

__all__ = ["Proof", "ProvenFunction", "Reporter"]

Reporter = Callable[[str, int, str, str, str], None]
"""Reports a rule that is broken: rule, offset in the body, declared, actual, advice."""

_TO_DO: Final = "correct the function in a migration"
_CONSTANT_NODES: Final = frozenset(
    (
        *("QUERY", "FROMEXPR", "TARGETENTRY", "CONST", "OPEXPR", "DISTINCTEXPR", "SCALARARRAYOPEXPR", "BOOLEXPR"),
        *("NULLTEST", "BOOLEANTEST", "RELABELTYPE", "COERCEVIAIO", "CASEEXPR", "CASEWHEN", "COALESCEEXPR", "ARRAYEXPR"),
    )
)
_DML: Final = frozenset(("insert", "update", "delete", "merge"))


@dataclass(frozen=True, slots=True)
class ProvenFunction:
    """One function, and for a trigger function one table: what is proven."""

    name: str
    body: str
    variables: tuple[Variable, ...]
    returns: str | None  # the SQL type of RETURN's value; None when any is right
    must_return: bool
    row_returns: str | None  # the SQL type of RETURN QUERY's rows, or of RETURN NEXT's value


class Proof:
    """The proof of one subject."""

    def __init__(
        self, subject: ProvenFunction, server: PlpgsqlServer, catalog: ServerCatalog, report: Reporter
    ) -> None:
        self.subject = subject
        self.server = server
        self.catalog = catalog
        self.report = report
        self.scope: ChainMap[str, Variable] = ChainMap({each.name: each for each in subject.variables})
        self.variables = list(subject.variables)
        self.cursors: set[str] = set()
        self.labels = {subject.name}
        self.trees: list[Node] = []  # of the statements and expressions that the server accepts

    def run(self) -> None:
        """Report what is wrong."""
        try:
            block = read_body(self.subject.body)
        except Unreadable as error:
            self.report("unreadable function", error.offset, "a body that the check can read", error.problem, _TO_DO)
            return
        self._block(block)
        flow = flow_of(block)
        for offset, reason in flow.unreachable:
            self.report("unreachable", offset, "a statement", f"it is never reached: {reason}", "remove it")
        if flow.ends and self.subject.must_return:
            self.report(
                "missing return", block.start, "a result", "a way reaches END without a RETURN", "add the RETURN"
            )
        for variable in self.variables:
            self._used(variable)

    def _used(self, variable: Variable) -> None:
        name, role = variable.name, variable.role
        if role == "result":
            if not variable.is_set:
                self.report("unset variable", variable.start, f"OUT {name}", "it is always NULL", "set or drop it")
        elif role != "special" and not variable.is_read:
            actual = "its value is never read" if variable.is_set and role == "variable" else "it is never used"
            self.report("unused variable", variable.start, f"the {role} {name}", actual, "remove it")
        elif role == "variable" and not variable.is_set:
            self.report("unset variable", variable.start, f"the variable {name}", "it is never set", "set it")

    # --- Names ----------------------------------------------------------------------------------------

    def _declare(self, declaration: Declaration) -> None:
        if declaration.alias is not None:
            parameters = [each for each in self.subject.variables if each.role in ("parameter", "result")]
            place = declaration.alias.removeprefix("$")
            aliased = self.scope.get(declaration.alias)
            if place.isdigit() and 0 < int(place) <= len(parameters):
                aliased = parameters[int(place) - 1]
            if aliased is not None:
                self.scope.maps[0][declaration.name] = aliased
            return
        variable = Variable(declaration.name, self._type(declaration), declaration.start)
        if declaration.cursor is not None:
            self.cursors.add(declaration.name)
            variable.is_set = variable.is_read = True
            self._mention(declaration.cursor)
        if variable.type is None and declaration.cursor is None and not self._is_record(declaration):
            variable.is_set = variable.is_read = True  # one report is enough
        if declaration.default is not None:
            self._ask(declaration.default, self._expected(variable.type))
            variable.is_set = True
        self.scope.maps[0][declaration.name] = variable
        self.variables.append(variable)

    def _type(self, declaration: Declaration) -> int | None:
        text, percent, kind = declaration.type.partition("%")
        found = None
        if percent and kind.strip().lower() == "type":
            names = list(names_in(text))
            variable = self.scope.get(names[0])
            if variable is not None:
                found = variable.type
                for name in names[1:]:
                    found = self.server.fields(found).get(name) if found else None
            elif len(names) > 1:
                found = self.server.column_type(text.rpartition(".")[0].strip(), names[-1])
        else:
            found = self.server.type_of(text)
        if found is None:
            self.report("refused", declaration.start, declaration.type, "no such type", _TO_DO)
            return None
        return None if self.server.is_pseudo(found) else found

    def _is_record(self, declaration: Declaration) -> bool:
        found = None if "%" in declaration.type else self.server.type_of(declaration.type)
        return found is not None and self.server.is_pseudo(found)

    def _target(self, target: AssignmentTarget) -> tuple[Variable, int | None] | None:
        """The variable that the target sets, and the type of what it sets; None after an error was reported."""
        name, fields = target.name, target.fields
        if name not in self.scope and name in self.labels and fields:
            name, fields = fields[0], fields[1:]
        for subscript in target.subscripts:
            self._ask(subscript)
        variable = self.scope.get(name)
        if variable is None:
            self.report("unknown variable", target.start, f"the variable {name}", "nothing of this name", _TO_DO)
            return None
        variable.is_set = True
        type_ = variable.type
        for field in fields:
            if type_ is None:
                break
            inside = self.server.fields(type_)
            if field not in inside:
                self.report(
                    "unknown variable", target.start, f"the field {field} of {name}",
                    f"{self.catalog.type_name(type_)} has no such field", _TO_DO,
                )  # fmt: skip
                return None
            type_ = inside[field]
        return variable, None if target.subscripts else type_

    def _targets(self, targets: Sequence[AssignmentTarget], query: Piece | None) -> str | None:
        """The SQL type of the rows that fit the targets; None when any fit."""
        found = [self._target(target) for target in targets]
        types: list[int] = []
        for each in found:
            if each is None:
                return None
            variable, type_ = each
            if type_ is None:
                if query is not None and len(found) == 1:
                    variable.type = self.server.shape(query, self._mentioned(query))
                return None
            types.append(type_)
        if len(types) == 1 and self.server.fields(types[0]) and not targets[0].fields:
            return self.server.sql_name(types[0])
        return f"TABLE({', '.join(f'c{n} {self.server.sql_name(type_)}' for n, type_ in enumerate(types, 1))})"

    def _expected(self, type_: int | None) -> str | None:
        return None if type_ is None else self.server.sql_name(type_)

    def _mentioned(self, piece: Piece) -> list[Variable]:
        return list(dict.fromkeys(self.scope[name] for name in names_in(piece.text) if name in self.scope))

    def _mention(self, piece: Piece) -> None:
        for variable in self._mentioned(piece):
            variable.is_read = True

    # --- Statements -----------------------------------------------------------------------------------

    def _ask(self, piece: Piece, expected: str | None = None, *, is_query: bool = False) -> Answer:
        qualifiers = self._qualifiers(piece)
        for name in names_in(piece.text) if qualifiers else ():
            for names in self.scope.maps:
                if name in names:
                    names[name].is_read = True
        if len(qualifiers) > 1:  # a function has one name: the server cannot be asked
            return Answer()
        answer = self.server.ask(Asked(piece, expected, is_query), (*qualifiers, self.subject.name)[0], self.scope)
        for variable in answer.reads:
            variable.is_read = True
        if answer.refused is not None:
            self._mention(piece)
            self.report("refused", piece.start + answer.offset, "a statement", answer.refused, _TO_DO)
        if answer.mismatch is not None:
            self.report("assigned type", piece.start, _shown(expected), answer.mismatch, "cast it, or name the columns")
        if answer.tree is None:
            return answer
        self.trees.append(answer.tree)
        if uses_database_collation(answer.tree, self.catalog):
            self.report(COLLATION_RULE[0], _case_word(piece), *COLLATION_RULE[1:])
        return answer

    def _qualifiers(self, piece: Piece) -> list[str]:
        """The labels, the function's name among them, that qualify a variable in the piece."""
        found: list[str] = []
        before = None
        for each in lexemes(piece.text):
            if each.text == "." and before is not None and before in self.labels and before not in found:
                found.append(before)
            before = identifier(each)
        return found

    def _condition(self, piece: Piece, start: int) -> None:
        answer = self._ask(piece, "boolean")
        if answer.tree is not None and _is_constant(answer.tree):
            self.report(
                "unreachable", start, "a condition", "it is constant: one of its two ways is never taken", "remove it"
            )

    def _block(self, block: PlpgsqlBlock) -> None:
        outer, labels, cursors = self.scope, self.labels, set(self.cursors)
        self.scope = outer.new_child()
        if block.label:
            self.labels = {*labels, block.label}
        for declaration in block.declarations:
            self._declare(declaration)
        self._body(block.body)
        self._branches(block.handlers)
        self.scope, self.labels, self.cursors = outer, labels, cursors

    def _branches(self, branches: Iterable[Branch]) -> None:
        for branch in branches:
            self._body(branch.body)

    def _body(self, statements: Iterable[Statement]) -> None:
        for statement in statements:
            self._statement(statement)

    def _statement(self, statement: Statement) -> None:
        if isinstance(statement, Assign):
            target = self._target(statement.target)
            self._ask(statement.value, self._expected(target[1]) if target else None)
        elif isinstance(statement, Sql):
            self._sql(statement)
        elif isinstance(statement, If):
            for branch in statement.branches:
                if branch.condition is not None:
                    self._condition(branch.condition, branch.start)
            self._branches(statement.branches)
        elif isinstance(statement, Case):
            self._case(statement)
        elif isinstance(statement, Loop):
            self._loop(statement)
        elif isinstance(statement, PlpgsqlBlock):
            self._block(statement)
        elif isinstance(statement, Return):
            self._return(statement)
        elif isinstance(statement, Exit):
            if statement.condition is not None:
                self._condition(statement.condition, statement.start)
        elif isinstance(statement, Raise | Other):
            self._values(statement.values)
            if isinstance(statement, Other):
                self._targets(statement.targets, None)

    def _values(self, values: Iterable[Piece]) -> None:
        for value in values:
            self._ask(value)

    def _sql(self, statement: Sql) -> None:
        query = statement.query
        expected = self._targets(statement.targets, query) if statement.targets else None
        answer = self._ask(query, expected, is_query=True)
        if answer.tree is None or statement.targets or statement.discards:
            return
        first = next(each.text for each in lexemes(query.text))
        if answer.tree.get("returningList") or (first not in _DML and _columns(answer.tree)):
            self.report(
                "discarded rows", query.start, "a statement without INTO", "it returns rows: it fails when it runs",
                "add INTO, or PERFORM instead of SELECT",
            )  # fmt: skip

    def _case(self, statement: Case) -> None:
        if statement.operand is not None:
            self._ask(statement.operand)
        for branch in statement.branches:
            if branch.condition is None:
                continue
            if statement.operand is None:
                self._condition(branch.condition, branch.start)
            else:
                self._values([branch.condition])
        self._branches(statement.branches)

    def _loop(self, loop: Loop) -> None:
        outer = self.scope
        if loop.condition is not None:
            self._ask(loop.condition, "boolean")
        for number in loop.numbers:
            self._ask(number, "integer")
        if loop.query is not None:
            first = next(names_in(loop.query.text), "")
            if first in self.cursors:
                self.scope = outer.new_child(
                    {each.name: Variable(each.name, None, each.start) for each in loop.targets}
                )
            else:
                self._ask(loop.query, self._targets(loop.targets, loop.query), is_query=True)
        elif loop.targets:
            self._targets(loop.targets, None)
            self._values(loop.values)
        if loop.counter is not None:
            counter = Variable(loop.counter, self.server.type_of("integer"), loop.start, "special", is_set=True)
            self.scope = outer.new_child({loop.counter: counter})
        self._body(loop.body)
        self.scope = outer

    def _return(self, statement: Return) -> None:
        self._values(statement.values)
        if statement.value is None:
            return
        expected = self.subject.returns
        if statement.kind != "return":
            expected = self.subject.row_returns
        self._ask(statement.value, expected, is_query=statement.kind == "query")


def _case_word(piece: Piece) -> int:
    return piece.start + case_word(piece.text)


def _is_constant(tree: Node) -> bool:
    return not tree.get("rtable") and all(node["node"] in _CONSTANT_NODES for node in walk(tree))


def _columns(tree: Node) -> bool:
    return any(each.get("resjunk") == "false" for each in tree.get("targetList") or [])


def _shown(expected: str | None) -> str:
    """``public.trade`` for ``"public"."trade"``."""
    return (expected or "a value").replace('"', "").replace("pg_catalog.", "")
