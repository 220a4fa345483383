"""Sessions that this package did not open: with temporary tables of our names, and without a search path.

And rollbacks beside a session that writes what they look for.
"""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from nexgent_db import Database
from nexgent_db.migrations import MigrationError, Migrator
from nexgent_db.resources import data_dir
from tests.integration.sync.factories import new_owner
from tests.support.builders.migrating import connected, one
from tests.support.servers.localized import DEBIAN, localized_server, why_no_debian_server

OURS = ("agents", "agent_balances", "agent_positions", "agent_transactions", "cache_outbox", "trade_requests")

# --- Search paths -------------------------------------------------------------------------------


def test_every_function_has_a_search_path_or_a_parsed_body(database_url: str) -> None:
    with connected(database_url) as conn:
        rows = conn.execute(
            "SELECT proname::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosqlbody IS NULL"
            " AND NOT coalesce('search_path=public, pg_temp' = ANY (proconfig), FALSE)"
        )
        assert rows.fetchall() == []


def test_temporary_table_of_our_name_takes_nothing(fresh_database_url: str) -> None:
    with Database(fresh_database_url) as db:
        owner = new_owner(db)
        with db.transaction() as tx:
            conn: Any = tx._plain_session._connection
            for table in OURS:
                conn.execute(
                    f"CREATE TEMPORARY TABLE {table} (LIKE public.{table} INCLUDING DEFAULTS) ON COMMIT DROP".encode()
                )
            result = tx.trades.deposit(owner.deposit("5"))
            conn.execute("UPDATE public.agents SET name = 'other'")
            taken = [table for table in OURS if conn.execute(f"SELECT FROM pg_temp.{table}".encode()).rowcount]
        assert taken == []
        assert one(fresh_database_url, "SELECT count(*) FROM agent_transactions") == 1
        assert one(fresh_database_url, "SELECT count(*) FROM cache_outbox") > 1
        assert db.transactions.list_by_agent(owner.agent_id) == [result.transaction]


def test_rows_are_written_without_search_path(fresh_database_url: str) -> None:
    """As a restore of data does: pg_dump empties the search path."""
    with Database(fresh_database_url) as db:
        owner = new_owner(db)
        db.trades.deposit(owner.deposit("5"))
        db.trades.buy(owner.buy("1", "10"))
    before = one(fresh_database_url, "SELECT count(*) FROM cache_outbox")
    with connected(fresh_database_url) as conn:
        conn.execute("SELECT set_config('search_path', '', false)")
        for table in ("agents", "agent_balances", "agent_positions"):
            conn.execute(f"CREATE TEMPORARY TABLE kept_{table} AS SELECT * FROM public.{table}".encode())
        conn.execute("DELETE FROM public.agent_positions")
        conn.execute("INSERT INTO public.agent_positions SELECT * FROM pg_temp.kept_agent_positions")
        conn.execute("UPDATE public.agent_balances SET token_symbol = 'X'")
        conn.execute("UPDATE public.agents SET name = 'restored'")
    assert one(fresh_database_url, "SELECT count(*) FROM cache_outbox") > before


def test_data_only_restore_works() -> None:
    if (reason := why_no_debian_server()) is not None:
        pytest.skip(reason)
    options = "ENCODING 'UTF8' LOCALE_PROVIDER libc LOCALE 'C'"
    with (
        localized_server(programs=DEBIAN) as server,
        server.database(options) as one_db,
        server.database(options) as other,
    ):
        for url in (one_db, other):
            Migrator(url).migrate()
        with Database(one_db) as db:
            owner = new_owner(db)
            db.trades.deposit(owner.deposit("5"))
            db.trades.buy(owner.buy("1", "10"))
        tables = [f"--table={table}" for table in (*OURS, "users", "agent_wallets") if table != "cache_outbox"]
        dump = subprocess.run(
            [DEBIAN / "pg_dump", "--data-only", *tables, one_db], capture_output=True, text=True, check=True
        ).stdout
        assert "set_config('search_path', ''" in dump
        restored = subprocess.run(
            [DEBIAN / "psql", "--set=ON_ERROR_STOP=1", "--single-transaction", other],
            input=dump, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert restored.returncode == 0, restored.stderr
        with Database(one_db) as db, Database(other) as again:
            found, expected = (
                [row.model_dump(exclude={"version"}) for row in each.positions.list_by_agent(owner.agent_id)]
                for each in (again, db)
            )
            assert found == expected
            again.trades.sell(owner.sell("10", "2"))
        assert one(other, "SELECT count(*) FROM cache_outbox") > 0


# --- Rollbacks that look for rows ---------------------------------------------------------------


def test_rollback_waits_for_writer_and_sees_its_row(fresh_database_url: str) -> None:
    """Without the lock, it looked before the writer committed, and dropped the column after it."""
    name = "20261123090005_prepare_api_keys"
    migrator = Migrator(fresh_database_url, lock_timeout_s=30.0)
    names = [state.name for state in migrator.status()]
    migrator.rollback(to=name)
    with connected(fresh_database_url) as conn:
        user = uuid4()
        conn.execute("INSERT INTO users (id, email) VALUES (%s, 'a@example.org')", [user])
    failed = list[Exception]()

    def roll_back() -> None:
        try:
            migrator.rollback(to=names[names.index(name) - 1])
        except MigrationError as error:
            failed.append(error)

    with psycopg.connect(fresh_database_url) as writer:
        writer.execute(
            "INSERT INTO api_keys (user_id, name, key_hash, key_prefix, expires_at)"
            " VALUES (%s, 'key', 'hash', 'nex_abcd', now() + interval '1 day')",
            [user],
        )
        thread = threading.Thread(target=roll_back)
        thread.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'api_keys'::regclass"
        deadline = time.monotonic() + 20
        while not one(fresh_database_url, waiting) and time.monotonic() < deadline:
            time.sleep(0.01)
        writer.commit()
    thread.join()
    assert "some keys expire or are revoked" in str(failed)
    assert one(fresh_database_url, "SELECT count(expires_at) FROM api_keys") == 1


def test_rollbacks_that_look_lock_first() -> None:
    looking = [
        path.name
        for path in data_dir("migrations").glob("*.rollback.sql")
        if "RAISE EXCEPTION" in (text := path.read_text()) and "ALTER TABLE" in text
    ]
    assert len(looking) >= 5
    for name in looking:
        text = Path(data_dir("migrations") / name).read_text()
        assert text.index("LOCK TABLE") < text.index("DO $$"), name
        assert "IN ACCESS EXCLUSIVE MODE" in text, name
