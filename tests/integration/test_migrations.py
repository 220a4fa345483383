"""The migrations, step by step on a real server; and the engine that runs them, also when it is killed or not alone."""

from __future__ import annotations

import getpass
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from nexgent_db import _data
from nexgent_db import _migration_runner as runner
from nexgent_db._data import data_dir
from nexgent_db.catalog import Catalog, Column, Index, Sequence, Table, differences, read_catalog
from nexgent_db.errors import (
    AuthenticationFailed,
    ConfigurationError,
    ConnectionLost,
    DatabaseUnavailable,
    InvalidInput,
)
from nexgent_db.migrations import MigrationError, MigrationLocked, Migrator
from tests.support.migrating import Write, applied, connected, log_of, one, tables

LAST_OF_HISTORY = "20260211120000_add_user_id_to_trading_signals"
CHECKOUT = Path(__file__).parents[2]


def catalog_of(conninfo: str) -> Catalog:
    with connected(conninfo) as conn:
        return read_catalog(conn)


def assert_same(expected: Catalog, actual: Catalog, when: str) -> None:
    found = [f"{each}: {each.expected} became {each.actual}" for each in differences(expected, actual)]
    assert not found, "\n".join([when, *found])


# --- What the history ends in, from SCHEMA.md and not from the migrations -----------------------

# One column a line: name, type, "null" if it may be, "= default".
COLUMNS = {
    "users": """
        id                            uuid
        email                         varchar(255)
        password_hash                 varchar(255)   null
        created_at                    timestamptz    = CURRENT_TIMESTAMP
        failed_login_attempts         integer        = 0
        locked_until                  timestamptz    null
    """,
    "agents": """
        id                            uuid
        user_id                       uuid
        name                          varchar(255)
        trading_mode                  varchar(20)    = 'simulation'::character varying
        trading_config                jsonb          null
        created_at                    timestamptz    = CURRENT_TIMESTAMP
        updated_at                    timestamptz
        automated_trading_simulation  boolean        = true
        automated_trading_live        boolean        = true
    """,
    "agent_wallets": """
        wallet_address                varchar(44)
        agent_id                      uuid
        wallet_type                   varchar(20)
        created_at                    timestamptz    = CURRENT_TIMESTAMP
        updated_at                    timestamptz
    """,
    "agent_balances": """
        id                            uuid
        agent_id                      uuid
        wallet_address                varchar(44)
        token_address                 varchar(255)
        token_symbol                  varchar(20)
        balance                       text
        last_updated                  timestamptz
    """,
    "trading_signals": """
        id                            integer        = nextval('trading_signals_id_seq'::regclass)
        created_at                    timestamptz    = CURRENT_TIMESTAMP
        updated_at                    timestamptz
        token_address                 varchar(255)
        symbol                        varchar(50)    null
        signal_type                   varchar(50)
        activation_reason             text           null
        signal_strength               integer
        source                        varchar(100)   null
        user_id                       uuid           null
    """,
    "signal_executions": """
        id                            uuid
        signal_id                     integer
        agent_id                      uuid
        status                        varchar(20)
        transaction_id                uuid           null
        error                         text           null
        executed_at                   timestamptz    = CURRENT_TIMESTAMP
    """,
    "agent_transactions": """
        id                            uuid
        agent_id                      uuid
        wallet_address                varchar(44)    null
        transaction_type              "TransactionType"
        transaction_value_usd         numeric(20,8)
        transaction_time              timestamptz
        destination_address           varchar(255)   null
        signal_id                     integer        null
        fees                          numeric(20,8)  null
        routes                        jsonb          null
        input_mint                    varchar(255)   null
        input_symbol                  varchar(20)    null
        input_amount                  numeric(30,18) null
        input_price                   numeric(30,18) null
        output_mint                   varchar(255)   null
        output_symbol                 varchar(20)    null
        output_amount                 numeric(30,18) null
        output_price                  numeric(30,18) null
        slippage                      numeric(10,4)  null
        price_impact                  numeric(10,4)  null
        is_dca                        boolean        = false
        transaction_hash              varchar(255)   null
        created_at                    timestamptz    = CURRENT_TIMESTAMP
        updated_at                    timestamptz
        swap_payload                  jsonb          null
        is_take_profit                boolean        = false
        protocol_fee_sol              numeric(20,8)  null
        network_fee_sol               numeric(20,8)  null
    """,
    "agent_historical_swaps": """
        id                            uuid
        agent_id                      uuid
        wallet_address                varchar(44)    null
        token_address                 varchar(255)
        token_symbol                  varchar(20)
        amount                        numeric(30,18)
        purchase_price                numeric(30,18)
        sale_price                    numeric(30,18)
        change_percent                numeric(10,4)
        profit_loss_usd               numeric(20,8)
        profit_loss_sol               numeric(20,8)
        purchase_time                 timestamptz
        sale_time                     timestamptz
        purchase_transaction_id       uuid           null
        sale_transaction_id           uuid           null
        signal_id                     integer        null
        created_at                    timestamptz    = CURRENT_TIMESTAMP
        close_reason                  varchar(20)    null
    """,
    "agent_positions": """
        id                            uuid
        agent_id                      uuid
        wallet_address                varchar(44)
        token_address                 varchar(255)
        token_symbol                  varchar(20)
        purchase_transaction_id       uuid
        purchase_price                numeric(30,18)
        purchase_amount               numeric(30,18)
        current_stop_loss_percentage  numeric(5,2)   null
        peak_price                    numeric(30,18) null
        last_stop_loss_update         timestamptz    null
        created_at                    timestamptz    = CURRENT_TIMESTAMP
        updated_at                    timestamptz
        dca_count                     integer        = 0
        dca_transaction_ids           text[]         null = ARRAY[]::text[]
        last_dca_time                 timestamptz    null
        lowest_price                  numeric(30,18) null
        total_invested_sol            numeric(20,8)  = 0
        remaining_amount              numeric(30,18) null
        take_profit_levels_hit        integer        = 0
        take_profit_transaction_ids   text[]         = '{}'::text[]
        last_take_profit_time         timestamptz    null
        moon_bag_activated            boolean        = false
        moon_bag_amount               numeric(30,18) null
        realized_profit_sol           numeric(20,8)  = 0
        tp_batch_start_level          integer        = 0
        total_take_profit_levels      integer        null
    """,
    "agent_balance_snapshots": """
        id                            uuid
        agent_id                      uuid
        snapshot_timestamp            timestamptz
        portfolio_balance_sol         numeric(20,8)
        sol_balance                   numeric(20,8)
        positions_value_sol           numeric(20,8)
        unrealized_pnl_sol            numeric(20,8)
        created_at                    timestamptz    = CURRENT_TIMESTAMP
        updated_at                    timestamptz
        wallet_address                varchar(44)
    """,
    "api_keys": """
        id                            uuid
        user_id                       uuid
        name                          varchar(100)
        key_hash                      varchar(255)
        key_prefix                    varchar(12)
        scopes                        text[]         null = ARRAY[]::text[]
        created_at                    timestamptz(6) = CURRENT_TIMESTAMP
    """,
}

