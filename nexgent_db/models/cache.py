"""What the cache tells: flags, prices, and how it is doing."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from nexgent_db.models._base import UUID, AwareDatetime, Row, TokenNumber, TradingMode

CachedEntity = Literal["agent", "balance", "position", "everything"]
DifferenceKind = Literal["stale", "ahead", "altered", "unreadable", "ghost", "members"]
"""How something cached can differ from the database: an older version; a newer one, which only a database that went
back can explain; the same version with another content; nothing that can be read; a row that does not exist; a set
that counts as complete and has other members."""


class CacheChange(Row):
    """One row of the outbox: what a committed change concerns, and the version it has there."""

    version: int
    entity: CachedEntity
    deleted: bool
    row_id: UUID | None
    agent_id: UUID | None
    wallet_address: str | None
    token_address: str | None


class CachedAgent(Row):
    """What is cached of an agent; ``trading_config`` is the stored document as text."""

    id: UUID
    trading_mode: TradingMode
    automated_trading_simulation: bool
    automated_trading_live: bool
    trading_config: str
    version: int

    @property
    def is_active(self) -> bool:
        """Does it trade by itself in the mode that it is in?"""
        live = self.trading_mode == "live"
        return self.automated_trading_live if live else self.automated_trading_simulation


class DatabaseIdentity(Row):
    """Which database this is, and how far: another ``name``, or a lower version, and cached rows may not be its own."""

    name: str
    last_version: int


class SetMember(Row):
    """One member of an index set as the database has it."""

    owner: str
    member: str


class CacheableRows(Row):
    """How many rows the database has of what is cached."""

    agents: int
    wallets: int
    balances: int
    positions: int


class CacheableWallet(Row):
    """A wallet whose balances are cached as a set."""

    wallet_address: str
    agent_id: UUID


class TradingFlags(Row):
    """Whether an agent may trade by itself.

    ``source`` says where that is known from. It is ``nowhere`` when neither Redis nor PostgreSQL answered, or no such
    agent exists: then all is paused, and ``trading_mode`` and ``version`` are None.
    """

    agent_id: UUID
    trading_mode: TradingMode | None
    automated_trading_simulation: bool
    automated_trading_live: bool
    version: int | None
    source: Literal["cache", "database", "nowhere"]

    def paused(self, mode: TradingMode | None = None) -> bool:
        """Is the agent not to trade by itself in this mode; in the one it is in when none is given?"""
        match mode or self.trading_mode:
            case "simulation":
                return not self.automated_trading_simulation
            case "live":
                return not self.automated_trading_live
            case None:
                return True


class TokenPrice(Row):
    """What a token cost at a moment. ``last_updated`` is the source's time: an older price never replaces a newer."""

    token_address: str
    price_sol: TokenNumber
    price_usd: Decimal
    last_updated: AwareDatetime


class CacheWarmed(Row):
    """What was brought into the cache: rows, index sets, and in how many seconds."""

    rows: int
    sets: int
    seconds: float


class CacheStatus(Row):
    """How the cache is doing, for all processes.

    ``waiting`` changes stand in the outbox, counted up to 100,000, the oldest for ``lag_s`` seconds. ``keys`` are
    counted by kind. ``statistics`` are the counts of all processes that maintain the cache, since it was emptied: hits,
    misses, drained, repaired, ghosts. Memory is the server's, in bytes; a maximum of 0 means none.
    """

    prefix: str
    epoch: str
    state: str
    waiting: int
    lag_s: float
    keys: dict[str, int]
    statistics: dict[str, int]
    used_memory: int
    max_memory: int

    @property
    def hit_rate(self) -> float | None:
        """Which part of the reads found what they wanted; None when nobody has read."""
        hits = self.statistics.get("hits", 0)
        reads = hits + self.statistics.get("misses", 0)
        return hits / reads if reads else None


class CacheComparison(Row):
    """What a comparison of everything cached found: how many entries differ by kind, and how many were mended."""

    compared: int
    different: dict[DifferenceKind, int]
    mended: int

    @property
    def differences(self) -> int:
        """How many entries differ."""
        return sum(self.different.values())


class CacheDifference(Row):
    """Something cached that is not what the database says: under which key, how it differs, and in what."""

    key: str
    kind: DifferenceKind
    detail: str
