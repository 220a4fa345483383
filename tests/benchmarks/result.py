"""One line of the report, and how contestants are timed beside each other."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A figure of ours, beside a baseline's where there is one.

    The target holds for the ratio to the baseline, else for the figure; without a target the line is information.
    """

    name: str
    ours: float
    unit: str
    baseline: float | None = None
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours over the baseline's."""
        return None if self.baseline is None else self.ours / self.baseline

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        judged = self.ours if self.ratio is None else self.ratio
        if self.at_most is not None:
            return judged <= self.at_most
        if self.at_least is not None:
            return judged >= self.at_least
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


def medians(*taken: Mapping[str, list[float]]) -> dict[str, float]:
    """Each contestant's median of all its rounds."""
    return {name: median(chain.from_iterable(part[name] for part in taken)) for name in taken[0]}
