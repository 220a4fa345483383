"""How much each part of ``python -m tests.chaos`` does at least: the defaults are what ``make chaos`` runs.

Each field is an option of the command line when its part runs alone.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Trades:
    """Of processes that are killed. ``backends`` are terminated sessions, ``stops`` immediate stops of PostgreSQL."""

    trades: int = 30_000
    processes: int = 4
    kills: int = 200
    backends: int = 200
    redis_faults: int = 52
    stops: int = 4


@dataclass(frozen=True)
class Commits:
    """Cut replies of COMMIT: of calls that are sent again, and as many of run_transaction."""

    cuts: int = 2_000


@dataclass(frozen=True)
class OneWallet:
    """Threads that trade with one wallet."""

    threads: int = 16
    operations: int = 50_000


@dataclass(frozen=True)
class Cancellations:
    """Cancelled tasks, and as many threads' calls that a signal ends, over all uses and sizes of the pool."""

    cancellations: int = 5_000


@dataclass(frozen=True)
class Clock:
    """How far the clock is set back, and how often."""

    seconds: int = 3_600
    times: int = 5


@dataclass(frozen=True)
class Mixed:
    """The mixed load, with cache and maintenance, whose memory and tables must stay flat."""

    minutes: float = 20.0


@dataclass(frozen=True)
class Isolation:
    """Committed transactions in each of the two levels."""

    transactions: int = 10_000


@dataclass(frozen=True)
class Replicas:
    """Reads of replicas."""

    reads: int = 100_000


@dataclass(frozen=True)
class Cache:
    """The search for stale reads: half of the time by threads, half by the state machine."""

    minutes: float = 6.0


@dataclass(frozen=True)
class Outages:
    """Every outage once."""


Amounts = Trades | Commits | OneWallet | Cancellations | Clock | Mixed | Isolation | Replicas | Cache | Outages
