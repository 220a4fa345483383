"""What a test trades with."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

from nexgent_db.models import Agent, AgentWallet, User

__all__ = ["FundedWallet", "new_address", "new_email"]

_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class FundedWallet:
    """A wallet with SOL, its agent and the agent's user, as they are stored."""

    user: User
    agent: Agent
    wallet: AgentWallet


def new_address() -> str:
    """A wallet's address, of the form of Solana's; it belongs to no key."""
    return "".join(secrets.choice(_BASE58) for _ in range(44))


def new_email() -> str:
    """An address that no other user has."""
    return f"{secrets.token_hex(8)}@example.org"
