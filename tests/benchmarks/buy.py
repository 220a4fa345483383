"""``python -m tests.benchmarks.buy``: what a buy costs the server, and what of it each part of the schema takes.

The figures are the processor time of the server's process and of the client for each buy, without the wait for the
disk, so they can be compared on a machine that has other work as well. Variants take turns; each has a database of its
own. Ours are prepared calls over a bare connection; by hand, it is the race's transaction of eight statements.
"""

from __future__ import annotations

import argparse
import random
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final

import psycopg

from nexgent_db import Database
from tests.benchmarks.race.arena import REQUESTS, Market, Scale, buy_order, sell_order
from tests.benchmarks.race.drivers import psycopg_steps
from tests.benchmarks.race.texts import of_trade
from tests.benchmarks.server import durable_server

_TABLES: Final = ["agent_transactions", "agent_positions", "agent_balances", "trade_requests", "cache_outbox"]
_DROP: Final = """
DO $$
DECLARE dropped record;
BEGIN
    FOR dropped IN {found} LOOP
        EXECUTE dropped.statement;
    END LOOP;
END
$$
"""
_CONSTRAINTS: Final = """
SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', c.conrelid::regclass, c.conname) AS statement
FROM pg_constraint AS c WHERE c.contype = '{kind}' AND c.conrelid::regclass::text IN ({tables})
"""
_TRIGGERS: Final = """
SELECT format('DROP TRIGGER %I ON %s', t.tgname, t.tgrelid::regclass) AS statement
FROM pg_trigger AS t WHERE NOT t.tgisinternal AND t.tgrelid::regclass::text IN ({tables})
"""
_AT_ONCE: Final = """
DO $$
DECLARE head text;
BEGIN
    SELECT substring(pg_get_functiondef(p.oid) FROM '^(.*)AS \\$function\\$') INTO head
    FROM pg_proc AS p WHERE p.proname = 'trade_buy_v1';
    EXECUTE head || 'AS ''DECLARE t trade_result_v1; BEGIN t.outcome := ''''made''''; RETURN t; END''';
END
$$
"""


def _dropped(found: str, **kind: str) -> str:
    tables = ", ".join(f"'{table}'" for table in _TABLES)
    return _DROP.format(found=found.format(tables=tables, **kind))


VARIANTS: Final = {
    "as it is": "",
    "in a transaction of all": "",
    "without CHECK constraints": _dropped(_CONSTRAINTS, kind="c"),
    "without foreign keys": _dropped(_CONSTRAINTS, kind="f"),
    "without triggers": _dropped(_TRIGGERS),
    "a function that returns at once": _AT_ONCE,
    "eight statements by hand": REQUESTS,
}


def main() -> None:
    """Print the median of each variant, and its share of the first."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.buy", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="rounds of which the median counts (default: 9)")
    parser.add_argument("--buys", type=int, default=200, help="buys in each turn (default: 200)")
    options = parser.parse_args()
    server_us: dict[str, list[float]] = {name: [] for name in VARIANTS}
    client_us: dict[str, list[float]] = {name: [] for name in VARIANTS}
    with durable_server() as server, ExitStack() as around:
        markets = {}
        for name, change in VARIANTS.items():
            url = around.enter_context(server.new_database())
            market = Market(url, around.enter_context(Database(url)), Scale())
            market.sales(sell_order, 300)()
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("ANALYZE")
                if change:
                    connection.execute(change.encode())
            markets[name] = market
        for _ in range(options.rounds):
            for name in random.sample(list(markets), len(markets)):
                of_server, of_client = _turn(markets[name], options.buys, name)
                server_us[name].append(of_server)
                client_us[name].append(of_client)
    whole = median(server_us["as it is"])
    for name, costs in server_us.items():
        print(
            f"{name:33}server {median(costs):6.0f} us  {median(costs) / whole:5.2f}"
            f"   client {median(client_us[name]):6.0f} us"
        )


def _turn(market: Market, buys: int, variant: str) -> tuple[float, float]:
    """The processor time of a buy in microseconds: the server's and the client's. The first 20 do not count."""
    owner = market.owner()
    orders = [buy_order(owner, f"T{number}") for number in range(buys + 20)]
    calls = [of_trade(lambda trades, order=order: trades.buy(order)) for order in orders]  # type: ignore[misc]
    with psycopg.connect(market.url, autocommit=True) as connection:
        connection.prepare_threshold = 0
        cursor = psycopg.RawCursor(connection)

        def send(start: int, end: int) -> None:
            if variant == "eight statements by hand":
                for order in orders[start:end]:
                    with connection.transaction():
                        psycopg_steps(connection, order)
            else:
                for text, values in calls[start:end]:
                    cursor.execute(text.encode(), values)

        send(0, 20)
        if variant == "in a transaction of all":
            connection.execute("BEGIN")
        server_ns, client_ns = _processor_ns(connection.info.backend_pid), time.thread_time_ns()
        send(20, buys + 20)
        client_ns = time.thread_time_ns() - client_ns
        return (_processor_ns(connection.info.backend_pid) - server_ns) / buys / 1000, client_ns / buys / 1000


def _processor_ns(pid: int) -> int:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


if __name__ == "__main__":
    main()
