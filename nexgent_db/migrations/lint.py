"""Checks the files of migrations as a reviewer would: each rule is a function over one file.

Reading the folder finds what the migrator refuses (an embedded COMMIT, a missing rollback file, two statements outside
of a transaction). The rules here find what it would run all the same. Legacy migrations need no header and are not
shown to squawk.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from nexgent_db.errors import ConfigurationError, MigrationError
from nexgent_db.migrations.files import (
    LAST_LEGACY_MIGRATION,
    Migration,
    MigrationScript,
    migration_paths,
    read_folder,
    read_folders,
)
from nexgent_db.migrations.touched import created, touched
from nexgent_db.project import LEDGER_TABLES, PACKAGE_HISTORY
from nexgent_db.queries.citus import codes, refusals
from nexgent_db.queries.lexer import Lexeme, StatementSpan, lexemes
from nexgent_db.resources import data_dir

__all__ = ["LintFinding", "lint", "lint_own", "squawk"]


@dataclass(frozen=True, slots=True, order=True)
class LintFinding:
    """Something to repair, and where; the line counts from 1."""

    path: str
    line: int
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.text}"


def lint(directory: Path) -> list[LintFinding]:
    """Everything that the rules find in the folder, by file and line. Raises MigrationError for an empty folder."""
    return sorted(_linted({PACKAGE_HISTORY: directory}, {PACKAGE_HISTORY: directory}))


def lint_own(migrations: Mapping[str, Path]) -> list[LintFinding]:
    """The same for a service's folders, by the names of their histories, beside this package's, which are not linted.
    Raises MigrationError for an empty folder."""
    return sorted(_linted(migrations, {PACKAGE_HISTORY: data_dir("migrations"), **migrations}))


def _linted(folders: Mapping[str, Path], together: Mapping[str, Path]) -> list[LintFinding]:
    found = list[LintFinding]()
    legacy = _legacy_names()
    for history, directory in folders.items():
        for path in migration_paths(directory):
            try:
                migration = Migration(path, history)
            except MigrationError as error:
                found.append(_as_finding(error, path))
                continue
            for script in filter(None, (migration.up, migration.down)):
                found += [
                    *named_constraints(script),
                    *named_indexes(script),
                    *database_collation(script),
                    *unlocked_look(script),
                    *refused_by_citus(script, new=migration.id >= _FIRST_ON_CITUS or history != PACKAGE_HISTORY),
                ]
                if history != PACKAGE_HISTORY:
                    found += objects_of_the_package(script)
            if migration.id not in legacy:
                found += header(migration)
    if not found:
        try:
            read_folders(together)  # finds what only the files together show
        except MigrationError as error:
            found.append(_as_finding(error, next(iter(folders.values()))))
    return found


def _legacy_names() -> frozenset[str]:
    """The legacy migrations by name: those of another folder are not legacy."""
    return frozenset(path.stem for path in data_dir("migrations").glob("*.sql") if path.stem <= LAST_LEGACY_MIGRATION)


_PLACE: Final = re.compile(r"(.+?\.sql)(?::([0-9]+))?: (.*)", re.DOTALL)


def _as_finding(error: MigrationError, path: Path) -> LintFinding:
    if found := _PLACE.fullmatch(str(error)):
        return LintFinding(found[1], int(found[2] or 1), "invalid", found[3])
    return LintFinding(str(path), 1, "invalid", str(error))


# --- Headers ------------------------------------------------------------------------------------

_PARTS: Final = {"Why": "what the change is for", "Locks": "which are held, for how long", "Rollback loses": "what"}


def header(migration: Migration) -> Iterator[LintFinding]:
    """The leading comments say why, which locks, and what the rollback loses (or the file is irreversible)."""
    head = _head(migration.up.text)
    for part, what in _PARTS.items():
        if part == "Rollback loses" and migration.irreversible is not None:
            continue
        if not re.search(rf"^--\s*{part}:[ \t]*\S", head, re.MULTILINE | re.IGNORECASE):
            yield LintFinding(str(migration.up.path), 1, "header", f"the head lacks '-- {part}:' with {what}")


def _head(text: str) -> str:
    """The comments and blank lines that the file begins with."""
    lines = text.splitlines()
    end = next((at for at, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("--")), len(lines))
    return "\n".join(lines[:end])


# --- Names --------------------------------------------------------------------------------------

_TABLES_AND_DOMAINS: Final = {"table", "domain"}
_CONSTRAINTS: Final = {"primary", "unique", "check", "references", "foreign", "exclude"}


def named_constraints(script: MigrationScript) -> Iterator[LintFinding]:
    """Every constraint has a name of its own: what PostgreSQL makes up may differ from one database to another."""
    for statement in script.statements:
        if _temporary(statement) or statement.words[:1] not in (("create",), ("alter",)):
            continue
        kinds = [word for word in statement.words[1:4] if word in _TABLES_AND_DOMAINS]
        if kinds:
            yield from _unnamed_constraints(script, statement)


def _unnamed_constraints(script: MigrationScript, statement: StatementSpan) -> Iterator[LintFinding]:
    pieces = list(lexemes(script.text, statement.start, statement.end))
    after_key = False  # FOREIGN KEY has its REFERENCES, which is no constraint of its own
    for at, piece in enumerate(pieces):
        if piece.kind != "word" or piece.text not in _CONSTRAINTS or not _is_constraint(pieces, at):
            continue
        if piece.text == "references" and after_key:
            after_key = False
            continue
        after_key = piece.text == "foreign"
        if at < 2 or pieces[at - 2].text != "constraint":
            what = "FOREIGN KEY" if after_key else "PRIMARY KEY" if piece.text == "primary" else piece.text.upper()
            text = f"a constraint without a name: write CONSTRAINT <table>_<columns>_… {what}"
            yield LintFinding(str(script.path), script.line(piece.start), "named-constraint", text)


def _is_constraint(pieces: Sequence[Lexeme], at: int) -> bool:
    """Whether the word begins a constraint, and does not name a column or another option."""
    following = pieces[at + 1].text if at + 1 < len(pieces) else ""
    match pieces[at].text:
        case "primary" | "foreign":
            return following == "key"
        case "exclude":
            return following in ("using", "(")
    return True


def named_indexes(script: MigrationScript) -> Iterator[LintFinding]:
    """Every index has a name of its own."""
    for statement in script.statements:
        if statement.words[:2] != ("create", "index") and statement.words[:3] != ("create", "unique", "index"):
            continue
        pieces = [piece.text for piece in lexemes(script.text, statement.start, statement.end)]
        following = pieces[pieces.index("index") + 1 :]
        for optional in (["concurrently"], ["if", "not", "exists"]):
            if following[: len(optional)] == optional:
                following = following[len(optional) :]
        if following[:1] == ["on"]:
            line = script.line(statement.start)
            yield LintFinding(
                str(script.path), line, "named-index", "an index without a name: write CREATE INDEX <name> ON"
            )


def _temporary(statement: StatementSpan) -> bool:
    return not {"temp", "temporary"}.isdisjoint(statement.words[1:4])


# --- Objects of the package ----------------------------------------------------------------------


def objects_of_the_package(script: MigrationScript) -> Iterator[LintFinding]:
    """A service's migration leaves this package's objects alone, indexes of its tables aside, and does not write its
    ledger."""
    for each in touched(script):
        if each.verb == "writes to":
            wrong = each.name in LEDGER_TABLES
            advice = "trades and their functions write the ledger"
        else:
            kind = "table" if each.kind in ("column", "constraint") else each.kind
            wrong = (kind, each.name) in _package_objects()
            advice = "this package's migrations make it: give yours another name, and leave this as it is"
        if wrong:
            yield LintFinding(str(script.path), script.line(each.offset), "package-object", f"{each}: {advice}")


@cache
def _package_objects() -> frozenset[tuple[str, str]]:
    return created(read_folder(data_dir("migrations")))


# --- Locks --------------------------------------------------------------------------------------


def unlocked_look(script: MigrationScript) -> Iterator[LintFinding]:
    """A file that looks for rows, to refuse or to count them, and then alters a table, locks the table first.

    Else a row that comes between the two is lost.
    """
    looked: StatementSpan | None = None
    for statement in script.statements:
        if statement.words[:1] == ("lock",):
            return
        if statement.words[:1] == ("do",) and "raise" in script.text[statement.start : statement.end].lower():
            looked = looked or statement
        elif looked is not None and statement.words[:2] in (("alter", "table"), ("drop", "table")):
            text = "it looks for rows, and alters the table later: LOCK TABLE … IN ACCESS EXCLUSIVE MODE first"
            yield LintFinding(str(script.path), script.line(looked.start), "unlocked-look", text)
            return


# --- Citus --------------------------------------------------------------------------------------

_FIRST_ON_CITUS: Final = "20261130"
"""Earlier migrations of ours run before a cell is distributed, on tables that are not Citus's yet."""


