"""Which statements only read, by their text: the others are not sent to a replica."""

from __future__ import annotations

import re
from typing import Final

from nexgent_db.errors import ReadOnlyBlock
from nexgent_db.queries.binding import BoundQuery
from nexgent_db.queries.lexer import lexemes
from nexgent_db.queries.statement import Cardinality

__all__ = ["ensure_reads", "only_reads"]

_WRITING_WORDS: Final = {"insert", "update", "delete", "merge", "nextval", "setval"}
"""``update`` is that of FOR UPDATE and FOR NO KEY UPDATE, too."""
_VERSIONED_FUNCTION: Final = re.compile(r"\w+_v[0-9]+")
"""The functions of the schema that change rows have a version in their name."""


def ensure_reads(bound: BoundQuery) -> None:
    """Raises ReadOnlyBlock for a query that changes or locks rows, as far as its text shows it.

    What only a function's body does is refused by the server: every session that answers is read-only.
    """
    if not _reads(bound):
        raise ReadOnlyBlock(f"{bound.name}: it changes or locks rows, and replicas only read: call it on the database")


def _reads(bound: BoundQuery) -> bool:
    known = bound.only_reads
    if known is None:
        query = bound.query
        known = bound.only_reads = query.cardinality not in (Cardinality.EXEC, Cardinality.ROWS) and only_reads(
            query.statement(frozenset(query.parameters)).text
        )
    return known


def only_reads(sql: str) -> bool:
    """Does the text have no word that changes or locks rows, and no call of a versioned function?"""
    words = [lexeme.text for lexeme in lexemes(sql) if lexeme.kind == "word" or lexeme.text == "("]
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word in _WRITING_WORDS or (following == "(" and _VERSIONED_FUNCTION.fullmatch(word)):
            return False
        if (word, following) in (("for", "share"), ("for", "key")):
            return False
    return True