# table: column -> what it refers to, and what happens when that is deleted.
FOREIGN_KEYS = {
    "agents": {"user_id": "users(id) CASCADE"},
    "api_keys": {"user_id": "users(id) CASCADE"},
    "trading_signals": {"user_id": "users(id) SET NULL"},
    "agent_wallets": {"agent_id": "agents(id) CASCADE"},
    "agent_balances": {
        "agent_id": "agents(id) CASCADE",
        "wallet_address": "agent_wallets(wallet_address) CASCADE",
    },
    "agent_balance_snapshots": {
        "agent_id": "agents(id) CASCADE",
        "wallet_address": "agent_wallets(wallet_address) CASCADE",
    },
    "agent_positions": {
        "agent_id": "agents(id) CASCADE",
        "wallet_address": "agent_wallets(wallet_address) CASCADE",
        "purchase_transaction_id": "agent_transactions(id) CASCADE",
    },
    "agent_transactions": {
        "agent_id": "agents(id) CASCADE",
        "wallet_address": "agent_wallets(wallet_address) CASCADE",
        "signal_id": "trading_signals(id) SET NULL",
    },
    "signal_executions": {
        "agent_id": "agents(id) CASCADE",
        "signal_id": "trading_signals(id) CASCADE",
        "transaction_id": "agent_transactions(id) SET NULL",
    },
    "agent_historical_swaps": {
        "agent_id": "agents(id) CASCADE",
        "wallet_address": "agent_wallets(wallet_address) CASCADE",
        "purchase_transaction_id": "agent_transactions(id) SET NULL",
        "sale_transaction_id": "agent_transactions(id) SET NULL",
        "signal_id": "trading_signals(id) SET NULL",
    },
}

UNIQUE = {
    "users": ["email"],
    "agent_wallets": ["agent_id, wallet_type"],
    "api_keys": ["key_hash"],
    "agent_balances": ["wallet_address, token_address"],
    "agent_positions": ["agent_id, wallet_address, token_address", "purchase_transaction_id"],
    "signal_executions": ["signal_id, agent_id"],
    "agent_balance_snapshots": ["agent_id, wallet_address, snapshot_timestamp"],
}

INDEXES = {
    "agents": ["user_id", "automated_trading_simulation", "automated_trading_live"],
    "agent_wallets": ["agent_id"],
    "api_keys": ["user_id", "key_hash"],
    "agent_balances": ["agent_id", "wallet_address", "agent_id, wallet_address", "token_address"],
    "agent_positions": ["agent_id, wallet_address", "token_address", "agent_id", "purchase_transaction_id"],
    "agent_transactions": [
        "agent_id",
        "wallet_address",
        "agent_id, wallet_address",
        "transaction_type",
        "transaction_time",
        "signal_id",
        "agent_id, transaction_time",
        "agent_id, transaction_type",
    ],
    "agent_historical_swaps": [
        "agent_id",
        "wallet_address",
        "agent_id, wallet_address",
        "token_address",
        "signal_id",
        "purchase_transaction_id",
        "sale_transaction_id",
        "purchase_time",
        "sale_time",
        "agent_id, token_address",
        "agent_id, purchase_time",
        "agent_id, sale_time",
        "agent_id, created_at",
        "agent_id, signal_id",
    ],
    "trading_signals": ["token_address", "signal_type", "created_at", "user_id"],
    "signal_executions": ["signal_id", "agent_id"],
    "agent_balance_snapshots": [
        "agent_id, wallet_address, snapshot_timestamp",
        "wallet_address",
        "snapshot_timestamp",
    ],
}

# Where the name is not <table>_<columns>_<idx or key>: those would be longer than 63 characters.
SHORT_NAMES = {
    "agent_balance_snapshots_agent_id_wallet_address_snapshot_timestamp_key": "abs_agent_wallet_timestamp_key",
    "agent_balance_snapshots_agent_id_wallet_address_snapshot_timestamp_idx": "abs_agent_wallet_timestamp_idx",
    "agent_balance_snapshots_wallet_address_idx": "abs_wallet_address_idx",
}

SPELLED_OUT = {
    "timestamptz(6)": "timestamp(6) with time zone",
    "timestamptz": "timestamp with time zone",
    "varchar": "character varying",
}


def _expected_columns(block: str) -> dict[str, Column]:
    columns = {}
    for line in block.strip().splitlines():
        found = re.fullmatch(r"\s*(\w+)\s+(\S+)(\s+null)?(?:\s+= (.+))?", line)
        assert found is not None, line
        name, type_, null, default = found.groups()
        for short, long in SPELLED_OUT.items():
            type_ = re.sub(rf"^{re.escape(short)}(?=\(|$)", long, type_)
        columns[name] = Column(type_, nullable=null is not None, default=default)
    return columns


def _expected_history() -> Catalog:
    constraints, indexes = {}, {}
    for table in COLUMNS:
        key = "wallet_address" if table == "agent_wallets" else "id"
        constraints[table, f"{table}_pkey"] = f"PRIMARY KEY ({key})"
    for table, keys in FOREIGN_KEYS.items():
        for column, target in keys.items():
            referred, action = target.split(" ", 1)
            constraints[table, f"{table}_{column}_fkey"] = (
                f"FOREIGN KEY ({column}) REFERENCES {referred} ON UPDATE CASCADE ON DELETE {action}"
            )
    for kind, create, suffix in ((UNIQUE, "CREATE UNIQUE INDEX", "key"), (INDEXES, "CREATE INDEX", "idx")):
        for table, of_table in kind.items():
            for columns in of_table:
                name = f"{table}_{columns.replace(', ', '_')}_{suffix}"
                name = SHORT_NAMES.get(name, name)
                indexes[name] = Index(table, f"{create} {name} ON {table} ({columns})")
    serial = "AS integer INCREMENT 1 MINVALUE 1 MAXVALUE 2147483647 START 1 CACHE 1 NO CYCLE"
    return Catalog(
        enums={'"TransactionType"': ("DEPOSIT", "WITHDRAWAL", "SWAP", "BURN")},
        sequences={"trading_signals_id_seq": Sequence(serial, "AS integer", owned_by="trading_signals.id")},
        tables=dict.fromkeys(COLUMNS, Table()),
        columns={table: _expected_columns(block) for table, block in COLUMNS.items()},
        constraints=constraints,
        indexes=indexes,
    )


