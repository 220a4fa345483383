"""Reads folders of migrations and refuses files that would fail later: silently, halfway, or in the rollback.

yoyo finds the files and orders them. Their text stays as it is, because the server gets it whole. Pure: an invalid
folder is found without a database.

Each folder has a history of its own. This package's is ``nexgent_db``, whose migrations have the names of their files;
those of a service's are named ``history/file``, so the history tables hold all histories side by side.
"""

from __future__ import annotations

import difflib
import glob
import re
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final

from yoyo import exceptions as yoyo_exceptions
from yoyo import read_migrations
from yoyo.migrations import Migration as YoyoMigration
from yoyo.migrations import topological_sort

from nexgent_db.errors import MigrationError
from nexgent_db.project import PACKAGE_HISTORY
from nexgent_db.queries.lexer import Kind, StatementSpan, statements, tokens_of_any
from nexgent_db.schema.migration_text import checksum, read_sql

__all__ = [
    "LAST_LEGACY_MIGRATION",
    "Migration",
    "MigrationScript",
    "history_of",
    "migration_paths",
    "read_folder",
    "read_folders",
]

LAST_LEGACY_MIGRATION: Final = "20260211120000_add_user_id_to_trading_signals"
"""The last legacy migration: the public system's Prisma knows it and those before it, and none after it."""


@dataclass(frozen=True, slots=True)
class MigrationScript:
    """One file, a migration or its rollback, as it is sent. Its head may set the two timeouts.

    ``newlines`` are the offsets of the line ends.
    """

    path: Path
    text: str
    transactional: bool
    statements: tuple[StatementSpan, ...]
    newlines: tuple[int, ...] = field(repr=False)
    lock_timeout_s: float | None = None
    statement_timeout_s: float | None = None

    @property
    def limits_itself(self) -> bool:
        """Does the head set a timeout?"""
        return self.lock_timeout_s is not None or self.statement_timeout_s is not None

    def line(self, offset: int) -> int:
        """The line (from 1) on which the character at ``offset`` (from 0) stands."""
        return bisect_left(self.newlines, offset) + 1

    def line_of_statement(self, index: int) -> int:
        """The line on which the statement of that index (from 0) begins; the last one's when there are fewer."""
        return self.line(self.statements[min(index, len(self.statements) - 1)].start)


class Migration(YoyoMigration):  # type: ignore[misc]  # yoyo has no types
    """A yoyo migration with its two files, never split into steps. ``history`` is that of its folder.

    ``down`` is None when the file declares that it cannot be rolled back; ``irreversible`` is the reason.
    ``preflight``: the file only reads, and also runs before all other pending ones.
    """

    id: str
    hash: str
    history: str
    checksum: str
    up: MigrationScript
    down: MigrationScript | None
    irreversible: str | None
    preflight: bool

    def __init__(self, path: Path, history: str = PACKAGE_HISTORY) -> None:
        super().__init__(
            path.stem if history == PACKAGE_HISTORY else f"{history}/{path.stem}", str(path), str(path.parent)
        )
        self.history = history
        head, self.up = _read_script(path, inherited=True)
        self.checksum = checksum(self.up.text)
        self.irreversible = head.get("irreversible")
        self.preflight = "preflight" in head
        if self.preflight and not self.up.transactional:
            raise MigrationError(f"{path}: a preflight only reads: it needs no '-- transactional: false'")
        self.down = _read_rollback(path.with_name(f"{path.stem}.rollback.sql"), self.up, self.irreversible)
        self.depends_on: frozenset[str] = frozenset(head.get("depends", "").split())
        # What yoyo's own load() would set, without its splitting of the text (and its reading in the locale's
        # encoding): from here on yoyo takes the migration for loaded.
        self.source = self.up.text
        self.steps: list[object] = []
        self.use_transactions = self.up.transactional


