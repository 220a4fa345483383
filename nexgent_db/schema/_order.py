"""Says which types and functions can be created only once the tables are there. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nexgent_db.queries.lexer import lexemes
from nexgent_db.schema.catalog import Catalog, Trigger

__all__ = ["function_of", "late_functions", "late_types"]


def late_types(catalog: Catalog) -> list[str]:
    """The composite types that name tables, or other such types, in an order in which they can be created."""
    found: list[str] = []
    names = set(catalog.tables)
    waiting = {name: set(_words(definition)) - {name} for name, definition in catalog.types.items()}
    while ready := [name for name, words in waiting.items() if words & names]:
        for name in ready:
            del waiting[name]
        names.update(ready)
        found += ready
    return _after_their_parts(catalog, found)


def _after_their_parts(catalog: Catalog, found: list[str]) -> list[str]:
    needs = {name: set(_words(catalog.types[name])) & set(found) - {name} for name in found}
    done: list[str] = []
    while needs:
        ready = [name for name, parts in needs.items() if parts <= set(done)] or list(needs)
        for name in ready:
            del needs[name]
        done += ready
    return done


def late_functions(catalog: Catalog) -> set[str]:
    """The functions for which PostgreSQL looks up a table, a late type or another late function at creation.

    It looks up what a signature names, what PL/pgSQL declares, and the whole body of a function in SQL.
    """
    names = {*catalog.tables, *late_types(catalog)}
    found: set[str] = set()
    waiting = {name: set(_looked_up(definition)) - {_name(name)} for name, definition in catalog.functions.items()}
    while ready := [name for name, words in waiting.items() if words & names]:
        for name in ready:
            del waiting[name]
        names.update(map(_name, ready))
        found.update(ready)
    return found


def function_of(trigger: Trigger) -> str:
    """The signature of the function that the trigger calls."""
    return trigger.definition.rpartition(" EXECUTE FUNCTION ")[2].partition("(")[0] + "()"


def _name(signature: str) -> str:
    return signature.partition("(")[0]


def _looked_up(definition: str) -> Iterator[str]:
    is_plpgsql = "\n LANGUAGE plpgsql" in definition
    for lexeme in lexemes(definition):
        if lexeme.kind != "dollar":
            yield lexeme.text
            continue
        body = lexeme.text.split("$", 2)[2].rpartition("$")[0].rpartition("$")[0]
        yield from _declared(_words(body)) if is_plpgsql else _words(body)


def _declared(words: Iterable[str]) -> Iterator[str]:
    declares = False
    for word in words:
        declares = word == "declare" or (declares and word != "begin")
        if declares:
            yield word


def _words(text: str) -> Iterator[str]:
    return (lexeme.text for lexeme in lexemes(text))