def test_the_history_ends_in_the_catalog_of_the_public_system(empty_database: str) -> None:
    applied = Migrator(empty_database).migrate(to=LAST_OF_HISTORY)
    assert len(applied) == 18
    assert applied[-1] == LAST_OF_HISTORY
    assert_same(_expected_history(), catalog_of(empty_database), "after the history")


# --- Up, down, up -------------------------------------------------------------------------------


def _appends_a_column(name: str) -> bool:
    """Whether the rollback re-adds a column, which PostgreSQL can only do at the end; its head says so."""
    return "\n-- Order:" in (data_dir("migrations") / f"{name}.rollback.sql").read_text(encoding="utf-8")


@pytest.mark.parametrize("last", [LAST_OF_HISTORY, None], ids=["history", "all"])
def test_each_rollback_restores_the_catalog_before(empty_database: str, last: str | None) -> None:
    migrator = Migrator(empty_database)
    names = migrator.pending()
    names = names[: names.index(last) + 1] if last else names
    catalogs = [catalog_of(empty_database)]

    for name in names:
        assert migrator.migrate(to=name) == [name]
        catalogs.append(catalog_of(empty_database))
        assert differences(catalogs[-2], catalogs[-1]) or name[15:].startswith(("validate", "fill")), (
            f"{name} changes nothing"
        )

    ordered = True
    for index, name in reversed(list(enumerate(names))):
        assert migrator.rollback() == [name]
        ordered = ordered and not _appends_a_column(name)
        expected, actual = catalogs[index], catalog_of(empty_database)
        if not ordered:
            expected, actual = expected.without_column_order(), actual.without_column_order()
        assert_same(expected, actual, f"after the rollback of {name}")
    assert_same(catalogs[0], catalog_of(empty_database), "after all rollbacks")

    for index, name in enumerate(names):
        assert migrator.migrate(to=name) == [name]
        assert_same(catalogs[index + 1], catalog_of(empty_database), f"after {name}, the second time")


def test_only_the_declared_rollbacks_change_the_column_order(empty_database: str) -> None:
    """So that a declaration cannot hide a difference that need not be."""
    migrator = Migrator(empty_database)
    migrator.migrate(to="20251211112932_init")
    before = catalog_of(empty_database)
    migrator.migrate(to="20251212112507_remove_price_sol_from_trading_signals")
    migrator.rollback()
    (found,) = differences(before, catalog_of(empty_database))
    assert (found.kind, found.name) == ("column order", "trading_signals")


ROWS_AT_THE_BEGINNING = """
    INSERT INTO users (id, email) VALUES ('00000000-0000-0000-0000-000000000001', 'a@example.org');
    INSERT INTO agents (id, user_id, name, updated_at)
    VALUES ('00000000-0000-0000-0000-00000000000a', '00000000-0000-0000-0000-000000000001', 'a', now());
    INSERT INTO agent_wallets VALUES ('w', '00000000-0000-0000-0000-00000000000a', 'live', now(), now());
    INSERT INTO agent_transactions
        (id, agent_id, wallet_address, transaction_type, transaction_value_usd, transaction_time, updated_at)
    VALUES ('00000000-0000-0000-0000-0000000000f0', '00000000-0000-0000-0000-00000000000a', 'w', 'SWAP', 1,
            now(), now());
    INSERT INTO agent_positions
        (id, agent_id, wallet_address, token_address, token_symbol, purchase_transaction_id,
         purchase_price, purchase_amount, updated_at)
    VALUES ('00000000-0000-0000-0000-0000000000b0', '00000000-0000-0000-0000-00000000000a', 'w', 't', 'T',
            '00000000-0000-0000-0000-0000000000f0', 0.0005, 3000, now());
"""


def test_positions_bought_before_dca_know_what_was_invested(empty_database: str) -> None:
    migrator = Migrator(empty_database)
    migrator.migrate(to="20251220053027_add_agent_transactions_decimal_precision")
    with connected(empty_database) as conn:
        conn.execute(ROWS_AT_THE_BEGINNING)
    migrator.migrate(to="20251220230728_add_dca_fields_to_positions")
    with connected(empty_database) as conn:
        row = conn.execute("SELECT total_invested_sol, lowest_price, dca_count FROM agent_positions").fetchone()
    assert [str(value) for value in row or ()] == ["1.50000000", "0.000500000000000000", "0"]


def test_an_agent_paused_in_one_mode_is_paused_after_the_rollback(empty_database: str) -> None:
    migrator = Migrator(empty_database)
    migrator.migrate(to="20260106130000_split_automated_trading_by_mode")
    with connected(empty_database) as conn:
        conn.execute(ROWS_AT_THE_BEGINNING)
        conn.execute("UPDATE agents SET automated_trading_live = FALSE")
    migrator.rollback()
    assert one(empty_database, "SELECT automated_trading FROM agents") is False


def test_snapshots_without_a_wallet_are_deleted(empty_database: str) -> None:
    migrator = Migrator(empty_database)
    migrator.migrate(to="20251221000651_add_close_reason_to_historical_swaps")
    with connected(empty_database) as conn:
        conn.execute(ROWS_AT_THE_BEGINNING)
        conn.execute(
            "INSERT INTO agent_balance_snapshots"
            " SELECT gen_random_uuid(), id, now(), 1, 1, 0, 0, now(), now() FROM agents"
        )
    migrator.migrate(to="20251221120000_add_wallet_address_to_balance_snapshots")
    assert one(empty_database, "SELECT count(*) FROM agent_balance_snapshots") == 0


# --- A folder of our own ------------------------------------------------------------------------


