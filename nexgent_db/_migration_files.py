"""Reads a folder of migrations and refuses what would go wrong later: silently, halfway, or on the way back.

yoyo finds the files and orders them; their text is taken as it is, since it goes to the server whole. Pure: no
database is needed to learn that a folder is not fit to be applied.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from yoyo import exceptions as yoyo_exceptions
from yoyo import read_migrations
from yoyo.migrations import Migration as YoyoMigration
from yoyo.migrations import parse_metadata_from_sql_comments, topological_sort

from nexgent_db.errors import NexgentError

__all__ = ["Migration", "MigrationError", "Script", "read_folder"]


class MigrationError(NexgentError):
    """Migrations cannot be read, applied or rolled back; the message names the file, and the line if there is one.

    ``sqlstate`` is PostgreSQL's code when a statement failed. Unless the message says otherwise, the migration that
    failed left nothing behind, and those before it stay applied.
    """

    sqlstate: str | None = None


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a file: where it begins (offset from 0) and its first words, in lower case."""

    start: int
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Script:
    """One file, the way up or the way down, as it is sent."""

    path: Path
    text: str
    transactional: bool
    statements: tuple[Statement, ...]

    def line(self, offset: int) -> int:
        """The line (from 1) on which the character at ``offset`` (from 0) stands."""
        return self.text.count("\n", 0, offset) + 1

    def line_of_statement(self, index: int) -> int:
        """The line on which the statement of that index (from 0) begins; the last one's when there are fewer."""
        return self.line(self.statements[min(index, len(self.statements) - 1)].start)


class Migration(YoyoMigration):  # type: ignore[misc]  # yoyo has no types
    """A yoyo migration that carries its two files and is never taken apart into steps."""

    id: str
    hash: str
    up: Script
    down: Script

    def __init__(self, path: Path) -> None:
        super().__init__(path.name.removesuffix(".sql"), str(path), str(path.parent))
        directives, self.up = _read_script(path, inherited=True)
        down = path.with_name(f"{self.id}.rollback.sql")
        if not down.is_file():
            raise MigrationError(f"{path}: there is no {down.name} beside it: every migration needs a way back")
        _, self.down = _read_script(down, inherited=self.up.transactional)
        self.depends_on: frozenset[str] = frozenset(directives.get("depends", "").split())
        # What yoyo's own load() would set, without its splitting of the text (and its reading in the locale's
        # encoding): from here on yoyo takes the migration for loaded.
        self.source = self.up.text
        self.steps: list[object] = []
        self.use_transactions = self.up.transactional


def read_folder(directory: Path) -> list[Migration]:
    """All migrations of ``directory``, in the order in which they are applied.

    Raises MigrationError when the folder is missing or empty, when a file is no migration that can be applied and
    rolled back (no way back, no statement, an embedded COMMIT, a mistyped directive), or when dependencies are
    unknown or circular. Nothing is skipped in silence.
    """
    if not directory.is_dir():
        raise MigrationError(f"the migrations folder {directory} does not exist")
    found = [Path(m.path) for m in _found_by_yoyo(directory)]
    if not found:
        raise MigrationError(f"the migrations folder {directory} is empty")
    for path in found:
        if path.suffix != ".sql":
            raise MigrationError(f"{path}: migrations are SQL files; move other files out of the folder")
        if path.name.startswith("post-apply"):
            raise MigrationError(f"{path}: hooks that run after every migration are not supported")
    names = {p.name for p in found}
    for path in sorted(directory.iterdir()):
        if path.suffix != ".sql" and path.suffix.lower() == ".sql":  # yoyo would pass it over
            raise MigrationError(f"{path}: should end in .sql, in lower case")
    for rollback in sorted(directory.glob("*.rollback.sql")):
        if rollback.name.replace(".rollback.sql", ".sql") not in names:
            raise MigrationError(f"{rollback}: rolls back a migration that is not there (renamed?)")
    return _in_order([Migration(path) for path in found])


def _found_by_yoyo(directory: Path) -> list[YoyoMigration]:
    try:
        migrations = read_migrations(glob.escape(str(directory)))
    except yoyo_exceptions.MigrationConflict as e:
        raise MigrationError(f"{directory}: two migrations are called {e}") from None
    return [*migrations, *migrations.post_apply]


def _in_order(migrations: list[Migration]) -> list[Migration]:
    by_name = {m.id: m for m in migrations}
    for m in migrations:
        if unknown := m.depends_on - by_name.keys():
            raise MigrationError(
                f"{m.up.path}: depends on {', '.join(sorted(unknown))}, which the folder does not have"
            )
        m._depends = {by_name[name] for name in m.depends_on}
    try:
        return list(topological_sort(migrations))
    except yoyo_exceptions.BadMigration as e:
        raise MigrationError(f"{migrations[0].up.path.parent}: {e}") from None


