"""Finds where SQL changes or ignores case by the database's locale: in a Turkish one, lower('I') is 'ı'. Pure."""

from __future__ import annotations

from typing import Final

from nexgent_db.contract._catalog import ServerCatalog
from nexgent_db.contract._nodes import Node, walk
from nexgent_db.queries.lexer import lexemes

__all__ = ["COLLATION_RULE", "case_word", "uses_database_collation"]

COLLATION_RULE: Final = (
    "database collation",
    "a result that is the same in every database",
    "lower, upper, initcap, ILIKE and ~* follow the database's locale",
    'add COLLATE "C"',
)
"""The rule, what is declared, what the database says, and advice."""

_CASE_FUNCTIONS: Final = frozenset(("lower", "upper", "initcap", "casefold"))
_CASE_OPERATORS: Final = frozenset(("~~*", "!~~*", "~*", "!~*"))
_DEFAULT_COLLATION: Final = "100"


def uses_database_collation(tree: Node, catalog: ServerCatalog) -> bool:
    """Whether case is changed or ignored as the database's locale has it."""
    for node in walk(tree):
        if node.get("inputcollid") != _DEFAULT_COLLATION:
            continue
        if node["node"] == "FUNCEXPR":
            function = catalog.functions.get(int(node["funcid"]))
            if function is not None and function.builtin and function.name in _CASE_FUNCTIONS:
                return True
        elif (
            node["node"] in ("OPEXPR", "SCALARARRAYOPEXPR")
            and catalog.operators.get(int(node["opno"])) in _CASE_OPERATORS
        ):
            return True
    return False


def case_word(text: str) -> int:
    """The offset of the first word that changes or ignores case; 0 without one."""
    return next((each.start for each in lexemes(text) if each.text in (*_CASE_FUNCTIONS, "ilike")), 0)
