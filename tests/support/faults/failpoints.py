"""Ends a backend before any statement of the schema's PL/pgSQL functions, in a database of the test's own.

Each deployed function is replaced by its own text with a failpoint before every statement and at its end, and the
tables get one behind each row that changes and one at COMMIT. Nothing that is shipped changes.

A failpoint is an ASSERT, which leaves FOUND alone. Its function counts visits with ``nextval``, which no rollback takes
back, and ends its own backend when it is the armed one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from nexgent_db.contract._plpgsql import read_body
from nexgent_db.contract._plpgsql_flow import flow_of
from nexgent_db.contract._plpgsql_nodes import Case, If, Loop, PlpgsqlBlock, Statement

_FUNCTIONS: Final = """
SELECT
    p.proname,
    l.lanname,
    p.prosrc,
    pg_get_functiondef(p.oid)
FROM pg_proc AS p
JOIN pg_language AS l ON l.oid = p.prolang
WHERE p.pronamespace = current_schema()::regnamespace AND l.lanname IN ('plpgsql', 'sql') AND p.prokind = 'f'
ORDER BY p.proname
"""
_NONE: Final = -1
_ALL: Final = 0
_TOOLS: Final = """
CREATE SCHEMA failpoints;
CREATE TABLE failpoints.armed (number int NOT NULL, visit int NOT NULL);
INSERT INTO failpoints.armed VALUES (-1, 0);

CREATE FUNCTION failpoints.reach(point int) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    armed failpoints.armed;
    visit bigint;
BEGIN
    SELECT * INTO armed FROM failpoints.armed;
    IF armed.number = 0 OR armed.number = point THEN
        visit := nextval(format('failpoints.visits_%s', point)::regclass);
        IF visit = armed.visit THEN
            PERFORM pg_terminate_backend(pg_backend_pid());
            PERFORM pg_sleep(60);
            RAISE EXCEPTION 'failpoint % has not ended its backend', point;
        END IF;
    END IF;
    RETURN true;
END
$$;

CREATE FUNCTION failpoints.row_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM failpoints.reach(TG_ARGV[0]::int);
    RETURN NULL;
END
$$;
"""
_AT_ROW: Final = "CREATE TRIGGER failpoint_row AFTER INSERT OR UPDATE OR DELETE ON {} FOR EACH ROW"
_AT_COMMIT: Final = (
    "CREATE CONSTRAINT TRIGGER failpoint_commit AFTER INSERT OR UPDATE OR DELETE ON {}"
    " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
)
_END: Final = re.compile(r"\bend\s*;?\s*\Z", re.IGNORECASE)
_WORD: Final = re.compile(r"\w+")


@dataclass(frozen=True)
class Failpoint:
    """A place where a backend can be ended. ``function`` is None for a table's; ``place`` is line and text."""

    number: int
    function: str | None
    place: str


@dataclass(frozen=True)
class Function:
    """A function of the schema as it is deployed."""

    name: str
    language: str
    body: str
    definition: str

    @property
    def places(self) -> list[tuple[int, str]]:
        """The offsets of its statements in the body and that of its end, where it ends without RETURN."""
        block = read_body(self.body)
        places = [(start, "") for start in _starts(block.body)]
        places += [(start, "") for handler in block.handlers for start in _starts(handler.body)]
        if flow_of(block).ends:
            end = _END.search(self.body)
            assert end is not None, self.name
            places.append((end.start(), " (the end)"))
        return places


def functions_of(connection: psycopg.Connection[Any]) -> dict[str, Function]:
    """Every function of the schema, by name; PL/pgSQL and SQL."""
    functions = [Function(*row) for row in connection.execute(_FUNCTIONS).fetchall()]
    by_name = {function.name: function for function in functions}
    assert len(by_name) == len(functions), "an overloaded function"
    return by_name


def reachable_from(texts: Iterable[str], functions: dict[str, Function]) -> set[str]:
    """The functions that are named in these texts of SQL, and those named in their definitions."""
    found: set[str] = set()
    waiting = [*texts]
    while waiting:
        named = functions.keys() & set(_WORD.findall(waiting.pop()))
        waiting += [functions[name].definition for name in named - found]
        found |= named
    return found


def install(connection: psycopg.Connection[Any], tables: Iterable[str]) -> list[Failpoint]:
    """Give every PL/pgSQL function and each of ``tables`` their failpoints; none is armed."""
    points: list[Failpoint] = []

    def add(function: str | None, place: str) -> int:
        points.append(Failpoint(len(points) + 1, function, place))
        connection.execute(f"CREATE SEQUENCE failpoints.visits_{len(points)}".encode())
        return len(points)

    functions = functions_of(connection)
    connection.execute(_TOOLS)
    for function in functions.values():
        if function.language != "plpgsql":
            continue
        copy, body = function.body, function.body
        for at, suffix in sorted(function.places, reverse=True):
            line = f"{body.count(chr(10), 0, at) + 1}: {body[at:].partition(chr(10))[0].strip()}{suffix}"
            copy = f"{copy[:at]}ASSERT failpoints.reach({add(function.name, line)}); {copy[at:]}"
        assert function.definition.count(body) == 1
        connection.execute(function.definition.replace(body, copy).encode())
    for table in tables:
        for trigger, place in ((_AT_ROW, "a changed row"), (_AT_COMMIT, "COMMIT")):
            number = add(None, f"{place} of {table}")
            text = f"{trigger.format(table)} EXECUTE FUNCTION failpoints.row_changed({number})"
            connection.execute(text.encode())
    return points


def arm(connection: psycopg.Connection[Any], number: int, visit: int) -> None:
    """From now on the backend ends that reaches this failpoint for this time, counted from 1."""
    connection.execute("SELECT setval(%s::regclass, 1, false)", [f"failpoints.visits_{number}"])
    _set(connection, number, visit)


def count_visits(connection: psycopg.Connection[Any]) -> None:
    """From now on every failpoint is passed, and counts."""
    _set(connection, _ALL, 0)


def disarm(connection: psycopg.Connection[Any]) -> None:
    """From now on every failpoint is passed, and none counts."""
    _set(connection, _NONE, 0)


def take_visits(connection: psycopg.Connection[Any]) -> dict[int, int]:
    """How often each failpoint was visited since the last call, without those that were not."""
    rows = connection.execute(
        "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = 'failpoints' AND last_value IS NOT NULL"
    ).fetchall()
    for name, _ in rows:
        connection.execute("SELECT setval(%s::regclass, 1, false)", [f"failpoints.{name}"])
    return {int(name.removeprefix("visits_")): visits for name, visits in rows}


def _set(connection: psycopg.Connection[Any], number: int, visit: int) -> None:
    connection.execute("UPDATE failpoints.armed SET number = %s, visit = %s", [number, visit])


def _starts(statements: Iterable[Statement]) -> Iterator[int]:
    for statement in statements:
        if isinstance(statement, PlpgsqlBlock):
            yield from _starts(statement.body)
            for handler in statement.handlers:
                yield from _starts(handler.body)
            continue
        yield statement.start
        if isinstance(statement, Loop):
            yield from _starts(statement.body)
        elif isinstance(statement, Case | If):
            for branch in statement.branches:
                yield from _starts(branch.body)