# --- One file -----------------------------------------------------------------------------------

_DIRECTIVES: Final = ("transactional", "depends")
_LIKE_A_DIRECTIVE: Final = re.compile(r"\s*--\s*((?:transaction|depend)\w*)\s*:", re.IGNORECASE)
# Ending the migration's transaction would leave the rest of the file, or the mark, outside of it.
_ENDS_THE_TRANSACTION: Final = {"begin", "start", "commit", "end", "abort", "rollback"}


def _read_script(path: Path, *, inherited: bool) -> tuple[dict[str, str], Script]:
    """The file's directives and text; ``inherited`` says whether it is transactional unless it says so itself."""
    try:
        text = path.read_bytes().decode("utf-8-sig")  # an editor's byte order mark is no SQL
    except OSError as e:
        raise MigrationError(f"{path}: cannot be read: {e.strerror}") from None
    except UnicodeDecodeError as e:
        line = path.read_bytes().count(b"\n", 0, e.start) + 1
        raise MigrationError(f"{path}:{line}: is not UTF-8") from None
    if "\0" in text:
        raise MigrationError(f"{path}:{text.count(chr(10), 0, text.index(chr(0))) + 1}: holds a zero byte")
    directives: dict[str, str] = parse_metadata_from_sql_comments(text)[0]
    _refuse_mistyped_directives(path, text)
    transactional = inherited
    if (value := directives.get("transactional")) is not None:
        if value.strip() not in ("true", "false"):
            raise MigrationError(f"{path}: '-- transactional: {value}' should say true or false")
        transactional = value.strip() == "true"
    script = Script(path, text, transactional, tuple(statements(text)))
    _check(script)
    return directives, script


def _refuse_mistyped_directives(path: Path, text: str) -> None:
    """yoyo ignores ``-- depend:`` and ``-- Transactional:`` without a word."""
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("--"):
            return
        if (like := _LIKE_A_DIRECTIVE.match(line)) and like[1] not in _DIRECTIVES:
            raise MigrationError(f"{path}:{number}: {like[1]!r} is no directive; there are {' and '.join(_DIRECTIVES)}")


def _check(script: Script) -> None:
    if not script.statements:
        raise MigrationError(f"{script.path}: holds no statement")
    for index, statement in enumerate(script.statements):
        place = f"{script.path}:{script.line_of_statement(index)}"
        first = statement.words[:1]
        if first == ("copy",) and not {"stdin", "stdout"}.isdisjoint(statement.words):
            raise MigrationError(f"{place}: COPY from or to the client has no other end here: use INSERT or SELECT")
        if (first and first[0] in _ENDS_THE_TRANSACTION and "to" not in statement.words) or statement.words[:2] == (
            "prepare",
            "transaction",
        ):
            raise MigrationError(
                f"{place}: {' '.join(statement.words[:2]).upper()}: the migration and the mark that it is applied are"
                " one transaction, which the file must neither begin nor end"
            )
    if not script.transactional and len(script.statements) != 1:
        raise MigrationError(
            f"{script.path}:{script.line_of_statement(1)}: a file with '-- transactional: false' holds exactly one"
            f" statement, this one {len(script.statements)}: what came before a failure could not be undone"
        )


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


def statements(text: str) -> Iterator[Statement]:
    """The statements of ``text``, split where psql would split them; comments and empty statements do not count.

    Knows strings, dollar quotes, nested comments, brackets and the bodies of ``BEGIN ATOMIC`` functions. Whatever
    is unterminated runs to the end: reporting that is the server's part.
    """
    start, words = -1, list[str]()
    depth = atomic = position = 0
    while found := _TOKEN.match(text, position):
        kind, piece, begin, position = found.lastgroup, found.group(), position, found.end()
        if kind == "blank":
            continue
        if kind == "comment":
            position = _end_of_comment(text, position)
            continue
        if kind == "dollar":
            end = text.find(piece, position)
            position = len(text) if end < 0 else end + len(piece)
        elif kind == "other":
            if piece == ";" and depth == 0 and atomic == 0:
                if start >= 0:
                    yield Statement(start, tuple(words))
                start, words = -1, []
                continue
            depth = max(0, depth + (piece == "(") - (piece == ")"))
        elif kind == "word":
            word = piece.lower()
            atomic = max(0, atomic + _atomic_step(words, word, inside=atomic > 0)) if depth == 0 else atomic
            if len(words) < _WORDS_KEPT:
                words.append(word)
        if start < 0:
            start = begin
    if start >= 0:
        yield Statement(start, tuple(words))


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
