"""Parses the text of a file of named queries; :mod:`nexgent_db.queries.sqlfile` describes the form."""

from __future__ import annotations

import difflib
import keyword
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, NoReturn

from nexgent_db.errors import SqlFileError
from nexgent_db.queries.lexer import Kind, LexError, Token, tokens
from nexgent_db.queries.statement import Cardinality, Query, QueryLine

__all__ = ["MAX_OPTIONAL_GROUPS", "NAME", "parse"]

MAX_OPTIONAL_GROUPS: Final = 16
"""More would be 65,536 variants of one query, each to be prepared and checked."""


def parse(path: Path, text: str) -> tuple[str, dict[str, Query]]:
    """The header comment of a file without its comment marks, and the queries by name, in the order of the file.

    Raises SqlFileError at the first mistake.
    """
    return _Parser(path, text).parse()


# --- Name lines and other comments that mean something -------------------------------------------

_COMMENTS: Final = (Kind.LINE_COMMENT, Kind.BLOCK_COMMENT)
_LITERALS: Final = (Kind.QUOTED, Kind.BLOCK_COMMENT)
_EXAMPLE: Final = "-- name: find_by_id :optional"
_CARDINALITIES: Final = ", ".join(f":{cardinality}" for cardinality in Cardinality)
NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
_NAME_PREFIX: Final = "-- name: "
_NAME_LINE_REST: Final = re.compile(r"([^\s:]*)(\s*)(:\w*)?\s*")
# What was surely meant as a name line: the mark in any spelling, or two words and a cardinality.
_LIKE_NAME_MARK: Final = re.compile(r"--[\s-]*name(?:\s*:|\s+\w+\s*:\w+\s*\Z)", re.IGNORECASE)
_LIKE_NAME_LINE: Final = re.compile(
    rf"--[\s-]*\w+(?:\s*:\s*|\s+)\w+\s+:(?:{'|'.join(Cardinality)})\s*\Z", re.IGNORECASE
)
_IF_GIVEN: Final = "-- if given"
_LIKE_IF_GIVEN: Final = re.compile(r"if[\W_]*given", re.IGNORECASE)


def _like_if_given(comment: str, *, trailing: bool) -> bool:
    """Whether a comment that is not quite ``-- if given`` was meant as one.

    Alone on its line a comment is prose unless it says nothing else; behind code, a mention or a likely typing
    mistake is enough, because a filter that is silently always on, or a parameter silently required, costs more.
    """
    letters = re.sub(r"[\W_]+", "", comment).lower()
    if not trailing:
        return letters == "ifgiven"
    if _LIKE_IF_GIVEN.search(comment):
        return True
    return len(letters) <= 10 and difflib.SequenceMatcher(None, "ifgiven", letters).ratio() > 0.8


@dataclass(slots=True)
class _Block:
    """A block while it is read; offsets count characters of the file from 0."""

    name: str
    cardinality: Cardinality
    start: int  # of the name line
    first: int = -1  # the first character of the statement
    last: int = -1  # behind its last character
    semicolon: int = -1
    comments: list[Token] = field(default_factory=list)
    parameters: list[Token] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)  # tokens of several lines, and continued strings


