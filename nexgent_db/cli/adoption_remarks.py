"""What the public system may have left in a database that no migration refuses, but an operator should look at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import psycopg

from nexgent_db.errors import InvalidTradingConfig
from nexgent_db.migrations.preflight import PreflightViolation
from nexgent_db.models.base import SOL_MINT
from nexgent_db.models.trading_config import stored_config

__all__ = ["remarks"]

_BALANCES: Final = """
WITH b AS (
    SELECT
        id,
        wallet_address,
        token_address,
        CASE
            WHEN length(balance::text) <= 1000
                AND balance::text ~ '^[ \\t\\n\\v\\f\\r]*[+-]?([0-9]+\\.?[0-9]*|\\.[0-9]+)([eE][+-]?[0-9]{1,2})?'
                    '[ \\t\\n\\v\\f\\r]*$'
                THEN balance::text::numeric
        END AS balance
    FROM agent_balances
)
"""
_LAMPORTS: Final = """
SELECT
    'agent_balances',
    format('id = %%L', id),
    'balance',
    balance::text,
    'the public system read SOL balances above 1e6 as lamports',
    'divide it by 1e9 if it is one: it is kept as it is, in SOL'
FROM b
WHERE token_address = %(sol)s AND balance > 1e6
ORDER BY id
"""
_OFF_BALANCE: Final = """
SELECT
    'agent_positions',
    format('id = %%L', p.id),
    'remaining_amount',
    p.remaining::text,
    format('the wallet holds %%s of the token', coalesce(b.balance, 0)),
    CASE
        WHEN abs(p.remaining - b.balance) <= p.dust THEN 'close it with a sale up_to_dust'
        ELSE 'a full sale is refused: record what is missing as a deposit, or write the position off'
    END
FROM (
    SELECT
        id,
        wallet_address,
        token_address,
        remaining,
        greatest(1e-8, least(purchase_amount * 1e-14, remaining * 1e-9)) AS dust
    FROM (
        SELECT
            *,
            coalesce((to_jsonb(stored) ->> 'remaining_amount')::numeric, purchase_amount) AS remaining
        FROM agent_positions AS stored
    ) AS with_remaining
) AS p
LEFT JOIN b ON b.wallet_address = p.wallet_address AND b.token_address = p.token_address
WHERE coalesce(b.balance, 0) < p.remaining OR (b.balance > p.remaining AND b.balance - p.remaining <= p.dust)
ORDER BY p.id
"""
_CONFIGS: Final = """
SELECT id, trading_config::text
FROM agents
WHERE trading_config IS NOT NULL
ORDER BY id
"""


def remarks(conn: psycopg.Connection[Any]) -> Iterator[PreflightViolation]:
    """Yields balances that look like lamports, positions off from their balance, and configurations that ours refuses.

    Nothing of it is refused, and nothing is changed.
    """
    with conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        for query in (_LAMPORTS, _OFF_BALANCE):
            rows = conn.execute((_BALANCES + query).encode(), {"sol": SOL_MINT})
            for table, key, column, value, rule, what_to_do in rows:
                yield PreflightViolation(table, key, column, value, rule, what_to_do, refused=False)
        with conn.cursor("configurations") as cursor:
            for agent_id, text in cursor.execute(_CONFIGS.encode()):
                try:
                    stored_config(text, agent_id)
                except InvalidTradingConfig as error:
                    for path, problem, _ in error.faults:
                        yield PreflightViolation(
                            "agents",
                            f"id = '{agent_id}'",
                            "trading_config",
                            path,
                            problem,
                            "correct it: the agent's configuration cannot be read or saved before",
                            refused=False,
                        )
