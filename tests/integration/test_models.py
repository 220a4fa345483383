"""Models against the catalog of the migrated database: the same columns, as nullable, as precise."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import psycopg
import pytest
from pydantic import BaseModel, JsonValue

from nexgent_db.models import (
    Agent,
    AgentBalance,
    AgentBalanceSnapshot,
    AgentHistoricalSwap,
    AgentPosition,
    AgentTransaction,
    AgentWallet,
    ApiKey,
    Exact,
    SignalExecution,
    TradingSignal,
    User,
    UserCell,
)

ENTITIES: dict[str, type[BaseModel]] = {
    "users": User,
    "api_keys": ApiKey,
    "agents": Agent,
    "agent_wallets": AgentWallet,
    "agent_balances": AgentBalance,
    "agent_balance_snapshots": AgentBalanceSnapshot,
    "agent_positions": AgentPosition,
    "agent_transactions": AgentTransaction,
    "trading_signals": TradingSignal,
    "signal_executions": SignalExecution,
    "agent_historical_swaps": AgentHistoricalSwap,
    "user_cells": UserCell,
}


class Column(NamedTuple):
    """What a model and the catalog must agree on."""

    kind: str
    nullable: bool


KINDS = {
    "uuid": "UUID",
    "character varying": "str",
    "text": "str",
    "integer": "int",
    "bigint": "int",
    "boolean": "bool",
    "timestamp with time zone": "AwareDatetime",
    "jsonb": "json",
}


def columns_of(database_url: str, table: str) -> dict[str, Column]:
    query = """
        SELECT column_name, data_type, udt_name, numeric_precision, numeric_scale, is_nullable = 'YES'
        FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name = %s
        ORDER BY ordinal_position
    """
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(query, [table]).fetchall()
    found: dict[str, Column] = {}
    for name, data_type, udt_name, precision, scale, nullable in rows:
        if data_type == "numeric":
            kind = f"Exact({precision}, {scale})"
        elif data_type == "USER-DEFINED":
            assert udt_name == "TransactionType"
            kind = "str"
        elif data_type == "ARRAY":
            kind = f"list[{KINDS[udt_name.removeprefix('_')]}]"
        else:
            kind = KINDS[data_type]
        found[name] = Column(kind, nullable)
    return found


def fields_of(model: type[BaseModel]) -> dict[str, Column]:
    hints = get_type_hints(model, include_extras=True)
    return {name: field_kind(hints[name]) for name in model.model_fields}


def field_kind(annotation: Any) -> Column:
    if annotation == JsonValue:
        return Column("json", nullable=True)
    if get_origin(annotation) in (Union, UnionType):
        (inner,) = (part for part in get_args(annotation) if part is not NoneType)
        return Column(field_kind(inner).kind, nullable=True)
    for extra in getattr(annotation, "__metadata__", ()):
        if isinstance(extra, Exact):
            return Column(f"Exact({extra.precision}, {extra.scale})", nullable=False)
    if get_origin(annotation) is Literal:
        return Column("str", nullable=False)
    if get_origin(annotation) is dict:
        return Column("json", nullable=False)
    if get_origin(annotation) is list:
        return Column(f"list[{get_args(annotation)[0].__name__}]", nullable=False)
    return Column(annotation.__name__, nullable=False)


@pytest.mark.parametrize("table", ENTITIES)
def test_model_has_columns_of_its_table(database_url: str, table: str) -> None:
    columns = columns_of(database_url, table)
    assert columns, "the table exists"
    assert fields_of(ENTITIES[table]) == columns


def test_every_table_has_its_model(database_url: str) -> None:
    query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename !~ 'yoyo|^nexgent|^_'"
    with psycopg.connect(database_url) as connection:
        tables = {name for (name,) in connection.execute(query)}
    assert tables == {*ENTITIES, "trade_requests", "ledger_purges", "adopted_deviations", "cache_outbox"}


@pytest.mark.parametrize(
    ("model", "field", "table", "constraint"),
    [
        (Agent, "trading_mode", "agents", "agents_trading_mode_check"),
        (AgentWallet, "wallet_type", "agent_wallets", "agent_wallets_wallet_type_check"),
        (AgentHistoricalSwap, "close_reason", "agent_historical_swaps", "agent_historical_swaps_close_reason_check"),
        (SignalExecution, "status", "signal_executions", "signal_executions_status_check"),
    ],
)
def test_literals_of_field_match_check_constraint(
    database_url: str, model: type[BaseModel], field: str, table: str, constraint: str
) -> None:
    query = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass AND conname = %s"
    with psycopg.connect(database_url) as connection:
        row = connection.execute(query, [table, constraint]).fetchone()
    assert row is not None
    assert words(model, field) == set(row[0].split("'")[1::2])


def test_transaction_types_match_enum(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        labels = {label for (label,) in connection.execute('SELECT unnest(enum_range(NULL::"TransactionType"))::text')}
    assert words(AgentTransaction, "transaction_type") == labels


def words(model: type[BaseModel], field: str) -> set[str]:
    annotation = get_type_hints(model)[field]
    parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return {word for part in parts for word in get_args(part)}
