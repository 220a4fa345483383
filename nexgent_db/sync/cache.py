# Generated from nexgent_db/aio/cache.py by `make sync`: do not edit.
"""The cache: what services read all the time, kept beside the database in Redis or Valkey. PostgreSQL is the truth."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final, Generic, TypeVar
from uuid import UUID

import msgspec

from nexgent_db._background import Background
from nexgent_db._breaker import CacheUnavailable
from nexgent_db._cache_rows import BALANCE, POSITION, Batch, Change, version_of
from nexgent_db._cache_scripts import script
from nexgent_db.binding import query
from nexgent_db.cache_keys import PRICE_MS
from nexgent_db.errors import InvalidInput, InvalidTradingConfig, NexgentError
from nexgent_db.models._base import TokenAddress, WalletAddress
from nexgent_db.models.balances import AgentBalance
from nexgent_db.models.cache import CacheChange, CachedAgent, DatabaseIdentity, TokenPrice, TradingFlags
from nexgent_db.models.positions import AgentPosition
from nexgent_db.models.trades import ResetResult, TradeResult
from nexgent_db.models.trading_config import AgentTradingConfig, stored_config
from nexgent_db.sync._repository import Repository
from nexgent_db.sync._session import Session
from nexgent_db.sync.repositories.balances import BalanceRepository
from nexgent_db.sync.repositories.positions import PositionRepository

if TYPE_CHECKING:  # redis takes its time to import: not without a REDIS_URL
    from nexgent_db.sync._cache_link import CacheLink

R = TypeVar("R")

PROBE_S: Final = 0.5
CHECK_S: Final = 1.0
"""How often maintenance asks whether server and database are still the same."""
CHANGES_AT_ONCE: Final = 500
"""How many changes a round of maintenance takes from the outbox, and holds in memory."""
MOST_CHANGES: Final = 1000
"""A block that changed more leaves them to the outbox."""
MOST_ROWS: Final = 10_000
"""Longer lists are not read through the cache."""
MOST_FILLED: Final = 2000
_LOG: Final = logging.getLogger("nexgent_db.cache")


class _Queries(Repository, sql="cache"):
    """The cache's own reads of the database."""

    @query
    def own_changes(
        self, seen: int, limit: int
    ) -> list[tuple[CacheChange, AgentPosition | None, AgentBalance | None, CachedAgent | None]]:
        """What this transaction changed."""
        ...

    @query
    def take_changes(
        self, limit: int
    ) -> list[tuple[CacheChange, AgentPosition | None, AgentBalance | None, CachedAgent | None]]:
        """The oldest changes, taken off the queue."""
        ...

    @query
    def has_changes(self, version: int) -> bool:
        """Does a change up to this version wait?"""
        ...

    @query
    def lag(self) -> float:
        """How many seconds the oldest change has waited."""
        ...

    @query
    def identity(self) -> DatabaseIdentity:
        """Which database this is."""
        ...

    @query
    def find_agent(self, agent_id: UUID) -> CachedAgent | None:
        """What is cached of an agent."""
        ...

    @query
    def list_active_agents(self, limit: int) -> list[UUID]:
        """The agents that trade by themselves."""
        ...

    @query
    def list_positions_of_token(self, token_address: TokenAddress, limit: int) -> list[AgentPosition]:
        """The open positions in a token."""
        ...


@dataclass(frozen=True, slots=True)
class _Looked(Generic[R]):
    """What the cache had; when it had nothing to use, when the look began (None: it cannot be filled)."""

    row: R | None
    began_ms: int | None = None
    replaced: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheMetrics:
    """What the cache did in this process since it was opened, and its state."""

    state: str
    reason: str | None
    hits: int
    misses: int
    drained: int
    repaired: int
    resets: int
    openings: int
    calls: int


