"""The tables that a statement reads and writes, by the functions that it calls as well."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, Final

import psycopg

from nexgent_db.contract._catalog import ServerCatalog
from nexgent_db.contract._functions import SchemaFunction, read_functions, subject_of
from nexgent_db.contract._nodes import Node, parse, walk
from nexgent_db.contract._plpgsql_proof import Proof
from nexgent_db.contract._plpgsql_server import PlpgsqlServer
from nexgent_db.contract._scope import RTE_RELATION, SELECT

__all__ = ["ReadAndWritten", "Tables"]

_COMPOSITE: Final = "c"  # the kind of ON CONFLICT's row "excluded" among the tables

ReadAndWritten = tuple[frozenset[str], frozenset[str]]
"""The tables and views that are read, and the tables whose rows are inserted, updated or deleted."""


class Tables:
    """Finds tables in parse trees. Each function is read once, when a statement calls it; triggers are not followed."""

    def __init__(self, connection: psycopg.Connection[Any], catalog: ServerCatalog) -> None:
        self._connection = connection
        self._catalog = catalog
        self._known: dict[int, ReadAndWritten] = {}

    def of(self, tree: Node) -> ReadAndWritten:
        """The tables of a statement and of the functions that it calls."""
        reads: set[str] = set()
        writes: set[str] = set()
        for node in walk(tree):
            if node["node"] == "QUERY":
                self._add_own(node, reads, writes)
            elif node["node"] == "FUNCEXPR" and (function := self._functions.get(int(node["funcid"]))):
                called = self._of_function(function)
                reads |= called[0]
                writes |= called[1]
        return frozenset(reads), frozenset(writes)

    def written_by(self, tree: Node) -> frozenset[str]:
        """The tables that the statement itself writes, not the functions that it calls."""
        writes = set[str]()
        for node in walk(tree):
            if node["node"] == "QUERY":
                self._add_own(node, set(), writes)
        return frozenset(writes)

    def _add_own(self, query: Node, reads: set[str], writes: set[str]) -> None:
        target = int(query.get("resultRelation") or 0) if query["commandType"] != SELECT else 0
        for number, entry in enumerate(query.get("rtable") or [], 1):
            if entry["rtekind"] == RTE_RELATION and entry["relkind"] != _COMPOSITE:
                (writes if number == target else reads).add(self._catalog.tables[int(entry["relid"])].name)

    @cached_property
    def _functions(self) -> dict[int, SchemaFunction]:
        return {function.oid: function for function in read_functions(self._connection)}

    @cached_property
    def _server(self) -> PlpgsqlServer:
        return PlpgsqlServer(self._connection, self._catalog)

    def _of_function(self, function: SchemaFunction) -> ReadAndWritten:
        if function.oid not in self._known:
            self._known[function.oid] = frozenset(), frozenset()  # of a call of itself
            found = [self.of(tree) for tree in self._trees(function)]
            self._known[function.oid] = (
                frozenset[str]().union(*(reads for reads, _ in found)),
                frozenset[str]().union(*(writes for _, writes in found)),
            )
        return self._known[function.oid]

    def _trees(self, function: SchemaFunction) -> Iterator[Node]:
        if function.parsed_body is not None:
            yield from (each for each in walk(parse(function.parsed_body)) if each["node"] == "QUERY")
        elif function.language == "plpgsql":
            self._server.set_path(function.path)
            proof = Proof(subject_of(function, self._server, self._catalog), self._server, self._catalog, _ignore)
            proof.run()
            self._server.set_path(None)
            yield from proof.trees


def _ignore(rule: str, offset: int, declared: str, actual: str, advice: str) -> None:
    """``check_functions`` reports what is wrong."""
