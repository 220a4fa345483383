"""Preflight violations: listed with advice, and nothing is changed; all other rows survive exactly."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any, Final

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from nexgent_db.cli.adoption_remarks import remarks
from nexgent_db.cli.app import app
from nexgent_db.migrations import MigrationError, Migrator
from nexgent_db.migrations.preflight import MIGRATION, PreflightViolation, checked_tables, preflight_violations
from nexgent_db.resources import data_dir
from nexgent_db.schema.diff import differences
from nexgent_db.schema.introspect import read_catalog
from tests.support.builders.edge_case_rows import (
    FIT,
    VIOLATIONS,
    Violation,
    after_the_migrations,
    balance,
    id_of,
    insert,
    position,
)
from tests.support.builders.migrating import yoyo_command
from tests.support.servers.prisma import HISTORY, Prisma, Rows, columns, content

RUN: Final = CliRunner()


def run(command: str, url: str, *arguments: str) -> Result:
    return RUN.invoke(app, [command, "--database-url", url, *arguments])


def report(url: str) -> list[PreflightViolation]:
    with psycopg.connect(url, autocommit=True) as conn:
        return list(preflight_violations(conn))


def catalog(url: str) -> Any:
    with psycopg.connect(url) as conn:
        return read_catalog(conn)


def execute(url: str, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as conn:
        cursor = conn.execute(statement.encode(), parameters or None)
        return cursor.fetchall() if cursor.description else []


def fill(url: str, count: int) -> list[Violation]:
    """Insert all rows into a database with ``count`` legacy migrations; return the violations that it can hold."""
    with psycopg.connect(url) as conn:
        for row in (*FIT, *(violation.row for violation in VIOLATIONS)):
            insert(conn, count, row)
        tables = columns(conn)
    return [
        violation
        for violation in VIOLATIONS
        if violation.row.since <= count <= violation.row.until
        and violation.column in tables.get(violation.row.table, {})
    ]


def repair(url: str, violation: Violation) -> None:
    if violation.repair is None:
        execute(url, f"DELETE FROM {violation.row.table} WHERE {violation.condition}")
    else:
        execute(
            url,
            f"UPDATE {violation.row.table} SET {violation.column} = %s WHERE {violation.condition}",
            violation.repair,
        )


def comparable(rows: Rows, types: dict[str, str]) -> list[str]:
    """Every value of every row, numbers by their value; without the cache's versions."""
    return sorted(
        repr({name: _number(text) if types[name] == "numeric" else text for name, text in sorted(row.items())})
        for row in ({name: text for name, text in row.items() if name != "version"} for row in rows)
    )


def _number(text: str | None) -> str | None:
    return text if text in (None, "NaN") else str(Fraction(text))


@pytest.mark.parametrize("count", [1, 8, 9, 10, 11, 18])
def test_database_with_violations_is_refused_and_repaired_database_keeps_values(
    prisma: Prisma, server_url: str, database_url: str, count: int
) -> None:
    url = prisma(count)
    violations = fill(url, count)
    assert run("adopt", url, "--scratch", server_url).exit_code == 0
    before, catalog_before = content(url), catalog(url)

    # The report: each of them, by its key, with the value that is there.
    found = [row for row in report(url) if row.refused]
    assert sorted((row.table, row.key, row.column, row.rule) for row in found) == sorted(
        (each.row.table, each.condition, each.column, each.rule) for each in violations
    )
    for row in found:
        assert execute(url, f"SELECT {row.column}::text FROM {row.table} WHERE {row.key}") == [(row.value,)]

    # The migration refuses the same rows and changes nothing: neither legacy migrations nor history tables.
    with pytest.raises(MigrationError, match=f"a later migration refuses: {len(found)}; nothing was changed") as caught:
        Migrator(url).migrate()
    listed = caught.value.explanation.splitlines()
    assert [re.split(" is |: ", line, maxsplit=1)[0] for line in listed] == [
        f"{row.table} WHERE {row.key}" for row in found
    ]
    assert all(row.what_to_do in line for row, line in zip(found, listed, strict=True))
    assert content(url) == before
    assert differences(catalog_before, catalog(url)) == []

    # Mended as the list says, it migrates: every value of every row is what it was.
    for each in violations:
        repair(url, each)
    assert [row for row in report(url) if row.refused] == []
    expected = after_the_migrations(content(url))
    Migrator(url).migrate()
    after = content(url)
    with psycopg.connect(url) as conn:
        types = columns(conn)
    for table in {row.table for row in FIT}:
        rows = expected.get(table, [])
        assert comparable(after[table], types[table]) == comparable(rows, types[table]), table
    assert after["_prisma_migrations"] == before["_prisma_migrations"]
    assert [str(each) for each in differences(catalog(database_url), catalog(url))] == []


