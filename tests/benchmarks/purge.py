"""``python -m tests.benchmarks.purge [--transactions N] [--rest FACTOR]``: an agent is purged while another trades.

Fills a partitioned database with a tenth as many transactions in each of ten months, and gives one more agent as many
again. Then ``nexgent-db ledger purge-agent`` deletes that agent while another one buys. The command is stopped for five
seconds after every twenty, so that buys without it and beside it are of the same minutes. Prints their median, 99th
percentile and worst, and how long the purge worked. A median beside it above 1.2 of that without it is an exit code of
1.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import uuid4

import psycopg
from psycopg.conninfo import make_conninfo

from nexgent_db import Database
from nexgent_db.embedded import postgres
from nexgent_db.models import SOL_MINT
from tests.benchmarks.partitions import PLANS, ROWS, SERVER, Filled
from tests.integration.sync.factories import Owner, new_owner

_LIMIT: Final = 1.2
_MONTHS: Final = 10
_RUNNING_S: Final = 20.0
_STOPPED_S: Final = 5.0

_KEYS: Final = """
INSERT INTO agent_transaction_keys (id, wallet_address, transaction_hash, transaction_leg)
SELECT id, wallet_address, transaction_hash, transaction_leg FROM agent_transactions WHERE agent_id = %s
"""


def give(url: str, victim: Owner, rows: int, agents: int) -> None:
    """Give the agent so many transactions of 250 days, every tenth a sale with its swap, and as many requests."""
    start = datetime.now(UTC) - timedelta(days=250)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        for statement in ROWS.split(";\n"):
            own = statement.replace("md5('agent' || n % {agents} + 1)::uuid", f"'{victim.agent_id}'")
            own = own.replace("'wallet' || n % {agents} + 1", f"'{victim.wallet_address}'")
            for kind in ("a", "b"):
                own = own.replace(f"md5('{kind}' || n)", f"md5('purged {kind}' || n)")
            own = own.replace("('1' ||", "('3' ||").replace("('2' ||", "('4' ||")
            connection.execute(
                own.format(
                    agents=agents,
                    low=1,
                    high=rows,
                    count=rows,
                    start=f"timestamptz '{start.isoformat()}'",
                    length="interval '249 days'",
                ).encode()
            )
        connection.execute(_KEYS.encode(), [victim.agent_id])
        connection.execute("RESET session_replication_role")
        connection.execute("VACUUM ANALYZE")


def latencies(db: Database, owner: Owner, seconds: float) -> list[float]:
    """Milliseconds of one buy after the other, for so long."""
    taken: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        order = owner.buy("0.001", "1000", f"T{uuid4().hex}", transaction_hash=uuid4().hex + uuid4().hex)
        started = time.perf_counter()
        db.trades.buy(order)
        taken.append(1000 * (time.perf_counter() - started))
        time.sleep(0.005)
    return taken


def measure(url: str, rows: int, agents: int, rest: float) -> dict[str, list[float]]:
    """The latencies without the purge and beside it."""
    without, beside, worked = list[float](), list[float](), 0.0
    with Database(make_conninfo(url, options=PLANS)) as db:
        victim, owner = new_owner(db), new_owner(db)
        db.trades.deposit(owner.deposit("1000000", SOL_MINT))
        give(url, victim, rows, agents)
        latencies(db, owner, _STOPPED_S)  # the caches are warm
        command = [sys.executable, "-m", "nexgent_db.cli", "ledger", "purge-agent", str(victim.agent_id)]
        options = ["--reason", "a benchmark", "--rest", str(rest), "--database-url", url]
        with subprocess.Popen([*command, *options]) as purge:
            while purge.poll() is None:
                started = time.perf_counter()
                beside += latencies(db, owner, _RUNNING_S)
                worked += time.perf_counter() - started
                purge.send_signal(signal.SIGSTOP)
                time.sleep(1)  # its last batch ends
                without += latencies(db, owner, _STOPPED_S)
                purge.send_signal(signal.SIGCONT)
        if purge.returncode:
            raise SystemExit(purge.returncode)
    print(f"{rows:,} transactions purged in {worked:.0f} s, rests included")
    return {"without": sorted(without), "beside": sorted(beside)}


def main() -> int:
    """Fill, measure, print, and judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.purge", description=__doc__)
    parser.add_argument("--transactions", type=int, default=1_000_000, help="default %(default)s")
    parser.add_argument("--rest", type=float, default=2.0, help="as the command's, default %(default)s")
    asked = parser.parse_args()
    with postgres() as server:
        with psycopg.connect(server, autocommit=True) as connection:
            for name, value in {**SERVER, "autovacuum": "on"}.items():
                connection.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
            connection.execute("SELECT pg_reload_conf()")
            connection.execute("CREATE DATABASE bench_purge")
        url = make_conninfo(server, dbname="bench_purge")
        filled = Filled(url, asked.transactions, _MONTHS, partitioned=True)
        figures = measure(url, asked.transactions, filled.agents, asked.rest)
    for name, taken in figures.items():
        print(
            f"a buy {name} the purge: median {statistics.median(taken):.2f} ms,"
            f" 99 % {taken[len(taken) * 99 // 100]:.2f}, worst {taken[-1]:.1f}, of {len(taken):,}"
        )
    ratio = statistics.median(figures["beside"]) / statistics.median(figures["without"])
    print(f"the median beside it is {ratio:.2f} of that without it")
    return 1 if ratio > _LIMIT else 0


if __name__ == "__main__":
    sys.exit(main())
