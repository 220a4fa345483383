"""Reads files of named SQL queries into immutable objects; touches nothing but the file.

A file holds one aggregate's queries: a header comment for the DBA, then blocks::

    -- name: list_by_agent :many
    -- The agent's open positions, newest first.
    SELECT id, symbol FROM agent_positions
    WHERE agent_id = :agent_id
      AND wallet_address = :wallet_address   -- if given
    ORDER BY created_at DESC, id DESC
    LIMIT :limit;

Parameters are ``:name``; what a colon means where is described in ``queries.lexer``. A line that ends in
``-- if given`` is left out when one of its parameters is not given, so one query has several variants. What is
sent (``Statement.text``) is the block as written, with ``$1 … $n`` for the parameters, and:

- the name line is qualified, ``-- name: positions.list_by_agent :many``, so that pg_stat_activity and the
  server log name the query; the ``--`` comment lines between it and the statement become empty lines, because
  pg_stat_activity shows the first kilobyte only;
- a line that is left out becomes an empty line, so a line of the text is always the same line of the file;
- it ends with the last token: the semicolon and what follows it are not sent.

``Query.location`` turns the position in an error of PostgreSQL back into a line and column of the file.

Files are UTF-8. A byte order mark at the start is skipped, as psql does, CRLF is read as LF (in string literals
too, so that a checkout cannot change a value), and a lone CR is refused, because PostgreSQL ends a comment there
and editors do not.

Not supported: ``;`` inside a statement (``BEGIN ATOMIC`` bodies), and ``standard_conforming_strings = off``.
"""

from __future__ import annotations

import keyword
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from nexgent_db.errors import SqlFileError
from nexgent_db.queries.parser import NAME, parse
from nexgent_db.queries.statement import Query

__all__ = ["SqlFile", "load_directory", "load_file", "query_files"]


@dataclass(frozen=True, slots=True)
class SqlFile:
    """One file: its header comment without the comment marks, and its queries in order."""

    path: Path
    header: str
    queries: Mapping[str, Query]

    @property
    def name(self) -> str:
        """``positions`` for ``sql/positions.sql``."""
        return self.path.stem


def load_directory(path: Path | str) -> Mapping[str, SqlFile]:
    """Every ``*.sql`` file right inside the directory, by stem, in order of name.

    Hidden files are skipped, and what holds no queries: ``schema.sql`` (what the migrations make, written out for
    readers) and ``roles.sql`` (who may do what).

    Raises SqlFileError when the directory cannot be read or holds no such file, then for the first bad file.
    """
    return MappingProxyType({p.stem: load_file(p) for p in query_files(Path(path))})


def query_files(directory: Path) -> list[Path]:
    """The paths of what :func:`load_directory` loads; raises SqlFileError when there are none."""
    try:
        found = sorted(p for p in directory.iterdir() if p.suffix == ".sql" and not p.name.startswith("."))
    except OSError as error:
        raise SqlFileError(directory, 1, 1, f"cannot be read: {error.strerror or error}") from error
    paths = [p for p in found if p.name not in ("schema.sql", "roles.sql")]
    if not paths:
        raise SqlFileError(directory, 1, 1, "no .sql file in this directory")
    return paths


def load_file(path: Path | str) -> SqlFile:
    """The queries of one file. Raises SqlFileError at the first mistake in it, with line and column."""
    path = Path(path)
    header, queries = parse(path, _read(path))
    return SqlFile(path, header, MappingProxyType(queries))


def _read(path: Path) -> str:
    if not NAME.fullmatch(path.stem) or keyword.iskeyword(path.stem):
        raise SqlFileError(path, 1, 1, "the file's name must be lower snake case: it qualifies its queries' names")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SqlFileError(path, 1, 1, f"cannot be read: {error.strerror or error}") from error
    try:
        text = data.decode().removeprefix("\ufeff").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode().removeprefix("\ufeff")
        place = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise SqlFileError(path, *place, f"not UTF-8: byte 0x{data[error.start]:02x}") from error
    for character, problem in ("\0", "NUL character"), ("\r", "carriage return without a line feed"):
        if (offset := text.find(character)) >= 0:
            place = text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)
            raise SqlFileError(path, *place, problem)
    return text