def read_folder(directory: Path) -> list[Migration]:
    """All migrations of ``directory``, in the order in which they are applied. Raises as :func:`read_folders` does."""
    return read_folders({PACKAGE_HISTORY: directory})


def read_folders(folders: Mapping[str, Path]) -> list[Migration]:
    """All migrations of the folders, which are given by the names of their histories, in the order in which they are
    applied: folder by folder, except where ``-- depends:`` asks for another order.

    Raises MigrationError when a folder is missing or empty, when a file is no migration that can be applied and
    rolled back (no rollback file, no statement, an embedded COMMIT, a mistyped directive), when two files have one
    name, or when dependencies are unknown or circular. No file is skipped silently.
    """
    return _in_order(
        [Migration(path, history) for history, directory in folders.items() for path in migration_paths(directory)]
    )


def history_of(name: str) -> str:
    """The history of a migration, from its name."""
    history, slash, _ = name.partition("/")
    return history if slash else PACKAGE_HISTORY


def migration_paths(directory: Path) -> list[Path]:
    """The migrations of ``directory``, unread. Raises MigrationError for a folder that holds none, or other files."""
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
        if path.suffix != ".sql" and path.suffix.lower() == ".sql":  # yoyo would skip it
            raise MigrationError(f"{path}: must end in .sql, in lower case")
    for rollback in sorted(directory.glob("*.rollback.sql")):
        if rollback.name.replace(".rollback.sql", ".sql") not in names:
            raise MigrationError(f"{rollback}: rolls back a migration that is not there (renamed?)")
    return found


def _found_by_yoyo(directory: Path) -> list[YoyoMigration]:
    try:
        migrations = read_migrations(glob.escape(str(directory)))
    except yoyo_exceptions.MigrationConflict as e:
        raise MigrationError(f"{directory}: two migrations are called {e}") from None
    return [*migrations, *migrations.post_apply]


def _in_order(migrations: list[Migration]) -> list[Migration]:
    by_file = dict[str, Migration]()
    for m in migrations:
        if (other := by_file.setdefault(m.up.path.stem, m)) is not m:
            raise MigrationError(f"{m.up.path}: has the name of {other.up.path}: give it another")
    by_name = {m.id: m for m in migrations} | by_file
    for m in migrations:
        if unknown := m.depends_on - by_name.keys():
            where = "the folder does" if len({each.history for each in migrations}) == 1 else "the folders do"
            raise MigrationError(f"{m.up.path}: depends on {', '.join(sorted(unknown))}, which {where} not have")
        m._depends = {by_name[name] for name in m.depends_on}
    histories = dict.fromkeys(m.history for m in migrations)
    return _merged({name: _sorted([m for m in migrations if m.history == name]) for name in histories})


def _sorted(migrations: list[Migration]) -> list[Migration]:
    """Those of one folder, by their dependencies among themselves."""
    try:
        return list(topological_sort(migrations))
    except yoyo_exceptions.BadMigration as e:
        raise MigrationError(f"{migrations[0].up.path.parent}: {e}") from None


def _merged(folders: Mapping[str, list[Migration]]) -> list[Migration]:
    """Folder by folder, but what a migration depends on, and all before that in its folder, comes before it."""
    merged = list[Migration]()
    left = {name: list(reversed(folder)) for name, folder in folders.items()}

    def take(name: str, wanted: Migration, needed_by: tuple[Migration, ...]) -> None:
        while wanted in left[name]:
            migration = left[name][-1]
            for other in sorted(migration._depends, key=lambda m: m.id):
                if other in left[other.history] and other.history != name:
                    if other.history in {m.history for m in needed_by}:
                        raise MigrationError(f"{migration.up.path}: depends on {other.id}, which needs it before")
                    take(other.history, other, (*needed_by, migration))
            merged.append(left[name].pop())

    for name, folder in folders.items():
        take(name, folder[-1], ())
    return merged


# --- One file -----------------------------------------------------------------------------------

