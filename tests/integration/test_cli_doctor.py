"""``nexgent-db doctor``: a healthy server is all ok; each bad state, made on a real server, is found by its check."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import psutil
import psycopg
import pytest
import redis
from psycopg import sql
from psycopg.conninfo import make_conninfo
from typer.testing import CliRunner

from nexgent_db import Database, Settings
from nexgent_db.cache.keys import CacheKeys
from nexgent_db.cli.app import app
from nexgent_db.cli.doctor import CHECKS, examine
from nexgent_db.cli.doctor.schema import LEFT_NOT_VALID
from nexgent_db.cli.doctor.subject import DoctorFinding, DoctorSubject, Thresholds
from nexgent_db.embedded import postgres
from nexgent_db.migrations import Cells, Migrator
from nexgent_db.resources import data_dir
from nexgent_db.schema.roles import apply_roles
from tests.integration.sync.factories import funded_owner, new_owner
from tests.support.servers.postgres_process import PostgresProcess, migrated_cluster
from tests.support.servers.postgres_server import PostgresServer, postgres_server, server_directory
from tests.support.servers.valkey_server import ValkeyServer, valkey_server

PREFIX: Final = "doctored"


class DurableServer(PostgresServer):
    """As an operator runs it: with fsync."""

    def start(self) -> None:
        self.url = self._running.enter_context(postgres(self.directory))


@dataclass(frozen=True)
class Healthy:
    """A migrated, durable server with roles and a cache, in which nothing happens by itself."""

    server: DurableServer
    valkey: ValkeyServer

    @property
    def settings(self) -> Settings:
        return replace(Settings.from_url(self.server.url, {}), redis_url=self.valkey.url)

    def psql(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.server.url, autocommit=True)

    @contextmanager
    def changed(self, change: str, back: str) -> Iterator[None]:
        """In this state until the ``with`` ends."""
        with self.psql() as connection:
            connection.execute(change.encode())
            try:
                yield
            finally:
                connection.execute(back.encode())

    @contextmanager
    def configured(self, name: str, value: str, back: str) -> Iterator[None]:
        self.server.configure(**{name: value})
        try:
            yield
        finally:
            self.server.configure(**{name: back})


@pytest.fixture(scope="module")
def healthy() -> Iterator[Healthy]:
    with server_directory() as directory, valkey_server() as valkey:
        server = DurableServer(directory)
        server.start()
        try:
            Migrator(server.url).migrate()
            server.configure(autovacuum="off")
            with psycopg.connect(server.url, autocommit=True) as connection:
                apply_roles(connection, PREFIX)
            with Database(replace(Settings.from_url(server.url, {}), redis_url=valkey.url)) as db:
                funded_owner(db)
                db.close(20)
            yield Healthy(server, valkey)
        finally:
            server.stop()


def findings(
    settings: Settings, *checks: str, limit_s: float = 20.0, cells: bool = False, **thresholds: Any
) -> list[DoctorFinding]:
    """What these checks find."""
    subject = DoctorSubject(settings, migrations={}, limit_s=limit_s, thresholds=Thresholds(**thresholds))
    return list(examine(subject, skip=[name for name in CHECKS if name not in checks], cells=cells))


def finding(settings: Settings, check: str, **thresholds: Any) -> DoctorFinding:
    (found,) = findings(settings, check, **thresholds)
    assert found.check == check
    return found


def doctor(*arguments: str, **environ: str) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(app, ["doctor", "--json", *arguments], env=environ)
    assert done.stdout.startswith("{"), done.output
    return done.exit_code, json.loads(done.stdout)


def without(*kept: str) -> list[str]:
    """Options that leave all other checks out."""
    return [word for name in CHECKS if name not in kept for word in ("--skip", name)]


# --- The whole page -------------------------------------------------------------------------------


def test_healthy_server_reports_only_ok_and_nothing_is_written(healthy: Healthy) -> None:
    def state() -> tuple[Any, ...]:
        with healthy.psql() as connection, healthy.valkey.client() as client:
            xid = connection.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text").fetchone()
            return xid, {key: client.dump(key) for key in client.scan_iter()}

    before = state()
    code, page = doctor(DATABASE_URL=healthy.server.url, REDIS_URL=healthy.valkey.url)
    assert [each for each in page["findings"] if each["level"] != "ok"] == []
    assert [each["check"] for each in page["findings"]] == list(CHECKS)
    assert (code, page["ok"], page["warning"], page["problem"]) == (0, len(CHECKS), 0, 0)
    assert "entries agree" in page["findings"][-1]["message"]
    assert not page["findings"][-1]["message"].startswith("0 ")
    assert state() == before


def test_page_is_shown_with_what_to_do_and_its_exit_code(healthy: Healthy) -> None:
    with healthy.changed("DROP ROLE IF EXISTS mighty; CREATE ROLE mighty LOGIN BYPASSRLS", "DROP ROLE mighty"):
        done = CliRunner().invoke(
            app,
            ["doctor", *without("durability", "roles"), "--database-url", healthy.server.url],
            env={"REDIS_URL": ""},
        )
    assert done.exit_code == 1
    first, second, to_do, last = done.stdout.splitlines()
    assert first.startswith("ok       durability    fsync is on")
    assert second.startswith("problem  roles         BYPASSRLS: mighty")
    assert to_do.strip() == "to do: ALTER ROLE … NOBYPASSRLS"
    assert last == "1 ok, 0 warning, 1 problem"


def test_server_that_is_gone_ends_no_page(healthy: Healthy) -> None:
    code, page = doctor(
        *without("versions", "pool", "roles", "drift", "redis", "cache"),
        DATABASE_URL="postgresql://h.invalid/d?hostaddr=127.0.0.1&port=1",
        REDIS_URL=healthy.valkey.url,
    )
    assert code == 1
    levels = {each["check"]: each["level"] for each in page["findings"]}
    assert levels.pop("versions") == "problem"
    assert set(levels.values()) == {"warning"}
    assert all("not looked at" in each["message"] for each in page["findings"][1:])


def test_unknown_check_is_wrong_usage() -> None:
    done = CliRunner().invoke(app, ["doctor", "--skip", "nonsense"])
    assert "no check is called nonsense" in str(done.exception)


def test_secrets_stay_out_of_the_page(healthy: Healthy) -> None:
    url = "postgresql://operator:s3cret@127.0.0.1:1/d"
    done = CliRunner().invoke(
        app,
        [
            "doctor",
            *without("versions", "redis", "network"),
            "--database-url",
            url,
            "--redis-url",
            "redis://:s3cret@127.0.0.1:1/0",
        ],
    )
    assert done.exit_code == 1
    assert "s3cret" not in done.output


def test_frozen_server_takes_no_longer_than_the_limit() -> None:
    with postgres_server(migrated=False) as server:
        subject = DoctorSubject(Settings.from_url(server.url, {}), migrations={}, limit_s=1.0, thresholds=Thresholds())
        assert subject.database.health().state == "schema not ready"
        frozen = [server.pid, *server.children()]
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        try:
            started = time.monotonic()
            (found,) = examine(subject, skip=[name for name in CHECKS if name != "wraparound"])
            assert time.monotonic() - started < 8
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)
    assert found.level == "warning"
    assert found.message.startswith("not looked at: ")


# --- The server -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fsync", "full_page_writes", "synchronous_commit"])
def test_setting_that_endangers_data_is_a_problem(healthy: Healthy, name: str) -> None:
    with healthy.configured(name, "off", "on"):
        found = finding(healthy.settings, "durability")
    assert (found.level, f"{name} is off" in found.message) == ("problem", True)


SHIFTED_CLOCK: Final = """
#define _GNU_SOURCE
#include <time.h>
#include <sys/syscall.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *at) {
    int result = syscall(SYS_clock_gettime, id, at);
    if (id == CLOCK_REALTIME) at->tv_sec -= 3600;
    return result;
}
"""


def test_clock_that_is_an_hour_behind_is_a_problem(healthy: Healthy, tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler, to start the command with another clock")
    (tmp_path / "clock.c").write_text(SHIFTED_CLOCK)
    library = tmp_path / "clock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(tmp_path / "clock.c")], check=True)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "nexgent_db.cli",
            "doctor",
            "--json",
            *without("clock"),
            "--database-url",
            healthy.server.url,
        ],
        env={name: value for name, value in os.environ.items() if name != "REDIS_URL"} | {"LD_PRELOAD": str(library)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    (found,) = json.loads(done.stdout)["findings"]
    assert found["level"] == "problem"
    assert found["message"].startswith("this machine's clock and the server's are 3")


def test_pool_without_room_is_a_warning_then_a_problem(healthy: Healthy) -> None:
    settings = replace(healthy.settings, conninfo=make_conninfo(healthy.server.url, user=f"{PREFIX}_app"))
    with healthy.changed(f"ALTER ROLE {PREFIX}_app CONNECTION LIMIT 5", f"ALTER ROLE {PREFIX}_app CONNECTION LIMIT -1"):
        found = finding(settings, "pool")
        assert (found.level, "the role's CONNECTION LIMIT" in found.message) == ("warning", True)
        with healthy.psql() as connection:
            connection.execute(f"ALTER ROLE {PREFIX}_app CONNECTION LIMIT 1".encode())
        assert finding(settings, "pool").level == "problem"


def test_old_transaction_is_a_warning_then_a_problem(healthy: Healthy) -> None:
    with psycopg.connect(healthy.server.url, application_name="sleeper") as connection:
        connection.execute("SELECT 1")
        time.sleep(0.3)
        found = finding(healthy.settings, "transactions", transaction_warning_s=0.2)
        assert (found.level, "sleeper" in found.message) == ("warning", True)
        found = finding(healthy.settings, "transactions", transaction_warning_s=0.2, transaction_problem_s=0.25)
        assert found.level == "problem"


def test_role_that_may_not_see_sessions_is_a_warning(healthy: Healthy) -> None:
    settings = replace(healthy.settings, conninfo=make_conninfo(healthy.server.url, user=f"{PREFIX}_app"))
    with healthy.psql():
        found = finding(settings, "transactions")
    assert (found.level, "pg_monitor" in str(found.remedy)) == ("warning", True)
    for check in ("pg_hba", "passwords"):
        found = finding(settings, check)
        assert (found.level, found.message.startswith("not looked at: ")) == ("warning", True)


def test_member_of_pg_monitor_sees_sessions_and_no_rows(healthy: Healthy) -> None:
    with healthy.changed("CREATE ROLE watcher LOGIN IN ROLE pg_monitor", "DROP ROLE watcher"), healthy.psql():
        settings = replace(healthy.settings, conninfo=make_conninfo(healthy.server.url, user="watcher"))
        sessions, roles = findings(settings, "transactions", "roles")
    assert sessions.level == "ok"
    assert (roles.level, roles.message.startswith("not looked at: ")) == ("warning", True)


def test_old_transaction_ids_are_a_warning() -> None:
    """An open transaction keeps autovacuum from freezing while 160,000 ids are used."""
    with postgres_server(migrated=False) as server:
        server.configure_next_start(autovacuum_freeze_max_age="100000", autovacuum="off")
        server.stop()
        server.start()
        settings = Settings.from_url(server.url, {})
        assert finding(settings, "wraparound").level == "ok"
        with psycopg.connect(server.url) as open_one, psycopg.connect(server.url, autocommit=True) as connection:
            open_one.execute("CREATE TABLE old (n int)")
            connection.execute("CREATE TABLE burnt (n int)")
            connection.execute(
                "DO $$ BEGIN FOR i IN 1..160000 LOOP BEGIN INSERT INTO burnt VALUES (i);"
                " EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$"
            )
            found = finding(settings, "wraparound")
    assert (found.level, "autovacuum should freeze at 100,000" in found.message) == ("warning", True)


# --- Passwords and the network ------------------------------------------------------------------------


def test_new_passwords_as_md5_are_a_warning(healthy: Healthy) -> None:
    with healthy.configured("password_encryption", "md5", "scram-sha-256"):
        found = finding(healthy.settings, "network")
    assert (found.level, "password_encryption is md5" in found.message) == ("warning", True)


def test_md5_password_is_a_warning(healthy: Healthy) -> None:
    with healthy.changed(f"CREATE ROLE old_login LOGIN PASSWORD 'md5{'0' * 32}'", "DROP ROLE old_login"):
        found = finding(healthy.settings, "passwords")
    assert (found.level, "old_login" in found.message) == ("warning", True)


@pytest.mark.parametrize(
    ("rule", "level"),
    [
        ("host all all 10.0.0.0/8 trust", "problem"),
        ("host all all 0.0.0.0/0 password", "problem"),
        ("host all all all md5", "warning"),
        ("host all all 10.0.0.0/8 scram-sha-256", "ok"),
    ],
)
def test_rule_for_other_machines_is_found(healthy: Healthy, rule: str, level: str) -> None:
    rules = healthy.server.data / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"{before}{rule}\n")
    try:
        found = finding(healthy.settings, "pg_hba")
    finally:
        rules.write_text(before)
    assert found.level == level
    assert level == "ok" or rule.rpartition(" ")[2] in found.message


def remote_address() -> str | None:
    """An address of this machine that is not its loopback."""
    for addresses in psutil.net_if_addrs().values():
        for each in addresses:
            if each.family.name == "AF_INET" and not each.address.startswith("127."):
                return str(each.address)
    return None


def test_connection_without_tls_is_a_problem(healthy: Healthy) -> None:
    address = remote_address()
    if address is None:
        pytest.skip("this machine has no address but its loopback")
    with migrated_cluster() as cluster:
        server = PostgresProcess(cluster, address=address)
        try:
            server.start()
            found = finding(Settings.from_url(server.tcp_url, {}), "network")
        finally:
            server.remove()
    assert (found.level, "PostgreSQL is not encrypted" in found.message) == ("problem", True)


@pytest.mark.parametrize(
    ("url", "level"),
    [
        ("redis://:secret@cache.example.org:6379/0", "problem"),
        ("redis+sentinel://cache.example.org/main/0", "problem"),
        ("rediss://:secret@cache.example.org:6379/0", "ok"),
        ("redis://127.0.0.1:6379/0", "ok"),
        ("unix:///run/valkey.sock", "ok"),
    ],
)
def test_redis_without_tls_is_a_problem(healthy: Healthy, url: str, level: str) -> None:
    found = finding(replace(healthy.settings, redis_url=url), "network")
    assert found.level == level
    assert "secret" not in found.message


# --- Redis ----------------------------------------------------------------------------------------------


def test_redis_that_evicts_is_a_problem(healthy: Healthy) -> None:
    with healthy.valkey.configured("maxmemory-policy", "allkeys-lru"):
        found = finding(healthy.settings, "redis")
    assert (found.level, "allkeys-lru" in found.message) == ("problem", True)


def test_redis_that_is_full_is_a_warning(healthy: Healthy) -> None:
    with healthy.valkey.configured("maxmemory", "1000"):
        found = finding(healthy.settings, "redis")
    assert (found.level, "of maxmemory is used" in found.message) == ("warning", True)


def test_redis_that_cannot_save_is_a_problem(healthy: Healthy, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    with valkey_server("--enable-protected-configs", "yes") as server, server.client() as client:
        client.config_set("dir", str(gone))
        shutil.rmtree(gone)
        client.bgsave()
        deadline = time.monotonic() + 20
        while client.info("persistence")["rdb_bgsave_in_progress"] and time.monotonic() < deadline:
            time.sleep(0.01)
        found = finding(replace(healthy.settings, redis_url=server.url), "redis")
        assert (found.level, "the last save failed" in found.message) == ("problem", True)
        client.replicaof("127.0.0.1", "1")
        assert "it is a replica" in finding(replace(healthy.settings, redis_url=server.url), "redis").message


def test_redis_that_is_down_is_a_warning(healthy: Healthy) -> None:
    settings = replace(healthy.settings, redis_url="unix:///nonexistent.sock")
    for found in findings(settings, "redis", "cache"):
        assert (found.level, found.message.startswith("not looked at: ")) == ("warning", True)


def test_cached_row_that_differs_is_a_problem(healthy: Healthy) -> None:
    key = CacheKeys().position(uuid4())
    with redis.Redis.from_url(healthy.valkey.url) as client:
        client.set(key, b'{"version":1}')
        try:
            found = finding(healthy.settings, "cache")
        finally:
            client.delete(key)
    assert (found.level, key in found.message) == ("problem", True)


def test_cache_of_another_database_is_a_warning(healthy: Healthy, fresh_database_url: str) -> None:
    settings = replace(Settings.from_url(fresh_database_url, {}), redis_url=healthy.valkey.url)
    found = finding(settings, "cache")
    assert (found.level, "another database" in found.message) == ("warning", True)


# --- The schema ---------------------------------------------------------------------------------------


def test_migrations_that_are_pending_or_newer(fresh_database_url: str) -> None:
    settings = Settings.from_url(fresh_database_url, {})
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO _yoyo_migration (migration_hash, migration_id) VALUES ('x', '2999_newer')")
        assert finding(settings, "migrations").level == "warning"
        connection.execute("DELETE FROM _yoyo_migration WHERE migration_id = '20261124100810_users_by_age'")
        found = finding(settings, "migrations")
    assert (found.level, "20261124100810_users_by_age" in found.message) == ("problem", True)


def test_drift_and_broken_contract_are_problems(fresh_database_url: str) -> None:
    settings = Settings.from_url(fresh_database_url, {})
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE trading_signals ALTER COLUMN signal_strength TYPE bigint")
    drift, contract = findings(settings, "drift", "contract")
    assert (drift.level, "signal_strength" in drift.message) == ("problem", True)
    assert (contract.level, "signals." in contract.message) == ("problem", True)
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE trading_signals ALTER COLUMN signal_strength TYPE integer")
        assert finding(settings, "contract").level == "ok"
        connection.execute("DROP FUNCTION trade_buy_v1 CASCADE")
    assert "trades.buy" in finding(settings, "contract").message


def test_invalid_index_is_a_problem(fresh_database_url: str) -> None:
    settings = Settings.from_url(fresh_database_url, {})
    with Database(fresh_database_url) as db:
        new_owner(db)
        new_owner(db)
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("CREATE UNIQUE INDEX CONCURRENTLY one_mode ON agents (trading_mode)")
        found = finding(settings, "indexes")
    assert (found.level, "one_mode of agents" in found.message) == ("problem", True)


def test_index_that_is_being_built_is_no_problem(fresh_database_url: str) -> None:
    with psycopg.connect(fresh_database_url) as writer, psycopg.connect(fresh_database_url, autocommit=True) as builder:
        writer.execute("INSERT INTO users (id, email) VALUES (gen_random_uuid(), 'in@flight.example')")
        building = threading.Thread(
            target=builder.execute, args=("CREATE INDEX CONCURRENTLY slow_one ON users (email)",)
        )
        building.start()
        deadline = time.monotonic() + 20
        with psycopg.connect(fresh_database_url, autocommit=True) as psql:
            while psql.execute("SELECT to_regclass('slow_one')").fetchone() == (None,):
                assert time.monotonic() < deadline
                time.sleep(0.02)
        found = finding(Settings.from_url(fresh_database_url, {}), "indexes")
        writer.rollback()
        building.join()
    assert found.level == "ok"


def test_constraint_that_is_not_valid_is_a_warning(fresh_database_url: str) -> None:
    settings = Settings.from_url(fresh_database_url, {})
    assert finding(settings, "constraints").level == "ok"
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE agents ADD CONSTRAINT named CHECK (name <> '') NOT VALID")
    found = finding(settings, "constraints")
    assert (found.level, "named of agents" in found.message) == ("warning", True)


def test_constraints_that_stay_not_valid_are_those_of_the_schema() -> None:
    text = (data_dir("sql") / "schema.sql").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.endswith(" NOT VALID;")]
    assert {line.split(" ADD CONSTRAINT ")[1].split(" ")[0] for line in lines} == LEFT_NOT_VALID


def test_many_dead_rows_are_a_warning(fresh_database_url: str) -> None:
    settings = Settings.from_url(fresh_database_url, {})
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE users SET (autovacuum_enabled = off)")
        assert finding(settings, "bloat", dead_rows=500).level == "ok"
        connection.execute(
            "INSERT INTO users (id, email)"
            " SELECT gen_random_uuid(), n || '@example.org' FROM generate_series(1, 1000) AS n"
        )
        connection.execute("DELETE FROM users")
        connection.execute("SELECT pg_stat_force_next_flush()")
        connection.execute("SELECT 1")
        found = finding(settings, "bloat", dead_rows=500)
    assert (found.level, "users (1,000 dead" in found.message) == ("warning", True)


def test_outbox_that_is_not_relayed_is_a_warning_then_a_problem(fresh_database_url: str) -> None:
    settings = Settings.from_url(fresh_database_url, {})
    with Database(fresh_database_url) as db:
        new_owner(db)
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        for age, level in (("10 seconds", "ok"), ("2 minutes", "warning"), ("3 hours", "problem")):
            connection.execute("UPDATE cache_outbox SET created_at = now() - %s::interval", [age])
            assert finding(settings, "outbox").level == level


# --- Roles --------------------------------------------------------------------------------------------


def test_database_without_roles_is_a_warning(fresh_database_url: str) -> None:
    assert finding(Settings.from_url(fresh_database_url, {}), "roles").level == "warning"


@pytest.mark.parametrize("user", ["postgres", f"{PREFIX}_app"])
def test_roles_are_looked_at_as_superuser_and_as_service(healthy: Healthy, user: str) -> None:
    settings = replace(healthy.settings, conninfo=make_conninfo(healthy.server.url, user=user))
    found = finding(settings, "roles")
    assert found.level == "ok", found
    assert found.message.startswith(f"{PREFIX}_app can act for one user alone")


@pytest.mark.parametrize(
    ("change", "back", "message"),
    [
        (
            "ALTER TABLE users DISABLE ROW LEVEL SECURITY",
            "ALTER TABLE users ENABLE ROW LEVEL SECURITY",
            "without row-level security: users",
        ),
        ("CREATE POLICY wide ON users FOR ALL TO PUBLIC USING (true)", "DROP POLICY wide ON users", "PUBLIC: wide"),
        ("CREATE ROLE mighty LOGIN BYPASSRLS", "DROP ROLE mighty", "BYPASSRLS: mighty"),
        (
            f"CREATE TABLE notes (n int); GRANT SELECT ON notes TO {PREFIX}_app, {PREFIX}_tenant",
            "DROP TABLE notes",
            "sees all users' rows in notes",
        ),
    ],
    ids=["off", "public", "bypass", "table"],
)
def test_isolation_that_fails_is_a_problem(healthy: Healthy, change: str, back: str, message: str) -> None:
    with healthy.changed(change, back):
        found = finding(healthy.settings, "roles")
    assert (found.level, message in found.message) == ("problem", True), found


# --- Cells --------------------------------------------------------------------------------------------


def test_every_cell_is_looked_at(fresh_database_url: str) -> None:
    cells = Cells(fresh_database_url)
    for name in ("cell_1", "cell_2"):
        cells.create(name)
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("ALTER TABLE {}.agents ADD CONSTRAINT named CHECK (name <> '') NOT VALID").format(
                sql.Identifier("cell_2")
            )
        )
    settings = Settings.from_url(fresh_database_url, {})
    found = findings(settings, "durability", "migrations", "constraints", cells=True)
    assert [(each.cell, each.check, each.level) for each in found[1:]] == [
        (None, "migrations", "ok"),
        (None, "constraints", "ok"),
        (None, "cells", "ok"),
        ("cell_1", "migrations", "ok"),
        ("cell_1", "constraints", "ok"),
        ("cell_2", "migrations", "ok"),
        ("cell_2", "constraints", "warning"),
    ]
    url = f"{Settings.from_url(fresh_database_url, {}).conninfo}"
    with psycopg.connect(url) as connection:
        place = connection.info
        one = f"postgresql://{place.user}@/{place.dbname}?host={place.host}&port={place.port}&schema=cell_2"
    code, page = doctor(*without("constraints"), DATABASE_URL=one, REDIS_URL="")
    assert (code, page["findings"][0]["cell"], page["findings"][0]["level"]) == (2, "cell_2", "warning")
