"""Splits SQL text into the few kinds of token that named queries need, as PostgreSQL 15-18 would split it.

Pure, and one pass: runs of ordinary code come out as one token, so a file of a thousand lines takes some
milliseconds. Offsets count characters from 0. The rules follow PostgreSQL's ``scan.l``, with
``standard_conforming_strings`` on (the default since 9.1): a backslash escapes only in ``E'…'``.

Where a colon stands:

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
from enum import Enum, auto
from typing import Final, NamedTuple

__all__ = ["Kind", "LexError", "Token", "tokens"]


class Kind(Enum):
    """What a token is, as far as a named query cares."""

    CODE = auto()  # a run of words, numbers, operators, brackets and the white space between them
    PARAMETER = auto()  # :name
    QUOTED = auto()  # '…', E'…', "…", $tag$…$tag$
    LINE_COMMENT = auto()  # -- to the end of the line, which is not part of it
    BLOCK_COMMENT = auto()  # /* … */, nested
    SEMICOLON = auto()


class Token(NamedTuple):
    """One token, ``text[start:end]``; ``opened`` is where its literal began.

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
    position = 0
    before = ""  # the last character of code, white space and comments left aside
    continued_at, continued_from, continued_rest = -1, -1, _STRING_REST
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise _unknown(text, position)
        name, end, opened = found.lastgroup, found.end(), position
        if name in ("code", "word"):
            code = found.group()
            if not code.isascii():
                _check_letters(code, position)
            kind = Kind.CODE
            before = code.rstrip(_CODE_SPACE)[-1:] or before
        elif name == "line_comment":
            kind = Kind.LINE_COMMENT
        elif name == "parameter":
            kind, before = Kind.PARAMETER, "a"
        elif name in ("string", "escape_string"):
            rest = _ESCAPE_STRING_REST if name == "escape_string" else _STRING_REST
            if position == continued_at:
                opened, rest = continued_from, continued_rest
            end = _end_of_quoted(rest, text, end, position, "string")
            kind, before = Kind.QUOTED, "'"
            if continues := _STRING_CONTINUES.match(text, end):
                continued_at, continued_from, continued_rest = continues.end(), opened, rest
        elif name == "identifier":
            end = _end_of_quoted(_IDENTIFIER_REST, text, end, position, "quoted identifier")
            kind, before = Kind.QUOTED, '"'
        elif name == "dollar_quote":
            closing = text.find(found.group(), end)
            if closing < 0:
                raise LexError(position, f"unterminated dollar quote: no closing {found.group()}")
            end = closing + len(found.group())
            kind, before = Kind.QUOTED, "'"
        elif name == "block_comment":
            end = _end_of_comment(text, end, position)
            kind = Kind.BLOCK_COMMENT
        elif name == "percent":
            _check_percent(text, position, before)
            kind, before = Kind.CODE, "%"
        else:
            kind, before = Kind.SEMICOLON, ""
        yield Token(kind, position, end, opened)
        position = end


def _end_of_quoted(rest: re.Pattern[str], text: str, position: int, opened: int, what: str) -> int:
    found = rest.match(text, position)
    if found is None:
        raise LexError(opened, f"unterminated {what}")
    return found.end()


def _end_of_comment(text: str, position: int, opened: int) -> int:
    depth = 1
    while depth:
        edge = _COMMENT_EDGE.search(text, position)
        if edge is None:
            raise LexError(opened, f"unterminated comment: {depth} more */ needed (comments nest)")
        depth += 1 if edge.group() == "/*" else -1
        position = edge.end()
    return position


def _check_percent(text: str, position: int, before: str) -> None:
    """Refuse psycopg's own placeholders; ``%`` is also modulo and, in pg_trgm, similarity.

    ``%(name)s`` in one piece is certain enough. ``%s`` is one only where no operand stands before it, because
    PostgreSQL has no prefix operator ``%``: after an opening bracket, a comma or ``=``, or, with a space
    between, ``<`` or ``>`` (without it, ``<%`` is an operator). ``LIMIT %s`` cannot be told from ``a %s``
    without knowing the keywords; PostgreSQL refuses it.
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
