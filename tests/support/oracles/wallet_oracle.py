"""The expected result of a wallet's history, computed without the package: the rules in plain, exact Python.

It stands apart from nexgent_db on purpose and shares no line with it, so that the same mistake is not made twice.
Sums are Fractions, rounding is half-up on whole numbers; nothing goes through the decimal module's context.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

SOL = "So11111111111111111111111111111111111111112"


def rounded(number: Fraction, decimals: int) -> Decimal:
    """Round to this number of decimals, halves away from zero."""
    scaled = abs(number) * 10**decimals
    whole = (2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator)
    return Decimal((int(number < 0 < whole), tuple(map(int, str(whole))), -decimals))


def exact(number: Fraction) -> Decimal:
    """The number itself, which must end within 18 decimals."""
    result = rounded(number, 18)
    assert Fraction(result) == number, f"{number} does not end within 18 decimals"
    return result


@dataclass
class Position:
    """An open position."""

    symbol: str
    purchase_leg: tuple[str, int]
    since: datetime
    price: Decimal
    bought: Fraction
    invested: Fraction
    remaining: Fraction
    dca_count: int = 0
    levels_hit: int = 0
    proceeds: Fraction = Fraction(0)
    realized: Fraction = Fraction(0)
    lowest: Decimal = Decimal(0)
    peak: Decimal = Decimal(0)
    dca_legs: list[tuple[str, int]] = field(default_factory=list)
    sale_legs: list[tuple[str, int]] = field(default_factory=list)


@dataclass
class Swap:
    """A closed trade."""

    token: str
    symbol: str
    amount: Decimal
    purchase_price: Decimal
    sale_price: Decimal
    profit_sol: Decimal
    change_percent: Decimal
    profit_usd: Decimal | None
    purchase_time: datetime
    sale_time: datetime
    purchase_leg: tuple[str, int]
    sale_leg: tuple[str, int]


@dataclass
class Ledger:
    """One agent's balances, open positions and closed trades. With ``unlimited_sol`` SOL may go below zero."""

    unlimited_sol: bool = False
    balances: dict[str, Fraction] = field(default_factory=dict)
    positions: dict[str, Position] = field(default_factory=dict)
    swaps: list[Swap] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    lowest_sol: Fraction = Fraction(0)

    @property
    def realized_profit_sol(self) -> Decimal:
        closed = sum((Fraction(swap.profit_sol) for swap in self.swaps), Fraction(0))
        return exact(closed + sum((position.realized for position in self.positions.values()), Fraction(0)))

    def move(self, given: tuple[str, Fraction] | None, received: tuple[str, Fraction] | None) -> bool:
        """Debit the input and credit the output; False, without any change, when the balance is too small."""
        if given is not None:
            token, amount = given
            left = self.balances.get(token, Fraction(0)) - amount
            if left < 0 and not (token == SOL and self.unlimited_sol):
                return False
            self.balances[token] = left
            if token == SOL:
                self.lowest_sol = min(self.lowest_sol, left)
        if received is not None:
            token, amount = received
            self.balances[token] = self.balances.get(token, Fraction(0)) + amount
        return True

    def enter(self, event: dict[str, Any], leg: int) -> None:
        self.outcomes[self._outcome(event, leg)] += 1

    def _outcome(self, event: dict[str, Any], leg: int) -> str:
        if event["kind"] != "swap":
            amount = Fraction(event["amount"])
            if amount == 0:
                return "invalid"
            mint = mint_of(event["mint"])
            if event["kind"] == "transfer_in":
                self.move(None, (mint, amount))
                return "deposit"
            return "withdrawal" if self.move((mint, amount), None) else "refused"
        given = mint_of(event["input_mint"]), Fraction(event["input_amount"])
        received = mint_of(event["output_mint"]), Fraction(event["output_amount"])
        if given[0] == received[0] or not given[1] or not received[1]:
            return "invalid"
        if given[0] == SOL:
            return self._buy(event, leg, given, received)
        if received[0] == SOL and given[0] in self.positions:
            return self._sell(event, leg, given, received)
        return "swap" if self.move(given, received) else "refused"

    def _buy(self, event: dict[str, Any], leg: int, given: tuple[str, Fraction], received: tuple[str, Fraction]) -> str:
        if not self.move(given, received):
            return "refused"
        (_, sol), (token, amount) = given, received
        price = rounded(sol / amount, 18)
        this = event["tx_hash"], leg
        position = self.positions.get(token)
        if position is None:
            self.positions[token] = Position(
                symbol=event["output_symbol"] or f"{token[:4]}...{token[-4:]}",
                purchase_leg=this,
                since=time_of(event),
                price=price,
                bought=amount,
                invested=sol,
                remaining=amount,
                lowest=price,
                peak=price,
            )
            return "buy"
        position.bought += amount
        position.invested += sol
        position.remaining += amount
        position.price = rounded(position.invested / position.bought, 18)
        position.lowest = min(position.lowest, price)
        position.peak = max(position.peak, price)
        position.dca_count += 1
        position.dca_legs.append(this)
        return "dca_buy"

    def _sell(
        self, event: dict[str, Any], leg: int, given: tuple[str, Fraction], received: tuple[str, Fraction]
    ) -> str:
        (token, amount), (_, sol) = given, received
        position = self.positions[token]
        if amount > position.remaining or time_of(event) < position.since or not self.move(given, received):
            return "refused"
        this = event["tx_hash"], leg
        position.proceeds += sol
        if amount < position.remaining:
            position.remaining -= amount
            position.levels_hit += 1
            position.sale_legs.append(this)
            cost = rounded(amount * position.invested / position.bought, 18)
            position.realized += sol - Fraction(cost)
            return "take_profit"
        profit = position.proceeds - position.invested
        spent = Fraction(position.price) * position.bought
        self.swaps.append(
            Swap(
                token=token,
                symbol=position.symbol,
                amount=exact(position.bought),
                purchase_price=position.price,
                sale_price=rounded(position.proceeds / position.bought, 18),
                profit_sol=exact(profit),
                change_percent=rounded(100 * profit / spent, 4) if spent else Decimal(0),
                profit_usd=rounded(profit * usd / sol, 8) if (usd := Fraction(event["input_usd"])) else None,
                purchase_time=position.since,
                sale_time=time_of(event),
                purchase_leg=position.purchase_leg,
                sale_leg=this,
            )
        )
        del self.positions[token]
        return "sell"


