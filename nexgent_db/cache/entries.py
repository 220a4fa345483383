"""What a key of the cache stands for, read from its name. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, Literal
from uuid import UUID

from nexgent_db.cache.keys import COMPLETE, COORDINATION_PREFIXES, FENCE, LOAD_LEASE, CacheKeys, lower_case
from nexgent_db.models.storable import storable_text

_UUID: Final = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_POSITION: Final = re.compile(f"position:({_UUID})")
_CONFIG: Final = re.compile(f"config:({_UUID})")
_FLAG: Final = re.compile(f"agent:({_UUID}):(?:trading_mode|automated_trading:(?:simulation|live))")
_BALANCE: Final = re.compile(f"balance:({_UUID}):(.+)", re.DOTALL)
_SET: Final = re.compile(f"agent:{_UUID}:positions|token:.+:positions|wallet:.+:balances|active_agents", re.DOTALL)

_LONGEST_PLACE: Final = 44 + len(":") + 255
_MAX_PLACES: Final = 32
"""A step compares 200 entries, and a query takes 10,000 places. No address of Solana has a colon."""


@dataclass(frozen=True, slots=True)
class PositionEntry:
    """A cached position."""

    key: str
    position_id: UUID


@dataclass(frozen=True, slots=True)
class BalanceEntry:
    """A cached balance. Its name allows several pairs of wallet and token, because both may hold a colon."""

    key: str
    agent_id: UUID
    places: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class AgentEntry:
    """A cached configuration with its flags; ``by_flag`` for a flag's key: its configuration's entry covers it."""

    key: str
    agent_id: UUID
    by_flag: bool = False


@dataclass(frozen=True, slots=True)
class SetEntry:
    """An index set with a marker of completeness."""

    key: str


Entry = PositionEntry | BalanceEntry | AgentEntry | SetEntry


def entry_of(key: str, keys: CacheKeys) -> Entry | None:
    """The entry to compare; None for a fence, a lease, a coordination key, a price, and a foreign key."""
    name = key.removeprefix(keys.prefix)
    if name.endswith(COMPLETE) and _SET.fullmatch(name.removesuffix(COMPLETE)):
        return SetEntry(key.removesuffix(COMPLETE))
    if name.endswith((FENCE, LOAD_LEASE, COMPLETE)):
        return None
    if match := _POSITION.fullmatch(name):
        return PositionEntry(key, UUID(match[1]))
    if match := _CONFIG.fullmatch(name):
        return AgentEntry(key, UUID(match[1]))
    if match := _FLAG.fullmatch(name):
        agent_id = UUID(match[1])
        return AgentEntry(keys.config(agent_id), agent_id, by_flag=True)
    if match := _BALANCE.fullmatch(name):
        return BalanceEntry(key, UUID(match[1]), tuple(_places(match[2])))
    return None


def _places(name: str) -> Iterator[tuple[str, str]]:
    """The pairs of wallet and token that a balance's name allows; none for a name that no row can have."""
    if len(name) > _LONGEST_PLACE or "\0" in name or name.count(":") > _MAX_PLACES:
        return
    for wallet in list(accumulate(name.split(":"), "{}:{}".format))[:-1]:
        if wallet and (token := name[len(wallet) + 1 :]):
            yield wallet, token


_DERIVED: Final = re.compile(
    "(?:" + "|".join(each.pattern for each in (_POSITION, _CONFIG, _FLAG, _BALANCE, _SET)) + "|price:.+)"
    f"(?:{FENCE}|{COMPLETE}|{LOAD_LEASE})?|watermark|scanner|statistics",
    re.DOTALL,
)


def is_derived(key: str, keys: CacheKeys) -> bool:
    """Is it a key that a reset deletes: what the cache knows of rows and prices?

    All others stay: the epoch, locks and stored results, and the keys of other programs that use the same prefix.
    """
    return _DERIVED.fullmatch(key.removeprefix(keys.prefix)) is not None


_KINDS: Final = (
    ("markers", re.compile(f".*(?:{FENCE}|{COMPLETE}|{LOAD_LEASE})", re.DOTALL)),
    ("positions", _POSITION),
    ("balances", _BALANCE),
    ("configurations", _CONFIG),
    ("flags", _FLAG),
    ("sets", _SET),
    ("prices", re.compile("price:.+", re.DOTALL)),
    ("coordination", re.compile(f"(?:{'|'.join(COORDINATION_PREFIXES)}).+", re.DOTALL)),
)


def kind_of(key: str, keys: CacheKeys) -> str:
    """The kind under which a key is counted."""
    name = key.removeprefix(keys.prefix)
    return next((kind for kind, pattern in _KINDS if pattern.fullmatch(name)), "other")


@dataclass(frozen=True, slots=True)
class IndexSet:
    """A set whose owner is known: an agent, a token, a wallet (together with its agent), or all."""

    kind: Literal["agent", "token", "wallet", "active"]
    key: str
    owner: str
    rows: str
    """The prefix of its members' rows' keys; '' for a set without rows."""

    @property
    def agent_id(self) -> UUID:
        """The agent that owns it, or the wallet."""
        return UUID(self.owner.partition(" ")[0])

    @property
    def wallet_address(self) -> str:
        """The wallet that owns it."""
        return self.owner.partition(" ")[2]


def set_of_agent(agent_id: UUID, keys: CacheKeys) -> IndexSet:
    """The agent's positions."""
    return IndexSet("agent", keys.positions_of_agent(agent_id), str(agent_id), keys.positions)


def set_of_token(token_address: str, keys: CacheKeys) -> IndexSet:
    """The positions in the token, and in any token that differs from it by case alone: the owner is in lower case."""
    return IndexSet("token", keys.positions_of_token(token_address), lower_case(token_address), keys.positions)


def set_of_wallet(agent_id: UUID, wallet_address: str, keys: CacheKeys) -> IndexSet:
    """The wallet's balances."""
    key = keys.balances_of_wallet(wallet_address)
    return IndexSet("wallet", key, f"{agent_id} {wallet_address}", keys.balances(agent_id, wallet_address))


def set_of_active_agents(keys: CacheKeys) -> IndexSet:
    """The agents that trade by themselves."""
    return IndexSet("active", keys.active_agents, "all", "")


_MARKER: Final = re.compile(rb"([0-9]{1,9}) (.*)", re.DOTALL)


def marked_set(key: str, marker: bytes, keys: CacheKeys) -> tuple[IndexSet, int] | None:
    """The set with its owner, and its number of members, as the marker says; None for another key's marker."""
    match = _MARKER.fullmatch(marker)
    if match is None:
        return None
    try:
        owner = storable_text(match[2].decode())
        marked = _set_of_owner(key, owner, keys)
    except ValueError:
        return None
    return (marked, int(match[1])) if marked.key == key and marked.owner == owner else None


def _set_of_owner(key: str, owner: str, keys: CacheKeys) -> IndexSet:
    name = key.removeprefix(keys.prefix)
    if name.startswith("agent:"):
        return set_of_agent(UUID(owner), keys)
    if name.startswith("token:"):
        return set_of_token(owner, keys)
    if name.startswith("wallet:"):
        agent_id, _, wallet_address = owner.partition(" ")
        return set_of_wallet(UUID(agent_id), wallet_address, keys)
    return set_of_active_agents(keys)
