"""Backups as the guide "Run it in production" takes them: whole and data alone, restored with PostgreSQL's programs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from nexgent_db import Database
from nexgent_db.embedded import _binaries, postgres, postgres_bin_dir
from nexgent_db.embedded._binaries import postgres_major
from nexgent_db.migrations import Migrator
from nexgent_db.models import SellOrder
from nexgent_db.testing.databases import Databases
from tests.integration.sync.factories import Owner, funded_owner
from tests.support.builders.pages import ROOT, examples
from tests.support.oracles.state import broken_rules
from tests.support.servers.prisma import Rows, content
from tests.support.servers.roles import RoledDatabase, new_prefix, roles_dropped

GUIDE = ROOT / "docs" / "pages" / "guides" / "production.md"
HISTORY = ("_yoyo_log", "_yoyo_migration", "_yoyo_version", "yoyo_lock", "_nexgent_migration", "_nexgent_repair")


def program(name: str) -> str:
    """A client program, of the embedded server when it has one, else of the machine."""
    own = postgres_bin_dir() / name
    found = str(own) if own.is_file() else shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} on this machine: install PostgreSQL's client programs")
    return found


def run_commands_of_guide(number: int, source: str, target: str, folder: Path) -> None:
    """The guide's commands of its block of this number: what dumps reads ``source``, the others write to ``target``."""
    blocks = [each for each in examples(GUIDE) if each.language == "console" and "pg_dump" in each.text]
    for command in blocks[number].commands():
        name, *arguments = command.words
        url = source if name == "pg_dump" else target
        arguments = [each.replace("$DATABASE_URL", url) for each in arguments]
        if name == "nexgent-db":
            Migrator(target).migrate()
        else:
            run(name, *arguments, cwd=folder, target=target)


def run(name: str, *arguments: str | Path, cwd: Path | None = None, target: str = "") -> None:
    parts = conninfo_to_dict(target)
    environment = {f"PG{key.upper()}": str(parts[key]) for key in ("host", "port", "user") if key in parts}
    done = subprocess.run(
        [program(name), *arguments],
        env=os.environ | environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), (name, arguments)


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


def test_whole_dump_restores_every_row(source: Source, elsewhere: str, tmp_path: Path) -> None:
    run_commands_of_guide(0, source.url, elsewhere, tmp_path)
    restored = make_conninfo(elsewhere, dbname="restored")
    assert content(restored) == source.rows
    works(restored, source.owner)


def test_data_alone_restores_into_a_migrated_database(source: Source, elsewhere: str, tmp_path: Path) -> None:
    run_commands_of_guide(1, source.url, elsewhere, tmp_path)
    assert apart_from(content(elsewhere), HISTORY) == apart_from(source.rows, HISTORY)
    works(elsewhere, source.owner)


def test_data_alone_restores_without_superuser(source: Source, elsewhere: str, tmp_path: Path) -> None:
    excluded = [f"--exclude-table={name}" for name in (*HISTORY, "cache_outbox")]
    run("pg_dump", "--format=custom", "--data-only", *excluded, f"--file={tmp_path / 'data'}", f"--dbname={source.url}")
    with psycopg.connect(elsewhere, autocommit=True) as connection:
        connection.execute("CREATE ROLE owner LOGIN")
        connection.execute("CREATE DATABASE restored OWNER owner")
    url = make_conninfo(elsewhere, user="owner", dbname="restored")
    Migrator(url).migrate()
    run("pg_restore", "--data-only", "--exit-on-error", "--single-transaction", f"--dbname={url}", tmp_path / "data")
    refilled = (*HISTORY, "cache_outbox")
    assert apart_from(content(url), refilled, "version") == apart_from(source.rows, refilled, "version")
    works(url, source.owner)


def apart_from(found: dict[str, Rows], tables: Sequence[str], column: str = "") -> dict[str, Rows]:
    """The content without some tables, and without a column of the others."""
    return {
        table: [{name: value for name, value in row.items() if name != column} for row in rows]
        for table, rows in found.items()
        if table not in tables
    }


def test_dump_of_an_older_server_restores_into_a_newer_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = postgres_bin_dir()
    old = Path("/usr/lib/postgresql/15/bin")
    if not (old / "postgres").is_file() or not (new / "pg_dump").is_file() or postgres_major(new) == 15:
        pytest.skip("needs Debian's PostgreSQL 15 beside a newer one with its client programs")
    with ExitStack() as servers:
        monkeypatch.setattr(_binaries, "_postgres_candidates", lambda: iter([old]))
        source = servers.enter_context(postgres())
        monkeypatch.undo()
        Migrator(source).migrate()
        with psycopg.connect(source) as connection:
            query = "SELECT DISTINCT attoptions::text FROM pg_attribute WHERE attoptions IS NOT NULL"
            if options := connection.execute(query).fetchall():  # none of our migrations sets any
                pytest.skip(f"this build of PostgreSQL 15 marks columns with {options}, which no other server knows")
        with Database(source) as db:
            owner = funded_owner(db)
            db.trades.buy(owner.buy("10", "1000"))
            db.trades.take_profit(owner.take_profit("250", "5"))
        rows = content(source)
        target = servers.enter_context(postgres())
        run_commands_of_guide(0, source, target, tmp_path)
        restored = make_conninfo(target, dbname="restored")
        assert content(restored) == rows
        works(restored, owner)


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
