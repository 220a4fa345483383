"""``python -m tests.benchmarks.race.wal [--rows N]``: the WAL that a buy writes, in bytes.

Fills a database with N transactions and their requests, a twenty-fifth of that many balances, and 10,000 open
positions, of 500 agents; then buys right after a checkpoint, when the first change of each page writes all of it. The
ids of the rows are of the kind that this checkout makes, so the command can be run in two checkouts and compared.

Two lines: orders without an on-chain hash, as a simulation sends them, and orders with one, which places an index
entry at random. Each is of one agent, after a checkpoint of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final
from uuid import uuid4

import psycopg

from nexgent_db import Database
from nexgent_db.models import SOL_MINT
from tests.benchmarks.race.arena import buy_order
from tests.benchmarks.server import durable_server
from tests.integration.sync.factories import Owner, new_owner

_AGENTS: Final = 500
_POSITIONS: Final = 10_000

_FILL: Final = (
    """
    CREATE TEMPORARY TABLE owners AS
    SELECT row_number() OVER (ORDER BY w.wallet_address) AS number, a.id AS agent_id, w.wallet_address
    FROM agents AS a
    JOIN agent_wallets AS w ON w.agent_id = a.id
    """,
    """
    CREATE TEMPORARY TABLE ids AS
    SELECT n, {id} AS id, o.agent_id, o.wallet_address
    FROM generate_series(1, {rows}) AS n
    JOIN owners AS o ON o.number = n % {agents} + 1
    """,
    """
    INSERT INTO agent_transactions (
        id, agent_id, wallet_address, transaction_type, transaction_value_usd, transaction_time, input_mint,
        input_symbol, input_amount, input_price, output_mint, output_symbol, output_amount, output_price,
        transaction_hash, protocol_fee_sol, network_fee_sol
    )
    SELECT
        id, agent_id, wallet_address, 'SWAP', 17.25, now() - ({rows} - n) * interval '1 second', '{sol}', 'SOL',
        0.1234, 1, md5((n % 50000)::text), 'TOKEN', 1234567.654321, 0.0000001,
        CASE WHEN n % 2 = 0 THEN md5(n::text) || md5((-n)::text) END, 0.0001, 0.000005
    FROM ids
    ORDER BY n
    """,
    """
    INSERT INTO agent_balances (agent_id, wallet_address, token_address, token_symbol, balance)
    SELECT agent_id, wallet_address, md5(n::text), 'TOKEN', n
    FROM ids
    WHERE n <= {rows} / 25
    ORDER BY n
    """,
    """
    INSERT INTO agent_positions (
        agent_id, wallet_address, token_address, token_symbol, purchase_transaction_id, purchase_price,
        purchase_amount, remaining_amount, total_invested_sol
    )
    SELECT agent_id, wallet_address, md5(n::text), 'TOKEN', id, 0.0000001, n, n, 0.1234
    FROM ids
    WHERE n <= {positions}
    ORDER BY n
    """,
)

_V7: Final = """
encode(
    substring(int8send((extract(epoch FROM now()) * 1000)::bigint - ({rows} - n) * 1000) FROM 3)
    || set_byte(set_byte(substring(uuid_send(gen_random_uuid()) FROM 7), 0, 112 + (random() * 15)::int),
        2, 128 + (random() * 63)::int),
    'hex'
)::uuid"""


@dataclass(frozen=True, slots=True)
class Wal:
    """What buys of one kind have written."""

    orders: str
    rows: int
    buys: int
    bytes_per_buy: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.race.wal", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="transactions in the database (default: 1,000,000)")
    parser.add_argument("--buys", type=int, default=50, help="buys after each checkpoint (default: 50)")
    parser.add_argument("--json", action="store_true", help="print one JSON array")
    options = parser.parse_args(arguments)
    measured = measure(options.rows, options.buys)
    if options.json:
        print(json.dumps([asdict(one) for one in measured]))
    else:
        for one in measured:
            print(f"{one.bytes_per_buy:>8,.0f} bytes of WAL a buy: {one.orders}, {one.buys} buys, {one.rows:,} rows")
    return 0


def measure(rows: int, buys: int) -> list[Wal]:
    """The bytes per buy, of orders without a hash and with one."""
    with durable_server() as server, server.new_database() as url, Database(url) as db:
        with db.transaction() as tx:
            owners = [new_owner(tx) for _ in range(_AGENTS)]  # type: ignore[arg-type]  # it has the same repositories
        buyers = owners[0], owners[1]
        for buyer in buyers:
            db.trades.deposit(buyer.deposit("1000000", SOL_MINT))
        with psycopg.connect(url, autocommit=True) as connection:
            # Only the checkpoints that are asked for, and no vacuum in between: both would write as well.
            for setting in ("autovacuum = off", "checkpoint_timeout = '1d'", "max_wal_size = '64GB'"):
                connection.execute(f"ALTER SYSTEM SET {setting}".encode())
            connection.execute("SELECT pg_reload_conf()")
            _fill(connection, rows)
            _of_kind(db, connection, buyers[0], 20, hashed=True)  # connects, prepares, and reads the catalog
            return [
                Wal(
                    "with a hash" if hashed else "without a hash",
                    rows,
                    buys,
                    _of_kind(db, connection, buyer, buys, hashed=hashed) / buys,
                )
                for buyer, hashed in zip(buyers, (False, True), strict=True)
            ]


def _fill(connection: psycopg.Connection[Any], rows: int) -> None:
    """All rows; requests too, with the columns that this checkout's table has."""
    id_version = buy_order(Owner(uuid4(), uuid4(), "W"), "T", hashed=False).request_id.version
    id_ = _V7.format(rows=rows) if id_version == 7 else "gen_random_uuid()"
    figures = {"rows": rows, "agents": _AGENTS, "positions": min(_POSITIONS, rows), "sol": SOL_MINT, "id": id_}
    connection.execute("SET session_replication_role = replica")  # the references are right: no need to look
    for statement in (*_FILL, _requests(connection)):
        connection.execute(statement.format(**figures).encode())
    connection.execute("RESET session_replication_role")
    connection.execute("VACUUM (ANALYZE)")


