"""The accounts of a replay: one user, and an agent with a simulation wallet for each share of a history. Pure.

Every id is derived from the history's wallet and the number of agents, so a repeated replay uses the same agents. A
replay by one agent and a replay by three use different agents with different wallets.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Final
from uuid import UUID, uuid5

from nexgent_db.models.ids import trade_id_of

__all__ = ["MAX_AGENTS", "USER_EMAIL", "USER_ID", "Account", "accounts_of", "share_of"]

MAX_AGENTS: Final = 1000

_NAMESPACE: Final = UUID("0b7f2b4e-3a35-4b0f-9a55-9d1f0f6c8f5e")

USER_EMAIL: Final = "replay@nexgent-db.invalid"
USER_ID: Final = uuid5(_NAMESPACE, USER_EMAIL)


@dataclass(frozen=True, slots=True)
class Account:
    """An agent of a replay and its wallet. ``opening_id`` is the request id of its opening deposit."""

    agent_id: UUID
    name: str
    wallet_address: str
    opening_id: UUID

    @property
    def opening_trade_id(self) -> UUID:
        """The id of the opening deposit's transaction."""
        return trade_id_of(self.agent_id, self.opening_id)


def accounts_of(wallet: str, agents: int) -> list[Account]:
    """The accounts that share the history of ``wallet``. A single account trades from that wallet's address."""
    return [_account(wallet, agents, number) for number in range(agents)]


def _account(wallet: str, agents: int, number: int) -> Account:
    place = f"{wallet}/{agents}/{number}"
    alone = agents == 1
    return Account(
        agent_id=uuid5(_NAMESPACE, place),
        name=f"Replay of {wallet}" if alone else f"Replay of {wallet}, agent {number + 1} of {agents}",
        # as long as the column, and hexadecimal: never an address of the chain
        wallet_address=wallet if alone else sha256(place.encode()).hexdigest()[:44],
        opening_id=uuid5(_NAMESPACE, f"{place}/opening deposit"),
    )


@lru_cache(maxsize=4096)
def share_of(mint: str, agents: int) -> int:
    """The number, from 0, of the agent that trades this token: the same on every machine and in every run."""
    return int.from_bytes(sha256(mint.encode()).digest()[:8]) % agents
