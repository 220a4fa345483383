"""pgbench with the statement of a trade: what the server and a client written in C take for it.

The statement and its values come from the repository's own call of each order, so they are right whatever it sends.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import psycopg
from psycopg import RawCursor
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

from nexgent_db.embedded import EmbeddedServerError, postgres_bin_dir
from nexgent_db.sync.repositories.trades import Trades
from tests.benchmarks.race.by_hand import Order
from tests.benchmarks.race.contest import Contender, Items, Turn
from tests.benchmarks.race.texts import of_trade

# pgbench cannot make an id: another statement does, and is not timed. Its columns are what no two trades share.
_FRESH: Final = """\
\\set number :number + 1
SELECT
    gen_random_uuid() AS request_id,
    'T' || :number AS token_address,
    repeat(translate(gen_random_uuid()::text, '-', ''), 2) AS transaction_hash,
    '\\x' || repeat(translate(gen_random_uuid()::text, '-', ''), 2) AS content_digest
\\gset
"""


def program() -> Path | None:
    """The embedded server's pgbench, else that on PATH; None when there is none."""
    try:
        found = postgres_bin_dir() / "pgbench"
    except EmbeddedServerError:
        found = Path("pgbench")
    if found.is_file():
        return found
    on_path = shutil.which("pgbench")
    return None if on_path is None else Path(on_path)


def pgbench(executable: Path, trade: Callable[[Trades, Any], object]) -> Contender:
    """The orders' trades, one after another, in one run: of tokens that are called T0, T1, ..."""

    def turn(items: Items) -> Turn:
        order = items.timed[0]
        statement, variables = _statement(items.url, order, of_trade(lambda trades: trade(trades, order)))
        with TemporaryDirectory() as directory:
            script = Path(directory) / "trade.sql"
            script.write_text(f"{_FRESH}{statement};\n")

            count = len(items.warm) + len(items.timed)
            taken = _run(executable, items.url, script, {**variables, "number": "-1"}, count)
            return Turn(sum(taken[len(items.warm) :]))

    return turn


def _statement(url: str, order: Order, sent: tuple[str, Any]) -> tuple[str, dict[str, str]]:
    """The text with a variable of the server's type for each ``$n``, and the values of these variables."""
    text, values = sent
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(b"BEGIN")
        RawCursor(connection).execute(text.encode(), values, prepare=True)
        row = connection.execute("SELECT parameter_types::text[] FROM pg_prepared_statements").fetchone()
        connection.execute(b"ROLLBACK")
    assert row is not None
    (types,) = row
    fresh = {
        order.request_id: "request_id",
        order.token_address: "token_address",
        order.transaction_hash: "transaction_hash",
    }
    variables: dict[str, str] = {}

    def variable(place: re.Match[str]) -> str:
        number = int(place[1])
        value = values[number - 1]
        if value is None:  # pgbench has no variable for it
            return f"NULL::{types[number - 1]}"
        if isinstance(value, bytes) and len(value) == 32:
            name = "content_digest"
        elif isinstance(value, dict | list | Jsonb) or value not in fresh:
            name = f"p{number}"
            variables[name] = _literal(value)
        else:
            name = fresh[value]
        return f":{name}::{types[number - 1]}"

    return re.sub(r"\$(\d+)", variable, text), variables


def _literal(value: Any) -> str:
    if isinstance(value, Jsonb):
        return json.dumps(value.obj)
    return f"\\x{value.hex()}" if isinstance(value, bytes) else str(value)


def _run(executable: Path, url: str, script: Path, variables: dict[str, str], count: int) -> list[float]:
    """The seconds of each trade: those of its transaction, less what making its id takes on average."""
    definitions = [part for name, value in variables.items() for part in ("-D", f"{name}={value}")]
    options: list[str | Path] = [
        "-n",
        "-r",
        "-M",
        "prepared",
        "-c",
        "1",
        "-t",
        str(count),
        "-l",
        "--log-prefix",
        script.with_name("log"),
    ]
    command = [executable, *options, *definitions, "-f", script, make_conninfo(url)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    latencies_ms = re.findall(r"^\s+([\d.]+)\s+0\s+\S", done.stdout, re.MULTILINE)
    if done.returncode or len(latencies_ms) != 3 or f"processed: {count}/{count}" not in done.stdout:
        raise RuntimeError(f"pgbench failed: {done.stderr}\n{done.stdout}")
    (log,) = script.parent.glob("log.*")
    _set, fresh_ms, _trade = map(float, latencies_ms)
    return [int(line.split()[2]) / 1e6 - fresh_ms / 1e3 for line in log.read_text().splitlines()]
