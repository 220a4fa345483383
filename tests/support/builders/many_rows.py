"""A database after the 18 legacy migrations with a given number of rows, which SQL generates.

Every row is a function of its number: two databases of one size are equal. Every reference is valid, so keys can be
validated; the amounts do not form a consistent ledger.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import md5
from typing import Any, Final
from uuid import UUID

import psycopg

from nexgent_db.migrations import Migrator
from nexgent_db.migrations.files import LAST_LEGACY_MIGRATION
from nexgent_db.queries.lexer import statements

REWRITING: Final = {
    "20261123090100_store_balances_as_numeric": "balances",
    "20261123090200_widen_transaction_numbers": "transactions",
    "20261123090300_widen_position_numbers": "positions",
    "20261123090400_widen_historical_swap_numbers": "swaps",
    "20261123090500_widen_snapshot_numbers": "snapshots",
    "20261123090520_widen_execution_signal_ids": "executions",
    "20261123090540_widen_signal_ids": "signals",
}
"""The migrations that PostgreSQL can only do by rewriting a table, and which; a guide has their times."""

_FUNCTIONS: Final = """
CREATE FUNCTION pg_temp.id(kind text, n bigint) RETURNS uuid IMMUTABLE RETURN md5(kind || n)::uuid;
CREATE FUNCTION pg_temp.address(kind text, n bigint) RETURNS text IMMUTABLE
RETURN translate(md5(kind || n) || left(md5(n || kind), 12), '0', 'z')
"""

_ROWS: Final = {
    "users": """
        INSERT INTO users (id, email, password_hash)
        SELECT pg_temp.id('user', n), 'User' || n || '@example.org', repeat('x', 60)
        FROM generate_series(1, %(users)s) AS n
    """,
    "api_keys": """
        INSERT INTO api_keys (id, user_id, name, key_hash, key_prefix)
        SELECT pg_temp.id('key', n), pg_temp.id('user', n), 'key', encode(sha256(n::text::bytea), 'hex'), 'nex_abcd'
        FROM generate_series(1, %(users)s) AS n
    """,
    "agents": """
        INSERT INTO agents (id, user_id, name, updated_at)
        SELECT pg_temp.id('agent', n), pg_temp.id('user', (n - 1) %% %(users)s + 1), 'agent ' || n, now()
        FROM generate_series(1, %(agents)s) AS n
    """,
    "agent_wallets": """
        INSERT INTO agent_wallets (wallet_address, agent_id, wallet_type, updated_at)
        SELECT pg_temp.address('wallet', n), pg_temp.id('agent', (n + 1) / 2),
            CASE n %% 2 WHEN 1 THEN 'simulation' ELSE 'live' END, now()
        FROM generate_series(1, 2 * %(agents)s) AS n
    """,
    "agent_balances": """
        INSERT INTO agent_balances (
            id, agent_id, wallet_address, token_address, token_symbol, balance, last_updated
        )
        SELECT pg_temp.id('balance', n), pg_temp.id('agent', (w + 1) / 2), pg_temp.address('wallet', w),
            pg_temp.address('token', 7 * w + k), 'T' || k,
            CASE n %% 8
                WHEN 0 THEN '0'
                WHEN 1 THEN n || 'e-8'
                WHEN 2 THEN ' ' || n
                ELSE n || '.' || lpad((n * 977 %% 1000000000)::text, 9, '0')
            END,
            now()
        FROM generate_series(1, %(balances)s) AS n
        CROSS JOIN LATERAL (VALUES ((n - 1) %% (2 * %(agents)s) + 1, (n - 1) / (2 * %(agents)s) + 1)) AS of (w, k)
    """,
    "trading_signals": """
        INSERT INTO trading_signals (
            created_at, updated_at, token_address, symbol, signal_type, signal_strength, user_id
        )
        SELECT now() - n * interval '1 minute', now(), pg_temp.address('token', n %% 5000), 'T', 'type ' || n %% 7,
            n %% 100 + 1, CASE WHEN n %% 10 > 0 THEN pg_temp.id('user', n %% %(users)s + 1) END
        FROM generate_series(1, %(signals)s) AS n
    """,
    "agent_transactions": """
        INSERT INTO agent_transactions (
            id, agent_id, wallet_address, transaction_type, transaction_value_usd, transaction_time, signal_id, fees,
            routes, input_mint, input_symbol, input_amount, input_price, output_mint, output_symbol, output_amount,
            output_price, slippage, price_impact, is_dca, transaction_hash, created_at, updated_at, swap_payload,
            is_take_profit, protocol_fee_sol, network_fee_sol
        )
        SELECT pg_temp.id('transaction', n), pg_temp.id('agent', (w + 1) / 2), pg_temp.address('wallet', w),
            'SWAP', n %% 10000 * 0.01, now() - (%(transactions)s - n) * interval '4 seconds',
            CASE WHEN n %% 2 = 1 THEN n / 2 %% %(signals)s + 1 END, n %% 977 * 0.00000001,
            '[{"label": "Raydium", "percent": 100, "poolId": "58oQChx4yWmvKdwLLZzBi4ChoCc2fqCUWBkwMihLYQo2"}]',
            CASE n %% 2 WHEN 1 THEN sol ELSE token END, 'IN',
            n * 0.000000001, 1 + n %% 100 * 0.000000000001,
            CASE n %% 2 WHEN 1 THEN token ELSE sol END, 'OUT',
            n * 1234.567891234, n %% 1000 * 0.000000000001, n %% 100 * 0.01, n %% 300 * 0.0001, n %% 50 = 0,
            'hash' || md5(k::text || w) || md5(w || ' ' || k),
            now() - (%(transactions)s - n) * interval '4 seconds', now(),
            jsonb_build_object('inAmount', n, 'outAmount', n * 7, 'swapMode', 'ExactIn', 'slippageBps', 50),
            n %% 20 = 0, n %% 89 * 0.00000100, 0.00000500
        FROM generate_series(1, %(transactions)s) AS n
        -- One in a thousand has the hash of its wallet's transaction before: a second leg.
        CROSS JOIN LATERAL (
            VALUES ((n - 1) %% (2 * %(agents)s) + 1, (n - 1) / (2 * %(agents)s) - (n %% 997 = 0)::int)
        ) AS of (w, k)
        CROSS JOIN LATERAL (
            VALUES ('So11111111111111111111111111111111111111112', pg_temp.address('token', 7 * w + n %% 50 + 1))
        ) AS pair (sol, token)
    """,
    "signal_executions": """
        INSERT INTO signal_executions (id, signal_id, agent_id, status, transaction_id, executed_at)
        SELECT pg_temp.id('execution', n), n %% %(signals)s + 1,
            pg_temp.id('agent', (n / %(signals)s * 13 + n %% %(agents)s) %% %(agents)s + 1),
            CASE WHEN n %% 1000 = 0 THEN 'PENDING' ELSE 'EXECUTED' END,
            CASE WHEN n %% 1000 > 0 THEN pg_temp.id('transaction', n) END, now() - n * interval '40 seconds'
        FROM generate_series(1, %(executions)s) AS n
    """,
    "agent_historical_swaps": """
        INSERT INTO agent_historical_swaps (
            id, agent_id, wallet_address, token_address, token_symbol, amount, purchase_price, sale_price,
            change_percent, profit_loss_usd, profit_loss_sol, purchase_time, sale_time, purchase_transaction_id,
            sale_transaction_id, signal_id, created_at, close_reason
        )
        SELECT pg_temp.id('swap', n), pg_temp.id('agent', (w + 1) / 2), pg_temp.address('wallet', w),
            pg_temp.address('token', 7 * w + n %% 50), 'T', n * 1.000000001, 0.000000012345, 0.00000003, n %% 99 - 50,
            n %% 100 * 0.01, n %% 77 * 0.00000001 - 0.0000002, now() - n * interval '20 seconds',
            now() - n * interval '19 seconds', pg_temp.id('transaction', 2 * n - 1), pg_temp.id('transaction', 2 * n),
            CASE WHEN n %% 3 > 0 THEN n %% %(signals)s + 1 END, now(),
            (ARRAY['manual', 'stop_loss', 'stale_trade', 'take_profit'])[n %% 4 + 1]
        FROM generate_series(1, %(swaps)s) AS n
        CROSS JOIN LATERAL (VALUES ((n - 1) %% (2 * %(agents)s) + 1)) AS of (w)
    """,
    "agent_positions": """
        INSERT INTO agent_positions (
            id, agent_id, wallet_address, token_address, token_symbol, purchase_transaction_id, purchase_price,
            purchase_amount, current_stop_loss_percentage, peak_price, updated_at, lowest_price, total_invested_sol,
            remaining_amount, take_profit_levels_hit, realized_profit_sol
        )
        SELECT pg_temp.id('position', n), pg_temp.id('agent', (w + 1) / 2), pg_temp.address('wallet', w),
            pg_temp.address('token', 7 * w + k), 'T', pg_temp.id('transaction', n), 0.000000012345, n * 1000, -32.5,
            0.00000002, now(), 0.00000001, n * 0.00001, CASE WHEN n %% 4 = 0 THEN n * 600 END, n %% 4 / 3,
            CASE WHEN n %% 4 = 0 THEN n * 0.0000001 ELSE 0 END
        FROM generate_series(1, %(positions)s) AS n
        CROSS JOIN LATERAL (VALUES ((n - 1) %% (2 * %(agents)s) + 1, (n - 1) / (2 * %(agents)s) + 1)) AS of (w, k)
    """,
    "agent_balance_snapshots": """
        INSERT INTO agent_balance_snapshots (
            id, agent_id, wallet_address, snapshot_timestamp, portfolio_balance_sol, sol_balance, positions_value_sol,
            unrealized_pnl_sol, updated_at
        )
        SELECT pg_temp.id('snapshot', n), pg_temp.id('agent', (w + 1) / 2), pg_temp.address('wallet', w),
            date_trunc('hour', now()) - k * interval '1 hour', n * 0.00000003, n * 0.00000001, n * 0.00000002,
            n %% 11 * 0.00000001, now()
        FROM generate_series(1, %(snapshots)s) AS n
        CROSS JOIN LATERAL (VALUES ((n - 1) %% (2 * %(agents)s) + 1, (n - 1) / (2 * %(agents)s) + 1)) AS of (w, k)
    """,
}

TABLES: Final = tuple(_ROWS)
"""Every table, each after those it refers to."""


def user_id(number: int) -> UUID:
    """The user of that number, from 1."""
    return UUID(md5(f"user{number}".encode(), usedforsecurity=False).hexdigest())


@dataclass(frozen=True, slots=True)
class Size:
    """How many rows; those of the smaller tables follow from the transactions."""

    transactions: int = 5_000_000
    swaps: int = 1_000_000

    def __post_init__(self) -> None:
        if self.transactions < 1000 or not 0 < self.swaps <= self.transactions // 2:
            raise ValueError("at least 1,000 transactions, and no more than one swap for two of them")

    def counts(self) -> dict[str, int]:
        """Rows of each kind, by the names that the statements use."""
        return {
            "users": self.transactions // 5_000 + 1,
            "agents": self.transactions // 2_500 + 10,
            "balances": self.transactions // 25,
            "signals": self.transactions // 50,
            "transactions": self.transactions,
            "executions": self.transactions // 10,
            "swaps": self.swaps,
            "positions": self.transactions // 250,
            "snapshots": self.transactions // 5,
        }


def fill(url: str, size: Size) -> Iterator[str]:
    """Brings an empty database through the legacy migrations and fills it; yields each table's name when it is full.

    Needs a superuser: keys are checked by the migrations that validate them, not while the rows are made.
    """
    Migrator(url).migrate(to=LAST_LEGACY_MIGRATION)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        for function in statements(_FUNCTIONS):
            connection.execute(_FUNCTIONS[function.start : function.end].encode())
        for table, statement in _ROWS.items():
            with connection.transaction(), _without_indexes(connection, table):
                connection.execute(statement.encode(), size.counts())
            connection.execute(f"VACUUM (ANALYZE) {table}".encode())
            yield table


@contextmanager
def _without_indexes(connection: psycopg.Connection[Any], table: str) -> Iterator[None]:
    """Builds the table's indexes after its rows: a fraction of the time."""
    indexes = connection.execute(
        """
        SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid)
        FROM pg_index
        WHERE indrelid = %s::regclass AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
        """,
        [table],
    ).fetchall()
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}".encode())
    yield
    for _, definition in indexes:
        connection.execute(definition.encode())


