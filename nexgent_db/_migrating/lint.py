"""What a reviewer would ask of a migration's files, asked by a program: each rule is a function over one file.

What the engine itself refuses (an embedded COMMIT, a missing way back, two statements outside of a transaction) is
found by reading the folder as the engine does. The rules here are about what it would run all the same. The public
system's history is the past: it needs no header and is not shown to squawk.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nexgent_db._data import data_dir
from nexgent_db._migrating.files import LAST_OF_HISTORY, Migration, Script, migration_paths, read_folder
from nexgent_db._migrating.sql import Statement, Token, tokens
from nexgent_db.errors import ConfigurationError, MigrationError

__all__ = ["Finding", "lint", "squawk"]


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """Something to be mended, and where; the line counts from 1."""

    path: str
    line: int
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.text}"


def lint(directory: Path) -> list[Finding]:
    """Everything that the rules find in the folder, by file and line. Raises MigrationError for one without any."""
    found = list[Finding]()
    history = _history()
    for path in migration_paths(directory):
        try:
            migration = Migration(path)
        except MigrationError as unfit:
            found.append(_as_finding(unfit, path))
            continue
        for script in filter(None, (migration.up, migration.down)):
            found += [*named_constraints(script), *named_indexes(script)]
        if migration.id not in history:
            found += header(migration)
    if not found:
        try:
            read_folder(directory)  # what only the files together show
        except MigrationError as unfit:
            found.append(_as_finding(unfit, directory))
    return sorted(found)


def _history() -> frozenset[str]:
    """By name, so that a stranger's folder is not taken for the past."""
    return frozenset(path.stem for path in data_dir("migrations").glob("*.sql") if path.stem <= LAST_OF_HISTORY)


_PLACE: Final = re.compile(r"(.+?\.sql)(?::([0-9]+))?: (.*)", re.DOTALL)


def _as_finding(unfit: MigrationError, path: Path) -> Finding:
    if found := _PLACE.fullmatch(str(unfit)):
        return Finding(found[1], int(found[2] or 1), "unfit", found[3])
    return Finding(str(path), 1, "unfit", str(unfit))


# --- Headers ------------------------------------------------------------------------------------

_PARTS: Final = {"Why": "what the change is for", "Locks": "which are held, for how long", "Rollback loses": "what"}


def header(migration: Migration) -> Iterator[Finding]:
    """The leading comments say why, which locks, and what the rollback loses (or the file is irreversible)."""
    head = _head(migration.up.text)
    for part, what in _PARTS.items():
        if part == "Rollback loses" and migration.irreversible is not None:
            continue
        if not re.search(rf"^--\s*{part}:[ \t]*\S", head, re.MULTILINE | re.IGNORECASE):
            yield Finding(str(migration.up.path), 1, "header", f"the head lacks '-- {part}:' with {what}")


def _head(text: str) -> str:
    """The comments and blank lines that the file begins with."""
    lines = text.splitlines()
    end = next((at for at, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("--")), len(lines))
    return "\n".join(lines[:end])


# --- Names --------------------------------------------------------------------------------------

_TABLES_AND_DOMAINS: Final = {"table", "domain"}
_CONSTRAINTS: Final = {"primary", "unique", "check", "references", "foreign", "exclude"}


def named_constraints(script: Script) -> Iterator[Finding]:
    """Every constraint has a name of its own: what PostgreSQL makes up may differ from one database to another."""
    for statement in script.statements:
        if _temporary(statement) or statement.words[:1] not in (("create",), ("alter",)):
            continue
        kinds = [word for word in statement.words[1:4] if word in _TABLES_AND_DOMAINS]
        if kinds:
            yield from _unnamed_constraints(script, statement)


def _unnamed_constraints(script: Script, statement: Statement) -> Iterator[Finding]:
    pieces = list(tokens(script.text, statement.start, statement.end))
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
            yield Finding(str(script.path), script.line(piece.start), "named-constraint", text)


def _is_constraint(pieces: Sequence[Token], at: int) -> bool:
    """Whether the word begins a constraint, and does not name a column or another option."""
    following = pieces[at + 1].text if at + 1 < len(pieces) else ""
    match pieces[at].text:
        case "primary" | "foreign":
            return following == "key"
        case "exclude":
            return following in ("using", "(")
    return True


def named_indexes(script: Script) -> Iterator[Finding]:
    """Every index has a name of its own."""
    for statement in script.statements:
        if statement.words[:2] != ("create", "index") and statement.words[:3] != ("create", "unique", "index"):
            continue
        pieces = [piece.text for piece in tokens(script.text, statement.start, statement.end)]
        following = pieces[pieces.index("index") + 1 :]
        for optional in (["concurrently"], ["if", "not", "exists"]):
            if following[: len(optional)] == optional:
                following = following[len(optional) :]
        if following[:1] == ["on"]:
            line = script.line(statement.start)
            yield Finding(
                str(script.path), line, "named-index", "an index without a name: write CREATE INDEX <name> ON"
            )


def _temporary(statement: Statement) -> bool:
    return not {"temp", "temporary"}.isdisjoint(statement.words[1:4])


# --- squawk -------------------------------------------------------------------------------------

# The runner sets the timeouts; the types are the public system's.
_EXCLUDED: Final = "require-lock-timeout,require-statement-timeout,prefer-text-field,prefer-bigint-over-int"


def squawk(directory: Path) -> list[Finding]:
    """What squawk finds in the ways up, each told whether it runs inside a transaction; the history left out.

    Files that cannot be read are passed over: ``lint`` finds those. Raises ConfigurationError when squawk is not
    installed, or does not answer as it should.
    """
    history = _history()
    paths: dict[bool, list[str]] = {True: [], False: []}
    for path in migration_paths(directory):
        with suppress(MigrationError):
            migration = Migration(path)
            if migration.id not in history:
                paths[migration.up.transactional].append(str(path))
    return sorted([*_squawk(paths[True], "--assume-in-transaction"), *_squawk(paths[False])])


def _squawk(paths: Sequence[str], *options: str) -> Iterator[Finding]:
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
        yield Finding(each["file"], each["line"] + 1, each["rule_name"], text)


def _program() -> str:
    """The program of the wheel squawk-cli, beside this Python's others; else any on the path."""
    place = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
    if (program := shutil.which("squawk", path=place)) is None:
        raise ConfigurationError(
            "squawk is not installed: pip install squawk-cli (the extra 'dev' of nexgent-db has it),"
            " or leave its rules out with --no-squawk"
        )
    return program
