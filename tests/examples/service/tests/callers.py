"""Users of the service, and the bodies of their requests."""

from __future__ import annotations

from dataclasses import dataclass

from nexgent_db import AsyncDatabase
from nexgent_db.testing.aio import funded_wallet
from nexgent_db.testing.wallets import FundedWallet


@dataclass(frozen=True)
class Caller(FundedWallet):
    """A user with 100 SOL in a wallet, and the headers of a request."""

    headers: dict[str, str]

    def alert(self, price: str = "0.01", sol_amount: str = "1") -> dict[str, str]:
        """The body of a new alert."""
        return {**self.token(), "price": price, "sol_amount": sol_amount}

    def token(self) -> dict[str, str]:
        """The wallet, and the token that the tests trade."""
        return {
            "agent_id": str(self.agent.id),
            "wallet_address": self.wallet.wallet_address,
            "token_address": "WIF",
            "token_symbol": "WIF",
        }


async def new_caller(db: AsyncDatabase, *scopes: str) -> Caller:
    """A new user whose key has these scopes."""
    owner = await funded_wallet(db)
    key = await db.api_keys.create(owner.user.id, "test", scopes)
    headers = {"Authorization": f"Bearer {key.secret.get_secret_value()}"}
    return Caller(owner.user, owner.agent, owner.wallet, headers)
