"""The rows that a trade reads: the same number for a wallet of 1,000 tokens and for a token in 1,000 wallets.

This holds with the planner's statistics and without them, as in a new database.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg.rows import tuple_row

from nexgent_db import Database, Transaction
from nexgent_db.models import SOL_MINT
from nexgent_db.models.base import Input
from nexgent_db.testing.databases import Databases
from tests.integration.sync.factories import Owner, new_owner

MANY = 1000
FEW = 10
HOT = "everybodys"
OWN = "nobodyelses"

_CROWD = f"""
    INSERT INTO users (id, email) VALUES (md5('crowd')::uuid, 'crowd@example.org');
    INSERT INTO agents (id, user_id, name)
    SELECT md5(n::text)::uuid, md5('crowd')::uuid, 'one of many' FROM generate_series(1, {MANY}) AS n;
    INSERT INTO agent_wallets (wallet_address, agent_id, wallet_type)
    SELECT 'crowd' || n, md5(n::text)::uuid, 'simulation' FROM generate_series(1, {MANY}) AS n;
    INSERT INTO agent_balances (agent_id, wallet_address, token_address, token_symbol, balance)
    SELECT w.agent_id, w.wallet_address, token.address, 'T', 10
    FROM
        agent_wallets AS w,
        LATERAL (
            VALUES ('{SOL_MINT}'), ('{HOT}'), (w.wallet_address || 'a'), (w.wallet_address || 'b'),
                (w.wallet_address || 'c'), (w.wallet_address || 'd'), (w.wallet_address || 'e')
        ) AS token (address)
    WHERE w.wallet_address LIKE 'crowd%';
    INSERT INTO agent_transactions
        (id, agent_id, wallet_address, transaction_type, transaction_value_usd, transaction_time, input_mint,
         input_amount, output_mint, output_amount)
    SELECT id, agent_id, wallet_address, 'SWAP', 1, now(), '{SOL_MINT}', 1, token_address, 10
    FROM agent_balances WHERE wallet_address LIKE 'crowd%';
    INSERT INTO agent_positions
        (agent_id, wallet_address, token_address, token_symbol, purchase_transaction_id, purchase_price,
         purchase_amount, remaining_amount, total_invested_sol)
    SELECT agent_id, wallet_address, token_address, 'T', id, 1, 10, 10, 10
    FROM agent_balances WHERE wallet_address LIKE 'crowd%' AND token_address <> '{SOL_MINT}';
"""
"""Each wallet has SOL, one token that all wallets have, and five tokens of its own."""

_OF_THE_OWNER = """
    INSERT INTO agent_balances (agent_id, wallet_address, token_address, token_symbol, balance)
    SELECT %(agent)s, %(wallet)s, 'held' || n, 'T', 1000 FROM generate_series(1, %(many)s) AS n
"""

_TABLES = """
    SELECT c.oid::regclass::text
    FROM pg_class AS c
    WHERE c.relkind = 'r'
        AND coalesce(pg_partition_root(c.oid)::oid, c.oid) IN (
            'agent_balances'::regclass, 'agent_positions'::regclass, 'agent_transactions'::regclass,
            'agent_wallets'::regclass, 'agents'::regclass
        )
"""
"""The tables that trades read, each partition of its own."""

_READ = "SELECT relname, seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables"


@pytest.fixture(scope="module", params=["nothing is known", "all is known"])
def trader(
    request: pytest.FixtureRequest, nexgent_databases: Databases, nexgent_template_url: str
) -> Iterator[tuple[Database, Owner]]:
    """An agent with many tokens among many agents, with and without the planner's statistics."""
    with nexgent_databases.copy(nexgent_template_url) as url, Database(url) as db:
        owner = new_owner(db)
        db.trades.deposit(owner.deposit("100000"))
        with psycopg.connect(url, autocommit=True) as connection:
            if request.param == "nothing is known":
                for (table,) in connection.execute(_TABLES).fetchall():
                    connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)".encode())
            connection.execute(_CROWD.encode())
            values = {"agent": owner.agent_id, "wallet": owner.wallet_address, "many": MANY}
            connection.execute(_OF_THE_OWNER, values)
            if request.param == "all is known":
                connection.execute("ANALYZE")
        yield db, owner


Step = tuple[str, Callable[[Owner], Input]]


def bought_and_sold(token: str) -> tuple[Step, ...]:
    return (
        ("buy", lambda owner: owner.buy("1", "10", token)),
        ("dca_buy", lambda owner: owner.dca_buy("1", "10", token)),
        ("take_profit", lambda owner: owner.take_profit("5", "1", token)),
        ("sell", lambda owner: owner.sell("15", "1", token)),
    )


STEPS: dict[str, tuple[Step, ...]] = {
    "deposit": (("deposit", lambda owner: owner.deposit("1")),),
    "withdraw": (("withdraw", lambda owner: owner.withdraw("1")),),
    "swap": (("swap", lambda owner: owner.swap("1", "held1", "1", "held2")),),
    "a token that everybody holds": bought_and_sold(HOT),
    "a token that nobody else holds": bought_and_sold(OWN),
}


@contextmanager
def rows_read(db: Database) -> Iterator[tuple[Transaction, Counter[str]]]:
    """The number of rows of each table that the statements in the ``with`` have read, known after it."""
    read = Counter[str]()
    with db.transaction() as tx:
        before = _counted(tx)
        yield tx, read
        read.update(_counted(tx))
        read.subtract(before)


def _counted(tx: Transaction) -> dict[str, int]:
    """The session's counts that it has not yet reported, including those of earlier transactions."""
    cursor = tx._connection.cursor(row_factory=tuple_row)
    return dict(cursor.execute(_READ).fetchall())


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_trade_reads_only_rows_of_its_wallet_and_token(trader: tuple[Database, Owner], steps: tuple[Step, ...]) -> None:
    db, owner = trader
    for _ in range(12):  # more often than a plan is made for the values at hand
        for name, order in steps:
            with rows_read(db) as (tx, read):
                getattr(tx.trades, name)(order(owner))
            assert 0 < read["agent_balances"] <= FEW, (name, read)
            assert read["agent_positions"] <= FEW, (name, read)


@pytest.mark.parametrize("token", [SOL_MINT, HOT, "held1"])
def test_lookup_by_wallet_and_token_reads_one_row(trader: tuple[Database, Owner], token: str) -> None:
    db, owner = trader
    for _ in range(12):
        with rows_read(db) as (tx, read):
            assert tx.balances.find_by_wallet_and_token("crowd1", token if token != "held1" else "crowd1a")
            assert tx.positions.find_by_wallet_and_token(owner.agent_id, owner.wallet_address, token) is None
        assert (read["agent_balances"], read["agent_positions"]) == (1, 0), read
