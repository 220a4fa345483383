# Generated from nexgent_db/testing/aio/__init__.py by `make sync`: do not edit.
"""Rows that most tests begin with, for synchronous databases."""

from __future__ import annotations

from decimal import Decimal

from nexgent_db.models import SOL_MINT, DepositOrder, TradingMode, User
from nexgent_db.sync.access import Repositories
from nexgent_db.testing.wallets import FundedWallet, new_address, new_email

__all__ = ["funded_wallet"]


def funded_wallet(
    db: Repositories,
    sol: Decimal | int = 100,
    *,
    wallet_type: TradingMode = "simulation",
    user: User | None = None,
) -> FundedWallet:
    """A new agent with one wallet that holds ``sol``; with 0 nothing is deposited. The user is new unless given.

    ``db`` is a database or a transaction. Raises InvalidInput for an amount below 0, and what queries raise.
    """
    owner = db.users.create(new_email()) if user is None else user
    agent = db.agents.create(owner.id, "tester")
    wallet = db.wallets.create(new_address(), agent.id, wallet_type)
    if sol != 0:
        db.trades.deposit(
            DepositOrder(
                agent_id=agent.id,
                wallet_address=wallet.wallet_address,
                token_address=SOL_MINT,
                token_symbol="SOL",  # noqa: S106
                amount=Decimal(sol),
            )
        )
    return FundedWallet(owner, agent, wallet)
