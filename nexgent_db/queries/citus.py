"""What Citus refuses in SQL that PostgreSQL takes, judged by the text: migrations and queries avoid it.

Each refusal is one that a Citus of two workers made of a statement of ours. Bodies of functions are read as well: a
function that is not pushed down runs on the coordinator, and its statements are planned by Citus.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from nexgent_db.queries.lexer import Lexeme, lexemes

__all__ = ["Refusal", "codes", "refusals"]


class Refusal(NamedTuple):
    """What Citus refuses at ``offset``, the rule's name, and what to write instead."""

    offset: int
    rule: str
    text: str
    advice: str


_CLOCK_CALLS: Final = {
    "now",
    "clock_timestamp",
    "statement_timestamp",
    "transaction_timestamp",
    "nextval",
    "random",
    "gen_random_uuid",
    "new_id",
    "current_setting",
}
_CLOCK_WORDS: Final = {
    "current_timestamp",
    "current_date",
    "current_time",
    "localtimestamp",
    "localtime",
    "current_user",
    "session_user",
    "current_role",
    "user",
}

_ANY_ROW: Final = {"count", "to_json", "to_jsonb", "row_to_json", "json_agg", "jsonb_agg", "array_agg"}


def refusals(text: str) -> Iterator[Refusal]:
    """Everything in ``text`` that Citus refuses, statement by statement."""
    for start, end in codes(text):
        statement = list[Lexeme]()
        for piece in lexemes(text, start, end):
            if piece.text == ";":
                yield from _of(statement)
                statement = []
            else:
                statement.append(piece)
        yield from _of(statement)


def codes(text: str) -> Iterator[tuple[int, int]]:
    """The offsets of the text, and of each function's body in it."""
    todo = [(0, len(text))]
    while todo:
        start, end = todo.pop()
        yield start, end
        todo += [
            (piece.start + tag, piece.start + len(piece.text) - tag)
            for piece in lexemes(text, start, end)
            if piece.kind == "dollar" and (tag := piece.text.index("$", 1) + 1) < len(piece.text)
        ]


def _of(statement: Sequence[Lexeme]) -> Iterator[Refusal]:
    words = [piece.text for piece in statement]
    yield from _upsert(statement, words)
    yield from _subquery_in_values(statement, words)
    yield from _simple_case(statement, words)
    yield from _whole_row(statement, words)
    yield from _clock_in_case(statement, words)
    if words[:2] == ["alter", "table"]:
        yield from _mixed_alter(statement, words)
    if words[:1] == ["create"] and not {"function", "procedure"}.isdisjoint(words[1:4]):
        yield from _unpinned(statement, words)


def _upsert(statement: Sequence[Lexeme], words: Sequence[str]) -> Iterator[Refusal]:
    if (conflict := _find(words, ("on", "conflict"))) is None:
        return
    inserted = _find(words, ("insert", "into")) or 0
    if "select" in words[inserted:conflict]:
        for at in _unstable(statement, words, inserted, conflict):
            yield Refusal(
                statement[at].start,
                "session-function-in-upsert",
                f"INSERT … SELECT … ON CONFLICT with {words[at]}",
                "give the value as a parameter, or leave it to the column's default",
            )
    if (setting := _find(words, ("do", "update"), conflict)) is not None:
        end = next((at for at in range(setting, len(words)) if words[at] == "returning"), len(words))
        for at in _unstable(statement, words, setting, end):
            yield Refusal(
                statement[at].start,
                "clock-in-upsert",
                f"{words[at]} in DO UPDATE SET: only immutable functions may stand there",
                "insert the value, or leave it to the column's default, and write excluded.<column>",
            )


def _subquery_in_values(statement: Sequence[Lexeme], words: Sequence[str]) -> Iterator[Refusal]:
    inserted = _find(words, ("insert", "into"))
    if (
        inserted is None
        or (values := _find(words, ("values",), inserted)) is None
        or "select" in words[inserted:values]
    ):
        return
    depth = 0
    for at in range(values + 1, len(words)):
        depth += (words[at] == "(") - (words[at] == ")")
        if depth == 0 and words[at] not in (")", ","):
            return
        if words[at] == "select":
            yield Refusal(
                statement[at].start,
                "subquery-in-values",
                "a subquery in the VALUES of an INSERT",
                "read it first, or write INSERT … SELECT",
            )
            return


