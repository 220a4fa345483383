"""One buy beside pgbench running its statement: the same text and parameter types, as real trades."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final
from uuid import uuid4

import psycopg
from psycopg import RawCursor
from psycopg.types.json import Jsonb

from nexgent_db import Database
from nexgent_db.binding import Call
from nexgent_db.embedded import EmbeddedServerError, postgres_bin_dir
from nexgent_db.models import SOL_MINT, BuyOrder
from nexgent_db.outcomes import content_digest
from nexgent_db.sync.trades import _Statements
from tests.benchmarks.result import Result
from tests.integration.sync.factories import Owner, new_owner

_ROUNDS: Final = 5
_BUYS: Final = 1500
"""To a round. Each begins with a new connection, for all alike: pgbench has no other way."""

# pgbench cannot make an id: another statement does, and is not timed. In its values stand what no two trades share.
_FRESH: Final = """\
SELECT
    gen_random_uuid() AS request_id,
    'T' || translate(gen_random_uuid()::text, '-', '') AS token_address,
    repeat(translate(gen_random_uuid()::text, '-', ''), 2) AS transaction_hash,
    '\\x' || repeat(translate(gen_random_uuid()::text, '-', ''), 2) AS content_digest
\\gset
"""


def run(url: str) -> Iterator[Result]:
    """Buys a second of orders that lie ready: ours, result included; pgbench's; a bare psycopg loop's."""
    with Database(url) as db:
        owners = [_funded(db) for _ in range(3)]
    pgbench = _pgbench()
    rates: dict[str, list[float]] = {"ours": [], "pgbench": [], "psycopg": []}
    with TemporaryDirectory() as directory:
        script = Path(directory) / "buy.sql"
        script.write_text(_script(url, owners[0]))
        for _ in range(_ROUNDS):
            _analyze(url)
            rates["ours"].append(_ours(url, owners[0]))
            rates["psycopg"].append(_bare(url, owners[1]))
            if pgbench is not None:
                rates["pgbench"].append(_by_pgbench(pgbench, url, script, owners[2]))
    ours, psycopg_ = median(rates["ours"]), median(rates["psycopg"])
    if pgbench is None:
        yield Result(
            name="buy, beside psycopg", ours=ours, unit="/s", baseline=psycopg_, at_least=0.8, note="no pgbench here"
        )
    else:
        baseline = median(rates["pgbench"])
        yield Result(name="buy, beside pgbench", ours=ours, unit="/s", baseline=baseline, at_least=0.8)
        yield Result(name="buy, beside psycopg", ours=ours, unit="/s", baseline=psycopg_)


def _funded(db: Database) -> Owner:
    owner = new_owner(db)
    db.trades.deposit(owner.deposit("1000000", SOL_MINT))
    return owner


def _analyze(url: str) -> None:
    """Statistics, as a database that is in use has them."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ANALYZE")


def _order(owner: Owner) -> BuyOrder:
    """A buy that says all there is to say, a signal aside."""
    token = f"T{uuid4().hex}"
    return owner.buy(
        "0.1234",
        "1234567.654321",
        token,
        request_id=uuid4(),
        transaction_time=datetime.now(UTC),
        transaction_value_usd="17.25",
        transaction_hash=uuid4().hex * 2,
        transaction_leg=0,
        protocol_fee_sol="0.0001",
        network_fee_sol="0.000005",
        slippage="0.5",
        price_impact="0.01",
        routes=[{"label": "Raydium", "percent": 100}],
        swap_payload={"inAmount": "123400000", "outAmount": "1234567654321", "mode": "ExactIn"},
        stop_loss_percentage="30",
        take_profit_levels=4,
    )


def _call(owner: Owner) -> Call:
    order = _order(owner)
    return _Statements.queries["buy"].call((order, content_digest(order)), {})


def _ours(url: str, owner: Owner) -> float:
    orders = [_order(owner) for _ in range(_BUYS)]
    with Database(url) as db:
        started = time.perf_counter()
        for order in orders:
            db.trades.buy(order)
        return _BUYS / (time.perf_counter() - started)


def _bare(url: str, owner: Owner) -> float:
    calls = [_call(owner) for _ in range(_BUYS)]
    with psycopg.connect(url, autocommit=True) as connection:
        started = time.perf_counter()
        for call in calls:
            RawCursor(connection).execute(call.text, call.values, prepare=True).fetchone()
        return _BUYS / (time.perf_counter() - started)


# --- pgbench ------------------------------------------------------------------------------------


def _pgbench() -> Path | None:
    try:
        program = postgres_bin_dir() / "pgbench"
    except EmbeddedServerError:
        return None
    return program if program.is_file() else None


def _script(url: str, owner: Owner) -> str:
    """The statement as the repository sends it, its ``$n`` as variables of the types that the server gave them."""
    call = _call(owner)
    names = _names()
    with psycopg.connect(url, autocommit=True) as connection:
        RawCursor(connection).execute(call.text, call.values, prepare=True)
        found = connection.execute("SELECT parameter_types::text[] FROM pg_prepared_statements").fetchone()
    assert found is not None
    (types,) = found

    def variable(place: re.Match[str]) -> str:
        number = int(place[1]) - 1
        if call.values[number] is None:  # pgbench has no variable for it
            return f"NULL::{types[number]}"
        return f":{names[number]}::{types[number]}"

    statement = re.sub(r"\$(\d+)", variable, call.text.decode())
    return f"{_FRESH}{statement};\n"


def _names() -> list[str]:
    """The parameters of the statement, in the order of ``$n``."""
    query = _Statements.queries["buy"].query
    return list(query.statement(frozenset(query.parameters)).parameters)


def _by_pgbench(program: Path, url: str, script: Path, owner: Owner) -> float:
    variables: list[str] = []
    for name, value in zip(_names(), _call(owner).values, strict=True):
        variables += ["-D", f"{name}={_text(value)}"]
    done = subprocess.run(
        [program, "-n", "-r", "-M", "prepared", "-c", "1", "-t", str(_BUYS), *variables, "-f", script, url],
        capture_output=True,
        text=True,
        check=False,
    )
    latency = re.search(r"^\s+([\d.]+)\s+0\s+WITH agent", done.stdout, re.MULTILINE)
    if done.returncode or latency is None or f"processed: {_BUYS}/{_BUYS}" not in done.stdout:
        raise RuntimeError(f"pgbench failed: {done.stderr}\n{done.stdout}")
    return 1000 / float(latency[1])


def _text(value: Any) -> str:
    if isinstance(value, Jsonb):
        return json.dumps(value.obj)
    return f"\\x{value.hex()}" if isinstance(value, bytes) else str(value)