class Cache:
    """Reads through the cache; every read falls back to the database, and what it finds there is cached.

    A caller sees every write of this process that was acknowledged. In another process it does when it passes the
    ``version`` that the writer was given as ``at_least``; else it sees them as soon as they were applied, within
    milliseconds if nothing fails. Without Redis every read goes to the database. A Redis failure never raises and
    delays one call by a quarter of a second at the most; until the next success Redis is not asked again.

    Raises what queries raise, when the database is asked.
    """

    def __init__(
        self,
        link: CacheLink | None,
        session: Session,
        block: Callable[[], AbstractContextManager[Session]],
    ) -> None:
        self._link = link
        self._queries = _Queries(session)
        self._positions = PositionRepository(session)
        self._balances = BalanceRepository(session)
        self._block = block
        self._background = Background()
        self._hits = self._misses = self._drained = self._repaired = 0
        self._seen = 0
        self._next_check = 0.0

    # --- Reads ----------------------------------------------------------------------------------

    def position(self, position_id: UUID, *, at_least: int | None = None) -> AgentPosition | None:
        """The open position; None once it is closed."""

        def decode(payload: bytes) -> AgentPosition | None:
            row = POSITION.decode(payload)
            return row if row is not None and row.id == position_id else None

        looked = self._look(lambda link: link.keys.position(position_id), decode, at_least)
        if looked.row is not None:
            return looked.row
        row = self._positions.find_by_id(position_id)
        if row is not None:
            self._fill(looked, lambda batch: batch.position(row, "fill", looked.replaced))
        return row

    def positions_of_agent(self, agent_id: UUID, *, at_least: int | None = None) -> list[AgentPosition]:
        """The agent's open positions, newest first. Raises InvalidInput when there are more than 10,000."""
        cached, token = self._look_at_positions(
            lambda link: link.keys.positions_of_agent(agent_id),
            str(agent_id),
            lambda row: row.agent_id == agent_id,
            at_least,
        )
        if cached is not None:
            return cached
        rows = self._positions.list_by_agent(agent_id, limit=MOST_ROWS)
        self._not_too_many(rows, "agent_id")
        self._fill_positions(rows, token, lambda link: link.keys.positions_of_agent(agent_id), str(agent_id))
        return _newest_first(rows)

    def positions_of_token(self, token_address: TokenAddress, *, at_least: int | None = None) -> list[AgentPosition]:
        """The open positions in the token, of all agents, newest first. Raises InvalidInput above 10,000."""
        cached, token = self._look_at_positions(
            lambda link: link.keys.positions_of_token(token_address),
            token_address,
            lambda row: row.token_address == token_address,
            at_least,
        )
        if cached is not None:
            return cached
        rows = self._queries.list_positions_of_token(token_address, MOST_ROWS)
        self._not_too_many(rows, "token_address")
        self._fill_positions(rows, token, lambda link: link.keys.positions_of_token(token_address), token_address)
        return _newest_first(rows)

    def balance(
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

        looked = self._look(lambda link: link.keys.balance(agent_id, wallet_address, token_address), decode, at_least)
        if looked.row is not None:
            return looked.row
        row = self._balances.find_by_wallet_and_token(wallet_address, token_address)
        if row is None or row.agent_id != agent_id:
            return None
        self._fill(looked, lambda batch: batch.balance(row, "fill", looked.replaced))
        return row

    def balances_of_wallet(
        self, agent_id: UUID, wallet_address: WalletAddress, *, at_least: int | None = None
    ) -> list[AgentBalance]:
        """What the agent's wallet holds or held, by token address. Raises InvalidInput above 10,000."""
        tag = f"{agent_id} {wallet_address}"
        payloads, token = self._look_at_set(
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
        rows = self._balances.list_by_wallet(agent_id, wallet_address, MOST_ROWS)
        self._not_too_many(rows, "wallet_address")

        def fill(batch: Batch, link: CacheLink) -> None:
            for row in rows:
                batch.balance(row, "fill")
            members = [row.token_address for row in rows]
            batch.complete(link.keys.balances_of_wallet(wallet_address), tag, token.token, members)

        self._fill_set(token, len(rows), fill)
        return sorted(rows, key=lambda row: row.token_address)

    def config(self, agent_id: UUID, *, at_least: int | None = None) -> AgentTradingConfig | None:
        """The agent's configuration, whole; None when there is no such agent. Raises InvalidTradingConfig."""
        beginning = re.compile(rb'\{"version":[0-9]+,"agentId":"' + str(agent_id).encode() + rb'"[,}]')

        def decode(payload: bytes) -> AgentTradingConfig | None:
            try:
                return stored_config(payload.decode(), agent_id) if beginning.match(payload) else None
            except (InvalidTradingConfig, UnicodeError):
                return None

        looked = self._look(lambda link: link.keys.config(agent_id), decode, at_least)
        if looked.row is not None:
            return looked.row
        agent = self._queries.find_agent(agent_id)
        if agent is None:
            return None
        self._fill(looked, lambda batch: batch.agent(agent, "fill", looked.replaced))
        return stored_config(agent.trading_config, agent_id)

    def trading_flags(self, agent_id: UUID, *, at_least: int | None = None) -> TradingFlags:
        """Whether the agent may trade by itself. Never raises for a server that is gone: then all is paused."""
        link = self._readable()
        began: int | None = None
        if link is not None:
            began = link.now_ms()
            keys = link.keys
            try:
                config, mode, simulation, live = link.get(
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
            agent = self._queries.find_agent(agent_id)
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
        self._fill(_Looked(None, began), lambda batch: batch.agent(agent, "fill"))
        return TradingFlags.model_construct(
            agent_id=agent_id,
            trading_mode=agent.trading_mode,
            automated_trading_simulation=agent.automated_trading_simulation,
            automated_trading_live=agent.automated_trading_live,
            version=agent.version,
            source="database",
        )

    def active_agents(self) -> list[UUID]:
        """The agents that trade by themselves in the mode that they are in, by id. Raises InvalidInput above 10,000."""
        members, token = self._look_at_set(lambda link: link.keys.active_agents, "all", lambda _: "")
        if members is not None:
            try:
                found = sorted(UUID(member.decode()) for member in members)
            except ValueError:
                pass
            else:
                self._hits += 1
                return found
        self._misses += 1
        rows = self._queries.list_active_agents(MOST_ROWS)
        self._not_too_many(rows, "agents")

        def fill(batch: Batch, link: CacheLink) -> None:
            batch.complete(link.keys.active_agents, "all", token.token, [str(agent_id) for agent_id in rows])

        self._fill_set(token, len(rows), fill)
        return sorted(rows)

    def prices(self, token_addresses: Sequence[TokenAddress]) -> dict[str, TokenPrice]:
        """The latest prices that are known, by token. A token without one is left out; without Redis all are."""
        link = self._readable()
        if link is None or not token_addresses:
            return {}
        try:
            payloads = link.get(*(link.keys.price(token) for token in token_addresses))
        except CacheUnavailable:
            self._recover_soon()
            return {}
        found = {}
        for token, payload in zip(token_addresses, payloads, strict=True):
            price = None if payload is None else _price(token, payload)
            if price is not None:
                found[token] = price
        return found

    def set_price(self, price: TokenPrice) -> bool:
        """Keep a price unless a newer one is known, by its source's time; whether it was kept."""
        return self.set_prices([price]) == 1

    def set_prices(self, prices: Iterable[TokenPrice]) -> int:
        """The same of many in one round trip; how many were kept."""
        link = self._readable()
        latest: dict[str, TokenPrice] = {}
        for price in sorted(prices, key=lambda price: price.last_updated):
            latest[price.token_address] = price
        if link is None or not latest:
            return 0
        arguments: list[object] = [PRICE_MS]
        for price in latest.values():
            time = price.last_updated.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
            arguments += (time, _price_payload(price, time))
        try:
            keys = [link.keys.price(token) for token in latest]
            return int(link.run(script("set_prices"), keys, *arguments))
        except CacheUnavailable:
            self._recover_soon()
            return 0

    # --- Looking and filling ----------------------------------------------------------------------

    def _readable(self) -> CacheLink | None:
        if self._link is None or self._link.breaker.may_read:
            return self._link
        self._recover_soon()
        return None

    def _look(
        self, key: Callable[[CacheLink], str], decode: Callable[[bytes], R | None], at_least: int | None
    ) -> _Looked[R]:
        link = self._readable()
        if link is None:
            self._misses += 1
            return _Looked(None)
        began = link.now_ms()
        try:
            (payload,) = link.get(key(link))
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

    def _look_at_set(
        self, key: Callable[[CacheLink], str], tag: str, beginning: Callable[[CacheLink], str]
    ) -> tuple[list[bytes] | None, _Token]:
        link = self._readable()
        if link is None:
            return None, _Token(None, b"")
        began = link.now_ms()
        try:
            rows, token = link.get_set(key(link), tag, beginning(link))
        except CacheUnavailable:
            self._recover_soon()
            return None, _Token(None, b"")
        return rows, _Token(began, token)

    def _look_at_positions(
        self,
        key: Callable[[CacheLink], str],
        tag: str,
        fits: Callable[[AgentPosition], bool],
        at_least: int | None,
    ) -> tuple[list[AgentPosition] | None, _Token]:
        payloads, token = self._look_at_set(key, tag, lambda link: link.keys.positions)
        if payloads is not None:
            cached = [POSITION.decode(payload) for payload in payloads]
            good = [row for row in cached if row is not None and fits(row)]
            if len(good) == len(cached) and _has(good, at_least):
                self._hits += 1
                return _newest_first(good), token
        self._misses += 1
        return None, token

    def _fill_positions(
        self, rows: Sequence[AgentPosition], token: _Token, key: Callable[[CacheLink], str], tag: str
    ) -> None:
        def fill(batch: Batch, link: CacheLink) -> None:
            for row in rows:
                batch.position(row, "fill")
            batch.complete(key(link), tag, token.token, [str(row.id) for row in rows])

        self._fill_set(token, len(rows), fill)

    def _fill_set(self, token: _Token, size: int, fill: Callable[[Batch, CacheLink], None]) -> None:
        link = self._link
        if link is None or token.began_ms is None or not token.token or size > MOST_FILLED:
            return
        batch = Batch(link.keys)
        fill(batch, link)
        self._send(batch, token.began_ms, missed=False)

    def _fill(self, looked: _Looked[Any], fill: Callable[[Batch], None]) -> None:
        link = self._link
        if link is None or looked.began_ms is None:
            return
        batch = Batch(link.keys)
        fill(batch)
        self._send(batch, looked.began_ms, missed=False)

    def _send(self, batch: Batch, began_ms: int, *, missed: bool) -> int:
        """One round trip. A failure is kept to ourselves; ``missed`` says that a committed change was in it."""
        link = self._link
        assert link is not None
        self._seen = max(self._seen, batch.version)
        try:
            return link.write(batch, began_ms, missed=missed)
        except CacheUnavailable:
            self._recover_soon()
        except Exception:
            _LOG.exception("the cache could not be written")
            link.breaker.fail("an error of the client", missed=missed)
            self._recover_soon()
        return 0

    @staticmethod
    def _not_too_many(rows: Sequence[object], field: str) -> None:
        if len(rows) >= MOST_ROWS:
            raise InvalidInput(field, f"has {MOST_ROWS} rows or more: read them from the database, page by page")

    # --- Writes: called by sessions and blocks ------------------------------------------------------

    @property
    def seen(self) -> int:
        """A version below every one that is given from now on."""
        return self._seen

    @property
    def follows(self) -> bool:
        """Are changes applied at the moment? When not, it is remembered that some were missed."""
        return self._link is not None and self._link.breaker.may_write()

    def now_ms(self) -> int:
        """The moment from which on a change counts as begun."""
        return 0 if self._link is None else self._link.now_ms()

    def apply_trade(self, result: TradeResult | ResetResult, token_address: str | None, began_ms: int) -> None:
        """Bring what a committed trade changed into the cache, in one round trip. Never raises."""
        link = self._link
        if link is None:
            return
        if not link.breaker.may_write():
            self._recover_soon()
            return
        batch = Batch(link.keys)
        batch.trade(result, token_address)
        if batch:
            self._send(batch, began_ms, missed=True)

    def meet(self, session: Session) -> None:
        """See at each new connection whether the database is still the one that is cached. Never raises.

        After a failover to an older state, or a restore, what is cached is not believed by anybody from here on.
        """
        link = self._link
        if link is None or link.database is None:
            return
        try:
            found = _Queries(session).identity()
        except NexgentError as error:
            _LOG.warning("the database does not tell which one it is: %s", error)
            return
        self._compare(link, found)

    def _compare(self, link: CacheLink, found: DatabaseIdentity) -> None:
        known = link.database
        if known is None or (found.name == known.name and found.last_version >= max(known.last_version, self._seen)):
            link.database = found
            return
        link.database = None
        self._seen = 0
        link.distrust("the database is another one, or went back to an earlier state")
        self._recover_soon()

    def changes_of(self, session: Session, seen: int) -> list[Change]:
        """What the session's transaction changed, to be applied after its COMMIT: one round trip to the database."""
        return _Queries(session).own_changes(seen, MOST_CHANGES + 1)

    def leave_to_outbox(self) -> None:
        """A block was committed whose changes are not known here: read from the database until they were applied."""
        if self._link is not None:
            self._link.breaker.miss()
            self._recover_soon()

    def apply_changes(self, changes: Sequence[Change], began_ms: int) -> None:
        """Bring committed changes into the cache, in one round trip. Never raises."""
        link = self._link
        if link is None or not changes:
            return
        if len(changes) > MOST_CHANGES or any(change.entity == "everything" for change, *_ in changes):
            self.leave_to_outbox()
            return
        if not link.breaker.may_write():
            self._recover_soon()
            return
        batch = Batch(link.keys)
        batch.changes(changes)
        if batch:
            self._send(batch, began_ms, missed=True)

    # --- Keeping it right ---------------------------------------------------------------------------

    def open(self) -> None:
        """Find Redis, if it is there; else go on looking for it beside. Never raises for Redis."""
        self._background.open()
        if self._link is not None and not self._recover():
            self._recover_soon()

    def close(self) -> None:
        """Stop what runs beside, and close the connections to Redis."""
        self._background.close()
        if self._link is not None:
            self._link.close()

    def _recover_soon(self) -> None:
        self._background.start(self._recover_later, PROBE_S)

    def _recover_later(self) -> bool:
        time.sleep(PROBE_S)
        return self._recover()

    def _recover(self) -> bool:
        """One attempt to find Redis well and to make up for what it missed; whether it succeeded."""
        link = self._link
        assert link is not None
        try:
            if not link.breaker.may_write() and not link.check(self._queries.identity):
                return False
            if not link.breaker.may_read:  # what this process has committed so far stands in the outbox
                missed = link.breaker.missed
                last = self._queries.identity().last_version
                while self._queries.has_changes(last):
                    if self._drain_some(link) == 0:
                        time.sleep(0.02)  # another process is at it
                    if not link.breaker.may_write():
                        return False
                link.breaker.caught_up(missed)
        except (CacheUnavailable, NexgentError) as error:
            _LOG.info("the cache is not back yet: %s", error)
            return False
        return link.breaker.may_read

    def _drain_some(self, link: CacheLink) -> int:
        """Bring the oldest changes into the cache and take them off the queue; how many. Raises CacheUnavailable."""
        began = link.now_ms()
        with self._block() as session:
            changes = _Queries(session).take_changes(CHANGES_AT_ONCE)
            if not changes:
                return 0
            if any(change.entity == "everything" for change, *_ in changes):
                link.reset()
            batch = Batch(link.keys)
            batch.changes(changes)
            if batch:
                self._repaired += link.write(batch, began, missed=True)
        self._drained += len(changes)
        return len(changes)

    def maintain(self) -> int:
        """One round of maintenance: bring changes that nobody has applied into the cache; how many were waiting.

        Bounded: 500 changes. Any number of processes may do this. Nothing while Redis is away. Raises what queries
        raise.
        """
        link = self._link
        if link is None or not link.breaker.may_read:
            return 0
        try:
            if time.monotonic() >= self._next_check:
                self._next_check = time.monotonic() + CHECK_S
                self._compare(link, self._queries.identity())
                link.check_server()
            return self._drain_some(link)
        except CacheUnavailable:
            self._recover_soon()
            return 0

    def run_maintenance(self, pause_s: float = 0.2) -> None:
        """Rounds of maintenance for ever, with a pause when there was little to do: for a thread of a service.

        Goes on whatever fails meanwhile; cancel the thread to stop it.
        """
        while True:
            done = 0
            try:
                done = self.maintain()
            except NexgentError as error:
                _LOG.warning("a round of the cache's maintenance failed: %s", error)
            if done < CHANGES_AT_ONCE:
                time.sleep(pause_s)

    def lag_s(self) -> float:
        """For how many seconds the oldest change has waited to be brought into the cache. Raises what queries raise."""
        return self._queries.lag()

    def metrics(self) -> CacheMetrics:
        """What was done so far."""
        link = self._link
        return CacheMetrics(
            state="absent" if link is None else link.breaker.state.value,
            reason=None if link is None else link.breaker.reason,
            hits=self._hits,
            misses=self._misses,
            drained=self._drained,
            repaired=self._repaired,
            resets=0 if link is None else link.resets,
            openings=0 if link is None else link.breaker.openings,
            calls=0 if link is None else link.calls,
        )


@dataclass(frozen=True, slots=True)
class _Token:
    """When the look at an incomplete set began, and the token to complete it with."""

    began_ms: int | None
    token: bytes


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


class _PriceDocument(msgspec.Struct, rename="camel"):
    price_sol: Decimal
    price_usd: Decimal
    last_updated: Annotated[datetime, msgspec.Meta(tz=True)]


_PRICE: Final = msgspec.json.Decoder(_PriceDocument)


def _price_payload(price: TokenPrice, time: str) -> bytes:
    return msgspec.json.encode(
        {
            "lastUpdated": f"{time}Z",
            "priceSol": format(price.price_sol, "f"),
            "priceUsd": format(price.price_usd, "f"),
        }
    )


def _price(token: str, payload: bytes) -> TokenPrice | None:
    try:
        found = _PRICE.decode(payload)
        return TokenPrice(
            token_address=token,
            price_sol=found.price_sol,
            price_usd=found.price_usd,
            last_updated=found.last_updated,
        )
    except (msgspec.MsgspecError, ValueError):
        return None
