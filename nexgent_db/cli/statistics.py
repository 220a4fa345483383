"""``queries stats``: the figures of pg_stat_statements, by the names of our queries.

Up to PostgreSQL 17 it keeps the name line with a statement's text. PostgreSQL 18 drops leading comments, so there the
lines identify a statement: they are those of the file, with an empty line for each omitted one, and parameters for
constants.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import psycopg
from psycopg import sql

from nexgent_db.errors import ConfigurationError
from nexgent_db.queries.lexer import Kind, tokens_of_any
from nexgent_db.queries.statement import Query

__all__ = ["QueryStatistics", "Statistics", "read_statistics"]

_EXTENSION: Final = "pg_stat_statements"
_AD_HOC: Final = "execute."
# A sent statement opens with the name line; a stream sends its statement after DECLARE CURSOR.
_NAMED: Final = re.compile(r"\s*(?:DECLARE\s.*?\sFOR\s+)?-- name: (?P<name>\w+\.\w+) :\w+\n", re.DOTALL)
_VALUE: Final = re.compile(
    r"\$[0-9]+|\b(?:true|false|null)\b|-?\b[0-9]+(?:\.[0-9]+)?\b"
    r"|(?<=\bextract\()[a-z]+",  # the field is a constant too
    re.IGNORECASE,
)
_VALUES: Final = re.compile(r"\?(?:\s*,\s*\?)*(?:\s*/\*, \.\.\. \*/)?")  # PostgreSQL 18 shortens lists of constants
_HIDDEN: Final = "<insufficient privilege>"
_INSTALLED: Final = """
SELECT n.nspname FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname = %s
"""
_COUNTED: Final = """
SELECT s.query, s.calls, s.total_exec_time, s.rows, s.shared_blks_hit, s.shared_blks_read
FROM {schema}.pg_stat_statements AS s
JOIN pg_database AS d ON d.oid = s.dbid
WHERE d.datname = current_database()
"""


@dataclass(slots=True)
class QueryStatistics:
    """The figures of one query, all variants together. Times are milliseconds on the server."""

    name: str
    calls: int = 0
    total_ms: float = 0.0
    rows: int = 0
    blocks_hit: int = 0
    blocks_read: int = 0

    @property
    def mean_ms(self) -> float:
        """The mean time of a call."""
        return self.total_ms / self.calls if self.calls else 0.0

    @property
    def cache_hit(self) -> float | None:
        """The share of blocks that were in shared buffers, 0 to 1; None when none were needed."""
        blocks = self.blocks_hit + self.blocks_read
        return self.blocks_hit / blocks if blocks else None


@dataclass(slots=True)
class Statistics:
    """Our queries and the service's that ran, and the statements of ``execute()``, by total time, longest first; those
    that never ran; named queries of other releases."""

    since: datetime | None
    ran: list[QueryStatistics] = field(default_factory=list)
    never_ran: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    hidden: int = 0
    """The number of other roles' statements, whose text this role may not read."""


def read_statistics(connection: psycopg.Connection[Any], queries: Iterable[Query]) -> Statistics:
    """The figures since the last reset. Raises ConfigurationError, with advice, without the extension;
    psycopg.Error."""
    found = connection.execute(_INSTALLED, [_EXTENSION]).fetchone()
    loaded = _is_loaded(connection)
    if found is None or loaded is False:
        raise ConfigurationError(_advice(connection, created=found is not None, loaded=loaded))
    schema = sql.Identifier(found[0])
    try:
        rows = connection.execute(sql.SQL(_COUNTED).format(schema=schema)).fetchall()
    except psycopg.errors.ObjectNotInPrerequisiteState:  # this role may not see the loaded libraries
        raise ConfigurationError(_advice(connection, created=True, loaded=False)) from None
    since = connection.execute(
        sql.SQL("SELECT stats_reset FROM {schema}.pg_stat_statements_info").format(schema=schema)
    ).fetchone()
    statistics = Statistics(since[0] if since else None)
    names = _Names(queries)
    counted: dict[str, QueryStatistics] = {}
    for text, calls, total_ms, returned, hit, read in rows:
        if text == _HIDDEN:
            statistics.hidden += 1
        elif (name := names.of(text or "")) is not None:
            query = counted.setdefault(name, QueryStatistics(name))
            query.calls += calls
            query.total_ms += total_ms
            query.rows += returned
            query.blocks_hit += hit
            query.blocks_read += read
    statistics.ran = sorted(
        (each for name, each in counted.items() if name in names.ours or name.startswith(_AD_HOC)),
        key=lambda each: (-each.total_ms, each.name),
    )
    statistics.never_ran = [name for name in names.ours if name not in counted]
    statistics.unknown = sorted(name for name in counted.keys() - set(names.ours) if not name.startswith(_AD_HOC))
    return statistics


