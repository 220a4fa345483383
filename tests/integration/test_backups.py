"""Backups as the guide "Run it in production" takes them: whole and data alone, restored with PostgreSQL's programs."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from nexgent_db import Database
from nexgent_db.embedded import postgres, postgres_bin_dir
from nexgent_db.migrations import Migrator
from nexgent_db.models import SellOrder
from nexgent_db.testing.databases import Databases
from tests.integration.sync.factories import Owner, funded_owner
from tests.support.oracles.state import broken_rules
from tests.support.servers.prisma import Rows, content
from tests.support.servers.roles import RoledDatabase, new_prefix, roles_dropped

HISTORY = ("_yoyo_log", "_yoyo_migration", "_yoyo_version", "yoyo_lock", "_nexgent_migration", "_nexgent_repair")


def program(name: str) -> str:
    """A client program, of the embedded server when it has one, else of the machine."""
    own = postgres_bin_dir() / name
    found = str(own) if own.is_file() else shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} on this machine: install PostgreSQL's client programs")
    return found


def run(name: str, *arguments: str | Path) -> str:
    done = subprocess.run([program(name), *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@dataclass(frozen=True)
class Source:
    """A database with trades, and everything that it holds."""

    url: str
    owner: Owner
    rows: dict[str, Rows]


@pytest.fixture
def source(fresh_database_url: str) -> Source:
    with Database(fresh_database_url) as db:
        owner = funded_owner(db)
        db.trades.buy(owner.buy("10", "1000"))
        db.trades.take_profit(owner.take_profit("250", "5"))
        other = funded_owner(db)
        db.trades.buy(other.buy("7", "3", "AnotherToken"))
        (position,) = db.positions.list_by_agent(other.agent_id)
        db.trades.sell(SellOrder.of(position, sol_amount=9))
        db.api_keys.create(owner.user_id, "a key", ["trade"])
    return Source(fresh_database_url, owner, content(fresh_database_url))


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """Another server, as after a disaster, with an empty database."""
    with postgres() as url:
        yield url


def works(url: str, owner: Owner) -> None:
    """The restored database is this release's, keeps its rules, and trades go on where they were."""
    assert broken_rules(url) == {}
    with Database(url) as db:
        db.assert_schema()
        db.trades.take_profit(owner.take_profit("250", "5"))
        (position,) = db.positions.list_by_agent(owner.agent_id)
        assert position.remaining_amount == 500
        funded_owner(db)  # the sequences go on as well
    assert broken_rules(url) == {}


def _apart_from_versions(rows: Rows, wanted: bool) -> Rows:
    return [{name: value for name, value in row.items() if not (wanted and name == "version")} for row in rows]


def test_whole_dump_restores_every_row(source: Source, elsewhere: str, tmp_path: Path) -> None:
    run("pg_dump", "--format=custom", f"--file={tmp_path / 'backup'}", f"--dbname={source.url}")
    run("pg_restore", "--exit-on-error", "--single-transaction", f"--dbname={elsewhere}", tmp_path / "backup")
    assert content(elsewhere) == source.rows
    works(elsewhere, source.owner)


@pytest.mark.parametrize(
    ("left_out", "options"),
    [((), ["--disable-triggers"]), (("cache_outbox",), [])],
    ids=["as superuser", "as owner, whose triggers refill the outbox"],
)
def test_data_alone_restores_into_a_migrated_database(
    source: Source, elsewhere: str, tmp_path: Path, left_out: tuple[str, ...], options: list[str]
) -> None:
    excluded = [f"--exclude-table={name}" for name in (*HISTORY, *left_out)]
    run(
        "pg_dump",
        "--format=custom",
        "--data-only",
        *excluded,
        f"--file={tmp_path / 'backup'}",
        f"--dbname={source.url}",
    )
    Migrator(elsewhere).migrate()
    restore = ["--exit-on-error", "--single-transaction", *options]
    run("pg_restore", *restore, f"--dbname={elsewhere}", tmp_path / "backup")
    triggered = "--disable-triggers" not in options  # then each row gets a new version, for the cache
    for table, rows in content(elsewhere).items():
        if table not in {*HISTORY, *left_out}:
            assert _apart_from_versions(rows, triggered) == _apart_from_versions(source.rows[table], triggered), table
    works(elsewhere, source.owner)


def test_dump_with_roles_restores_where_the_roles_were_made_first(
    server_url: str, nexgent_databases: Databases, source: Source, elsewhere: str, tmp_path: Path
) -> None:
    prefix = new_prefix()
    with roles_dropped(server_url, prefix), nexgent_databases.copy(source.url) as url:
        database = RoledDatabase(url, prefix)
        database.apply()
        run("pg_dump", "--format=custom", f"--file={tmp_path / 'backup'}", f"--dbname={url}")
    with psycopg.connect(elsewhere, autocommit=True) as connection:
        for role in ("owner", "migrator", "app", "tenant", "worker", "readonly"):
            connection.execute(f"CREATE ROLE {database.name_of(role)} LOGIN".encode())
    run("pg_restore", "--exit-on-error", "--single-transaction", f"--dbname={elsewhere}", tmp_path / "backup")
    restored = RoledDatabase(elsewhere, prefix)
    restored.apply()
    assert content(elsewhere) == source.rows
    with Database(make_conninfo(elsewhere, user=restored.name_of("app"))) as db:
        db.assert_schema()
        db.assert_tenants()
        assert db.for_tenant(source.owner.user_id).agents.find_by_id(source.owner.agent_id) is not None
    works(elsewhere, source.owner)
