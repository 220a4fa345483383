"""Adoption of a database that Prisma made: accepted unchanged, or refused with the differences."""

from __future__ import annotations

import subprocess
import sys

import psycopg
import pytest
from typer.testing import CliRunner, Result

from nexgent_db.cli.app import app
from nexgent_db.migrations import Migrator
from tests.support.servers.prisma import HISTORY, Prisma

RUN = CliRunner()
ENTRY_OF_2025_12_13, THERE = "_prisma_migrations SET", "WHERE migration_name LIKE '20251213%'"


def adopt(url: str, scratch: str, *arguments: str) -> Result:
    return RUN.invoke(app, ["adopt", "--database-url", url, "--scratch", scratch, *arguments])


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(statement.encode())


@pytest.mark.parametrize("count", range(1, 19))
def test_every_prefix_of_history_is_adopted_once(prisma: Prisma, server_url: str, count: int) -> None:
    """test_preflight_violations.py shows, with rows, that the migrated catalog equals that of a new database."""
    url = prisma(count)
    done = adopt(url, server_url)
    assert done.exit_code == 0, done.output
    assert (
        done.stdout
        == f"adopted: {count} migrations marked as applied, up to {HISTORY[count - 1]}; now nexgent-db migrate\n"
    )
    assert adopt(url, server_url).stdout == f"already adopted: {count} migrations, up to {HISTORY[count - 1]}\n"
    assert Migrator(url).pending()[: 18 - count] == HISTORY[count:]
    with psycopg.connect(url) as conn:
        assert conn.execute("SELECT count(*) FROM _prisma_migrations").fetchone() == (count,)


def test_concurrent_adoptions_adopt_once(prisma: Prisma, server_url: str) -> None:
    url = prisma(3)
    command = [sys.executable, "-m", "nexgent_db.cli", "adopt", "--database-url", url, "--scratch", server_url]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    reported = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], reported
    with psycopg.connect(url) as conn:
        assert conn.execute("SELECT count(*) FROM _yoyo_log WHERE operation <> 'rollback'").fetchone() == (3,)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (f"UPDATE {ENTRY_OF_2025_12_13} rolled_back_at = now() {THERE}", "rolled back in Prisma"),
        (
            f"UPDATE {ENTRY_OF_2025_12_13} finished_at = NULL {THERE}",
            "failed or not finished in Prisma: 20251213231745",
        ),
        (f"UPDATE {ENTRY_OF_2025_12_13} migration_name = 'mine' {THERE}", "that this release knows: mine"),
        (
            "DELETE FROM _prisma_migrations WHERE migration_name LIKE '20251212%'",
            "not applied, but older than 20251213231745",
        ),
        ("DELETE FROM _prisma_migrations", "is empty"),
        ("DROP TABLE _prisma_migrations", "no _prisma_migrations"),
    ],
)
def test_entries_that_are_no_prefix_of_history_are_refused(
    prisma: Prisma, server_url: str, change: str, said: str
) -> None:
    url = prisma(3)
    execute(url, change)
    done = adopt(url, server_url)
    assert done.exit_code == 1
    assert said in str(done.exception)
    with psycopg.connect(url) as conn:
        assert conn.execute("SELECT to_regclass('_yoyo_migration')").fetchone() == (None,)


def test_later_success_supersedes_failure(prisma: Prisma, server_url: str) -> None:
    url = prisma(3)
    execute(
        url,
        "INSERT INTO _prisma_migrations SELECT gen_random_uuid(), checksum, NULL, migration_name, 'failed', now(),"
        " started_at - interval '1 hour', 0 FROM _prisma_migrations",
    )
    assert adopt(url, server_url).exit_code == 0


def test_schema_difference_is_refused_with_repair_statement(prisma: Prisma, server_url: str) -> None:
    url = prisma(18)
    execute(url, "DROP INDEX agents_user_id_idx")
    execute(url, "CREATE INDEX mine ON agents (name)")
    done = adopt(url, server_url)
    assert done.exit_code == 1
    assert "CREATE INDEX CONCURRENTLY agents_user_id_idx ON agents (user_id);" in done.stdout
    with psycopg.connect(url) as conn:
        assert conn.execute("SELECT to_regclass('_yoyo_migration')").fetchone() == (None,)
    harmful = adopt(url, server_url, "--ignore", "agents_user_id_idx", "--reason", "x")
    assert "cannot be ignored" in str(harmful.exception)
    execute(url, "CREATE INDEX agents_user_id_idx ON agents (user_id)")
    assert "--reason" in str(adopt(url, server_url, "--ignore", "mine").exception)
    assert adopt(url, server_url, "--ignore", "mine", "--reason", "our report reads it").exit_code == 0
    with psycopg.connect(url) as conn:
        notes = conn.execute("SELECT DISTINCT note, recorded_by FROM _nexgent_migration").fetchall()
        assert notes == [("adopted from Prisma; ignored mine: our report reads it", conn.info.user)]
