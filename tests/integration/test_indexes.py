"""Which indexes there are: every look-up keeps one, and none does what another one does as well."""

from __future__ import annotations

from typing import Final

import psycopg
import pytest

from nexgent_db.migrations import Migrator
from tests.support.many_rows import LAST_OF_HISTORY

LOOK_UPS: Final = (
    ("agent_id",),
    ("wallet_address",),
    ("agent_id", "wallet_address"),
    ("token_address",),
    ("signal_id",),
    ("transaction_time",),
)
"""How the trading engine looks for rows, in every table that has the columns."""

TABLES: Final = (
    "agent_balance_snapshots", "agent_balances", "agent_historical_swaps", "agent_positions", "agent_transactions",
    "agent_wallets", "signal_executions", "trading_signals",
)  # fmt: skip

_COLUMNS: Final = """
    SELECT column_name::text FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = %s
"""

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


@pytest.mark.parametrize("table", TABLES)
def test_every_look_up_finds_its_columns_at_the_beginning_of_an_index(database_url: str, table: str) -> None:
    with psycopg.connect(database_url) as conn:
        columns = {name for (name,) in conn.execute(_COLUMNS, [table])}
    beginnings = [found for of, _, _, found in indexes(database_url) if of == table]
    for look_up in LOOK_UPS:
        if (table, look_up) == ("agent_positions", ("wallet_address",)):
            continue  # history has none: positions are looked up by the agent as well, and a purchase is spared one
        if set(look_up) <= columns:
            assert any(set(found[: len(look_up)]) == set(look_up) for found in beginnings), look_up


def test_what_the_history_had_an_index_for_still_has_one(empty_database: str, database_url: str) -> None:
    Migrator(empty_database).migrate(to=LAST_OF_HISTORY)
    before, after = indexes(empty_database), indexes(database_url)
    assert len(before) >= 50
    for table, name, _, columns in before:
        assert any(of == table and found[: len(columns)] == columns for of, _, _, found in after), name


def test_no_index_is_the_beginning_of_another_one(database_url: str) -> None:
    found = indexes(database_url)
    covered = [
        (name, other)
        for table, name, unique, columns in found
        for of, other, _, longer in found
        if of == table and other != name and longer[: len(columns)] == columns
        if not unique or longer == columns  # a shorter rule says more than a longer one
    ]
    assert covered == []
