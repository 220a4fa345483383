"""Tells what a long migration is doing: for how long it runs, whom it waits for, how far an index is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC
from typing import Any, Final

import psycopg

__all__ = ["watched"]

_FIRST_S: Final = 1.0  # most are done by then, and never cost a connection
_PAUSE_S: Final = 1.0
_REPEAT_S: Final = 10.0  # when there is nothing new to tell


@contextmanager
def watched(conninfo: str, pid: int, tell: Callable[[str], None]) -> Iterator[None]:
    """Looks at the session ``pid`` from another one, for as long as the block runs; tells what changes.

    It only looks: whatever goes wrong here ends the telling, not the migration.
    """
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(conninfo, pid, tell, over), name="migration watch", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _watch(conninfo: str, pid: int, tell: Callable[[str], None], over: threading.Event) -> None:
    began = time.monotonic()
    if over.wait(_FIRST_S):
        return
    last, told = "", began
    try:
        with psycopg.connect(conninfo, autocommit=True) as conn:
            while True:
                doing, percent = _doing(conn, pid)
                now = time.monotonic()
                if doing != last or now >= told + _REPEAT_S:
                    tell(", ".join(filter(None, (f"{now - began:.0f} s", doing, percent))))
                    last, told = doing, now
                if over.wait(_PAUSE_S):
                    return
    except psycopg.Error:
        return


def _doing(conn: psycopg.Connection[Any], pid: int) -> tuple[str, str]:
    """What the session does or waits for, and how far it is."""
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
