"""The hook that logs: slow queries, failed ones, and at DEBUG all of them."""

from __future__ import annotations

import logging

from nexgent_db.errors import ConstraintViolation, NexgentError, TransactionConflict
from nexgent_db.observe._event import QueryEvent, QueryHook


def log_queries(logger: logging.Logger | str = "nexgent_db.queries", *, slow_s: float = 0.5) -> QueryHook:
    """A hook that logs each query once: failures, queries of ``slow_s`` seconds or more, and at DEBUG the rest.

    - ERROR: the query failed.
    - WARNING: the query was slow. 0 makes every query slow.
    - INFO: a constraint refused the row, the transaction can be run again, or the task was cancelled: the caller
      gets the error, and can act on it.
    - DEBUG: all others.

    A record has the class and SQLSTATE of an error, never its message, which may hold values. It also has the figures
    as attributes, for formatters that write JSON: ``query``, ``duration_ms``, ``rows``, ``error``, ``sqlstate``,
    ``in_transaction`` and ``outcome``.
    """
    target = logging.getLogger(logger) if isinstance(logger, str) else logger

    def log(event: QueryEvent) -> None:
        level = _level(event, slow_s)
        if not target.isEnabledFor(level):
            return
        duration_ms = event.duration_s * 1000
        error = None if event.error is None else type(event.error).__name__
        target.log(
            level,
            "%s: %.1f ms, %s",
            event.name,
            duration_ms,
            _said(event, error),
            extra={
                "query": event.name,
                "duration_ms": duration_ms,
                "rows": event.rows,
                "error": error,
                "sqlstate": event.sqlstate,
                "in_transaction": event.in_transaction,
                "outcome": event.outcome,
            },
        )

    return log


def _level(event: QueryEvent, slow_s: float) -> int:
    slow = logging.WARNING if event.duration_s >= slow_s else logging.DEBUG
    match event.error:
        case None:
            return slow
        case ConstraintViolation() | TransactionConflict():
            return max(slow, logging.INFO)
        case NexgentError() | Exception():
            return logging.ERROR
        case _:  # such as asyncio's cancellation
            return max(slow, logging.INFO)


def _said(event: QueryEvent, error: str | None) -> str:
    if error is not None:
        return f"{error} {event.sqlstate}" if event.sqlstate else error
    if event.outcome is not None:
        return event.outcome
    if event.rows is None:
        return "done"
    return "1 row" if event.rows == 1 else f"{event.rows} rows"
