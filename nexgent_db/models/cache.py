"""What the cache tells: flags, prices, and how it is doing."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from nexgent_db.models._base import UUID, AwareDatetime, Row, TokenNumber, TradingMode

CachedEntity = Literal["agent", "balance", "position", "everything"]


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