def _simple_case(statement: Sequence[Lexeme], words: Sequence[str]) -> Iterator[Refusal]:
    """``CASE x WHEN f()``: Citus sends the function's inlined body on as ``CASE x WHEN x = …``."""
    simple = False
    for at, word in enumerate(words[:-2]):
        if word == "case":
            simple = words[at + 1] != "when"
        elif simple and word == "when" and statement[at + 1].kind == "word" and words[at + 2] == "(":
            text = f"CASE … WHEN {words[at + 1]}(): it compares with a boolean where a node runs it"
            yield Refusal(statement[at].start, "function-in-simple-case", text, "write CASE WHEN … = the function")


def _clock_in_case(statement: Sequence[Lexeme], words: Sequence[str]) -> Iterator[Refusal]:
    """A clock inside of CASE or COALESCE, in an UPDATE or DELETE. So is ``timestamptz + interval``, whose types no text
    shows: it depends on the time zone."""
    changes = (at for at, word in enumerate(words) if word in ("update", "delete"))
    start = next((at for at in changes if not {"set", "from"}.isdisjoint(words[at + 1 : at + 5])), None)
    if start is None or "conflict" in words[:start]:
        return
    inside = list[str]()
    unstable = set(_unstable(statement, words, start, len(words)))
    for at in range(start, len(words)):
        if words[at] in ("case", "("):
            inside.append(words[at - 1] if words[at] == "(" else "case")
        elif words[at] in ("end", ")") and inside:
            inside.pop()
        if at in unstable and not {"case", "coalesce"}.isdisjoint(inside):
            text = f"{words[at]} in CASE or COALESCE of an UPDATE or DELETE: only immutable functions may stand there"
            advice = "take it from FROM (SELECT statement_timestamp() AS at) AS clock, or from a variable"
            yield Refusal(statement[at].start, "clock-in-case", text, advice)


def _whole_row(statement: Sequence[Lexeme], words: Sequence[str]) -> Iterator[Refusal]:
    """``f(t)`` with a table's row: on a node it has the type of a shard, which only a polymorphic function takes."""
    rows = {
        words[at + 3]
        for at in range(len(words) - 3)
        if words[at] in ("from", "join", "update") and words[at + 2] == "as" and statement[at + 1].kind == "word"
    }
    calls = list[str]()
    for at, word in enumerate(words):
        if word == "(":
            calls.append(words[at - 1] if at and statement[at - 1].kind == "word" else "")
        elif word == ")" and calls:
            calls.pop()
        elif word in rows and calls and calls[-1] not in ("", *_ANY_ROW) and _stands_alone(words, at):
            text = f"{calls[-1]}({word}): the row has the type of a shard where a node runs it"
            yield Refusal(statement[at].start, "whole-row-argument", text, "give the columns that it needs")


def _stands_alone(words: Sequence[str], at: int) -> bool:
    return words[at - 1] in ("(", ",") and words[at + 1] in (",", ")")


def _unstable(statement: Sequence[Lexeme], words: Sequence[str], start: int, end: int) -> Iterator[int]:
    for at in range(start, end):
        following = words[at + 1] if at + 1 < len(words) else ""
        before = words[at - 1] if at else ""
        if statement[at].kind != "word" or before in (".", "as"):
            continue
        if (words[at] in _CLOCK_CALLS and following == "(") or words[at] in _CLOCK_WORDS:
            yield at


def _mixed_alter(statement: Sequence[Lexeme], words: Sequence[str]) -> Iterator[Refusal]:
    """ADD CONSTRAINT beside another action of the same ALTER TABLE."""
    depth, starts = 0, list[int]()
    for at, word in enumerate(words):
        depth += (word == "(") - (word == ")")
        if depth == 0 and (word == "," or (not starts and word in ("add", "alter", "drop") and at > 1)):
            starts.append(at + (word == ","))
    adding = [at for at in starts if words[at : at + 2] == ["add", "constraint"]]
    if adding and len(starts) > 1:
        yield Refusal(
            statement[adding[0]].start,
            "mixed-alter-table",
            "ALTER TABLE with ADD CONSTRAINT beside another action",
            "write a statement of its own for each constraint",
        )


def _unpinned(statement: Sequence[Lexeme], words: Sequence[str]) -> Iterator[Refusal]:
    if "search_path" in words or _find(words, ("begin", "atomic")) is not None or "return" in words:
        return  # pinned; or a body of standard SQL, whose names are looked up when it is created
    yield Refusal(
        statement[0].start,
        "unpinned-function",
        "a function without a pinned search_path: a node of Citus calls it with another one than its caller's",
        "add SET search_path FROM CURRENT, behind a path that ends in pg_temp",
    )


def _find(words: Sequence[str], wanted: tuple[str, ...], start: int = 0) -> int | None:
    size = len(wanted)
    return next((at for at in range(start, len(words)) if tuple(words[at : at + size]) == wanted), None)
