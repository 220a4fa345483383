"""The tables that a statement reads and writes, at any place in it; and its generic plan."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from nexgent_db.contract import check, indexes_of, nodes, plan_of, read_catalog, types_sent
from tests.contract.support import made_up


@pytest.mark.parametrize(
    ("sql", "reads", "writes"),
    [
        ("SELECT 1 AS one", set(), set()),
        ("SELECT count(*) AS n FROM users JOIN agents ON agents.user_id = users.id", {"agents", "users"}, set()),
        ("SELECT (SELECT count(*) FROM api_keys) AS n", {"api_keys"}, set()),
        ("INSERT INTO users (email) VALUES ('a')", set(), {"users"}),
        ("SELECT prune_trade_requests_v1(now(), 1) AS pruned", {"trade_requests"}, {"trade_requests"}),
        ("SELECT transaction_effects('BURN', 'a', 1, NULL, NULL, NULL, NULL, NULL) AS effect LIMIT 1", set(), set()),
        (
            "INSERT INTO users (email) VALUES ('a') ON CONFLICT (id) DO UPDATE SET email = excluded.email",
            set(),
            {"users"},
        ),
        ("UPDATE users SET email = 'a' WHERE id = (SELECT user_id FROM agents LIMIT 1)", {"agents"}, {"users"}),
        ("DELETE FROM agents USING users WHERE agents.user_id = users.id", {"users"}, {"agents"}),
        (
            "WITH gone AS (DELETE FROM agents RETURNING user_id), kept AS (SELECT id FROM agents)"
            " UPDATE users SET email = 'a' FROM gone, kept WHERE users.id = gone.user_id",
            {"agents"},
            {"agents", "users"},
        ),
    ],
)
def test_read_and_written_tables_are_distinguished(
    database_url: str, tmp_path: Path, sql: str, reads: set[str], writes: set[str]
) -> None:
    kind = "one" if sql.startswith("SELECT") else "rows"
    source = made_up(tmp_path, f"-- name: q :{kind}\n{sql};", None, None)
    with psycopg.connect(database_url, autocommit=True) as connection:
        (query,) = check(connection, [source]).queries
    (variant,) = query.variants
    assert (variant.reads, variant.writes) == (reads, writes)


def test_generic_plan_fits_every_value(database_url: str, tmp_path: Path) -> None:
    source = made_up(tmp_path, "-- name: q :rows\nDELETE FROM users WHERE id = :user_id;", None, None)
    with psycopg.connect(database_url, autocommit=True) as connection:
        (query,) = check(connection, [source]).queries
        with connection.transaction():
            connection.execute("SET LOCAL enable_seqscan = off")
            variant = query.variants[0]
            types = types_sent(source, variant.statement, variant.parameter_types, read_catalog(connection))
            plan = plan_of(connection, variant.statement, types)["Plan"]
    assert [node["Node Type"] for node in nodes(plan)] == ["ModifyTable", "Index Scan"]
    assert plan["Plans"][0]["Index Cond"] == "(id = $1)"
    assert indexes_of(plan) == {"users_pkey"}
