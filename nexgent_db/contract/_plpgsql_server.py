"""Asks the server about one statement or expression of a PL/pgSQL function, with the variables that it can see.

Twice, because neither answer has all: PL/pgSQL plans the statement (EXPLAIN inside a function whose parameters are the
variables), which finds names as PL/pgSQL finds them, ambiguous ones too; and a SQL function with the same parameters
gives the parse tree, and refuses a result that cannot be assigned to its target. Nothing is executed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import psycopg

from nexgent_db.contract._catalog import ServerCatalog
from nexgent_db.contract._expressions import last_query
from nexgent_db.contract._nodes import Node, walk
from nexgent_db.contract._plpgsql_nodes import Piece
from nexgent_db.contract._plpgsql_words import identifier
from nexgent_db.contract._server import Refused, Server
from nexgent_db.queries.lexer import lexemes

__all__ = ["Answer", "Asked", "PlpgsqlServer", "Variable", "names_in"]


@dataclass(slots=True, eq=False)
class Variable:
    """A variable of a function. ``type`` is None while it is unknown: a record without a shape, a polymorphic type."""

    name: str
    type: int | None
    start: int
    role: str = "variable"  # or "parameter", "result", "special"
    is_set: bool = False
    is_read: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """A piece, what precedes it to make a statement of it, and the SQL type that it is assigned to."""

    piece: Piece
    expected: str | None = None
    is_query: bool = False

    @property
    def head(self) -> str:
        """``SELECT `` before an expression."""
        return "" if self.is_query else "SELECT "


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server says. ``offset`` of an error counts in the piece."""

    refused: str | None = None
    offset: int = 0
    mismatch: str | None = None
    tree: Node | None = None
    reads: frozenset[Variable] = frozenset()


_EXPLAIN: Final = "EXPLAIN "
_OPTIMIZABLE: Final = frozenset(("select", "insert", "update", "delete", "merge", "with", "values", "table", "("))
_NO_PRIVILEGE: Final = "42501"
_BAD_DEFINITION: Final = "42P13"


def names_in(text: str) -> Iterator[str]:
    """The names in a piece of SQL, those of columns and functions too."""
    return (name for each in lexemes(text) if (name := identifier(each)) is not None)


