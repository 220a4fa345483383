"""Rows as they stand in the cache, and changes as the script ``write.lua`` takes them. Pure.

A cached row is a JSON object: ``version`` first, for the scripts, then the row's fields in camelCase, decimals and ids
as strings, times in ISO 8601. What cannot be read back as the very row that was asked for counts as not cached.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from operator import itemgetter
from typing import Any, Final, Generic, NamedTuple, TypeVar, get_args
from uuid import UUID

import msgspec
from pydantic import BaseModel

from nexgent_db.binding import BoundQuery, row_maker
from nexgent_db.cache_keys import CacheKeys
from nexgent_db.models.balances import AgentBalance
from nexgent_db.models.cache import CacheChange, CachedAgent
from nexgent_db.models.positions import AgentPosition
from nexgent_db.models.trades import ResetResult, TradeResult
from nexgent_db.outcomes import plain_type

Model = TypeVar("Model", bound=BaseModel)
Change = tuple[CacheChange, AgentPosition | None, AgentBalance | None, CachedAgent | None]

CLOSED: Final = 2**63 - 1
"""The version of a deletion that nothing follows: a position's id is never used again."""

_VERSION: Final = re.compile(rb'\{"version":([0-9]{1,19})[,}]')


class Moment(NamedTuple):
    """When a change or a look began: by the cache's clock, and in which of its epochs. What is brought into a later
    epoch may be of a row that was deleted, or of a database that has gone back, when the earlier one was ended."""

    epoch: bytes
    ms: int


def version_of(payload: bytes) -> int | None:
    """The version that a payload begins with, as the scripts read it; None when it has none."""
    found = _VERSION.match(payload)
    return None if found is None else int(found[1])


class Codec(Generic[Model]):
    """One model's rows as JSON and back, digit by digit."""

    def __init__(self, model: type[Model]) -> None:
        names = ["version", *(name for name in model.model_fields if name != "version")]
        fields = [(name, plain_type(item.annotation)) for name, item in model.model_fields.items()]
        self._camels = [_camel(name) for name in names]
        self._values_of = itemgetter(*names)
        self._decimals = [_camel(name) for name, kind in fields if Decimal in (kind, *get_args(kind))]
        self._decoder = msgspec.json.Decoder(msgspec.defstruct(model.__name__, fields, rename="camel", kw_only=True))
        self._make: Callable[[Any], Model] = row_maker(model, list(model.model_fields), f"cached {model.__name__}")

    def encode(self, row: Model) -> bytes:
        """The row as it is cached."""
        document = dict(zip(self._camels, self._values_of(row.__dict__), strict=True))
        for name in self._decimals:
            if (number := document[name]) is not None:
                document[name] = f"{number:f}"
        return msgspec.json.encode(document)

    def decode(self, payload: bytes) -> Model | None:
        """The row again; None for what is none."""
        if version_of(payload) is None:
            return None
        try:
            return self._make(msgspec.structs.astuple(self._decoder.decode(payload)))
        except (msgspec.MsgspecError, UnicodeError, ValueError):
            return None


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(part.capitalize() for part in others)


POSITION: Final = Codec(AgentPosition)
BALANCE: Final = Codec(AgentBalance)


def encode_config(agent: CachedAgent) -> bytes | None:
    """The stored document with version and agentId before its own keys; None when it is no object."""
    text = "{}" if agent.trading_config == "null" else agent.trading_config
    if not text.startswith("{"):
        return None
    rest = text[1:] if text[1:].strip() == "}" else "," + text[1:]
    return f'{{"version":{agent.version},"agentId":"{agent.id}"{rest}'.encode()


def is_cacheable(agent: CachedAgent) -> bool:
    """Is its stored configuration a document? When not, everyone shall see the error that it is."""
    return encode_config(agent) is not None


