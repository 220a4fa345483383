"""Counts which branches of PL/pgSQL functions are reached, in a database of the test's own.

Each function is replaced by a copy with a mark in every branch: at its start, behind each THEN and ELSE, in each loop,
and in the ELSE that an IF does not have. A mark calls ``nextval``, which no rollback takes back, in an ASSERT, which
leaves FOUND alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

from nexgent_db.contract._plpgsql import read_body
from nexgent_db.contract._plpgsql_nodes import Branch, Case, If, Loop, PlpgsqlBlock, Statement

_FUNCTIONS = """
SELECT p.oid::int8, p.proname, p.prosrc, pg_get_functiondef(p.oid)
FROM pg_proc AS p
JOIN pg_language AS l ON l.oid = p.prolang
WHERE p.pronamespace = current_schema()::regnamespace AND l.lanname = 'plpgsql'
ORDER BY p.proname
"""


@dataclass(frozen=True)
class _Mark:
    """A place in a body where a branch starts, what stands there, and what a mark needs before it."""

    at: int
    shown: int
    suffix: str = ""
    before: str = ""


def instrument(connection: psycopg.Connection[Any]) -> dict[str, str]:
    """Replace every PL/pgSQL function of the schema by its copy with marks; names of sequences by branch."""
    connection.execute("CREATE SCHEMA coverage")
    sequences: dict[str, str] = {}
    for _, name, body, definition in connection.execute(_FUNCTIONS).fetchall():
        copy = body
        for mark in sorted(_marks(read_body(body)), key=lambda each: each.at, reverse=True):
            sequence = f"coverage.reached_{len(sequences)}"
            line = body.count("\n", 0, mark.shown) + 1
            text = body[mark.shown :].split("\n", 1)[0].strip()
            sequences[f"{name}:{line}: {text}{mark.suffix}"] = sequence
            connection.execute(f"CREATE SEQUENCE {sequence}".encode())
            copy = f"{copy[: mark.at]}{mark.before} ASSERT nextval('{sequence}') > 0; {copy[mark.at :]}"
        assert definition.count(body) == 1
        connection.execute(definition.replace(body, copy).encode())
    return sequences


def take_reached(connection: psycopg.Connection[Any], sequences: dict[str, str]) -> set[str]:
    """The branches that were reached since the last call."""
    called = {
        f"coverage.{name}"
        for (name,) in connection.execute(
            "SELECT sequencename FROM pg_sequences WHERE schemaname = 'coverage' AND last_value IS NOT NULL"
        ).fetchall()
    }
    for sequence in called:
        connection.execute("SELECT setval(%s::regclass, 1, false)", [sequence])
    return {branch for branch, sequence in sequences.items() if sequence in called}


def _marks(block: PlpgsqlBlock) -> Iterator[_Mark]:
    yield _Mark(block.at, block.start)
    yield from _in_block(block)


def _in_block(block: PlpgsqlBlock) -> Iterator[_Mark]:
    yield from _in_statements(block.body)
    yield from _in_branches(block.handlers)


def _in_statements(statements: Iterable[Statement]) -> Iterator[_Mark]:
    for statement in statements:
        if isinstance(statement, PlpgsqlBlock):
            yield from _in_block(statement)
        elif isinstance(statement, Loop):
            yield _Mark(statement.at, statement.start)
            yield from _in_statements(statement.body)
        elif isinstance(statement, Case | If):
            yield from _in_branches(statement.branches)
            if isinstance(statement, If) and not statement.has_else:
                yield _Mark(statement.end, statement.start, " (not so)", "ELSE")


def _in_branches(branches: Iterable[Branch]) -> Iterator[_Mark]:
    for branch in branches:
        yield _Mark(branch.at, branch.start)
        yield from _in_statements(branch.body)
