"""The indexes: every foreign key has one, every other one has a reader, and none is redundant."""

from __future__ import annotations

import json
from typing import Any, Final, LiteralString

import psycopg
import pytest

from nexgent_db.migrations import Migrator
from nexgent_db.migrations.files import LAST_LEGACY_MIGRATION
from nexgent_db.resources import data_dir

_INDEXES: Final = """
    SELECT t.relname::text, c.relname::text, i.indisunique, ARRAY(
        SELECT a.attname::text
        FROM unnest(i.indkey) WITH ORDINALITY AS key (attnum, place)
        INNER JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = key.attnum
        ORDER BY key.place
    )
    FROM pg_index AS i
    INNER JOIN pg_class AS c ON c.oid = i.indexrelid
    INNER JOIN pg_class AS t ON t.oid = i.indrelid
    WHERE c.relnamespace = current_schema()::regnamespace
        AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
"""

Index = tuple[str, str, bool, tuple[str, ...]]
"""Table, name, whether it holds a rule, columns; of all rows and bare columns only."""


def indexes(url: str) -> list[Index]:
    with psycopg.connect(url) as conn:
        return [(table, name, unique, tuple(columns)) for table, name, unique, columns in conn.execute(_INDEXES)]


# --- Every index has a reader -------------------------------------------------------------------

_KEYS: Final = """
    SELECT con.conname::text, con.conrelid::regclass::text, con.confdeltype = ANY ('{c,n,d}'::"char"[]), ARRAY(
        SELECT a.attname::text
        FROM unnest(con.conkey) WITH ORDINALITY AS key (attnum, place)
        INNER JOIN pg_attribute AS a ON a.attrelid = con.conrelid AND a.attnum = key.attnum
        ORDER BY key.place
    )
    FROM pg_constraint AS con
    WHERE con.contype = 'f' AND con.connamespace = current_schema()::regnamespace
"""


def foreign_keys(url: str) -> dict[str, tuple[str, set[str]]]:
    """Table and columns of each key whose rows follow a deletion of what they refer to."""
    with psycopg.connect(url) as conn:
        return {name: (table, set(columns)) for name, table, follows, columns in conn.execute(_KEYS) if follows}


def planned() -> set[str]:
    """The indexes that the plan of a query uses, as the contract records them."""
    contract = json.loads((data_dir("sql") / "contract.json").read_text(encoding="utf-8"))
    return {index for query in contract["queries"] for index in query.get("indexes", ())}


def test_every_foreign_key_has_index_that_begins_with_its_columns(database_url: str) -> None:
    """Or with one of them that says as much: a wallet has few rows of other agents."""
    keys = foreign_keys(database_url)
    assert len(keys) >= 15
    found = indexes(database_url)
    for name, (table, columns) in keys.items():
        beginnings = [have for of, _, _, have in found if of == table]
        whole = any(set(have[: len(columns)]) == columns for have in beginnings)
        by_wallet = "wallet_address" in columns and any(have[0] == "wallet_address" for have in beginnings)
        assert whole or by_wallet, name


def test_every_index_is_planned_or_holds_rule_or_serves_foreign_key(database_url: str) -> None:
    keys = foreign_keys(database_url).values()
    unread = [
        name
        for table, name, unique, columns in indexes(database_url)
        if not unique
        and name not in planned()
        and not any(table == of and set(columns[: len(key)]) == key for of, key in keys)
    ]
    assert unread == []


_REQUESTS: Final = """
    INSERT INTO trade_requests (id, agent_id, wallet_address, operation, content_digest, version, created_at)
    SELECT gen_random_uuid(), gen_random_uuid(), 'wallet', operation, sha256(''), 1, now() - age - n * interval '1 s'
    FROM
        (VALUES ('buy', interval '0', 4000), ('buy', '90 days', 100), ('reset_wallet', '180 days', 1000))
            AS kind (operation, age, rows),
        LATERAL generate_series(1, rows) AS n
"""
"""New ones, a few old ones, and resets, which stay: these are the oldest."""

_READ: Final = """
    SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables
    WHERE relname LIKE 'trade_requests%'
"""


@pytest.mark.parametrize("known", ["nothing is known", "all is known"])
def test_pruning_reads_the_requests_that_it_deletes(fresh_database_url: str, known: str) -> None:
    """A partial index, in a function: no contract has its plan."""
    with psycopg.connect(fresh_database_url, autocommit=True) as conn:
        conn.execute(_REQUESTS)
        if known == "all is known":
            conn.execute("ANALYZE trade_requests")
        with conn.transaction():
            (pruned,) = one_row(conn, "SELECT prune_trade_requests_v1(now() - interval '30 days', 10)")
            assert pruned == 10
            (read,) = one_row(conn, _READ)
            assert read <= 4 * pruned  # found, locked, found by id, deleted
        assert one_row(conn, "SELECT count(*) FROM trade_requests WHERE operation = 'reset_wallet'") == (1000,)


def one_row(conn: psycopg.Connection[Any], query: LiteralString) -> Any:
    row = conn.execute(query).fetchone()
    assert row is not None
    return row


def test_dropped_legacy_index_is_covered_or_unread(empty_database: str, database_url: str) -> None:
    Migrator(empty_database).migrate(to=LAST_LEGACY_MIGRATION)
    before, after = indexes(empty_database), indexes(database_url)
    assert len(before) >= 50
    gone = {
        name
        for table, name, _, columns in before
        if not any(of == table and have[: len(columns)] == columns for of, _, _, have in after)
    }
    assert gone == UNREAD


UNREAD: Final = {
    "agents_automated_trading_simulation_idx", "agents_automated_trading_live_idx",
    "abs_wallet_address_idx",
    "agent_balances_agent_id_idx", "agent_balances_agent_id_wallet_address_idx",
    "trading_signals_created_at_idx", "trading_signals_signal_type_idx",
    "agent_transactions_transaction_time_idx", "agent_transactions_transaction_type_idx",
    "agent_historical_swaps_agent_id_created_at_idx", "agent_historical_swaps_purchase_time_idx",
    "agent_historical_swaps_sale_time_idx", "agent_historical_swaps_token_address_idx",
    "agent_historical_swaps_wallet_address_idx",
}  # fmt: skip
"""The legacy migrations made them, and no query, rule or foreign key of ours needs one."""


def test_no_index_is_prefix_of_another(database_url: str) -> None:
    found = indexes(database_url)
    covered = [
        (name, other)
        for table, name, unique, columns in found
        for of, other, _, longer in found
        if of == table and other != name and longer[: len(columns)] == columns
        if not unique or longer == columns  # a shorter rule says more than a longer one
    ]
    assert covered == []
