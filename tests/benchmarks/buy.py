"""``python -m tests.benchmarks.buy``: what a buy costs the server, and what of it each part of the schema takes.

The figure is the processor time of the server's process for each buy, without the wait for the disk, so it can be
compared on a machine that has other work as well. Variants take turns; each has a database of its own.
"""

from __future__ import annotations

import argparse
import random
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final

import psycopg

from nexgent_db import Database
from tests.benchmarks.race.arena import Market, Scale, buy_order, sell_order
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
}


def main() -> None:
    """Print the median of each variant, and its share of the first."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.buy", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="rounds of which the median counts (default: 9)")
    parser.add_argument("--buys", type=int, default=200, help="buys in each turn (default: 200)")
    options = parser.parse_args()
    costs_us: dict[str, list[float]] = {name: [] for name in VARIANTS}
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
                costs_us[name].append(_turn(markets[name], options.buys, together=name == "in a transaction of all"))
    whole = median(costs_us["as it is"])
    for name, costs in costs_us.items():
        print(f"{name:33}{median(costs):6.0f} us  {median(costs) / whole:5.2f}")


def _turn(market: Market, buys: int, *, together: bool) -> float:
    """The processor time of each buy, after 20 that are not counted, in microseconds."""
    owner = market.owner()
    orders = [buy_order(owner, f"T{number}") for number in range(buys + 20)]
    calls = [of_trade(lambda trades, order=order: trades.buy(order)) for order in orders]  # type: ignore[misc]
    with psycopg.connect(market.url, autocommit=True) as connection:
        connection.prepare_threshold = 0
        cursor = psycopg.RawCursor(connection)
        for text, values in calls[:20]:
            cursor.execute(text.encode(), values)
        if together:
            connection.execute("BEGIN")
        before = _processor_ns(connection.info.backend_pid)
        for text, values in calls[20:]:
            cursor.execute(text.encode(), values)
        return (_processor_ns(connection.info.backend_pid) - before) / buys / 1000


def _processor_ns(pid: int) -> int:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


if __name__ == "__main__":
    main()
