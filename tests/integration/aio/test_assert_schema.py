"""``assert_schema``: a service checks at start-up that the database has the schema of its release."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from psycopg.conninfo import make_conninfo

from nexgent_db import AsyncDatabase
from nexgent_db.errors import SchemaNotReady
from nexgent_db.migrations import Migrator
from tests.support.builders.migrating import CHECKOUT, connected


async def refusal(database_url: str, *, may_be_newer: bool = False) -> str:
    async with AsyncDatabase(database_url) as db:
        with pytest.raises(SchemaNotReady) as refused:
            await db.assert_schema(may_be_newer=may_be_newer)
    return str(refused.value)


def change_history_tables(database_url: str, statement: str) -> None:
    with connected(database_url) as conn:
        assert conn.execute(statement.encode()).rowcount == 1


async def test_migrated_database_is_ready(db: AsyncDatabase) -> None:
    await db.assert_schema()


async def test_role_that_may_only_read_history_tables_can_assert_schema(fresh_database_url: str) -> None:
    with connected(fresh_database_url) as conn:
        conn.execute("DROP ROLE IF EXISTS nexgent_test_app")
        conn.execute("CREATE ROLE nexgent_test_app")
        conn.execute("GRANT SELECT ON _yoyo_migration, _nexgent_migration TO nexgent_test_app")
    as_app = make_conninfo(fresh_database_url, options="-crole=nexgent_test_app -cdefault_transaction_read_only=on")
    try:
        with connected(fresh_database_url) as busy, busy.transaction():  # it waits for nobody who migrates
            busy.execute("SELECT pg_advisory_lock(%s)", [0x6E65_7867_656E_7464])
            busy.execute("LOCK TABLE agents, agent_balances IN ACCESS EXCLUSIVE MODE")
            async with AsyncDatabase(as_app) as db:
                await db.assert_schema()
    finally:
        with connected(fresh_database_url) as conn:
            conn.execute("DROP OWNED BY nexgent_test_app; DROP ROLE nexgent_test_app")


async def test_empty_database_is_not_ready(empty_database: str) -> None:
    assert (await refusal(empty_database)).endswith("migrate the database first (nexgent-db migrate)")


async def test_pending_migrations_are_reported_from_first(fresh_database_url: str) -> None:
    last = Migrator(fresh_database_url).rollback(2)[-1]
    said = await refusal(fresh_database_url)
    assert f" migrations are missing, from {last} on: migrate the database first (nexgent-db migrate)" in said
    assert said.startswith("2 of ")


async def test_migrations_applied_by_plain_yoyo_are_not_ready(fresh_database_url: str) -> None:
    with connected(fresh_database_url) as conn:
        conn.execute("DROP TABLE _nexgent_migration, _nexgent_repair")
    assert "migrate the database first" in await refusal(fresh_database_url)
    assert Migrator(fresh_database_url).migrate() == []
    async with AsyncDatabase(fresh_database_url) as db:
        await db.assert_schema()


async def test_edited_file_is_reported(fresh_database_url: str) -> None:
    change_history_tables(
        fresh_database_url,
        "UPDATE _nexgent_migration SET checksum = repeat('0', 64) WHERE migration_id = '20251211112932_init'",
    )
    said = await refusal(fresh_database_url)
    assert said == "edited after they were applied: 20251211112932_init; nexgent-db status shows the difference"


async def test_newer_database_is_reported(fresh_database_url: str) -> None:
    change_history_tables(
        fresh_database_url,
        "INSERT INTO _yoyo_migration (migration_hash, migration_id, applied_at_utc)"
        " VALUES ('h', '29991231000000_later', now())",
    )
    said = await refusal(fresh_database_url)
    assert said == "the database is newer than this release, which does not know: 29991231000000_later"
    async with AsyncDatabase(fresh_database_url) as db:
        await db.assert_schema(may_be_newer=True)


async def test_newer_database_with_a_pending_migration_is_refused_all_the_same(fresh_database_url: str) -> None:
    change_history_tables(
        fresh_database_url,
        "UPDATE _yoyo_migration SET migration_id = '29991231000000_later' WHERE migration_id = '20251211112932_init'",
    )
    said = await refusal(fresh_database_url, may_be_newer=True)
    assert re.match(r"1 of \d+ migrations are missing, from 20251211112932_init on", said)


async def test_migration_missing_in_release_is_reported(fresh_database_url: str) -> None:
    change_history_tables(
        fresh_database_url,
        "INSERT INTO _yoyo_migration (migration_hash, migration_id, applied_at_utc)"
        " VALUES ('h', '20260101000000_theirs', now())",
    )
    said = await refusal(fresh_database_url)
    assert said == "the database has migrations that this release does not know: 20260101000000_theirs"


def test_assert_schema_does_not_import_yoyo(database_url: str) -> None:
    program = (
        "import sys; from nexgent_db import Database\n"
        "with Database(sys.argv[1]) as db: db.assert_schema()\n"
        "print([name for name in ('yoyo', 'typer', 'sqlparse') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, database_url], capture_output=True, text=True, check=True, cwd=CHECKOUT
    )
    assert done.stdout == "[]\n"
