"""``adopt --report``, and what stops at an object instead of a row: all of it is shown before anything is changed."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Final

import psycopg
import pytest
from typer.testing import CliRunner, Result

from nexgent_db.cli.app import app
from nexgent_db.migrations import MigrationError, Migrator
from nexgent_db.migrations.files import LAST_LEGACY_MIGRATION
from nexgent_db.migrations.preflight import DEPENDENT_OBJECTS
from nexgent_db.models import SOL_MINT
from nexgent_db.resources import data_dir
from nexgent_db.schema.catalog import Catalog
from nexgent_db.schema.introspect import read_catalog
from tests.support.builders.public_system import fill_as_public_system
from tests.support.servers.prisma import HISTORY, Prisma, content

RUN: Final = CliRunner()

OBJECTS: Final = {
    "CREATE VIEW report AS SELECT id, input_amount FROM agent_transactions": "rule _RETURN on view report",
    "CREATE MATERIALIZED VIEW sums AS SELECT sum(fees) FROM agent_transactions": "materialized view sums",
    "CREATE SCHEMA reports; CREATE VIEW reports.money AS SELECT balance FROM agent_balances": "view reports.money",
    "CREATE POLICY rich ON agent_balances USING (length(balance) > 3)": "policy rich on table agent_balances",
    "CREATE PUBLICATION large FOR TABLE agent_transactions WHERE (fees > 1)": "publication of table agent_transactions",
    "ALTER TABLE agent_positions ADD twice numeric GENERATED ALWAYS AS (peak_price + 1) STORED": "column twice",
    "CREATE INDEX by_text ON agent_balances (balance text_pattern_ops)": "index by_text",
    "CREATE INDEX by_length ON agent_balances (length(balance))": "index by_length",
    "CREATE INDEX rich ON agent_balances (wallet_address) WHERE balance > '1'": "index rich",
    "CREATE FUNCTION fees() RETURNS numeric RETURN (SELECT sum(fees) FROM agent_transactions)": "function fees",
    "CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
    "CREATE TRIGGER noted AFTER UPDATE OF balance ON agent_balances"
    " FOR EACH ROW EXECUTE FUNCTION noted()": "trigger noted on table agent_balances",
    "ALTER TABLE agents ADD version bigint": "column version of table agents",
    "CREATE TABLE trade_requests (id int)": "table trade_requests",
    "CREATE VIEW cache_outbox AS SELECT 1 AS one": "view cache_outbox",
}
"""What stops a later migration, and how the report describes it."""

HARMLESS: Final = (
    "CREATE VIEW names AS SELECT id, name FROM agents",
    "CREATE INDEX by_fee ON agent_transactions (fees)",
    "CREATE INDEX by_balance ON agent_balances (balance)",
    "CREATE STATISTICS both_prices ON input_price, output_price FROM agent_transactions",
    "CREATE PUBLICATION everything FOR TABLE agent_transactions",
)
"""What no migration stops at."""


def report(url: str, *options: str) -> Result:
    return RUN.invoke(app, ["adopt", "--database-url", url, "--report", *options])


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(statement.encode())


@pytest.mark.parametrize("statement", OBJECTS, ids=OBJECTS.values())
def test_object_that_stops_later_migration_is_reported_before_first(prisma: Prisma, statement: str) -> None:
    url = prisma(18)
    execute(url, statement)
    shown = report(url, "--json")
    assert shown.exit_code == 1
    (found,) = json.loads(shown.stdout)["rows"]
    assert OBJECTS[statement] in found["key"]
    migrator = Migrator(url)
    migrator.mark_applied(HISTORY, "as adopted")
    before = content(url)
    with pytest.raises(
        MigrationError, match="objects that a later migration stops at: 1; nothing was changed"
    ) as caught:
        migrator.migrate()
    assert found["key"] in caught.value.explanation
    assert content(url) == before
    # It is no false alarm: without the preflight a later migration fails.
    migrator.mark_applied([*HISTORY, *preflights()], "the preflight is left out")
    with pytest.raises(MigrationError):
        migrator.migrate()


def preflights() -> list[str]:
    folder = sorted(path.stem for path in data_dir("migrations").glob("*.sql") if "rollback" not in path.name)
    return [name for name in folder if LAST_LEGACY_MIGRATION < name <= DEPENDENT_OBJECTS]


def test_harmless_objects_are_not_reported_and_survive(prisma: Prisma) -> None:
    url = prisma(18)
    for statement in HARMLESS:
        execute(url, statement)
    assert report(url).exit_code == 0
    migrator = Migrator(url)
    migrator.mark_applied(HISTORY, "as adopted")
    migrator.migrate()


def test_lists_of_preflight_are_what_migrations_change(empty_database: str) -> None:
    migrator = Migrator(empty_database)
    migrator.migrate(LAST_LEGACY_MIGRATION)
    before = catalog(empty_database)
    migrator.migrate()
    after = catalog(empty_database)
    text = (data_dir("migrations") / f"{DEPENDENT_OBJECTS}.sql").read_text(encoding="utf-8")
    changed, added, needed = (
        re.findall(rf"{name} \((?:relation|name).*?\n        \)", text, re.DOTALL)[0]
        for name in ("changed", "added", "needed")
    )
    both = [(table, column) for table in before.tables for column in after.columns[table]]
    assert set(re.findall(r"\('(\w+)', '(\w+)', (?:true|false)\)", changed)) == {
        (table, column)
        for table, column in both
        if column in before.columns[table] and before.columns[table][column].type != after.columns[table][column].type
    }
    assert set(re.findall(r"\('(\w+)', '(\w+)', true\)", changed)) == {
        (table, column)
        for table, column in both
        if (old := before.columns[table].get(column)) is not None
        and old.type.startswith("text")
        and not after.columns[table][column].type.startswith("text")
    }
    assert set(re.findall(r"\('(\w+)', '(\w+)'\)", added)) == {
        (table, column) for table, column in both if column not in before.columns[table]
    }
    assert set(re.findall(r"\('(\w+)'\)", needed)) == {
        name
        for kind in ("tables", "sequences", "types", "enums", "views")
        for name in getattr(after, kind).keys() - getattr(before, kind).keys()
    }


def catalog(url: str) -> Catalog:
    with psycopg.connect(url) as conn:
        return read_catalog(conn)


def test_report_remarks_on_money_and_configurations(prisma: Prisma) -> None:
    url = prisma(18)
    fill_as_public_system(url, agents=3, positions_of_each=10)
    with psycopg.connect(url) as conn:
        conn.execute(
            "UPDATE agent_balances SET balance = '5e9' WHERE token_address = %s AND wallet_address = 'Wallet0'",
            [SOL_MINT],
        )
        conn.execute("""UPDATE agents SET trading_config = '{"signals": {"minScore": 9}}' WHERE name = 'Wallet1'""")
        conn.execute("""UPDATE agents SET trading_config = '{"signals": {"minScore": 2}}' WHERE name = 'Wallet2'""")
        row = conn.execute(
            "SELECT id, wallet_address, token_address FROM agent_positions WHERE wallet_address = 'Wallet2' LIMIT 1"
        ).fetchone()
        assert row is not None
        conn.execute(
            "UPDATE agent_balances SET balance = '0.5' WHERE wallet_address = %s AND token_address = %s", row[1:]
        )
    before = content(url)
    shown = report(url, "--json")
    assert shown.exit_code == 0, shown.stdout
    rows = json.loads(shown.stdout)["rows"]
    assert all(not each["refused"] for each in rows)
    (lamports,) = [each for each in rows if each["table"] == "agent_balances"]
    assert Decimal(lamports["value"]) == 5_000_000_000
    (config,) = [each for each in rows if each["table"] == "agents"]
    assert config["value"] == "signals.minScore"
    off = {each["key"]: each for each in rows if each["table"] == "agent_positions"}
    assert "write the position off" in off[f"id = '{row[0]}'"]["what_to_do"]
    assert sum(each["what_to_do"] == "close it with a sale up_to_dust" for each in off.values()) > 0
    assert content(url) == before
    assert "a sale up_to_dust" in report(url).stdout


def test_report_refuses_moon_bag_above_the_rest(prisma: Prisma) -> None:
    url = prisma(18)
    fill_as_public_system(url, agents=1, positions_of_each=10)
    bag = "UPDATE agent_positions SET moon_bag_amount = {} WHERE id = (SELECT min(id::text)::uuid FROM agent_positions)"
    held = "coalesce(remaining_amount, purchase_amount)"
    execute(url, bag.format(held))
    assert report(url).exit_code == 0, "all of it may be kept"
    execute(url, bag.format(f"{held} + 1e-9"))
    before = content(url)
    shown = report(url, "--json")
    assert shown.exit_code == 1
    (found,) = [each for each in json.loads(shown.stdout)["rows"] if each["refused"]]
    assert (found["table"], found["rule"]) == ("agent_positions", "agent_positions_moon_bag_amount_check")
    assert found["key"] == f"id = '{min(str(row['id']) for row in before['agent_positions'])}'"
    assert found["key"] in report(url).stdout
    assert content(url) == before


def test_migration_of_developer_is_reported_with_what_to_do(prisma: Prisma, server_url: str) -> None:
    """The steps are given in order, and lead to an adopted database in this order."""
    url = prisma(18)
    execute(url, "ALTER TABLE agents ADD notes text")
    execute(
        url,
        "INSERT INTO _prisma_migrations (id, checksum, finished_at, migration_name, started_at)"
        " VALUES ('19', 'x', now(), '20260301000000_my_own', now())",
    )
    shown = report(url, "--json")
    assert shown.exit_code == 1
    (found,) = json.loads(shown.stdout)["rows"]
    steps = (
        "20260301000000_my_own",
        "undo what it changed",
        "delete its row in _prisma_migrations",
        "adopt",
        "shows what still differs",
        "migrate",
        "make what you need of it again",
    )
    assert re.search(".*?".join(map(re.escape, steps)), found["what_to_do"]), found["what_to_do"]
    adopt = ["adopt", "--database-url", url, "--scratch", server_url]
    assert RUN.invoke(app, adopt).exit_code == 1
    execute(url, "DELETE FROM _prisma_migrations WHERE migration_name = '20260301000000_my_own'")
    not_undone = RUN.invoke(app, adopt)
    assert not_undone.exit_code == 1
    assert "notes" in not_undone.output
    execute(url, "ALTER TABLE agents DROP COLUMN notes")
    assert RUN.invoke(app, adopt).exit_code == 0
    Migrator(url).migrate()
    execute(url, "ALTER TABLE agents ADD notes text")


def test_difference_ignored_at_adoption_is_no_drift(prisma: Prisma, server_url: str) -> None:
    url = prisma(18)
    execute(url, "CREATE INDEX mine ON users (created_at); CREATE TABLE notes (n int)")
    to = ["--database-url", url, "--scratch", server_url]
    adopted = RUN.invoke(app, ["adopt", *to, "--ignore", "mine", "--ignore", "notes", "--reason", "ours: see wiki"])
    assert adopted.exit_code == 0, adopted.output
    Migrator(url).migrate()
    assert RUN.invoke(app, ["drift", *to]).exit_code == 0
    execute(url, "CREATE INDEX new_one ON users (created_at)")
    drifted = RUN.invoke(app, ["drift", *to])
    assert drifted.exit_code == 1
    assert "new_one" in drifted.output
    assert "mine" not in drifted.output


@pytest.mark.parametrize(
    ("statement", "repair"),
    [
        ("ALTER INDEX agents_user_id_idx RENAME TO old_index", "ALTER INDEX old_index RENAME TO agents_user_id_idx;"),
        (
            "ALTER TABLE agents RENAME CONSTRAINT agents_user_id_fkey TO old_key",
            "ALTER TABLE agents RENAME CONSTRAINT old_key TO agents_user_id_fkey;",
        ),
        (
            "ALTER TABLE users RENAME CONSTRAINT users_pkey TO old_key",
            "ALTER TABLE users RENAME CONSTRAINT old_key TO users_pkey;",
        ),
    ],
)
def test_renamed_object_is_repaired_by_rename(
    fresh_database_url: str, server_url: str, statement: str, repair: str
) -> None:
    execute(fresh_database_url, statement)
    to = ["--database-url", fresh_database_url, "--scratch", server_url]
    shown = RUN.invoke(app, ["drift", *to, "--json"])
    (found,) = json.loads(shown.stdout)["differences"]
    assert found["repair"] == repair
    execute(fresh_database_url, repair)
    assert RUN.invoke(app, ["drift", *to]).exit_code == 0