class Batch:
    """The arguments of one call of ``write.lua``."""

    def __init__(self, keys: CacheKeys) -> None:
        self._keys = keys
        self.version = 0
        self.arguments: list[str | bytes | int] = []

    def __bool__(self) -> bool:
        return bool(self.arguments)

    def position(self, row: AgentPosition, operation: str = "set", replaced: bytes | None = None) -> None:
        """A committed position, or one that was read."""
        sets = self._sets_of_position(row.id, row.agent_id, row.token_address, "+")
        self._row(operation, row.version, self._keys.position(row.id), POSITION.encode(row), sets, replaced=replaced)

    def no_position(self, position_id: UUID, agent_id: UUID, token_address: str | None, version: int = CLOSED) -> None:
        """A position that was closed. Without its token, the token's set finds out when the row is missed."""
        sets = self._sets_of_position(position_id, agent_id, token_address, "-")
        self._row("delete", version, self._keys.position(position_id), b"", sets)

    def balance(self, row: AgentBalance, operation: str = "set", replaced: bytes | None = None) -> None:
        """A committed balance, or one that was read."""
        key = self._keys.balance(row.agent_id, row.wallet_address, row.token_address)
        sets = self._set_of_balance(row.agent_id, row.wallet_address, row.token_address, "+")
        self._row(operation, row.version, key, BALANCE.encode(row), sets, replaced=replaced)

    def no_balance(self, agent_id: UUID, wallet_address: str, token_address: str, version: int) -> None:
        """A balance that was deleted."""
        key = self._keys.balance(agent_id, wallet_address, token_address)
        self._row("delete", version, key, b"", self._set_of_balance(agent_id, wallet_address, token_address, "-"))

    def agent(self, row: CachedAgent, operation: str = "set", replaced: bytes | None = None) -> None:
        """A committed agent, or one that was read: its configuration and flags."""
        payload = encode_config(row)
        if payload is None:
            operation, payload = "fence", b""
        flags = (row.trading_mode, str(int(row.automated_trading_simulation)), str(int(row.automated_trading_live)))
        companions = self._companions(row.id, *flags)
        sets = self._set_of_agent(row.id, "+" if row.is_active else "-")
        self._row(operation, row.version, self._keys.config(row.id), payload, sets, companions, replaced)

    def no_agent(self, agent_id: UUID, version: int) -> None:
        """An agent that was deleted."""
        companions = self._companions(agent_id, "", "", "")
        self._row("delete", version, self._keys.config(agent_id), b"", self._set_of_agent(agent_id, "-"), companions)

    def ghost(self, key: str, payload: bytes | None) -> None:
        """A row that the database does not have, unless it has changed since it was seen."""
        self._ghost(key, payload)

    def ghost_of_position(self, position_id: UUID, payload: bytes) -> None:
        """The same of a position, which leaves its sets."""
        row = POSITION.decode(payload)
        sets = () if row is None else self._sets_of_position(position_id, row.agent_id, row.token_address, "-")
        self._ghost(self._keys.position(position_id), payload, sets)

    def ghost_of_agent(self, agent_id: UUID, payload: bytes | None) -> None:
        """The same of an agent, which leaves the active ones, and its flags."""
        companions = self._companions(agent_id, "", "", "")
        self._ghost(self._keys.config(agent_id), payload, self._set_of_agent(agent_id, "-"), companions)

    def _ghost(
        self, key: str, payload: bytes | None, sets: tuple[str, ...] = (), companions: tuple[str, ...] = ()
    ) -> None:
        """What is on its way with this version, or an older one, is a ghost as well."""
        highest = self.version  # a version that no row has says nothing of how far the database is
        version = min((version_of(payload or b"") or 0) + 1, CLOSED)
        self._row("ghost", version, key, payload or b"", sets, companions)
        self.version = highest

    def trade(self, result: TradeResult | ResetResult, token_address: str | None) -> None:
        """What a trade changed. What was made before may have changed since: that is only kept from becoming older."""
        operation = "fence" if result.replayed else "set"
        for balance in result.balances:
            self.balance(balance, operation)
        if isinstance(result, ResetResult):
            for position_id in result.closed_position_ids:
                self.no_position(position_id, result.transactions[0].agent_id, None)
            return
        if result.position is not None:
            self.position(result.position, operation)
        if result.closed_position_id is not None:
            self.no_position(result.closed_position_id, result.transaction.agent_id, token_address)

    def drop(self, *sets: str) -> None:
        """Sets whose members are not known any more."""
        for key in sets:
            self.arguments += ("drop", key)

    def complete(self, key: str, tag: str, token: bytes, members: Sequence[str]) -> None:
        """A set as it was read, after its rows."""
        self.arguments += ("complete", key, tag, token, len(members), *members)

    def changes(self, changes: Iterable[Change]) -> None:
        """Rows of the outbox beside the rows that they concern as these are now. The last change of a row is enough."""
        seen: set[tuple[str, bool, UUID | None, UUID | None, str | None, str | None]] = set()
        for change, position, balance, agent in reversed(list(changes)):
            self.version = max(self.version, change.version)
            concerned = (
                change.entity,
                change.deleted,
                change.row_id,
                change.agent_id,
                change.wallet_address,
                change.token_address,
            )
            if concerned in seen or change.row_id is None or change.agent_id is None:
                continue
            seen.add(concerned)
            match change.entity:
                case "position":
                    self._position_change(change.row_id, change.agent_id, change, position)
                case "balance":
                    self._balance_change(change.agent_id, change, balance)
                case "agent" if change.deleted:
                    self.no_agent(change.row_id, change.version)
                case "agent" if agent is not None:
                    self.agent(agent)

    def _position_change(
        self, position_id: UUID, agent_id: UUID, change: CacheChange, row: AgentPosition | None
    ) -> None:
        assert change.token_address is not None
        if not change.deleted:
            if row is not None:  # else its deletion is a change of its own
                self.position(row)
        elif row is None:
            self.no_position(position_id, agent_id, change.token_address, change.version)
        else:  # it only left this agent or token
            self.drop(self._keys.positions_of_agent(agent_id), self._keys.positions_of_token(change.token_address))

    def _balance_change(self, agent_id: UUID, change: CacheChange, row: AgentBalance | None) -> None:
        assert change.wallet_address is not None
        assert change.token_address is not None
        if change.deleted:
            self.no_balance(agent_id, change.wallet_address, change.token_address, change.version)
        elif row is not None:
            self.balance(row)

    def _companions(self, agent_id: UUID, *values: str) -> tuple[str, ...]:
        return tuple(word for pair in zip(self._keys.flags(agent_id), values, strict=True) for word in pair)

    # Sets, as the script takes them: set, whose it is, member, sign; one after another.

    def _sets_of_position(
        self, position_id: UUID, agent_id: UUID, token_address: str | None, sign: str
    ) -> tuple[str, ...]:
        member = str(position_id)
        sets = (self._keys.positions_of_agent(agent_id), str(agent_id), member, sign)
        if token_address is None:
            return sets
        return (*sets, self._keys.positions_of_token(token_address), token_address, member, sign)

    def _set_of_balance(self, agent_id: UUID, wallet_address: str, token_address: str, sign: str) -> tuple[str, ...]:
        return (self._keys.balances_of_wallet(wallet_address), f"{agent_id} {wallet_address}", token_address, sign)

    def _set_of_agent(self, agent_id: UUID, sign: str) -> tuple[str, ...]:
        return (self._keys.active_agents, "all", str(agent_id), sign)

    def _row(
        self,
        operation: str,
        version: int,
        key: str,
        payload: bytes,
        sets: tuple[str, ...],
        companions: tuple[str, ...] = (),
        replaced: bytes | None = None,
    ) -> None:
        if version != CLOSED:
            self.version = max(self.version, version)
        if operation == "fill" and replaced is not None:
            operation = "force"
        self.arguments += (operation, version, key, payload)
        if operation == "force":
            self.arguments.append(replaced or b"")
        self.arguments += (len(sets) // 4, *sets, len(companions) // 2, *companions)


# --- Which statements concern the cache -----------------------------------------------------------

_CHANGES_CACHED_ROWS: Final = re.compile(
    r"\b(?:(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s+(?:agents|agent_balances|agent_positions)"
    r"|DELETE\s+FROM\s+(?:users|agent_wallets|agent_transactions))\b"
)
_KNOWN: Final[dict[str, bool]] = {}


def changes_cached_rows(bound: BoundQuery) -> bool:
    """Can the statement change what is cached, by itself or by a cascade?"""
    known = _KNOWN.get(bound.name)
    if known is None:
        text = bound.query.statement(frozenset(bound.query.parameters)).text
        known = _KNOWN[bound.name] = _CHANGES_CACHED_ROWS.search(text) is not None
    return known
