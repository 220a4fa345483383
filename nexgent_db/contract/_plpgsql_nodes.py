"""The statements of a PL/pgSQL function, as :mod:`nexgent_db.contract._plpgsql` reads them.

Offsets count characters of the body from 0. A piece of SQL keeps its length, so that a position in it is a position in
the body.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

__all__ = [
    "Assign",
    "AssignmentTarget",
    "Branch",
    "Case",
    "Declaration",
    "Exit",
    "If",
    "Loop",
    "Other",
    "Piece",
    "PlpgsqlBlock",
    "Raise",
    "Return",
    "Sql",
    "Statement",
    "Unreadable",
]


class Unreadable(Exception):
    """The body cannot be read at ``offset``."""

    def __init__(self, offset: int, problem: str) -> None:
        super().__init__(problem)
        self.offset = offset
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Piece:
    """SQL of the body: a statement, or an expression. ``text`` starts at ``start`` and has the body's offsets."""

    start: int
    text: str


@dataclass(frozen=True, slots=True)
class AssignmentTarget:
    """A variable, or a field of one, that a statement sets; ``subscripts`` of array elements."""

    start: int
    name: str
    fields: tuple[str, ...] = ()
    subscripts: tuple[Piece, ...] = ()


@dataclass(frozen=True, slots=True)
class Declaration:
    """One line of DECLARE. ``alias`` names the variable that it renames; ``cursor`` is a bound cursor's query."""

    start: int
    name: str
    type: str
    default: Piece | None = None
    alias: str | None = None
    cursor: Piece | None = None


@dataclass(frozen=True, slots=True)
class Branch:
    """One way: of IF, CASE or the handlers of a block. ``at`` is right behind its THEN or ELSE."""

    start: int
    condition: Piece | None
    at: int
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class If:
    """IF; the last branch has no condition when there is an ELSE. ``end`` is the offset of END IF."""

    start: int
    branches: tuple[Branch, ...]
    end: int

    @property
    def has_else(self) -> bool:
        """Whether there is an ELSE."""
        return self.branches[-1].condition is None


@dataclass(frozen=True, slots=True)
class Case:
    """The statement CASE. Without an ELSE, PL/pgSQL raises an error when no branch fits."""

    start: int
    operand: Piece | None
    branches: tuple[Branch, ...]


@dataclass(frozen=True, slots=True)
class Loop:
    """LOOP, WHILE, FOR or FOREACH. ``numbers`` are bounds, ``counter`` the integer that such a loop declares."""

    start: int
    at: int
    body: tuple[Statement, ...]
    label: str | None = None
    condition: Piece | None = None
    counter: str | None = None
    numbers: tuple[Piece, ...] = ()
    targets: tuple[AssignmentTarget, ...] = ()
    query: Piece | None = None
    values: tuple[Piece, ...] = ()  # the array of FOREACH, the text of EXECUTE
    endless: bool = False


@dataclass(frozen=True, slots=True)
class PlpgsqlBlock:
    """BEGIN … END. ``at`` is right behind BEGIN."""

    start: int
    at: int
    declarations: tuple[Declaration, ...]
    body: tuple[Statement, ...]
    handlers: tuple[Branch, ...]
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Assign:
    """``target := value``."""

    start: int
    target: AssignmentTarget
    value: Piece


@dataclass(frozen=True, slots=True)
class Return:
    """RETURN. ``kind``: ``return``, ``next``, ``query`` or ``execute``."""

    start: int
    kind: str
    value: Piece | None
    values: tuple[Piece, ...] = ()


@dataclass(frozen=True, slots=True)
class Raise:
    """RAISE; ``stops`` unless it is only a message."""

    start: int
    stops: bool
    values: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Exit:
    """EXIT, or CONTINUE when it does not leave the loop."""

    start: int
    leaves: bool
    label: str | None
    condition: Piece | None


@dataclass(frozen=True, slots=True)
class Sql:
    """A statement of SQL without its INTO; ``discards`` for PERFORM."""

    start: int
    query: Piece
    targets: tuple[AssignmentTarget, ...] | None
    discards: bool


@dataclass(frozen=True, slots=True)
class Other:
    """Any other statement: expressions that it evaluates, variables that it sets."""

    start: int
    values: tuple[Piece, ...] = ()
    targets: tuple[AssignmentTarget, ...] = ()


Statement: TypeAlias = If | Case | Loop | PlpgsqlBlock | Assign | Return | Raise | Exit | Sql | Other
