# Generated from nexgent_db/aio/cache/admin.py by `make sync`: do not edit.
"""The operator's commands on the whole cache: warm, verify, repair, status, reset. Services run maintenance instead."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar
from uuid import UUID

from nexgent_db.cache.batch import Batch
from nexgent_db.cache.breaker import CacheUnavailable
from nexgent_db.cache.entries import (
    Entry,
    IndexSet,
    kind_of,
    set_of_active_agents,
    set_of_agent,
    set_of_token,
    set_of_wallet,
)
from nexgent_db.errors import CacheUnreachable, ConfigurationError
from nexgent_db.models.balances import AgentBalance
from nexgent_db.models.cache import (
    CacheComparison,
    CachedAgent,
    CacheDifference,
    CacheStatus,
    CacheWarmed,
    DifferenceKind,
)
from nexgent_db.models.positions import AgentPosition
from nexgent_db.sync.cache.maintenance import MAX_COUNTED
from nexgent_db.sync.cache.reconciler import ROWS_BATCH_SIZE, Finding, Reconciler
from nexgent_db.sync.cache.recovery import PROBE_S, Recovery

if TYPE_CHECKING:
    from nexgent_db.sync.cache.client import CacheClient

P = ParamSpec("P")
R = TypeVar("R")

Progress = Callable[[int, int], None]
"""Called with the amount done, and the total."""

ATTEMPTS: Final = 10
"""How often a step is tried while Redis is away: about five seconds."""
SUSPECTS_BATCH_SIZE: Final = 2000
SETS_BATCH_SIZE: Final = 50
"""A load lease ends after half a minute, and a set may have 10,000 members."""
COUNT_BATCH_SIZE: Final = 1000


def _ignore(*_: object) -> None:
    """The default of the callbacks."""


class CacheAdmin:
    """Commands on the whole cache. Each raises ConfigurationError without Redis; CacheUnreachable when Redis cannot be
    used for some seconds, or the cache was emptied meanwhile; and what queries raise."""

    def __init__(self, recovery: Recovery, reconciler: Reconciler | None) -> None:
        self._recovery = recovery
        self._queries = recovery.queries
        self._reconciler = reconciler

    def warm(self, on_progress: Progress = _ignore) -> CacheWarmed:
        """Cache every position, balance and agent, and make all index sets complete.

        Works page by page: memory does not grow with the database. Each page is a snapshot of its own: a row that was
        read more than a minute ago is not cached. Concurrent writes are never undone.
        """
        started_at = time.monotonic()
        client, reconciler = self._parts()
        counted = self._queries.count_rows()
        total = counted.positions + counted.balances + 2 * counted.agents + counted.wallets
        rows = sets = 0
        after = UUID(int=0)
        while positions := self._retry(self._warm_positions, client, after):
            after, rows = positions[-1].id, rows + len(positions)
            on_progress(rows + sets, total)
        after = UUID(int=0)
        while balances := self._retry(self._warm_balances, client, after):
            after, rows = balances[-1].id, rows + len(balances)
            on_progress(rows + sets, total)
        after = UUID(int=0)
        while agents := self._retry(self._warm_agents, client, reconciler, after):
            after, rows, sets = agents[-1].id, rows + len(agents), sets + len(agents)
            on_progress(rows + sets, total)
        last = ""
        while wallets := self._queries.page_of_wallets(last, SETS_BATCH_SIZE):
            last, sets = wallets[-1].wallet_address, sets + len(wallets)
            indexes = [set_of_wallet(wallet.agent_id, wallet.wallet_address, client.keys) for wallet in wallets]
            self._retry(self._complete, reconciler, indexes)
            on_progress(rows + sets, total)
        last = ""
        while tokens := self._queries.page_of_tokens(last, SETS_BATCH_SIZE):
            last, sets = tokens[-1], sets + len(tokens)
            indexes = [set_of_token(token, client.keys) for token in tokens]
            self._retry(self._complete, reconciler, indexes)
        self._retry(self._complete, reconciler, [set_of_active_agents(client.keys)])
        on_progress(total, total)
        return CacheWarmed(rows=rows, sets=sets + 1, seconds=time.monotonic() - started_at)

    def verify(
        self,
        on_difference: Callable[[CacheDifference], None] = _ignore,
        on_progress: Progress = _ignore,
        *,
        patience_s: float = 1.0,
    ) -> CacheComparison:
        """Compare every cached entry with the database: rows digit by digit, flags, members of sets.

        An entry is a difference when it still differs, unchanged, after ``patience_s``: concurrent writes cause none. A
        row that is not cached is no difference. Memory does not grow with the cache.
        """
        return self._compare_all(False, on_difference, on_progress, patience_s)

    def repair(
        self,
        on_difference: Callable[[CacheDifference], None] = _ignore,
        on_progress: Progress = _ignore,
        *,
        patience_s: float = 1.0,
    ) -> CacheComparison:
        """Compare as ``verify`` does, and repair the differences."""
        return self._compare_all(True, on_difference, on_progress, patience_s)

    def status(self) -> CacheStatus:
        """The state of the cache. Counts all of its keys: seconds for a million."""
        client, _ = self._parts()
        keys: Counter[str] = Counter()
        cursor = b"0"
        try:
            while True:
                step = client.scan(cursor, COUNT_BATCH_SIZE)
                assert step is not None  # it needs no scanner lease
                cursor, names = step
                keys.update(kind_of(name.decode(errors="replace"), client.keys) for name in names)
                if cursor == b"0":
                    break
            memory = client.call("INFO", "memory")
            counts = client.call("HGETALL", client.keys.statistics)
        except CacheUnavailable as error:
            raise CacheUnreachable(f"Redis cannot be used: {error}") from error
        return CacheStatus(
            prefix=client.keys.prefix,
            epoch=client.epoch.current.decode(errors="replace"),
            state=client.breaker.state.value,
            waiting=self._queries.count_changes(MAX_COUNTED),
            lag_s=self._queries.lag(),
            keys=dict(keys),
            statistics={name.decode(): int(count) for name, count in counts.items()},
            used_memory=memory["used_memory"],
            max_memory=memory["maxmemory"],
        )

    def reset(self) -> None:
        """Delete the cached rows of every process; locks and stored results stay. Readers fill the cache again."""
        client, _ = self._parts()
        for _ in range(ATTEMPTS):
            try:
                if client.epoch.reset():
                    return
            except CacheUnavailable:
                pass
            time.sleep(PROBE_S)  # another process empties it
            self._recovery.recover()
        raise CacheUnreachable(
            f"the cache could not be emptied: {client.breaker.reason or 'another process is emptying it'}"
        )

    # --- Step by step -----------------------------------------------------------------------------

    def _parts(self) -> tuple[CacheClient, Reconciler]:
        if self._recovery.client is None or self._reconciler is None:
            raise ConfigurationError(
                "REDIS_URL is not set: there is no cache (redis://host:6379/0 or unix:///path.sock)"
            )
        return self._recovery.client, self._reconciler

    def _retry(self, step: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The step's result; retries for some seconds while Redis is away. This process's changes are relayed first."""
        client, _ = self._parts()
        epoch = b""
        for _ in range(ATTEMPTS):
            if client.breaker.may_read:
                if epoch and client.epoch.current != epoch:
                    raise CacheUnreachable("the cache was emptied meanwhile: start again")
                epoch = client.epoch.current
                try:
                    return step(*args, **kwargs)
                except CacheUnavailable:
                    pass
            time.sleep(PROBE_S)
            self._recovery.recover()
        raise CacheUnreachable(f"Redis cannot be used: {client.breaker.reason}")

    def _warm_positions(self, client: CacheClient, after: UUID) -> list[AgentPosition]:
        started_at, batch = client.now(), Batch(client.keys)
        rows = self._queries.page_of_positions(after, ROWS_BATCH_SIZE)
        for row in rows:
            batch.position(row, "fill")
        if batch:
            client.write(batch, started_at, committed=False)
        return rows

    def _warm_balances(self, client: CacheClient, after: UUID) -> list[AgentBalance]:
        started_at, batch = client.now(), Batch(client.keys)
        rows = self._queries.page_of_balances(after, ROWS_BATCH_SIZE)
        for row in rows:
            batch.balance(row, "fill")
        if batch:
            client.write(batch, started_at, committed=False)
        return rows

    def _warm_agents(self, client: CacheClient, reconciler: Reconciler, after: UUID) -> list[CachedAgent]:
        started_at, batch = client.now(), Batch(client.keys)
        rows = self._queries.page_of_agents(after, ROWS_BATCH_SIZE)
        for row in rows:
            batch.agent(row, "fill")
        if batch:
            client.write(batch, started_at, committed=False)
            for first in range(0, len(rows), SETS_BATCH_SIZE):
                some = rows[first : first + SETS_BATCH_SIZE]
                self._complete(reconciler, [set_of_agent(row.id, client.keys) for row in some])
        return rows

    def _complete(self, reconciler: Reconciler, indexes: Sequence[IndexSet]) -> None:
        reconciler.complete([(index, False) for index in indexes], with_rows=False)

    # --- Comparing --------------------------------------------------------------------------------

    def _compare_all(
        self,
        repair: bool,
        on_difference: Callable[[CacheDifference], None],
        on_progress: Progress,
        patience_s: float,
    ) -> CacheComparison:
        client, reconciler = self._parts()
        total = self._retry(self._size, client)
        different: Counter[DifferenceKind] = Counter()
        compared = repaired = 0
        cursor = b"0"
        suspects: dict[Entry, Finding] = {}
        while True:
            cursor, entries = self._retry(self._scan, reconciler, cursor)
            findings = self._retry(reconciler.compare, entries)
            suspects.update((finding.entry, finding) for finding in findings if finding.difference is not None)
            compared += len(entries)
            on_progress(min(compared, total), total)
            if cursor == b"0" or len(suspects) >= SUSPECTS_BATCH_SIZE:
                confirmed = self._confirm(reconciler, list(suspects.values()), patience_s)
                for finding in confirmed:
                    difference = finding.public()
                    different[difference.kind] += 1
                    on_difference(difference)
                if repair:
                    repaired += len(self._retry(reconciler.repair, confirmed))
                suspects.clear()
            if cursor == b"0":
                return CacheComparison(compared=compared, different=dict(different), repaired=repaired)

    @staticmethod
    def _size(client: CacheClient) -> int:
        """The number of the server's keys, those of other namespaces included."""
        return int(client.call("DBSIZE"))

    @staticmethod
    def _scan(reconciler: Reconciler, cursor: bytes) -> tuple[bytes, list[Entry]]:
        step = reconciler.scan(cursor)
        assert step is not None  # it needs no scanner lease
        return step

    def _confirm(self, reconciler: Reconciler, suspects: Sequence[Finding], patience_s: float) -> list[Finding]:
        """The suspects that stay unchanged for this long. An entry that goes on changing is no difference."""
        confirmed: list[Finding] = []
        since = {finding.entry: time.monotonic() for finding in suspects}
        until = time.monotonic() + 10 * patience_s
        while suspects:
            time.sleep(patience_s / 4)
            again = self._retry(reconciler.compare, [finding.entry for finding in suspects])
            now = time.monotonic()
            before = {finding.entry: finding.seen for finding in suspects}
            for finding in again:
                if finding.seen != before[finding.entry]:
                    since[finding.entry] = now
            stable = {finding.entry for finding in again if now - since[finding.entry] >= patience_s}
            confirmed += [finding for finding in again if finding.entry in stable and finding.difference is not None]
            suspects = [finding for finding in again if finding.entry not in stable] if now < until else []
        return confirmed
