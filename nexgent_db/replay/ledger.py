"""What an agent of a replay holds, and which orders that refuses. Pure."""

from __future__ import annotations

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

__all__ = ["EXACT", "Ledger", "Position"]

EXACT: Final = Context(prec=60, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])
"""A context with room for every sum of numeric(38,18); it raises an error instead of rounding."""
_NOTHING: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class Position:
    """The rest of an open position, and the time of its purchase, where it is known."""

    remaining: Decimal
    since: datetime | None = None


@dataclass
class Ledger:
    """One agent's balances and open positions, by token; a token that is not in them is not held.

    It accepts the orders that the database accepts. With ``unlimited_sol`` SOL may fall below zero.
    """

    unlimited_sol: bool = False
    balances: dict[str, Decimal] = field(default_factory=dict)
    positions: dict[str, Position] = field(default_factory=dict)

    def remaining(self, token: str | None) -> Decimal | None:
        """The rest of the open position in the token; None without one."""
        position = None if token is None else self.positions.get(token)
        return None if position is None else position.remaining

    def accepts(self, order: TradeOrder) -> bool:
        """Whether the database executes the order, which is of the right kind for its position."""
        match order:
            case WithdrawOrder():
                return self._holds(order.token_address, order.amount)
            case SwapOrder():
                return self._holds(order.input_mint, order.input_amount)
            case BuyOrder() | DcaBuyOrder():
                return self._holds(SOL_MINT, order.sol_amount)
            case TakeProfitOrder() | SellOrder():
                since = self.positions[order.token_address].since
                if since is not None and order.transaction_time is not None and order.transaction_time < since:
                    return False
                return self._holds(order.token_address, order.token_amount)
            case _:
                return True

    def apply(self, order: TradeOrder) -> None:
        """Change what is held as the executed order does."""
        match order:
            case DepositOrder():
                self._add(order.token_address, order.amount)
            case WithdrawOrder():
                self._subtract(order.token_address, order.amount)
            case SwapOrder():
                self._subtract(order.input_mint, order.input_amount)
                self._add(order.output_mint, order.output_amount)
            case BuyOrder() | DcaBuyOrder():
                self._subtract(SOL_MINT, order.sol_amount)
                self._add(order.token_address, order.token_amount)
                bought = self.positions.get(order.token_address) or Position(_NOTHING, order.transaction_time)
                remaining = EXACT.add(bought.remaining, order.token_amount)
                self.positions[order.token_address] = Position(remaining, bought.since)
            case TakeProfitOrder() | SellOrder():
                self._subtract(order.token_address, order.token_amount)
                self._add(SOL_MINT, order.sol_amount)
                held = self.positions.pop(order.token_address)
                if remaining := EXACT.subtract(held.remaining, order.token_amount):
                    self.positions[order.token_address] = Position(remaining, held.since)

    def _holds(self, mint: str, amount: Decimal) -> bool:
        return self.balances.get(mint, _NOTHING) >= amount or (self.unlimited_sol and mint == SOL_MINT)

    def _add(self, mint: str, amount: Decimal) -> None:
        if balance := EXACT.add(self.balances.get(mint, _NOTHING), amount):
            self.balances[mint] = balance
        else:
            self.balances.pop(mint, None)

    def _subtract(self, mint: str, amount: Decimal) -> None:
        self._add(mint, -amount)
