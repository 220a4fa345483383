"""Compares what is cached with the database, some keys at a time, and mends what differs.

The cache is read first, then the database: what was cached by then was committed before, so the database's version can
be the higher one while a write is on its way, never the lower one. A cached version above the database's proves that
the database went back. What differs is looked at again after a while: only what has not changed since is a difference,
all else was on its way. Mending is guarded by what was seen, so a change that comes between is never undone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID, uuid4

from nexgent_db._cache_entries import (
    AgentEntry,
    BalanceEntry,
    Difference,
    Entry,
    IndexSet,
    PositionEntry,
    SetEntry,
    compare_agent,
    compare_balance,
    compare_members,
    compare_position,
    entry_of,
    marked_set,
)
from nexgent_db._cache_rows import Batch, Moment, is_cacheable
from nexgent_db.aio._cache_queries import CacheQueries
from nexgent_db.cache_keys import COMPLETE
from nexgent_db.models.balances import AgentBalance
from nexgent_db.models.cache import CachedAgent, CacheDifference, SetMember
from nexgent_db.models.positions import AgentPosition

if TYPE_CHECKING:  # redis takes its time to import: not without a REDIS_URL
    from nexgent_db.aio._cache_link import CacheLink

T = TypeVar("T")

KEYS_AT_ONCE: Final = 200
"""How many keys a step asks the server to look at: a few milliseconds of work here and there."""
WALK_S: Final = 5.0
"""A walk over all keys begins this long after the one before, or later."""
ROWS_AT_ONCE: Final = 500
MEMBERS_AT_ONCE: Final = 5000
KINDS: Final = ("agent", "token", "wallet", "active")
MOST_MEMBERS: Final = 10_000
"""Larger sets are not kept: readers would refuse them."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something cached that differed when it was looked at."""

    entry: Entry
    difference: Difference | None
    """None for a set that only lacks rows: readers ask the database, nobody is told anything wrong."""
    seen: object
    """What was cached: whoever finds the same again has found the same difference."""
    row: AgentPosition | AgentBalance | CachedAgent | None = None
    index: IndexSet | None = None

    @property
    def is_ghost(self) -> bool:
        """Is it something that the database does not have?"""
        return self.difference is not None and self.difference[0] == "ghost"

    def public(self) -> CacheDifference:
        """For those who want to know."""
        assert self.difference is not None
        kind, detail = self.difference
        return CacheDifference(key=self.entry.key, kind=kind, detail=detail)


