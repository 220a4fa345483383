"""Reads the plan of every query: its indexes, and the large tables that it would scan whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import psycopg
from psycopg import sql

from nexgent_db.contract._catalog import ServerCatalog, read_catalog
from nexgent_db.contract._checked import CheckedQuery, CheckedVariant
from nexgent_db.contract._problem import Problem
from nexgent_db.contract._source import Source
from nexgent_db.queries.lexer import statements
from nexgent_db.queries.statement import Statement

__all__ = ["LARGE", "Explained", "Plan", "Plans", "explain", "indexes_of", "nodes", "plan_of", "seed", "types_sent"]

LARGE: Final = 10_000
"""No plan may scan a table of this many rows, or more, whole."""

_SEED: Final = """
SET LOCAL session_replication_role = replica;
INSERT INTO users (id, email)
SELECT pg_temp.id('user', n), 'u' || n || '@example.com' FROM generate_series(1, 2000) AS n;
INSERT INTO user_cells (user_id, cell)
SELECT pg_temp.id('user', n), 'cell' || n % 100 FROM generate_series(1, 9000) AS n;
INSERT INTO api_keys (id, user_id, name, key_hash, key_prefix, scopes)
SELECT pg_temp.id('key', n), pg_temp.id('user', n % 2000 + 1), 'key', sha256(n::text::bytea)::text, 'nx' || n, '{}'
FROM generate_series(1, 12000) AS n;
INSERT INTO agents (id, user_id, name)
SELECT pg_temp.id('agent', n), pg_temp.id('user', n % 2000 + 1), 'agent' FROM generate_series(1, 12000) AS n;
INSERT INTO agent_wallets (wallet_address, agent_id, wallet_type)
SELECT 'wallet' || n, pg_temp.id('agent', n % 12000 + 1), CASE WHEN n <= 12000 THEN 'simulation' ELSE 'live' END
FROM generate_series(1, 24000) AS n;
INSERT INTO agent_balances (agent_id, wallet_address, token_address, token_symbol, balance)
SELECT pg_temp.id('agent', n % 12000 + 1), 'wallet' || (n % 24000 + 1), 'token' || n, 'T', 1
FROM generate_series(1, 30000) AS n;
INSERT INTO agent_balance_snapshots (
    agent_id, wallet_address, snapshot_timestamp,
    portfolio_balance_sol, sol_balance, positions_value_sol, unrealized_pnl_sol
)
SELECT pg_temp.id('agent', n % 400 + 1), 'wallet' || (n % 400 + 1), now() - n * interval '1 minute', 1, 1, 0, 0
FROM generate_series(1, 30000) AS n;
INSERT INTO trading_signals (token_address, signal_type, signal_strength, user_id, created_at)
SELECT 'token' || n % 500, 'type' || n % 7, n % 100 + 1, pg_temp.id('user', n % 2000 + 1),
    now() - n * interval '1 minute'
FROM generate_series(1, 20000) AS n;
INSERT INTO agent_transactions (
    id, agent_id, wallet_address, transaction_type, transaction_value_usd, transaction_time, signal_id,
    input_mint, input_amount, output_mint, output_amount, transaction_hash
)
SELECT pg_temp.id('transaction', n), pg_temp.id('agent', n % 400 + 1), 'wallet' || (n % 400 + 1), 'SWAP', 1,
    now() - n * interval '1 minute', n % 20000, 'sol', 1, 'token' || n % 500, 1, 'hash' || n
FROM generate_series(1, 50000) AS n;
INSERT INTO signal_executions (signal_id, agent_id, status, transaction_id, executed_at)
SELECT n, pg_temp.id('agent', n % 12000 + 1), CASE WHEN n % 100 = 0 THEN 'PENDING' ELSE 'EXECUTED' END,
    pg_temp.id('transaction', n), now() - n * interval '1 minute'