def refused_by_citus(script: MigrationScript, *, new: bool) -> Iterator[LintFinding]:
    """A cell may be a distributed schema of Citus, which refuses some of what PostgreSQL takes.

    ALTER TABLE is judged in ``new`` files only: the others run before a cell is distributed.
    """
    for refusal in refusals(script.text):
        if new or refusal.rule != "mixed-alter-table":
            text = f"{refusal.text}, which Citus refuses: {refusal.advice}"
            yield LintFinding(str(script.path), script.line(refusal.offset), refusal.rule, text)


# --- Collation ----------------------------------------------------------------------------------

_CASE_FUNCTIONS: Final = {"lower", "upper", "initcap", "casefold"}
_CASE_OPERATORS: Final = {("~", "*"), ("~", "~", "*")}
_ENDS_AN_OPERAND: Final = {"and", "or", "then", "when", "else", "end", "where", "order", "group", ",", ";"}


def database_collation(script: MigrationScript) -> Iterator[LintFinding]:
    """Nothing changes or ignores case by the database's locale, where lower('DEPOSIT') may be 'deposıt'.

    Judged by the text, bodies of functions included. An argument whose name ends with ``range`` has no letters.
    """
    for start, end in codes(script.text):
        pieces = list(lexemes(script.text, start, end))
        for at, piece in enumerate(pieces):
            if piece.text in _CASE_FUNCTIONS and piece.kind == "word" and _text(pieces, at + 1) == "(":
                argument = _in_brackets(pieces, at + 1)
                if "collate" in argument or any(word.endswith("range") for word in argument):
                    continue
            elif piece.text == "ilike" or _is_case_operator(pieces, at):
                if _text(pieces, at - 2) == "collate" or "collate" in _operand(pieces, at + 1):
                    continue
            else:
                continue
            text = f'{piece.text} follows the database\'s locale: add COLLATE "C"'
            yield LintFinding(str(script.path), script.line(piece.start), "database-collation", text)


