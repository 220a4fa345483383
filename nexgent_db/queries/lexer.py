"""The project's one lexer for SQL: splits text as PostgreSQL 15-18 splits it.

:func:`tokens` reads named queries and refuses what they may not contain. :func:`tokens_of_any` reads any SQL and
refuses nothing. :func:`lexemes` and :func:`statements` read scripts, word by word and statement by statement.

Pure, and one pass: runs of ordinary code come out as one token, so a file of a thousand lines takes some
milliseconds. Offsets count characters from 0. The rules follow PostgreSQL's ``scan.l``, with
``standard_conforming_strings`` on (the default since 9.1): a backslash escapes only in ``E'…'``.

Where a colon stands in a named query:

- ``::`` is a cast and ``:=`` an assignment; a colon before a digit, a space, a quote or a bracket is a slice
  (``a[1:2]``, ``a[lo : hi]``) or a JSON key, and left alone.
- ``:name`` is a parameter, also in brackets: ``a[:n]`` indexes by a parameter, ``a[:lo : :hi]`` slices by two,
  ``a[: :hi]`` has no lower bound.
- ``lo:hi``, ``1:hi``, ``:lo:hi``, ``f(x):hi``: a name glued to a colon that is glued to an operand could be a
  slice or a parameter. Refused with a request for a space, never guessed.
- ``a[:lo::hi]`` is a cast to a type called hi, as in psql and in PostgreSQL.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, NamedTuple

__all__ = ["Kind", "LexError", "Lexeme", "StatementSpan", "Token", "lexemes", "statements", "tokens", "tokens_of_any"]


class Kind(Enum):
    """What a token is."""

    CODE = auto()  # a run of words, numbers, operators, brackets and the white space between them
    PARAMETER = auto()  # :name
    QUOTED = auto()  # '…', E'…', "…", $tag$…$tag$
    LINE_COMMENT = auto()  # -- to the end of the line, which is not part of it
    BLOCK_COMMENT = auto()  # /* … */, nested
    SEMICOLON = auto()


class Token(NamedTuple):
    """One token, ``text[start:end]``; ``opened`` is where its literal starts.

    ``opened`` differs from ``start`` only in the second and later parts of a literal that SQL continues on
    another line (``'a'`` newline ``'b'`` is the one string ``ab``).
    """

    kind: Kind
    start: int
    end: int
    opened: int


class LexError(Exception):
    """The text cannot be split at ``offset``."""

    def __init__(self, offset: int, problem: str) -> None:
        super().__init__(problem)
        self.offset = offset
        self.problem = problem


# What is no part of a word, among the characters of ASCII: all others are letters to PostgreSQL. (As a complement,
# because a set that names them all takes 5 ms to compile, and the package would start with twenty of them.)
_OTHER: Final = r"\x00-#%-/:-@\[-\^`{-\x7f"
_FIRST: Final = rf"[^{_OTHER}$0-9]"
_WORD: Final = rf"{_FIRST}[^{_OTHER}]*+"
_TAG: Final = rf"\$(?:{_FIRST}[^{_OTHER}$]*+)?\$"

# Runs of characters are possessive, and what is repeated around them can be read in one way only: hostile text takes
# linear time. No group is possessive: before Python 3.11.5 such groups matched wrongly (cpython issue 106052). A word
# right before a quote is not swallowed by the run, so that the E of E'…' is seen at the start of its token. B'', X'',
# N'' and U&'' need no rule of their own: they end where an ordinary string does.
_TOKEN: Final = re.compile(
    rf"""
      (?P<code>(?:[ \t\n\f\v,.()\[\]<>=+*^~!@\#&|`?0-9]++
                 |-(?!-)|/(?!\*)
                 |::(?!:)|:=|:(?!:|{_FIRST})
                 |{_WORD}(?!'))+)
    | (?P<line_comment>--[^\n]*+)
    | (?P<parameter>(?<![^{_OTHER}])(?<![)\]'"]):[a-z][a-z0-9_]*+(?![^{_OTHER}]))
    | (?P<semicolon>;)
    | (?P<string>')
    | (?P<escape_string>[eE]')
    | (?P<identifier>")
    | (?P<word>{_WORD})
    | (?P<block_comment>/\*)
    | (?P<dollar_quote>{_TAG})
    | (?P<percent>%)
    """,
    re.VERBOSE,
)
_STRING_REST: Final = re.compile(r"[^']*+(?:''[^']*+)*'(?!')")
_ESCAPE_STRING_REST: Final = re.compile(r"[^'\\]*+(?:(?:\\.|'')[^'\\]*+)*'(?!')", re.DOTALL)
_IDENTIFIER_REST: Final = re.compile(r'[^"]*+(?:""[^"]*+)*"(?!")')
# A string goes on after white space with a newline in it; comments may stand there, each with its newline.
_STRING_CONTINUES: Final = re.compile(r"(?:[ \t\f\v]|--[^\n]*+)*\n(?:[ \t\n\f\v]|--[^\n]*+\n)*(?=')")
_COMMENT_EDGE: Final = re.compile(r"/\*|\*/")
_BAD_PARAMETER: Final = re.compile(rf":({_WORD})")
_POSITIONAL: Final = re.compile(r"\$[0-9]++")
_NAMED_PERCENT: Final = re.compile(rf"%\({_WORD}\)[sbt](?![^{_OTHER}])")
_BARE_PERCENT: Final = re.compile(rf"%[sbt](?![^{_OTHER}])")
_OPERAND_END: Final = re.compile(rf"[^{_OTHER}]|[)\]'\"]")
_CODE_SPACE: Final = " \t\n\f\v"


def tokens(text: str) -> Iterator[Token]:
    """Every token of ``text`` in order; white space between other tokens may come as a CODE token of its own.

    Raises LexError at the first place that cannot be split, or that PostgreSQL would surely misread.
    """
    return _tokens(text, 0, len(text), strict=True)


def tokens_of_any(text: str, position: int = 0, end: int | None = None) -> Iterator[Token]:
    """The tokens of any SQL between two offsets, as they come from a server or a migration.

    Raises nothing: an unterminated literal or comment runs to the end, and a character that a named query may not
    contain is a CODE token of its own. Reporting either is the server's part.
    """
    return _tokens(text, position, len(text) if end is None else end, strict=False)


def _tokens(text: str, position: int, limit: int, *, strict: bool) -> Iterator[Token]:
    before = ""  # the last character of code, white space and comments left aside
    continued_at, continued_from, continued_rest = -1, -1, _STRING_REST
    while position < limit:
        match = _TOKEN.match(text, position, limit)
        if match is None:
            if strict:
                raise _unknown(text, position)
            unknown = _POSITIONAL.match(text, position, limit)
            end = unknown.end() if unknown else position + 1
            yield Token(Kind.CODE, position, end, position)
            position = end
            continue
        name, end, opened = match.lastgroup, match.end(), position
        try:
            if name in ("code", "word"):
                code = match.group()
                if strict and not code.isascii():
                    _check_letters(code, position)
                kind = Kind.CODE
                before = code.rstrip(_CODE_SPACE)[-1:] or before
            elif name == "line_comment":
                kind = Kind.LINE_COMMENT
            elif name == "parameter":
                kind, before = Kind.PARAMETER, "a"
            elif name in ("string", "escape_string"):
                kind, before = Kind.QUOTED, "'"
                rest = _ESCAPE_STRING_REST if name == "escape_string" else _STRING_REST
                if position == continued_at:
                    opened, rest = continued_from, continued_rest
                end = _end_of_quoted(rest, text, end, limit, position, "string")
                if continues := _STRING_CONTINUES.match(text, end, limit):
                    continued_at, continued_from, continued_rest = continues.end(), opened, rest
            elif name == "identifier":
                kind, before = Kind.QUOTED, '"'
                end = _end_of_quoted(_IDENTIFIER_REST, text, end, limit, position, "quoted identifier")
            elif name == "dollar_quote":
                kind, before = Kind.QUOTED, "'"
                closing = text.find(match.group(), end, limit)
                if closing < 0:
                    raise LexError(position, f"unterminated dollar quote: no closing {match.group()}")
                end = closing + len(match.group())
            elif name == "block_comment":
                kind = Kind.BLOCK_COMMENT
                end = _end_of_comment(text, end, limit, position)
            elif name == "percent":
                kind = Kind.CODE
                if strict:
                    _check_percent(text, position, before)
                before = "%"
            else:
                kind, before = Kind.SEMICOLON, ""
        except LexError:
            if strict:
                raise
            end = limit
        yield Token(kind, position, end, opened)
        position = end


def _end_of_quoted(rest: re.Pattern[str], text: str, position: int, limit: int, opened: int, what: str) -> int:
    match = rest.match(text, position, limit)
    if match is None:
        raise LexError(opened, f"unterminated {what}")
    return match.end()


def _end_of_comment(text: str, position: int, limit: int, opened: int) -> int:
    depth = 1
    while depth:
        edge = _COMMENT_EDGE.search(text, position, limit)
        if edge is None:
            raise LexError(opened, f"unterminated comment: {depth} more */ needed (comments nest)")
        depth += 1 if edge.group() == "/*" else -1
        position = edge.end()
    return position


def _check_percent(text: str, position: int, before: str) -> None:
    """Refuse psycopg's own placeholders; ``%`` is also modulo and, in pg_trgm, similarity.

    ``%(name)s`` in one piece is certain enough. ``%s`` is one only where no operand stands before it, because
    PostgreSQL has no prefix operator ``%``: after an opening bracket, a comma or ``=``, or, with a space
    between, ``<`` or ``>`` (without it, ``<%`` is an operator). ``LIMIT %s`` and ``a %s`` differ
    only for a reader who knows the keywords; PostgreSQL refuses it.
    """
    no_operand = before in ("(", "[", ",", "=") or (before in ("<", ">") and text[position - 1] != before)
    placeholder = _NAMED_PERCENT.match(text, position) or (no_operand and _BARE_PERCENT.match(text, position))
    if placeholder:
        raise LexError(position, f"{placeholder.group()} is psycopg's placeholder: write :name")


def _check_letters(code: str, position: int) -> None:
    """PostgreSQL takes any character beyond ASCII for a letter, so a no-break space would end up in a name."""
    for index, character in enumerate(code):
        if character > "\x7f" and not f"a{character}".isidentifier():
            raise LexError(position + index, f"{_shown(character)} outside a string, comment or quoted identifier")


def _unknown(text: str, position: int) -> LexError:
    if text.startswith(":::", position):
        return LexError(position, "three colons in a row: put a space between the cast and the parameter or slice")
    if bad := _BAD_PARAMETER.match(text, position):
        name = bad[1]
        if position and _OPERAND_END.match(text, position - 1):
            return LexError(
                position,
                f":{name} touches what stands before it and could be a slice or a parameter: write ' : {name}' for"
                f" a slice, ' :{name}' for a parameter, ' : :{name}' for a slice up to a parameter",
            )
        return LexError(position, f"parameters are lower snake case, not :{name} (in a slice write ': {name}')")
    if positional := _POSITIONAL.match(text, position):
        return LexError(position, f"positional parameter {positional.group()}: write :name")
    character = text[position]
    if character == "\\":
        return LexError(position, "a backslash outside a string: psql commands cannot be part of a query")
    return LexError(position, f"{_shown(character)} outside a string, comment or quoted identifier")


def _shown(character: str) -> str:
    code = f"U+{ord(character):04X}"
    return f"{character!r} ({code})" if character.isprintable() else code


# --- Scripts: words and statements ----------------------------------------------------------------

_LEXEME: Final = re.compile(rf"{_WORD}|[^ \t\n\r\f\v]")
_MAX_WORDS: Final = 40  # enough to see a COPY's STDIN behind its column list


class Lexeme(NamedTuple):
    """A piece of SQL that is no comment: a ``word`` in lower case, a ``quoted`` or ``dollar`` literal, or one ``other``
    character.
    """

    start: int
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class StatementSpan:
    """One statement of a script: where it begins and ends (offsets from 0), and its first words, in lower case."""

    start: int
    end: int
    words: tuple[str, ...]


def lexemes(text: str, position: int = 0, end: int | None = None) -> Iterator[Lexeme]:
    """The pieces of ``text`` between two offsets, without comments and white space. Raises nothing."""
    for token in tokens_of_any(text, position, end):
        if token.kind is Kind.QUOTED:
            piece = text[token.start : token.end]
            yield Lexeme(token.start, "dollar" if piece[0] == "$" else "quoted", piece)
        elif token.kind not in (Kind.LINE_COMMENT, Kind.BLOCK_COMMENT):
            for match in _LEXEME.finditer(text, token.start, token.end):
                piece = match.group()
                is_word = _IS_WORD.match(piece) is not None
                yield Lexeme(match.start(), "word" if is_word else "other", piece.lower() if is_word else piece)


_IS_WORD: Final = re.compile(_FIRST)


def statements(text: str) -> Iterator[StatementSpan]:
    """The statements of ``text``, split where psql splits them; comments and empty statements do not count.

    Brackets and the bodies of ``BEGIN ATOMIC`` functions hold statements together. (Read token by token, not lexeme by
    lexeme: 60,000 statements of data take a second.)
    """
    start, words = -1, list[str]()
    nesting = _Nesting()
    for kind, token_start, token_end, _ in tokens_of_any(text):
        if kind is Kind.SEMICOLON and nesting.outermost:
            if start >= 0:
                yield StatementSpan(start, token_start, tuple(words))
            start, words = -1, []
        elif kind is Kind.QUOTED or kind is Kind.SEMICOLON:
            start = token_start if start < 0 else start
        elif kind is not Kind.LINE_COMMENT and kind is not Kind.BLOCK_COMMENT:
            code = text[token_start:token_end]
            if start < 0 and (bare := code.lstrip(_SPACE)):
                start = token_end - len(bare)
            if len(words) < _MAX_WORDS:
                words += map(str.lower, _WORDS.findall(code))
                del words[_MAX_WORDS:]
            nesting.read(code, words)
    if start >= 0:
        yield StatementSpan(start, len(text), tuple(words))


_SPACE: Final = " \t\n\r\f\v"
_WORDS: Final = re.compile(_WORD)
_NESTING: Final = re.compile(rf"[()]|{_WORD}")


class _Nesting:
    """How deep the text so far is in brackets, and in a function's BEGIN … END, as psql counts them."""

    def __init__(self) -> None:
        self._brackets = self._blocks = 0

    @property
    def outermost(self) -> bool:
        """Does a semicolon end the statement here?"""
        return not self._brackets and not self._blocks

    def read(self, code: str, words: list[str]) -> None:
        """Go on with ``code``, of a statement that begins with ``words``."""
        if _creates_routine(words):
            for match in _NESTING.finditer(code):
                self._step(match.group().lower())
        elif (closed := code.count(")")) > self._brackets:  # not all of them need close one that is open
            for bracket in _NESTING.findall(code):
                self._step(bracket if bracket in "()" else "")
        else:
            self._brackets += code.count("(") - closed

    def _step(self, piece: str) -> None:
        if piece == "(":
            self._brackets += 1
        elif piece == ")":
            self._brackets = max(0, self._brackets - 1)
        elif not self._brackets:
            self._blocks = max(0, self._blocks + {"begin": 1, "case": int(self._blocks > 0), "end": -1}.get(piece, 0))


def _creates_routine(words: list[str]) -> bool:
    if words[:1] != ["create"]:
        return False
    created = words[3:4] if words[1:3] == ["or", "replace"] else words[1:2]
    return created in (["function"], ["procedure"])
