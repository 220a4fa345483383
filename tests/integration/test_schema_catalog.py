"""The schema's catalog: read, compared object by object, written as DDL, and repaired."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from typer.testing import CliRunner

from nexgent_db.cli import schema as command
from nexgent_db.cli.app import app
from nexgent_db.errors import ConfigurationError
from nexgent_db.migrations import Migrator
from nexgent_db.queries.lexer import statements as split
from nexgent_db.schema.catalog import Catalog
from nexgent_db.schema.ddl import render
from nexgent_db.schema.diff import LEFT_ALONE, differences
from nexgent_db.schema.introspect import read_catalog

RUN = CliRunner()


@contextmanager
def connected(conninfo: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(conninfo, autocommit=True) as conn:
        yield conn


def catalog_of(conninfo: str) -> Catalog:
    with connected(conninfo) as conn:
        return read_catalog(conn)


def run(conninfo: str, statements: str) -> None:
    """Runs each statement auto-committed: some cannot run in a transaction."""
    starts = [statement.start for statement in split(statements)]
    with connected(conninfo) as conn:
        for start, end in pairwise([*starts, len(statements)]):
            conn.execute(statements[start:end].encode())


# --- Written out --------------------------------------------------------------------------------


def test_written_schema_creates_same_catalog(database_url: str, empty_database: str) -> None:
    written = render(catalog_of(database_url))
    run(empty_database, written)
    assert catalog_of(empty_database) == catalog_of(database_url)
    assert render(catalog_of(empty_database)) == written


def test_every_kind_of_object_is_written_as_valid_ddl(empty_database: str, database_url: str) -> None:
    """Kinds of objects that this package does not have: quoted names, a circle of keys, identity, partitions."""
    odd = """
        CREATE DOMAIN share AS numeric(5,2) NOT NULL DEFAULT 0 CONSTRAINT share_check CHECK (VALUE <= 100);
        CREATE TYPE pair AS (x int, "Y" text);
        CREATE TYPE span AS RANGE (SUBTYPE = numeric);
        CREATE SEQUENCE counts AS smallint INCREMENT 5 MINVALUE 10 MAXVALUE 20 START 15 CACHE 2 CYCLE;
        CREATE TABLE "Odd one" (
            "the id" int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, other int, word text COLLATE "C",
            doubled int GENERATED ALWAYS AS (other * 2) STORED, EXCLUDE USING btree (other WITH =)
        ) WITH (fillfactor = 70);
        CREATE UNLOGGED TABLE a (n int PRIMARY KEY, back int, CONSTRAINT up CHECK (n > 0) NOT VALID);
        ALTER TABLE a ADD CONSTRAINT to_odd FOREIGN KEY (back) REFERENCES a (n) DEFERRABLE INITIALLY DEFERRED;
        CREATE TABLE left_ (n int PRIMARY KEY, r int);
        CREATE TABLE right_ (n int PRIMARY KEY, l int REFERENCES left_ (n));
        ALTER TABLE left_ ADD CONSTRAINT left_fkey FOREIGN KEY (r) REFERENCES right_ (n);
        CREATE TABLE parts (at date) PARTITION BY RANGE (at);
        CREATE VIEW seen AS SELECT n, 'it''s \\' AS said FROM a;
        CREATE MATERIALIZED VIEW kept AS SELECT n FROM a;
        CREATE FUNCTION count_a() RETURNS bigint LANGUAGE sql STABLE BEGIN ATOMIC SELECT count(*) FROM a; END;
        CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
        CREATE FUNCTION copy() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS
            'DECLARE b a; BEGIN b := NEW; RETURN b; END';
        CREATE TYPE held AS (first a, other pair);
        CREATE TYPE a_before AS (of_it held[]);
        COMMENT ON TYPE held IS 'a type';
        CREATE FUNCTION of_held(h held) RETURNS a_before LANGUAGE sql RETURN ROW(ARRAY[h])::a_before;
        CREATE TRIGGER copied BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION copy();
        COMMENT ON TRIGGER copied ON a IS 'a late trigger';
        ALTER TABLE a ADD CONSTRAINT few CHECK (n < 100) NOT VALID;
        COMMENT ON CONSTRAINT few ON a IS 'a late constraint';
        CREATE TRIGGER touched BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION touch();
        ALTER TABLE a DISABLE TRIGGER touched;
        CREATE RULE quiet AS ON DELETE TO a DO INSTEAD NOTHING;
        COMMENT ON TABLE "Odd one" IS 'it''s \\ odd';
        COMMENT ON COLUMN "Odd one"."the id" IS 'a column';
        COMMENT ON CONSTRAINT up ON a IS 'a constraint';
        COMMENT ON TRIGGER touched ON a IS 'a trigger';
        COMMENT ON VIEW seen IS 'a view';
        COMMENT ON DOMAIN share IS 'a domain';
        CREATE INDEX odd_idx ON "Odd one" USING hash (word) WHERE other > 1;
        COMMENT ON INDEX odd_idx IS 'an index'
    """
    run(empty_database, odd)
    found = catalog_of(empty_database)
    assert all(getattr(found, kind) for kind in found.__dataclass_fields__ if kind != "enums")
    with connected(database_url) as conn, conn.transaction(force_rollback=True):
        conn.execute("CREATE SCHEMA again")
        conn.execute("SET LOCAL search_path TO again")
        conn.execute(render(replace(found, schema="again")).encode())
        again = read_catalog(conn)
    assert [str(each) for each in differences(found, again)] == []
    assert found == again


def test_session_settings_do_not_change_ddl(database_url: str) -> None:
    expected = render(catalog_of(database_url))
    with connected(database_url) as conn:
        conn.execute("SET quote_all_identifiers = on; SET DateStyle = 'German'; SET TimeZone = 'Asia/Tokyo'")
        conn.execute("SET search_path = public, pg_catalog")
        assert render(read_catalog(conn)) == expected
        assert conn.execute("SHOW quote_all_identifiers").fetchone() == ("on",)


def test_missing_schema_is_error(database_url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"no schema of the search path \(nowhere\) exists"):
        catalog_of(make_conninfo(database_url, options="-csearch_path=nowhere"))


def test_schema_name_does_not_change_catalog(database_url: str, empty_database: str) -> None:
    name = 'My "odd" sch.ema\\'
    with connected(empty_database) as conn:
        conn.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
        conn.execute(sql.SQL("ALTER DATABASE {} SET search_path TO {}").format(
            sql.Identifier(conn.info.dbname), sql.Identifier(name)
        ))  # fmt: skip
    Migrator(empty_database).migrate()
    assert catalog_of(empty_database) == catalog_of(database_url)


def test_repaired_function_pins_the_path_of_its_own_schema(database_url: str, empty_database: str) -> None:
    expected = catalog_of(database_url)
    other = make_conninfo(empty_database, options="-csearch_path=other")
    run(empty_database, "CREATE SCHEMA other")
    Migrator(other).migrate()
    assert differences(expected, catalog_of(other)) == []
    run(other, "DROP FUNCTION trade_buy_v1;\nALTER FUNCTION require_wallet() SET search_path = public, pg_temp")
    found = differences(expected, catalog_of(other))
    assert [str(each).partition("(")[0] for each in found] == ["function require_wallet", "function trade_buy_v1"]
    assert all(" SET search_path TO 'other', 'pg_temp'" in each.repair for each in found)
    for each in found:
        run(other, each.repair)
    assert differences(expected, catalog_of(other)) == []
    with connected(other) as conn:
        public = "SELECT proname FROM pg_proc WHERE prosecdef AND has_function_privilege('public', oid, 'EXECUTE')"
        assert conn.execute(public).fetchall() == []


def test_restored_database_has_same_catalog(fresh_database_url: str) -> None:
    """After a restore, PostgreSQL shows CHECK (x IN (…)) on a varchar in another form."""
    expected = catalog_of(fresh_database_url)
    with connected(fresh_database_url) as conn:
        checks = conn.execute(
            "SELECT format('ALTER TABLE %s DROP CONSTRAINT %I, ADD CONSTRAINT %2$I %s', conrelid::regclass, conname,"
            " pg_get_constraintdef(oid)), pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'c'"
            " AND connamespace = 'public'::regnamespace"
        ).fetchall()
        for statement, _ in checks:
            conn.execute(statement.encode())
        now = conn.execute(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'c' AND"
            " connamespace = 'public'::regnamespace"
        ).fetchall()
    assert {definition for _, definition in checks} != {definition for (definition,) in now}
    assert catalog_of(fresh_database_url) == expected


def test_history_tables_and_extensions_are_ignored(empty_database: str) -> None:
    with connected(empty_database) as conn:
        conn.execute("CREATE TABLE _prisma_migrations (id varchar(36) PRIMARY KEY)")
        conn.execute("CREATE INDEX of_theirs ON _prisma_migrations (id)")
        conn.execute("CREATE TABLE _nexgent_book (id bigserial PRIMARY KEY, at date)")
        conn.execute("COMMENT ON TABLE _nexgent_book IS 'ours'")
        conn.execute("CREATE TABLE xyoyo_lock (n int)")
        for (name,) in conn.execute("SELECT name FROM pg_available_extensions WHERE name IN ('citext', 'pg_trgm')"):
            conn.execute(f"CREATE EXTENSION {name}")
    found = catalog_of(empty_database)
    assert list(found.tables) == ["xyoyo_lock"]
    assert (found.indexes, found.sequences, found.functions, found.comments) == ({}, {}, {}, {})


# --- Comparison and repair ----------------------------------------------------------------------

DAMAGES = {
    "a column that is gone": (
        "ALTER TABLE agents DROP COLUMN trading_config",
        ["column agents.trading_config is missing"],
    ),
    "a column too many": ("ALTER TABLE agents ADD COLUMN nickname text", ["column agents.nickname is not expected"]),
    "another type": (
        "ALTER TABLE users ALTER email TYPE text",
        ["column users.email differs"],
    ),
    "another type under a default": (
        "ALTER TABLE agents ALTER trading_mode TYPE text",
        ["column agents.trading_mode differs", "constraint agents.agents_trading_mode_check differs"],
    ),
    "a default that is gone": ("ALTER TABLE users ALTER id DROP DEFAULT", ["column users.id differs"]),
    "another default": (
        "ALTER TABLE users ALTER locked_until SET DEFAULT now()",
        ["column users.locked_until differs"],
    ),
    "NULL allowed": ("ALTER TABLE users ALTER email DROP NOT NULL", ["column users.email differs"]),
    "NULL refused": ("ALTER TABLE users ALTER password_hash SET NOT NULL", ["column users.password_hash differs"]),
    "a table that is gone": ("DROP TABLE signal_executions", ["table signal_executions is missing"]),
    "a table too many": (
        "CREATE TABLE notes (id serial PRIMARY KEY, agent_id uuid REFERENCES agents (id));\n"
        "CREATE INDEX notes_idx ON notes (id)",
        ["table notes is not expected"],
    ),
    "an unlogged table": ("ALTER TABLE trade_requests SET UNLOGGED", ["table trade_requests differs"]),
    "storage parameters": (
        "ALTER TABLE agent_balances SET (fillfactor = 33, autovacuum_enabled = off)",
        ["table agent_balances differs"],
    ),
    "a check that is gone": (
        "ALTER TABLE agent_balances DROP CONSTRAINT agent_balances_balance_check",
        ["constraint agent_balances.agent_balances_balance_check is missing"],
    ),
    "a check that is not proven": (
        "ALTER TABLE agents DROP CONSTRAINT agents_trading_mode_check, ADD CONSTRAINT agents_trading_mode_check"
        " CHECK (trading_mode IN ('simulation', 'live')) NOT VALID",
        ["constraint agents.agents_trading_mode_check differs"],
    ),
    "a check too many": (
        "ALTER TABLE users ADD CONSTRAINT at CHECK (email LIKE '%@%')",
        ["constraint users.at is not expected"],
    ),
    "another action of a key": (
        "ALTER TABLE agents DROP CONSTRAINT agents_user_id_fkey, ADD CONSTRAINT agents_user_id_fkey"
        " FOREIGN KEY (user_id) REFERENCES users (id) ON UPDATE CASCADE ON DELETE RESTRICT",
        ["constraint agents.agents_user_id_fkey differs"],
    ),
    "an index that is gone": ("DROP INDEX agents_user_id_idx", ["index agents_user_id_idx is missing"]),
    "an index too many": ("CREATE INDEX mine ON agents (name)", ["index mine is not expected"]),
    "another index of the name": (
        "DROP INDEX agents_user_id_idx;\nCREATE INDEX agents_user_id_idx ON agents (user_id, name)",
        ["index agents_user_id_idx differs"],
    ),
    "an invalid index": (
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'agents_user_id_idx'::regclass",
        ["index agents_user_id_idx differs"],
    ),
    "a label that is gone": (
        "DROP FUNCTION transaction_effects, balance_change, change_balances_v1, trade_record_transaction_v1;\n"
        "ALTER TABLE agent_transactions DROP CONSTRAINT agent_transactions_sides_check;\n"
        "ALTER TYPE \"TransactionType\" RENAME TO old;\n"
        "CREATE TYPE \"TransactionType\" AS ENUM ('WITHDRAWAL', 'BURN');\n"
        'ALTER TABLE agent_transactions ALTER transaction_type TYPE "TransactionType"'
        ' USING transaction_type::text::"TransactionType";\nDROP TYPE old',
        [
            *('enum "TransactionType" differs', "function transaction_effects", "comment FUNCTION transaction_effects"),
            *("function balance_change", "comment FUNCTION balance_change"),
            *("function change_balances_v1", "function trade_record_transaction_v1"),
            "constraint agent_transactions.agent_transactions_sides_check",
        ],
    ),
    "a sequence that counts otherwise": (
        "ALTER SEQUENCE row_version_seq INCREMENT 2 CACHE 9",
        ["sequence row_version_seq differs"],
    ),
    "a sequence without its owner": (
        "ALTER SEQUENCE trading_signals_id_seq OWNED BY NONE",
        ["sequence trading_signals_id_seq differs"],
    ),
    "a function that does otherwise": (
        "CREATE OR REPLACE FUNCTION sol_mint() RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 'x'",
        ["function sol_mint() differs"],
    ),
    "a function too many": ("CREATE PROCEDURE mine() LANGUAGE sql AS ''", ["function mine() is not expected"]),
    "a function of PL/pgSQL that does otherwise": (
        "CREATE OR REPLACE FUNCTION require_wallet() RETURNS trigger LANGUAGE plpgsql"
        " SET search_path TO public, pg_temp AS $$ BEGIN RETURN NEW; END $$",
        ["function require_wallet() differs"],
    ),
    "a function that is gone": ("DROP FUNCTION trade_buy_v1", ["function trade_buy_v1("]),
    "a function with another result": (
        "DROP FUNCTION sol_mint CASCADE;\nCREATE FUNCTION sol_mint() RETURNS varchar LANGUAGE sql RETURN 'x'",
        ["function sol_mint() differs", "comment FUNCTION sol_mint() is missing", "function balance_change(",
         "comment FUNCTION balance_change(", "function transaction_effects(", "comment FUNCTION transaction_effects("],
    ),
    "a function without its search path": (
        "ALTER FUNCTION require_wallet() RESET search_path",
        ["function require_wallet() differs"],
    ),
    "a function with another search path": (
        "ALTER FUNCTION require_wallet() SET search_path = public",
        ["function require_wallet() differs"],
    ),
    "a function that trusts its caller": (
        "ALTER FUNCTION trade_buy_v1 SECURITY INVOKER", ["function trade_buy_v1("],
    ),
    "a function of the name with other parameters": (
        "CREATE FUNCTION new_id(n integer) RETURNS integer LANGUAGE sql RETURN n",
        ["function new_id(integer) is not expected"],
    ),
    "a composite type that is gone, with its functions": (
        "DROP TYPE trade_result_v1 CASCADE",
        [
            *("type trade_result_v1 is missing", "comment TYPE trade_result_v1 is missing"),
            *(
                f"function {name}("
                for name in (
                    *("begin_trade_v1", "change_balances_v1", "first_result_v1", "trade_buy_v1"),
                    *("trade_dca_buy_v1", "trade_record_transaction_v1", "trade_reset_wallet_v1", "trade_sell_v1"),
                    "trade_write_off_v1",
                )
            ),
        ],
    ),
    "a composite type too many": (
        "CREATE TYPE mine AS (agent agents);\nCREATE FUNCTION of_mine(m mine) RETURNS mine LANGUAGE sql RETURN m",
        ["function of_mine(mine) is not expected", "type mine is not expected"],
    ),
    "a trigger that is gone": (
        "DROP TRIGGER agents_to_cache_outbox ON agents",
        ["trigger agents.agents_to_cache_outbox is missing"],
    ),
    "a trigger that sleeps": (
        "ALTER TABLE agents DISABLE TRIGGER agents_to_cache_outbox",
        ["trigger agents.agents_to_cache_outbox differs"],
    ),
    "a trigger too many": (
        "CREATE TRIGGER mine BEFORE DELETE ON agents FOR EACH ROW EXECUTE FUNCTION agents_to_cache_outbox()",
        ["trigger agents.mine is not expected"],
    ),
    "a rule": ("CREATE RULE mine AS ON DELETE TO agents DO INSTEAD NOTHING", ["rule agents.mine is not expected"]),
    "a view": ("CREATE VIEW mine AS SELECT id FROM agents", ["view mine is not expected"]),
    "a comment that is gone": ("COMMENT ON TABLE trade_requests IS NULL", ["comment TABLE trade_requests is missing"]),
    "another comment": ("COMMENT ON TABLE users IS 'mine'", ["comment TABLE users is not expected"]),
    "several at once": (
        "DROP TABLE signal_executions;\nDROP FUNCTION protect_ledger CASCADE;\nALTER TABLE users DROP locked_until;\n"
        "CREATE TYPE mine AS ENUM ('a');\nCREATE TABLE mine_too (m mine)",
        [
            *("enum mine", "function protect_ledger()", "table signal_executions", "table mine_too"),
            *("column users.locked_until", "constraint users.users_times_check"),
            *(f"trigger {table}.{table}_append_only" for table in ("agent_transactions", "agent_historical_swaps")),
        ],
    ),
    "a table and the function that returns its row": (
        "DROP TABLE ledger_purges CASCADE",
        [
            "table ledger_purges is missing",
            "function purge_agent_batch_v1(",
            "function purge_agent_v1(",
            "comment FUNCTION purge_agent_batch_v1(",
            "comment FUNCTION purge_agent_v1(",
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_difference_is_named_and_repaired_by_its_statement(fresh_database_url: str, damage: str) -> None:
    expected = catalog_of(fresh_database_url)
    statements, names = DAMAGES[damage]
    run(fresh_database_url, statements)
    found = differences(expected, catalog_of(fresh_database_url))
    unnamed = [name for name in names if not any(str(each).startswith(name) for each in found)]
    assert not unnamed, [str(each) for each in found]
    assert len(found) == len(names), [str(each) for each in found]
    for each in found:
        run(fresh_database_url, each.repair)
    foreign = {str(each) for each in found if each.repair.startswith(LEFT_ALONE)}
    left = [str(each) for each in differences(expected, catalog_of(fresh_database_url))]
    assert left == [name for name in left if name.startswith("column order") or name in foreign]
    assert all(name.endswith("is not expected") for name in foreign)


def test_unrepairable_difference_is_reported(fresh_database_url: str) -> None:
    expected = catalog_of(fresh_database_url)
    run(fresh_database_url, "ALTER TYPE \"TransactionType\" ADD VALUE 'AIRDROP'")
    (found,) = differences(expected, catalog_of(fresh_database_url))
    assert found.repair.startswith("-- labels cannot be taken away")
    assert not found.harmless


@pytest.mark.parametrize(
    ("statement", "harmless"),
    [
        ("CREATE TABLE mine (n int)", True),
        ("CREATE INDEX mine ON agents (name)", True),
        ("CREATE VIEW mine AS SELECT id FROM agents", True),
        ("ALTER TABLE agents ADD COLUMN mine text", True),
        ("ALTER TABLE agents ADD COLUMN mine text NOT NULL DEFAULT ''", True),
        ("ALTER TABLE agents ADD COLUMN mine text NOT NULL", False),
        ("CREATE UNIQUE INDEX mine ON agents (name)", False),
        ("ALTER TABLE agents ADD CONSTRAINT mine CHECK (name <> '')", False),
        ("ALTER TABLE agents ALTER name TYPE text", False),
        ("DROP INDEX agents_user_id_idx", False),
    ],
)
def test_difference_that_changes_results_is_not_harmless(
    fresh_database_url: str, statement: str, harmless: bool
) -> None:
    expected = catalog_of(fresh_database_url)
    run(fresh_database_url, statement)
    (found,) = differences(expected, catalog_of(fresh_database_url))
    assert found.harmless is harmless


def test_repair_that_loses_digits_has_warning(fresh_database_url: str) -> None:
    expected = catalog_of(fresh_database_url)
    run(fresh_database_url, "ALTER TABLE agent_historical_swaps ALTER profit_loss_usd TYPE numeric(20,12)")
    (found,) = differences(expected, catalog_of(fresh_database_url))
    assert found.repair.splitlines()[0] == (
        "-- loses nothing if this finds no row: SELECT * FROM agent_historical_swaps"
        " WHERE profit_loss_usd::numeric(20,8)::numeric(20,12) IS DISTINCT FROM profit_loss_usd;"
    )


# --- The commands -------------------------------------------------------------------------------


def test_committed_schema_matches_migrations(database_url: str) -> None:
    committed = (Path(__file__).parents[2] / "sql/schema.sql").read_text(encoding="utf-8")
    assert committed.endswith("\n" + render(catalog_of(database_url)))


def test_stale_schema_is_reported_with_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert RUN.invoke(app, ["schema", "--out", str(tmp_path / "schema.sql")]).exit_code == 0
    monkeypatch.setattr(command, "data_dir", lambda name: tmp_path)
    assert RUN.invoke(app, ["schema", "--check"]).exit_code == 0
    path = tmp_path / "schema.sql"
    path.write_text(path.read_text().replace("name                         character varying(255)", "name text", 1))
    done = RUN.invoke(app, ["schema", "--check"])
    assert done.exit_code == 1
    assert "-    name text NOT NULL,\n" in done.stdout
    assert "make schema" in str(done.exception)


def test_schema_writes_given_database(empty_database: str) -> None:
    run(empty_database, "CREATE TABLE a (n int)")
    done = RUN.invoke(app, ["schema", "--database-url", empty_database])
    assert done.stdout == "CREATE TABLE a (\n    n integer\n);\n"


@pytest.mark.parametrize("said", [True, False])
def test_body_that_servers_version_decides_is_no_difference(
    fresh_database_url: str, database_url: str, said: bool
) -> None:
    run(fresh_database_url, "CREATE OR REPLACE FUNCTION new_id() RETURNS uuid RETURN gen_random_uuid()")
    if not said:
        run(fresh_database_url, "COMMENT ON FUNCTION new_id() IS 'A random id.'")
    found = differences(catalog_of(database_url), catalog_of(fresh_database_url))
    assert [each.kind for each in found] == ([] if said else ["function", "comment"])


@pytest.mark.parametrize("last", [None, "20260123000000_add_api_keys"])
def test_drift_compares_with_applied_migrations(empty_database: str, last: str | None) -> None:
    Migrator(empty_database).migrate(to=last)
    done = RUN.invoke(app, ["drift", "--database-url", empty_database])
    assert (done.exit_code, done.output.split(",")[0]) == (0, "the schema is what the migrations make"), done.output

    run(empty_database, "DROP INDEX agents_user_id_idx;\nCREATE INDEX mine ON agents (name)")
    done = RUN.invoke(app, ["drift", "--database-url", empty_database])
    assert done.exit_code == 1
    assert done.stdout == (
        "index mine is not expected  harmless\n"
        "  expected  nothing\n"
        "  there     CREATE INDEX mine ON agents (name)\n"
        "  repair    DROP INDEX CONCURRENTLY mine;\n"
        "index agents_user_id_idx is missing\n"
        "  expected  CREATE INDEX agents_user_id_idx ON agents (user_id)\n"
        "  there     nothing\n"
        "  repair    CREATE INDEX CONCURRENTLY agents_user_id_idx ON agents (user_id);\n"
        "2 differences\n"
    )


def test_drift_json_reports_differences(fresh_database_url: str, empty_database: str) -> None:
    run(fresh_database_url, "ALTER TABLE users ALTER email DROP NOT NULL")
    done = RUN.invoke(app, ["drift", "--json", "--database-url", fresh_database_url, "--scratch", empty_database])
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert found["after"] == Migrator(fresh_database_url).status()[-1].name
    assert found["differences"] == [
        {
            "kind": "column",
            "name": "users.email",
            "expected": "character varying(255) NOT NULL",
            "actual": "character varying(255)",
            "repair": "ALTER TABLE users ALTER COLUMN email SET NOT NULL;",
            "harmless": False,
        }
    ]
    with connected(empty_database) as conn:  # the scratch database is as it was
        assert conn.execute("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'nexgent%'").fetchone() == (0,)


def test_incomparable_database_has_exit_code_two(empty_database: str) -> None:
    done = RUN.invoke(app, ["drift", "--database-url", empty_database])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "no migration is applied here" in done.stderr
    Migrator(empty_database).migrate(to="20251213231745_add_swap_payload")
    run(empty_database, "DELETE FROM _yoyo_migration WHERE migration_id LIKE '20251212%'")
    done = RUN.invoke(app, ["drift", "--database-url", empty_database])
    assert done.exit_code == 2
    assert "not applied, but older than 20251213231745_add_swap_payload" in done.stderr
    for unreachable in (["--database-url", "postgresql://me:s3cret@127.0.0.1:1/x"],):
        done = RUN.invoke(app, ["drift", *unreachable])
        assert done.exit_code == 2
        assert "s3cret" not in done.output
