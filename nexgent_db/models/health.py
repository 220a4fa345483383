"""The result of a health check of the database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nexgent_db.models.replicas import ReplicaHealth

HealthState = Literal["ok", "read only", "schema not ready", "full", "gone"]
"""``read only``: reads succeed, writes do not. ``schema not ready``: migrations of this release are pending. ``full``:
the pool or the server had no connection left. ``gone``: no connection could be made, or the server did not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The state of the server, of its schema, of the pool and of the outbox.

    ``problem`` is None when the service can work; ``error`` is the name of the problem's class in
    ``nexgent_db.errors``. ``server_version`` is 180006 for PostgreSQL 18.6. ``outbox_lag_s`` is how long the oldest
    change has waited in the outbox, 0 when none waits, None when it could not be read. ``warnings`` name what is wrong
    without a call failing for it, such as an outbox that no process relays. ``replicas`` has their last known states.
    """

    state: HealthState
    problem: str | None
    error: str | None
    server_version: int | None
    round_trip_s: float
    pool_size: int
    pool_available: int
    requests_waiting: int
    outbox_lag_s: float | None
    warnings: tuple[str, ...]
    replicas: tuple[ReplicaHealth, ...] = ()

    @property
    def ok(self) -> bool:
        """Can the service work? With a read-only server it can read."""
        return self.problem is None
