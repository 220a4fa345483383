"""The targets of the race: ratios between contenders of one run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from tests.benchmarks.race.contest import Measured
from tests.benchmarks.race.link import DELAY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """In a workload, a contender beside another: ``at_most`` this many times its time, or ``at_least`` as fast."""

    workload: str
    contender: str = "ours"
    beside: str
    at_most: float | None = None
    at_least: float | None = None

    @property
    def name(self) -> str:
        """Who beside whom, doing what."""
        return f"{self.workload}: {self.contender} beside {self.beside}"

    @property
    def limit(self) -> str:
        """As a reader writes it."""
        return f"≤ {self.at_most:g}x the time" if self.at_most is not None else f"≥ {self.at_least:g}x as fast"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target and its ratio in this run: of times when the target is ``at_most``, of speeds otherwise."""

    target: Target
    ratio: float

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        if self.target.at_most is not None:
            return self.ratio <= self.target.at_most
        assert self.target.at_least is not None
        return self.ratio >= self.target.at_least


TARGETS: Final = (
    Target(workload="one row", beside="psycopg", at_most=1.1),
    Target(workload="one row", contender="ours async", beside="psycopg async", at_most=1.1),
    Target(workload="one row", contender="ours async", beside="asyncpg", at_most=1.2),
    Target(workload="20 rows", beside="psycopg", at_most=1.12),
    Target(workload="1,000 rows", beside="psycopg", at_most=1.12),
    Target(workload="buy", beside="psycopg", at_least=2.6),
    Target(workload=f"buy, {DELAY_S * 2000:g} ms link", beside="psycopg", at_least=6),
    Target(workload="buy", beside="SQLAlchemy ORM", at_least=10),
    Target(workload="buy", beside="pgbench", at_least=0.8),
    Target(workload="buy", contender="ours, cached", beside="ours", at_most=1.2),
    Target(workload="buy", contender="ours async, cached", beside="ours async", at_most=1.2),
    Target(workload="4 writers of one wallet", beside="psycopg", at_least=1.7),
    Target(workload="batch of 100 buys", contender="ours, execute_many", beside="ours, 100 single buys", at_least=3),
    Target(workload="batch of 100 buys", contender="ours, execute_many", beside="ours, one transaction", at_least=1.3),
    Target(workload="replay of the history", beside="ours, a bare loop", at_least=1.5),
)


def judge(measured: Sequence[Measured], targets: Sequence[Target] = TARGETS) -> Iterator[Verdict]:
    """A verdict for each target both of whose contenders took part."""
    seconds = {(one.workload, one.contender): one.seconds for one in measured}
    for target in targets:
        this, other = (seconds.get((target.workload, name)) for name in (target.contender, target.beside))
        if this is not None and other is not None:
            yield Verdict(target, this / other if target.at_most is not None else other / this)
