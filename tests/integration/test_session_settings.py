"""Settings that a role, a database, a service file or libpq's environment has changed: nothing of ours depends on them.

And what the user asks for in these ways (``search_path``, ``role``) reaches services, migrator and commands alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from typer.testing import CliRunner

from nexgent_db import AsyncDatabase, Database, resources, sessions
from nexgent_db.cli.app import app
from nexgent_db.errors import ConnectionLost, MigrationError, PermissionDenied
from nexgent_db.migrations import Migrator
from nexgent_db.migrations.connection import connect
from nexgent_db.schema.introspect import read_catalog
from nexgent_db.sessions import PINNED
from nexgent_db.settings import parse_database_url
from tests.integration.sync.factories import new_owner
from tests.support.builders.migrating import Write, connected, one, tables
from tests.support.faults.session_settings import CHANGED, WAYS, changed_by

RUN: Final = CliRunner()
PIECES: Final = r"""
CREATE TABLE pieces AS SELECT
    'a\n'::text AS backslash,
    '01/02/2026'::date AS day,
    '2026-01-01 00:00'::timestamptz AT TIME ZONE 'UTC' AS moment,
    (1 = NULL) IS NULL AS null_equals,
    array_position('{NULL}'::text[], NULL) AS null_in_array,
    '1 2:03'::interval = '1 day 2:03' AS span,
    ARRAY['\x00'::bytea::text, 0.1::float8::text, '1 2:03'::interval::text, quote_ident('a')] AS shown;
"""


def pieces(url: str) -> Any:
    with connected(url) as conn:
        return conn.execute("SELECT to_jsonb(p) FROM pieces AS p").fetchone()


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def changing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """``changing(way, url, settings)``: the connection string of sessions with the changed settings."""
    with ExitStack() as stack:
        yield lambda way, url, *settings: stack.enter_context(changed_by(way, url, monkeypatch, tmp_path, *settings))


def test_every_way_changes_sessions_of_others(empty_database: str, way: str, changing: Any) -> None:
    """Else the tests below would prove nothing."""
    with psycopg.connect(changing(way, empty_database)) as connection:
        assert connection.execute("SHOW DateStyle").fetchone() == ("German, DMY",)


def test_changed_settings_are_those_that_are_pinned() -> None:
    """The locale's are left out: a server without locales has no other value."""
    assert set(CHANGED) == {name for name in PINNED if not name.startswith("lc_")}


# --- Services -----------------------------------------------------------------------------------


async def test_service_reads_and_writes_alike(fresh_database_url: str, way: str, changing: Any) -> None:
    url = changing(way, fresh_database_url)
    async with AsyncDatabase(url) as db, db.transaction() as tx:
        user = await tx.users.create("one@example.org")
        assert (await tx.users.find_by_email("One@Example.org")) == user
        connection: Any = tx._plain_session._connection
        for name, value in PINNED.items():
            answer = await connection.execute(f"SELECT current_setting('{name}')".encode())
            assert (name, await answer.fetchone()) == (name, (value,))
        assert connection.info.encoding == "utf-8"
    with Database(url) as sync_db:
        owner = new_owner(sync_db)
        result = sync_db.trades.deposit(owner.deposit("1"))
        assert result.transaction.transaction_time.utcoffset() is not None
        assert one(fresh_database_url, "SELECT count(*) FROM cache_outbox") > 0, "the triggers did not run"


@pytest.mark.parametrize("way", ["PGOPTIONS", "service", "PGSERVICE", "role", "database", "url"])
def test_service_and_migrator_use_same_schema(empty_database: str, way: str, changing: Any, three: Path) -> None:
    with connected(empty_database) as conn:
        conn.execute("CREATE SCHEMA cell")
    url = changing(way, empty_database, {"search_path": "cell"})
    Migrator(url, three).migrate()
    assert tables(make_conninfo(empty_database, options="-csearch_path=cell")) == ["a", "b", "c"]
    assert tables(make_conninfo(empty_database, options="-csearch_path=public")) == []
    with Database(url) as db, db.transaction() as tx:
        row = tx._plain_session._connection.execute("SELECT current_schema()").fetchone()
    assert row == ("cell",)
    with sessions.connect(url) as conn:
        assert conn.execute("SELECT current_schema()").fetchone() == ("cell",)


