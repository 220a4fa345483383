"""Legacy migrations end in the public system's catalog, and each rollback undoes its migration."""

from __future__ import annotations

import hashlib
from typing import Final

import pytest

from nexgent_db.migrations import Migrator
from nexgent_db.migrations.files import LAST_LEGACY_MIGRATION
from nexgent_db.resources import data_dir
from nexgent_db.schema.diff import differences
from tests.support.builders.migrating import assert_same, catalog_of, connected, one
from tests.support.oracles.legacy_schema import expected_history


def test_legacy_migrations_create_public_catalog(empty_database: str) -> None:
    applied = Migrator(empty_database).migrate(to=LAST_LEGACY_MIGRATION)
    assert len(applied) == 18
    assert applied[-1] == LAST_LEGACY_MIGRATION
    assert_same(expected_history(), catalog_of(empty_database), "after the history")


FROZEN: Final = {
    "20251211112932_init": "c07d4374167b46b55f330f276b547f17",
    "20251212112507_remove_price_sol_from_trading_signals": "353f42bc04d924628878ace3c58e1c2e",
    "20251213231745_add_swap_payload": "2e223733a128a488f2e9179f42b1b04b",
    "20251220051448_add_agent_balance_snapshots": "ebb7cf4a69bf50df0b99c6227ff8a3ac",
    "20251220052327_increase_decimal_precision_for_token_prices": "094b68970c8cfcf2eb73e72a9bf9fa10",
    "20251220053027_add_agent_transactions_decimal_precision": "c06ad6486c126ab4a34f178c2d521f5d",
    "20251220230728_add_dca_fields_to_positions": "afc200bb409a022976fc03b8f932e38f",
    "20251221000651_add_close_reason_to_historical_swaps": "332c0a4025fe736e6907375bcc688583",
    "20251221120000_add_wallet_address_to_balance_snapshots": "4bdb53808d70292b0b9b93f86d0c812e",
    "20260106120000_add_automated_trading": "473973da2409317d1a82717c64317015",
    "20260106130000_split_automated_trading_by_mode": "ea80e3dafedef4d9b4a13e4db436e50c",
    "20260123000000_add_api_keys": "91f7f98c327e77eb62493375c486e269",
    "20260131120000_add_take_profit_fields_to_positions": "6a1dbc7f615266752ab74c389d6bfe9d",
    "20260131150000_add_realized_profit_sol": "1978693b8d557ab727e467127bafbd0b",
    "20260131160000_add_is_take_profit": "c0351b050cad0a9d772ecdb83d6e2220",
    "20260208120000_add_tp_batch_fields": "7cb1a6a65306051cafc806b8d32f6166",
    "20260208140000_add_protocol_and_network_fee": "fe4ad4623ce503115af5c48b70f4fedc",
    "20260211120000_add_user_id_to_trading_signals": "470fe64e9d4cdf0961a5646c86887778",
}
"""The first half of the SHA-256 of each file. Adopted databases have run them as they are."""


def test_legacy_migrations_are_frozen_to_the_letter() -> None:
    files = [path for path in data_dir("migrations").glob("*.sql") if not path.name.endswith(".rollback.sql")]
    found = {path.stem: hashlib.sha256(path.read_bytes()).hexdigest()[:32] for path in files}
    assert {name: digest for name, digest in found.items() if name <= LAST_LEGACY_MIGRATION} == FROZEN


# --- Up, down, up -------------------------------------------------------------------------------


def _appends_a_column(name: str) -> bool:
    """Whether the rollback re-adds a column, which PostgreSQL can only do at the end; its head says so."""
    return "\n-- Order:" in (data_dir("migrations") / f"{name}.rollback.sql").read_text(encoding="utf-8")


@pytest.mark.parametrize("last", [LAST_LEGACY_MIGRATION, None], ids=["history", "all"])
def test_each_rollback_restores_previous_catalog(empty_database: str, last: str | None) -> None:
    migrator = Migrator(empty_database)
    names = migrator.pending()
    names = names[: names.index(last) + 1] if last else names
    catalogs = [catalog_of(empty_database)]

    for name in names:
        assert migrator.migrate(to=name) == [name]
        catalogs.append(catalog_of(empty_database))
        assert differences(catalogs[-2], catalogs[-1]) or name[15:].startswith(("validate", "fill", "refuse")), (
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


def test_only_declared_rollbacks_change_column_order(empty_database: str) -> None:
    """So that a declaration cannot hide an unneeded difference."""
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


def test_positions_bought_before_dca_get_total_invested(empty_database: str) -> None:
    migrator = Migrator(empty_database)
    migrator.migrate(to="20251220053027_add_agent_transactions_decimal_precision")
    with connected(empty_database) as conn:
        conn.execute(ROWS_AT_THE_BEGINNING)
    migrator.migrate(to="20251220230728_add_dca_fields_to_positions")
    with connected(empty_database) as conn:
        row = conn.execute("SELECT total_invested_sol, lowest_price, dca_count FROM agent_positions").fetchone()
    assert [str(value) for value in row or ()] == ["1.50000000", "0.000500000000000000", "0"]


def test_paused_agent_stays_paused_when_flag_is_split_and_joined_again(empty_database: str) -> None:
    migrator = Migrator(empty_database)
    migrator.migrate(to="20260106120000_add_automated_trading")
    with connected(empty_database) as conn:
        conn.execute(ROWS_AT_THE_BEGINNING)
        conn.execute(
            "INSERT INTO agents (id, user_id, name, updated_at, automated_trading)"
            " SELECT gen_random_uuid(), id, 'paused', now(), FALSE FROM users"
        )
    before = "SELECT array_agg(name || ' ' || automated_trading ORDER BY name) FROM agents"
    flags = one(empty_database, before)
    migrator.migrate(to="20260106130000_split_automated_trading_by_mode")
    split = "name || ' ' || automated_trading_simulation || ' ' || automated_trading_live"
    assert one(empty_database, f"SELECT array_agg({split} ORDER BY name) FROM agents") == [
        "a true true",
        "paused false false",
    ]
    migrator.rollback()
    assert one(empty_database, before) == flags == ["a true", "paused false"]


def test_agent_paused_in_one_mode_is_paused_after_rollback(empty_database: str) -> None:
    migrator = Migrator(empty_database)
    migrator.migrate(to="20260106130000_split_automated_trading_by_mode")
    with connected(empty_database) as conn:
        conn.execute(ROWS_AT_THE_BEGINNING)
        conn.execute("UPDATE agents SET automated_trading_live = FALSE")
    migrator.rollback()
    assert one(empty_database, "SELECT automated_trading FROM agents") is False


def test_snapshots_without_wallet_are_deleted(empty_database: str) -> None:
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
