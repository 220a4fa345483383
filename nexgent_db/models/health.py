"""The result of a health check of the database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

HealthState = Literal["ok", "read only", "full", "gone"]
"""``read only``: reads succeed, writes do not. ``full``: the pool or the server had no connection left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The state of the server and the pool.

    ``problem`` is None when the server answered; ``error`` is the name of the problem's class in ``nexgent_db.errors``.
    ``server_version`` is 180006 for PostgreSQL 18.6.
    """

    state: HealthState
    problem: str | None
    error: str | None
    server_version: int | None
    round_trip_s: float
    pool_size: int
    pool_available: int
    requests_waiting: int

    @property
    def ok(self) -> bool:
        """Did the server answer? A read-only server does."""
        return self.problem is None