def _requests(connection: psycopg.Connection[Any]) -> str:
    """Of each column that must have a value, the value of a buy."""
    values = {
        "id": "id",
        "agent_id": "agent_id",
        "wallet_address": "wallet_address",
        "operation": "'buy'",
        "content_digest": "sha256(id::text::bytea)",
        "version": "1",
        "result": """'{{"balances": [{{"balance": 1}}, {{"balance": 2}}]}}'""",
    }
    needed = {
        str(name)
        for (name,) in connection.execute(
            """
            SELECT attname
            FROM pg_attribute
            WHERE attrelid = 'trade_requests'::regclass AND attnum > 0 AND attnotnull AND NOT atthasdef
            """
        )
    }
    if unknown := needed - values.keys():
        raise RuntimeError(f"trade_requests has columns that this command cannot fill: {', '.join(sorted(unknown))}")
    columns = sorted(needed)
    return (
        f"INSERT INTO trade_requests ({', '.join(columns)})"
        f" SELECT {', '.join(values[name] for name in columns)} FROM ids ORDER BY n"
    )


def _of_kind(db: Database, connection: psycopg.Connection[Any], owner: Owner, buys: int, *, hashed: bool) -> int:
    """The bytes of WAL that so many buys write after a checkpoint."""
    orders = [buy_order(owner, f"T{uuid4().hex}", hashed=hashed) for _ in range(buys)]
    connection.execute("CHECKPOINT")
    before = _position(connection)
    for order in orders:
        db.trades.buy(order)
    return _position(connection) - before


def _position(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute("SELECT (pg_current_wal_lsn() - '0/0')::bigint").fetchone()
    assert row is not None
    return int(row[0])


if __name__ == "__main__":
    sys.exit(main())
