"""What callers asked for, when, and what became of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from uuid import UUID

Flavour = Literal["async", "sync"]

WRITES: Final = frozenset({"deposit", "block", "pipeline"})
COMMITS: Final = frozenset({"commit"})
"""Of blocks whose server froze before."""
READS: Final = frozenset({"read", "stream"})
MONITORS: Final = frozenset({"health", "trading_flags"})


@dataclass(slots=True)
class Call:
    """One call of the library, its times by time.monotonic(). The error is kept as text: itself it holds sockets."""

    flavour: Flavour
    caller: int
    kind: str
    ids: tuple[UUID, ...]
    started: float
    ended: float | None = None
    error: str | None = None
    """The class of what it raised."""
    message: str = ""
    answer: Any = None

    @property
    def succeeded(self) -> bool:
        """Has it returned?"""
        return self.ended is not None and self.error is None

    def waited_s(self, since: float, now: float) -> float:
        """How long it took, or takes already: from its start or ``since``, whichever was later."""
        return max(0.0, (now if self.ended is None else self.ended) - max(self.started, since))


@dataclass(slots=True)
class Journal:
    """All calls, in the order of their starts; appended to by every task and thread."""

    calls: list[Call] = field(default_factory=list)

    @contextmanager
    def call(self, flavour: Flavour, caller: int, kind: str, ids: tuple[UUID, ...] = ()) -> Iterator[Call]:
        """Note the call that the block makes, and what it raises; go on after it."""
        call = Call(flavour, caller, kind, ids, time.monotonic())
        self.calls.append(call)
        try:
            yield call
        except Exception as error:
            call.error = type(error).__name__
            call.message = str(error)
        call.ended = time.monotonic()

    def of(self, flavour: Flavour, kinds: frozenset[str] | None = None) -> list[Call]:
        """Those of one flavour, of some kinds."""
        return [call for call in list(self.calls) if call.flavour == flavour and (kinds is None or call.kind in kinds)]
