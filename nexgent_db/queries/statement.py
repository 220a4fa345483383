"""One named query, and its variants: the statements with and without its optional lines.

What is sent is described in :mod:`nexgent_db.queries.sqlfile`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from nexgent_db.errors import QueryBindingError

__all__ = ["Cardinality", "Query", "QueryLine", "Statement"]


class Cardinality(StrEnum):
    """How many rows a query promises, and so what its method returns."""

    ONE = "one"  # exactly one row
    OPTIONAL = "optional"  # one row or none
    MANY = "many"  # any number of rows, all read at once
    ROWS = "rows"  # no rows; the number of rows affected
    EXEC = "exec"  # nothing
    STREAM = "stream"  # any number of rows, read as they are needed


@dataclass(frozen=True, slots=True)
class Statement:
    """One variant of a query: the text to send, and the names of ``$1 … $n`` in order."""

    text: str
    parameters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class QueryLine:
    """One line of a block: text at even places of ``pieces``, parameter names at odd ones."""

    pieces: tuple[str, ...]
    group: frozenset[str] | None  # what must be given for the line to stay; None for a required line


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One named query; ``line`` is the line of its ``-- name:`` in ``path``.

    ``parameters`` are all of them, in order of first appearance. ``optional`` has one set for each group of
    ``-- if given`` lines with the same parameters: the lines stay when the whole set is given.
    """

    file: str
    name: str
    cardinality: Cardinality
    doc: str
    path: Path
    line: int
    parameters: tuple[str, ...]
    required: frozenset[str]
    optional: tuple[frozenset[str], ...]
    _lines: tuple[QueryLine, ...] = field(repr=False)
    _places: Mapping[str, tuple[int, int]] = field(repr=False, compare=False)
    _statements: dict[frozenset[str], Statement] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def qualified_name(self) -> str:
        """``positions.find_by_id``: the file's stem and the query's name."""
        return f"{self.file}.{self.name}"

    def statement(self, given: Collection[str]) -> Statement:
        """The variant for these parameters; the same object for every set that selects the same lines.

        ``given`` must hold all of ``required``. A parameter of a group that is not complete is accepted and has
        no place in the statement. Raises QueryBindingError for an unknown name, then for a missing one.
        """
        key = frozenset(given)
        found = self._statements.get(key)
        return self._select(key) if found is None else found

    def variants(self) -> Iterator[Statement]:
        """Every distinct statement this query can be: the one without optional lines first, the whole last."""
        for chosen in range(1 << len(self.optional)):
            given = self.required.union(*(group for bit, group in enumerate(self.optional) if chosen >> bit & 1))
            # {a} and {b} given complete {a, b} as well: that choice comes up under a number of its own.
            if chosen == sum(1 << bit for bit, group in enumerate(self.optional) if group <= given):
                yield self.statement(given)

    def location(self, position: int, statement: Statement) -> tuple[int, int]:
        """Line and column in the file of a 1-based character position in ``statement.text``.

        That is what PostgreSQL reports (``diag.statement_position``). A position inside ``$n`` is its parameter's
        first character; one past the end is past the end of the last line.
        """
        before = statement.text[: max(position - 1, 0)]
        index = before.count("\n")
        column = len(before) - (before.rfind("\n") + 1)  # from 0, in the produced line
        if index == 0:
            column = max(column - len(self.file) - 1, 0)
            return self.line, column + 1
        numbers = {name: len(f"${number}") for number, name in enumerate(statement.parameters, 1)}
        original = 0
        for place, piece in enumerate(self._lines[index].pieces):
            is_parameter = place % 2 == 1
            width = numbers.get(piece, 0) if is_parameter else len(piece)
            if column < width:
                return self.line + index, original + (0 if is_parameter else column) + 1
            column -= width
            original += len(piece) + is_parameter
        return self.line + index, original + 1

    def parameter_location(self, parameter: str) -> tuple[int, int]:
        """Line and column of the parameter's first appearance. Raises QueryBindingError for an unknown name."""
        try:
            return self._places[parameter]
        except KeyError:
            raise self._unknown(parameter) from None

    def _select(self, given: frozenset[str]) -> Statement:
        for name in sorted(given.difference(self.parameters)):
            raise self._unknown(name)
        if missing := sorted(self.required - given):
            raise QueryBindingError(f"{self._origin()} needs {_colons(missing)}")
        canonical = self.required.union(*(group for group in self.optional if group <= given))
        statement = self._statements.get(canonical)
        if statement is None:
            statement = self._statements.setdefault(canonical, self._produce(canonical))
        return self._statements.setdefault(given, statement)

    def _produce(self, given: frozenset[str]) -> Statement:
        numbers: dict[str, str] = {}
        produced = [f"-- name: {self.qualified_name} :{self.cardinality}"]
        for line in self._lines[1:]:
            if line.group is not None and not line.group <= given:
                produced.append("")
                continue
            pieces = list(line.pieces)
            for place in range(1, len(pieces), 2):
                pieces[place] = numbers.setdefault(pieces[place], f"${len(numbers) + 1}")
            produced.append("".join(pieces))
        return Statement("\n".join(produced).rstrip("\n"), tuple(numbers))

    def _unknown(self, name: str) -> QueryBindingError:
        return QueryBindingError(f"{self._origin()} has no parameter :{name}; it has {_colons(self.parameters)}")

    def _origin(self) -> str:
        return f"{self.path}:{self.line}: {self.qualified_name}"


def _colons(names: Collection[str]) -> str:
    return ", ".join(f":{name}" for name in names) or "none"
