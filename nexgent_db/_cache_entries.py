"""What a key of the cache stands for, read back from its name; how a cached row differs from the database's. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate
from typing import Final, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel

from nexgent_db._cache_rows import BALANCE, POSITION, Codec, encode_config, version_of
from nexgent_db.cache_keys import COMPLETE, FILLING, FLOOR, HELPERS, CacheKeys
from nexgent_db.models.balances import AgentBalance
from nexgent_db.models.cache import CachedAgent, DifferenceKind
from nexgent_db.models.positions import AgentPosition

# --- Keys -----------------------------------------------------------------------------------------

_UUID: Final = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_POSITION: Final = re.compile(f"position:({_UUID})")
_CONFIG: Final = re.compile(f"config:({_UUID})")
_FLAG: Final = re.compile(f"agent:({_UUID}):(?:trading_mode|automated_trading:(?:simulation|live))")
_BALANCE: Final = re.compile(f"balance:({_UUID}):(.+)", re.DOTALL)
_SET: Final = re.compile(f"agent:{_UUID}:positions|token:.+:positions|wallet:.+:balances|active_agents", re.DOTALL)


@dataclass(frozen=True, slots=True)
class PositionEntry:
    """A cached position."""

    key: str
    position_id: UUID


@dataclass(frozen=True, slots=True)
class BalanceEntry:
    """A cached balance: of one of these wallets and tokens, for both may hold a colon."""

    key: str
    agent_id: UUID
    places: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class AgentEntry:
    """A cached configuration with its flags; ``by_flag`` when a flag was met: it is compared with its configuration."""

    key: str
    agent_id: UUID
    by_flag: bool = False


@dataclass(frozen=True, slots=True)
class SetEntry:
    """An index set that counts as complete."""

    key: str


Entry = PositionEntry | BalanceEntry | AgentEntry | SetEntry


def entry_of(key: str, keys: CacheKeys) -> Entry | None:
    """What a key can be compared as; None for a floor, a helper, a price, and what is not ours."""
    name = key.removeprefix(keys.prefix)
    if name.endswith(COMPLETE) and _SET.fullmatch(name.removesuffix(COMPLETE)):
        return SetEntry(key.removesuffix(COMPLETE))
    if name.endswith((FLOOR, FILLING, COMPLETE)):
        return None
    if found := _POSITION.fullmatch(name):
        return PositionEntry(key, UUID(found[1]))
    if found := _CONFIG.fullmatch(name):
        return AgentEntry(key, UUID(found[1]))
    if found := _FLAG.fullmatch(name):
        agent_id = UUID(found[1])
        return AgentEntry(keys.config(agent_id), agent_id, by_flag=True)
    if found := _BALANCE.fullmatch(name):
        parts = found[2].split(":")
        wallets = list(accumulate(parts, "{}:{}".format))
        places = tuple((wallet, found[2][len(wallet) + 1 :]) for wallet in wallets[:-1])
        return BalanceEntry(key, UUID(found[1]), tuple((wallet, token) for wallet, token in places if wallet and token))
    return None


_KINDS: Final = (
    ("markers", re.compile(f".*(?:{FLOOR}|{COMPLETE}|{FILLING})", re.DOTALL)),
    ("positions", _POSITION),
    ("balances", _BALANCE),
    ("configurations", _CONFIG),
    ("flags", _FLAG),
    ("sets", _SET),
    ("prices", re.compile("price:.+", re.DOTALL)),
    ("helpers", re.compile(f"(?:{'|'.join(HELPERS)}).+", re.DOTALL)),
)


def kind_of(key: str, keys: CacheKeys) -> str:
    """What a key is counted as."""
    name = key.removeprefix(keys.prefix)
    return next((kind for kind, pattern in _KINDS if pattern.fullmatch(name)), "other")


@dataclass(frozen=True, slots=True)
class IndexSet:
    """A set whose owner is known: an agent, a token, a wallet (together with its agent), or all."""

    kind: Literal["agent", "token", "wallet", "active"]
    key: str
    tag: str
    rows: str
    """What the keys of its members' rows begin with; '' for a set without rows."""

    @property
    def agent_id(self) -> UUID:
        """The agent that owns it, or the wallet."""
        return UUID(self.tag.partition(" ")[0])

    @property
    def wallet_address(self) -> str:
        """The wallet that owns it."""
        return self.tag.partition(" ")[2]


def set_of_agent(agent_id: UUID, keys: CacheKeys) -> IndexSet:
    """The agent's positions."""
    return IndexSet("agent", keys.positions_of_agent(agent_id), str(agent_id), keys.positions)


def set_of_token(token_address: str, keys: CacheKeys) -> IndexSet:
    """The positions in the token."""
    return IndexSet("token", keys.positions_of_token(token_address), token_address, keys.positions)


