"""Finds statements of a PL/pgSQL function that are never reached, and ways that end without a RETURN. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from nexgent_db.contract._plpgsql_nodes import (
    Branch,
    Case,
    Exit,
    If,
    Loop,
    Piece,
    PlpgsqlBlock,
    Raise,
    Return,
    Statement,
)
from nexgent_db.queries.lexer import lexemes

__all__ = ["Flow", "flow_of", "meaning"]


@dataclass(slots=True)
class Flow:
    """``unreachable``: offset of a statement and the reason. ``ends``: whether a way reaches the end of the body."""

    unreachable: list[tuple[int, str]] = field(default_factory=list)
    ends: bool = True


def flow_of(block: PlpgsqlBlock) -> Flow:
    """The flow through a function's outermost block."""
    reader = _Flow()
    flow = reader.flow
    flow.ends = reader.block(block)
    return flow


def meaning(piece: Piece) -> tuple[str, ...]:
    """The words of an expression; two with equal words mean the same."""
    return tuple(lexeme.text for lexeme in lexemes(piece.text))


class _Flow:
    def __init__(self) -> None:
        self.flow = Flow()
        self.loops: list[tuple[Loop | PlpgsqlBlock, list[bool]]] = []  # and whether an EXIT leaves it

    def block(self, block: PlpgsqlBlock) -> bool:
        """Whether the statement after the block can be reached."""
        left: list[bool] = []
        if block.label:
            self.loops.append((block, left))
        ways = [self.body(block.body), *(self.body(handler.body) for handler in block.handlers)]
        if block.label:
            self.loops.pop()
        return any(ways) or bool(left)

    def body(self, statements: Sequence[Statement]) -> bool:
        reached = True
        before: Statement | None = None
        for statement in statements:
            if not reached and before is not None:
                self.flow.unreachable.append((statement.start, f"the statement before it, {_word(before)}, never ends"))
                reached = True  # once is enough
                self.statement(statement)
                return False
            reached = self.statement(statement)
            before = statement
        return reached

    def statement(self, statement: Statement) -> bool:
        if isinstance(statement, PlpgsqlBlock):
            return self.block(statement)
        if isinstance(statement, If):
            ways = [self.body(branch.body) for branch in statement.branches]
            self.flow.unreachable += _repeated(statement.branches)
            return any(ways) or not statement.has_else
        if isinstance(statement, Case):
            self.flow.unreachable += _repeated(statement.branches)
            ways = [self.body(branch.body) for branch in statement.branches]
            return any(ways)
        if isinstance(statement, Loop):
            left: list[bool] = []
            self.loops.append((statement, left))
            self.body(statement.body)
            self.loops.pop()
            return not statement.endless or bool(left)
        if isinstance(statement, Return):
            return statement.kind != "return"
        if isinstance(statement, Raise):
            return not statement.stops
        if isinstance(statement, Exit):
            self.exit(statement)
            return statement.condition is not None
        return True

    def exit(self, statement: Exit) -> None:
        for place, left in reversed(self.loops):
            if place.label == statement.label if statement.label else isinstance(place, Loop):
                if statement.leaves:
                    left.append(True)
                return


def _repeated(branches: Sequence[Branch]) -> Iterator[tuple[int, str]]:
    seen: set[tuple[str, ...]] = set()
    for branch in branches:
        if branch.condition is None:
            continue
        words = meaning(branch.condition)
        if words in seen:
            yield branch.start, "a branch above it has the same condition"
        seen.add(words)


def _word(statement: Statement) -> str:
    return type(statement).__name__.upper()