def test_status_pending_migrate_and_rollback_agree(empty_database: str, three: Path) -> None:
    migrator = Migrator(empty_database, three)
    assert migrator.pending() == ["0001_a", "0002_b", "0003_c"]
    assert migrator.migrate(to="0002_b") == ["0001_a", "0002_b"]
    assert migrator.migrate(to="0001_a") == []  # never backwards
    assert [(s.name, s.applied_at is not None, s.known) for s in migrator.status()] == [
        ("0001_a", True, True),
        ("0002_b", True, True),
        ("0003_c", False, True),
    ]
    applied_at = migrator.status()[0].applied_at
    assert applied_at is not None
    assert abs(applied_at.timestamp() - time.time()) < 60
    assert migrator.migrate() == ["0003_c"]
    assert migrator.migrate() == []
    assert migrator.rollback(2) == ["0003_c", "0002_b"]
    assert tables(empty_database) == ["a"]
    migrator.migrate()
    assert migrator.rollback(to="0001_a") == ["0003_c", "0002_b"]
    assert migrator.rollback() == ["0001_a"]
    assert tables(empty_database) == []


def test_each_step_is_reported_as_it_begins_and_as_it_ends(empty_database: str, three: Path) -> None:
    steps = list[tuple[str, int, int]]()
    Migrator(empty_database, three, on_step=lambda *step: steps.append(step)).migrate(to="0002_b")
    assert steps == [("0001_a", 0, 2), ("0001_a", 1, 2), ("0002_b", 1, 2), ("0002_b", 2, 2)]


def test_dependencies_come_first(empty_database: str, write: Write, folder: Path) -> None:
    write("0001_late", "-- depends: 0002_early\nINSERT INTO t VALUES (1);")
    write("0002_early", "CREATE TABLE t (n int);")
    assert Migrator(empty_database, folder).migrate() == ["0002_early", "0001_late"]


def test_without_a_folder_given_the_migrations_are_those_of_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a checkout beside the package, in a wheel inside of it, never a stranger's, and never none in silence."""
    assert Migrator("dbname=x").directory == CHECKOUT / "migrations"
    package = tmp_path / "site-packages" / "nexgent_db"
    (package.parent / "migrations").mkdir(parents=True)  # another distribution's
    monkeypatch.setattr(_data, "_PACKAGE", package)
    with pytest.raises(ConfigurationError, match="has no migrations folder"):
        Migrator("dbname=x").status()
    (package / "_migrations").mkdir(parents=True)
    assert Migrator("dbname=x").directory == package / "_migrations"


# --- What a folder must not be ------------------------------------------------------------------


def test_a_missing_or_empty_folder_is_an_error(empty_database: str, tmp_path: Path, folder: Path) -> None:
    for directory, problem in ((tmp_path / "nowhere", "does not exist"), (folder, "is empty")):
        migrator = Migrator(empty_database, directory)
        for call in (migrator.status, migrator.pending, migrator.migrate, migrator.rollback):
            with pytest.raises(MigrationError, match=problem):
                call()


@pytest.mark.parametrize(
    ("up", "down", "problem"),
    [
        ("SELECT 1;", None, r"0002_x\.sql: there is no 0002_x\.rollback\.sql"),
        ("-- nothing\n;", "SELECT 1;", r"0002_x\.sql: holds no statement"),
        ("SELECT 1;", "-- nothing", r"0002_x\.rollback\.sql: holds no statement"),
        ("SELECT 1;\nCOMMIT;\nSELECT 2;", "SELECT 1;", r"0002_x\.sql:2: COMMIT"),
        ("SELECT 1;", "/* a /* ; */ ; */\nBEGIN;", r"0002_x\.rollback\.sql:2: BEGIN"),
        ("START TRANSACTION;", "SELECT 1;", r"0002_x\.sql:1: START TRANSACTION"),
        ("SELECT ';';\n\nROLLBACK;", "SELECT 1;", r"0002_x\.sql:3: ROLLBACK"),
        ("COPY t (n) FROM STDIN;\n1\n\\.\n", "SELECT 1;", r"0002_x\.sql:1: COPY"),
        ("COPY (SELECT 1) TO stdout;", "SELECT 1;", r"0002_x\.sql:1: COPY"),
        ("-- transactional: no\nSELECT 1;", "SELECT 1;", "should say true or false"),
        ("-- Transactional: false\nSELECT 1;", "SELECT 1;", r"0002_x\.sql:1: 'Transactional' is no directive"),
        ("-- a\n-- depend: 0001_a\nSELECT 1;", "SELECT 1;", r"0002_x\.sql:2: 'depend' is no directive"),
        ("-- depends: 0000_z\nSELECT 1;", "SELECT 1;", "depends on 0000_z, which the folder does not have"),
        ("-- transactional: false\nSELECT 1;\nSELECT 2;", "SELECT 1;", r"0002_x\.sql:3: .*exactly one"),
    ],
)
def test_an_unfit_file_stops_everything_before_it_begins(
    empty_database: str, write: Write, folder: Path, up: str, down: str | None, problem: str
) -> None:
    write("0001_a", "CREATE TABLE a (n int);", "DROP TABLE a;")
    write("0002_x", up, down)
    with pytest.raises(MigrationError, match=problem):
        Migrator(empty_database, folder).migrate()
    assert tables(empty_database) == []


def test_what_only_looks_like_the_end_of_a_transaction_is_no_obstacle(
    empty_database: str, write: Write, folder: Path
) -> None:
    up = """\
-- Savepoints, bodies, quotes and comments; a byte order mark and percent signs, too.
SAVEPOINT s;
CREATE TABLE "commit" ("begin" text DEFAULT 'COMMIT; %s %(x)s');
ROLLBACK TO SAVEPOINT s;
CREATE TABLE t (n text DEFAULT E'it\\'s; COMMIT; %', "a;b" text);
CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $x$ BEGIN RETURN 1; END; $x$;
CREATE OR REPLACE FUNCTION g() RETURNS int BEGIN ATOMIC SELECT CASE WHEN TRUE THEN 1 END; SELECT 2; END;
CREATE RULE r AS ON DELETE TO t DO ALSO (SELECT 1; SELECT 2);
DO $$ BEGIN PERFORM 1; /* COMMIT; */ END $$; -- COMMIT;
"""
    write("0001_a", f"\ufeff{up}", "DROP TABLE t;\r\nDROP FUNCTION f();\r\nDROP FUNCTION g();\r\n")
    migrator = Migrator(empty_database, folder)
    migrator.migrate()
    assert tables(empty_database) == ["t"]
    migrator.rollback()
    assert tables(empty_database) == []