def set_of_wallet(agent_id: UUID, wallet_address: str, keys: CacheKeys) -> IndexSet:
    """The wallet's balances."""
    key = keys.balances_of_wallet(wallet_address)
    return IndexSet("wallet", key, f"{agent_id} {wallet_address}", keys.balances(agent_id, wallet_address))


def set_of_active_agents(keys: CacheKeys) -> IndexSet:
    """The agents that trade by themselves."""
    return IndexSet("active", keys.active_agents, "all", "")


_MARKER: Final = re.compile(rb"([0-9]{1,9}) (.*)", re.DOTALL)


def marked_set(key: str, marker: bytes, keys: CacheKeys) -> tuple[IndexSet, int] | None:
    """Whose set it is and how many members it is to have, as its marker says; None for another key's marker."""
    found = _MARKER.fullmatch(marker)
    if found is None:
        return None
    try:
        tag = found[2].decode()
        marked = _set_of_tag(key, tag, keys)
    except ValueError:
        return None
    return (marked, int(found[1])) if marked.key == key and marked.tag == tag else None


def _set_of_tag(key: str, tag: str, keys: CacheKeys) -> IndexSet:
    name = key.removeprefix(keys.prefix)
    if name.startswith("agent:"):
        return set_of_agent(UUID(tag), keys)
    if name.startswith("token:"):
        return set_of_token(tag, keys)
    if name.startswith("wallet:"):
        agent_id, _, wallet_address = tag.partition(" ")
        return set_of_wallet(UUID(agent_id), wallet_address, keys)
    return set_of_active_agents(keys)


# --- Comparing ------------------------------------------------------------------------------------

Difference = tuple[DifferenceKind, str]
"""What is wrong, and what exactly."""


def compare_position(payload: bytes, row: AgentPosition | None) -> Difference | None:
    """What is wrong with a cached position."""
    return _compare(payload, row, POSITION)


def compare_balance(payload: bytes, row: AgentBalance | None) -> Difference | None:
    """What is wrong with a cached balance."""
    return _compare(payload, row, BALANCE)


def compare_agent(payload: bytes | None, flags: tuple[bytes | None, ...], row: CachedAgent | None) -> Difference | None:
    """What is wrong with a cached configuration and its flags, as far as they are cached."""
    if payload is None and not any(flags):
        return None
    if row is None:
        return "ghost", "the agent does not exist"
    expected = encode_config(row)
    if payload is not None and payload != expected:
        return _version_differs(version_of(payload), row.version) or ("altered", "another configuration")
    wanted = (row.trading_mode, str(int(row.automated_trading_simulation)), str(int(row.automated_trading_live)))
    for name, value, right in zip(("mode", "simulation", "live"), flags, wanted, strict=True):
        if value is not None and value != right.encode():
            return "altered", f"{name} is {value[:20]!r} instead of {right}"
    return None


def compare_members(cached: frozenset[str], members: frozenset[str]) -> Difference | None:
    """What is wrong with the members of a complete set."""
    if cached == members:
        return None
    missing, surplus = sorted(members - cached), sorted(cached - members)
    told = [f"{len(missing)} missing: {missing[0]}"] if missing else []
    told += [f"{len(surplus)} too many: {surplus[0]}"] if surplus else []
    return "members", ", ".join(told)


Versioned = TypeVar("Versioned", AgentPosition, AgentBalance)


def _compare(payload: bytes, row: Versioned | None, codec: Codec[Versioned]) -> Difference | None:
    if row is None:
        return "ghost", "the row does not exist"
    if payload == codec.encode(row):
        return None
    found = codec.decode(payload)
    if found is None:
        return "unreadable", f"{payload[:60]!r}"
    return _version_differs(found.version, row.version) or _fields_differ(found, row)


def _version_differs(cached: int | None, version: int) -> Difference | None:
    if cached is None:
        return "unreadable", "it has no version"
    if cached < version:
        return "stale", f"version {cached} instead of {version}"
    if cached > version:
        return "ahead", f"version {cached} instead of {version}"
    return None


def _fields_differ(found: BaseModel, row: BaseModel) -> Difference | None:
    """Decimals digit by digit: 1.0 is not 1.00 here. Times as the moments that they are."""
    told = [
        f"{name} is {found.__dict__[name]} instead of {value}"
        for name, value in row.__dict__.items()
        if not _same(found.__dict__[name], value)
    ]
    return ("altered", ", ".join(told)) if told else None


def _same(one: object, other: object) -> bool:
    if isinstance(one, Decimal) and isinstance(other, Decimal):
        return one.as_tuple() == other.as_tuple()
    return one == other