# Ending the migration's transaction would leave the rest of the file, or the mark, outside.
_ENDS_THE_TRANSACTION: Final = {"begin", "start", "commit", "end", "abort", "rollback"}


def _read_script(path: Path, *, inherited: bool) -> tuple[Mapping[str, str], MigrationScript]:
    """The directives of the file's head, and the file; ``inherited``: transactional unless it says so itself?"""
    return _parse(path, read_sql(path), inherited)


@lru_cache(maxsize=1024)  # a step-by-step migration reads the whole folder at every step
def _parse(path: Path, text: str, inherited: bool) -> tuple[Mapping[str, str], MigrationScript]:
    head = _directives(path, text)
    script = MigrationScript(
        path,
        text,
        {"true": True, "false": False}[head["transactional"]] if "transactional" in head else inherited,
        tuple(statements(text)),
        tuple(match.start() for match in re.finditer("\n", text)),
        _seconds(head.get("lock_timeout")),
        _seconds(head.get("statement_timeout")),
    )
    _check(script)
    return head, script


def _read_rollback(path: Path, up: MigrationScript, irreversible: str | None) -> MigrationScript | None:
    if irreversible is not None:
        if path.exists():
            raise MigrationError(f"{up.path}: is declared irreversible, but there is {path.name}")
        return None
    if not path.is_file():
        raise MigrationError(
            f"{up.path}: there is no {path.name} beside it: every migration needs a rollback,"
            " or '-- irreversible: <reason>' in its head"
        )
    head, down = _read_script(path, inherited=up.transactional)
    for name in ("irreversible", "depends", "preflight"):
        if name in head:
            raise MigrationError(f"{path}: '-- {name}:' belongs to the head of {up.path.name}")
    return down


def _check(script: MigrationScript) -> None:
    if not script.statements:
        raise MigrationError(f"{script.path}: holds no statement")
    for statement in script.statements:
        if problem := _not_sendable(statement):
            raise MigrationError(f"{script.path}:{script.line(statement.start)}: {problem}")
    _ensure_no_psql(script)
    if script.transactional:
        return
    if len(script.statements) != 1:
        raise MigrationError(
            f"{script.path}:{script.line_of_statement(1)}: a file with '-- transactional: false' holds exactly one"
            f" statement, this one {len(script.statements)}: the statements before a failure could not be rolled back"
        )
    if problem := _not_repeatable(script.statements[0].words):
        raise MigrationError(
            f"{script.path}:{script.line_of_statement(0)}: {problem}: a statement outside of a transaction is"
            " repeated when the process dies before the mark"
        )


def _ensure_no_psql(script: MigrationScript) -> None:
    if "\\" not in script.text:
        return
    for token in tokens_of_any(script.text):
        if token.kind is Kind.CODE and script.text[token.start] == "\\":
            command = script.text[token.start : token.start + 60].split(maxsplit=1)[0]
            raise MigrationError(
                f"{script.path}:{script.line(token.start)}: {command} is a command of psql, which the server does not"
                " know: leave it out (pg_dump writes \\restrict and \\unrestrict)"
            )


def _not_sendable(statement: StatementSpan) -> str | None:
    """Why the server could not run the statement within the migration's transaction; None when it may."""
    words = statement.words
    first = words[:1]
    if first == ("copy",) and not {"stdin", "stdout"}.isdisjoint(words):
        return "COPY from or to the client is not possible here: use INSERT or SELECT"
    ends = first and first[0] in _ENDS_THE_TRANSACTION and "to" not in words
    if ends or words[:2] == ("prepare", "transaction"):
        return (
            f"{' '.join(words[:2]).upper()}: the migration and the mark that it is applied are one transaction, which"
            " the file must neither begin nor end"
        )
    return None


# May run outside of a transaction. DO and CALL commit their own batches: their author makes sure that a second run does
# what is left to do.
_REPEATABLE: Final = {"reindex", "vacuum", "analyze", "cluster", "do", "call"}
_IF_NOT_EXISTS: Final = ("if", "not", "exists")


