"""One step of a conversion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["PartitionStep", "quoted"]


@dataclass(frozen=True, slots=True)
class PartitionStep:
    """One step: ``transaction`` is one transaction, ``alone`` one statement outside of any, ``batches`` one statement
    that is repeated, with the last id of each batch, until it returns none, ``wait`` waits for older transactions."""

    name: str
    why: str
    statements: tuple[str, ...]
    kind: Literal["transaction", "alone", "batches", "wait"] = "transaction"


def quoted(text: str) -> str:
    """The text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"