# --- Reports ------------------------------------------------------------------------------------


def test_values_lost_by_legacy_migrations_are_reported_without_refusal(prisma: Prisma) -> None:
    url = prisma(1)
    with psycopg.connect(url) as conn:
        for row in FIT:
            insert(conn, 1, row)
    assert [(row.column, row.value, row.refused) for row in report(url)] == [("price_sol", "1 values", False)]
    done = run("adopt", url, "--report")
    assert done.exit_code == 0
    assert "trading_signals.price_sol, 1 values: this column is dropped" in done.stdout
    assert "no migration would refuse a value" in done.stdout


def test_snapshots_without_wallet_are_reported_before_deletion(prisma: Prisma) -> None:
    url = prisma(8)
    fill(url, 8)
    (reported,) = [row for row in report(url) if not row.refused]
    assert (reported.table, reported.key, reported.value) == ("agent_balance_snapshots", None, "3 rows")
    assert reported.rule in HISTORY
    notices = list[str]()
    with pytest.raises(MigrationError):
        Migrator(url, on_message=lambda name, text: notices.append(text)).migrate()
    assert any("3 rows" in text and reported.what_to_do in text for text in notices)


def test_preflight_report_lists_checks_and_exits_with_1_on_violation(prisma: Prisma) -> None:
    url = prisma(3)
    clean = run("adopt", url, "--report")
    assert (clean.exit_code, clean.stdout.splitlines()[1:]) == (0, ["no migration would refuse a value"])
    assert "agent_balance_snapshots" not in clean.stdout  # there is no such table yet
    assert clean.stdout.splitlines()[0].endswith(f"agent_historical_swaps; after {HISTORY[2]}")
    fill(url, 3)
    before = content(url)
    shown = run("adopt", url, "--report")
    assert shown.exit_code == 1
    assert f"id = '{id_of(171)}'" in shown.stdout
    as_json = run("adopt", url, "--report", "--json")
    assert as_json.exit_code == 1
    document = json.loads(as_json.stdout)
    assert document["after"] == HISTORY[2]
    with psycopg.connect(url) as conn:
        rows = [*report(url), *remarks(conn)]
        assert [PreflightViolation(**row) for row in document["rows"]] == rows
        assert document["tables"] == checked_tables(conn)
    assert content(url) == before
    assert "secret" not in shown.stdout + as_json.stdout


def test_empty_and_migrated_databases_have_no_violations(empty_database: str, database_url: str) -> None:
    for url in (empty_database, database_url):
        done = run("adopt", url, "--report", "--json")
        assert done.exit_code == 0, done.output
        assert [row for row in json.loads(done.stdout)["rows"] if row["refused"]] == []  # others share the database


def test_long_list_is_cut_in_error_and_complete_in_report(prisma: Prisma) -> None:
    url = prisma(18)
    fill(url, 18)
    execute(
        url,
        "INSERT INTO agent_balances SELECT gen_random_uuid(), agent_id, wallet_address, n::text, '', '-1', now()"
        " FROM agent_wallets, generate_series(1, 1100) AS n WHERE wallet_address = 'w1'",
    )
    whole = [row for row in report(url) if row.refused]
    assert len(whole) > 1100  # more than one table shows
    with pytest.raises(MigrationError, match=f"refuses: {len(whole)};") as caught:
        Migrator(url).migrate()
    assert len(caught.value.explanation.splitlines()) == 101
    assert caught.value.explanation.endswith("\n...")
    shown = run("adopt", url, "--report")
    assert f"values that a migration would refuse: {len(whole)}" in shown.stdout
    assert shown.stdout.count("-1") >= 1100


def test_each_preflight_query_scans_its_table_once(prisma: Prisma) -> None:
    """An index scan for the order took ten times as long on 5 million transactions."""
    url = prisma(18)
    fill(url, 18)
    copied = ("transaction_type", "transaction_value_usd", "transaction_time", "updated_at", "input_amount")
    names = ", ".join(("agent_id", "wallet_address", *copied))
    execute(
        url,
        f"INSERT INTO agent_transactions (id, {names}) SELECT gen_random_uuid(), {names}"
        f" FROM agent_transactions, generate_series(1, 20000) WHERE agent_transactions.id = '{id_of(230)}'",
    )
    execute(url, "ANALYZE")
    text = (data_dir("migrations") / f"{MIGRATION}.sql").read_text(encoding="utf-8")
    tables = ("agent_transactions", "agent_historical_swaps", "agent_positions", "agent_balances")
    for table, tag in ((table, table + suffix) for table in tables for suffix in ("", "_times")):
        query = text.split(f"${tag}$")[1]
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("SET max_parallel_workers_per_gather = 0")  # as for a cursor
            plan = "\n".join(line for (line,) in conn.execute(f"EXPLAIN {query}".encode()))
        assert plan.count(f"Seq Scan on {table}") == 1, plan
        assert "Index" not in plan, plan