def test_other_files_in_the_folder_are_refused(empty_database: str, three: Path) -> None:
    migrator = Migrator(empty_database, three)
    for name, problem in (
        ("0004_d.py", "migrations are SQL files"),
        ("post-apply.sql", "hooks"),
        ("0004_D.SQL", "lower case"),
        ("0004_d.rollback.sql", "rolls back a migration that is not there"),
    ):
        (three / name).write_text("SELECT 1;")
        with pytest.raises(MigrationError, match=problem):
            migrator.migrate()
        (three / name).unlink()
    (three / "README.md").write_text("for DBAs")
    assert len(migrator.migrate()) == 3


def test_a_file_that_is_not_utf8_is_refused_with_its_line(empty_database: str, three: Path) -> None:
    (three / "0002_b.sql").write_bytes(b"SELECT 1;\nSELECT '\xe9';")
    with pytest.raises(MigrationError, match=r"0002_b\.sql:2: is not UTF-8"):
        Migrator(empty_database, three).migrate()


def test_a_migration_that_comes_late_is_refused(empty_database: str, write: Write, three: Path) -> None:
    migrator = Migrator(empty_database, three)
    migrator.migrate()
    write("0001_between", "CREATE TABLE d (n int);")
    with pytest.raises(MigrationError, match=r"0001_between: not applied, but older than 0003_c, which is"):
        migrator.migrate()
    assert migrator.pending() == ["0001_between"]
    assert "d" not in tables(empty_database)


def test_a_migration_that_only_the_database_knows_is_reported(empty_database: str, three: Path) -> None:
    migrator = Migrator(empty_database, three)
    migrator.migrate()
    for path in three.glob("0003_c*"):
        path.unlink()
    assert [(s.name, s.known) for s in migrator.status()] == [("0001_a", True), ("0002_b", True), ("0003_c", False)]
    for call in (migrator.migrate, migrator.rollback):
        with pytest.raises(MigrationError, match=r"0003_c: the database has it, .* does not: the database is newer"):
            call()


def test_unknown_targets_and_impossible_counts_are_refused(empty_database: str, three: Path) -> None:
    migrator = Migrator(empty_database, three)
    with pytest.raises(MigrationError, match=r"no migration is called '0003_d'; did you mean 0003_c\?"):
        migrator.migrate(to="0003_d")
    migrator.migrate(to="0002_b")
    with pytest.raises(MigrationError, match="cannot roll back to 0003_c: it is not applied"):
        migrator.rollback(to="0003_c")
    with pytest.raises(MigrationError, match="cannot roll back 3: 2 applied"):
        migrator.rollback(3)
    with pytest.raises(InvalidInput):
        migrator.rollback(0)
    with pytest.raises(InvalidInput):
        migrator.rollback(1, to="0001_a")
    assert tables(empty_database) == ["a", "b"]


# --- What fails, fails whole --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "line"),
    [
        ("CREATE TABLE ü (n int);\nSELEC 1;", 3),
        ("CREATE TABLE x (n int);\n\n/* why */ SELECT\n    nothing;", 5),  # known only when it is analysed
        ("CREATE TABLE x (n int NOT NULL);\nSELECT 1;\n\nINSERT INTO x VALUES (NULL);", 5),  # has no position
        ("DO $$ BEGIN\n  RAISE EXCEPTION 'no';\nEND $$;", 2),
    ],
)
def test_a_failing_statement_is_named_by_file_and_line_and_leaves_nothing(
    empty_database: str, write: Write, folder: Path, bad: str, line: int
) -> None:
    write("0001_a", "CREATE TABLE a (n int);")
    write("0002_b", f"-- Head.\n{bad}")
    write("0003_c", "CREATE TABLE c (n int);")
    migrator = Migrator(empty_database, folder)
    with pytest.raises(MigrationError, match=rf"0002_b\.sql:{line}: ") as caught:
        migrator.migrate()
    assert caught.value.sqlstate is not None
    assert isinstance(caught.value.__cause__, psycopg.Error)
    assert tables(empty_database) == ["a"]
    assert migrator.pending() == ["0002_b", "0003_c"]
    assert log_of(empty_database) == ["apply 0001_a"]


def test_a_failing_rollback_leaves_nothing(empty_database: str, write: Write, folder: Path) -> None:
    write("0001_a", "CREATE TABLE a (n int);", "DROP TABLE a;\nDROP TABLE nowhere;")
    migrator = Migrator(empty_database, folder)
    migrator.migrate()
    with pytest.raises(MigrationError, match=r'0001_a\.rollback\.sql:2: table "nowhere" does not exist'):
        migrator.rollback()
    assert tables(empty_database) == ["a"]
    assert migrator.pending() == []


def test_a_constraint_that_fails_at_commit_leaves_nothing(empty_database: str, write: Write, folder: Path) -> None:
    write(
        "0001_a",
        "CREATE TABLE a (n int UNIQUE DEFERRABLE INITIALLY DEFERRED);\nINSERT INTO a VALUES (1), (1);",
    )
    migrator = Migrator(empty_database, folder)
    with pytest.raises(MigrationError, match=r"0001_a\.sql: duplicate key"):
        migrator.migrate()
    assert tables(empty_database) == []
    assert migrator.pending() == ["0001_a"]


def test_a_session_that_the_server_ends_leaves_nothing(empty_database: str, write: Write, folder: Path) -> None:
    write("0001_a", "CREATE TABLE a (n int);\nSELECT pg_terminate_backend(pg_backend_pid());")
    with pytest.raises(ConnectionLost, match=r"0001_a\.sql:2: the connection ended"):
        Migrator(empty_database, folder).migrate()
    assert tables(empty_database) == []
    assert Migrator(empty_database, folder).pending() == ["0001_a"]


def test_settings_of_one_file_do_not_reach_the_next(empty_database: str, write: Write, folder: Path) -> None:
    write("0001_a", "CREATE SCHEMA other;\nSET search_path = other;\nSET standard_conforming_strings = off;")
    write("0002_b", "CREATE TABLE b (n int);")
    Migrator(empty_database, folder).migrate()
    assert tables(empty_database) == ["b"]