class PlpgsqlServer:
    """Asks inside the transaction that is open on the connection, and undoes each question."""

    def __init__(self, connection: psycopg.Connection[Any], catalog: ServerCatalog) -> None:
        self._connection = connection
        self._catalog = catalog
        self._fields: dict[int, Mapping[str, int]] = {}
        self._shapes: dict[int, str] = {}
        self._answers: dict[tuple[Any, ...], Answer] = {}
        self._types: dict[tuple[str, str], int] = {}
        row = connection.execute("SELECT current_setting('search_path')").fetchone()
        self._own_path = self.path = row[0] if row else ""
        connection.execute("SET LOCAL check_function_bodies = on")
        self._server = Server(connection, catalog)  # sets the savepoint "described"

    # --- Types ----------------------------------------------------------------------------------------

    def set_path(self, path: str | None) -> None:
        """Find names as the function does: by its pinned path, or by the session's."""
        self._connection.execute("ROLLBACK TO described")
        self.path = self._own_path if path is None else path
        self._connection.execute("SELECT set_config('search_path', %s, true)", [self.path])
        self._connection.execute("SAVEPOINT described")

    def open_transitions(self, names: Sequence[str | None], table: str) -> None:
        """Create what a trigger's REFERENCING names, as temporary tables, until the path is set again."""
        for name in filter(None, names):
            self._connection.execute(f"CREATE TEMPORARY TABLE {_quoted(name)} (LIKE {table})")
        self._connection.execute("SAVEPOINT described")

    def type_of(self, text: str) -> int | None:
        """The type that SQL names so; None when there is none."""
        key = (self.path, text)
        if key not in self._types:
            try:
                row = self._connection.execute("SELECT coalesce(to_regtype(%s)::oid::int8, 0)", [text]).fetchone()
            except psycopg.Error:
                self._connection.execute("ROLLBACK TO described")
                row = None
            self._types[key] = row[0] if row else 0
        return self._types[key] or None

    def column_type(self, table: str, column: str) -> int | None:
        """The type of a table's column."""
        row = self._connection.execute(
            "SELECT a.atttypid::int8 FROM pg_attribute AS a"
            " WHERE a.attrelid = to_regclass(%s) AND a.attname = %s AND NOT a.attisdropped",
            [table, column],
        ).fetchone()
        return row[0] if row else None

    def fields(self, type_: int) -> Mapping[str, int]:
        """The fields of a composite type; none for other types."""
        if type_ not in self._fields:
            rows = self._connection.execute(
                "SELECT a.attname, a.atttypid::int8 FROM pg_type AS t JOIN pg_attribute AS a ON a.attrelid = t.typrelid"
                " WHERE t.oid = %s AND t.typtype = 'c' AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
                [type_],
            ).fetchall()
            self._fields[type_] = dict(rows)
        return self._fields[type_]

    def sql_name(self, type_: int) -> str:
        """The type as SQL names it, whatever the search path."""
        return self._shapes.get(type_) or self._catalog.sql_name(type_)

    def is_pseudo(self, type_: int) -> bool:
        """Whether no value has this type itself: record, anyelement, void."""
        return self._catalog.category(type_) == "P"

    def shape(self, query: Piece, variables: Sequence[Variable]) -> int | None:
        """A composite type with the columns of ``query``; None when it cannot be described as a subquery."""
        rows, values = [], []
        for each in variables:
            name = _quoted(each.name)
            if each.type is None:
                return None
            if self.fields(each.type):
                rows.append(f"unnest(ARRAY[NULL::{self.sql_name(each.type)}]) AS {name}")
            else:
                values.append(f"NULL::{self.sql_name(each.type)} AS {name}")
        sources = [*rows, *([f"(SELECT {', '.join(values)}) AS values_of_variables"] if values else [])]
        sources.append(f"LATERAL ({query.text}\n) AS described_query")
        try:
            text = f"SELECT described_query.* FROM {', '.join(sources)}"  # noqa: S608  # the function's own text
            _, columns = self._server.describe(text, ())
            listed = ", ".join(f"{_quoted(column.name)} {self.sql_name(column.type)}" for column in columns)
            name = f'pg_temp."shape {len(self._shapes)}"'
            self._connection.execute(f"CREATE TYPE {name} AS ({listed})")
            row = self._connection.execute(f"SELECT '{name}'::regtype::oid::int8").fetchone()
        except (Refused, psycopg.Error):
            self._connection.execute("ROLLBACK TO described")
            return None
        self._connection.execute("SAVEPOINT described")
        if row is None:
            return None
        self._shapes[row[0]] = name
        return int(row[0])

    # --- Statements -----------------------------------------------------------------------------------

    def validate(self, oid: int, language: str) -> tuple[str, int] | None:
        """Compile a function again: the server's error, and its offset in the body."""
        validator = {"plpgsql": "plpgsql_validator", "sql": "fmgr_sql_validator"}[language]
        try:
            self._connection.execute(f"SELECT {validator}(%s)", [oid])
        except psycopg.Error as error:
            position = error.diag.internal_position or error.diag.statement_position
            self._connection.execute("ROLLBACK TO described")
            if error.sqlstate == _NO_PRIVILEGE:
                return None
            return _message(error), max(0, int(position or 1) - 1)
        return None

    def ask(self, asked: Asked, name: str, visible: Mapping[str, Variable]) -> Answer:
        """The server's answer; without a tree when it cannot be asked. ``name`` is what qualifies variables."""
        used = {each: visible[each] for each in names_in(asked.piece.text) if each in visible}
        if "$" in asked.piece.text:  # $1 is the first parameter
            used = {each.name: each for each in visible.values() if each.role == "parameter"} | used
        if len(used) == 1 and self._is_whole(asked, used):
            return Answer(reads=frozenset(used.values()))
        first = next((each.text for each in lexemes(asked.piece.text)), "")
        if any(each.type is None for each in used.values()) or (asked.is_query and first not in _OPTIMIZABLE):
            return Answer(reads=frozenset(_mentioned(asked.piece.text, visible)))
        arguments = ", ".join(
            f"{_quoted(each)} {self.sql_name(variable.type)} DEFAULT NULL"
            for each, variable in used.items()
            if variable.type is not None
        )
        # Where a piece stands does not matter to the server.
        key = self.path, asked.piece.text, asked.expected, asked.is_query, name, arguments
        if key not in self._answers:
            self._answers[key] = self._asked(asked, name, arguments)
        answer = self._answers[key]
        if answer.tree is None:
            return replace(answer, reads=frozenset(_mentioned(asked.piece.text, visible)))
        numbered = list(used.values())
        reads = {
            numbered[int(node["paramid"]) - 1]
            for node in walk(answer.tree)
            if node["node"] == "PARAM" and node["paramkind"] == "0" and int(node["paramid"]) <= len(numbered)
        }
        return replace(answer, reads=frozenset(reads))

    def _is_whole(self, asked: Asked, used: Mapping[str, Variable]) -> bool:
        """Whether the expression is one variable of the expected type: there is nothing to ask."""
        ((name, variable),) = used.items()
        same = variable.type is not None and asked.expected == self.sql_name(variable.type)
        return same and asked.piece.text.strip().lower() == name

    def _asked(self, asked: Asked, name: str, arguments: str) -> Answer:
        head = f"CREATE FUNCTION pg_temp.{_quoted(name)}({arguments})"
        text = f"{asked.head}{asked.piece.text}"
        plan = _planning(head, name, text)
        try:  # both questions at once: most pieces are right
            return Answer(tree=self._ask_both(f"{plan}; {_tree_of(head, text, asked.expected or 'void')}"))
        except psycopg.Error:
            self._connection.execute("ROLLBACK TO described")
        if error := self._planned(asked, plan):
            return error
        tree, mismatch = self._parsed(asked, head)
        return Answer(mismatch=mismatch, tree=tree)

    def _ask_both(self, script: str) -> Node | None:
        cursor = self._connection.execute(script.encode())
        tree = None
        while True:
            if cursor.description is not None and cursor.description[0].name == "prosqlbody":
                row = cursor.fetchone()
                tree = last_query(row[0]) if row else None
            if not cursor.nextset():
                return tree

    def _planned(self, asked: Asked, plan: str) -> Answer | None:
        try:
            self._connection.execute(plan.encode())
        except psycopg.Error as error:
            self._connection.execute("ROLLBACK TO described")
            if error.sqlstate == _NO_PRIVILEGE:
                return None
            position = int(error.diag.internal_position or 0)
            before = len(_EXPLAIN) + len(asked.head)
            if not (error.diag.internal_query or "").startswith(_EXPLAIN):
                position = 0
            return Answer(refused=_message(error), offset=max(0, position - 1 - before))
        return None

    def _parsed(self, asked: Asked, head: str) -> tuple[Node | None, str | None]:
        """The tree, and why the result does not fit its target."""
        text = f"{asked.head}{asked.piece.text}"
        if asked.expected is None:
            return self._tree(text, head, "void")[0], None
        tree, mismatch = self._tree(text, head, asked.expected)
        if tree is not None or mismatch is None:
            return tree, mismatch
        tree, _ = self._tree(text, head, "void")
        if tree is not None and not asked.is_query and _is_literal(tree):
            # The type of a literal follows from its target, in PL/pgSQL by its text.
            text = f"SELECT CAST(({asked.piece.text}\n) AS {asked.expected})"
            _, mismatch = self._tree(text, head, "void")
        return tree, mismatch

    def _tree(self, text: str, head: str, returns: str) -> tuple[Node | None, str | None]:
        try:
            return self._ask_both(_tree_of(head, text, returns)), None
        except psycopg.Error as error:
            self._connection.execute("ROLLBACK TO described")
            if error.sqlstate == _BAD_DEFINITION or text.startswith("SELECT CAST"):
                return None, (error.diag.message_detail or _message(error)).rstrip(".")
            return None, None


