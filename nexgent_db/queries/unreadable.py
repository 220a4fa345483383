"""The errors for answers that cannot be read: a value without a form in Python, or a write that is committed.

Pure: shared by the asynchronous and the synchronous sessions and trades.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Final, NamedTuple
from uuid import UUID

import psycopg
from psycopg import BaseConnection
from psycopg.adapt import Transformer
from psycopg.pq import Format
from psycopg.pq.abc import PGresult

from nexgent_db.errors import CommittedButUnread, NexgentError, NoRow, UnreadableValue
from nexgent_db.queries.binding import BoundQuery
from nexgent_db.queries.lexer import Kind, tokens
from nexgent_db.queries.statement import Query

READ_FAILURES: Final = (
    psycopg.Error,
    NexgentError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""The errors of reading an answer. Any other comes from outside, such as a signal handler, and passes unchanged."""


def read_failure(
    bound: BoundQuery, result: PGresult | None, error: Exception, place: Place, *, committed: bool
) -> NexgentError:
    """The error to raise when an answer was received whole and cannot be read; ``place`` is that of the value at fault.

    ``committed``: the statement was alone, so what it did is committed. Then this is CommittedButUnread, unless the
    statement writes nothing. In a transaction, and for what only reads, it is the error itself if it is one of this
    package, else UnreadableValue.
    """
    failure = error if isinstance(error, NexgentError) else _unreadable(bound.name, error, place)
    if not committed or not may_write(bound.query) or _wrote_nothing(bound.query, result, failure):
        return failure
    return committed_but_unread(bound.name, None, failure)


def committed_but_unread(query: str, request_id: UUID | None, failure: BaseException | None) -> CommittedButUnread:
    """CommittedButUnread for a write that was committed, with the failure as its cause."""
    unread = CommittedButUnread(query, request_id, str(failure).removeprefix(f"{query}: "))
    unread.__cause__ = failure
    return unread


def _unreadable(name: str, error: Exception, place: Place) -> UnreadableValue:
    unreadable = UnreadableValue(name, place.column, f"{type(error).__name__} while reading its rows", place.table)
    unreadable.__cause__ = error
    return unreadable


class Place(NamedTuple):
    """Where a value stands: the column of the answer, and its table, as far as they are known."""

    column: str | None
    table: str | None


def place_at_fault(connection: BaseConnection[Any], result: PGresult | None) -> tuple[str | None, int]:
    """The first column with a value that the driver cannot read, and the oid of its table; None and 0 when it can read
    each of them, and 0 for a column that is computed."""
    if result is None or connection.closed:
        return None, 0
    transformer = Transformer.from_context(connection)
    for column in range(result.nfields):
        loader = transformer.get_loader(result.ftype(column), Format(result.fformat(column)))
        values = (result.get_value(row, column) for row in range(result.ntuples))
        try:
            for value in values:
                if value is not None:
                    loader.load(value)
        except READ_FAILURES:
            return (result.fname(column) or b"?").decode(errors="replace"), result.ftable(column)
    return None, 0


# --- Which statements write -----------------------------------------------------------------------

_PLACE: Final = re.compile(r"\$(?=[0-9])")
_LOCKS: Final = re.compile(r"\bFOR\s+(?:NO\s+KEY\s+)?UPDATE\b|\bDO\s+UPDATE\b")
_READS: Final = re.compile(r"[\s(]*(?:SELECT|WITH|VALUES|TABLE)\b")
_WRITES: Final = re.compile(r"\b(?:INSERT|UPDATE|DELETE|MERGE|TRUNCATE|INTO)\b")
_CALLS: Final = re.compile(r"([A-Z_][A-Z0-9_.]*)\s*\(")
_CALLS_FROM: Final = re.compile(r"\b(?:FROM|JOIN|LATERAL)\s+([A-Z_][A-Z0-9_.]*)\s*\(")
_HARMLESS: Final = re.compile(
    r"(?:PG_CATALOG\.)?(?:(?:PG|JSONB?|REGEXP|STRING|GENERATE|ARRAY)_\w+|UNNEST|LATERAL|NOW|CLOCK_TIMESTAMP|DATE_\w+|TO_\w+"
    r"|COALESCE|NULLIF|LEFT|RIGHT|CURRENT_\w+|GREATEST|LEAST|COUNT|SUM|MIN|MAX|AVG|EXISTS|ANY|ALL|IN|CAST|EXTRACT|LOWER|UPPER|LENGTH|VERSION"
    r"|VALUES|AND|OR|NOT|SELECT|AS|CASE|WHEN|THEN|ELSE|ROW)"
)
_SINGLE_WRITE: Final = re.compile(rb"(?:INSERT 0|UPDATE|DELETE|MERGE) 0")


def may_write(query: Query) -> bool:
    """Whether the statement can change rows, judged by its text; yes when in doubt.

    It reads only when it is a SELECT, WITH, VALUES or TABLE without INSERT, UPDATE, DELETE, MERGE, TRUNCATE or INTO
    in it (FOR UPDATE aside), and calls no function that could write: in FROM, or in a SELECT that has no FROM, every
    function that is not PostgreSQL's own counts as one. A function in the column list of a SELECT with a FROM does
    not: what writes is to be called in FROM, where a trade of several columns is called anyway.
    """
    code = _code_of(query)
    if not _READS.match(code) or _WRITES.search(code):
        return True
    calls = _CALLS_FROM if re.search(r"\bFROM\b", code) else _CALLS
    return any(not _HARMLESS.fullmatch(name) for name in calls.findall(code))


def _wrote_nothing(query: Query, result: PGresult | None, failure: NexgentError) -> bool:
    """Whether the statement's only INSERT, UPDATE, DELETE or MERGE changed no row, by PostgreSQL's command tag."""
    if result is None or not isinstance(failure, NoRow):
        return False
    alone = len(_WRITES.findall(_code_of(query).replace("INSERT INTO", "INSERT"))) == 1
    return alone and _SINGLE_WRITE.fullmatch(result.command_status or b"") is not None


@cache
def _code_of(query: Query) -> str:
    """The statement with all its parts, in upper case, without comments, literals and what only locks."""
    text = _PLACE.sub("p", query.statement(query.parameters).text)
    pieces = [
        text[each.start : each.end] if each.kind is Kind.CODE else " x " if each.kind is Kind.QUOTED else " "
        for each in tokens(text)
    ]
    return _LOCKS.sub(" ", "".join(pieces).upper())
