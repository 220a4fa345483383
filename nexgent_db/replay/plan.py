"""The SOL that each agent needs at the start, so that no event is refused because the agent has too little SOL. Pure.

When several agents share a history, one of them may spend SOL that arrived with another's events.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from nexgent_db.models.base import SOL_MINT
from nexgent_db.replay.accounts import Account, share_of
from nexgent_db.replay.events import BadLine, Line
from nexgent_db.replay.ledger import Ledger
from nexgent_db.replay.rules import order_of, position_token

__all__ = ["opening_balances"]


def opening_balances(lines: Iterable[Line | BadLine], accounts: Sequence[Account]) -> list[Decimal]:
    """For each account: the amount by which its SOL would fall below zero if that were allowed, never negative."""
    ledgers = [Ledger(unlimited_sol=True) for _ in accounts]
    lowest = [Decimal(0) for _ in accounts]
    for line in lines:
        if isinstance(line, BadLine) or line.event.says_nothing:
            continue
        share = share_of(line.event.traded_mint, len(accounts))
        ledger = ledgers[share]
        order = order_of(line, accounts[share], ledger.remaining(position_token(line.event)))
        if order is not None and ledger.accepts(order):
            ledger.apply(order)
            lowest[share] = min(lowest[share], ledger.balances.get(SOL_MINT, Decimal(0)))
    return [-sol if sol else sol for sol in lowest]
