"""The state of streaming replicas, as a process sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ReplicaState = Literal["ok", "lagging", "gone", "promoted", "refused"]
"""``lagging``: a read waited for it in vain, or it follows an earlier timeline. ``gone``: it cannot be reached, or does
not answer. ``promoted``: it is no standby any more. ``refused``: of another cluster or database, or unmigrated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaHealth:
    """One replica at its last sign of life. Reads go to one that is ``ok``, or that has what they need.

    ``problem`` says why it is not ``ok``. ``behind_bytes`` is the part of the log that it had not applied of what this
    process has written or read; None before the first answer. ``reads`` it has answered; ``left_out`` counts how often
    it went from ``ok`` to another state.
    """

    name: str
    state: ReplicaState
    problem: str | None
    behind_bytes: int | None
    reads: int
    left_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaMetrics:
    """The reads of ``db.replica`` and ``db.reads()`` in this process since the database was made.

    ``replica_reads`` were answered by a replica and ``primary_reads`` by the primary: of these, ``behind`` because no
    replica had in time what the caller has written or read, ``unavailable`` because none was there. ``conflicts`` were
    canceled by a replica that had to apply a change. A stream or a transaction counts as one read.
    """

    replica_reads: int
    primary_reads: int
    behind: int
    unavailable: int
    conflicts: int
    replicas: tuple[ReplicaHealth, ...]