def _not_repeatable(words: tuple[str, ...]) -> str | None:
    """Why a second run of the statement would fail, or do more; None when it would not."""

    def says(*wanted: str) -> bool:
        return any(words[i : i + len(wanted)] == wanted for i in range(len(words)))

    match words:
        case ("create", *_):
            return None if says(*_IF_NOT_EXISTS) else "CREATE needs IF NOT EXISTS"
        case ("drop", *_):
            return None if says("if", "exists") else "DROP needs IF EXISTS"
        case ("alter", "type", *_) if says("add", "value"):
            return None if says(*_IF_NOT_EXISTS) else "ADD VALUE needs IF NOT EXISTS"
        case (first, *_) if first in _REPEATABLE:
            return None
    return f"{' '.join(words[:2]).upper()} cannot be run twice, or can be run in a transaction"


# --- Directives ---------------------------------------------------------------------------------

_DURATION: Final = r"([0-9]{1,9})\s*(ms|s|min|h|d)"
_UNIT_S: Final = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86400}
_LONGEST_S: Final = (2**31 - 1) / 1000  # PostgreSQL counts timeouts in milliseconds, in 32 bits

# The form of each, and its description. yoyo reads the first two itself, in the same way.
_DIRECTIVES: Final = {
    "transactional": (r"true|false", "true or false"),
    "depends": (r".+", "the names of migrations"),
    "irreversible": (r"\S.*", "why it cannot be rolled back"),
    "preflight": (r"true", "true"),
    "lock_timeout": (_DURATION, "a time such as 500ms, 5s or 2min"),
    "statement_timeout": (_DURATION, "a time such as 30s, 10min or 2h"),
}
_LIKE_A_DIRECTIVE: Final = re.compile(r"\s*--\s*([A-Za-z][\w-]*)\s*(?:([:=])|(?=\s[0-9]))\s*(.*?)\s*$")


def _directives(path: Path, text: str) -> dict[str, str]:
    """The directives in the leading ``--`` comments. Raises MigrationError for one that would be ignored."""
    found = dict[str, str]()
    in_head = True
    for number, line in enumerate(text.split("\n"), start=1):
        in_head = in_head and (not line.strip() or line.lstrip().startswith("--"))
        if (like := _LIKE_A_DIRECTIVE.match(line)) is None:
            continue
        word, sign, value = like.groups()
        if word not in _DIRECTIVES:
            if in_head and sign and (near := _nearest(word)):
                raise MigrationError(f"{path}:{number}: {word!r} is no directive; did you mean '-- {near}:'?")
            continue
        if not in_head:
            if sign == ":":
                raise MigrationError(f"{path}:{number}: '-- {word}:' belongs to the head, before every statement")
            continue
        form, should = _DIRECTIVES[word]
        if sign != ":":
            raise MigrationError(f"{path}:{number}: '{line.strip()}' should be '-- {word}:' with {should}")
        if not re.fullmatch(form, value):
            raise MigrationError(f"{path}:{number}: '{line.strip()}' should say {should}")
        if word in found and word != "depends":
            raise MigrationError(f"{path}:{number}: '-- {word}:' is given twice")
        if word.endswith("_timeout") and not 0 < (_seconds(value) or 0) <= _LONGEST_S:
            raise MigrationError(f"{path}:{number}: '-- {word}: {value}' should be above zero and below 24 days")
        found[word] = f"{found[word]} {value}" if word in found else value
    return found


def _nearest(word: str) -> str | None:
    """The directive that a misspelt word probably means, if any: yoyo ignores such lines silently."""
    near = difflib.get_close_matches(word.lower().replace("-", "_"), _DIRECTIVES, n=1, cutoff=0.72)
    return near[0] if near else None


def _seconds(duration: str | None) -> float | None:
    found = re.fullmatch(_DURATION, duration or "")
    return None if found is None else int(found[1]) * _UNIT_S[found[2]]
