"""The text of a migration: its bytes as one fixed text, the checksum of that, and where its statements begin.

Pure, and without yoyo: a service that only asks whether its database is ready needs no more.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nexgent_db.errors import MigrationError

__all__ = ["Statement", "Token", "checksum", "read_sql", "statements", "tokens"]


def read_sql(path: Path) -> str:
    """The text of the file, the same on every machine: no byte order mark, and ``\\n`` at the ends of lines.

    A checkout on Windows is no edit, and a function's body is the same wherever it was migrated from. Raises
    MigrationError when the file cannot be read, is not UTF-8 or holds a zero byte.
    """
    try:
        content = path.read_bytes()
    except OSError as e:
        raise MigrationError(f"{path}: cannot be read: {e.strerror}") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = content.count(b"\n", 0, e.start) + 1
        raise MigrationError(f"{path}:{line}: is not UTF-8") from None
    if "\0" in text:
        raise MigrationError(f"{path}:{text.count(chr(10), 0, text.index(chr(0))) + 1}: holds a zero byte")
    return text.replace("\r\n", "\n")


def checksum(text: str) -> str:
    """SHA-256 of a text that ``read_sql`` returned, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


# --- Where statements begin ---------------------------------------------------------------------

# As in _sqllexer: runs are possessive, groups are not (they match wrongly before Python 3.11.5).
_TOKEN: Final = re.compile(
    r"""
      (?P<blank>\s++|--[^\n]*+)
    | (?P<comment>/\*)
    | (?P<quoted>[eE]'[^'\\]*+(?:(?:\\.|'')[^'\\]*+)*'(?!')|'[^']*+(?:''[^']*+)*'(?!')|"[^"]*+(?:""[^"]*+)*"(?!"))
    | (?P<dollar>\$(?:[^\W\d]\w*+)?\$)
    | (?P<word>[^\W\d][\w$]*+)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE: Final = re.compile(r"/\*|\*/")
_WORDS_KEPT: Final = 40  # enough to see a COPY's STDIN behind its column list


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of SQL that is no comment: a word (in lower case), a quoted piece, or one other character."""

    start: int
    kind: str  # word, quoted, dollar or other
    text: str


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a file: where it begins and ends (offsets from 0), and its first words, in lower case."""

    start: int
    end: int
    words: tuple[str, ...]


def tokens(text: str, position: int = 0, end: int | None = None) -> Iterator[Token]:
    """The pieces of ``text`` between two offsets. Knows strings, dollar quotes and nested comments.

    Whatever is unterminated runs to the end: reporting that is the server's part.
    """
    end = len(text) if end is None else end
    while position < end and (found := _TOKEN.match(text, position)):
        kind, piece, begin, position = found.lastgroup or "", found.group(), position, found.end()
        if kind == "comment":
            position = _end_of_comment(text, position)
        elif kind == "dollar":
            closing = text.find(piece, position)
            position = len(text) if closing < 0 else closing + len(piece)
            yield Token(begin, kind, text[begin:position])
        elif kind != "blank":
            yield Token(begin, kind, piece.lower() if kind == "word" else piece)


def statements(text: str) -> Iterator[Statement]:
    """The statements of ``text``, split where psql would split them; comments and empty statements do not count.

    Brackets and the bodies of ``BEGIN ATOMIC`` functions hold statements together.
    """
    start, words = -1, list[str]()
    depth = atomic = 0
    for token in tokens(text):
        if token.kind == "other":
            if token.text == ";" and depth == 0 and atomic == 0:
                if start >= 0:
                    yield Statement(start, token.start, tuple(words))
                start, words = -1, []
                continue
            depth = max(0, depth + (token.text == "(") - (token.text == ")"))
        elif token.kind == "word":
            atomic = max(0, atomic + _atomic_step(words, token.text, inside=atomic > 0)) if depth == 0 else atomic
            if len(words) < _WORDS_KEPT:
                words.append(token.text)
        if start < 0:
            start = token.start
    if start >= 0:
        yield Statement(start, len(text), tuple(words))


def _atomic_step(words: list[str], word: str, *, inside: bool) -> int:
    """How ``word`` changes the nesting of a function's BEGIN … END; psql decides in the same way."""
    if words[:1] != ["create"]:
        return 0
    what = words[3:4] if words[1:3] == ["or", "replace"] else words[1:2]
    if what not in (["function"], ["procedure"]):
        return 0
    return {"begin": 1, "case": int(inside), "end": -int(inside)}.get(word, 0)


def _end_of_comment(text: str, position: int) -> int:
    nesting = 1
    while nesting and (edge := _COMMENT_EDGE.search(text, position)):
        nesting += 1 if edge.group() == "/*" else -1
        position = edge.end()
    return position if nesting == 0 else len(text)