def test_plain_yoyo_fails_with_same_violations(empty_database: str) -> None:
    migrator = Migrator(empty_database)
    migrator.migrate(to=HISTORY[-1])
    fill(empty_database, 18)
    before = content(empty_database)
    done = subprocess.run(
        yoyo_command("apply", empty_database, migrator.directory), capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "nothing was changed" in done.stderr
    assert f"agent_balances WHERE id = '{id_of(171)}': wallet_address is" in done.stderr
    after = content(empty_database)
    ours = {table for table in before if not table.startswith(("_", "yoyo"))}
    assert {table: after[table] for table in ours} == {table: before[table] for table in ours}
    assert MIGRATION in migrator.pending()


@pytest.mark.parametrize("text", ["1e-19", "\u0663", "\u00a05", "1" * 2000])
def test_balance_inserted_after_preflight_is_not_rounded(prisma: Prisma, text: str) -> None:
    url = prisma(18)
    migrator = Migrator(url)
    migrator.mark_applied([*HISTORY, MIGRATION], "looked at before the row came")
    with psycopg.connect(url) as conn:
        for row in (*FIT, balance(199, text)):
            insert(conn, 18, row)
    with pytest.raises(MigrationError, match="token 199 of wallet w1"):
        migrator.migrate()
    assert execute(url, "SELECT balance FROM agent_balances WHERE id = %s", id_of(199)) == [(text,)]


def test_policy_that_hides_rows_is_error_and_not_empty_report(prisma: Prisma) -> None:
    url = prisma(18)
    execute(url, "CREATE ROLE nexgent_report_reader")
    try:
        execute(url, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO nexgent_report_reader")
        execute(url, "ALTER TABLE agent_balances ENABLE ROW LEVEL SECURITY")
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("SET ROLE nexgent_report_reader")
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
                list(preflight_violations(conn))
    finally:
        execute(url, "DROP OWNED BY nexgent_report_reader")
        execute(url, "DROP ROLE nexgent_report_reader")


# --- That it looks for all that is refused ------------------------------------------------------

# Ours, and nothing that is there when they come can break them.
ALWAYS_HOLD: Final = {
    "agent_wallets_agent_id_wallet_address_key": "the address alone is a key",
    "agent_transactions_wallet_address_transaction_hash_key": "repeated hashes become legs",
    "agent_transactions_transaction_leg_check": "a new column",
    "agent_transactions_settled_dust_check": "a new column",
    "agent_transactions_sides_check": "never validated: old entries stay as they are",
    "agent_transactions_transaction_value_usd_check": "never validated: old entries stay as they are",
    "agent_positions_proceeds_sol_check": "a new column; what would make it NaN is listed under what fills it",
    "api_keys_expires_at_check": "a new column",
}


def test_every_new_constraint_on_legacy_tables_has_preflight_check(prisma: Prisma, database_url: str) -> None:
    with psycopg.connect(prisma(18)) as conn:
        history = read_catalog(conn)
    ours = catalog(database_url)
    rules = {name for table, name in ours.constraints.keys() - history.constraints.keys() if table in history.tables}
    rules |= {
        name
        for name, index in ours.indexes.items()
        if index.table in history.tables and "UNIQUE" in index.definition and name not in history.indexes
    }
    text = (data_dir("migrations") / f"{MIGRATION}.sql").read_text(encoding="utf-8")
    listed = set(re.findall(r"'(\w+_(?:check|fkey|key))'", text))
    assert rules - listed == ALWAYS_HOLD.keys()
    assert listed <= rules


@pytest.fixture(scope="module")
def checks(database_url: str) -> dict[str, tuple[str, str]]:
    """The table and the condition of every CHECK that the migrations make."""
    rows = execute(
        database_url,
        "SELECT conname, conrelid::regclass::text, pg_get_expr(conbin, conrelid) FROM pg_constraint"
        " WHERE contype = 'c' AND connamespace = 'public'::regnamespace",
    )
    return {name: (table, condition) for name, table, condition in rows}


@pytest.fixture
def history(prisma: Prisma) -> Iterator[psycopg.Connection[Any]]:
    """A database after the legacy migrations, with the valid rows."""
    with psycopg.connect(prisma(18), autocommit=True) as conn:
        for row in FIT:
            insert(conn, 18, row)
        yield conn


NUMBER: Final = st.sampled_from(["NaN", "-1", "0", "0.000000000000000001", "999.999999999999999999", "1000.5", "1001"])
MAYBE: Final = st.one_of(st.none(), NUMBER)


def test_position_is_listed_exactly_when_check_refuses_it(
    history: psycopg.Connection[Any], checks: dict[str, tuple[str, str]]
) -> None:
    conditions = {name: condition for name, (table, condition) in checks.items() if table == "agent_positions"}
    del conditions["agent_positions_proceeds_sol_check"]
    moon_bag = "agent_positions_moon_bag_amount_check"  # the migration fills what remains before it checks
    conditions[moon_bag] = conditions[moon_bag].replace(
        "remaining_amount", "coalesce(remaining_amount, purchase_amount)"
    )
    asked = ", ".join(f"NOT ({condition}) AS {name}" for name, condition in conditions.items())

    @settings(max_examples=40, deadline=None)
    @given(NUMBER, NUMBER, MAYBE, MAYBE)
    def holds(price: str, amount: str, remaining: str | None, moon_bag: str | None) -> None:
        row = position(329, purchase_price=price, purchase_amount=amount)
        row.values.update(remaining_amount=remaining, moon_bag_amount=moon_bag)
        history.execute("DELETE FROM agent_positions WHERE id = %s", [id_of(329)])
        insert(history, 18, row)
        found = history.execute(f"SELECT {asked} FROM agent_positions WHERE id = %s".encode(), [id_of(329)])
        refused = dict(zip(conditions, found.fetchall()[0], strict=True))
        listed = {each.rule for each in preflight_violations(history) if each.key == f"id = '{id_of(329)}'"}
        assert listed == {name for name, broken in refused.items() if broken}

    holds()


def test_list_is_reported_exactly_when_an_id_is_no_uuid(history: psycopg.Connection[Any]) -> None:
    digits = st.text("0aF-{}", min_size=30, max_size=40)
    ids = st.from_regex(r"\A[{]?([0-9a-fA-F]{4}-?){7,8}[0-9a-f]{0,4}[}]?\n?\Z")

    @settings(max_examples=60, deadline=None)
    @given(st.one_of(ids, digits))
    def holds(text: str) -> None:
        history.execute("DELETE FROM agent_positions WHERE id = %s", [id_of(329)])
        insert(history, 18, position(329))
        history.execute("UPDATE agent_positions SET dca_transaction_ids = %s WHERE id = %s", [[text], id_of(329)])
        listed = {row.column for row in preflight_violations(history) if row.key == f"id = '{id_of(329)}'"}
        try:
            history.execute("SELECT %s::text::uuid", [text])
        except psycopg.errors.InvalidTextRepresentation:
            assert listed == {"dca_transaction_ids"}
        else:
            assert listed == set()

    holds()


def test_balance_is_listed_exactly_when_column_cannot_hold_it(
    history: psycopg.Connection[Any],
) -> None:
    numbers = st.from_regex(r"\A[ \t]?[-+]?[0-9]{0,22}\.?[0-9]{0,20}([eE][-+]?[0-9]{1,2})?\n?\Z")

    @settings(max_examples=60, deadline=None)
    @given(st.one_of(numbers, st.text("0123456789.eE+-_x NaN\t\u0663\u00a0", max_size=12)))
    def holds(text: str) -> None:
        history.execute("DELETE FROM agent_balances WHERE id = %s", [id_of(199)])
        insert(history, 18, balance(199, text))
        listed = {row.value for row in preflight_violations(history) if row.key == f"id = '{id_of(199)}'"}
        assert listed == (set() if _is_a_balance(text) else {text})

    holds()


def _is_a_balance(text: str) -> bool:
    """Whether a column of numeric(38, 18) that takes 0 and more holds it exactly: said without PostgreSQL."""
    if not text.isascii() or "_" in text:
        return False
    try:
        number = Fraction(Decimal(text.strip(" \t\n\v\f\r")))
    except (InvalidOperation, ValueError, OverflowError):  # not a number; NaN; an infinity
        return False
    return 0 <= number < 10**20 and (number * 10**18).denominator == 1
