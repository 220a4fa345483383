"""The result of a replay: its events by outcome, and the agents' positions and balances afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Literal

from nexgent_db.models.base import SOL_MINT
from nexgent_db.replay.accounts import Account
from nexgent_db.replay.ledger import EXACT
from nexgent_db.sync.database import Database

__all__ = ["OUTCOMES", "Outcome", "ReplayReport", "report_of"]

Outcome = Literal["deposit", "withdrawal", "buy", "dca_buy", "take_profit", "sell", "swap", "refused", "invalid"]
OUTCOMES: Final[tuple[Outcome, ...]] = (
    "deposit",
    "withdrawal",
    "buy",
    "dca_buy",
    "take_profit",
    "sell",
    "swap",
    "refused",
    "invalid",
)


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """The result of a history: its events by outcome, and the agents' positions and balances now.

    The invalid events include ``bad_lines``. ``elapsed_s`` is the time of this run, which skips events already done.
    """

    outcomes: dict[Outcome, int]
    bad_lines: int
    open_positions: int
    closed: int
    realized_profit_sol: Decimal
    sol_balance: Decimal
    opening_sol: Decimal
    accounts: tuple[Account, ...]
    elapsed_s: float

    @property
    def events(self) -> int:
        """The number of events in the file, including invalid ones."""
        return sum(self.outcomes.values())

    @property
    def events_per_s(self) -> float:
        """The events per second of this run, including the time to read the file."""
        return self.events / self.elapsed_s if self.elapsed_s else 0.0


@dataclass
class _Totals:
    open_positions: int = 0
    closed: int = 0
    realized_profit_sol: Decimal = field(default_factory=Decimal)
    sol_balance: Decimal = field(default_factory=Decimal)
    opening_sol: Decimal = field(default_factory=Decimal)


def report_of(
    db: Database, accounts: Sequence[Account], outcomes: Counter[Outcome], bad_lines: int, elapsed_s: float
) -> ReplayReport:
    """The report of a history that these accounts replayed, read from the database."""
    totals = _Totals()
    for account in accounts:
        _add_up(db, account, totals)
    return ReplayReport(
        outcomes={outcome: outcomes[outcome] for outcome in OUTCOMES},
        bad_lines=bad_lines,
        open_positions=totals.open_positions,
        closed=totals.closed,
        realized_profit_sol=totals.realized_profit_sol,
        sol_balance=totals.sol_balance,
        opening_sol=totals.opening_sol,
        accounts=tuple(accounts),
        elapsed_s=elapsed_s,
    )


def _add_up(db: Database, account: Account, totals: _Totals) -> None:
    with db.transaction(isolation="repeatable read", read_only=True) as tx:
        closed = tx.historical_swaps.total_by_wallet(account.agent_id, account.wallet_address)
        still_open = tx.positions.total_by_wallet(account.agent_id, account.wallet_address)
        sol = tx.balances.find_by_wallet_and_token(account.wallet_address, SOL_MINT)
        opening = tx.transactions.find_by_id(account.opening_trade_id)
    totals.closed += closed.closed
    totals.open_positions += still_open.open
    for profit in (closed.profit_loss_sol, still_open.realized_profit_sol):
        totals.realized_profit_sol = EXACT.add(totals.realized_profit_sol, profit)
    if sol is not None:
        totals.sol_balance = EXACT.add(totals.sol_balance, sol.balance)
    if opening is not None and opening.input_amount is not None:
        totals.opening_sol = EXACT.add(totals.opening_sol, opening.input_amount)
