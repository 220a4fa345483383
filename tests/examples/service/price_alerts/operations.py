"""What operators call: probes and metrics."""

from __future__ import annotations

import os

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from nexgent_db.observe.prometheus import measure_queries
from price_alerts.access import ServiceDatabase

QUERY_METRICS = measure_queries()
"""One hook for the process: it goes to every database that is opened."""

router = APIRouter(include_in_schema=False)


@router.get("/live")
async def live() -> dict[str, str]:
    """The process answers. It asks nobody: a database that is gone is no reason to restart the service."""
    return {"state": "ok"}


@router.get("/ready")
async def ready(database: ServiceDatabase, response: Response) -> dict[str, object]:
    """503 takes this process out of the load balancer until the database answers again."""
    health = await database.health()
    response.status_code = 200 if health.ok else 503
    return {
        "state": health.state,
        "problem": health.problem,
        "pool_size": health.pool_size,
        "requests_waiting": health.requests_waiting,
        "outbox_lag_s": health.outbox_lag_s,
        "warnings": health.warnings,
        "cache": database.cache.metrics().state,
    }


@router.get("/metrics")
async def metrics() -> Response:
    """Of this process; of all workers when PROMETHEUS_MULTIPROC_DIR names a directory that they share."""
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
