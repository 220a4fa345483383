"""What a health check of the database found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """``problem`` is None when the server answered; ``server_version`` as in 180006 for 18.6."""

    problem: str | None
    server_version: int | None
    round_trip_s: float
    pool_size: int
    pool_available: int
    requests_waiting: int

    @property
    def ok(self) -> bool:
        """Did the server answer?"""
        return self.problem is None