def test_a_long_file_is_sent_whole(empty_database: str, write: Write, folder: Path) -> None:
    """One savepoint per statement, as yoyo has it, ends near 12,850 of them."""
    write("0001_a", "CREATE TABLE a (n int);\n" + "INSERT INTO a VALUES (1);\n" * 20_000, "DROP TABLE a;")
    Migrator(empty_database, folder).migrate()
    assert one(empty_database, "SELECT count(*) FROM a") == 20_000


# --- Outside of a transaction -------------------------------------------------------------------

CONCURRENT_INDEX = "-- transactional: false\nCREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS a_n_key ON a (n);"
DROP_IT = "DROP INDEX CONCURRENTLY IF EXISTS a_n_key;"


def test_an_index_is_built_concurrently_while_other_migrators_wait(
    empty_database: str, write: Write, folder: Path
) -> None:
    write("0001_a", "CREATE TABLE a (n int);\nINSERT INTO a SELECT generate_series(1, 100000);", "DROP TABLE a;")
    write("0002_index", CONCURRENT_INDEX, DROP_IT)
    write("0003_b", "CREATE TABLE b (n int);", "DROP TABLE b;")
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: Migrator(empty_database, folder, lock_wait_s=60).migrate(), range(4)))
    assert sorted(name for names in done for name in names) == ["0001_a", "0002_index", "0003_b"]
    assert Migrator(empty_database, folder).rollback(3) == ["0003_b", "0002_index", "0001_a"]


def test_an_invalid_index_is_reported_and_never_marked(empty_database: str, write: Write, folder: Path) -> None:
    write("0001_a", "CREATE TABLE a (n int);\nINSERT INTO a VALUES (1), (1);", "DROP TABLE a;")
    write("0002_index", CONCURRENT_INDEX, DROP_IT)
    migrator = Migrator(empty_database, folder)
    with pytest.raises(MigrationError, match=r"0002_index\.sql:2: could not create unique index"):
        migrator.migrate()
    with pytest.raises(MigrationError, match=r"not run: INVALID index public\.a_n_key"):
        migrator.migrate()  # IF NOT EXISTS would have been content with it
    assert migrator.pending() == ["0002_index"]
    with connected(empty_database) as conn:
        conn.execute("DROP INDEX CONCURRENTLY a_n_key")
        conn.execute("DELETE FROM a")
    assert migrator.migrate() == ["0002_index"]


def test_a_failing_statement_outside_of_a_transaction_runs_no_rollback(
    empty_database: str, write: Write, folder: Path
) -> None:
    """yoyo would: it dropped a table that existed before."""
    with connected(empty_database) as conn:
        conn.execute("CREATE TABLE precious (n int)")
    failing = "-- transactional: false\nDO $$ BEGIN RAISE EXCEPTION 'full'; END $$;"
    write("0001_a", failing, "DROP TABLE IF EXISTS precious;")
    with pytest.raises(MigrationError, match=r"0001_a\.sql:2: full"):
        Migrator(empty_database, folder).migrate()
    assert tables(empty_database) == ["precious"]


def test_a_concurrent_index_in_a_transaction_is_told_what_to_declare(
    empty_database: str, write: Write, folder: Path
) -> None:
    write("0001_a", "CREATE TABLE a (n int);\nCREATE INDEX CONCURRENTLY i ON a (n);")
    with pytest.raises(MigrationError, match=r"0001_a\.sql:2: .*declare '-- transactional: false'"):
        Migrator(empty_database, folder).migrate()


# --- Killed -------------------------------------------------------------------------------------


class KillableMigrator:
    """A migrator in a process of its own that kills itself after a given exchange with the server."""

    def __init__(self, conninfo: str, directory: Path, operation: str = "migrate") -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.killable_migrator", conninfo, str(directory), operation],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=CHECKOUT,
        )

    def killed_at(self, moment: int) -> bool:
        """Runs it; whether it came as far as that exchange, and was killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(moment, file=self._process.stdin, flush=True)
        status = int(self._process.stdout.readline())
        assert status in (0, -signal.SIGKILL)
        return status != 0

    def __enter__(self) -> KillableMigrator:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def forget_everything(conninfo: str) -> None:
    with connected(conninfo) as conn:
        conn.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")


def settle(conninfo: str) -> None:
    """Until the server has noticed that the killed process's sessions ended."""
    with connected(conninfo) as conn:
        deadline = time.monotonic() + 30
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        while (conn.execute(query).fetchone() or (0,))[0]:
            assert time.monotonic() < deadline, "sessions of a killed process do not end"
            time.sleep(0.005)


def test_killed_at_any_moment_a_migration_is_applied_and_marked_or_neither(empty_database: str, three: Path) -> None:
    migrator = Migrator(empty_database, three)
    expected = {0: [], 1: ["a"], 2: ["a", "b"], 3: ["a", "b", "c"]}
    seen = set()
    with KillableMigrator(empty_database, three) as killable:
        moment = 1
        while killable.killed_at(moment):
            settle(empty_database)
            marked = len(applied(migrator))
            seen.add(marked)
            assert tables(empty_database) == expected[marked], f"killed at moment {moment}"
            migrator.migrate()
            assert tables(empty_database) == expected[3], f"rerun after a kill at moment {moment}"
            assert one(empty_database, "SELECT count(*) FROM a") == 1
            assert log_of(empty_database) == ["apply 0001_a", "apply 0002_b", "apply 0003_c"]
            forget_everything(empty_database)
            moment += 1
    assert seen == {0, 1, 2, 3}
    assert moment > 30  # no exchange is overlooked: some ten a migration


def test_killed_at_any_moment_a_rollback_is_done_and_unmarked_or_neither(empty_database: str, three: Path) -> None:
    migrator = Migrator(empty_database, three)
    migrator.migrate()
    expected = {0: [], 1: ["a"], 2: ["a", "b"], 3: ["a", "b", "c"]}
    seen = set()
    with KillableMigrator(empty_database, three, "rollback") as killable:
        moment = 1
        while killable.killed_at(moment):
            settle(empty_database)
            marked = len(applied(migrator))
            seen.add(marked)
            assert tables(empty_database) == expected[marked], f"killed at moment {moment}"
            migrator.migrate()
            moment += 1
    assert seen == {0, 1, 2, 3}


