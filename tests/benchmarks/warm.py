"""``python -m tests.benchmarks.warm [--rows N]``: fill an empty cache from a large database, and compare all of it.

Makes the rows in a throw-away embedded server: nine of ten are balances, the others positions, and an agent with two
wallets for every two hundred. ``nexgent-db cache warm`` and ``verify`` run as their users run them, as processes of
their own; first with a tenth of the rows. Prints rows a second and the most memory that each had. Exit code 1 when a
process took more than 1.3 times the memory for ten times the rows, or a difference was found.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from rich.console import Console
from rich.table import Table

from nexgent_db.embedded import postgres
from nexgent_db.migrations import Migrator
from tests.benchmarks.child import nexgent_db
from tests.support.servers.valkey_server import valkey_server

_MORE_MEMORY: Final = 1.3

# Without the triggers: nothing is to wait in the outbox, and no transaction stands behind a position.
_FILL: Final = """
SET session_replication_role = replica;
INSERT INTO users (id, email) VALUES ('00000000-0000-4000-8000-000000000001', 'warm@example.org');
INSERT INTO agents (id, user_id, name)
SELECT md5('agent' || n)::uuid, '00000000-0000-4000-8000-000000000001', 'agent ' || n
FROM generate_series(1, {agents}) AS n;
INSERT INTO agent_wallets (wallet_address, agent_id, wallet_type)
SELECT 'W' || n, md5('agent' || (n + 1) / 2)::uuid, CASE n % 2 WHEN 1 THEN 'simulation' ELSE 'live' END
FROM generate_series(1, 2 * {agents}) AS n;
INSERT INTO agent_balances (agent_id, wallet_address, token_address, token_symbol, balance)
SELECT md5('agent' || (w + 1) / 2)::uuid, 'W' || w, 'T' || n, 'T', n * 1.000000000001
FROM generate_series(1, {balances}) AS n
CROSS JOIN LATERAL (VALUES (n % (2 * {agents}) + 1)) AS of (w);
INSERT INTO agent_positions (
    agent_id, wallet_address, token_address, token_symbol, purchase_transaction_id, purchase_price, purchase_amount,
    remaining_amount, total_invested_sol
)
SELECT md5('agent' || (w + 1) / 2)::uuid, 'W' || w, 'T' || n, 'T', gen_random_uuid(), 0.000000012345, n * 1000,
    n * 1000, 0.1
FROM generate_series(1, {positions}) AS n
CROSS JOIN LATERAL (VALUES (n % (2 * {agents}) + 1)) AS of (w);
ANALYZE
"""


@dataclass(frozen=True, slots=True)
class Run:
    """What a command said, and the most memory that it had."""

    said: dict[str, Any]
    memory_mb: float


def main() -> int:
    """Measure, print, and judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.warm", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    table = Table(title="cache warm and verify")
    for column in ("command", "rows", "keys compared", "rows/s", "memory"):
        table.add_column(column, justify="right")
    memory: dict[str, list[float]] = {"warm": [], "verify": []}
    differences = 0
    for size in (rows // 10, rows):
        with postgres() as server, _filled(server, size) as url, valkey_server() as valkey:
            warm, verify = (_run(command, url, valkey.url) for command in memory)
            memory["warm"].append(warm.memory_mb)
            memory["verify"].append(verify.memory_mb)
            differences += sum(verify.said["different"].values())
            rate = f"{warm.said['rows_per_s']:,}"
            table.add_row("warm", f"{warm.said['rows']:,}", "", rate, f"{warm.memory_mb:.0f} MB")
            table.add_row("verify", "", f"{verify.said['compared']:,}", "", f"{verify.memory_mb:.0f} MB")
    Console(width=None if sys.stdout.isatty() else 100).print(table)
    grown = {command: more / less for command, (less, more) in memory.items()}
    for command, ratio in grown.items():
        print(f"{command}: {ratio:.2f} times the memory for ten times the rows")
    print(f"{differences} differences")
    return 1 if differences or max(grown.values()) > _MORE_MEMORY else 0


@contextmanager
def _filled(server: str, rows: int) -> Iterator[str]:
    Migrator(server).migrate()
    positions, agents = rows // 10, max(1, rows // 200)
    with psycopg.connect(server, autocommit=True) as connection:
        for statement in _FILL.format(agents=agents, positions=positions, balances=rows - positions).split(";\n"):
            connection.execute(statement.encode())
    yield server


def _run(command: str, url: str, redis_url: str) -> Run:
    ended = nexgent_db("cache", command, "--json", "--database-url", url, "--redis-url", redis_url)
    if ended.exit_code not in (0, 1):
        raise RuntimeError(f"cache {command} ended with exit code {ended.exit_code}")
    return Run(json.loads(ended.said.splitlines()[-1]), ended.memory_mb)


if __name__ == "__main__":
    sys.exit(main())