class Sweep:
    """Walks over the entries of one cache."""

    def __init__(self, link: CacheLink, queries: CacheQueries) -> None:
        self._link = link
        self._queries = queries
        self._me = uuid4().hex
        self._cursor = b"0"
        self._suspects: list[Finding] = []
        self._next_walk = 0.0
        self.compared = self.repaired = self.ghosts = self.walks = 0

    async def step(self) -> None:
        """Mend what the step before found and still is so; then compare the next keys.

        One process at a time does this. Bounded: some 200 keys, the members of their sets. Raises CacheUnavailable, and
        what queries raise.
        """
        suspects, self._suspects = self._suspects, []
        await self.mend(suspects)
        if self._cursor == b"0" and time.monotonic() < self._next_walk:
            return
        began = time.monotonic()
        step = await self.scan(self._cursor, self._me)
        if step is None:
            self._cursor, self._next_walk = b"0", began + WALK_S
            return
        if self._cursor == b"0":
            self._next_walk = began + WALK_S
        self._cursor, entries = step
        self._suspects = await self.look(entries)
        self.compared += len(entries)
        self.walks += self._cursor == b"0"

    async def scan(self, cursor: bytes, walker: str = "") -> tuple[bytes, list[Entry]] | None:
        """The next entries and where to go on, b"0" at the end; None when another walks. Raises CacheUnavailable."""
        link = self._link
        step = await link.scan(cursor, KEYS_AT_ONCE, walker)
        if step is None:
            return None
        cursor, names = step
        found = {entry_of(name.decode(errors="replace"), link.keys): None for name in names}
        return cursor, [entry for entry in found if entry is not None]

    # --- Looking ----------------------------------------------------------------------------------

    async def look(self, entries: Sequence[Entry]) -> list[Finding]:
        """Those that differ from the database at this moment. Raises CacheUnavailable, and what queries raise."""
        keys = [key for entry in entries for key in self._keys_of(entry)]
        values = dict(zip(keys, await self._link.get(*keys), strict=True)) if keys else {}
        cached: list[tuple[Entry, tuple[bytes | None, ...]]] = [
            (entry, tuple(values[key] for key in self._keys_of(entry))) for entry in entries
        ]
        present = [(entry, seen) for entry, seen in cached if any(value is not None for value in seen)]
        return [
            *await self._look_at_sets([(entry, seen[0]) for entry, seen in present if isinstance(entry, SetEntry)]),
            *await self._look_at_rows([(entry, seen) for entry, seen in present if not isinstance(entry, SetEntry)]),
        ]

    async def unchanged(self, findings: Sequence[Finding]) -> list[Finding]:
        """Those that are still what they were, found anew. Raises CacheUnavailable, and what queries raise."""
        before = {finding.entry: finding.seen for finding in findings}
        return [found for found in await self.look(list(before)) if found.seen == before[found.entry]]

    def _keys_of(self, entry: Entry) -> tuple[str, ...]:
        match entry:
            case AgentEntry():
                return entry.key, *self._link.keys.flags(entry.agent_id)
            case SetEntry():
                return (entry.key + COMPLETE,)
            case _:
                return (entry.key,)

    async def _look_at_rows(self, present: Sequence[tuple[Entry, tuple[bytes | None, ...]]]) -> list[Finding]:
        positions = await self._positions({e.position_id for e, _ in present if isinstance(e, PositionEntry)})
        balances = await self._balances(
            {place for e, _ in present if isinstance(e, BalanceEntry) for place in e.places}
        )
        agents = await self._agents({e.agent_id for e, _ in present if isinstance(e, AgentEntry)})
        findings = []
        for entry, seen in present:
            row: AgentPosition | AgentBalance | CachedAgent | None = None
            difference: Difference | None = None
            match entry, seen:
                case PositionEntry(), (bytes(payload),):
                    row = position = positions.get(entry.position_id)
                    difference = compare_position(payload, position)
                case BalanceEntry(), (bytes(payload),):
                    found = (balances.get(place) for place in entry.places)
                    row = balance = next((b for b in found if b is not None and b.agent_id == entry.agent_id), None)
                    difference = compare_balance(payload, balance)
                case AgentEntry(), (config, *flags) if config is None or not entry.by_flag:
                    row = agent = agents.get(entry.agent_id)
                    difference = compare_agent(config, tuple(flags), agent)
            if difference is not None:
                findings.append(Finding(entry, difference, seen, row))
        return findings

    async def _positions(self, ids: set[UUID]) -> dict[UUID, AgentPosition]:
        rows = await self._queries.list_positions(list(ids), len(ids)) if ids else []
        return {row.id: row for row in rows}

    async def _balances(self, places: set[tuple[str, str]]) -> dict[tuple[str, str], AgentBalance]:
        if not places:
            return {}
        wallets, tokens = zip(*places, strict=True)
        rows = await self._queries.list_balances(list(wallets), list(tokens), len(places))
        return {(row.wallet_address, row.token_address): row for row in rows}

    async def _agents(self, ids: set[UUID]) -> dict[UUID, CachedAgent]:
        rows = await self._queries.list_agents(list(ids), len(ids)) if ids else []
        return {row.id: row for row in rows}

    async def _look_at_sets(self, present: Sequence[tuple[SetEntry, bytes | None]]) -> list[Finding]:
        findings = []
        some: list[tuple[SetEntry, IndexSet, bytes]] = []
        size = 0
        for entry, marker in present:
            assert marker is not None
            marked = marked_set(entry.key, marker, self._link.keys)
            if marked is None or marked[1] > MOST_MEMBERS:
                problem = f"{marker[:60]!r}" if marked is None else f"{marked[1]} are too many"
                findings.append(Finding(entry, ("members", problem), marker))
                continue
            if some and size + marked[1] > MEMBERS_AT_ONCE:
                findings += await self._compare_sets(some)
                some, size = [], 0
            some.append((entry, marked[0], marker))
            size += marked[1]
        return [*findings, *await self._compare_sets(some)]

    async def _compare_sets(self, some: Sequence[tuple[SetEntry, IndexSet, bytes]]) -> list[Finding]:
        if not some:
            return []
        arguments = [word for _, index, _ in some for word in (index.key, index.tag, index.rows)]
        _, answers = await self._link.ask("look_at_sets", [], *arguments)
        members: dict[str, frozenset[str]] = {}
        for kind in KINDS:
            await self._add_members([index for _, index, _ in some if index.kind == kind], members)
        findings = []
        for (entry, index, marker), answer in zip(some, answers, strict=True):
            cached = frozenset(name.decode(errors="replace") for name in answer[0]) if answer else frozenset()
            right = members.get(index.key)
            difference: Difference | None = None
            if right is None:
                difference = "members", f"more than {MOST_MEMBERS}"
            elif answer:
                difference = compare_members(cached, right)
            if difference is not None or not answer or answer[1]:
                findings.append(Finding(entry, difference, (marker, cached, bool(answer)), index=index))
        return findings

    async def _add_members(self, sets: Sequence[IndexSet], found: dict[str, frozenset[str]]) -> None:
        """What the database says of sets of one kind, those aside that are too large."""
        if not sets:
            return
        members = await members_of(sets, self._queries)
        if members is not None:
            found.update(members)
        elif len(sets) > 1:
            for half in (sets[: len(sets) // 2], sets[len(sets) // 2 :]):
                await self._add_members(half, found)

    # --- Mending ----------------------------------------------------------------------------------

    async def mend(self, findings: Sequence[Finding]) -> list[Finding]:
        """Bring those that are still the same to what the database says; which they were. Raises CacheUnavailable, and
        what queries raise."""
        mended: list[Finding] = []
        for some in _cut(findings, KEYS_AT_ONCE):
            began = self._link.now()
            again = await self.unchanged(some)
            batch = Batch(self._link.keys)
            for finding in again:
                self._mend_row(batch, finding)
            if batch:
                await self._link.write(batch, began, missed=False)
            owned = [found for found in again if found.index is not None]
            await self.complete([(f.index, f.difference is not None) for f in owned if f.index], with_rows=True)
            mended += again
        self.ghosts += sum(finding.is_ghost for finding in mended)
        self.repaired += len(mended)
        return mended

    @staticmethod
    def _mend_row(batch: Batch, finding: Finding) -> None:
        payload: Any = finding.seen[0] if isinstance(finding.seen, tuple) else None
        match finding.entry, finding.row:
            case SetEntry(key=key), _:
                if finding.index is None:
                    batch.drop(key)
            case PositionEntry(position_id=position_id), None:
                batch.ghost_of_position(position_id, payload)
            case AgentEntry(agent_id=agent_id), None:
                batch.ghost_of_agent(agent_id, payload)
            case AgentEntry(agent_id=agent_id), CachedAgent() as agent if not is_cacheable(agent):
                batch.ghost_of_agent(agent_id, payload)
            case entry, None:
                batch.ghost(entry.key, payload)
            case _, AgentPosition() as row:
                batch.position(row, "fill", payload)
            case _, AgentBalance() as row:
                batch.balance(row, "fill", payload)
            case _, CachedAgent() as row:
                batch.agent(row, "fill", payload)

    async def complete(self, sets: Sequence[tuple[IndexSet, bool]], *, with_rows: bool) -> None:
        """Make these sets complete, those that are wrong after they were dropped; with the rows of their members.

        Raises CacheUnavailable, and what queries raise.
        """
        if not sets:
            return
        link = self._link
        began = link.now()
        arguments = [word for index, wrong in sets for word in (index.key, str(int(wrong)))]
        _, tokens = await link.ask("begin_sets", [], uuid4().hex, *arguments)
        taken = [(index, token) for (index, _), token in zip(sets, tokens, strict=True) if token]
        for kind in KINDS:
            await self._complete_some([each for each in taken if each[0].kind == kind], began, with_rows=with_rows)

    async def _complete_some(self, taken: Sequence[tuple[IndexSet, bytes]], began: Moment, *, with_rows: bool) -> None:
        """Sets of one kind, with the tokens to complete them; in halves where they have too many members at once."""
        if not taken:
            return
        members = await members_of([index for index, _ in taken], self._queries)
        if members is None and len(taken) > 1:
            for half in (taken[: len(taken) // 2], taken[len(taken) // 2 :]):
                await self._complete_some(half, began, with_rows=with_rows)
        if members is None:
            return
        if with_rows:
            await self._fill_rows([(index, members[index.key]) for index, _ in taken])
        batch = Batch(self._link.keys)
        for index, token in taken:
            batch.complete(index.key, index.tag, token, sorted(members[index.key]))
        await self._link.write(batch, began, missed=False)

    async def _fill_rows(self, sets: Sequence[tuple[IndexSet, frozenset[str]]]) -> None:
        ids = [UUID(name) for index, names in sets for name in names if index.rows == self._link.keys.positions]
        places = [(index.wallet_address, name) for index, names in sets for name in names if index.kind == "wallet"]
        for some in _cut(ids, ROWS_AT_ONCE):
            began, batch = self._link.now(), Batch(self._link.keys)
            for position in (await self._positions(set(some))).values():
                batch.position(position, "fill")
            await self._link.write(batch, began, missed=False)
        for some_places in _cut(places, ROWS_AT_ONCE):
            began, batch = self._link.now(), Batch(self._link.keys)
            for balance in (await self._balances(set(some_places))).values():
                batch.balance(balance, "fill")
            await self._link.write(batch, began, missed=False)


def _cut(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[at : at + size] for at in range(0, len(items), size))


async def members_of(sets: Sequence[IndexSet], queries: CacheQueries) -> dict[str, frozenset[str]] | None:
    """What the database says of these sets of one kind, by key; None for more than 10,000 members together."""
    limit = MOST_MEMBERS + 1
    match sets[0].kind:
        case "agent":
            rows = await queries.list_members_of_agents([index.agent_id for index in sets], limit)
        case "token":
            rows = await queries.list_members_of_tokens([index.tag for index in sets], limit)
        case "wallet":
            rows = await queries.list_members_of_wallets([index.wallet_address for index in sets], limit)
        case "active":
            ids = await queries.list_active_agents(limit)
            rows = [SetMember.model_construct(owner="all", member=str(agent_id)) for agent_id in ids]
    if len(rows) >= limit:
        return None
    members: dict[str, set[str]] = {}
    for row in rows:
        members.setdefault(row.owner, set()).add(row.member)
    return {index.key: frozenset(members.get(index.tag, ())) for index in sets}