FROM generate_series(1, 20000) AS n;
INSERT INTO agent_positions (
    agent_id, wallet_address, token_address, token_symbol, purchase_transaction_id, purchase_price, purchase_amount,
    remaining_amount, total_invested_sol
)
SELECT pg_temp.id('agent', n % 12000 + 1), 'wallet' || (n % 24000 + 1), 'token' || n % 500, 'T',
    pg_temp.id('transaction', n), 1, 1, 1, 1
FROM generate_series(1, 20000) AS n;
INSERT INTO agent_historical_swaps (
    agent_id, wallet_address, token_address, token_symbol, amount, purchase_price, sale_price, change_percent,
    profit_loss_usd, profit_loss_sol, purchase_time, sale_time, purchase_transaction_id, sale_transaction_id, signal_id
)
SELECT pg_temp.id('agent', n % 400 + 1), 'wallet' || (n % 400 + 1), 'token' || n % 500, 'T', 1, 1, 1, n % 50 - 25,
    1, 1, now() - n * interval '1 minute', now() - n * interval '50 seconds', pg_temp.id('transaction', n),
    pg_temp.id('transaction', n + 1), n % 20000
FROM generate_series(1, 20000) AS n;
INSERT INTO trade_requests (id, agent_id, wallet_address, operation, content_digest, version)
SELECT pg_temp.id('transaction', n), pg_temp.id('agent', n % 400 + 1), 'wallet' || (n % 400 + 1), 'buy',
    sha256(n::text::bytea), 1
FROM generate_series(1, 50000) AS n;
"""


Plan = dict[str, Any]
"""One node of a plan, in the form of ``EXPLAIN (FORMAT JSON)``; its child nodes are under ``Plans``."""


Explained = dict[str, Any]
"""The answer of ``EXPLAIN (FORMAT JSON)``: the topmost node under ``Plan``, and times when it was analysed."""


@dataclass(frozen=True, slots=True)
class Plans:
    """By query the indexes of all its variants and the plan of each; and the problems of all queries."""

    indexes: dict[str, tuple[str, ...]]
    trees: dict[str, tuple[Plan, ...]]
    problems: tuple[Problem, ...]


def seed(connection: psycopg.Connection[Any]) -> None:
    """Fill an empty database with rows and statistics; needs a superuser. The rows are not plausible trades."""
    with connection.transaction():
        connection.execute("CREATE FUNCTION pg_temp.id(kind text, n bigint) RETURNS uuid RETURN md5(kind || n)::uuid")
        for statement in statements(_SEED):
            connection.execute(_SEED[statement.start : statement.end])
    connection.execute("ANALYZE")


def explain(connection: psycopg.Connection[Any], queries: Sequence[CheckedQuery]) -> Plans:
    """The generic plan of every variant that the check accepted. Executes nothing."""
    indexes: dict[str, tuple[str, ...]] = {}
    trees: dict[str, tuple[Plan, ...]] = {}
    problems: list[Problem] = []
    with connection.transaction(force_rollback=True):
        catalog = read_catalog(connection)
        rows = connection.execute(_LARGE_TABLES, [LARGE])
        large: dict[str, tuple[str, float]] = {name: (table, count) for name, table, count in rows}
        for checked in queries:
            name = checked.source.query.qualified_name
            trees[name] = tuple(_generic(connection, checked.source, each, catalog) for each in checked.variants)
            indexes[name], own = _of_query(checked, trees[name], large)
            problems += own
    return Plans(indexes, trees, tuple(problems))


_LARGE_TABLES: Final = """
SELECT c.relname, coalesce(root.relname, c.relname), c.reltuples::float8
FROM pg_class AS c
LEFT JOIN pg_class AS root ON c.relispartition AND root.oid = pg_partition_root(c.oid)
WHERE c.relkind = 'r' AND c.reltuples >= %s
"""
"""Each with the table that it is a partition of, or its own name."""


def types_sent(
    source: Source, statement: Statement, parameter_types: Sequence[str], catalog: ServerCatalog
) -> tuple[str, ...]:
    """The parameters' types in SQL: those that the driver sends, else those of the contract."""
    sent = [found.sent_as(catalog) if (found := source.parameters.get(name)) else 0 for name in statement.parameters]
    return tuple(
        catalog.sql_name(oid or catalog.by_name[name]) for oid, name in zip(sent, parameter_types, strict=True)
    )


