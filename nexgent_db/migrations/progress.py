"""Reports on a long migration: its run time, the sessions that it waits for, the progress of an index."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC
from typing import Any, Final

import psycopg

from nexgent_db import sessions
from nexgent_db.errors import DatabaseUnavailable

__all__ = ["monitored"]

_FIRST_S: Final = 1.0  # most migrations end before this, and cost no connection
_PAUSE_S: Final = 1.0
_REPEAT_S: Final = 10.0  # while the activity is the same


@contextmanager
def monitored(conninfo: str, pid: int, report: Callable[[str], None]) -> Iterator[None]:
    """Monitors the session ``pid`` from a second one while the block runs, and reports each change.

    An error here ends the reports, not the migration.
    """
    stop = threading.Event()
    monitor = threading.Thread(
        target=_monitor, args=(conninfo, pid, report, stop), name="migration monitor", daemon=True
    )
    monitor.start()
    try:
        yield
    finally:
        stop.set()
        monitor.join()


def _monitor(conninfo: str, pid: int, report: Callable[[str], None], stop: threading.Event) -> None:
    started_at = time.monotonic()
    if stop.wait(_FIRST_S):
        return
    last, reported_at = "", started_at
    try:
        with sessions.connect(conninfo) as conn:
            while True:
                activity, percent = _activity(conn, pid)
                now = time.monotonic()
                if activity != last or now >= reported_at + _REPEAT_S:
                    report(", ".join(filter(None, (f"{now - started_at:.0f} s", activity, percent))))
                    last, reported_at = activity, now
                if stop.wait(_PAUSE_S):
                    return
    except (psycopg.Error, DatabaseUnavailable):
        return


def _activity(conn: psycopg.Connection[Any], pid: int) -> tuple[str, str]:
    """What the session does or waits for, and its progress."""
    blockers = conn.execute(
        """
        SELECT b.pid, a.usename, a.application_name, a.state, a.xact_start
        FROM unnest(pg_blocking_pids(%s)) AS b (pid)
        LEFT JOIN pg_stat_activity AS a ON a.pid = b.pid
        ORDER BY a.xact_start, b.pid
        """,
        [pid],
    ).fetchall()
    if blockers:
        return "waits for " + "; ".join(_described(*blocker) for blocker in blockers), ""
    row = conn.execute(
        """
        SELECT p.phase, 100 * p.blocks_done / nullif(p.blocks_total, 0)
        FROM pg_stat_progress_create_index AS p
        WHERE p.pid = %s
        """,
        [pid],
    ).fetchone()
    if row is None:
        return "", ""
    return str(row[0]), "" if row[1] is None else f"{row[1]} %"


def _described(pid: int, role: str | None, application: str | None, state: str | None, since: Any) -> str:
    text = f"backend {pid}, role {role or 'unknown'}"
    if application:
        text += f", {application}"
    if state and since:
        text += f", {state}, its transaction open since {since.astimezone(UTC):%H:%M:%S} UTC"
    return text
