"""The cache's results: flags, prices, differences, status; and its outbox."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from nexgent_db.models.base import UUID, AwareDatetime, Row, TokenNumber, TradingMode

CachedEntity = Literal["agent", "balance", "position", "everything"]
DifferenceKind = Literal[
    "stale", "newer_than_database", "content_mismatch", "unreadable", "orphan", "membership_mismatch"
]
"""How an entry of the cache can differ from the database: an older version; a newer version, which proves that the
database was restored or failed over; the same version with other content; an unreadable value; a row that the database
does not have; a complete set that lists other rows than the database."""


class CacheChange(Row):
    """An entry of the outbox: the row that a committed change concerns, and its version. ``everything``: all rows."""

    version: int
    entity: CachedEntity
    deleted: bool
    row_id: UUID | None
    agent_id: UUID | None
    wallet_address: str | None
    token_address: str | None


class CachedAgent(Row):
    """The cached columns of an agent; ``trading_config`` is the stored document as text."""

    id: UUID
    trading_mode: TradingMode
    automated_trading_simulation: bool
    automated_trading_live: bool
    trading_config: str
    version: int

    @property
    def is_active(self) -> bool:
        """Does the agent trade by itself in its current mode?"""
        live = self.trading_mode == "live"
        return self.automated_trading_live if live else self.automated_trading_simulation


class DatabaseIdentity(Row):
    """The database's name and last version. Under another name, or at a lower version, cached rows may be another's."""

    name: str
    last_version: int


class SetMember(Row):
    """A member of an index set, read from the database."""

    owner: str
    member: str


class CacheableRows(Row):
    """The number of rows in the database that can be cached."""

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

    ``source`` says which server answered. It is ``nowhere`` when neither Redis nor PostgreSQL did, or when there is no
    such agent: then both modes are paused, and ``trading_mode`` and ``version`` are None.
    """

    agent_id: UUID
    trading_mode: TradingMode | None
    automated_trading_simulation: bool
    automated_trading_live: bool
    version: int | None
    source: Literal["cache", "database", "nowhere"]

    def paused(self, mode: TradingMode | None = None) -> bool:
        """Must the agent not trade by itself in this mode, or in its own mode when None is given?"""
        match mode or self.trading_mode:
            case "simulation":
                return not self.automated_trading_simulation
            case "live":
                return not self.automated_trading_live
            case None:
                return True


class TokenPrice(Row):
    """A token's price. ``last_updated`` is the source's time: an older price never replaces a newer one."""

    token_address: str
    price_sol: TokenNumber
    price_usd: Decimal
    last_updated: AwareDatetime


class CacheWarmed(Row):
    """The result of ``warm``: the cached rows and index sets, and the seconds it took."""

    rows: int
    sets: int
    seconds: float


class CacheStatus(Row):
    """The state of the cache for all processes.

    ``waiting`` counts the changes in the outbox, up to 100,000; the oldest waits for ``lag_s`` seconds. ``keys`` counts
    the keys by kind. ``statistics`` has the counters of all processes that run maintenance, since the last reset: hits,
    misses, relayed, repaired, orphans. Memory is the server's, in bytes; a maximum of 0 means no maximum.
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
        """The share of reads that the cache answered; None before the first read."""
        hits = self.statistics.get("hits", 0)
        reads = hits + self.statistics.get("misses", 0)
        return hits / reads if reads else None


class CacheComparison(Row):
    """The result of ``verify`` and ``repair``: the entries that differ, by kind, and the number of repaired ones."""

    compared: int
    different: dict[DifferenceKind, int]
    repaired: int

    @property
    def differences(self) -> int:
        """The number of entries that differ."""
        return sum(self.different.values())


class CacheDifference(Row):
    """An entry of the cache that differs from the database: its key, the kind of difference, the detail."""

    key: str
    kind: DifferenceKind
    detail: str
