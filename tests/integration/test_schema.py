"""Constraints that hold for every writer, row versions, and the effect of our migrations on old rows."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final
from uuid import RFC_4122

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import Connection
from psycopg import errors as pg

from nexgent_db.migrations import MigrationError, Migrator
from nexgent_db.migrations.files import LAST_LEGACY_MIGRATION
from nexgent_db.models import SOL_MINT

USER, AGENT, OTHER_AGENT = (f"00000000-0000-0000-0000-00000000000{n}" for n in range(1, 4))
TRANSACTION = "00000000-0000-0000-0000-000000000009"

OWNERS = f"""
INSERT INTO users (id, email) VALUES ('{USER}', 'a@example.org');
INSERT INTO agents (id, user_id, name, updated_at)
VALUES ('{AGENT}', '{USER}', 'one', now()), ('{OTHER_AGENT}', '{USER}', 'two', now());
INSERT INTO agent_wallets (wallet_address, agent_id, wallet_type, updated_at)
VALUES ('W1', '{AGENT}', 'simulation', now()), ('W2', '{OTHER_AGENT}', 'simulation', now());
INSERT INTO agent_transactions (
    id, agent_id, wallet_address, transaction_type, transaction_value_usd, transaction_time, updated_at,
    input_mint, input_amount, output_mint, output_amount
) VALUES ('{TRANSACTION}', '{AGENT}', 'W1', 'SWAP', 0, now(), now(), 'S', 1, 'T', 1);
"""


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection[Any]]:
    """A connection with two agents, a wallet each and a transaction; everything is rolled back."""
    with psycopg.connect(database_url) as opened:
        opened.execute(OWNERS)
        yield opened
        opened.rollback()


def _insert(connection: Connection[Any], table: str, row: dict[str, Any]) -> None:
    columns, places = ", ".join(row), ", ".join(f"%({name})s" for name in row)
    connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({places})", row)


_GOOD: Final[dict[str, dict[str, Any]]] = {
    "agents": {"user_id": USER, "name": "x"},
    "agent_wallets": {"wallet_address": "W3", "agent_id": AGENT, "wallet_type": "live"},
    "agent_balances": {
        "agent_id": AGENT,
        "wallet_address": "W1",
        "token_address": "T",
        "token_symbol": "T",
        "balance": 1,
    },
    "agent_transactions": {
        "agent_id": AGENT,
        "wallet_address": "W1",
        "transaction_type": "DEPOSIT",
        "transaction_value_usd": 0,
        "transaction_time": "2025-01-01Z",
        "input_mint": "T",
        "input_amount": 1,
    },
    "agent_positions": {
        "agent_id": AGENT,
        "wallet_address": "W1",
        "token_address": "T",
        "token_symbol": "T",
        "purchase_transaction_id": TRANSACTION,
        "purchase_price": 1,
        "purchase_amount": 10,
        "remaining_amount": 5,
        "moon_bag_amount": 2,
    },
    "agent_historical_swaps": {
        "agent_id": AGENT,
        "wallet_address": "W1",
        "token_address": "T",
        "token_symbol": "T",
        "amount": 1,
        "purchase_price": 1,
        "sale_price": 1,
        "change_percent": 0,
        "profit_loss_usd": 0,
        "profit_loss_sol": 0,
        "purchase_time": "2025-01-02Z",
        "sale_time": "2025-01-02Z",
        "close_reason": "stop_loss",
    },
    "agent_balance_snapshots": {
        "agent_id": AGENT,
        "wallet_address": "W1",
        "snapshot_timestamp": "2025-01-01Z",
        "portfolio_balance_sol": 1,
        "sol_balance": 1,
        "positions_value_sol": 0,
        "unrealized_pnl_sol": 0,
    },
    "trading_signals": {"token_address": "T", "signal_type": "BUY", "signal_strength": 100},
    "users": {"email": "b@example.org"},
    "trade_requests": {
        "id": TRANSACTION,
        "agent_id": AGENT,
        "wallet_address": "W1",
        "operation": "buy",
        "content_digest": b"d" * 32,
        "version": 1,
    },
}


@pytest.mark.parametrize("table", _GOOD)
def test_row_gets_default_id_and_times(connection: Connection[Any], table: str) -> None:
    _insert(connection, table, _GOOD[table])


@pytest.mark.parametrize(
    ("table", "change", "constraint"),
    [
        ("agents", {"trading_mode": "paper"}, "agents_trading_mode_check"),
        ("agent_wallets", {"wallet_type": "cold"}, "agent_wallets_wallet_type_check"),
        ("agent_wallets", {"wallet_type": "simulation"}, "agent_wallets_agent_id_wallet_type_key"),
        ("agent_balances", {"balance": Decimal("-1e-18")}, "agent_balances_balance_check"),
        ("agent_balances", {"balance": Decimal("NaN")}, "agent_balances_balance_check"),
        ("agent_balances", {"wallet_address": "W2"}, "agent_balances_agent_id_wallet_address_fkey"),
        ("agent_transactions", {"input_amount": 0}, "agent_transactions_input_amount_check"),
        ("agent_transactions", {"input_amount": Decimal("NaN")}, "agent_transactions_input_amount_check"),
        ("agent_transactions", {"output_amount": -1}, "agent_transactions_output_amount_check"),
        ("agent_transactions", {"input_price": -1}, "agent_transactions_prices_check"),
        ("agent_transactions", {"output_price": Decimal("NaN")}, "agent_transactions_prices_check"),
        ("agent_transactions", {"network_fee_sol": -1}, "agent_transactions_fees_check"),
        ("agent_transactions", {"protocol_fee_sol": Decimal("NaN")}, "agent_transactions_fees_check"),
        ("agent_transactions", {"transaction_leg": -1}, "agent_transactions_transaction_leg_check"),
        ("agent_transactions", {"wallet_address": "W2"}, "agent_transactions_agent_id_wallet_address_fkey"),
        ("agent_positions", {"purchase_amount": 0}, "agent_positions_purchase_check"),
        ("agent_positions", {"purchase_price": Decimal("NaN")}, "agent_positions_purchase_check"),
        ("agent_positions", {"total_invested_sol": -1}, "agent_positions_purchase_check"),
        (
            "agent_positions",
            {"remaining_amount": -1, "moon_bag_amount": None},
            "agent_positions_remaining_amount_check",
        ),
        ("agent_positions", {"remaining_amount": 11}, "agent_positions_remaining_amount_check"),
        ("agent_positions", {"moon_bag_amount": 6}, "agent_positions_moon_bag_amount_check"),
        ("agent_positions", {"moon_bag_amount": Decimal("NaN")}, "agent_positions_moon_bag_amount_check"),
        ("agent_positions", {"dca_count": -1}, "agent_positions_counters_check"),
        ("agent_positions", {"proceeds_sol": Decimal("NaN")}, "agent_positions_proceeds_sol_check"),
        ("agent_positions", {"wallet_address": "W2"}, "agent_positions_own_purchase"),
        ("agent_historical_swaps", {"amount": 0}, "agent_historical_swaps_amount_check"),
        ("agent_historical_swaps", {"sale_time": "2025-01-01Z"}, "agent_historical_swaps_sale_time_check"),
        ("agent_historical_swaps", {"close_reason": "panic"}, "agent_historical_swaps_close_reason_check"),
        ("agent_historical_swaps", {"wallet_address": "W2"}, "agent_historical_swaps_agent_id_wallet_address_fkey"),
        ("agent_balance_snapshots", {"wallet_address": "W2"}, "agent_balance_snapshots_agent_id_wallet_address_fkey"),
        ("trading_signals", {"signal_strength": 0}, "trading_signals_signal_strength_check"),
        ("trading_signals", {"signal_strength": 101}, "trading_signals_signal_strength_check"),
        ("users", {"email": "A@EXAMPLE.org"}, "users_lower_email_key"),
        ("trade_requests", {"content_digest": b"d" * 31}, "trade_requests_content_digest_check"),
        ("trade_requests", {"content_digest": b"d" * 33}, "trade_requests_content_digest_check"),
        ("trade_requests", {"operation": "gift"}, "trade_requests_operation_check"),
    ],
)
def test_forbidden_values_violate_named_constraint(
    connection: Connection[Any], table: str, change: dict[str, Any], constraint: str
) -> None:
    with pytest.raises(pg.IntegrityError) as refused:
        _insert(connection, table, _GOOD[table] | change)
    assert refused.value.diag.constraint_name == constraint


@pytest.mark.parametrize("table", _GOOD)
def test_good_row_is_accepted(connection: Connection[Any], table: str) -> None:
    """So that what is refused above is the change."""
    _insert(connection, table, _GOOD[table])


_IMPLIED_KEYS: Final = """
    WITH keys AS (
        SELECT
            k.conname::text AS name, k.conrelid AS of, k.confrelid AS referenced, k.conkey AS columns,
            k.confkey AS referenced_columns,
            NOT EXISTS (
                SELECT FROM pg_attribute AS a
                WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey) AND NOT a.attnotnull
            ) AS always_holds
        FROM pg_constraint AS k
        WHERE k.contype = 'f' AND k.connamespace = current_schema()::regnamespace AND k.conparentid = 0
    )
    SELECT implied.name
    FROM keys AS implied
    JOIN keys AS longer ON longer.of = implied.of AND longer.name <> implied.name AND longer.always_holds
    LEFT JOIN keys AS onward ON onward.of = longer.referenced AND onward.referenced = implied.referenced
        AND onward.always_holds
    WHERE
        implied.columns <@ longer.columns AND (
            implied.referenced = longer.referenced
            OR (implied.referenced_columns = onward.referenced_columns AND onward.columns <@ longer.referenced_columns)
        )
    ORDER BY implied.name