def test_schema_of_url_joins_options_of_environment(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with connected(empty_database) as conn:
        conn.execute("CREATE SCHEMA cell")
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=7MB -c search_path=other")
    parts = conninfo_to_dict(empty_database)
    url = f"postgresql:///{parts['dbname']}?host={parts['host']}&port={parts['port']}&user={parts['user']}&schema=cell"
    asked = "SELECT current_setting('work_mem'), current_schema()"
    with sessions.connect(parse_database_url(url)) as conn:
        assert conn.execute(asked).fetchone() == ("7MB", "cell")
    with Database(url) as db, db.transaction() as tx:
        assert tx._plain_session._connection.execute(asked).fetchone() == ("7MB", "cell")


def test_environment_and_service_file_win_over_defaults(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Database(database_url) as db, db.transaction() as tx:
        assert tx._plain_session._connection.info.get_parameters()["application_name"] == "nexgent-db"
    monkeypatch.setenv("PGAPPNAME", "trader")
    monkeypatch.setenv("PGOPTIONS", "-c statement_timeout=77s")
    with Database(database_url) as db, db.transaction() as tx:
        connection: Any = tx._plain_session._connection
        assert connection.info.get_parameters()["application_name"] == "trader"
        assert connection.execute("SHOW statement_timeout").fetchone() == ("77s",)
        assert connection.limit_s == 79


def test_setting_that_role_may_not_pin_is_refused_at_connect(
    fresh_database_url: str, server_url: str, changing: Any
) -> None:
    """Without its triggers, the ledger would be unprotected and the cache stale."""
    changing("database", fresh_database_url, {"session_replication_role": "replica"})
    with connected(server_url) as conn:
        conn.execute("CREATE ROLE plain_role LOGIN")
        try:
            url = make_conninfo(fresh_database_url, user="plain_role")
            with pytest.raises(PermissionDenied, match="session_replication_role"):
                Database(url).open()
            with pytest.raises(PermissionDenied, match="session_replication_role"):
                Migrator(url).status()
        finally:
            conn.execute("DROP ROLE plain_role")


# --- The migrator -------------------------------------------------------------------------------


def test_migration_stores_same_values(empty_database: str, way: str, changing: Any, write: Write, folder: Path) -> None:
    write("0001_first", "SELECT 1;")  # the second file has a session that was reset
    write("0002_pieces", PIECES, "DROP TABLE pieces;")
    Migrator(empty_database, folder).migrate()
    expected = pieces(empty_database)
    Migrator(empty_database, folder).rollback(2)
    url = changing(way, empty_database)
    Migrator(url, folder).migrate()
    assert pieces(empty_database) == expected
    assert (expected[0]["backslash"], expected[0]["day"], expected[0]["null_equals"]) == ("a\\n", "2026-01-02", True)


def test_role_of_session_holds_for_every_file(
    empty_database: str, write: Write, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session of a file is reset after it, to the role with which it began."""
    with connected(empty_database) as conn:
        conn.execute("CREATE ROLE schema_owner")
    try:
        with connected(empty_database) as conn:
            conn.execute("GRANT ALL ON SCHEMA public TO schema_owner")
        for number in (1, 2):
            write(f"000{number}_t", f"CREATE TABLE t{number} (n int);", f"DROP TABLE t{number};")
        write("0003_changes", "SET ROLE NONE; SET TimeZone = 'Asia/Tokyo';")
        write("0004_t", "CREATE TABLE t4 AS SELECT '2026-01-01 00:00'::timestamptz AT TIME ZONE 'UTC' AS at;")
        monkeypatch.setenv("PGOPTIONS", "-c role=schema_owner")
        Migrator(empty_database, folder).migrate()
        with connected(empty_database) as conn:
            rows = conn.execute("SELECT tablename, tableowner FROM pg_tables WHERE tablename ~ '^t[0-9]' ORDER BY 1")
            assert rows.fetchall() == [(name, "schema_owner") for name in ("t1", "t2", "t4")]
            assert conn.execute("SELECT at::text FROM t4").fetchone() == ("2026-01-01 00:00:00",)
    finally:
        monkeypatch.delenv("PGOPTIONS", raising=False)
        with connected(empty_database) as conn:
            conn.execute("DROP OWNED BY schema_owner")
            conn.execute("DROP ROLE schema_owner")


def test_idle_timeouts_do_not_end_waiting_sessions(
    empty_database: str, write: Write, folder: Path, changing: Any
) -> None:
    """The file's session works, and the one that then writes the mark waits."""
    write(
        "0001_slow",
        "-- transactional: false\nDO $$ BEGIN PERFORM pg_sleep(0.5); END $$;",
        "-- transactional: true\nSELECT 1;",
    )
    settings = {"idle_session_timeout": "100ms", "idle_in_transaction_session_timeout": "100ms"}
    url = changing("database", empty_database, settings)
    assert Migrator(url, folder).migrate() == ["0001_slow"]


@pytest.fixture
def transaction_timeout(empty_database: str, changing: Any) -> str:
    if one(empty_database, "SELECT current_setting('server_version_num')::int") < 170000:
        pytest.skip("transaction_timeout came with PostgreSQL 17")
    return str(changing("database", empty_database, {"transaction_timeout": "300ms"}))


def test_transaction_timeout_is_named(transaction_timeout: str, write: Write, folder: Path) -> None:
    write("0001_slow", "CREATE TABLE t (n int); SELECT pg_sleep(5);")
    with pytest.raises(MigrationError, match=r"0001_slow\.sql.*transaction_timeout.*statement_timeout"):
        Migrator(transaction_timeout, folder).migrate()
    assert tables(transaction_timeout) == []
    with (
        Database(transaction_timeout) as db,
        pytest.raises(ConnectionLost, match="transaction_timeout"),
        db.transaction() as tx,
    ):
        tx._plain_session._connection.execute("SELECT pg_sleep(5)")


@pytest.mark.parametrize("head", ["-- statement_timeout: 1min", "-- lock_timeout: 1min"])
def test_limits_of_head_lift_transaction_timeout(
    transaction_timeout: str, write: Write, folder: Path, head: str
) -> None:
    write("0001_slow", f"{head}\nSELECT pg_sleep(0.5);")
    assert Migrator(transaction_timeout, folder).migrate() == ["0001_slow"]


# --- Commands and the catalog -------------------------------------------------------------------


def test_catalog_is_read_alike(fresh_database_url: str, way: str, changing: Any) -> None:
    with psycopg.connect(fresh_database_url) as connection:
        expected = read_catalog(connection)
    url = changing(way, fresh_database_url)
    with psycopg.connect(url) as connection:  # a caller's own
        assert read_catalog(connection) == expected
        assert connection.execute("SHOW DateStyle").fetchone() == ("German, DMY",)  # it is left as it was
    with connect(url) as connection:
        assert read_catalog(connection) == expected


@pytest.mark.parametrize(
    "command",
    [
        ["schema"],
        ["check"],
        ["queries", "explain", "users.find_by_email"],
        ["status"],
    ],
)
def test_command_answers_alike(
    fresh_database_url: str, monkeypatch: pytest.MonkeyPatch, changing: Any, command: list[str]
) -> None:
    def run() -> str:
        done = RUN.invoke(app, [*command, "--database-url", fresh_database_url])
        assert done.exit_code == 0, done.output
        return "" if "explain" in command else done.stdout

    expected = run()
    changing("PGOPTIONS", fresh_database_url)
    changing("PGTZ", fresh_database_url)
    assert run() == expected


def test_no_connection_is_made_without_pinning() -> None:
    """Every session begins in nexgent_db.sessions or in the pool's handshake, which pin the settings."""
    package = Path(str(resources._PACKAGE))
    found = [
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if re.search(r"(psycopg|Connection)\.connect\(", path.read_text())
    ]
    creates_databases_only = "testing/databases.py"
    expected = ["aio/handshake.py", "schema/__init__.py", "sessions.py", "sync/handshake.py", creates_databases_only]
    assert sorted(found) == sorted(expected)