def test_the_history_survives_being_killed_again_and_again(empty_database: str) -> None:
    migrator = Migrator(empty_database)
    reference = [catalog_of(empty_database)]
    names = migrator.pending()
    for name in names:
        migrator.migrate(to=name)
        reference.append(catalog_of(empty_database))
    forget_everything(empty_database)
    kills = 0
    with KillableMigrator(empty_database, migrator.directory) as killable:
        while killable.killed_at(41 + 2 * kills):  # each time it goes on from where the last one was killed
            kills += 1
            settle(empty_database)
            done = len(applied(migrator))
            found = catalog_of(empty_database)
            # What runs outside of a transaction may have been done and not been marked: it is repeated then.
            if done < len(names) and not transactional(migrator, names[done]) and found == reference[done + 1]:
                continue
            assert_same(reference[done], found, f"after kill {kills}")
    assert kills >= 3
    assert_same(reference[-1], catalog_of(empty_database), "at the end")
    assert log_of(empty_database) == [f"apply {name}" for name in names]


def transactional(migrator: Migrator, name: str) -> bool:
    """Whether the file and its mark are one transaction."""
    return not (migrator.directory / f"{name}.sql").read_text().startswith("-- transactional: false")


def test_killed_inside_a_file_nothing_of_it_remains(empty_database: str, write: Write, three: Path) -> None:
    write("0004_slow", "CREATE TABLE slow (n int);\nSELECT pg_sleep(60);")
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys, pathlib; from nexgent_db.migrations import Migrator as M;"
         "M(sys.argv[1], pathlib.Path(sys.argv[2])).migrate()", empty_database, str(three)],
        cwd=CHECKOUT,
    )  # fmt: skip
    try:
        with connected(empty_database) as conn:
            deadline = time.monotonic() + 30
            asleep = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
            while not conn.execute(asleep).fetchone():
                assert time.monotonic() < deadline
                time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    settle(empty_database)  # well before the 60 s: the server looks whether its client is still there
    assert tables(empty_database) == ["a", "b", "c"]
    assert Migrator(empty_database, three).pending() == ["0004_slow"]


# --- Not alone ----------------------------------------------------------------------------------


@pytest.mark.parametrize("migrators", [2, 8])
def test_migrators_at_once_apply_each_migration_exactly_once(empty_database: str, migrators: int) -> None:
    start = threading.Barrier(migrators)

    def migrate(_: int) -> list[str]:
        start.wait()
        return Migrator(empty_database).migrate(to=LAST_OF_HISTORY)

    with ThreadPoolExecutor(migrators) as pool:
        done = list(pool.map(migrate, range(migrators)))
    names = [name for names in done for name in names]
    assert len(names) == 18
    assert len(set(names)) == 18
    assert log_of(empty_database) == [f"apply {name}" for name in sorted(names)]
    assert_same(_expected_history(), catalog_of(empty_database), "after them all")


def test_even_without_the_lock_nothing_is_applied_twice(
    empty_database: str, three: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mark's unique key is the second guard: a session, and the lock with it, can be lost at any time."""
    Migrator(empty_database, three).migrate()  # yoyo's tables
    Migrator(empty_database, three).rollback(3)

    @contextmanager
    def unguarded(self: Migrator) -> Iterator[psycopg.Connection[Any]]:
        with connected(self._conninfo) as conn:
            yield conn

    monkeypatch.setattr(Migrator, "_alone", unguarded)
    start = threading.Barrier(4)

    def migrate(_: int) -> list[str]:
        start.wait()
        try:
            return Migrator(empty_database, three).migrate()
        except MigrationError as e:
            assert "was applied by somebody else meanwhile" in str(e)  # noqa: PT017
            return []

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrate, range(4)))
    Migrator(empty_database, three).migrate()
    assert one(empty_database, "SELECT count(*) FROM a") == 1
    assert sorted(log_of(empty_database)[-3:]) == ["apply 0001_a", "apply 0002_b", "apply 0003_c"]


def test_waiting_for_another_migrator_ends_with_who_it_is(empty_database: str, three: Path) -> None:
    with Migrator(empty_database, three)._alone() as held:
        began = time.monotonic()
        with pytest.raises(MigrationLocked, match=r"another migrator did not finish within 0\.3 s") as caught:
            Migrator(empty_database, three, lock_wait_s=0.3).migrate()
        assert 0.3 <= time.monotonic() - began < 5
        assert f"backend {held.info.backend_pid}, role {held.info.user}, nexgent-db migrate" in str(caught.value)
        assert ", since 20" in str(caught.value)
        assert Migrator(empty_database, three).pending() == ["0001_a", "0002_b", "0003_c"]  # reading needs no lock
    assert len(Migrator(empty_database, three, lock_wait_s=0.3).migrate()) == 3