def mint_of(name: str) -> str:
    return SOL if name == "native" else name


def time_of(event: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(event["time"])


def traded_mint(event: dict[str, Any]) -> str:
    """The mint that decides which agent an event belongs to."""
    if event["kind"] != "swap":
        return mint_of(event["mint"])
    given, received = mint_of(event["input_mint"]), mint_of(event["output_mint"])
    return given if received == SOL else received


def read_events(path: Path) -> list[tuple[dict[str, Any], int]]:
    """The events of a flawless file, each with its leg: how many above it have the same transaction."""
    seen: Counter[str] = Counter()
    events = []
    for line in path.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        events.append((event, seen[event["tx_hash"]]))
        seen[event["tx_hash"]] += 1
    return events


def expected(events: Iterable[tuple[dict[str, Any], int]]) -> Ledger:
    """The final state of one agent that makes all events."""
    ledger = Ledger()
    for event, leg in events:
        ledger.enter(event, leg)
    return ledger


def expected_of_many(
    events: Iterable[tuple[dict[str, Any], int]], agents: int, share_of: Callable[[str], int]
) -> list[Ledger]:
    """The final state of each of several agents that share the events, the SOL of its opening deposit included."""
    ledgers = [Ledger(unlimited_sol=True) for _ in range(agents)]
    for event, leg in events:
        ledgers[share_of(traded_mint(event))].enter(event, leg)
    for ledger in ledgers:
        if ledger.lowest_sol:
            ledger.balances[SOL] = ledger.balances.get(SOL, Fraction(0)) - ledger.lowest_sol
    return ledgers
