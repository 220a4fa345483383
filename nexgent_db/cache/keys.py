"""Every Redis key: its name, how long it lives, and why. Pure.

| key | holds | lives |
|---|---|---|
| ``position:{id}`` | an open position, JSON | until it is closed |
| ``agent:{agent_id}:positions``, ``token:{token}:positions`` | sets of position ids | as long as kept complete |
| ``balance:{agent_id}:{wallet}:{token}`` | a holding, JSON | until it is deleted |
| ``wallet:{wallet}:balances`` | set of the tokens that the wallet has balances of | as long as kept complete |
| ``config:{agent_id}`` | the agent's stored trading configuration, JSON | until the agent is deleted |
| ``agent:{id}:trading_mode``, ``agent:{id}:automated_trading:{mode}`` | simulation or live; 1 or 0 | the same |
| ``active_agents`` | set of the agents that trade by themselves in their mode | as long as kept complete |
| ``price:{token}`` | a token's price, JSON | an hour: an older one is no price |
| ``…:fence`` | the minimum version that may be stored at this key | 5 minutes: longer than any write is accepted |
| ``…:complete`` | the number of members of the set, and its owner | as long as the set |
| ``…:load_lease`` | the token of the load that may complete the set | 30 seconds: longer than any read takes |
| ``epoch`` | the Redis process and the database that the rest belongs to | for ever |
| ``watermark`` | the highest version that was cached | for ever |
| ``scanner`` | the process that compares the cache with the database now | 10 seconds unless extended |
| ``statistics`` | hits, misses and repairs of all processes that run maintenance, a hash | until a reset |
| ``signal_create:{user}:{token}:{type}:{strength}`` | 1: such a signal was claimed | a minute |
| ``signal:{signal_id}:{agent_id}:executions`` | the execution's status | a day |
| ``idempotency:{operation}`` | the result of an operation | 5 minutes, or as long as the caller says |
| ``lock:{resource}`` | the token of the lock's holder | 10 seconds unless extended |

All begin with the prefix; those of a cell with the prefix and ``cell:{schema}:``. Token addresses are in lower case in
``token:`` and ``price:``, so two tokens that differ by case alone share a key. The set of positions there has the
positions in both, and its reader chooses; a price names its token.
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote
from uuid import UUID

from nexgent_db.errors import ConfigurationError

FENCE: Final = ":fence"
"""The suffix of the minimum-version fence."""
COMPLETE: Final = ":complete"
LOAD_LEASE: Final = ":load_lease"

FENCE_MS: Final = 300_000
"""A fence outlives every write and load that started before it and may still be accepted."""
LATEST_MS: Final = 60_000
"""A write or load that started longer ago stores nothing: it may be older than a deletion whose fence has expired."""
LOAD_LEASE_MS: Final = 30_000
PRICE_MS: Final = 3_600_000
SIGNAL_CREATE_MS: Final = 60_000
EXECUTION_MS: Final = 86_400_000
IDEMPOTENCY_MS: Final = 300_000
LOCK_MS: Final = 10_000
SCANNER_MS: Final = 10_000

assert LATEST_MS < FENCE_MS

_LOWER_CASE: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)

PUBLIC_SCHEMA: Final = "public"
"""The schema whose keys begin with the prefix alone, as they do in a database of one schema."""


def prefix_of_schema(prefix: str, schema: str | None) -> str:
    """The prefix of a cell's keys, ``nexgent:cell:cell_7:``: no key of another cell, or of the database around it,
    begins with it. That of ``public``, and of the connection's own schema (None), is the prefix itself."""
    return prefix if schema in (None, PUBLIC_SCHEMA) else f"{prefix}cell:{quote(schema, safe='')}:"


COORDINATION_PREFIXES: Final = ("signal_create:", "signal:", "idempotency:", "lock:")
"""The prefixes of the keys that are no copies of rows."""


def lower_case(token_address: str) -> str:
    """The token address with A to Z in lower case, as ``lower(token_address COLLATE "C")`` is in the database.

    Other letters stay: what they become depends on Unicode's version here, and on the locale there.
    """
    return token_address.translate(_LOWER_CASE)


