"""Compares cached entries with the database, some keys at a time, and repairs the differences.

The cache is read first, then the database: a cached row was committed before, so the database's version may be higher
while a write is on its way, but never lower. A cached version above the database's proves that the database went back.
An entry that differs is compared again after a while: it is a difference only if it has not changed since; otherwise a
write was on its way. A repair replaces only the payload that was compared, so it never undoes a concurrent change.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID, uuid4

from nexgent_db._concurrency import reset_after_fork
from nexgent_db.aio.cache.queries import CacheQueries
from nexgent_db.cache.batch import Batch, CacheTimestamp
from nexgent_db.cache.codec import is_cacheable
from nexgent_db.cache.compare import Difference, compare_agent, compare_balance, compare_members, compare_position
from nexgent_db.cache.entries import (
    AgentEntry,
    BalanceEntry,
    Entry,
    IndexSet,
    PositionEntry,
    SetEntry,
    entry_of,
    marked_set,
)
from nexgent_db.cache.keys import COMPLETE
from nexgent_db.models.balances import AgentBalance
from nexgent_db.models.cache import CachedAgent, CacheDifference, SetMember
from nexgent_db.models.positions import AgentPosition

if TYPE_CHECKING:  # imports redis, which is slow and needless without a REDIS_URL
    from nexgent_db.aio.cache.client import CacheClient

T = TypeVar("T")

SCAN_BATCH_SIZE: Final = 200
"""How many keys a step scans: a few milliseconds of work for Redis and for the database."""
SCAN_PASS_S: Final = 5.0
"""The least time between the starts of two scan passes over all keys."""
KEYS_BATCH_SIZE: Final = 40
"""How many values one call reads: each may be a configuration of more than 1 MiB."""
ROWS_BATCH_SIZE: Final = 500
MEMBERS_BATCH_SIZE: Final = 5000
KINDS: Final = ("agent", "token", "wallet", "active")
MAX_MEMBERS: Final = 10_000
"""Larger sets are not cached: readers would refuse them."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An entry that differed from the database when it was compared."""

    entry: Entry
    difference: Difference | None
    """None for a set that only lacks rows: its readers ask the database."""
    seen: object
    """The compared payloads: an entry with the same payloads still has the same difference."""
    row: AgentPosition | AgentBalance | CachedAgent | None = None
    index: IndexSet | None = None

    @property
    def is_orphan(self) -> bool:
        """Does the database lack the row?"""
        return self.difference is not None and self.difference[0] == "orphan"

    def public(self) -> CacheDifference:
        """As reported to users."""
        assert self.difference is not None
        kind, detail = self.difference
        return CacheDifference(key=self.entry.key, kind=kind, detail=detail)


