"""Detection of writes by a statement's text: all writes that the contract knows, and possible ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nexgent_db.queries.sqlfile import load_directory, load_file
from nexgent_db.queries.statement import Query
from nexgent_db.queries.unreadable import may_write
from nexgent_db.resources import data_dir

QUERIES = {
    query.qualified_name: query for file in load_directory(data_dir("sql")).values() for query in file.queries.values()
}
CONTRACT = {
    query["query"]: bool(query.get("writes"))
    for query in json.loads((data_dir("sql") / "contract.json").read_text())["queries"]
}
READS_FROM_FUNCTION = {"balances.list_ledger_differences", "checks.balances_equal_their_ledger"}
"""They read from ``transaction_effects``, and a function might write."""
LOCKS_BY_FUNCTION = {"trades.lock_wallets"}
"""It writes nothing, and a function might."""


def test_write_detection_matches_contract_for_every_query() -> None:
    assert CONTRACT.keys() == QUERIES.keys()
    judged = {name: may_write(query) for name, query in QUERIES.items()}
    assert {name for name in judged if judged[name] != CONTRACT[name]} == READS_FROM_FUNCTION | LOCKS_BY_FUNCTION


def query_of(folder: Path, text: str) -> Query:
    path = folder / "things.sql"
    path.write_text(f"-- name: thing :one\n{text};\n")
    return load_file(path).queries["thing"]


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO a VALUES (:x) RETURNING x",
        "update a set x = :x returning x",
        "WITH gone AS (DELETE FROM a RETURNING x) SELECT x FROM gone",
        "MERGE INTO a USING b ON a.x = b.x WHEN MATCHED THEN DELETE RETURNING a.x",
        "SELECT x FROM trade_buy_v1(:x)",
        "SELECT x FROM public.trade_buy_v1(:x) AS x",
        'SELECT x FROM "trade_buy"(:x)',
        "SELECT a.x FROM a CROSS JOIN LATERAL trade_buy_v1(a.x)",
        "SELECT trade_buy_v1(:x)",
        "CALL trade_buy(:x)",
        "SELECT x INTO TEMPORARY b FROM a",
        "TRUNCATE a",
        "REFRESH MATERIALIZED VIEW a",
        "EXPLAIN ANALYZE SELECT 1",
    ],
)
def test_possible_write_counts_as_write(tmp_path: Path, text: str) -> None:
    assert may_write(query_of(tmp_path, text))


@pytest.mark.parametrize(
    "text",
    [
        "SELECT x FROM a WHERE id = :id -- never DELETE here",
        "SELECT x FROM a WHERE id = :id FOR NO KEY UPDATE",
        "select x from a where id = :id for update skip locked",
        "SELECT 'INSERT INTO a' AS x, \"update\" FROM a",
        "(SELECT x FROM a) UNION ALL (SELECT x FROM b)",
        "WITH RECURSIVE a AS (SELECT 1 AS x) SELECT x FROM a",
        "VALUES (1)",
        "TABLE a",
        "SELECT count(*), sum(x), coalesce(max(x), 0) FROM a",
        "SELECT x FROM unnest(:ids::text[]) AS given (x) JOIN jsonb_array_elements(:document) AS b ON true",
        "SELECT now(), current_setting('TimeZone')",
        "SELECT EXISTS (SELECT FROM a WHERE id = :id)",
        "SELECT updated_at, deleted, inserted_by FROM a",
    ],
)
def test_read_only_statement_is_no_write(tmp_path: Path, text: str) -> None:
    assert not may_write(query_of(tmp_path, text))
