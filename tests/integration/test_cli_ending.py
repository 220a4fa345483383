"""SIGTERM ends the commands that run for long: what they have begun is finished or rolled back, and reported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from typer.testing import CliRunner

from nexgent_db import Database, Settings
from nexgent_db.cli.app import app
from nexgent_db.cli.cache import LAST_RELAY_S
from nexgent_db.cli.replay import DEMO_HISTORY
from tests.integration.sync.factories import new_owner
from tests.support.oracles.state import broken_rules
from tests.support.servers.valkey_server import ValkeyServer

PATIENCE_S: Final = 60.0


def started(*arguments: str | Path, **environ: str) -> subprocess.Popen[str]:
    clean = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    return subprocess.Popen(
        [sys.executable, "-m", "nexgent_db.cli", *map(str, arguments)],
        env=clean | environ | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def following(url: str, server: ValkeyServer) -> Iterator[subprocess.Popen[str]]:
    """``cache relay --follow``, once it has relayed what was there."""
    process = started("cache", "relay", "--follow", DATABASE_URL=url, REDIS_URL=server.url)
    try:
        assert process.stdout is not None
        assert "changes relayed" in process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(query.encode()).fetchall()


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_relay_applies_what_waits_and_ends(
    fresh_database_url: str, server: ValkeyServer, ending: signal.Signals
) -> None:
    with following(fresh_database_url, server) as process:
        with Database(fresh_database_url) as db:  # without a cache: its changes wait in the outbox
            owner = new_owner(db)
            for _ in range(20):
                db.trades.deposit(owner.deposit("1"))
        process.send_signal(ending)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out) == (0, "ended: 0 changes wait in the outbox\n"), err
    assert rows(fresh_database_url, "SELECT version FROM cache_outbox") == []


def test_relay_without_redis_ends_in_time_and_reports_what_is_left(
    fresh_database_url: str, server: ValkeyServer
) -> None:
    with following(fresh_database_url, server) as process:
        server.kill()
        with Database(fresh_database_url) as db:
            new_owner(db)
        started_at = time.monotonic()
        process.terminate()
        out, err = process.communicate(timeout=PATIENCE_S)
        assert time.monotonic() - started_at < LAST_RELAY_S + 5
    left = len(rows(fresh_database_url, "SELECT version FROM cache_outbox"))
    assert left > 0
    assert (process.returncode, out) == (0, f"ended: {left} changes wait in the outbox\n"), err


def test_replay_rolls_back_what_is_open_and_a_second_run_continues(
    fresh_database_url: str, server: ValkeyServer
) -> None:
    settings = replace(Settings.from_url(fresh_database_url, {}), redis_url=server.url)
    with psycopg.connect(fresh_database_url) as blocker:
        blocker.execute("LOCK TABLE agent_transactions IN SHARE MODE")
        process = started("replay", DEMO_HISTORY, DATABASE_URL=fresh_database_url, REDIS_URL=server.url)
        blocked = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'agent_transactions'::regclass"
        wait_until(lambda: rows(fresh_database_url, blocked) != [])
        process.terminate()
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 128 + signal.SIGTERM, out + err
    assert err.splitlines()[-1] == "nexgent-db: ended by SIGTERM: what was not committed is rolled back"
    assert rows(fresh_database_url, "SELECT id FROM agent_transactions") == []
    assert broken_rules(fresh_database_url) == {}
    environ = {"DATABASE_URL": fresh_database_url, "REDIS_URL": server.url}
    assert CliRunner().invoke(app, ["replay", str(DEMO_HISTORY)], env=environ).exit_code == 0
    assert rows(fresh_database_url, "SELECT id FROM agent_transactions LIMIT 1") != []
    with Database(settings) as db:
        assert db.cache.admin.verify().differences == 0
