"""The queries to check: each with its text in the file, its method, and its ``-- check:`` comments."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final, get_type_hints

from nexgent_db.contract._declared import Declared, declared, fields_of
from nexgent_db.contract._problem import shown_path
from nexgent_db.models.base import Input
from nexgent_db.queries.binding import BoundQuery, method_place
from nexgent_db.queries.lexer import Kind, Token, tokens
from nexgent_db.queries.sqlfile import load_directory
from nexgent_db.queries.statement import Query, Statement
from nexgent_db.resources import data_dir

__all__ = ["EXHAUSTIVE", "Override", "Source", "all_sources", "bound_queries", "sources_of", "without_method"]

EXHAUSTIVE: Final = 6
"""Up to this number of optional groups, every variant is checked; above it, every choice of none, one, two or all."""


@dataclass(frozen=True, slots=True)
class Override:
    """A comment ``-- check: <rule> <subject>: <reason>``."""

    rule: str
    subject: str
    reason: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Source:
    """One query; ``bound`` is None when no repository calls it."""

    query: Query
    bound: BoundQuery | None
    parameters: Mapping[str, Declared]
    overrides: tuple[Override, ...]
    bad_overrides: tuple[tuple[int, int, str], ...]
    text: Block = field(repr=False)
    own: bool = False
    """Whether it is a service's."""

    @property
    def python(self) -> str | None:
        """``file:line`` of the method."""
        if self.bound is None:
            return None
        path, _, line = method_place(self.bound.method).rpartition(":")
        return f"{shown_path(path)}:{line}"

    @property
    def sql(self) -> str:
        """The query's text in the file, from its name line to its semicolon."""
        return self.text.text

    def variants(self) -> Iterator[Statement]:
        """The statements to check."""
        groups = self.query.optional
        if len(groups) <= EXHAUSTIVE:
            yield from self.query.variants()
            return
        chosen = [(), *((one,) for one in groups), *_pairs(groups), groups]
        statements = (self.query.statement(self.query.required.union(*choice)) for choice in chosen)
        yield from {id(statement): statement for statement in statements}.values()

    def may_be_null(self, parameter: str) -> bool:
        """Whether a parameter of a statement can be NULL."""
        found = self.parameters.get(parameter)
        if found is None:
            return True
        optional = parameter not in self.query.required
        return found.nullable and not (optional and parameter not in self._not_given_by_value)

    @property
    def _not_given_by_value(self) -> frozenset[str]:
        """The parameters that only NOT_GIVEN leaves out: None is one of their values."""
        if self.bound is None:
            return frozenset()
        hints = inspect.signature(self.bound.method).parameters
        return frozenset(name for name, item in hints.items() if item.default is not None)


def _pairs(groups: tuple[frozenset[str], ...]) -> Iterator[tuple[frozenset[str], frozenset[str]]]:
    for place, one in enumerate(groups):
        for other in groups[place + 1 :]:
            yield one, other


def all_sources(repository: type, package: str = "nexgent_db.aio") -> list[Source]:
    """Every query of ``sql/``: those of the package's repositories, and those that no method calls.

    ``repository`` is the base class of the repositories; this imports the modules of the package to find them. Those of
    a service, over its own files, are left out.
    """
    module = importlib.import_module(package)
    for found in pkgutil.walk_packages(module.__path__, f"{package}."):
        importlib.import_module(found.name)
    files = load_directory(data_dir("sql"))
    paths = {file.path for file in files.values()}
    bound = [each for each in bound_queries(repository) if each.query.path in paths]
    called = sources_of(bound)
    uncalled = paths - {each.query.path for each in bound}
    rest = [query for file in files.values() if file.path in uncalled for query in file.queries.values()]
    return sorted([*called, *map(without_method, rest)], key=lambda each: (each.query.file, each.query.line))


def bound_queries(repository: type) -> list[BoundQuery]:
    """The queries of a repository class and of all classes below it."""
    found: list[BoundQuery] = list(vars(repository).get("queries", {}).values())
    below: list[type] = repository.__subclasses__()
    for each in below:
        found += bound_queries(each)
    return found


def sources_of(queries: Iterable[BoundQuery]) -> list[Source]:
    """Bound queries, ready to be checked."""
    return [_source(bound.query, bound, _parameters(bound)) for bound in queries]


def without_method(query: Query, parameters: Mapping[str, Declared] = MappingProxyType({})) -> Source:
    """A query that no method calls: it declares only these parameters, and no rows."""
    return _source(query, None, parameters)


def _parameters(bound: BoundQuery) -> dict[str, Declared]:
    hints = get_type_hints(bound.method, include_extras=True)
    found: dict[str, Declared] = {}
    for name in list(inspect.signature(bound.method).parameters)[1:]:
        annotation = hints[name]
        if inspect.isclass(annotation) and issubclass(annotation, Input):
            found |= fields_of(annotation)
        else:
            found[name] = declared(annotation)
    return found


