"""``python -m tests.benchmarks.partitions [--transactions N]``: the same calls on a ledger of a tenth, and of all.

Fills three databases: a tenth of the transactions in a whole table, the same in partitions, and all of them in
partitions, a month for each tenth. The agents are the same in all, with a thousand transactions a month each. Then it
buys, pages and summarises in turns, and prints the median of the rounds, and how much more the large one takes. A
ratio above 1.15 of a buy, a page or a summary of 24 hours is an exit code of 1; a summary of all time reads ten times
the rows.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import psycopg
from psycopg.conninfo import make_conninfo
from rich.console import Console
from rich.table import Table

from nexgent_db import Database
from nexgent_db.embedded import postgres
from nexgent_db.migrations import Migrator
from nexgent_db.migrations.partitions import Partitioner
from nexgent_db.migrations.partitions.tables import floor_of
from nexgent_db.models import SOL_MINT
from tests.benchmarks.result import interleaved
from tests.integration.sync.factories import Owner, new_owner

_EACH: Final = 1000
_MONTHS: Final = 10
_LIMIT: Final = 1.15
PLANS: Final = "-cplan_cache_mode=force_generic_plan"
"""As the guide advises: a plan for values considers every partition, each time."""
_LIMITED: Final = ("a buy", "a page of 50", "a summary of 24 h")
_TIMED: Final = ("agent_transactions", "agent_historical_swaps", "trade_requests")

_AGENTS: Final = """
INSERT INTO users (id, email) VALUES ('00000000-0000-4000-8000-000000000000', 'bench@example.org');
INSERT INTO agents (id, user_id, name)
SELECT md5('agent' || n)::uuid, '00000000-0000-4000-8000-000000000000', 'agent ' || n
FROM generate_series(1, {agents}) AS n;
INSERT INTO agent_wallets (wallet_address, agent_id, wallet_type)
SELECT 'wallet' || n, md5('agent' || n)::uuid, 'simulation' FROM generate_series(1, {agents}) AS n
"""

# Each tenth is a month: its transactions in the order of their time, agents in turn. Every tenth is a sale. The stored
# orders are those of the last month: older ones are pruned.
ROWS: Final = """
INSERT INTO agent_transactions (
    id, agent_id, wallet_address, transaction_type, transaction_value_usd, transaction_time, input_mint, input_symbol,
    input_amount, input_price, output_mint, output_symbol, output_amount, output_price, transaction_hash,
    realized_profit_sol, created_at, updated_at
)
SELECT
    ('1' || lpad(to_hex(n), 31, '0'))::uuid, md5('agent' || n % {agents} + 1)::uuid, 'wallet' || n % {agents} + 1,
    'SWAP', 1, moment,
    'So11111111111111111111111111111111111111112', 'SOL', 1, 1, 'token' || n % 977, 'T', 1000, 0.001,
    md5('a' || n) || md5('b' || n), CASE WHEN n % 10 = n / {agents} % 10 THEN 0.1 END, moment, moment
FROM generate_series({low}, {high}) AS n, LATERAL (SELECT {start} + (n - {low}) * {length} / {count} AS moment) AS m;
INSERT INTO agent_historical_swaps (
    id, agent_id, wallet_address, token_address, token_symbol, amount, purchase_price, sale_price, change_percent,
    profit_loss_sol, purchase_time, sale_time, purchase_transaction_id, sale_transaction_id, created_at
)
SELECT
    ('2' || lpad(to_hex(n), 31, '0'))::uuid, md5('agent' || n % {agents} + 1)::uuid, 'wallet' || n % {agents} + 1,
    'token' || n % 977, 'T', 1000, 0.001, 0.002, 100, 0.1, moment, moment, ('1' || lpad(to_hex(n), 31, '0'))::uuid,
    ('1' || lpad(to_hex(n), 31, '0'))::uuid, moment
FROM generate_series({low}, {high}) AS n, LATERAL (SELECT {start} + (n - {low}) * {length} / {count} AS moment) AS m
WHERE n % 10 = n / {agents} % 10;
INSERT INTO trade_requests (id, agent_id, wallet_address, operation, content_digest, version, created_at)
SELECT
    ('1' || lpad(to_hex(n), 31, '0'))::uuid, md5('agent' || n % {agents} + 1)::uuid, 'wallet' || n % {agents} + 1,
    'buy', sha256('x'), 1, moment
