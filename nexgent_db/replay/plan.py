"""The SOL that each agent needs at the start, so that no event is refused because the agent has too little SOL. Pure.

When several agents share a history, one of them may spend SOL that arrived with another's events.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from typing import Final

from nexgent_db.models.base import SOL_MINT
from nexgent_db.models.trades import (
    BuyOrder,
    DcaBuyOrder,
    DepositOrder,
    SellOrder,
    SwapOrder,
    TakeProfitOrder,
    TradeOrder,
    WithdrawOrder,
)
from nexgent_db.replay.accounts import Account, share_of
from nexgent_db.replay.events import BadLine, Line
from nexgent_db.replay.rules import order_of, position_token

__all__ = ["EXACT", "opening_balances"]

EXACT: Final = Context(prec=60, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])
"""A context with room for every sum of numeric(38,18); it raises an error instead of rounding."""


def opening_balances(lines: Iterable[Line | BadLine], accounts: Sequence[Account]) -> list[Decimal]:
    """For each account: the amount by which its SOL would fall below zero if that were allowed, never negative."""
    ledgers = [_Ledger() for _ in accounts]
    for line in lines:
        if isinstance(line, BadLine) or line.event.says_nothing:
            continue
        share = share_of(line.event.traded_mint, len(accounts))
        ledgers[share].enter(line, accounts[share])
    return [-ledger.lowest_sol if ledger.lowest_sol else Decimal(0) for ledger in ledgers]


@dataclass
class _Position:
    remaining: Decimal
    since: datetime


@dataclass
class _Ledger:
    """One agent's holdings, with unlimited SOL; it refuses the same orders as the database."""

    tokens: defaultdict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    positions: dict[str, _Position] = field(default_factory=dict)
    lowest_sol: Decimal = Decimal(0)

    def enter(self, line: Line, account: Account) -> None:
        token = position_token(line.event)
        position = None if token is None else self.positions.get(token)
        order = order_of(line, account, None if position is None else position.remaining)
        if order is not None:
            self.make(order, position, line.event.time)

    def make(self, order: TradeOrder, position: _Position | None, time: datetime) -> None:
        match order:
            case DepositOrder():
                self.add(order.token_address, order.amount)
            case WithdrawOrder():
                self.debit(order.token_address, order.amount)
            case SwapOrder():
                if self.debit(order.input_mint, order.input_amount):
                    self.add(order.output_mint, order.output_amount)
            case BuyOrder():
                self.debit(SOL_MINT, order.sol_amount)
                self.add(order.token_address, order.token_amount)
                self.positions[order.token_address] = _Position(order.token_amount, time)
            case DcaBuyOrder():
                assert position is not None
                self.debit(SOL_MINT, order.sol_amount)
                self.add(order.token_address, order.token_amount)
                position.remaining = EXACT.add(position.remaining, order.token_amount)
            case TakeProfitOrder() | SellOrder():
                assert position is not None
                if time >= position.since and self.debit(order.token_address, order.token_amount):
                    self.add(SOL_MINT, order.sol_amount)
                    position.remaining = EXACT.subtract(position.remaining, order.token_amount)
                    if not position.remaining:
                        del self.positions[order.token_address]

    def add(self, mint: str, amount: Decimal) -> None:
        self.tokens[mint] = EXACT.add(self.tokens[mint], amount)

    def debit(self, mint: str, amount: Decimal) -> bool:
        left = EXACT.subtract(self.tokens[mint], amount)
        if left < 0 and mint != SOL_MINT:
            return False
        self.tokens[mint] = left
        if mint == SOL_MINT:
            self.lowest_sol = min(self.lowest_sol, left)
        return True
