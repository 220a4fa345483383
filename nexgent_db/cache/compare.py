"""How a cached row differs from the database's. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import TypeVar

from pydantic import BaseModel

from nexgent_db.cache.codec import BALANCE, POSITION, Codec, encode_config, version_of
from nexgent_db.models.balances import AgentBalance
from nexgent_db.models.cache import CachedAgent, DifferenceKind
from nexgent_db.models.positions import AgentPosition

Difference = tuple[DifferenceKind, str]
"""The kind, and the detail."""


def compare_position(payload: bytes, row: AgentPosition | None) -> Difference | None:
    """How a cached position differs from the database's row; None when it does not."""
    return _compare(payload, row, POSITION)


def compare_balance(payload: bytes, row: AgentBalance | None) -> Difference | None:
    """How a cached balance differs from the database's row; None when it does not."""
    return _compare(payload, row, BALANCE)


def compare_agent(payload: bytes | None, flags: tuple[bytes | None, ...], row: CachedAgent | None) -> Difference | None:
    """How a cached configuration and its cached flags differ from the database's agent."""
    if payload is None and not any(flags):
        return None
    if row is None:
        return "orphan", "the agent does not exist"
    expected = encode_config(row)
    if payload is not None and payload != expected:
        return _version_differs(version_of(payload), row.version) or ("content_mismatch", "another configuration")
    wanted = (row.trading_mode, str(int(row.automated_trading_simulation)), str(int(row.automated_trading_live)))
    for name, value, right in zip(("mode", "simulation", "live"), flags, wanted, strict=True):
        if value is not None and value != right.encode():
            return "content_mismatch", f"{name} is {value[:20]!r} instead of {right}"
    return None


def compare_members(cached: frozenset[str], members: frozenset[str]) -> Difference | None:
    """How the members of a complete set differ from the database's."""
    if cached == members:
        return None
    missing, surplus = sorted(members - cached), sorted(cached - members)
    details = [f"{len(missing)} missing: {missing[0]}"] if missing else []
    details += [f"{len(surplus)} too many: {surplus[0]}"] if surplus else []
    return "membership_mismatch", ", ".join(details)


Versioned = TypeVar("Versioned", AgentPosition, AgentBalance)


def _compare(payload: bytes, row: Versioned | None, codec: Codec[Versioned]) -> Difference | None:
    if row is None:
        return "orphan", "the row does not exist"
    if payload == codec.encode(row):
        return None
    cached = codec.decode(payload)
    if cached is None:
        return "unreadable", f"{payload[:60]!r}"
    return _version_differs(cached.version, row.version) or _fields_differ(cached, row)


def _version_differs(cached: int | None, version: int) -> Difference | None:
    if cached is None:
        return "unreadable", "it has no version"
    if cached < version:
        return "stale", f"version {cached} instead of {version}"
    if cached > version:
        return "newer_than_database", f"version {cached} instead of {version}"
    return None


def _fields_differ(cached: BaseModel, row: BaseModel) -> Difference | None:
    """Compares decimals digit by digit (1.0 is not 1.00) and times as points in time."""
    details = [
        f"{name} is {cached.__dict__[name]} instead of {value}"
        for name, value in row.__dict__.items()
        if not _same(cached.__dict__[name], value)
    ]
    return ("content_mismatch", ", ".join(details)) if details else None


def _same(one: object, other: object) -> bool:
    if isinstance(one, Decimal) and isinstance(other, Decimal):
        return one.as_tuple() == other.as_tuple()
    return one == other