def plan_of(
    connection: psycopg.Connection[Any],
    statement: Statement,
    types: Sequence[str],
    values: Sequence[str | None] | None = None,
    *,
    analyze: bool = False,
) -> Explained:
    """The plan for these values, given as text; without values, the generic plan.

    Executes the statement only to analyse it. Call it inside a transaction: its setting is local to that. It explains a
    prepared statement, which has the parameters' types and works on PostgreSQL 15, where EXPLAIN (GENERIC_PLAN) does
    not. Raises psycopg.Error.
    """
    mode = "force_generic_plan" if values is None else "force_custom_plan"
    arguments = [sql.Literal(value) for value in values or [None] * len(types)]
    connection.execute(f"SET LOCAL plan_cache_mode = {mode}")
    connection.execute(f"PREPARE explained{_bracketed(types)} AS {statement.text}")
    options = "ANALYZE, BUFFERS, FORMAT JSON" if analyze else "FORMAT JSON"
    execute = sql.SQL("EXPLAIN ({}) EXECUTE explained{}").format(
        sql.SQL(options), sql.SQL("({})").format(sql.SQL(", ").join(arguments)) if arguments else sql.SQL("")
    )
    row = connection.execute(execute).fetchone()
    connection.execute("DEALLOCATE explained")
    assert row is not None
    explained: Explained = row[0][0]
    return explained


def _bracketed(types: Sequence[str]) -> str:
    return f"({', '.join(types)})" if types else ""


def _generic(
    connection: psycopg.Connection[Any], source: Source, variant: CheckedVariant, catalog: ServerCatalog
) -> Plan:
    types = types_sent(source, variant.statement, variant.parameter_types, catalog)
    plan: Plan = plan_of(connection, variant.statement, types)["Plan"]
    return plan


def nodes(plan: Plan) -> Iterator[Plan]:
    """The node and all nodes below it, the outermost first."""
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def indexes_of(plan: Plan) -> set[str]:
    """The indexes that a plan reads, and those that detect a conflict."""
    used: set[str] = set()
    for node in nodes(plan):
        used.update(node.get("Conflict Arbiter Indexes", ()))
        if "Index Name" in node and not node["Index Name"].startswith("pg_"):  # those of the catalogs are not ours
            used.add(node["Index Name"])
    return used


def _of_query(
    checked: CheckedQuery, trees: Sequence[Plan], large: dict[str, tuple[str, float]]
) -> tuple[tuple[str, ...], list[Problem]]:
    source = checked.source
    used: set[str] = set()
    read: dict[str, int] = {}
    for plan in trees:
        used |= indexes_of(plan)
        for node in nodes(plan):
            if node["Node Type"] == "Seq Scan" and node["Relation Name"] in large:
                table, _ = large[node["Relation Name"]]
                read[table] = read.get(table, 0) + 1
    sizes = {table: sum(count for of, count in large.values() if of == table) for table in read}
    excuses = {each.subject: each for each in source.overrides if each.rule == "seq scan"}
    blank = Problem(
        rule="seq scan",
        query=source.query.qualified_name,
        sql_path=source.query.path,
        sql_line=source.query.line,
        sql_column=1,
        python=source.python,
        declared="no sequential scan of a large table",
        actual="",
        advice="",
    )
    problems = [
        replace(
            blank,
            actual=f"{table}, {sizes[table]:,.0f} rows, is read from end to end",
            advice=f"add an index that serves it, or -- check: seq scan {table}: why it may",
            variants=count,
        )
        for table, count in read.items()
        if table not in excuses
    ]
    problems += [
        replace(
            blank,
            rule="needless override",
            sql_line=override.line,
            sql_column=override.column,
            declared=f"-- check: seq scan {table}",
            actual=f"no sequential scan of a large table {table}",
            advice="remove the comment",
        )
        for table, override in excuses.items()
        if table not in read
    ]
    return tuple(sorted(used)), problems
