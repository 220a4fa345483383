"""A database full of money computed with doubles is adopted: every value survives, every position can be closed, and
every figure is what an oracle computes from the transactions with exact decimals.

Not computed anew, because nothing else in such a database determines it: the profit in USD, the change in percent and
the prices of a closed trade; balances in snapshots. These are compared with what was stored.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row
from typer.testing import CliRunner

from nexgent_db import Database
from nexgent_db.cli.app import app
from nexgent_db.migrations import Migrator
from nexgent_db.models import SOL_MINT, Performance, SellOrder
from nexgent_db.testing.databases import Databases
from tests.support.builders.public_system import fill_as_public_system
from tests.support.oracles.state import broken_rules
from tests.support.servers.prisma import Rows, content, make_as_prisma_does

AGENTS: Final = 25
POSITIONS: Final = 40
CENT: Final = Decimal("1e-8")
"""The last decimal that the public system kept of what a position had cost."""


@dataclass(frozen=True)
class Adopted:
    """The database, and what it held before the adoption."""

    url: str
    before: dict[str, Rows]


@pytest.fixture(scope="module")
def adopted(nexgent_databases: Databases, server_url: str) -> Iterator[Adopted]:
    with nexgent_databases.empty() as url:
        make_as_prisma_does(url, 18)
        fill_as_public_system(url, agents=AGENTS, positions_of_each=POSITIONS)
        before = content(url)
        result = CliRunner().invoke(app, ["adopt", "--database-url", url, "--scratch", server_url])
        assert result.exit_code == 0, result.output
        Migrator(url).migrate()
        yield Adopted(url, before)


@contextmanager
def rows_of(url: str, query: str) -> Iterator[list[dict[str, Any]]]:
    with psycopg.connect(url, row_factory=dict_row, options="-c timezone=UTC") as conn:
        yield conn.execute(query.encode()).fetchall()


def test_every_value_survives(adopted: Adopted) -> None:
    after = content(adopted.url)
    compared = 0
    for table in (
        *("users", "agents", "agent_wallets", "agent_balances", "agent_positions", "agent_transactions"),
        *("agent_historical_swaps", "agent_balance_snapshots", "trading_signals", "signal_executions"),
    ):
        key = "wallet_address" if table == "agent_wallets" else "id"
        now = {row[key]: row for row in after[table]}
        assert len(now) == len(adopted.before[table]) > 0
        for row in adopted.before[table]:
            for name, value in row.items():
                expected = value
                if table == "agent_positions" and name == "remaining_amount" and value is None:
                    expected = row["purchase_amount"]
                if name == "dca_transaction_ids" and value is None:
                    expected = "{}"
                assert is_same(expected, now[row[key]][name]), (table, name, value, now[row[key]][name])
                compared += 1
    assert compared > 50_000


def is_same(before: str | None, after: str | None) -> bool:
    if before == after or before is None or after is None:
        return before == after
    try:
        return Decimal(before) == Decimal(after)
    except ArithmeticError:
        return False


def test_proceeds_and_profits_equal_those_of_transactions(adopted: Adopted) -> None:
    with psycopg.connect(adopted.url, row_factory=dict_row) as conn:
        transactions = {row["id"]: row for row in conn.execute("SELECT * FROM agent_transactions")}
        positions = conn.execute("SELECT * FROM agent_positions").fetchall()
        swaps = conn.execute("SELECT * FROM agent_historical_swaps").fetchall()
    sold_before_dca = 0
    for position in positions:
        sales = [transactions[id] for id in position["take_profit_transaction_ids"]]
        buys = [transactions[id] for id in (position["purchase_transaction_id"], *position["dca_transaction_ids"])]
        assert position["proceeds_sol"] == sum(map(received, sales))
        assert_profits(position["realized_profit_sol"], sales, buys)
        invested, price = position["total_invested_sol"], position["purchase_price"]
        assert abs(invested - sum(buy["input_amount"] for buy in buys)) <= len(buys) * CENT
        assert abs(price * position["purchase_amount"] - invested) <= 10 * CENT
        sold_before_dca += any(s["transaction_time"] < b["transaction_time"] for s in sales for b in buys)
    of_token = defaultdict[tuple[str, str], list[dict[str, Any]]](list)
    for each in transactions.values():
        if each["transaction_type"] == "SWAP":
            token = each["output_mint"] if each["input_mint"] == SOL_MINT else each["input_mint"]
            of_token[each["wallet_address"], token].append(each)
    for swap in swaps:
        legs = of_token[swap["wallet_address"], swap["token_address"]]
        sales = [each for each in legs if each["output_mint"] == SOL_MINT]
        assert_profits(swap["profit_loss_sol"], sales, [each for each in legs if each["input_mint"] == SOL_MINT])
    assert min(len(positions), len(swaps), sold_before_dca) > 100


def received(sale: dict[str, Any]) -> Decimal:
    return sale["output_amount"] - (sale["network_fee_sol"] or 0)  # type: ignore[no-any-return]


def assert_profits(figure: Decimal, sales: list[dict[str, Any]], buys: list[dict[str, Any]]) -> None:
    """The sales' profits add up to the figure, and each but the last is what it received less its cost basis then."""
    sales = sorted(sales, key=lambda sale: sale["transaction_time"])
    assert sum((sale["realized_profit_sol"] for sale in sales), Decimal(0)) == figure
    for sale in sales[:-1]:
        until_then = [buy for buy in buys if buy["transaction_time"] < sale["transaction_time"]]
        invested, bought = (sum(buy[name] for buy in until_then) for name in ("input_amount", "output_amount"))
        profit = received(sale) - sale["input_amount"] * invested / bought
        assert abs(sale["realized_profit_sol"] - profit) <= Decimal("1e-17")


