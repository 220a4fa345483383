"""Fills a database of the legacy migrations as the public system traded: with doubles, and columns that round.

Only its rules and its arithmetic matter here. A service read a number from the database into a double, computed, and
wrote the shortest text of the result, which the column then rounded; balances were stored as that text.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import psycopg

from nexgent_db.models import SOL_MINT

_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_SNAPSHOTS: Final = 48


def fill_as_public_system(url: str, *, agents: int, positions_of_each: int, seed: int = 1) -> None:
    """Users with agents, wallets and their trades: some positions closed, the others open, partly sold or enlarged.

    And a withdrawal, a burn, hourly snapshots, and signals with what became of them. Prices in USD are made up.
    """
    chance = random.Random(seed)
    with psycopg.connect(url) as conn:
        for number in range(agents):
            trader = _Trader(chance, number)
            for token in range(positions_of_each):
                trader.live_through(f"Token{number}x{token}")
            trader.do_the_rest(f"Gift{number}")
            trader.store(conn)


def double(value: float) -> str:
    """The shortest text of a double, as JavaScript writes it: an exponent below 1e-6 and from 1e21 on."""
    text = repr(value)
    if "e" not in text:
        return text.removesuffix(".0")
    if 1e-6 <= abs(value) < 1e21:
        return f"{Decimal(text):f}"
    digits, exponent = text.split("e")
    return f"{digits.removesuffix('.0')}e{int(exponent):+d}"


def column(value: float, decimals: int) -> float:
    """What a service reads back from a column of so many decimals."""
    return float(f"{Decimal(double(value)):.{decimals}f}")


@dataclass
class _Position:
    token: str
    purchase: UUID
    price: float
    amount: float
    invested: float
    bought_at: datetime
    remaining: float | None = None
    realized: float = 0.0
    received: float = 0.0
    dca: list[UUID] = field(default_factory=list)
    sales: list[UUID] = field(default_factory=list)


class _Trader:
    """One user with an agent and a wallet."""

    def __init__(self, chance: random.Random, number: int) -> None:
        self._chance = chance
        self._now = _START + timedelta(days=number)
        self.user_id, self.agent_id, self.wallet = self._id(), self._id(), f"Wallet{number}"
        self._balances: dict[str, float] = {SOL_MINT: 0.0}
        self._open: list[_Position] = []
        self._rows: list[tuple[str, dict[str, Any]]] = []
        self._transaction("DEPOSIT", (SOL_MINT, 1000.0), None, fee=None)
        self._balances[SOL_MINT] += 1000.0

    def live_through(self, token: str) -> None:
        """Buy a token, then enlarge and reduce the position in any order; most are sold in the end."""
        price = 10.0 ** self._chance.uniform(-10, 0.5)
        position = self._buy(token, price)
        for _ in range(self._chance.randrange(5)):
            price *= self._chance.uniform(0.6, 1.7)
            if self._chance.random() < 0.5:
                self._enlarge(position, price)
            else:
                self._take_profit(position, price)
        if self._chance.random() < 0.4:
            self._sell(position, price * self._chance.uniform(0.3, 2))
        else:
            self._open.append(position)

    def do_the_rest(self, token: str) -> None:
        """Withdraw SOL; receive a token and burn some of it; be looked at every hour; be given signals."""
        for kind, of, amount in (
            ("WITHDRAWAL", SOL_MINT, column(self._chance.uniform(0.1, 5), 9)),
            ("DEPOSIT", token, column(self._chance.uniform(1, 1e6), 9)),
            ("BURN", token, column(self._chance.uniform(0.1, 1), 9)),
        ):
            self._transaction(kind, (of, amount), None, fee=None)
            self._credit(of, amount if kind == "DEPOSIT" else -amount)
        for hour in range(_SNAPSHOTS):
            held, invested = self._balances[SOL_MINT], sum(each.invested for each in self._open)
            worth = invested * self._chance.uniform(0.5, 2)
            self._rows.append(("agent_balance_snapshots", {
                "id": self._id(), **self._owner, "snapshot_timestamp": _START + timedelta(hours=hour),
                "portfolio_balance_sol": double(column(held + worth, 8)), "sol_balance": double(column(held, 8)),
                "positions_value_sol": double(column(worth, 8)),
                "unrealized_pnl_sol": double(column(worth - invested, 8)), "updated_at": self._now,
            }))  # fmt: skip
        for status in ("EXECUTED", "FAILED", "SKIPPED", "PENDING"):
            signal = self._chance.getrandbits(31)
            self._rows.append(("trading_signals", {
                "id": signal, "token_address": token, "symbol": token, "signal_type": "BUY", "user_id": self.user_id,
                "signal_strength": self._chance.randrange(1, 6), "source": "a bot", "updated_at": self._now,
            }))  # fmt: skip
            self._rows.append(("signal_executions", {
                "id": self._id(), "signal_id": signal, "agent_id": self.agent_id, "status": status,
                "error": "no route" if status == "FAILED" else None, "executed_at": self._now,
            }))  # fmt: skip

    def store(self, conn: psycopg.Connection[Any]) -> None:
        """Insert all rows."""
        _insert(conn, "users", {"id": self.user_id, "email": f"{self.wallet}@example.org"})
        _insert(conn, "agents", {
            "id": self.agent_id, "user_id": self.user_id, "name": self.wallet, "updated_at": self._now,
        })  # fmt: skip
        _insert(conn, "agent_wallets", {
            "wallet_address": self.wallet, "agent_id": self.agent_id, "wallet_type": "simulation",
            "updated_at": self._now,
        })  # fmt: skip
        for token, balance in self._balances.items():
            _insert(conn, "agent_balances", {
                "id": self._id(), **self._owner, "token_address": token, "token_symbol": token[:20],
                "balance": double(balance), "last_updated": self._now,
            })  # fmt: skip
        for table, row in self._rows:
            _insert(conn, table, row)
        for each in self._open:
            _insert(conn, "agent_positions", {
                "id": self._id(), **self._owner, "token_address": each.token, "token_symbol": each.token[:20],
                "purchase_transaction_id": each.purchase, "purchase_price": double(each.price),
                "purchase_amount": double(each.amount), "total_invested_sol": double(each.invested),
                "remaining_amount": None if each.remaining is None else double(each.remaining),
                "realized_profit_sol": double(each.realized), "dca_count": len(each.dca),
                "dca_transaction_ids": [str(id) for id in each.dca] or None,
                "take_profit_levels_hit": len(each.sales),
                "take_profit_transaction_ids": [str(id) for id in each.sales],
                "created_at": each.bought_at, "updated_at": self._now,
            })  # fmt: skip

    # --- Trades -----------------------------------------------------------------------------------

    def _buy(self, token: str, price: float) -> _Position:
        sol = column(self._chance.uniform(0.1, 2), 9)
        amount = column(sol / price, 18)
        purchase = self._swap((SOL_MINT, sol), (token, amount))
        return _Position(token, purchase, column(sol / amount, 18), amount, column(sol, 8), self._now)

    def _enlarge(self, position: _Position, price: float) -> None:
        sol = column(self._chance.uniform(0.05, 1), 9)
        amount = column(sol / price, 18)
        position.dca.append(self._swap((SOL_MINT, sol), (position.token, amount), is_dca=True))
        if position.remaining is not None:
            position.remaining = column(position.remaining + amount, 18)
        position.amount = column(position.amount + amount, 18)
        position.invested = column(position.invested + sol, 8)
        position.price = column(position.invested / position.amount, 18)

    def _take_profit(self, position: _Position, price: float) -> None:
        remaining = position.amount if position.remaining is None else position.remaining
        amount = column(remaining * self._chance.choice((0.1, 0.15, 0.25, 0.3)), 18)
        fee = self._chance.choice((None, 0.00001, 0.000105))
        received = column(amount * price, 9)
        position.sales.append(self._swap((position.token, amount), (SOL_MINT, received), fee=fee, is_take_profit=True))
        cost = amount / position.amount * position.invested
        position.realized = column(position.realized + (received - (fee or 0.0) - cost), 8)
        position.received += received - (fee or 0.0)
        position.remaining = column(remaining - amount, 18)

    def _sell(self, position: _Position, price: float) -> None:
        amount = self._balances[position.token]
        received = column(amount * price, 9)
        sale = self._swap((position.token, amount), (SOL_MINT, received))
        profit = position.received + received - position.invested
        self._rows.append(("agent_historical_swaps", {
            "id": self._id(), **self._owner, "token_address": position.token, "token_symbol": position.token[:20],
            "amount": double(position.amount), "purchase_price": double(position.price), "sale_price": double(price),
            "change_percent": double(column((price / position.price - 1) * 100, 4)),
            "profit_loss_usd": double(column(profit * self._chance.uniform(80, 250), 8)),
            "profit_loss_sol": double(column(profit, 8)),
            "purchase_time": position.bought_at, "sale_time": self._now,
            "purchase_transaction_id": position.purchase, "sale_transaction_id": sale, "close_reason": "manual",
        }))  # fmt: skip

    def _swap(
        self, given: tuple[str, float], got: tuple[str, float], *, fee: float | None = None, **flags: bool
    ) -> UUID:
        self._credit(given[0], -given[1])
        self._credit(got[0], got[1])
        self._credit(SOL_MINT, -(fee or 0.0))
        return self._transaction("SWAP", given, got, fee=fee, **flags)

    def _credit(self, token: str, amount: float) -> None:
        """Some services added doubles, others the decimals that they are written as: balances and positions part."""
        balance = self._balances.get(token, 0.0)
        exact = float(Decimal(double(balance)) + Decimal(double(amount)))
        self._balances[token] = max(0.0, self._chance.choice((balance + amount, exact)))

    def _transaction(
        self, kind: str, given: tuple[str, float], got: tuple[str, float] | None, *, fee: float | None, **flags: bool
    ) -> UUID:
        self._now += timedelta(minutes=self._chance.randrange(1, 90))
        new = self._id()
        sides = {"input": given} | ({} if got is None else {"output": got})
        named = {
            f"{side}_{name}": value
            for side, (token, amount) in sides.items()
            for name, value in (("mint", token), ("symbol", token[:20]), ("amount", double(amount)))
        }
        self._rows.append(("agent_transactions", {
            "id": new, **self._owner, "transaction_type": kind, "transaction_value_usd": 0,
            "transaction_time": self._now, "updated_at": self._now, **named, **flags,
            "network_fee_sol": None if fee is None else double(fee),
        }))  # fmt: skip
        return new

    @property
    def _owner(self) -> dict[str, Any]:
        return {"agent_id": self.agent_id, "wallet_address": self.wallet}

    def _id(self) -> UUID:
        return UUID(int=self._chance.getrandbits(128), version=4)


def _insert(conn: psycopg.Connection[Any], table: str, row: dict[str, Any]) -> None:
    places = ", ".join(["%s"] * len(row))
    conn.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})".encode(), list(row.values()))
