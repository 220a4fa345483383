"""Changes of the cache as the script ``write.lua`` takes them. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from nexgent_db.cache.codec import BALANCE, CLOSED, POSITION, encode_config, version_of
from nexgent_db.cache.keys import CacheKeys, lower_case
from nexgent_db.models.balances import AgentBalance
from nexgent_db.models.cache import CacheChange, CachedAgent
from nexgent_db.models.positions import AgentPosition
from nexgent_db.models.trades import ResetResult, TradeResult
from nexgent_db.queries.binding import BoundQuery

Change = tuple[CacheChange, AgentPosition | None, AgentBalance | None, CachedAgent | None]


class CacheTimestamp(NamedTuple):
    """When a write or a load started: the epoch, and the time of the Redis server's clock in ms. One that started in an
    earlier epoch is refused: its row may have been deleted since, or the database may have gone back."""

    epoch: bytes
    ms: int


def latest(changes: Sequence[Change]) -> list[Change]:
    """The last one of several changes of a row, the latest row first."""
    last: dict[tuple[str, bool, UUID | None, UUID | None, str | None, str | None], Change] = {}
    for each in reversed(changes):
        change = each[0]
        subject = change.entity, change.deleted, change.row_id, change.agent_id
        last.setdefault((*subject, change.wallet_address, change.token_address), each)
    return list(last.values())


class Batch:
    """The arguments of one call of ``write.lua``: each method adds an operation."""

    def __init__(self, keys: CacheKeys) -> None:
        self._keys = keys
        self.version = 0
        self.arguments: list[str | bytes | int] = []

    def __bool__(self) -> bool:
        return bool(self.arguments)

    def position(self, row: AgentPosition, operation: str = "set", replaced: bytes | None = None) -> None:
        """Store a committed position; with ``fill``, one that a reader loaded."""
        sets = self._sets_of_position(row.id, row.agent_id, row.token_address, "+")
        self._row(operation, row.version, self._keys.position(row.id), POSITION.encode(row), sets, replaced=replaced)

    def no_position(self, position_id: UUID, agent_id: UUID, token_address: str | None, version: int = CLOSED) -> None:
        """Delete a closed position. Without its token it stays in the token's set, whose reader then misses the row."""
        sets = self._sets_of_position(position_id, agent_id, token_address, "-")
        self._row("delete", version, self._keys.position(position_id), b"", sets)

    def balance(self, row: AgentBalance, operation: str = "set", replaced: bytes | None = None) -> None:
        """Store a committed balance; with ``fill``, one that a reader loaded."""
        key = self._keys.balance(row.agent_id, row.wallet_address, row.token_address)
        sets = self._set_of_balance(row.agent_id, row.wallet_address, row.token_address, "+")
        self._row(operation, row.version, key, BALANCE.encode(row), sets, replaced=replaced)

    def no_balance(self, agent_id: UUID, wallet_address: str, token_address: str, version: int) -> None:
        """Delete a balance."""
        key = self._keys.balance(agent_id, wallet_address, token_address)
        self._row("delete", version, key, b"", self._set_of_balance(agent_id, wallet_address, token_address, "-"))

    def agent(self, row: CachedAgent, operation: str = "set", replaced: bytes | None = None) -> None:
        """Store a committed agent's configuration and flags; with ``fill``, those that a reader loaded."""
        payload = encode_config(row)
        if payload is None:
            operation, payload = "fence", b""
        flags = (row.trading_mode, str(int(row.automated_trading_simulation)), str(int(row.automated_trading_live)))
        linked_keys = self._linked_keys(row.id, *flags)
        sets = self._set_of_agent(row.id, "+" if row.is_active else "-")
        self._row(operation, row.version, self._keys.config(row.id), payload, sets, linked_keys, replaced)

    def no_agent(self, agent_id: UUID, version: int) -> None:
        """Delete an agent's configuration and flags."""
        linked_keys = self._linked_keys(agent_id, "", "", "")
        self._row("delete", version, self._keys.config(agent_id), b"", self._set_of_agent(agent_id, "-"), linked_keys)

    def orphan(self, key: str, payload: bytes | None) -> None:
        """Delete a row that the database does not have, unless its payload has changed since."""
        self._orphan(key, payload)

    def orphaned_position(self, position_id: UUID, payload: bytes) -> None:
        """The same for a position, which leaves its sets."""
        row = POSITION.decode(payload)
        sets = () if row is None else self._sets_of_position(position_id, row.agent_id, row.token_address, "-")
        self._orphan(self._keys.position(position_id), payload, sets)

    def orphaned_agent(self, agent_id: UUID, payload: bytes | None) -> None:
        """The same for an agent, which leaves the set of active agents, and its flags."""
        linked_keys = self._linked_keys(agent_id, "", "", "")
        self._orphan(self._keys.config(agent_id), payload, self._set_of_agent(agent_id, "-"), linked_keys)

    def _orphan(
        self, key: str, payload: bytes | None, sets: tuple[str, ...] = (), linked_keys: tuple[str, ...] = ()
    ) -> None:
        """The fence rises above the orphan's version: a write on its way with that version is an orphan as well."""
        highest = self.version  # an orphan's version must not raise the watermark
        version = min((version_of(payload or b"") or 0) + 1, CLOSED)
        self._row("orphan", version, key, payload or b"", sets, linked_keys)
        self.version = highest

    def trade(self, result: TradeResult | ResetResult, token_address: str | None) -> None:
        """The changes of a trade. Rows of an earlier, repeated trade may have changed since: they are only fenced."""
        operation = "fence" if result.duplicate else "set"
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
        """Drop sets whose members are unknown."""
        for key in sets:
            self.arguments += ("drop", key)

    def complete(self, key: str, owner: str, token: bytes, members: Sequence[str]) -> None:
        """Complete a set with the members that were read, after its rows."""
        self.arguments += ("complete", key, owner, token, len(members), *members)

    def change(self, changed: Change) -> None:
        """A change of the outbox with its current row."""
        change, position, balance, agent = changed
        self.version = max(self.version, change.version)
        if change.row_id is None or change.agent_id is None:
            return
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
            if row is not None:  # a missing row: its deletion is a change of its own
                self.position(row)
        elif row is None:
            self.no_position(position_id, agent_id, change.token_address, change.version)
        else:  # it moved to another agent or token
            self.drop(self._keys.positions_of_agent(agent_id), self._keys.positions_of_token(change.token_address))

    def _balance_change(self, agent_id: UUID, change: CacheChange, row: AgentBalance | None) -> None:
        assert change.wallet_address is not None
        assert change.token_address is not None
        if change.deleted:
            self.no_balance(agent_id, change.wallet_address, change.token_address, change.version)
        elif row is not None:
            self.balance(row)

    def _linked_keys(self, agent_id: UUID, *values: str) -> tuple[str, ...]:
        return tuple(word for pair in zip(self._keys.flags(agent_id), values, strict=True) for word in pair)

    # Sets as write.lua reads them: set, owner, member, sign; one after another.

    def _sets_of_position(
        self, position_id: UUID, agent_id: UUID, token_address: str | None, sign: str
    ) -> tuple[str, ...]:
        member = str(position_id)
        sets = (self._keys.positions_of_agent(agent_id), str(agent_id), member, sign)
        if token_address is None:
            return sets
        return (*sets, self._keys.positions_of_token(token_address), lower_case(token_address), member, sign)

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
        linked_keys: tuple[str, ...] = (),
        replaced: bytes | None = None,
    ) -> None:
        if version != CLOSED:
            self.version = max(self.version, version)
        if operation == "fill" and replaced is not None:
            operation = "force"
        self.arguments += (operation, version, key, payload)
        if operation == "force":
            self.arguments.append(replaced or b"")
        self.arguments += (len(sets) // 4, *sets, len(linked_keys) // 2, *linked_keys)


# --- Statements that concern the cache -----------------------------------------------------------

_CHANGES_CACHED_ROWS: Final = re.compile(
    r"""
    \b(?:
        (?:INSERT\s+INTO|MERGE\s+INTO|UPDATE|DELETE\s+FROM|TRUNCATE(?:\s+TABLE)?)\s+(?:ONLY\s+)?(?:"?\w+"?\s*\.\s*)?
            "?(?:agents|agent_balances|agent_positions)"?
        | DELETE\s+FROM\s+(?:ONLY\s+)?(?:"?\w+"?\s*\.\s*)?"?(?:users|agent_wallets)"?
        | (?:trade_\w+|record_prices|change_wallet_address)_v[0-9]+
    )(?!\w)
    """,
    re.IGNORECASE | re.VERBOSE,
)


def changes_cached_rows(bound: BoundQuery) -> bool:
    """Can the statement change cached rows, directly or by a cascade?"""
    known = bound.changes_cached_rows
    if known is None:
        text = bound.query.statement(frozenset(bound.query.parameters)).text
        known = bound.changes_cached_rows = _CHANGES_CACHED_ROWS.search(text) is not None
    return known
