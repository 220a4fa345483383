"""Reads PostgreSQL's ``pg_node_tree`` text, in which it stores parsed queries and expressions. Pure.

A node is a dict of its fields with its type under ``"node"``; a list is a list, a field without a value is None,
everything else a string. Field names differ a little between PostgreSQL 15 and 18; readers use ``get``.
"""

from __future__ import annotations

import re
from typing import Any, Final

__all__ = ["Node", "canonical", "parse", "walk"]

Node = dict[str, Any]

_TOKEN: Final = re.compile(r"[(){}]|(?:\\.|[^\s(){}\\])+", re.DOTALL)
_ALIASES: Final = {
    "CASE": "CASEEXPR",
    "WHEN": "CASEWHEN",
    "ARRAY": "ARRAYEXPR",
    "ROW": "ROWEXPR",
    "COALESCE": "COALESCEEXPR",
    "MINMAX": "MINMAXEXPR",
    "ROWCOMPARE": "ROWCOMPAREEXPR",
    "RTE": "RANGETBLENTRY",
}
"""PostgreSQL 15's names that later versions write differently."""
_NUMBER_LISTS: Final = frozenset("bio")
# The fields that differ between two mentions of the same expression.
_NOT_MEANING: Final = frozenset(
    {"location", "varnosyn", "varattnosyn", "varnullingrels", "varreturningtype", "inputcollid", "opcollid"}
)


def parse(text: str) -> Any:
    """The tree that ``text`` describes."""
    words = _TOKEN.findall(text)
    value, _ = _value(words, 0)
    return value


def _value(words: list[str], at: int) -> tuple[Any, int]:
    word = words[at]
    at += 1
    if word == "{":
        node: Node = {"node": _ALIASES.get(words[at], words[at])}
        at += 1
        while (label := words[at]) != "}":
            node[label[1:]], at = _value(words, at + 1)
        return node, at + 1
    if word == "(":
        items: list[Any] = []
        if words[at] in _NUMBER_LISTS:
            at += 1
        while words[at] != ")":
            item, at = _value(words, at)
            items.append(item)
        return items, at + 1
    if word == "<>":
        return None, at
    if at < len(words) and words[at] == "[":  # the bytes of a constant
        end = words.index("]", at)
        return f"{word} {' '.join(words[at : end + 1])}", end + 1
    return (re.sub(r"\\(.)", r"\1", word, flags=re.DOTALL) if "\\" in word else word), at


def walk(tree: Any) -> list[Node]:
    """Every node in the tree, the outermost first."""
    found: list[Node] = []
    open_ended = [tree]
    while open_ended:
        item = open_ended.pop()
        if isinstance(item, dict):
            found.append(item)
            open_ended += item.values()
        elif isinstance(item, list):
            open_ended += item
    return found


def canonical(expression: Any, relation: int) -> Any:
    """The expression in a form in which equal expressions compare equal; columns of ``relation`` lose its number."""
    if isinstance(expression, list):
        return tuple(canonical(item, relation) for item in expression)
    if not isinstance(expression, dict):
        return expression
    own = expression["node"] == "VAR" and expression["varno"] == str(relation)
    return tuple(
        (name, "own" if own and name == "varno" else canonical(value, relation))
        for name, value in expression.items()
        if name not in _NOT_MEANING
    )
