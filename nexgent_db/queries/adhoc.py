"""Statements that a service sends as text: the escape hatch beside named queries.

A statement is read as a named query is, so ``:name`` is a parameter and ``-- if given`` lines work. It is named after
the code that sends it, ``execute.<module>_<function>``, so that pg_stat_activity, the server's log and hooks show where
it comes from. Nothing proves its types: rows are dicts of what the driver returns.
"""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final

from psycopg.rows import dict_row

from nexgent_db.errors import InvalidInput, SqlFileError
from nexgent_db.queries.binding import BoundQuery, Call
from nexgent_db.queries.lexer import lexemes
from nexgent_db.queries.parser import NAME, parse
from nexgent_db.queries.statement import Query
from nexgent_db.queries.values import prepared

__all__ = ["AdHocQuery", "Executed", "ad_hoc", "caller_name"]

_FILE: Final = "execute"
_READS: Final = {"select", "values", "table", "show", "explain", "fetch"}
_WRITES: Final = {"insert", "update", "delete", "merge"}


@dataclass(frozen=True, slots=True)
class Executed:
    """The answer to a statement: the number of rows that it returned or changed, and the rows by column name."""

    count: int
    rows: list[dict[str, object]] = field(default_factory=list)


class AdHocQuery(BoundQuery):
    """A statement without a method; sessions run it as any other query."""

    def __init__(self, query: Query, *, returns_rows: bool) -> None:
        self.query = query
        self.name = query.qualified_name
        self.method = ad_hoc
        self.doc = None
        self.result = None
        self.shape = (lambda rows, _: rows) if returns_rows else None
        self.counts = not returns_rows
        self.streams = False

    def call_with(self, parameters: Mapping[str, object]) -> Call:
        """The statement with these values. Raises InvalidInput for an unknown, missing or unfit one."""
        if unknown := sorted(parameters.keys() - set(self.query.parameters)):
            raise InvalidInput(unknown[0], "the statement has no such parameter")
        if missing := sorted(self.query.required - parameters.keys()):
            raise InvalidInput(missing[0], "the statement needs a value for it")
        statement = self.query.statement(parameters.keys())
        values = tuple([prepared(name, parameters[name]) for name in statement.parameters])
        return Call(statement.text.encode(), values, dict_row)

    def answer(self, result: object) -> Executed:
        """The answer in the form that the caller gets."""
        return Executed(len(result), result) if isinstance(result, list) else Executed(max(0, int(str(result))))


@lru_cache(maxsize=512)
def ad_hoc(sql: str, name: str) -> AdHocQuery:
    """The statement ``sql`` under this name. Raises InvalidInput, with line and column, for text that cannot be split
    into one statement and its parameters, and for a name that is not lower snake case."""
    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        raise InvalidInput("name", "lower-case letters, digits and underscores, a letter first")
    returns_rows = _returns_rows(sql)
    head = f"-- name: {name} :{'many' if returns_rows else 'rows'}\n"
    try:
        _, queries = parse(Path(f"{_FILE}.sql"), head + sql)
    except SqlFileError as error:
        raise InvalidInput("sql", f"line {max(1, error.line - 1)}, column {error.column}: {error.problem}") from None
    if len(queries) != 1:
        raise InvalidInput("sql", "one statement, without a name line: name= names it")
    return AdHocQuery(queries[name], returns_rows=returns_rows)


def caller_name() -> str:
    """``module_function`` of the code that called the caller of this function."""
    frame = sys._getframe(2)
    module = str(frame.f_globals.get("__name__", "")).rpartition(".")[2]
    if module == "__main__":
        module = Path(frame.f_code.co_filename).stem
    parts = [re.sub(r"\W+", "_", part).strip("_").lower() for part in (module, frame.f_code.co_name)]
    name = "_".join(filter(None, parts))
    return name if NAME.fullmatch(name) else "statement"


def _returns_rows(sql: str) -> bool:
    """Whether the statement is one that answers with rows, from its words outside of brackets."""
    words, depth, opened = list[str](), 0, False
    for lexeme in lexemes(sql):
        if lexeme.kind == "other":
            opened = opened or (lexeme.text == "(" and not words)
            depth += (lexeme.text == "(") - (lexeme.text == ")")
        elif lexeme.kind == "word" and depth == 0:
            words.append(lexeme.text)
    verb = next((word for word in words if word in _READS or word in _WRITES), "") if words[:1] == ["with"] else ""
    verb = verb or (words[0] if words else "")
    return opened or verb in _READS or (verb in _WRITES and "returning" in words)
