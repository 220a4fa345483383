"""The hook that counts and times queries. Needs the extra ``nexgent-db[prometheus]``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from nexgent_db.observe._event import QueryEvent, QueryHook

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(f"{error}: install nexgent-db[prometheus]", name=error.name) from error

BUCKETS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""The upper bounds of the duration buckets, in seconds: from a look-up on the same machine to a statement timeout."""


def measure_queries(registry: CollectorRegistry = REGISTRY, *, buckets_s: Sequence[float] = BUCKETS_S) -> QueryHook:
    """A hook that keeps these metrics:

    - ``nexgent_db_query_duration_seconds{query}``: a histogram of all queries, including failed ones;
    - ``nexgent_db_query_errors_total{query, error}``: failed queries, by the class of the error;
    - ``nexgent_db_trade_outcomes_total{query, outcome}``: trades: made, duplicate, or the refusal.

    Make one hook for each registry and pass it to all databases of the process. Raises ValueError when the registry has
    these metrics already.
    """
    durations = Histogram(
        "nexgent_db_query_duration_seconds",
        "From the call of a query to its answer.",
        ["query"],
        registry=registry,
        buckets=buckets_s,
    )
    errors = Counter("nexgent_db_query_errors", "Queries that failed.", ["query", "error"], registry=registry)
    outcomes = Counter("nexgent_db_trade_outcomes", "Trades by outcome.", ["query", "outcome"], registry=registry)

    def measure(event: QueryEvent) -> None:
        durations.labels(event.name).observe(event.duration_s)
        if event.error is not None:
            errors.labels(event.name, type(event.error).__name__).inc()
        if event.outcome is not None:
            outcomes.labels(event.name, event.outcome).inc()

    return measure