# --- The text in the file -------------------------------------------------------------------------

RULES: Final = {
    "one": False,
    "order": False,
    "limit": False,
    "not null": True,
    "nullable": True,
    "numeric": True,
    "values": True,
    "filled": True,
    "rows": False,
    "stored rows": False,
    "seq scan": True,
}
"""The rules that a ``-- check:`` comment may excuse, and whether it names a column or table."""
_OVERRIDE: Final = re.compile(r"--\s*check\s*:", re.IGNORECASE)
_OVERRIDE_REST: Final = re.compile(rf"-- check: (?P<rule>{'|'.join(RULES)})(?: (?P<subject>[\w.]+))?: (?P<reason>\S.*)")
_STAR: Final = re.compile(r"(?:\b(?:SELECT|RETURNING)(?:\s+(?:ALL|DISTINCT))?\s+|,\s*|[\w\"]\.)(\*)", re.IGNORECASE)
_WORD: Final = re.compile(r"\w+|[(),]")


@dataclass(frozen=True, slots=True)
class Block:
    """The text of one query in its file; ``masked`` has blanks for comments and quotes, ``start`` is its offset."""

    start: int
    text: str
    masked: str
    lines: tuple[int, ...]

    def place(self, offset: int) -> tuple[int, int]:
        """The line and column in the file of an offset in ``masked``."""
        offset += self.start
        line = sum(start <= offset for start in self.lines)
        return line, offset - self.lines[line - 1] + 1

    def stars(self) -> Iterator[tuple[int, int]]:
        """The places of ``*``."""
        for found in _STAR.finditer(self.masked):
            yield self.place(found.start(1))

    def items(self) -> list[tuple[int, int]]:
        """The places of the row's items: those of the outermost RETURNING, else of the outermost SELECT."""
        depth = 0
        begins: dict[str, int] = {}
        words: list[tuple[str, int, int]] = []
        for found in _WORD.finditer(self.masked):
            word = found[0].upper()
            depth += (word == "(") - (word == ")")
            words.append((word, depth, found.start()))
            if depth == 0 and word in ("SELECT", "RETURNING"):
                begins.setdefault(word, len(words))
        first = begins.get("RETURNING", begins.get("SELECT"))
        if first is None:
            return []
        places: list[tuple[int, int]] = []
        expected = True
        for word, level, start in words[first:]:
            if level == 0 and word in ("FROM", "WHERE", "ORDER", "LIMIT", "UNION", "GROUP"):
                break
            if expected and word not in ("DISTINCT", "ALL"):
                begin = start
                while begin and self.masked[begin - 1] in "-+:$'\"{[":
                    begin -= 1
                places.append(self.place(begin))
                expected = False
            if level == 0 and word == ",":
                expected = True
        return places


@cache
def _file(path: Path) -> tuple[str, tuple[int, ...], tuple[Token, ...]]:
    text = path.read_bytes().decode().removeprefix("\ufeff").replace("\r\n", "\n")
    lines = (0, *(found.end() for found in re.finditer("\n", text)))
    return text, lines, tuple(tokens(text))


def _source(query: Query, bound: BoundQuery | None, parameters: Mapping[str, Declared]) -> Source:
    text, lines, found = _file(query.path)
    start = lines[query.line - 1]
    following = re.compile(r"^-- name: ", re.MULTILINE).search(text, start + 1)
    end = following.start() if following else len(text)
    masked = list(text[start:end])
    last = end
    overrides: list[Override] = []
    bad: list[tuple[int, int, str]] = []
    for token in found:
        if not start <= token.start < end or token.kind in (Kind.CODE, Kind.PARAMETER):
            continue
        if token.kind is Kind.SEMICOLON:
            last = token.end
            continue
        filler = "'" if token.kind is Kind.QUOTED else " "
        content = text[token.start : token.end]
        if token.kind is not Kind.QUOTED or not content.startswith('"'):
            masked[token.start - start : token.end - start] = [each if each == "\n" else filler for each in content]
        if token.kind is Kind.LINE_COMMENT and _OVERRIDE.match(content):
            line = sum(each <= token.start for each in lines)
            place = line, token.start - lines[line - 1] + 1
            parts = _OVERRIDE_REST.fullmatch(content.rstrip())
            if parts is None or (parts["subject"] is None and RULES[parts["rule"]]):
                bad.append((*place, content))
            else:
                overrides.append(Override(parts["rule"], parts["subject"] or "", parts["reason"], *place))
    return Source(
        query,
        bound,
        parameters,
        tuple(overrides),
        tuple(bad),
        Block(start, text[start:last].rstrip(), "".join(masked), lines),
    )
