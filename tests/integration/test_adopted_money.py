"""A database full of money computed with doubles is adopted: every value survives, every position can be closed, and
every figure is what an oracle computes from the transactions with exact decimals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import psycopg
import pytest
from psycopg.rows import dict_row
from typer.testing import CliRunner

from nexgent_db import Database
from nexgent_db.cli.app import app
from nexgent_db.migrations import Migrator
from nexgent_db.models import SOL_MINT, SellOrder
from nexgent_db.testing.databases import Databases
from tests.support.builders.public_system import fill_as_public_system
from tests.support.oracles.state import broken_rules
from tests.support.servers.prisma import Rows, content, make_as_prisma_does

AGENTS: Final = 25
POSITIONS: Final = 40
DUST: Final = Decimal("1e-15")
"""The relative error that doubles may leave in a position after some trades."""


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
        "agent_historical_swaps",
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
    with Database(adopted.url) as db, psycopg.connect(adopted.url) as conn:
        for wallet_address, agent_id in conn.execute("SELECT wallet_address, agent_id FROM agent_wallets").fetchall():
            row = conn.execute(
                "SELECT (SELECT sum(profit_loss_sol) FROM agent_historical_swaps WHERE wallet_address = %(wallet)s)"
                " + (SELECT sum(realized_profit_sol) FROM agent_positions WHERE wallet_address = %(wallet)s)",
                {"wallet": wallet_address},
            ).fetchone()
            assert row is not None
            assert db.performance.summarise(agent_id, wallet_address).realized_profit_sol == row[0]


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
