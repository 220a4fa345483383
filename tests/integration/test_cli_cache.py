"""The commands of the cache, and the replay with one: what they print, their exit codes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import redis
from typer.testing import CliRunner, Result

from nexgent_db.cache.keys import CacheKeys
from nexgent_db.cli.app import app
from nexgent_db.cli.replay import DEMO_HISTORY
from nexgent_db.errors import CacheUnreachable, ConfigurationError
from tests.integration.test_cli import home, success

__all__ = ["home"]  # a fixture


@dataclass(frozen=True)
class Cached:
    """A database and a namespace of the test's own."""

    url: str
    redis_url: str
    keys: CacheKeys

    def run(self, *arguments: str, redis_url: str | None = None) -> Result:
        environ = {
            "DATABASE_URL": self.url,
            "REDIS_URL": self.redis_url if redis_url is None else redis_url,
            "NEXGENT_DB_CACHE_PREFIX": self.keys.prefix,
            "COLUMNS": "40",
        }
        return CliRunner().invoke(app, list(arguments), env=environ)

    def said(self, *arguments: str, code: int = 0) -> str:
        """What a command prints that ends with this exit code."""
        done = self.run(*arguments)
        assert done.exit_code == code, done.output
        return done.stdout

    def found(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """The same of one that prints JSON."""
        document: dict[str, Any] = json.loads(self.said(*arguments, "--json", code=code))
        return document

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.redis_url)

    def positions(self) -> list[str]:
        return [key.decode() for key in self.client().scan_iter(f"{self.keys.positions}*-????????????")]


@pytest.fixture
def cached(fresh_database_url: str, redis_url: str) -> Cached:
    return Cached(fresh_database_url, redis_url, CacheKeys(f"{uuid4()}:"))


@pytest.fixture
def replayed(cached: Cached) -> Cached:
    """A database with the small history, and without waiting changes."""
    cached.said("replay", str(DEMO_HISTORY))
    cached.said("cache", "relay")
    return cached


def test_replay_ends_with_equal_cache(cached: Cached) -> None:
    report = cached.found("replay", str(DEMO_HISTORY))
    assert report["cache_different"] == 0
    with psycopg.connect(cached.url) as connection:
        counted = connection.execute(
            "SELECT (SELECT count(*) FROM agent_positions) + (SELECT count(*) FROM agent_balances)"
        ).fetchone()
    assert counted is not None
    assert report["cache_compared"] >= counted[0] > 0
    assert "agree with the database" in cached.said("cache", "verify")


def test_replay_reports_differing_cache(replayed: Cached) -> None:
    replayed.client().set(replayed.keys.position(uuid4()), b'{"version":1}')
    assert replayed.found("replay", str(DEMO_HISTORY), code=1)["cache_different"] == 1


def test_embedded_server_has_embedded_cache(home: Path) -> None:
    report = json.loads(success("replay", DEMO_HISTORY, "--json", NEXGENT_DB_HOME=str(home)))
    assert report["cache_compared"] > 0
    assert report["cache_different"] == 0


def test_verify_reports_difference_and_repair_repairs_it(replayed: Cached) -> None:
    key = replayed.positions()[0]
    replayed.client().set(key, b"nonsense")
    found = replayed.found("cache", "verify", code=1)
    assert found["different"] == {"unreadable": 1}
    assert found["differences"] == [{"key": key, "kind": "unreadable", "detail": "b'nonsense'"}]
    assert key in replayed.said("cache", "verify", code=1)
    assert "and 1 more" in replayed.said("cache", "verify", "--limit", "0", code=1)
    assert replayed.said("cache", "repair").endswith("cached entries differ: 1 unreadable; 1 repaired\n")
    assert replayed.found("cache", "verify")["different"] == {}


def test_warm_fills_empty_cache(replayed: Cached) -> None:
    before = replayed.found("cache", "status")["keys"]
    replayed.said("cache", "reset")
    assert "positions" not in replayed.found("cache", "status")["keys"]
    warmed = replayed.found("cache", "warm")
    after = replayed.found("cache", "status")["keys"]
    assert after["positions"] == before["positions"]
    assert warmed["rows"] == sum(after[kind] for kind in ("positions", "balances", "configurations"))
    assert warmed["sets"] >= 4
    assert replayed.found("cache", "verify")["different"] == {}


def test_status_counts_waiting_changes(replayed: Cached) -> None:
    with psycopg.connect(replayed.url) as connection:
        connection.execute("UPDATE agents SET name = 'another'")
    found = replayed.found("cache", "status")
    assert found["waiting"] == 1
    assert found["lag_s"] > 0
    assert found["state"] == "closed"
    assert "waiting changes" in replayed.said("cache", "status")


def test_relay_applies_waiting_changes(replayed: Cached) -> None:
    assert "no other waits" in replayed.said("cache", "relay")
    with psycopg.connect(replayed.url) as connection:
        connection.execute("UPDATE agent_positions SET peak_price = 12345")
        connection.commit()
        replayed.said("cache", "relay")
        assert connection.execute("SELECT count(*) FROM cache_outbox").fetchone() == (0,)
    assert all(b"12345." in replayed.client().get(key) for key in replayed.positions())  # type: ignore[operator]


def test_relay_without_redis_compacts_old_changes(replayed: Cached) -> None:
    with psycopg.connect(replayed.url, autocommit=True) as connection:
        connection.execute("UPDATE agent_positions SET peak_price = 12345")
        connection.execute("UPDATE cache_outbox SET created_at = created_at - interval '2 hours'")
        done = replayed.run("cache", "relay", redis_url="")
        assert done.exit_code == 0
        assert "REDIS_URL is not set" in done.stdout
        assert connection.execute("SELECT entity FROM cache_outbox").fetchall() == [("everything",)]
    assert replayed.found("cache", "verify")["different"] == {}


@pytest.mark.parametrize("command", ["warm", "status", "reset"])
def test_command_without_redis_is_refused(cached: Cached, command: str) -> None:
    done = cached.run("cache", command, redis_url="")
    assert isinstance(done.exception, ConfigurationError)
    assert "REDIS_URL is not set" in str(done.exception)


@pytest.mark.parametrize("command", ["verify", "repair"])
def test_unreachable_redis_is_not_reported_as_equal(cached: Cached, command: str) -> None:
    for url in ("", "redis://127.0.0.1:1"):
        done = cached.run("cache", command, redis_url=url)
        assert done.exit_code == 2
        assert done.stdout == ""
        assert [line.startswith("nexgent-db: ") for line in done.stderr.splitlines()][-1:] == [True]


@pytest.mark.parametrize("command", ["warm", "status", "reset", "relay"])
def test_command_with_unreachable_redis_fails(cached: Cached, command: str) -> None:
    done = cached.run("cache", command, redis_url="redis://127.0.0.1:1")
    assert isinstance(done.exception, CacheUnreachable)