"""


def test_no_foreign_key_is_implied_by_another(empty_database: str, database_url: str) -> None:
    """Such as that to the agent, beside that to the wallet of the agent. An entry without a wallet needs both."""
    Migrator(empty_database).migrate(to="20261123090810_balance_of_own_wallet")
    with psycopg.connect(empty_database) as conn:
        conn.execute(
            "ALTER TABLE agent_balances ADD CONSTRAINT back_agent FOREIGN KEY (agent_id) REFERENCES agents,"
            " ADD CONSTRAINT back_wallet FOREIGN KEY (wallet_address) REFERENCES agent_wallets (wallet_address)"
        )
        assert conn.execute(_IMPLIED_KEYS).fetchall() == [("back_agent",), ("back_wallet",)]
    with psycopg.connect(database_url) as conn:
        assert conn.execute(_IMPLIED_KEYS).fetchall() == []


def test_each_cached_table_has_one_trigger_for_rows_and_one_for_truncate(connection: Connection[Any]) -> None:
    found = connection.execute(
        "SELECT t.tgrelid::regclass::text, array_agg((t.tgtype & 1)::integer ORDER BY t.tgtype & 1)"  # 1: FOR EACH ROW
        " FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid"
        " JOIN pg_class AS c ON c.oid = t.tgrelid"
        " WHERE NOT t.tgisinternal AND t.tgparentid = 0 AND p.prosrc ~ 'INSERT INTO cache_outbox'"
        " AND c.relnamespace = current_schema()::regnamespace"
        " GROUP BY t.tgrelid"
    ).fetchall()
    assert dict(found) == {name: [0, 1] for name in ("agents", "agent_balances", "agent_positions")}


def test_execution_status_is_constrained(connection: Connection[Any]) -> None:
    signal = connection.execute(
        "INSERT INTO trading_signals (token_address, signal_type, signal_strength) VALUES ('T', 'B', 1) RETURNING id"
    ).fetchone()
    assert signal is not None
    with pytest.raises(pg.CheckViolation) as refused:
        _insert(connection, "signal_executions", {"signal_id": signal[0], "agent_id": AGENT, "status": "LOST"})
    assert refused.value.diag.constraint_name == "signal_executions_status_check"


def test_transaction_hash_is_unique_per_wallet(connection: Connection[Any]) -> None:
    row = _GOOD["agent_transactions"] | {"transaction_hash": "h"}
    _insert(connection, "agent_transactions", row)
    _insert(connection, "agent_transactions", row | {"transaction_leg": 1})
    _insert(connection, "agent_transactions", row | {"agent_id": OTHER_AGENT, "wallet_address": "W2"})
    with pytest.raises(pg.UniqueViolation) as refused:
        _insert(connection, "agent_transactions", row)
    assert refused.value.diag.constraint_name == "agent_transactions_wallet_address_transaction_hash_key"


@pytest.mark.parametrize("table", ["agents", "agent_balances", "agent_positions"])
def test_versions_rise_with_every_write(connection: Connection[Any], table: str) -> None:
    if table != "agents":
        _insert(connection, table, _GOOD[table])

    def versions() -> list[int]:
        return [row[0] for row in connection.execute(f"SELECT version FROM {table} ORDER BY id").fetchall()]

    seen = [max(versions())]
    key = "id" if table == "agents" else "agent_id"
    for _ in range(3):
        connection.execute(f"UPDATE {table} SET {key} = {key} WHERE {key} = '{AGENT}'")
        seen.append(max(versions()))
    connection.execute(f"UPDATE {table} SET version = 1")  # not even by hand
    seen.append(min(versions()))
    if table != "agents":  # a cascade: the agent's id changes, and with it the child rows
        connection.execute("ALTER TABLE agent_transactions DISABLE TRIGGER agent_transactions_append_only")
        connection.execute(f"UPDATE agents SET id = gen_random_uuid() WHERE id = '{AGENT}'")
        seen.append(max(versions()))
    assert seen == sorted(set(seen))


# --- Ids ----------------------------------------------------------------------------------------


def test_new_id_is_uuid_v7_of_this_millisecond(connection: Connection[Any]) -> None:
    for _ in range(100):
        row = connection.execute(
            "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint, new_id(),"
            " floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
        ).fetchone()
        assert row is not None
        before, made, after = row
        assert (made.version, made.variant) == (7, RFC_4122)
        assert before <= made.int >> 80 <= after


def test_new_ids_are_distinct_and_rise_with_time(connection: Connection[Any]) -> None:
    made = connection.execute("SELECT new_id() FROM generate_series(1, 10000)").fetchall()
    assert len(set(made)) == 10_000
    rising = [connection.execute("SELECT new_id(), pg_sleep(0.002)").fetchall()[0][0] for _ in range(10)]
    assert rising == sorted(rising)


def test_every_default_id_is_made_by_new_id(connection: Connection[Any]) -> None:
    defaults = connection.execute(
        "SELECT c.relname::text, pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef AS d"
        " INNER JOIN pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum"
        " INNER JOIN pg_class AS c ON c.oid = d.adrelid"
        " WHERE a.atttypid = 'uuid'::regtype AND c.relname !~ '^_'"
    ).fetchall()
    assert len(defaults) == 11
    assert {expression for _, expression in defaults} == {"new_id()"}


def test_signal_ids_go_beyond_integer(connection: Connection[Any]) -> None:
    connection.execute("SELECT setval('trading_signals_id_seq', 2147483647)")
    signal = connection.execute(
        "INSERT INTO trading_signals (token_address, signal_type, signal_strength) VALUES ('T', 'B', 1) RETURNING id"
    ).fetchall()
    assert signal == [(2**31,)]
    _insert(connection, "agent_transactions", _GOOD["agent_transactions"] | {"signal_id": 2**31})
    _insert(connection, "agent_historical_swaps", _GOOD["agent_historical_swaps"] | {"signal_id": 2**31})
    _insert(connection, "signal_executions", {"signal_id": 2**31, "agent_id": AGENT, "status": "PENDING"})
    connection.execute("DELETE FROM trading_signals WHERE id = 2147483648")
    assert connection.execute(f"SELECT count(*) FROM signal_executions WHERE agent_id = '{AGENT}'").fetchone() == (0,)
    assert connection.execute(
        f"SELECT count(signal_id) FROM agent_historical_swaps WHERE agent_id = '{AGENT}'"
    ).fetchone() == (0,)


def test_deleted_agent_takes_rows_of_its_wallets_along(connection: Connection[Any]) -> None:
    tables = ("agent_balances", "agent_positions", "agent_balance_snapshots")
    for table in tables:
        _insert(connection, table, _GOOD[table])
    connection.execute("SELECT purge_agent_v1(%s, 'a test')", [AGENT])
    for table in tables:
        left = connection.execute(f"SELECT id FROM {table} WHERE agent_id = %s".encode(), [AGENT]).fetchall()
        assert left == [], table


# --- Arithmetic ---------------------------------------------------------------------------------

_numbers = st.decimals(min_value=Decimal("-1e20"), max_value=Decimal("1e20"), allow_nan=False, places=18)
_above_zero = st.decimals(min_value=Decimal("1e-18"), max_value=Decimal("1e20"), allow_nan=False, places=18)


@settings(max_examples=300, deadline=None)
@given(numerator=_numbers, denominator=_above_zero, decimals=st.sampled_from([4, 8, 18]))
def test_ratio_is_correctly_rounded_to_its_last_digit(
    database_url: str, numerator: Decimal, denominator: Decimal, decimals: int
) -> None:
    with _shared(database_url).cursor() as cursor:
        cursor.execute("SELECT ratio(%s, %s, %s)", [numerator, denominator, decimals])
        row = cursor.fetchone()
    assert row is not None
    exact = Fraction(numerator) / Fraction(denominator) * 10**decimals
    halves_away = (abs(exact) + Fraction(1, 2)).__floor__() * (1 if exact >= 0 else -1)
    assert Fraction(row[0]) * 10**decimals == halves_away


_SHARED: dict[str, Connection[Any]] = {}


def _shared(database_url: str) -> Connection[Any]:
    """One connection for all examples."""
    if database_url not in _SHARED:
        _SHARED[database_url] = psycopg.connect(database_url, autocommit=True)
    return _SHARED[database_url]


@pytest.fixture(scope="module", autouse=True)
def _close_shared() -> Iterator[None]:
    yield
    while _SHARED:
        _SHARED.popitem()[1].close()


@pytest.mark.parametrize(
    ("transaction", "effects"),
    [
        ("'DEPOSIT', 'T', 5, NULL, NULL, NULL, NULL, NULL", {"T": 5}),
        ("'WITHDRAWAL', 'T', 5, NULL, NULL, NULL, NULL, NULL", {"T": -5}),
        ("'BURN', 'T', 5, NULL, NULL, 1, NULL, NULL", {"T": -5, "SOL": -1}),
        ("'SWAP', 'T', 5, 'U', 7, 1, 2, NULL", {"T": -5, "U": 7, "SOL": -3}),
        ("'SWAP', sol_mint(), 5, 'U', 7, 1, 2, NULL", {"U": 7, "SOL": -8}),
        ("'SWAP', 'T', 5, sol_mint(), 7, 1, 2, NULL", {"T": -5, "SOL": 4}),
        ("'DEPOSIT', sol_mint(), 5, 'U', 7, NULL, 1, NULL", {"SOL": 4}),
        ("'SWAP', 'T', 5, sol_mint(), 7, NULL, NULL, 0.25", {"T": -4.75, "SOL": 7}),
    ],
)
def test_transaction_effects_returns_balance_changes(
    connection: Connection[Any], transaction: str, effects: dict[str, float]
) -> None:
    rows = connection.execute(
        f"SELECT replace(token_address, sol_mint(), 'SOL'), change FROM transaction_effects({transaction})"
    ).fetchall()
    assert dict(rows) == effects


# --- Old rows -----------------------------------------------------------------------------------


def _history(empty_database: str, rows: str) -> Migrator:
    """A database as the public system left it, with these rows."""
    migrator = Migrator(empty_database)
    migrator.migrate(LAST_LEGACY_MIGRATION)
    with psycopg.connect(empty_database) as connection:
        for table in ("users", "agents", "agent_transactions"):
            connection.execute(f"ALTER TABLE {table} ALTER COLUMN id SET DEFAULT gen_random_uuid()")
        connection.execute(OWNERS)
        connection.execute(rows)
        for table in ("users", "agents", "agent_transactions"):
            connection.execute(f"ALTER TABLE {table} ALTER COLUMN id DROP DEFAULT")
    return migrator


def _old_balance(token: str, text: str) -> str:
    return (
        "INSERT INTO agent_balances (id, agent_id, wallet_address, token_address, token_symbol, balance, last_updated)"
        f" VALUES (gen_random_uuid(), '{AGENT}', 'W1', '{token}', 'T', '{text}', now());"
    )


def test_old_balances_keep_every_digit(empty_database: str) -> None:
    texts = [
        "1e-8",
        " 5",
        "0",
        "1.23456789012345678e+19",
        "0.000000000000000001",
        ".5",
        "7.",
        "1.500000000000000000000",
    ]
    migrator = _history(empty_database, "".join(_old_balance(f"T{n}", text) for n, text in enumerate(texts)))
    migrator.migrate()
    with psycopg.connect(empty_database) as connection:
        stored = connection.execute("SELECT balance FROM agent_balances ORDER BY token_address").fetchall()
    assert [row[0] for row in stored] == [Decimal(text.strip()) for text in texts]


@pytest.mark.parametrize(
    "text", ["", "NaN", "Infinity", "five", "1e-19", "1.2345678901234567890123e+22", "1e20", "0x10", "1,5", "1e9999"]
)
def test_old_balance_beyond_column_stops_migration(empty_database: str, text: str) -> None:
    migrator = _history(empty_database, _old_balance("good", "1") + _old_balance("bad", text))
    with pytest.raises(MigrationError, match="a later migration refuses: 1;") as caught:
        migrator.migrate()
    assert "agent_balances WHERE id = '" in caught.value.explanation
    assert migrator.pending()[0] == "20261123085900_refuse_unfit_rows"
    with psycopg.connect(empty_database) as connection:
        stored = connection.execute("SELECT balance FROM agent_balances ORDER BY token_address").fetchall()
    assert stored == [(text,), ("1",)]


def test_old_positions_get_proceeds_of_take_profits(empty_database: str) -> None:
    migrator = _history(
        empty_database,
        "INSERT INTO agent_positions (id, agent_id, wallet_address, token_address, token_symbol,"
        " purchase_transaction_id, purchase_price, purchase_amount, total_invested_sol, remaining_amount,"
        f" realized_profit_sol, updated_at) VALUES (gen_random_uuid(), '{AGENT}', 'W1', 'T', 'T', '{TRANSACTION}',"
        " 0.3, 10, 3, 4, 0.5, now());",
    )
    migrator.migrate()
    with psycopg.connect(empty_database) as connection:
        row = connection.execute("SELECT proceeds_sol, realized_profit_sol FROM agent_positions").fetchone()
    assert row == (Decimal("2.3"), Decimal("0.5"))  # 6 of 10 sold: cost basis 1.8


def test_old_sales_get_profits_that_add_up(empty_database: str) -> None:
    """Two take-profits of an open position, the last with the rest of its figure; and the sale of a closed one."""
    first, second, closing = (f"00000000-0000-0000-0000-00000000000{number}" for number in (1, 2, 3))
    sales = "".join(
        "INSERT INTO agent_transactions (id, agent_id, wallet_address, transaction_type, transaction_value_usd,"
        " transaction_time, input_mint, input_symbol, input_amount, output_mint, output_symbol, output_amount,"
        f" network_fee_sol, updated_at) VALUES ('{each}', '{AGENT}', 'W1', 'SWAP', 0, '2025-01-0{day}Z', 'T', 'T',"
        f" {amount}, '{SOL_MINT}', 'SOL', {received}, 0.1, now());"
        for each, day, amount, received in ((first, 1, 2, "1.1"), (second, 2, 4, "2.1"), (closing, 3, 5, "9"))
    )
    migrator = _history(
        empty_database,
        sales + "INSERT INTO agent_positions (id, agent_id, wallet_address, token_address, token_symbol,"
        " purchase_transaction_id, purchase_price, purchase_amount, total_invested_sol, remaining_amount,"
        " realized_profit_sol, take_profit_transaction_ids, updated_at)"
        f" VALUES (gen_random_uuid(), '{AGENT}', 'W1', 'T', 'T', '{TRANSACTION}', 0.3, 10, 3, 4, 1.25,"
        f" '{{{first},{second}}}', now());"
        "INSERT INTO agent_historical_swaps (id, agent_id, wallet_address, token_address, token_symbol, amount,"
        " purchase_price, sale_price, change_percent, profit_loss_usd, profit_loss_sol, purchase_time, sale_time,"
        f" sale_transaction_id) VALUES (gen_random_uuid(), '{AGENT}', 'W1', 'U', 'U', 5, 1, 2, 100, 0, 3.75,"
        f" '2025-01-01Z', '2025-01-03Z', '{closing}');",
    )
    migrator.migrate()
    with psycopg.connect(empty_database) as connection:
        stored = connection.execute(
            "SELECT realized_profit_sol FROM agent_transactions WHERE realized_profit_sol IS NOT NULL"
            " ORDER BY transaction_time"
        ).fetchall()
    assert [row[0] for row in stored] == [Decimal("0.4"), Decimal("0.85"), Decimal("3.75")]  # 1 - 0.6, 1.25 - 0.4


def test_old_repeated_hashes_are_numbered(empty_database: str) -> None:
    migrator = _history(
        empty_database,
        "".join(
            "INSERT INTO agent_transactions (id, agent_id, wallet_address, transaction_type, transaction_value_usd,"
            f" transaction_time, transaction_hash, updated_at) VALUES (gen_random_uuid(), '{AGENT}', 'W1', 'DEPOSIT',"
            f" {number}, '2025-01-0{number}Z', 'h', now());"
            for number in (3, 1, 2)
        ),
    )
    migrator.migrate()
    with psycopg.connect(empty_database) as connection:
        rows = connection.execute(
            "SELECT transaction_leg FROM agent_transactions WHERE transaction_hash = 'h' ORDER BY transaction_time"
        ).fetchall()
    assert rows == [(0,), (1,), (2,)]


def test_narrowing_numbers_again_never_loses_digit(empty_database: str) -> None:
    migrator = Migrator(empty_database)
    migrator.migrate()
    with psycopg.connect(empty_database) as connection:
        connection.execute(OWNERS)
        connection.execute("SET session_replication_role = replica")  # the ledger is append-only
        connection.execute("UPDATE agent_transactions SET network_fee_sol = 0.000000001")
    with pytest.raises(MigrationError, match="would lose them"):
        migrator.rollback(to="20261123090100_store_balances_as_numeric")
    with psycopg.connect(empty_database) as connection:
        row = connection.execute("SELECT network_fee_sol FROM agent_transactions").fetchone()
    assert row == (Decimal("0.000000001"),)
