# Generated from tests/integration/aio/test_health.py by `make sync`: do not edit.
"""The health: its states, the outbox's lag, and the warning of an outbox that no process relays."""

from __future__ import annotations

import logging
from dataclasses import replace

import psycopg
import pytest

from nexgent_db import Database, Settings
from nexgent_db.sync.health import OUTBOX_LAG_S
from nexgent_db.sync.pool import Lease
from tests.integration.sync.factories import new_owner
from tests.support.servers.roles import RoledDatabase


def test_health_of_migrated_database_is_ok(fresh_database_url: str) -> None:
    with Database(fresh_database_url) as db:
        health = db.health()
    assert (health.state, health.ok, health.problem, health.error) == ("ok", True, None, None)
    assert (health.outbox_lag_s, health.warnings) == (0.0, ())


def test_database_without_migrations_is_not_ready(empty_database: str) -> None:
    with Database(empty_database) as db:
        health = db.health()
    assert (health.state, health.ok, health.error) == ("schema not ready", False, "SchemaNotReady")
    assert "nexgent-db migrate" in str(health.problem)
    assert health.server_version is not None
    assert health.outbox_lag_s is None


def test_pending_migration_is_not_ready_and_unknown_one_is(fresh_database_url: str) -> None:
    """While a release rolls, the processes of the one before see migrations that they do not know."""
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        newer = "INSERT INTO _yoyo_migration (migration_hash, migration_id) VALUES ('x', '2999_newer')"
        with Database(fresh_database_url) as db:
            connection.execute(newer)
            assert db.health().state == "ok"
            connection.execute("DELETE FROM _yoyo_migration WHERE migration_id = '20261124100810_users_by_age'")
            health = db.health()
    assert health.state == "schema not ready"
    assert "20261124100810_users_by_age" in str(health.problem)


def test_full_pool_is_full(database_url: str) -> None:
    settings = replace(Settings.from_url(database_url, {}), pool_max_size=1, pool_timeout_s=0.1)
    with Database(settings) as db:
        lease: Lease = db._lease()
        lease.acquire()
        health = db.health()
        lease.release()
    assert (health.state, health.error, health.pool_available) == ("full", "PoolExhausted", 0)


def test_outbox_without_relay_is_warned_of(fresh_database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    with Database(fresh_database_url) as db:
        owner = new_owner(db)
        db.trades.deposit(owner.deposit("1"))
        with psycopg.connect(fresh_database_url, autocommit=True) as connection:
            connection.execute("UPDATE cache_outbox SET created_at = now() - interval '30 hours'")
        with caplog.at_level(logging.WARNING, logger="nexgent_db"):
            health = [db.health() for _ in range(3)][-1]
        assert health.ok
        assert health.outbox_lag_s is not None
        assert health.outbox_lag_s > OUTBOX_LAG_S
        assert len(health.warnings) == 1
        assert "waited for 30 hours: no process relays the outbox" in health.warnings[0]
        assert [record.getMessage() for record in caplog.records] == list(health.warnings)  # once, not three times
        db.cache.maintenance.run_once()  # without Redis: compacts
        with psycopg.connect(fresh_database_url, autocommit=True) as connection:
            connection.execute("UPDATE cache_outbox SET created_at = now() - interval '30 hours'")
            left = connection.execute("SELECT array_agg(entity) FROM cache_outbox").fetchone()
        assert left == (["everything"],)
        health = db.health()
        assert (health.outbox_lag_s, health.warnings) == (0.0, ())


@pytest.mark.parametrize("role", ["app", "worker", "tenant", "readonly"])
def test_health_is_ok_for_each_role(roled: RoledDatabase, role: str) -> None:
    with Database(roled.url_of(role)) as db:
        assert db.health().ok


def test_role_without_rights_learns_nothing_of_outbox(fresh_database_url: str) -> None:
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        connection.execute("CREATE ROLE stranger LOGIN")
        try:
            url = psycopg.conninfo.make_conninfo(fresh_database_url, user="stranger")
            with Database(url) as db:
                health = db.health()
            assert (health.state, health.outbox_lag_s) == ("ok", None)
        finally:
            connection.execute("DROP OWNED BY stranger; DROP ROLE stranger")


def test_locked_outbox_leaves_health_ok(fresh_database_url: str) -> None:
    settings = replace(Settings.from_url(fresh_database_url, {}), lock_timeout_s=0.1)
    with Database(settings) as db:
        with psycopg.connect(fresh_database_url) as connection:
            connection.execute("LOCK TABLE cache_outbox IN ACCESS EXCLUSIVE MODE")
            health = db.health()
        assert (health.state, health.outbox_lag_s) == ("ok", None)
