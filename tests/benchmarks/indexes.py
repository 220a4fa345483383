"""``python -m tests.benchmarks.indexes [--transactions N]``: what the indexes and keys cost that our migrations drop.

Fills a database, migrates it to the newest version, and inserts the same number of rows into each table, in turns
with the indexes that were dropped there and without them, then with the foreign keys that were dropped and without
them; then buys in the same way, with and without all of them. The rows that are inserted lie ready in a temporary
table, and go to random places of the indexes. Prints the best round of each, and what was gained: rows a second without
what was dropped, over rows a second with it. A second is one of the server's processor (Linux), so that other work on
the machine counts little.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import psycopg
from rich.console import Console
from rich.table import Table

from nexgent_db import Database
from nexgent_db.embedded import postgres
from nexgent_db.migrations import Migrator
from nexgent_db.migrations.files import LAST_LEGACY_MIGRATION, read_folder
from nexgent_db.models import SOL_MINT
from nexgent_db.resources import data_dir
from tests.integration.sync.factories import Owner, new_owner
from tests.support.builders.many_rows import Size, fill

_ROUNDS: Final = 12
_ROWS: Final = 5_000
_BUYS: Final = 500

_OWN: Final[Mapping[str, Mapping[str, str]]] = {
    "agents": {"id": "new_id()"},
    "agent_transactions": {"id": "new_id()", "transaction_hash": "md5(random()::text)"},
    "agent_historical_swaps": {"id": "new_id()"},
    "agent_balance_snapshots": {
        "id": "new_id()",
        "snapshot_timestamp": "snapshot_timestamp + random() * interval '1 hour'",
    },
    "agent_balances": {"id": "new_id()", "token_address": "md5(random()::text)"},
    "agent_positions": {
        "id": "new_id()",
        "token_address": "md5(random()::text)",
        "purchase_transaction_id": "free.transaction_id",
    },
    "trading_signals": {"id": "nextval('trading_signals_id_seq')"},
    "signal_executions": {"id": "new_id()", "signal_id": "free.signal_id", "agent_id": "free.agent_id"},
}
"""What no two rows of a table may share, and how a copy of a row gets its own."""

_FREE: Final = {
    "agent_positions": """
        SELECT id AS transaction_id FROM agent_transactions
        EXCEPT SELECT purchase_transaction_id FROM agent_positions
    """,
    "signal_executions": """
        SELECT s.id AS signal_id, a.id AS agent_id
        FROM (SELECT id FROM trading_signals ORDER BY random() LIMIT 1000) AS s CROSS JOIN agents AS a
        EXCEPT SELECT signal_id, agent_id FROM signal_executions
    """,
}
"""What a copy can refer to, where something may be referred to only once."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """An index or a key that a migration of ours drops: how to have it again, and how to be without it."""

    make: str
    drop: str


def dropped_indexes() -> dict[str, list[Dropped]]:
    """The dropped indexes of each table."""
    found: dict[str, list[Dropped]] = defaultdict(list)
    for up, down in _ours():
        for name in re.findall(r"^DROP INDEX (?:CONCURRENTLY IF EXISTS )?(\w+);", up, re.MULTILINE):
            again = rf"^CREATE INDEX (?:CONCURRENTLY IF NOT EXISTS )?{name}\s+ON (\w+) (\(.*\));"
            definition = re.search(again, down, re.MULTILINE)
            assert definition is not None, name
            make = f"CREATE INDEX {name} ON {definition[1]} {definition[2]}"
            found[definition[1]].append(Dropped(make, f"DROP INDEX {name}"))
    return found


def dropped_keys() -> dict[str, list[Dropped]]:
    """The dropped foreign keys of each table."""
    found: dict[str, list[Dropped]] = defaultdict(list)
    for up, down in _ours():
        for name in re.findall(r"^    DROP CONSTRAINT (\w+_fkey),$", up, re.MULTILINE):
            if f"ADD CONSTRAINT {name}" in up:
                continue
            again = rf"^    ADD CONSTRAINT {name}\s+(FOREIGN KEY [^,;]*)[,;]$"
            definition = re.search(again, down, re.MULTILINE)
            table = re.search(r"^ALTER TABLE (\w+)$", down, re.MULTILINE)
            assert definition is not None, name
            assert table is not None, name
            make = f"ALTER TABLE {table[1]} ADD CONSTRAINT {name} {definition[1]} NOT VALID"
            found[table[1]].append(Dropped(make, f"ALTER TABLE {table[1]} DROP CONSTRAINT {name}"))
    return found


def _ours() -> Iterator[tuple[str, str]]:
    for migration in read_folder(data_dir("migrations")):
        if migration.id > LAST_LEGACY_MIGRATION and migration.down is not None:
            yield migration.up.text, migration.down.text


def processor_s(connection: psycopg.Connection[Any]) -> float:
    """What all sessions of the server have used of a processor, in seconds; elsewhere than on Linux just the time."""
    if not Path("/proc/self/schedstat").exists():
        return time.perf_counter()
    pids = connection.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'").fetchall()
    return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for (pid,) in pids) / 1e9


class Inserts:
    """Inserts rows into a table and undoes it."""

    def __init__(self, connection: psycopg.Connection[Any], table: str) -> None:
        self._connection = connection
        self._table = table
        self._columns = [
            name
            for (name,) in connection.execute(
                "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
                [table],
            )
        ]

    def rate(self) -> float:
        """So many a second."""
        columns = ", ".join(self._columns)
        self._connection.execute(f"VACUUM {self._table}".encode())
        with self._connection.transaction(force_rollback=True):
            self._connection.execute(self._ready().encode())
            self._connection.execute("ANALYZE ready")
            started = processor_s(self._connection)
            done = self._connection.execute(f"INSERT INTO {self._table} ({columns}) SELECT * FROM ready".encode())
            assert done.rowcount == _ROWS
            return _ROWS / (processor_s(self._connection) - started)

    def _ready(self) -> str:
        own = _OWN[self._table]
        values = ", ".join(f"{own.get(name, f'old.{name}')} AS {name}" for name in self._columns)
        free = _FREE.get(self._table, f"SELECT FROM generate_series(1, {_ROWS})")
        return f"""
            CREATE TEMP TABLE ready ON COMMIT DROP AS
            SELECT {values}
            FROM (
                SELECT *, row_number() OVER () AS n
                FROM (SELECT * FROM {self._table} ORDER BY random() LIMIT {_ROWS}) AS picked
            ) AS old
            INNER JOIN (
                SELECT *, row_number() OVER () AS n
                FROM (SELECT * FROM ({free}) AS every ORDER BY random() LIMIT {_ROWS}) AS picked
            ) AS free ON old.n = free.n % least({_ROWS}, (SELECT count(*) FROM {self._table})) + 1
        """


class Buys:
    """Buys, each of a token of its own, in a transaction of its own."""

    def __init__(self, connection: psycopg.Connection[Any], db: Database, owner: Owner) -> None:
        self._connection = connection
        self._db = db
        self._owner = owner

    def rate(self) -> float:
        """So many a second."""
        started = processor_s(self._connection)
        for _ in range(_BUYS):
            self._db.trades.buy(self._owner.buy("0.001", "1000", f"T{uuid4().hex}", transaction_hash=uuid4().hex * 2))
        return _BUYS / (processor_s(self._connection) - started)


def compare(
    connection: psycopg.Connection[Any], dropped: Sequence[Dropped], contestant: Inserts | Buys
) -> dict[str, list[float]]:
    """The rates with what was dropped and without it, in turns; without it at the end."""
    rates: dict[str, list[float]] = {"with": [], "without": []}
    contestant.rate()
    for _ in range(_ROUNDS):
        for each in dropped:
            connection.execute(each.make.encode())
        rates["with"].append(contestant.rate())
        for each in dropped:
            connection.execute(each.drop.encode())
        rates["without"].append(contestant.rate())
    return rates


def main() -> int:
    """Make the database, insert, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.indexes", description=__doc__)
    parser.add_argument("--transactions", type=int, default=500_000, help="default %(default)s")
    size = Size(given := parser.parse_args().transactions, given // 5)
    report = Table(title=f"{size.transactions:,} transactions")
    for column in ("written", "dropped", "with /s", "without /s", "gain"):
        report.add_column(column, justify="left" if column == "written" else "right")

    def add(what: str, dropped: int, rates: Mapping[str, list[float]]) -> None:
        with_, without = max(rates["with"]), max(rates["without"])
        report.add_row(what, str(dropped), f"{with_:,.0f}", f"{without:,.0f}", f"{without / with_ - 1:+.0%}")
        print(f"  {what}", file=sys.stderr)

    with postgres() as url:
        for table in fill(url, size):
            print(f"  filled {table}", file=sys.stderr)
        Migrator(url).migrate()
        indexes, keys = dropped_indexes(), dropped_keys()
        with psycopg.connect(url, autocommit=True) as connection, Database(url) as db:
            connection.execute("VACUUM ANALYZE")
            for table in _OWN:
                for kind, dropped in (("indexes", indexes[table]), ("keys", keys[table])):
                    if dropped:
                        rates = compare(connection, dropped, Inserts(connection, table))
                        add(f"{table}, {kind}", len(dropped), rates)
            owner = new_owner(db)
            db.trades.deposit(owner.deposit("1000000", SOL_MINT))
            for kind, every in (("indexes", indexes), ("keys", keys)):
                dropped = [each for of_table in every.values() for each in of_table]
                add(f"a buy, {kind}", len(dropped), compare(connection, dropped, Buys(connection, db, owner)))
    Console(width=None if sys.stdout.isatty() else 120).print(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