FROM generate_series({low}, {high}) AS n, LATERAL (SELECT {start} + (n - {low}) * {length} / {count} AS moment) AS m
"""

_KEYS: Final = """
INSERT INTO agent_transaction_keys (id, wallet_address, transaction_hash, transaction_leg)
SELECT id, wallet_address, transaction_hash, transaction_leg FROM agent_transactions
"""


class Filled:
    """A database with so many transactions, in so many months."""

    def __init__(self, url: str, transactions: int, months: int, *, partitioned: bool) -> None:
        self.url = url
        self.agents = transactions // months // _EACH
        self._transactions = transactions
        now = datetime.now(UTC)
        begins = floor_of(now - timedelta(days=30.44 * (months - 1)), "month")
        Migrator(url).migrate()
        if partitioned:
            Partitioner(url).apply(first_ends=begins)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SET session_replication_role = replica")
            connection.execute("SET maintenance_work_mem = '1GB'")
            connection.execute("SET max_parallel_maintenance_workers = 2")
            with _without_indexes(connection):
                self._execute(connection, _AGENTS.format(agents=self.agents))
                count = transactions // months
                for month in range(months):
                    start = begins + (now - begins) / months * month
                    rows = ROWS if month == months - 1 else ROWS.rpartition(";\n")[0]
                    self._execute(
                        connection,
                        rows.format(
                            agents=self.agents,
                            low=month * count + 1,
                            high=(month + 1) * count,
                            count=count,
                            start=f"timestamptz '{start.isoformat()}'",
                            length=f"interval '{(now - begins).total_seconds() / months} seconds'",
                        ),
                    )
                    print(f"  {transactions:,}: {(month + 1) * count:,}", file=sys.stderr)
                if partitioned:
                    connection.execute(_KEYS)
            connection.execute("VACUUM ANALYZE")

    @staticmethod
    def _execute(connection: psycopg.Connection[Any], statements: str) -> None:
        for statement in statements.split(";\n"):
            connection.execute(statement.encode())

    def agent(self) -> UUID:
        """One of them, by chance."""
        with_number = f"agent{random.randint(1, self.agents)}"
        return UUID(hashlib.md5(with_number.encode(), usedforsecurity=False).hexdigest())

    def transaction(self) -> UUID:
        """The id of one of them, by chance."""
        return UUID(f"1{random.randint(1, self._transactions):031x}")


@contextmanager
def _without_indexes(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """The indexes that no constraint has are made after the rows."""
    rows = connection.execute(
        """
        SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid)
        FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid
        WHERE c.relname = ANY(%s) AND NOT c.relispartition
            AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u'))
        """,
        [[*_TIMED, "agent_transaction_keys"]],
    ).fetchall()
    for name, _ in rows:
        connection.execute(f"DROP INDEX {name}".encode())
    yield
    for _, definition in rows:
        connection.execute(definition.replace(" ON ONLY ", " ON ", 1).encode())


def measure(databases: Mapping[str, Filled], rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each call on each database: the median of the rounds."""
    with ExitStack() as stack:
        urls = {name: make_conninfo(filled.url, options=PLANS) for name, filled in databases.items()}
        opened = {name: stack.enter_context(Database(url)) for name, url in urls.items()}
        owners = {name: new_owner(db) for name, db in opened.items()}
        for name, db in opened.items():
            db.trades.deposit(owners[name].deposit("1000000", SOL_MINT))
        calls: dict[str, dict[str, Callable[[], object]]] = {}
        for name, db in opened.items():
            filled, owner = databases[name], owners[name]
            for what, call in _calls(db, filled, owner).items():
                calls.setdefault(what, {})[name] = call
        return {
            what: {
                name: 1000 * statistics.median(taken)
                for name, taken in interleaved(contestants, rounds=rounds, calls=30).items()
            }
            for what, contestants in calls.items()
        }


def _calls(db: Database, filled: Filled, owner: Owner) -> dict[str, Callable[[], object]]:
    since = datetime.now(UTC) - timedelta(hours=24)
    return {
        "a buy": lambda: db.trades.buy(
            owner.buy("0.001", "1000", f"T{uuid4().hex}", transaction_hash=uuid4().hex + uuid4().hex)
        ),
        "a page of 50": lambda: db.transactions.page_by_agent(filled.agent(), limit=50),
        "a summary of 24 h": lambda: db.performance.summarise(filled.agent(), since=since),
        "a summary of all time": lambda: db.performance.summarise(filled.agent()),
        "a transaction by id": lambda: db.transactions.find_by_id(filled.transaction()),
    }


def main() -> int:
    """Fill, measure, print, and judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.partitions", description=__doc__)
    parser.add_argument("--transactions", type=int, default=10_000_000, help="default %(default)s")
    parser.add_argument("--rounds", type=int, default=40, help="default %(default)s")
    asked = parser.parse_args()
    tenth = asked.transactions // _MONTHS
    with postgres() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            for name, value in SERVER.items():
                connection.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
            connection.execute("SELECT pg_reload_conf()")
            for name in ("whole", "tenth", "all"):
                connection.execute(f"CREATE DATABASE bench_{name}".encode())
        databases = {
            "whole": Filled(make_conninfo(url, dbname="bench_whole"), tenth, 1, partitioned=False),
            "tenth": Filled(make_conninfo(url, dbname="bench_tenth"), tenth, 1, partitioned=True),
            "all": Filled(make_conninfo(url, dbname="bench_all"), asked.transactions, _MONTHS, partitioned=True),
        }
        figures = measure(databases, asked.rounds)
        report = Table(title=f"{tenth:,} and {asked.transactions:,} transactions, ms")
        for column in (
            "call",
            f"{tenth:,} whole",
            f"{tenth:,} partitioned",
            f"{asked.transactions:,} partitioned",
            "ratio",
        ):
            report.add_column(column, justify="left" if column == "call" else "right")
        missed = []
        for what, each in figures.items():
            ratio = each["all"] / each["tenth"]
            report.add_row(what, *(f"{each[name]:.3f}" for name in databases), f"{ratio:.2f}x")
            missed += [what] if ratio > _LIMIT and what in _LIMITED else []
        Console(width=None if sys.stdout.isatty() else 120).print(report)
    if missed:
        print(f"above {_LIMIT}: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


SERVER: Final = {"max_wal_size": "8GB", "checkpoint_timeout": "30min", "autovacuum": "off"}

if __name__ == "__main__":
    sys.exit(main())