def digest(url: str, *, apart_from_user: int) -> dict[str, tuple[int, int]]:
    """For each table the number of rows and a sum over a hash of each, as the legacy columns have it.

    Numbers count by their value: 1.5, 1.50 and the text ' 15e-1' are the same. The rows of the user of that number are
    left out. Equal digests before and after an upgrade mean that every row has survived exactly.
    """
    with psycopg.connect(url) as connection:
        for function in statements(_FUNCTIONS):
            connection.execute(_FUNCTIONS[function.start : function.end].encode())
        return {table: _digest(connection, table, apart_from_user) for table in TABLES}


def _digest(connection: psycopg.Connection[Any], table: str, apart_from_user: int) -> tuple[int, int]:
    row = connection.execute(
        """
        SELECT
            string_agg(
                CASE
                    WHEN attname = 'balance' OR atttypid = 'numeric'::regtype
                        THEN format(
                            CASE attname
                                -- NULL meant the whole purchase in the legacy schema.
                                WHEN 'remaining_amount' THEN 'trim_scale(coalesce(%%I, purchase_amount))'
                                ELSE 'trim_scale(%%I::numeric)'
                            END,
                            attname
                        )
                    ELSE quote_ident(attname)
                END,
                ', ' ORDER BY attname
            ),
            bool_or(attname = 'agent_id'),
            bool_or(attname = 'user_id')
        FROM pg_attribute
        WHERE attrelid = %(table)s::regclass AND attnum > 0 AND NOT attisdropped AND attname <> ALL (%(ours)s)
        """,
        {"table": table, "ours": list(_OUR_COLUMNS.get(table, ()))},
    ).fetchone()
    assert row is not None
    columns, by_agent, by_user = row
    theirs = "pg_temp.id('user', %(user)s)"
    if by_agent:
        condition = f"agent_id NOT IN (SELECT id FROM agents WHERE user_id = {theirs})"
    elif by_user:
        condition = f"user_id IS DISTINCT FROM {theirs}"
    else:
        condition = "true"
    found = connection.execute(
        f"SELECT count(*), coalesce(sum(hashtextextended(ROW({columns})::text, 0)), 0)"
        f" FROM {table} WHERE {condition}".encode(),
        {"user": apart_from_user},
    ).fetchone()
    assert found is not None
    return int(found[0]), int(found[1])


_OUR_COLUMNS: Final = {
    "agents": ("version",),
    "agent_wallets": ("trade_count",),
    "agent_balances": ("version",),
    "agent_positions": ("version", "proceeds_sol"),
    "agent_transactions": ("transaction_leg", "realized_profit_sol", "settled_dust"),
    "api_keys": ("expires_at", "revoked_at", "last_used_at"),
}