@dataclass(frozen=True, slots=True)
class CacheKeys:
    """The names of the keys under one prefix.

    On a cluster all keys of a prefix must be in one slot: give it a hash tag, ``{nexgent}:``. Raises
    ConfigurationError for an empty prefix.
    """

    prefix: str = "nexgent:"

    def __post_init__(self) -> None:
        if not self.prefix:
            raise ConfigurationError("the cache's prefix must not be empty: a reset would delete every key")

    @property
    def pattern(self) -> str:
        """The glob pattern of all keys."""
        return re.sub(r"([\\*?\[\]])", r"\\\1", self.prefix) + "*"

    @property
    def epoch(self) -> str:
        """The Redis process and the database that the rest belongs to."""
        return f"{self.prefix}epoch"

    @property
    def watermark(self) -> str:
        """The highest version that was cached."""
        return f"{self.prefix}watermark"

    @property
    def scanner(self) -> str:
        """The process that compares the cache with the database now."""
        return f"{self.prefix}scanner"

    @property
    def statistics(self) -> str:
        """The counters of all processes that run maintenance."""
        return f"{self.prefix}statistics"

    @property
    def positions(self) -> str:
        """The prefix of every position's key."""
        return f"{self.prefix}position:"

    def position(self, position_id: UUID) -> str:
        """A position."""
        return f"{self.prefix}position:{position_id}"

    def positions_of_agent(self, agent_id: UUID) -> str:
        """The ids of the agent's positions."""
        return f"{self.prefix}agent:{agent_id}:positions"

    def positions_of_token(self, token_address: str) -> str:
        """The ids of the positions in the token, and in any token that differs from it by case alone."""
        return f"{self.prefix}token:{lower_case(token_address)}:positions"

    def balances(self, agent_id: UUID, wallet_address: str) -> str:
        """The prefix of the keys of a wallet's balances."""
        return f"{self.prefix}balance:{agent_id}:{wallet_address}:"

    def balance(self, agent_id: UUID, wallet_address: str, token_address: str) -> str:
        """A balance."""
        return f"{self.prefix}balance:{agent_id}:{wallet_address}:{token_address}"

    def balances_of_wallet(self, wallet_address: str) -> str:
        """The tokens that the wallet has balances of."""
        return f"{self.prefix}wallet:{wallet_address}:balances"

    def config(self, agent_id: UUID) -> str:
        """The agent's configuration."""
        return f"{self.prefix}config:{agent_id}"

    def trading_mode(self, agent_id: UUID) -> str:
        """The mode that the agent trades in."""
        return f"{self.prefix}agent:{agent_id}:trading_mode"

    def automated_trading(self, agent_id: UUID, mode: str) -> str:
        """Whether the agent trades by itself in the mode."""
        return f"{self.prefix}agent:{agent_id}:automated_trading:{mode}"

    def flags(self, agent_id: UUID) -> tuple[str, str, str]:
        """The keys linked with the agent's configuration: its mode, and whether it trades by itself in either."""
        return (
            self.trading_mode(agent_id),
            self.automated_trading(agent_id, "simulation"),
            self.automated_trading(agent_id, "live"),
        )

    @property
    def active_agents(self) -> str:
        """The agents that trade by themselves in the mode that they are in."""
        return f"{self.prefix}active_agents"

    def price(self, token_address: str) -> str:
        """A token's price."""
        return f"{self.prefix}price:{lower_case(token_address)}"

    def signal_create(self, user_id: UUID | None, token_address: str, signal_type: str, strength: int) -> str:
        """The claim of such a signal."""
        return f"{self.prefix}signal_create:{user_id}:{token_address}:{signal_type}:{strength}"

    def executions(self, signal_id: int, agent_id: UUID) -> str:
        """The status of the signal's execution by the agent."""
        return f"{self.prefix}signal:{signal_id}:{agent_id}:executions"

    def idempotency(self, operation: str) -> str:
        """The result of an operation."""
        return f"{self.prefix}idempotency:{operation}"

    def lock(self, resource: str) -> str:
        """The token of the lock's holder."""
        return f"{self.prefix}lock:{resource}"
