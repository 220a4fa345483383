"""The hook that makes each query a span. Needs the extra ``nexgent-db[opentelemetry]``: only OpenTelemetry's API."""

from __future__ import annotations

import time
from collections.abc import Mapping
from importlib.metadata import version

from nexgent_db.observe._event import QueryEvent, QueryHook

try:
    from opentelemetry.trace import SpanKind, StatusCode, TracerProvider, get_tracer
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(f"{error}: install nexgent-db[opentelemetry]", name=error.name) from error


def trace_queries(
    tracer_provider: TracerProvider | None = None, *, attributes: Mapping[str, str | int] | None = None
) -> QueryHook:
    """A hook that records each query as a span of the kind CLIENT, a child of the caller's current span.

    The query names the span, which has the stable attributes of the database conventions: ``db.system.name``,
    ``db.query.summary``, and for a failure ``error.type`` and ``db.response.status_code``. Ours are
    ``nexgent_db.rows``, ``nexgent_db.in_transaction`` and ``nexgent_db.outcome``. Every span also gets ``attributes``,
    such as ``server.address``, ``server.port`` and ``db.namespace``. The hook records neither parameters nor messages.

    Without ``tracer_provider`` it uses the process's.
    """
    tracer = get_tracer("nexgent_db", version("nexgent-db"), tracer_provider)
    always = {**(attributes or {}), "db.system.name": "postgresql"}

    def trace(event: QueryEvent) -> None:
        ended = time.time_ns()
        # Samplers see only the attributes that a span starts with.
        span = tracer.start_span(
            event.name,
            kind=SpanKind.CLIENT,
            attributes={**always, "db.query.summary": event.name, "nexgent_db.in_transaction": event.in_transaction},
            start_time=ended - int(event.duration_s * 1e9),
        )
        if span.is_recording():
            if event.rows is not None:
                span.set_attribute("nexgent_db.rows", event.rows)
            if event.outcome is not None:
                span.set_attribute("nexgent_db.outcome", event.outcome)
            if event.error is not None:
                kind = type(event.error)
                span.set_attribute("error.type", f"{kind.__module__}.{kind.__qualname__}")
                span.set_status(StatusCode.ERROR)
            if event.sqlstate is not None:
                span.set_attribute("db.response.status_code", event.sqlstate)
        span.end(ended)

    return trace