class _Parser:
    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.text = text
        self.starts = [0, *(found.end() for found in re.finditer("\n", text))]

    def line_of(self, offset: int) -> int:
        return bisect_right(self.starts, offset)

    def place(self, offset: int) -> tuple[int, int]:
        line = self.line_of(offset)
        return line, offset - self.starts[line - 1] + 1

    def bounds(self, line: int) -> tuple[int, int]:
        """Where a line starts and ends, its line feed left out."""
        return self.starts[line - 1], self.starts[line] - 1 if line < len(self.starts) else len(self.text)

    def fail(self, offset: int, problem: str) -> NoReturn:
        raise SqlFileError(self.path, *self.place(offset), problem)

    def parse(self) -> tuple[str, dict[str, Query]]:
        queries: dict[str, Query] = {}
        header: list[Token] = []
        block: _Block | None = None
        try:
            for token in tokens(self.text):
                if token.kind is Kind.LINE_COMMENT and (started := self.name_line(token)):
                    self.finish(block, queries)
                    block = started
                    if block.name in queries:
                        first = queries[block.name].line
                        self.fail(token.start + len(_NAME_PREFIX), f"{block.name} is already in line {first}")
                elif block is not None:
                    self.add(block, token)
                elif token.kind in _COMMENTS:
                    header.append(token)
                elif code := self.code(token):
                    self.fail(code[0], f"SQL before the first name line ({_EXAMPLE})")
        except LexError as error:
            self.fail(error.offset, error.problem)
        self.finish(block, queries)
        if not queries:
            raise SqlFileError(self.path, 1, 1, f"no name line ({_EXAMPLE}) in this file")
        return self.prose(header), queries

    def name_line(self, token: Token) -> _Block | None:
        comment = self.text[token.start : token.end]
        if ":" not in comment:
            return None
        start, _ = self.bounds(self.line_of(token.start))
        own_line = not self.text[start : token.start].strip()
        if not (_LIKE_NAME_LINE.match(comment) or (own_line and _LIKE_NAME_MARK.match(comment))):
            return None
        if token.start != start:
            self.fail(token.start, "a name line must start in column 1 of a line of its own")
        if not comment.startswith(_NAME_PREFIX):
            self.fail(token.start, f"a name line is written {_EXAMPLE}")
        found = _NAME_LINE_REST.match(comment, len(_NAME_PREFIX))
        assert found is not None
        name, gap, cardinality = found.groups()
        if not NAME.fullmatch(name):
            self.fail(token.start + found.start(1), "a query's name is lower snake case")
        if keyword.iskeyword(name):
            self.fail(token.start + found.start(1), f"{name} is a Python keyword and cannot name a method")
        if not cardinality:
            if found.end() < len(comment):
                self.fail(token.start + found.end(), f"expected a cardinality: {_CARDINALITIES}")
            self.fail(token.start + found.end(1), f"the cardinality is missing: {_CARDINALITIES}")
        if not gap:
            self.fail(token.start + found.start(3), "a space is missing before the cardinality")
        if cardinality[1:] not in set(Cardinality):
            self.fail(token.start + found.start(3), f"unknown cardinality {cardinality}: {_CARDINALITIES}")
        if found.end() < len(comment):
            self.fail(token.start + found.end(), "nothing may follow the cardinality; the description goes below")
        return _Block(name, Cardinality(cardinality[1:]), token.start)

    def code(self, token: Token) -> tuple[int, int] | None:
        """Where a token's own text starts and ends; None for a comment or white space."""
        if token.kind is Kind.CODE:
            text = self.text[token.start : token.end]
            behind = text.lstrip()
            start, end = token.end - len(behind), token.start + len(text.rstrip())
            return (start, end) if behind else None
        if token.kind in _COMMENTS:
            return None
        return token.start, token.end

    def add(self, block: _Block, token: Token) -> None:
        kind = token.kind
        if kind is Kind.LINE_COMMENT:
            block.comments.append(token)
            return
        if kind in _LITERALS and "\n" in self.text[token.opened : token.end]:
            block.spans.append((token.opened, token.end))
            if kind is Kind.QUOTED:
                self.check_quoted(token)
        elif kind is Kind.BLOCK_COMMENT and _like_if_given(self.text[token.start : token.end], trailing=False):
            self.fail(token.start, f"write {_IF_GIVEN} at the end of the line")
        if (code := self.code(token)) is None:
            return
        if block.semicolon >= 0:
            line = self.line_of(block.semicolon)
            self.fail(code[0], f"a block holds one statement, and {block.name}'s ends in line {line}")
        if kind is Kind.SEMICOLON:
            if block.first < 0:
                self.fail(token.start, f"{block.name} has no statement")
            block.semicolon = token.start
            return
        if kind is Kind.PARAMETER:
            name = self.text[token.start + 1 : token.end]
            if keyword.iskeyword(name):
                self.fail(token.start, f":{name} is a Python keyword and cannot name an argument")
            block.parameters.append(token)
        if block.first < 0:
            block.first = code[0]
        block.last = code[1]

    def check_quoted(self, token: Token) -> None:
        """An unclosed quote runs to the next one, often in the next block: the error points at its start."""
        inside = self.text.find(f"\n{_NAME_PREFIX}", token.start, token.end)
        if inside >= 0:
            line = self.line_of(inside + 1)
            self.fail(token.start, f"unterminated quote: it runs over the name line in line {line}")

    def finish(self, block: _Block | None, queries: dict[str, Query]) -> None:
        """Turns a block that has ended into a query."""
        if block is None:
            return
        if block.first < 0:
            self.fail(block.start, f"{block.name} has no statement")
        first_line, last_line = self.line_of(block.start), self.line_of(block.last)
        by_line: dict[int, list[Token]] = {}
        for token in block.parameters:
            by_line.setdefault(self.line_of(token.start), []).append(token)
        groups = self.optional_lines(block, by_line)
        places: dict[str, tuple[int, int]] = {}
        required: dict[str, int] = {}  # with the line of the first appearance
        for line, found in by_line.items():
            for token in found:
                name = self.text[token.start + 1 : token.end]
                places.setdefault(name, self.place(token.start))
                if line not in groups:
                    required.setdefault(name, line)
        for line in groups:
            for token in by_line[line]:
                name = self.text[token.start + 1 : token.end]
                if name in required:
                    self.fail(token.start, f":{name} is optional in this line, but line {required[name]} requires it")
        doc_lines = {self.line_of(token.start): token for token in block.comments if token.start < block.first}
        queries[block.name] = Query(
            file=self.path.stem,
            name=block.name,
            cardinality=block.cardinality,
            doc=self.prose(self.leading(doc_lines, first_line + 1)),
            path=self.path,
            line=first_line,
            parameters=tuple(places),
            required=frozenset(required),
            optional=tuple(dict.fromkeys(groups.values())),
            _lines=tuple(
                QueryLine(
                    self.pieces(line, by_line.get(line, ()), doc_lines.get(line), block.last),
                    groups.get(line),
                )
                for line in range(first_line, last_line + 1)
            ),
            _places=MappingProxyType(places),
        )

    def optional_lines(self, block: _Block, by_line: Mapping[int, Sequence[Token]]) -> dict[int, frozenset[str]]:
        """The lines that end in ``-- if given``, each with the parameters that must be given."""
        groups: dict[int, frozenset[str]] = {}
        for token in block.comments:
            comment = self.text[token.start : token.end].rstrip()
            line = self.line_of(token.start)
            start, _ = self.bounds(line)
            trailing = bool(self.text[start : token.start].strip())
            if comment != _IF_GIVEN:
                if _like_if_given(comment, trailing=trailing):
                    self.fail(token.start, f"if this line is optional, write exactly {_IF_GIVEN}")
                continue
            names = frozenset(self.text[found.start + 1 : found.end] for found in by_line.get(line, ()))
            if not names:
                self.fail(token.start, f"{_IF_GIVEN}: the line has no parameter that could be given")
            self.check_whole(block, line, token)
            groups[line] = names
            if len(set(groups.values())) > MAX_OPTIONAL_GROUPS:
                self.fail(token.start, f"more than {MAX_OPTIONAL_GROUPS} groups of optional lines in {block.name}")
        # Where the first line stays, so does the statement; only otherwise is it worth a second look.
        if self.line_of(block.first) in groups and self.code_lines(block) <= groups.keys():
            self.fail(block.start, f"every line of {block.name} is optional")
        return groups

    def check_whole(self, block: _Block, line: int, comment: Token) -> None:
        """A line can only be left out when no literal, comment or bracket reaches over its ends."""
        start, _ = self.bounds(line)
        for opened, closed in block.spans:
            if opened < start < closed:
                where = self.line_of(opened)
                self.fail(start, f"an optional line cannot begin inside a quote or comment (from line {where})")
            if opened < comment.start < closed:
                self.fail(opened, "an optional line cannot end inside a string that the next line continues")
        brackets: list[tuple[str, int]] = []
        for token in tokens(self.text[start : comment.start]):
            if token.kind is not Kind.CODE:
                continue
            for offset in range(start + token.start, start + token.end):
                character = self.text[offset]
                if character in "([":
                    brackets.append(("])"[character == "("], offset))
                elif character in ")]" and (not brackets or brackets.pop()[0] != character):
                    self.fail(offset, f"an optional line must open the {character} that it closes")
        if brackets:
            self.fail(brackets[-1][1], f"an optional line must close the {self.text[brackets[-1][1]]} that it opens")

    def code_lines(self, block: _Block) -> set[int]:
        lines: set[int] = set()
        for token in tokens(self.text[block.first : block.last]):
            for found in re.finditer(r"[^\n]*\S", self.text[block.first + token.start : block.first + token.end]):
                if token.kind not in _COMMENTS:
                    lines.add(self.line_of(block.first + token.start + found.start()))
        return lines

    def pieces(self, line: int, parameters: Sequence[Token], comment: Token | None, last: int) -> tuple[str, ...]:
        start, end = self.bounds(line)
        end = min(end, last)
        if comment is not None:  # a comment before the statement
            return (self.text[start : comment.start].rstrip(),)
        pieces: list[str] = []
        for token in parameters:
            pieces += self.text[start : token.start], self.text[token.start + 1 : token.end]
            start = token.end
        return (*pieces, self.text[start:end])

    def leading(self, comments: Mapping[int, Token], line: int) -> Iterator[Token]:
        """The comments of consecutive lines that hold nothing else, from ``line`` on."""
        while (token := comments.get(line)) and not self.text[self.bounds(line)[0] : token.start].strip():
            yield token
            line += 1

    def prose(self, comments: Iterator[Token] | Sequence[Token]) -> str:
        """What comments say, without their marks; a blank line in the file or the comment parts paragraphs."""
        lines: list[str] = []
        after = 0
        for token in comments:
            line = self.line_of(token.start)
            if after and line > after + 1:
                lines.append("")
            text = self.text[token.start : token.end]
            if token.kind is Kind.LINE_COMMENT:
                lines.append(text.lstrip("-").removeprefix(" ").rstrip())
            else:
                lines += (inside.strip() for inside in text[2:-2].strip().split("\n"))
            after = self.line_of(token.end)
        return "\n".join(lines).strip()
