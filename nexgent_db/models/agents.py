"""Agents: they trade for a user, with a configuration and wallets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from pydantic import JsonValue

from nexgent_db.models.base import UUID, AwareDatetime, Row, TradingMode
from nexgent_db.models.wallets import AgentWallet


class Agent(Row):
    """One agent. ``trading_config`` is the stored document, None for all defaults; every write raises ``version``."""

    id: UUID
    user_id: UUID
    name: str
    trading_mode: TradingMode
    trading_config: dict[str, JsonValue] | None
    created_at: AwareDatetime
    updated_at: AwareDatetime
    automated_trading_simulation: bool
    automated_trading_live: bool
    version: int


class AgentWithWallets(Row):
    """An agent and the wallets it owns, simulation first."""

    agent: Agent
    wallets: tuple[AgentWallet, ...]


def with_wallets(rows: Iterable[tuple[Agent, AgentWallet | None]]) -> Iterator[AgentWithWallets]:
    """The agents of joined rows, in their order: the rows of an agent, one for each wallet, follow one another."""
    for _, grouped in groupby(rows, key=lambda row: row[0].id):
        of_agent = list(grouped)
        wallets = tuple(wallet for _, wallet in of_agent if wallet is not None)
        yield AgentWithWallets.model_construct(agent=of_agent[0][0], wallets=wallets)