def test_summaries_equal_positions_and_swaps(adopted: Adopted) -> None:
    """Every field, of all time and of two halves of it, computed from the rows before the adoption.

    Computed anew: sums, counts, rates and averages of closed trades, and the cost basis of positions, from what they
    had cost and what their sales received. Taken as it is: the profit in USD and the change of one closed trade, and
    what a position had cost, which nothing else in the database determines; the realised profit of one sale, which
    test_proceeds_and_profits_equal_those_of_transactions computes anew.
    """
    with psycopg.connect(adopted.url) as conn:
        query = "SELECT id::text, realized_profit_sol FROM agent_transactions WHERE realized_profit_sol IS NOT NULL"
        realized: dict[str, Decimal] = dict(conn.execute(query).fetchall())
    sales = {row["id"]: row for row in adopted.before["agent_transactions"] if row["id"] in realized}
    fields = Counter[str]()
    with Database(adopted.url) as db:
        for wallet in adopted.before["agent_wallets"]:
            address, agent_id = str(wallet["wallet_address"]), UUID(wallet["agent_id"])
            positions = [row for row in adopted.before["agent_positions"] if row["wallet_address"] == address]
            swaps = [row for row in adopted.before["agent_historical_swaps"] if row["wallet_address"] == address]
            of_wallet = [row for row in sales.values() if row["wallet_address"] == address]
            middle = sorted(at(swap, "sale_time") for swap in swaps)[len(swaps) // 2]
            for since, until in ((None, None), (None, middle), (middle, None)):
                closed = [row for row in swaps if is_within(at(row, "sale_time"), since, until)]
                sold = [row for row in of_wallet if is_within(at(row, "transaction_time"), since, until)]
                won = sum(number(row, "profit_loss_sol") > 0 for row in closed)
                expected = Performance(
                    realized_profit_sol=total(realized[str(row["id"])] for row in sold),
                    realized_profit_usd=total(number(row, "profit_loss_usd") for row in closed),
                    closed_trades=len(closed),
                    won_trades=won,
                    win_rate_percent=mean([Decimal(100)] * won, len(closed)),
                    average_return_percent=mean([number(row, "change_percent") for row in closed], len(closed)),
                    open_positions=len(positions),
                    cost_basis_sol=total(cost_basis(row, sales, realized) for row in positions),
                )
                assert db.performance.summarise(agent_id, address, since, until) == expected
                fields.update(name for name, value in expected.model_dump().items() if value)
    assert all(fields[name] > AGENTS for name in Performance.model_fields), fields


def at(row: dict[str, str | None], column: str) -> datetime:
    return datetime.fromisoformat(str(row[column]))


def is_within(time: datetime, since: datetime | None, until: datetime | None) -> bool:
    return (since is None or time >= since) and (until is None or time < until)


def number(row: dict[str, str | None], column: str) -> Decimal:
    return Decimal(row[column] or 0)


def total(numbers: Iterable[Decimal]) -> Decimal:
    return sum(numbers, Decimal(0))


def mean(numbers: Sequence[Decimal], count: int) -> Decimal:
    return (total(numbers) / count).quantize(Decimal("0.0001"), ROUND_HALF_UP)


def cost_basis(
    position: dict[str, str | None], sales: dict[str, dict[str, str | None]], realized: dict[str, Decimal]
) -> Decimal:
    """What it had cost, less what its sales received, and with what they realised."""
    ids = [each for each in str(position["take_profit_transaction_ids"]).strip("{}").split(",") if each]
    proceeds = total(number(sales[each], "output_amount") - number(sales[each], "network_fee_sol") for each in ids)
    return number(position, "total_invested_sol") - proceeds + total(realized[each] for each in ids)


def test_checks_tell_recorded_deviations_from_new_ones(adopted: Adopted) -> None:
    with psycopg.connect(adopted.url) as conn:
        query = "SELECT figure, count(*) FROM adopted_deviations GROUP BY figure"
        recorded: dict[str, int] = dict(conn.execute(query).fetchall())
        assert recorded["balance"] > 50
        assert recorded["remaining_amount"] > 10
        assert broken_rules(adopted.url) == {}
        assert check_ledger(adopted.url) == 0
        for table, figure, rule in (
            ("agent_balances", "balance", "balances_equal_their_ledger"),
            ("agent_positions", "remaining_amount", "positions_equal_their_transactions"),
        ):
            one = f"(SELECT min(id::text)::uuid FROM {table} WHERE {figure} > 1)"
            for change in ("-", "+"):
                conn.execute(f"UPDATE {table} SET {figure} = {figure} {change} 1e-18 WHERE id = {one}".encode())
                conn.commit()
                assert {rule: len(rows) for rule, rows in broken_rules(adopted.url).items()} == (
                    {rule: 1} if change == "-" else {}
                )
                assert check_ledger(adopted.url) == (change == "-" and figure == "balance")


def check_ledger(url: str) -> int:
    return CliRunner().invoke(app, ["ledger", "check", "--database-url", url]).exit_code


def test_every_position_can_be_closed_with_exact_figures(adopted: Adopted) -> None:
    off = 0
    with Database(adopted.url) as db:
        positions = db.positions.list_open()
        assert len(positions) > 400
        for position in positions:
            balance = db.balances.find_by_wallet_and_token(position.wallet_address, position.token_address)
            assert balance is not None
            off += balance.balance != position.remaining_amount
            sold = db.trades.sell(SellOrder.of(position, sol_amount="1.5", up_to_dust=True))
            assert sold.swap is not None
            assert sold.swap.profit_loss_sol == position.proceeds_sol + Decimal("1.5") - position.total_invested_sol
            left = {each.token_address: each.balance for each in sold.balances}
            assert left[position.token_address] == 0
        assert db.positions.list_open() == []
    assert broken_rules(adopted.url) == {}
    assert off > 50