def test_a_migrator_that_lost_its_lock_does_not_go_on(empty_database: str, three: Path) -> None:
    def end_the_lock(name: str, done: int, total: int) -> None:
        if (name, done) == ("0001_a", 1):
            with connected(empty_database) as conn:
                conn.execute(
                    "SELECT pg_terminate_backend(l.pid, 5000) FROM pg_locks AS l WHERE l.locktype = 'advisory'"
                    " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                )

    with pytest.raises(DatabaseUnavailable, match="the connection ended"):
        Migrator(empty_database, three, on_step=end_the_lock).migrate()
    assert tables(empty_database) == ["a"]
    assert Migrator(empty_database, three).migrate() == ["0002_b", "0003_c"]


def test_a_table_in_use_is_waited_for_a_bounded_number_of_times(
    empty_database: str, write: Write, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_RETRY_PAUSE_S", (0.02, 0.02))
    write("0001_a", "CREATE TABLE a (n int);")
    write("0002_b", "CREATE TABLE b (n int);\nALTER TABLE a ADD COLUMN m int;")
    migrator = Migrator(empty_database, folder, lock_timeout_s=0.05, attempts=3)
    migrator.migrate(to="0001_a")
    with psycopg.connect(empty_database) as reader:
        reader.execute("SELECT * FROM a")
        with pytest.raises(MigrationLocked, match=r"0002_b\.sql:2: canceling statement due to lock timeout") as caught:
            migrator.migrate()
        assert str(caught.value).endswith("gave up after 3 attempts")
        assert tables(empty_database) == ["a"]

        patient = Migrator(empty_database, folder, lock_timeout_s=0.05, attempts=200)
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(patient.migrate)
            time.sleep(0.3)
            assert not done.done()
            reader.rollback()
            assert done.result(timeout=30) == ["0002_b"]


# --- Rights, names and surroundings -------------------------------------------------------------


def test_status_writes_nothing_and_needs_no_right_to(empty_database: str, three: Path) -> None:
    read_only = make_conninfo(empty_database, options="-c default_transaction_read_only=on")
    assert Migrator(read_only, three).pending() == ["0001_a", "0002_b", "0003_c"]
    assert one(empty_database, "SELECT count(*) FROM pg_class WHERE relname LIKE '%yoyo%'") == 0
    Migrator(empty_database, three).migrate()
    assert Migrator(read_only, three).migrate() == []  # nothing pending: nothing written
    with psycopg.connect(empty_database) as busy:  # not even the lock of an ALTER in the way of other tables
        busy.execute("LOCK TABLE a, b, c IN ACCESS EXCLUSIVE MODE")
        assert Migrator(read_only, three).pending() == []


def test_a_uid_without_a_passwd_entry_can_migrate(
    empty_database: str, three: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody_knows() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr(getpass, "getuser", nobody_knows)
    assert len(Migrator(empty_database, three).migrate()) == 3
    assert str(one(empty_database, "SELECT DISTINCT username FROM _yoyo_log")).startswith("uid ")


def test_the_search_path_of_the_connection_decides_the_schema(empty_database: str, three: Path) -> None:
    with connected(empty_database) as conn:
        conn.execute('CREATE SCHEMA "My Schema"')
    inside = make_conninfo(empty_database, options=r'-csearch_path="My\ Schema"')
    Migrator(inside, three).migrate()
    assert tables(inside) == ["a", "b", "c"]
    assert tables(empty_database) == []
    assert one(empty_database, "SELECT to_regclass('_yoyo_migration')") is None
    assert Migrator(empty_database, three).pending() == ["0001_a", "0002_b", "0003_c"]
    assert Migrator(inside, three).pending() == []

    nowhere = make_conninfo(empty_database, options="-csearch_path=nowhere")
    with pytest.raises(MigrationError, match=r"no schema of the search path \(nowhere\) exists"):
        Migrator(nowhere, three).migrate()


def test_two_schemas_end_with_the_same_catalog(empty_database: str) -> None:
    with connected(empty_database) as conn:
        conn.execute("CREATE SCHEMA tenant")
    inside = make_conninfo(empty_database, options="-csearch_path=tenant")
    Migrator(inside).migrate()
    Migrator(empty_database).migrate()
    assert_same(catalog_of(empty_database), catalog_of(inside), "in a schema of another name")


def test_a_role_without_rights_gets_a_plain_error(empty_database: str, three: Path) -> None:
    with connected(empty_database) as conn:
        conn.execute("DROP ROLE IF EXISTS nexgent_test_reader")
        conn.execute("CREATE ROLE nexgent_test_reader")
    as_reader = make_conninfo(empty_database, options="-crole=nexgent_test_reader")
    try:
        with pytest.raises(MigrationError, match="permission denied for schema public") as caught:
            Migrator(as_reader, three).migrate()
        assert caught.value.sqlstate == "42501"
    finally:
        with connected(empty_database) as conn:
            conn.execute("DROP ROLE nexgent_test_reader")


def test_no_error_repeats_a_password(tmp_path: Path, three: Path) -> None:
    unreachable = make_conninfo(host=str(tmp_path), user="me", password="s3cret", dbname="db")
    with pytest.raises(DatabaseUnavailable, match="cannot connect as me at ") as caught:
        Migrator(unreachable, three).migrate()
    assert "s3cret" not in f"{caught.value}{caught.value.__cause__}{Migrator(unreachable, three)!r}"
    for malformed in ("host=h password=s3cret x", "postgresql://me:s3cret%ZZ@h/db", "postgresql://me:a@s3cret@h/db"):
        with pytest.raises(ConfigurationError) as malformed_caught:
            Migrator(malformed, three)
        assert "s3cret" not in str(malformed_caught.value)
        assert malformed_caught.value.__cause__ is None


def test_a_role_that_does_not_exist_is_an_authentication_error(empty_database: str, three: Path) -> None:
    with pytest.raises(AuthenticationFailed):
        Migrator(make_conninfo(empty_database, user="nexgent_nobody", password="s3cret"), three).status()


# --- Beside plain yoyo --------------------------------------------------------------------------


def yoyo(command: str, conninfo: str, directory: Path) -> str:
    parts = {name: str(value) for name, value in conninfo_to_dict(conninfo).items()}
    user = quote(parts.pop("user", ""), safe="")
    if "password" in parts:
        user += f":{quote(parts.pop('password'), safe='')}"
    url = f"postgresql+psycopg://{user}@/{quote(parts.pop('dbname'))}?{urlencode(parts)}"
    done = subprocess.run(
        [sys.executable, "-m", "yoyo", command, "--batch", "--no-config-file", "--database", url, str(directory)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def yoyo_list(conninfo: str, directory: Path) -> dict[str, bool]:
    rows = re.findall(r"^([AU])\s+(\S+)", yoyo("list", conninfo, directory), re.MULTILINE)
    return {name: state == "A" for state, name in rows}


def test_yoyo_list_agrees(empty_database: str) -> None:
    migrator = Migrator(empty_database)
    for to in ("20251220051448_add_agent_balance_snapshots", LAST_OF_HISTORY):
        migrator.migrate(to=to)
        assert yoyo_list(empty_database, migrator.directory) == {
            s.name: s.applied_at is not None for s in migrator.status()
        }
    migrator.rollback(5)
    assert yoyo_list(empty_database, migrator.directory) == {
        s.name: s.applied_at is not None for s in migrator.status()
    }


def test_what_yoyo_applied_is_applied(empty_database: str, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    for name in ("a", "b"):
        (plain / f"000_{name}.sql").write_text(f"CREATE TABLE {name} (n int);")
        (plain / f"000_{name}.rollback.sql").write_text(f"DROP TABLE {name};")
    yoyo("apply", empty_database, plain)
    migrator = Migrator(empty_database, plain)
    assert migrator.pending() == []
    assert migrator.rollback() == ["000_b"]
    yoyo("apply", empty_database, plain)
    assert migrator.rollback(2) == ["000_b", "000_a"]
    assert yoyo_list(empty_database, plain) == {"000_a": False, "000_b": False}
