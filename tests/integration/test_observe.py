"""The built-in hooks with real databases and libraries: logging, OpenTelemetry, Prometheus; and cancellation."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import time

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv.attributes.db_attributes import (
    DB_NAMESPACE,
    DB_QUERY_SUMMARY,
    DB_RESPONSE_STATUS_CODE,
    DB_SYSTEM_NAME,
    DbSystemNameValues,
)
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client import CollectorRegistry

from nexgent_db import AsyncDatabase, Database
from nexgent_db.errors import EmailTaken, InsufficientBalance
from nexgent_db.observe import QueryEvent, QueryHook, log_queries
from nexgent_db.observe.opentelemetry import trace_queries
from nexgent_db.observe.prometheus import measure_queries
from tests.integration.aio.factories import new_owner as new_owner_async
from tests.integration.sync.factories import new_owner

SECRET = "secret.address@example.org"


def _do_things(database_url: str, hook: QueryHook) -> None:
    """Makes an empty query, a refused one, a trade and a refused trade."""
    with Database(database_url, on_query=hook) as db:
        db.users.find_by_email("nobody@example.org")
        if db.users.find_by_email(SECRET) is None:
            db.users.create(SECRET)
        with pytest.raises(EmailTaken) as refused:
            db.users.create(SECRET)
        assert refused.value.email == SECRET
        assert SECRET in str(refused.value.__cause__)
        owner = new_owner(db)
        with db.transaction() as tx:
            tx.trades.deposit(owner.deposit("10"))
        with pytest.raises(InsufficientBalance):
            db.trades.withdraw(owner.withdraw("11"))


# --- Logging ------------------------------------------------------------------------------------


def test_slow_query_warning_has_name_duration_and_rows(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="nexgent_db.queries")
    with Database(database_url, on_query=log_queries(slow_s=0)) as db:
        db.users.find_by_email("nobody@example.org")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("users.find_by_email: ")
    assert record.getMessage().endswith(" ms, 0 rows")


def test_log_has_no_values(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    _do_things(database_url, log_queries(slow_s=60))
    levels = {(record.levelname, record.getMessage().partition(":")[0]) for record in caplog.records}
    assert {("DEBUG", "users.find_by_email"), ("INFO", "users.create"), ("DEBUG", "transaction.commit")} <= levels
    assert SECRET not in caplog.text


# --- OpenTelemetry ------------------------------------------------------------------------------


def _spans(database_url: str) -> list[ReadableSpan]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("service").start_as_current_span("request"):
        _do_things(database_url, trace_queries(provider, attributes={DB_NAMESPACE: "nexgent|public"}))
    return list(exporter.get_finished_spans())


def test_each_query_is_child_span_of_caller(database_url: str) -> None:
    *spans, request = _spans(database_url)
    assert request.name == "request"
    assert request.context is not None
    assert request.start_time is not None
    assert request.end_time is not None
    for span in spans:
        assert span.kind is SpanKind.CLIENT
        assert span.parent is not None
        assert span.parent.span_id == request.context.span_id
        assert span.start_time is not None
        assert span.end_time is not None
        assert request.start_time <= span.start_time < span.end_time <= request.end_time
    names = [span.name for span in spans]
    assert names[:2] == ["users.find_by_email", "users.find_by_email"]
    assert names[-3:] == ["trades.record_transaction", "transaction.commit", "trades.record_transaction"]


def test_span_follows_conventions(database_url: str) -> None:
    spans = {(span.name, span.status.status_code): span for span in _spans(database_url)}
    found = spans["users.find_by_email", StatusCode.UNSET]
    refused = spans["users.create", StatusCode.ERROR]
    trade = spans["trades.record_transaction", StatusCode.UNSET]
    always = {DB_SYSTEM_NAME: DbSystemNameValues.POSTGRESQL.value, DB_NAMESPACE: "nexgent|public"}
    assert found.status.status_code is StatusCode.UNSET
    assert found.attributes == {
        **always,
        DB_QUERY_SUMMARY: "users.find_by_email",
        "nexgent_db.in_transaction": False,
        "nexgent_db.rows": 1,
    }
    assert trade.attributes is not None
    assert trade.attributes["nexgent_db.outcome"] == "insufficient_balance"
    assert refused.attributes == {
        **always,
        DB_QUERY_SUMMARY: "users.create",
        "nexgent_db.in_transaction": False,
        ERROR_TYPE: "nexgent_db.errors.EmailTaken",
        DB_RESPONSE_STATUS_CODE: "23505",
    }
    assert refused.status.status_code is StatusCode.ERROR
    assert refused.status.description is None
    assert refused.events == ()


def test_spans_have_no_values(database_url: str) -> None:
    reported = "".join(span.to_json() for span in _spans(database_url))
    assert "EmailTaken" in reported
    assert SECRET not in reported


async def test_tasks_keep_their_own_callers(database_url: str) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("service")
    async with AsyncDatabase(database_url, on_query=trace_queries(provider)) as db:

        async def request(number: int) -> None:
            with tracer.start_as_current_span(f"request {number}"):
                await db.users.find_by_email("nobody@example.org")
                await db.agents.find_default_wallet((await new_owner_async(db)).agent_id)

        await asyncio.gather(*(request(number) for number in range(3)))
    spans = exporter.get_finished_spans()
    parents = {span.context.span_id for span in spans if span.context and span.parent is None}
    assert len(parents) == 3
    for parent in parents:
        children = [span.name for span in spans if span.parent and span.parent.span_id == parent]
        assert children[0] == "users.find_by_email"
        assert children[-1] == "agents.find_default_wallet"
        assert len(children) == 5


# --- Prometheus ---------------------------------------------------------------------------------


def test_queries_are_counted_and_timed_by_name(database_url: str) -> None:
    registry = CollectorRegistry()
    hook = measure_queries(registry)
    started = time.perf_counter()
    _do_things(database_url, hook)
    elapsed = time.perf_counter() - started

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"nexgent_db_{name}", labels)

    assert value("query_duration_seconds_count", query="users.find_by_email") == 2
    assert value("query_duration_seconds_count", query="transaction.commit") == 1
    taken = value("query_duration_seconds_sum", query="users.find_by_email")
    assert taken is not None
    assert 0 < taken < elapsed
    assert value("query_errors_total", query="users.create", error="EmailTaken") == 1
    assert value("query_errors_total", query="users.find_by_email", error="EmailTaken") is None
    assert value("trade_outcomes_total", query="trades.record_transaction", outcome="made") == 1
    assert value("trade_outcomes_total", query="trades.record_transaction", outcome="insufficient_balance") == 1


def test_second_set_of_metrics_in_registry_is_refused() -> None:
    registry = CollectorRegistry()
    measure_queries(registry)
    with pytest.raises(ValueError, match="Duplicated"):
        measure_queries(registry)


@pytest.mark.parametrize(
    ("module", "missing", "extra"),
    [("opentelemetry", "opentelemetry", "opentelemetry"), ("prometheus", "prometheus_client", "prometheus")],
)
def test_extra_that_is_not_installed_is_named(module: str, missing: str, extra: str) -> None:
    program = f"import sys; sys.modules['{missing}'] = None; import nexgent_db.observe.{module}"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode
    assert f"install nexgent-db[{extra}]" in run.stderr


# --- Cancellation -------------------------------------------------------------------------------


async def test_cancelled_query_has_event(database_url: str) -> None:
    events: list[QueryEvent] = []
    async with (
        AsyncDatabase(database_url) as holder,
        AsyncDatabase(database_url, on_query=[events.append]) as db,
        holder.transaction() as tx,
    ):
        owner = await new_owner_async(db)
        events.clear()
        await tx.trades.deposit(owner.deposit("1"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await db.trades.deposit(owner.deposit("1"))  # waits for the wallet
    (event,) = events
    assert (event.name, event.rows) == ("trades.record_transaction", None)
    assert isinstance(event.error, asyncio.CancelledError)