class _Names:
    """Finds the query of a statement."""

    def __init__(self, queries: Iterable[Query]) -> None:
        self.ours: list[str] = []
        self._by_first_line: dict[str, list[tuple[str, list[tuple[str, bool]]]]] = {}
        for query in queries:
            self.ours.append(query.qualified_name)
            lines = _template(query)
            self._by_first_line.setdefault(lines[0][0], []).append((query.qualified_name, lines))

    def of(self, text: str) -> str | None:
        """The name of a query of this release or of another one; None for any other statement."""
        if (named := _NAMED.match(text)) is not None:
            return named["name"]
        lines = _lines(text)
        for name, template in self._by_first_line.get(lines[0], ()):
            padded = lines + [""] * (len(template) - len(lines))
            if len(padded) == len(template) and all(
                line == wanted or (optional and not line)
                for line, (wanted, optional) in zip(padded, template, strict=True)
            ):
                return name
        return None


def _template(query: Query) -> list[tuple[str, bool]]:
    """The lines of the whole statement, each with whether it may be left out."""
    whole = _lines(query.statement(query.parameters).text)
    bare = _lines(query.statement(query.required).text)
    bare += [""] * (len(whole) - len(bare))
    return [(line, bool(line) and not other) for line, other in zip(whole, bare, strict=True)]


def _lines(text: str) -> list[str]:
    """The lines of a statement from its first word on, with ``?`` for every value."""
    pieces: list[str] = []
    for token in tokens_of_any(text.rstrip()):
        piece = text[token.start : token.end]
        if token.kind is Kind.CODE:
            pieces.append(_VALUE.sub("?", piece if pieces else piece.lstrip()))
        elif token.kind is Kind.QUOTED and piece[0] in "'eE":
            pieces.append("?")
        elif pieces or token.kind is not Kind.LINE_COMMENT:
            pieces.append(piece)
        if pieces == [""]:  # white space before the first word
            pieces.clear()
    return _VALUES.sub("?", "".join(pieces)).split("\n")


def _is_loaded(connection: psycopg.Connection[Any]) -> bool | None:
    """Whether the server loaded the library at its start; None when this role may not know."""
    try:
        row = connection.execute("SHOW shared_preload_libraries").fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return None
    return row is not None and _EXTENSION in re.split(r"[\s,\"]+", row[0])


def _advice(connection: psycopg.Connection[Any], *, created: bool, loaded: bool | None) -> str:
    available = connection.execute("SELECT FROM pg_available_extensions WHERE name = %s", [_EXTENSION]).fetchone()
    steps = []
    if available is None:
        steps.append("install the package that has it (Debian: postgresql-15 and later, Red Hat: postgresql-contrib)")
    if not loaded:
        steps.append(
            "as a superuser ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements' (beside what is there"
            " already), then restart the server"
        )
    if not created:
        steps.append("in this database CREATE EXTENSION pg_stat_statements")
    state = "not loaded" if created else "not installed"
    return f"{_EXTENSION} is {state} here: {'; '.join(steps)}"