def _planning(head: str, name: str, text: str) -> str:
    """A script that has PL/pgSQL plan the text."""
    tag = _tag(text)
    return (
        f"{head} RETURNS void LANGUAGE plpgsql AS {tag}"
        f' DECLARE "a line" text; BEGIN FOR "a line" IN {_EXPLAIN}{text}\n LOOP END LOOP; END {tag};'
        f" SELECT pg_temp.{_quoted(name)}(); ROLLBACK TO described"
    )


def _tree_of(head: str, text: str, returns: str) -> str:
    """A script that has the server parse the text, and its tree as ``prosqlbody``."""
    return (
        f"{head} RETURNS {returns} BEGIN ATOMIC {text}\n; END;"  # noqa: S608  # the function's own text
        " SELECT prosqlbody::text AS prosqlbody FROM pg_proc WHERE pronamespace = pg_my_temp_schema();"
        " ROLLBACK TO described"
    )


def _mentioned(text: str, visible: Mapping[str, Variable]) -> Iterator[Variable]:
    """The variables whose names stand in the text, but behind no dot."""
    before = ""
    for each in lexemes(text):
        name = identifier(each)
        if name is not None and name in visible and before != ".":
            yield visible[name]
        before = each.text


def _is_literal(tree: Node) -> bool:
    columns = [each for each in tree.get("targetList") or [] if each.get("resjunk") == "false"]
    return len(columns) == 1 and all(each["node"] == "CONST" for each in _leaves(columns[0]["expr"]))


def _leaves(expression: Any) -> Iterator[Node]:
    """The values that an expression can have."""
    kind = expression["node"]
    if kind == "CASEEXPR":
        for when in expression["args"]:
            yield from _leaves(when["result"])
        if expression["defresult"] is not None:
            yield from _leaves(expression["defresult"])
    elif kind == "COALESCEEXPR":
        for argument in expression["args"]:
            yield from _leaves(argument)
    elif kind == "RELABELTYPE":
        yield from _leaves(expression["arg"])
    else:
        yield expression


def _message(error: psycopg.Error) -> str:
    diag = error.diag
    details = "; ".join(each for each in (diag.message_detail, diag.message_hint) if each)
    message = diag.message_primary or str(error)
    return f"{message} ({details})" if details else message


def _tag(text: str) -> str:
    number = 0
    while f"$p{number}$" in text:
        number += 1
    return f"$p{number}$"


def _quoted(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))
