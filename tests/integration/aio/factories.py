"""Builds owners and orders; a test states only the values that matter to it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from nexgent_db import AsyncDatabase
from nexgent_db.models import (
    SOL_MINT,
    AgentBalance,
    BurnOrder,
    BuyOrder,
    DcaBuyOrder,
    DepositOrder,
    ResetWalletOrder,
    SellOrder,
    SwapOrder,
    TakeProfitOrder,
    TradingMode,
    WithdrawOrder,
    WriteOffOrder,
)

TOKEN = "TokenAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA1"


@dataclass(frozen=True)
class Owner:
    """An agent and its wallet, and orders of theirs. Amounts may be given as text."""

    user_id: UUID
    agent_id: UUID
    wallet_address: str

    def deposit(self, amount: str, token: str = SOL_MINT, **more: Any) -> DepositOrder:
        return DepositOrder(**self._moved(amount, token), **more)

    def withdraw(self, amount: str, token: str = SOL_MINT, **more: Any) -> WithdrawOrder:
        return WithdrawOrder(**self._moved(amount, token), **more)

    def burn(self, amount: str, token: str = SOL_MINT, **more: Any) -> BurnOrder:
        return BurnOrder(**self._moved(amount, token), **more)

    def buy(self, sol: str, amount: str, token: str = TOKEN, **more: Any) -> BuyOrder:
        return BuyOrder(**self._traded(sol, amount, token), **more)

    def dca_buy(self, sol: str, amount: str, token: str = TOKEN, **more: Any) -> DcaBuyOrder:
        return DcaBuyOrder(**self._traded(sol, amount, token), **more)

    def take_profit(self, amount: str, sol: str, token: str = TOKEN, **more: Any) -> TakeProfitOrder:
        return TakeProfitOrder(**self._traded(sol, amount, token), **more)

    def sell(self, amount: str, sol: str, token: str = TOKEN, **more: Any) -> SellOrder:
        return SellOrder(**self._traded(sol, amount, token), **more)

    def write_off(self, token: str = TOKEN, **more: Any) -> WriteOffOrder:
        return WriteOffOrder(**self._ids(), token_address=token, token_symbol=token[:10], **more)

    def swap(self, amount: str, token: str, received: str, for_token: str, **more: Any) -> SwapOrder:
        return SwapOrder(
            **self._ids(),
            input_mint=token,
            input_symbol=token[:10],
            input_amount=Decimal(amount),
            output_mint=for_token,
            output_symbol=for_token[:10],
            output_amount=Decimal(received),
            **more,
        )

    def reset(self, opening_sol: str | None = None, **more: Any) -> ResetWalletOrder:
        return ResetWalletOrder(
            **self._ids(), opening_sol=None if opening_sol is None else Decimal(opening_sol), **more
        )

    def _ids(self) -> dict[str, Any]:
        return {"agent_id": self.agent_id, "wallet_address": self.wallet_address}

    def _moved(self, amount: str, token: str) -> dict[str, Any]:
        return {**self._ids(), "token_address": token, "token_symbol": token[:10], "amount": amount}

    def _traded(self, sol: str, amount: str, token: str) -> dict[str, Any]:
        return {
            **self._ids(),
            "token_address": token,
            "token_symbol": token[:10],
            "sol_amount": sol,
            "token_amount": amount,
        }


async def new_owner(db: AsyncDatabase, wallet_type: TradingMode = "simulation") -> Owner:
    """A new user with one agent and one empty wallet."""
    user = await db.users.create(f"{uuid4()}@example.org")
    agent = await db.agents.create(user.id, "tester")
    wallet = await db.wallets.create(f"W{uuid4().hex}", agent.id, wallet_type)
    return Owner(user.id, agent.id, wallet.wallet_address)


async def new_owners(db: AsyncDatabase, count: int) -> list[Owner]:
    """As many of them, in one statement."""
    made = await db.execute(
        "WITH numbered AS (SELECT gen_random_uuid() AS user_id, gen_random_uuid() AS agent_id"
        " FROM generate_series(1, :count::integer)),"
        " new_users AS (INSERT INTO users (id, email) SELECT user_id, user_id || '@example.org' FROM numbered),"
        " new_agents AS (INSERT INTO agents (id, user_id, name) SELECT agent_id, user_id, 'tester' FROM numbered),"
        " new_wallets AS (INSERT INTO agent_wallets (wallet_address, agent_id, wallet_type)"
        " SELECT 'W' || replace(agent_id::text, '-', ''), agent_id, 'simulation' FROM numbered"
        " RETURNING agent_id, wallet_address)"
        " SELECT user_id, agent_id, wallet_address FROM numbered JOIN new_wallets USING (agent_id)",
        {"count": count},
    )
    rows: list[Any] = made.rows
    return [Owner(**row) for row in rows]


async def funded_owner(db: AsyncDatabase) -> Owner:
    """The same, with 100 SOL in the wallet."""
    owner = await new_owner(db)
    await db.trades.deposit(owner.deposit("100"))
    return owner


async def balance_of(db: AsyncDatabase, owner: Owner, token: str = SOL_MINT) -> Decimal:
    """The wallet's balance of the token; 0 when it never held any."""
    found: AgentBalance | None = await db.balances.find_by_wallet_and_token(owner.wallet_address, token)
    return Decimal(0) if found is None else found.balance
