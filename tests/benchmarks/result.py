"""One line of the report, and the interleaved timing of contestants."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A figure and the limit that it keeps; without one it is information."""

    name: str
    figure: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the limit is kept; None without one."""
        if self.at_most is not None:
            return self.figure <= self.at_most
        if self.at_least is not None:
            return self.figure >= self.at_least
        return None


def interleaved(
    contestants: Mapping[str, Callable[[], object]], *, rounds: int, calls: int, warm_up: int = 20
) -> dict[str, list[float]]:
    """Seconds of one call of each, round by round. In a round each has its turn of so many calls."""
    for call in contestants.values():
        for _ in range(warm_up):  # statements get prepared and planned, caches filled
            call()
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, call in contestants.items():
            started = time.perf_counter()
            for _ in range(calls):
                call()
            taken[name].append((time.perf_counter() - started) / calls)
    return taken
