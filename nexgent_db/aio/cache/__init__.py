"""The cache: rows that services read all the time, in Redis or Valkey beside the database. PostgreSQL is the truth."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Final
from uuid import UUID

from nexgent_db.aio.cache.admin import CacheAdmin
from nexgent_db.aio.cache.coordination import CacheLock, Coordination
from nexgent_db.aio.cache.final_relay import relay_until
from nexgent_db.aio.cache.maintenance import CacheMaintenance
from nexgent_db.aio.cache.metrics import CacheMetrics, metrics_of
from nexgent_db.aio.cache.prices import Prices
from nexgent_db.aio.cache.queries import CacheQueries
from nexgent_db.aio.cache.reader import CachedRow, CacheReader, newest_first
from nexgent_db.aio.cache.reconciler import Reconciler
from nexgent_db.aio.cache.recovery import Recovery
from nexgent_db.aio.cache.writer import CacheWriter
from nexgent_db.aio.pool import Lease
from nexgent_db.aio.repositories.balances import BalanceRepository
from nexgent_db.aio.repositories.positions import PositionRepository
from nexgent_db.aio.scope import RowScope
from nexgent_db.aio.session import Session
from nexgent_db.aio.turns import in_turns
from nexgent_db.cache.batch import Batch
from nexgent_db.cache.codec import BALANCE, POSITION, version_of
from nexgent_db.cache.keys import CacheKeys, lower_case
from nexgent_db.errors import InvalidInput, InvalidTradingConfig, NexgentError
from nexgent_db.models.balances import AgentBalance
from nexgent_db.models.base import TokenAddress, WalletAddress
from nexgent_db.models.cache import TradingFlags
from nexgent_db.models.positions import AgentPosition
from nexgent_db.models.trading_config import AgentTradingConfig, stored_config

if TYPE_CHECKING:
    from nexgent_db.aio.cache.client import CacheClient

__all__ = ["AsyncCache", "CacheAdmin", "CacheLock", "CacheMaintenance", "CacheMetrics", "Coordination", "Prices"]

MAX_ROWS: Final = 10_000
"""Longer lists are not read through the cache."""
_LOG: Final = logging.getLogger("nexgent_db.cache")


class AsyncCache:
    """Reads through the cache; each falls back to the database and caches the rows that it loads there.

    A caller sees every acknowledged write of this process through the same database: reads wait for the replies to sent
    changes. It sees a write of another process when it passes the ``version`` that the writer got as ``at_least``; else
    as soon as the write is applied, within milliseconds unless something fails. A list with ``at_least`` asks the
    database: a trade gives all rows one version, so a row of that version does not show that the others are there, too.
    Without Redis every read asks the database. A Redis failure never raises and delays one call by 250 ms at most; then
    Redis is not asked again until it is reached.

    ``local_cache_rows`` adds an in-process cache of single rows, configurations and flags, invalidated by Redis client
    tracking. A caller sees a write of another process when the server reports it, within milliseconds, or at once with
    ``at_least``; when the server hangs, after 0.9 seconds at most. Lists and prices always ask Redis.

    ``prices``, ``coordination``, ``admin`` and ``maintenance`` are the cache's other parts. Raises what queries raise,
    when the database is asked.
    """

    def __init__(
        self,
        client: CacheClient | None,
        session: Session,
        transaction: Callable[[], AbstractAsyncContextManager[Session]],
    ) -> None:
        self._client = client
        self._keys = CacheKeys() if client is None else client.keys
        self._queries = CacheQueries(session)
        self._positions = PositionRepository(session)
        self._balances = BalanceRepository(session)
        self._recovery = Recovery(client, self._queries, transaction)
        self._counters = self._recovery.counters
        self._reader = CacheReader(self._recovery)
        self._writer = CacheWriter(self._recovery)
        self._reconciler = None if client is None else Reconciler(client, self._queries)
        self.prices = Prices(self._recovery)
        self.coordination = Coordination(self._recovery)
        self.admin = CacheAdmin(self._recovery, self._reconciler)
        self.maintenance = CacheMaintenance(self._recovery, self._reconciler)

    async def _open(self) -> None:
        await self._recovery.open()

    def _open_soon(self) -> None:
        self._recovery.open_soon()

    async def _close(self) -> None:
        await self._recovery.close()

    async def _relay_until(self, lease: Lease, scope: RowScope, until: float) -> int | None:
        return await relay_until(self._recovery, lease, scope, until)

    def metrics(self) -> CacheMetrics:
        """The work of the cache in this process, and its state. Asks neither Redis nor the database."""
        return metrics_of(self._client, self._counters, self._reconciler)

    async def position(self, position_id: UUID, *, at_least: int | None = None) -> AgentPosition | None:
        """The open position; None once it is closed."""

        def decode(payload: bytes) -> AgentPosition | None:
            row = POSITION.decode(payload)
            return row if row is not None and row.id == position_id else None

        cached = await self._reader.row(self._keys.position(position_id), decode, at_least)
        if cached.row is not None:
            return cached.row
        row = await self._positions.find_by_id(position_id)
        if row is not None:
            await self._reader.store_row(cached, lambda batch: batch.position(row, "fill", cached.replaced))
        return row

    async def positions_of_agent(self, agent_id: UUID, *, at_least: int | None = None) -> list[AgentPosition]:
        """The agent's open positions, newest first. Raises InvalidInput when there are more than 10,000."""
        key, owner = self._keys.positions_of_agent(agent_id), str(agent_id)
        cached, load = await self._reader.positions(
            key, owner, self._keys.positions, lambda row: row.agent_id == agent_id, at_least
        )
        if cached is not None:
            return cached
        rows = await self._positions.list_by_agent(agent_id, limit=MAX_ROWS)
        _ensure_limit(rows, "agent_id")
        await self._reader.store_positions(load, rows, key, owner)
        return newest_first(rows)

    async def positions_of_token(
        self, token_address: TokenAddress, *, at_least: int | None = None
    ) -> list[AgentPosition]:
        """The open positions in the token, of all agents, newest first. The address may be in any case.

        Positions in exactly this token come alone. Without one, the positions in the token that differs from it by case
        alone. Each row has its token's address. Raises InvalidInput for 10,000 positions or more; when several tokens
        differ from the address by case alone, and none is equal to it.
        """
        owner, key = lower_case(token_address), self._keys.positions_of_token(token_address)
        cached, load = await self._reader.positions(
            key, owner, self._keys.positions, lambda row: lower_case(row.token_address) == owner, at_least
        )
        if cached is not None:
            return _of_token(token_address, cached)
        rows = await self._queries.list_positions_of_token(token_address, MAX_ROWS)
        _ensure_limit(rows, "token_address")
        await self._reader.store_positions(load, rows, key, owner)
        return _of_token(token_address, newest_first(rows))

    async def balance(
        self,
        agent_id: UUID,
        wallet_address: WalletAddress,
        token_address: TokenAddress,
        *,
        at_least: int | None = None,
    ) -> AgentBalance | None:
        """The wallet's balance of the token; None when it never held the token."""

        def decode(payload: bytes) -> AgentBalance | None:
            row = BALANCE.decode(payload)
            wanted = (agent_id, wallet_address, token_address)
            same = row is not None and (row.agent_id, row.wallet_address, row.token_address) == wanted
            return row if same else None

        cached = await self._reader.row(self._keys.balance(agent_id, wallet_address, token_address), decode, at_least)
        if cached.row is not None:
            return cached.row
        row = await self._balances.find_by_wallet_and_token(wallet_address, token_address)
        if row is None or row.agent_id != agent_id:
            return None
        await self._reader.store_row(cached, lambda batch: batch.balance(row, "fill", cached.replaced))
        return row

    async def balances_of_wallet(
        self, agent_id: UUID, wallet_address: WalletAddress, *, at_least: int | None = None
    ) -> list[AgentBalance]:
        """The wallet's balances, by token address. Raises InvalidInput above 10,000."""
        key, owner = self._keys.balances_of_wallet(wallet_address), f"{agent_id} {wallet_address}"
        payloads, load = await self._reader.members(key, owner, self._keys.balances(agent_id, wallet_address))
        if payloads is not None:
            decoded = await in_turns(BALANCE.decode, payloads)
            cached = [row for row in decoded if row is not None and owner == f"{row.agent_id} {row.wallet_address}"]
            if len(cached) == len(decoded) and at_least is None:
                self._counters.hits += 1
                return sorted(cached, key=lambda row: row.token_address)
        self._counters.misses += 1
        rows = await self._balances.list_by_wallet(agent_id, wallet_address, MAX_ROWS)
        _ensure_limit(rows, "wallet_address")

        async def fill(batch: Batch) -> None:
            await in_turns(lambda row: batch.balance(row, "fill"), rows)
            batch.complete(key, owner, load.token, [row.token_address for row in rows])

        await self._reader.store_set(load, len(rows), fill)
        return sorted(rows, key=lambda row: row.token_address)

    async def config(self, agent_id: UUID, *, at_least: int | None = None) -> AgentTradingConfig | None:
        """The agent's whole configuration; None when there is no such agent. Raises InvalidTradingConfig.

        With a local cache, a change by another process may be missing for 0.9 seconds at most.
        """
        start = re.compile(rb'\{"version":[0-9]+,"agentId":"' + str(agent_id).encode() + rb'"[,}]')

        def decode(payload: bytes) -> AgentTradingConfig | None:
            try:
                return stored_config(payload.decode(), agent_id) if start.match(payload) else None
            except (InvalidTradingConfig, UnicodeError):
                return None

        cached = await self._reader.row(self._keys.config(agent_id), decode, at_least)
        if cached.row is not None:
            return cached.row
        agent = await self._queries.find_agent(agent_id)
        if agent is None:
            return None
        await self._reader.store_row(cached, lambda batch: batch.agent(agent, "fill", cached.replaced))
        return stored_config(agent.trading_config, agent_id)

    async def trading_flags(self, agent_id: UUID, *, at_least: int | None = None) -> TradingFlags:
        """Whether the agent may trade by itself. Never raises for a server that is gone: the agent is paused then.

        With a local cache, a pause by another process may be missing for 0.9 seconds at most.
        """
        values, started_at = await self._reader.values(self._keys.config(agent_id), *self._keys.flags(agent_id))
        if values is not None:
            flags = _flags(agent_id, *values)
            if flags is not None and flags.version is not None and flags.version >= (at_least or 0):
                self._counters.hits += 1
                return flags
        self._counters.misses += 1
        try:
            agent = await self._queries.find_agent(agent_id)
        except NexgentError:
            _LOG.warning("agent %s counts as paused: neither cache nor database answered", agent_id)
            agent = None
        if agent is None:
            return TradingFlags.model_construct(
                agent_id=agent_id,
                trading_mode=None,
                automated_trading_simulation=False,
                automated_trading_live=False,
                version=None,
                source="nowhere",
            )
        missing: CachedRow[TradingFlags] = CachedRow(None, started_at)
        await self._reader.store_row(missing, lambda batch: batch.agent(agent, "fill"))
        return TradingFlags.model_construct(
            agent_id=agent_id,
            trading_mode=agent.trading_mode,
            automated_trading_simulation=agent.automated_trading_simulation,
            automated_trading_live=agent.automated_trading_live,
            version=agent.version,
            source="database",
        )

    async def active_agents(self) -> list[UUID]:
        """The agents that trade by themselves in their current mode, by id. Raises InvalidInput above 10,000."""
        key = self._keys.active_agents
        members, load = await self._reader.members(key, "all")
        if members is not None:
            try:
                cached = sorted(UUID(member.decode()) for member in members)
            except ValueError:
                pass
            else:
                self._counters.hits += 1
                return cached
        self._counters.misses += 1
        rows = await self._queries.list_active_agents(MAX_ROWS)
        _ensure_limit(rows, "agents")

        async def fill(batch: Batch) -> None:
            batch.complete(key, "all", load.token, [str(agent_id) for agent_id in rows])

        await self._reader.store_set(load, len(rows), fill)
        return sorted(rows)


def _ensure_limit(rows: Sequence[object], field: str) -> None:
    if len(rows) >= MAX_ROWS:
        raise InvalidInput(field, f"has {MAX_ROWS} rows or more: read them from the database, page by page")


def _of_token(token_address: str, rows: Sequence[AgentPosition]) -> list[AgentPosition]:
    """Of the positions in tokens that differ by case alone, those in the one that is meant."""
    tokens = {row.token_address for row in rows}
    if token_address not in tokens and len(tokens) > 1:
        raise InvalidInput("token_address", f"may be {' or '.join(sorted(tokens))}: the exact address is needed")
    return [row for row in rows if len(tokens) == 1 or row.token_address == token_address]


def _flags(
    agent_id: UUID, config: bytes | None, mode: bytes | None, simulation: bytes | None, live: bytes | None
) -> TradingFlags | None:
    version = None if config is None else version_of(config)
    known = {b"1": True, b"0": False}
    if version is None or mode not in (b"simulation", b"live") or simulation not in known or live not in known:
        return None
    return TradingFlags.model_construct(
        agent_id=agent_id,
        trading_mode="live" if mode == b"live" else "simulation",
        automated_trading_simulation=known[simulation],
        automated_trading_live=known[live],
        version=version,
        source="cache",
    )
