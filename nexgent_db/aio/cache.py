"""The cache: what services read all the time, kept beside the database in Redis or Valkey. PostgreSQL is the truth."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar
from uuid import UUID

from nexgent_db._breaker import CacheUnavailable
from nexgent_db._cache_rows import BALANCE, POSITION, Batch, Moment, version_of
from nexgent_db.aio._cache_helpers import CacheHelpers, CacheLock
from nexgent_db.aio._cache_prices import CachePrices
from nexgent_db.aio._cache_upkeep import CacheMetrics
from nexgent_db.aio._cache_whole import CacheWhole
from nexgent_db.aio._cache_writes import CacheWrites
from nexgent_db.aio._session import Session
from nexgent_db.aio.repositories.balances import BalanceRepository
from nexgent_db.aio.repositories.positions import PositionRepository
from nexgent_db.errors import InvalidInput, InvalidTradingConfig, NexgentError
from nexgent_db.models._base import TokenAddress, WalletAddress
from nexgent_db.models.balances import AgentBalance
from nexgent_db.models.cache import TradingFlags
from nexgent_db.models.positions import AgentPosition
from nexgent_db.models.trading_config import AgentTradingConfig, stored_config

if TYPE_CHECKING:
    from nexgent_db.aio._cache_link import CacheLink

__all__ = ["AsyncCache", "CacheLock", "CacheMetrics"]

R = TypeVar("R")

MOST_ROWS: Final = 10_000
"""Longer lists are not read through the cache."""
MOST_FILLED: Final = 2000
_LOG: Final = logging.getLogger("nexgent_db.cache")


@dataclass(frozen=True, slots=True)
class _Looked(Generic[R]):
    """What the cache had; when it had nothing to use, when the look began (None: it cannot be filled)."""

    row: R | None
    began: Moment | None = None
    replaced: bytes | None = None


@dataclass(frozen=True, slots=True)
class _Token:
    """When the look at an incomplete set began, and the token to complete it with."""

    began: Moment | None
    token: bytes


class AsyncCache(CacheWrites, CachePrices, CacheHelpers, CacheWhole):
    """Reads through the cache; every read falls back to the database, and what it finds there is cached.

    A caller sees every write of this process, through the same database, that was acknowledged: what was sent is waited
    for. In another process it does when it passes the ``version`` that the writer was given as ``at_least``; else it
    sees them as soon as they were applied, within milliseconds if nothing fails. Without Redis every read goes to the
    database. A Redis failure never raises and delays one call by a quarter of a second at the most; until the next
    success Redis is not asked again.

    With ``near_cache_rows`` single rows, configurations and flags are also kept in this process for as long as the
    server tells of changes. What another process changed is still seen as soon as that was told, within milliseconds,
    or with ``at_least``; when the server hangs, after 0.9 seconds at the latest. Lists and prices are always asked for.

    Raises what queries raise, when the database is asked.
    """

    def __init__(
        self,
        link: CacheLink | None,
        session: Session,
        block: Callable[[], AbstractAsyncContextManager[Session]],
    ) -> None:
        super().__init__(link, session, block)
        self._positions = PositionRepository(session)
        self._balances = BalanceRepository(session)

    # --- Reads ----------------------------------------------------------------------------------

    async def position(self, position_id: UUID, *, at_least: int | None = None) -> AgentPosition | None:
        """The open position; None once it is closed."""

        def decode(payload: bytes) -> AgentPosition | None:
            row = POSITION.decode(payload)
            return row if row is not None and row.id == position_id else None

        looked = await self._look(lambda link: link.keys.position(position_id), decode, at_least)
        if looked.row is not None:
            return looked.row
        row = await self._positions.find_by_id(position_id)
        if row is not None:
            await self._fill(looked, lambda batch: batch.position(row, "fill", looked.replaced))
        return row

    async def positions_of_agent(self, agent_id: UUID, *, at_least: int | None = None) -> list[AgentPosition]:
        """The agent's open positions, newest first. Raises InvalidInput when there are more than 10,000."""
        cached, token = await self._look_at_positions(
            lambda link: link.keys.positions_of_agent(agent_id),
            str(agent_id),
            lambda row: row.agent_id == agent_id,
            at_least,
        )
        if cached is not None:
            return cached
        rows = await self._positions.list_by_agent(agent_id, limit=MOST_ROWS)
        self._not_too_many(rows, "agent_id")
        await self._fill_positions(rows, token, lambda link: link.keys.positions_of_agent(agent_id), str(agent_id))
        return _newest_first(rows)

    async def positions_of_token(
        self, token_address: TokenAddress, *, at_least: int | None = None
    ) -> list[AgentPosition]:
        """The open positions in the token, of all agents, newest first. Raises InvalidInput above 10,000."""
        cached, token = await self._look_at_positions(
            lambda link: link.keys.positions_of_token(token_address),
            token_address,
            lambda row: row.token_address == token_address,
            at_least,
        )
        if cached is not None:
            return cached
        rows = await self._queries.list_positions_of_token(token_address, MOST_ROWS)
        self._not_too_many(rows, "token_address")
        await self._fill_positions(rows, token, lambda link: link.keys.positions_of_token(token_address), token_address)
        return _newest_first(rows)

    async def balance(
        self,
        agent_id: UUID,
        wallet_address: WalletAddress,
        token_address: TokenAddress,
        *,
        at_least: int | None = None,
    ) -> AgentBalance | None:
        """What the agent's wallet holds of the token; None when it never had any."""

        def decode(payload: bytes) -> AgentBalance | None:
            row = BALANCE.decode(payload)
            wanted = (agent_id, wallet_address, token_address)
            same = row is not None and (row.agent_id, row.wallet_address, row.token_address) == wanted
            return row if same else None

        looked = await self._look(
            lambda link: link.keys.balance(agent_id, wallet_address, token_address), decode, at_least
        )
        if looked.row is not None:
            return looked.row
        row = await self._balances.find_by_wallet_and_token(wallet_address, token_address)
        if row is None or row.agent_id != agent_id:
            return None
        await self._fill(looked, lambda batch: batch.balance(row, "fill", looked.replaced))
        return row

    async def balances_of_wallet(
        self, agent_id: UUID, wallet_address: WalletAddress, *, at_least: int | None = None
    ) -> list[AgentBalance]:
        """What the agent's wallet holds or held, by token address. Raises InvalidInput above 10,000."""
        tag = f"{agent_id} {wallet_address}"
        payloads, token = await self._look_at_set(
            lambda link: link.keys.balances_of_wallet(wallet_address),
            tag,
            lambda link: link.keys.balances(agent_id, wallet_address),
        )
        if payloads is not None:
            cached = [BALANCE.decode(payload) for payload in payloads]
            good = [row for row in cached if row is not None and tag == f"{row.agent_id} {row.wallet_address}"]
            if len(good) == len(cached) and _has(good, at_least):
                self._hits += 1
                return sorted(good, key=lambda row: row.token_address)
        self._misses += 1
        rows = await self._balances.list_by_wallet(agent_id, wallet_address, MOST_ROWS)
        self._not_too_many(rows, "wallet_address")

        def fill(batch: Batch, link: CacheLink) -> None:
            for row in rows:
                batch.balance(row, "fill")
            members = [row.token_address for row in rows]
            batch.complete(link.keys.balances_of_wallet(wallet_address), tag, token.token, members)

        await self._fill_set(token, len(rows), fill)
        return sorted(rows, key=lambda row: row.token_address)

    async def config(self, agent_id: UUID, *, at_least: int | None = None) -> AgentTradingConfig | None:
        """The agent's configuration, whole; None when there is no such agent. Raises InvalidTradingConfig.

        From the near cache, if there is one, what another process changed up to 0.9 seconds ago may be missing.
        """
        beginning = re.compile(rb'\{"version":[0-9]+,"agentId":"' + str(agent_id).encode() + rb'"[,}]')

        def decode(payload: bytes) -> AgentTradingConfig | None:
            try:
                return stored_config(payload.decode(), agent_id) if beginning.match(payload) else None
            except (InvalidTradingConfig, UnicodeError):
                return None

        looked = await self._look(lambda link: link.keys.config(agent_id), decode, at_least)
        if looked.row is not None:
            return looked.row
        agent = await self._queries.find_agent(agent_id)
        if agent is None:
            return None
        await self._fill(looked, lambda batch: batch.agent(agent, "fill", looked.replaced))
        return stored_config(agent.trading_config, agent_id)

    async def trading_flags(self, agent_id: UUID, *, at_least: int | None = None) -> TradingFlags:
        """Whether the agent may trade by itself. Never raises for a server that is gone: then all is paused.

        From the near cache, if there is one, a pause by another process may be missing for 0.9 seconds at the most.
        """
        link = self._readable()
        began: Moment | None = None
        if link is not None:
            began = link.now()
            keys = link.keys
            try:
                config, mode, simulation, live = await link.read(
                    keys.config(agent_id),
                    keys.trading_mode(agent_id),
                    keys.automated_trading(agent_id, "simulation"),
                    keys.automated_trading(agent_id, "live"),
                )
            except CacheUnavailable:
                began = None
                self._recover_soon()
            else:
                flags = _flags(agent_id, config, mode, simulation, live)
                if flags is not None and flags.version is not None and flags.version >= (at_least or 0):
                    self._hits += 1
                    return flags
        self._misses += 1
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
        await self._fill(_Looked(None, began), lambda batch: batch.agent(agent, "fill"))
        return TradingFlags.model_construct(
            agent_id=agent_id,
            trading_mode=agent.trading_mode,
            automated_trading_simulation=agent.automated_trading_simulation,
            automated_trading_live=agent.automated_trading_live,
            version=agent.version,
            source="database",
        )

    async def active_agents(self) -> list[UUID]:
        """The agents that trade by themselves in the mode that they are in, by id. Raises InvalidInput above 10,000."""
        members, token = await self._look_at_set(lambda link: link.keys.active_agents, "all", lambda _: "")
        if members is not None:
            try:
                found = sorted(UUID(member.decode()) for member in members)
            except ValueError:
                pass
            else:
                self._hits += 1
                return found
        self._misses += 1
        rows = await self._queries.list_active_agents(MOST_ROWS)
        self._not_too_many(rows, "agents")

        def fill(batch: Batch, link: CacheLink) -> None:
            batch.complete(link.keys.active_agents, "all", token.token, [str(agent_id) for agent_id in rows])

        await self._fill_set(token, len(rows), fill)
        return sorted(rows)

    # --- Looking and filling ----------------------------------------------------------------------

    async def _look(
        self, key: Callable[[CacheLink], str], decode: Callable[[bytes], R | None], at_least: int | None
    ) -> _Looked[R]:
        link = self._readable()
        if link is None:
            self._misses += 1
            return _Looked(None)
        began = link.now()
        try:
            (payload,) = await link.read(key(link))
        except CacheUnavailable:
            self._recover_soon()
            self._misses += 1
            return _Looked(None)
        if payload is not None:
            row = decode(payload)
            if row is None:
                self._misses += 1
                return _Looked(None, began, payload)
            if (version_of(payload) or 0) >= (at_least or 0):
                self._hits += 1
                return _Looked(row)
        self._misses += 1
        return _Looked(None, began)

    async def _look_at_set(
        self, key: Callable[[CacheLink], str], tag: str, beginning: Callable[[CacheLink], str]
    ) -> tuple[list[bytes] | None, _Token]:
        link = self._readable()
        if link is None:
            return None, _Token(None, b"")
        began = link.now()
        try:
            rows, token = await link.get_set(key(link), tag, beginning(link))
        except CacheUnavailable:
            self._recover_soon()
            return None, _Token(None, b"")
        return rows, _Token(began, token)

    async def _look_at_positions(
        self,
        key: Callable[[CacheLink], str],
        tag: str,
        fits: Callable[[AgentPosition], bool],
        at_least: int | None,
    ) -> tuple[list[AgentPosition] | None, _Token]:
        payloads, token = await self._look_at_set(key, tag, lambda link: link.keys.positions)
        if payloads is not None:
            cached = [POSITION.decode(payload) for payload in payloads]
            good = [row for row in cached if row is not None and fits(row)]
            if len(good) == len(cached) and _has(good, at_least):
                self._hits += 1
                return _newest_first(good), token
        self._misses += 1
        return None, token

    async def _fill_positions(
        self, rows: Sequence[AgentPosition], token: _Token, key: Callable[[CacheLink], str], tag: str
    ) -> None:
        def fill(batch: Batch, link: CacheLink) -> None:
            for row in rows:
                batch.position(row, "fill")
            batch.complete(key(link), tag, token.token, [str(row.id) for row in rows])

        await self._fill_set(token, len(rows), fill)

    async def _fill_set(self, token: _Token, size: int, fill: Callable[[Batch, CacheLink], None]) -> None:
        link = self._link
        if link is None or token.began is None or not token.token or size > MOST_FILLED:
            return
        batch = Batch(link.keys)
        fill(batch, link)
        await self._fill_in(batch, token.began)

    async def _fill(self, looked: _Looked[Any], fill: Callable[[Batch], None]) -> None:
        link = self._link
        if link is None or looked.began is None:
            return
        batch = Batch(link.keys)
        fill(batch)
        await self._fill_in(batch, looked.began)

    @staticmethod
    def _not_too_many(rows: Sequence[object], field: str) -> None:
        if len(rows) >= MOST_ROWS:
            raise InvalidInput(field, f"has {MOST_ROWS} rows or more: read them from the database, page by page")


def _newest_first(rows: Iterable[AgentPosition]) -> list[AgentPosition]:
    return sorted(rows, key=lambda row: (row.created_at, row.id), reverse=True)


def _has(rows: Iterable[AgentPosition] | Iterable[AgentBalance], version: int | None) -> bool:
    """Is the change of this version among them for sure?"""
    return version is None or any(row.version == version for row in rows)


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