class Reconciler:
    """Compares the entries of one cache in scan passes. Raises CacheUnavailable, and what queries raise."""

    def __init__(self, client: CacheClient, queries: CacheQueries) -> None:
        self._client = client
        self._queries = queries
        self.reset_after_fork()
        reset_after_fork(self)

    def reset_after_fork(self) -> None:
        """In a child process: start anew, as a scanner of its own."""
        self._scanner_id = uuid4().hex
        self._cursor = b"0"
        self._suspects: list[Finding] = []
        self._next_pass = 0.0
        self.compared = self.repaired = self.orphans = self.scan_passes = 0

    async def step(self) -> None:
        """Repair the differences of the step before that still exist; then compare the next keys.

        One process at a time does this. Bounded: some 200 keys, and the members of their sets.
        """
        suspects, self._suspects = self._suspects, []
        await self.repair(suspects)
        if self._cursor == b"0" and time.monotonic() < self._next_pass:
            return
        started_at = time.monotonic()
        step = await self.scan(self._cursor, self._scanner_id)
        if step is None:
            self._cursor, self._next_pass = b"0", started_at + SCAN_PASS_S
            return
        if self._cursor == b"0":
            self._next_pass = started_at + SCAN_PASS_S
        self._cursor, entries = step
        self._suspects = await self.compare(entries)
        self.compared += len(entries)
        self.scan_passes += self._cursor == b"0"

    async def scan(self, cursor: bytes, scanner: str = "") -> tuple[bytes, list[Entry]] | None:
        """The next entries and the next cursor, b"0" at the end; None while another process holds the scanner lease."""
        step = await self._client.scan(cursor, SCAN_BATCH_SIZE, scanner)
        if step is None:
            return None
        cursor, names = step
        entries = dict.fromkeys(entry_of(name.decode(errors="replace"), self._client.keys) for name in names)
        return cursor, [entry for entry in entries if entry is not None]

    # --- Comparing --------------------------------------------------------------------------------

    async def compare(self, entries: Sequence[Entry]) -> list[Finding]:
        """The entries that differ from the database now."""
        keys = [key for entry in entries for key in self._keys_of(entry)]
        values: dict[str, bytes | None] = {}
        for some in _batches(keys, KEYS_BATCH_SIZE):
            values.update(zip(some, await self._client.get(*some), strict=True))
        cached: list[tuple[Entry, tuple[bytes | None, ...]]] = [
            (entry, tuple(values[key] for key in self._keys_of(entry))) for entry in entries
        ]
        present = [(entry, seen) for entry, seen in cached if any(value is not None for value in seen)]
        return [
            *await self._compare_sets_of([(entry, seen[0]) for entry, seen in present if isinstance(entry, SetEntry)]),
            *await self._compare_rows([(entry, seen) for entry, seen in present if not isinstance(entry, SetEntry)]),
        ]

    async def unchanged(self, findings: Sequence[Finding]) -> list[Finding]:
        """The findings whose payloads are the same in a second comparison."""
        before = {finding.entry: finding.seen for finding in findings}
        return [again for again in await self.compare(list(before)) if again.seen == before[again.entry]]

    def _keys_of(self, entry: Entry) -> tuple[str, ...]:
        match entry:
            case AgentEntry():
                return entry.key, *self._client.keys.flags(entry.agent_id)
            case SetEntry():
                return (entry.key + COMPLETE,)
            case _:
                return (entry.key,)

    async def _compare_rows(self, present: Sequence[tuple[Entry, tuple[bytes | None, ...]]]) -> list[Finding]:
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
                    candidates = (balances.get(place) for place in entry.places)
                    owned = (each for each in candidates if each is not None and each.agent_id == entry.agent_id)
                    row = balance = next(owned, None)
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

    async def _compare_sets_of(self, present: Sequence[tuple[SetEntry, bytes | None]]) -> list[Finding]:
        findings = []
        some: list[tuple[SetEntry, IndexSet, bytes]] = []
        size = 0
        for entry, marker in present:
            assert marker is not None
            marked = marked_set(entry.key, marker, self._client.keys)
            if marked is None or marked[1] > MAX_MEMBERS:
                problem = f"{marker[:60]!r}" if marked is None else f"{marked[1]} are too many"
                findings.append(Finding(entry, ("membership_mismatch", problem), marker))
                continue
            if some and size + marked[1] > MEMBERS_BATCH_SIZE:
                findings += await self._compare_sets(some)
                some, size = [], 0
            some.append((entry, marked[0], marker))
            size += marked[1]
        return [*findings, *await self._compare_sets(some)]

    async def _compare_sets(self, some: Sequence[tuple[SetEntry, IndexSet, bytes]]) -> list[Finding]:
        if not some:
            return []
        arguments = [word for _, index, _ in some for word in (index.key, index.owner, index.rows)]
        _, answers = await self._client.run_in_epoch("inspect_sets", [], *arguments)
        members: dict[str, frozenset[str]] = {}
        for kind in KINDS:
            await self._add_members([index for _, index, _ in some if index.kind == kind], members)
        findings = []
        for (entry, index, marker), answer in zip(some, answers, strict=True):
            cached = frozenset(name.decode(errors="replace") for name in answer[0]) if answer else frozenset()
            right = members.get(index.key)
            difference: Difference | None = None
            if right is None:
                difference = "membership_mismatch", f"more than {MAX_MEMBERS}"
            elif answer:
                difference = compare_members(cached, right)
            if difference is not None or not answer or answer[1]:
                findings.append(Finding(entry, difference, (marker, cached, bool(answer)), index=index))
        return findings

    async def _add_members(self, sets: Sequence[IndexSet], known: dict[str, frozenset[str]]) -> None:
        """Add the database's members of sets of one kind, except of sets that are too large."""
        if not sets:
            return
        members = await members_of(sets, self._queries)
        if members is not None:
            known.update(members)
        elif len(sets) > 1:
            for half in (sets[: len(sets) // 2], sets[len(sets) // 2 :]):
                await self._add_members(half, known)

    # --- Repairing --------------------------------------------------------------------------------

    async def repair(self, findings: Sequence[Finding]) -> list[Finding]:
        """Repair the entries that have not changed since; these findings."""
        repaired: list[Finding] = []
        for some in _batches(findings, SCAN_BATCH_SIZE):
            started_at = self._client.now()
            again = await self.unchanged(some)
            batch = Batch(self._client.keys)
            for finding in again:
                self._repair_row(batch, finding)
            if batch:
                await self._client.write(batch, started_at, committed=False)
            sets = [(each.index, each.difference is not None) for each in again if each.index is not None]
            await self.complete(sets, with_rows=True)
            repaired += again
        self.orphans += sum(finding.is_orphan for finding in repaired)
        self.repaired += len(repaired)
        return repaired

    @staticmethod
    def _repair_row(batch: Batch, finding: Finding) -> None:
        payload: Any = finding.seen[0] if isinstance(finding.seen, tuple) else None
        match finding.entry, finding.row:
            case SetEntry(key=key), _:
                if finding.index is None:
                    batch.drop(key)
            case PositionEntry(position_id=position_id), None:
                batch.orphaned_position(position_id, payload)
            case AgentEntry(agent_id=agent_id), None:
                batch.orphaned_agent(agent_id, payload)
            case AgentEntry(agent_id=agent_id), CachedAgent() as agent if not is_cacheable(agent):
                batch.orphaned_agent(agent_id, payload)
            case entry, None:
                batch.orphan(entry.key, payload)
            case _, AgentPosition() as row:
                batch.position(row, "fill", payload)
            case _, AgentBalance() as row:
                batch.balance(row, "fill", payload)
            case _, CachedAgent() as row:
                batch.agent(row, "fill", payload)

    async def complete(self, sets: Sequence[tuple[IndexSet, bool]], *, with_rows: bool) -> None:
        """Make these sets complete; True beside a set drops it first. ``with_rows`` also caches the members' rows."""
        if not sets:
            return
        started_at = self._client.now()
        arguments = [word for index, wrong in sets for word in (index.key, str(int(wrong)))]
        _, tokens = await self._client.run_in_epoch("begin_loads", [], uuid4().hex, *arguments)
        loads = [(index, token) for (index, _), token in zip(sets, tokens, strict=True) if token]
        for kind in KINDS:
            await self._complete_some([each for each in loads if each[0].kind == kind], started_at, with_rows=with_rows)

    async def _complete_some(
        self, loads: Sequence[tuple[IndexSet, bytes]], started_at: CacheTimestamp, *, with_rows: bool
    ) -> None:
        """Complete sets of one kind by their load tokens; in halves when they have too many members together."""
        if not loads:
            return
        members = await members_of([index for index, _ in loads], self._queries)
        if members is None and len(loads) > 1:
            for half in (loads[: len(loads) // 2], loads[len(loads) // 2 :]):
                await self._complete_some(half, started_at, with_rows=with_rows)
        if members is None:
            return
        if with_rows:
            await self._fill_rows([(index, members[index.key]) for index, _ in loads])
        batch = Batch(self._client.keys)
        for index, token in loads:
            batch.complete(index.key, index.owner, token, sorted(members[index.key]))
        await self._client.write(batch, started_at, committed=False)

    async def _fill_rows(self, sets: Sequence[tuple[IndexSet, frozenset[str]]]) -> None:
        ids = [UUID(name) for index, names in sets for name in names if index.rows == self._client.keys.positions]
        places = [(index.wallet_address, name) for index, names in sets for name in names if index.kind == "wallet"]
        for some in _batches(ids, ROWS_BATCH_SIZE):
            started_at, batch = self._client.now(), Batch(self._client.keys)
            for position in (await self._positions(set(some))).values():
                batch.position(position, "fill")
            await self._client.write(batch, started_at, committed=False)
        for some_places in _batches(places, ROWS_BATCH_SIZE):
            started_at, batch = self._client.now(), Batch(self._client.keys)
            for balance in (await self._balances(set(some_places))).values():
                batch.balance(balance, "fill")
            await self._client.write(batch, started_at, committed=False)


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[at : at + size] for at in range(0, len(items), size))


async def members_of(sets: Sequence[IndexSet], queries: CacheQueries) -> dict[str, frozenset[str]] | None:
    """The database's members of these sets of one kind, by key; None for more than 10,000 members together."""
    limit = MAX_MEMBERS + 1
    match sets[0].kind:
        case "agent":
            rows = await queries.list_members_of_agents([index.agent_id for index in sets], limit)
        case "token":
            rows = await queries.list_members_of_tokens([index.owner for index in sets], limit)
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
    return {index.key: frozenset(members.get(index.owner, ())) for index in sets}
