"""Hooks without a server: valid hooks, and the records of the logging hook."""

from __future__ import annotations

import asyncio
import io
import logging
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import FrozenInstanceError, fields
from typing import Any, cast

import pytest

from nexgent_db import AsyncDatabase, Database
from nexgent_db.errors import DatabaseUnavailable, EmailTaken, NexgentError, StatementTimeout, TransactionConflict
from nexgent_db.observe import QueryEvent, QueryHook, log_queries
from nexgent_db.observe._event import Hooks

URL = "postgresql://user:s3cret@localhost/nexgent"


def event(**more: Any) -> QueryEvent:
    given: dict[str, Any] = {
        "name": "positions.find_by_id",
        "duration_s": 0.0123,
        "rows": 1,
        "error": None,
        "in_transaction": False,
        **more,
    }
    return QueryEvent(**given)


def taken() -> EmailTaken:
    error = EmailTaken("the e-mail address a@example.org exists", constraint="users_lower_email_key", table="users")
    error.sqlstate = "23505"
    return error


# --- Valid hooks --------------------------------------------------------------------------------


async def _coroutine(event: QueryEvent) -> None: ...


class _AsyncCallable:
    async def __call__(self, event: QueryEvent) -> None: ...


@pytest.mark.parametrize("kind", [Database, AsyncDatabase])
@pytest.mark.parametrize("hook", [_coroutine, _AsyncCallable(), [print, _coroutine], 5, ["print"]])
def test_invalid_hook_is_refused_at_once(kind: type[Database] | type[AsyncDatabase], hook: object) -> None:
    with pytest.raises(TypeError):
        kind(URL, on_query=cast("QueryHook", hook))


@pytest.mark.parametrize(("hooks", "many"), [((), 0), ([], 0), (print, 1), ((print, repr), 2)])
def test_one_or_many_hooks_are_accepted(hooks: QueryHook | Sequence[QueryHook], many: int) -> None:
    assert bool(Hooks(hooks)) is bool(many)


def test_process_ending_exception_passes_hook() -> None:
    def interrupted(event: QueryEvent) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Hooks(interrupted)(event())


def test_event_is_frozen_and_has_no_field_for_values() -> None:
    with pytest.raises(FrozenInstanceError):
        event().rows = 5  # type: ignore[misc]
    assert [field.name for field in fields(QueryEvent)] == [
        "name",
        "duration_s",
        "rows",
        "error",
        "in_transaction",
        "outcome",
    ]


# --- Logging ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "level", "message"),
    [
        (event(), logging.DEBUG, "positions.find_by_id: 12.3 ms, 1 row"),
        (event(rows=2), logging.DEBUG, "positions.find_by_id: 12.3 ms, 2 rows"),
        (event(rows=None), logging.DEBUG, "positions.find_by_id: 12.3 ms, done"),
        (event(outcome="made"), logging.DEBUG, "positions.find_by_id: 12.3 ms, made"),
        (event(duration_s=0.5), logging.WARNING, "positions.find_by_id: 500.0 ms, 1 row"),
        (event(duration_s=0.499), logging.DEBUG, "positions.find_by_id: 499.0 ms, 1 row"),
        (event(error=taken(), rows=None), logging.INFO, "positions.find_by_id: 12.3 ms, EmailTaken 23505"),
        (
            event(error=taken(), rows=None, duration_s=2.0),
            logging.WARNING,
            "positions.find_by_id: 2000.0 ms, EmailTaken 23505",
        ),
        (event(error=TransactionConflict("x")), logging.INFO, "positions.find_by_id: 12.3 ms, TransactionConflict"),
        (event(error=asyncio.CancelledError()), logging.INFO, "positions.find_by_id: 12.3 ms, CancelledError"),
        (event(error=DatabaseUnavailable("x")), logging.ERROR, "positions.find_by_id: 12.3 ms, DatabaseUnavailable"),
        (event(error=StatementTimeout("x")), logging.ERROR, "positions.find_by_id: 12.3 ms, StatementTimeout"),
        (event(error=NexgentError("x")), logging.ERROR, "positions.find_by_id: 12.3 ms, NexgentError"),
        (event(error=ValueError("x")), logging.ERROR, "positions.find_by_id: 12.3 ms, ValueError"),
    ],
)
def test_event_is_logged_at_its_level(
    given: QueryEvent, level: int, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="nexgent_db.queries"):
        log_queries(slow_s=0.5)(given)
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (level, message)


def test_message_of_error_is_not_logged() -> None:
    stream = io.StringIO()
    logger = logging.Logger("own", logging.DEBUG)
    logger.addHandler(logging.StreamHandler(stream))
    log_queries(logger)(event(error=taken(), rows=None))
    assert "EmailTaken" in stream.getvalue()
    assert "a@example.org" not in stream.getvalue()


def test_log_record_has_fields_of_event(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="mine"):
        log_queries("mine")(event(error=taken(), rows=None, in_transaction=True))
    (record,) = caplog.records
    names = ("query", "duration_ms", "rows", "error", "sqlstate", "in_transaction", "outcome")
    assert {name: vars(record)[name] for name in names} == {
        "query": "positions.find_by_id",
        "duration_ms": 12.3,
        "rows": None,
        "error": "EmailTaken",
        "sqlstate": "23505",
        "in_transaction": True,
        "outcome": None,
    }


# --- Extras -------------------------------------------------------------------------------------


def test_package_imports_no_extra() -> None:
    program = (
        "import sys, nexgent_db, nexgent_db.observe;"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'prometheus_client'))])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
