"""Reads the database without the package: to show that nothing changed, and that the ledger is consistent."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

import psycopg

from nexgent_db.queries.sqlfile import load_file
from nexgent_db.resources import data_dir

_TABLES: Final = (
    "agent_wallets",
    "agent_balances",
    "agent_positions",
    "agent_transactions",
    "agent_historical_swaps",
    "trade_requests",
)


def rows_of(database_url: str, agent_id: UUID) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table that belongs to the agent."""
    with psycopg.connect(database_url) as connection:
        return {
            table: connection.execute(f"SELECT * FROM {table} WHERE agent_id = %s ORDER BY 1", [agent_id]).fetchall()
            for table in _TABLES
        }


def broken_rules(database_url: str) -> dict[str, list[tuple[Any, ...]]]:
    """The rows that break a rule of sql/checks.sql, by rule; an empty dictionary when all hold."""
    checks = load_file(data_dir("sql") / "checks.sql").queries
    with psycopg.connect(database_url) as connection:
        found = {
            name: connection.execute(query.statement(()).text.encode()).fetchall() for name, query in checks.items()
        }
    return {name: rows for name, rows in found.items() if rows}