def _text(pieces: Sequence[Lexeme], at: int) -> str:
    return pieces[at].text if 0 <= at < len(pieces) else ""


def _in_brackets(pieces: Sequence[Lexeme], at: int) -> list[str]:
    """The pieces between the bracket at ``at`` and the one that closes it."""
    depth, inside = 0, list[str]()
    for piece in pieces[at:]:
        depth += (piece.text == "(") - (piece.text == ")")
        if depth == 0:
            break
        inside.append(piece.text)
    return inside


def _is_case_operator(pieces: Sequence[Lexeme], at: int) -> bool:
    """Whether ``~*`` or ``~~*`` begins here."""
    if pieces[at].text != "~" or _text(pieces, at - 1) == "~":
        return False
    return any(tuple(_text(pieces, at + n) for n in range(len(each))) == each for each in _CASE_OPERATORS)


def _operand(pieces: Sequence[Lexeme], at: int) -> list[str]:
    """The pieces up to what ends an operand: a closing bracket that it did not open, or a keyword."""
    depth, inside = 0, list[str]()
    for piece in pieces[at:]:
        depth += (piece.text == "(") - (piece.text == ")")
        if depth < 0 or (depth == 0 and piece.text in _ENDS_AN_OPERAND):
            break
        inside.append(piece.text)
    return inside


# --- squawk -------------------------------------------------------------------------------------

# The runner sets the timeouts; the types are the public system's.
_EXCLUDED: Final = "require-lock-timeout,require-statement-timeout,prefer-text-field,prefer-bigint-over-int"


def squawk(directory: Path) -> list[LintFinding]:
    """What squawk finds in the migrations, without the legacy ones; it knows which run inside a transaction.

    Files that cannot be read are passed over: ``lint`` finds those. Raises ConfigurationError when squawk is not
    installed, or does not answer as it should.
    """
    legacy = _legacy_names()
    paths: dict[bool, list[str]] = {True: [], False: []}
    for path in migration_paths(directory):
        with suppress(MigrationError):
            migration = Migration(path)
            if migration.id not in legacy:
                paths[migration.up.transactional].append(str(path))
    return sorted([*_squawk(paths[True], "--assume-in-transaction"), *_squawk(paths[False])])


def _squawk(paths: Sequence[str], *options: str) -> Iterator[LintFinding]:
    if not paths:
        return
    command = [_program(), "--reporter", "json", "--exclude", _EXCLUDED, *options, *paths]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        said = " ".join((done.stderr or done.stdout).split())
        raise ConfigurationError(f"squawk ended with {done.returncode}: {said or 'nothing said'}") from None
    for each in answer:
        text = " ".join(filter(None, (each["message"], each.get("help"))))
        yield LintFinding(each["file"], each["line"] + 1, each["rule_name"], text)


def _program() -> str:
    """The program of the wheel squawk-cli, beside this Python's others; else any on the path."""
    place = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
    if (program := shutil.which("squawk", path=place)) is None:
        raise ConfigurationError(
            "squawk is not installed: pip install squawk-cli (the extra 'dev' of nexgent-db has it),"
            " or leave its rules out with --no-squawk"
        )
    return program
