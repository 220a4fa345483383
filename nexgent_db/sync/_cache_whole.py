# Generated from nexgent_db/aio/_cache_whole.py by `make sync`: do not edit.
"""The whole cache at once: filled, compared, mended, looked at, emptied. For operators; services maintain it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar
from uuid import UUID

from nexgent_db._breaker import CacheUnavailable
from nexgent_db._cache_entries import (
    Entry,
    IndexSet,
    kind_of,
    set_of_active_agents,
    set_of_agent,
    set_of_token,
    set_of_wallet,
)
from nexgent_db._cache_rows import Batch
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
from nexgent_db.sync._cache_sweep import ROWS_AT_ONCE, Finding, Sweep
from nexgent_db.sync._cache_upkeep import PROBE_S, CacheUpkeep

if TYPE_CHECKING:
    from nexgent_db.sync._cache_link import CacheLink

P = ParamSpec("P")
R = TypeVar("R")

Progress = Callable[[int, int], None]
"""Told how much is done, and of how much."""

ATTEMPTS: Final = 10
"""How often a step is tried while Redis is away: for about five seconds."""
SUSPECTS_AT_ONCE: Final = 2000
SETS_AT_ONCE: Final = 50
"""A set has to be read and completed within half a minute, and one may have 10,000 members."""
KEYS_COUNTED_AT_ONCE: Final = 1000
MOST_COUNTED: Final = 100_000


def _nobody(*_: object) -> None:
    """Is told, and does nothing."""


class CacheWhole(CacheUpkeep):
    """The part of the cache that deals with all of it. Raises ConfigurationError when there is none, CacheUnreachable
    when it cannot be used for some seconds or was emptied meanwhile, and what queries raise."""

    def warm(self, on_progress: Progress = _nobody) -> CacheWarmed:
        """Bring every position, balance and agent into the cache, and make all index sets complete.

        Page by page, so memory does not grow with the database, and no snapshot is kept open: what was read more than a
        minute before it is cached would not be cached. Beside writers nothing of theirs is undone.
        """
        began = time.monotonic()
        link, sweep = self._whole()
        counted = self._queries.count_rows()
        total = counted.positions + counted.balances + 2 * counted.agents + counted.wallets
        rows = sets = 0
        after = UUID(int=0)
        while positions := self._patiently(self._warm_positions, link, after):
            after, rows = positions[-1].id, rows + len(positions)
            on_progress(rows + sets, total)
        after = UUID(int=0)
        while balances := self._patiently(self._warm_balances, link, after):
            after, rows = balances[-1].id, rows + len(balances)
            on_progress(rows + sets, total)
        after = UUID(int=0)
        while agents := self._patiently(self._warm_agents, link, sweep, after):
            after, rows, sets = agents[-1].id, rows + len(agents), sets + len(agents)
            on_progress(rows + sets, total)
        last = ""
        while wallets := self._queries.page_of_wallets(last, SETS_AT_ONCE):
            last, sets = wallets[-1].wallet_address, sets + len(wallets)
            indexes = [set_of_wallet(wallet.agent_id, wallet.wallet_address, link.keys) for wallet in wallets]
            self._patiently(self._complete, sweep, indexes)
            on_progress(rows + sets, total)
        last = ""
        while tokens := self._queries.page_of_tokens(last, SETS_AT_ONCE):
            last, sets = tokens[-1], sets + len(tokens)
            indexes = [set_of_token(token, link.keys) for token in tokens]
            self._patiently(self._complete, sweep, indexes)
        self._patiently(self._complete, sweep, [set_of_active_agents(link.keys)])
        on_progress(total, total)
        return CacheWarmed(rows=rows, sets=sets + 1, seconds=time.monotonic() - began)

    def verify(
        self,
        on_difference: Callable[[CacheDifference], None] = _nobody,
        on_progress: Progress = _nobody,
        *,
        patience_s: float = 1.0,
    ) -> CacheComparison:
        """Compare everything cached with the database: rows digit by digit, flags, members of sets.

        What differs and does so unchanged after ``patience_s`` is a difference: beside writers that work, nothing is.
        What is not cached is none. Memory does not grow with the cache.
        """
        return self._compare_all(False, on_difference, on_progress, patience_s)

    def repair(
        self,
        on_difference: Callable[[CacheDifference], None] = _nobody,
        on_progress: Progress = _nobody,
        *,
        patience_s: float = 1.0,
    ) -> CacheComparison:
        """The same, and mend what differs."""
        return self._compare_all(True, on_difference, on_progress, patience_s)

    def status(self) -> CacheStatus:
        """How the cache is doing. Counts its keys, all of them: seconds for a million."""
        link, _ = self._whole()
        keys: Counter[str] = Counter()
        cursor = b"0"
        try:
            while True:
                step = link.scan(cursor, KEYS_COUNTED_AT_ONCE)
                assert step is not None  # it takes no turns
                cursor, names = step
                keys.update(kind_of(name.decode(errors="replace"), link.keys) for name in names)
                if cursor == b"0":
                    break
            memory = link.call("INFO", "memory")
            counts = link.call("HGETALL", link.keys.statistics)
        except CacheUnavailable as error:
            raise CacheUnreachable(f"Redis cannot be used: {error}") from error
        return CacheStatus(
            prefix=link.keys.prefix,
            epoch=link.epoch.decode(errors="replace"),
            state=link.breaker.state.value,
            waiting=self.waiting(),
            lag_s=self._queries.lag(),
            keys=dict(keys),
            statistics={name.decode(): int(count) for name, count in counts.items()},
            used_memory=memory["used_memory"],
            max_memory=memory["maxmemory"],
        )

    def waiting(self) -> int:
        """How many changes wait in the outbox, counted up to 100,000; also without a cache."""
        return self._queries.count_changes(MOST_COUNTED)

    def reset(self) -> None:
        """Delete what is cached, of every process; locks and other helpers stay. Readers fill it again."""
        link, _ = self._whole()
        for _ in range(ATTEMPTS):
            try:
                if link.reset():
                    return
            except CacheUnavailable:
                pass
            time.sleep(PROBE_S)  # another process empties it
            self._recover()
        raise CacheUnreachable(f"the cache could not be emptied: {link.breaker.reason or 'another process is at it'}")

    # --- Step by step -----------------------------------------------------------------------------

    def _whole(self) -> tuple[CacheLink, Sweep]:
        if self._link is None or self._sweep is None:
            raise ConfigurationError(
                "REDIS_URL is not set: there is no cache (redis://host:6379/0 or unix:///path.sock)"
            )
        return self._link, self._sweep

    def _patiently(self, step: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The step's result, though Redis be away for some seconds. What this process has missed comes in first."""
        link, _ = self._whole()
        epoch = b""
        for _ in range(ATTEMPTS):
            if link.breaker.may_read:
                if epoch and link.epoch != epoch:
                    raise CacheUnreachable("the cache was emptied meanwhile: begin again")
                epoch = link.epoch
                try:
                    return step(*args, **kwargs)
                except CacheUnavailable:
                    pass
            time.sleep(PROBE_S)
            self._recover()
        raise CacheUnreachable(f"Redis cannot be used: {link.breaker.reason}")

    def _warm_positions(self, link: CacheLink, after: UUID) -> list[AgentPosition]:
        began, batch = link.now(), Batch(link.keys)
        rows = self._queries.page_of_positions(after, ROWS_AT_ONCE)
        for row in rows:
            batch.position(row, "fill")
        if batch:
            link.write(batch, began, missed=False)
        return rows

    def _warm_balances(self, link: CacheLink, after: UUID) -> list[AgentBalance]:
        began, batch = link.now(), Batch(link.keys)
        rows = self._queries.page_of_balances(after, ROWS_AT_ONCE)
        for row in rows:
            batch.balance(row, "fill")
        if batch:
            link.write(batch, began, missed=False)
        return rows

    def _warm_agents(self, link: CacheLink, sweep: Sweep, after: UUID) -> list[CachedAgent]:
        began, batch = link.now(), Batch(link.keys)
        rows = self._queries.page_of_agents(after, ROWS_AT_ONCE)
        for row in rows:
            batch.agent(row, "fill")
        if batch:
            link.write(batch, began, missed=False)
            for first in range(0, len(rows), SETS_AT_ONCE):
                some = rows[first : first + SETS_AT_ONCE]
                self._complete(sweep, [set_of_agent(row.id, link.keys) for row in some])
        return rows

    def _complete(self, sweep: Sweep, indexes: Sequence[IndexSet]) -> None:
        sweep.complete([(index, False) for index in indexes], with_rows=False)

    # --- Comparing --------------------------------------------------------------------------------

    def _compare_all(
        self,
        mend: bool,
        on_difference: Callable[[CacheDifference], None],
        on_progress: Progress,
        patience_s: float,
    ) -> CacheComparison:
        link, sweep = self._whole()
        total = self._patiently(link.size)
        different: Counter[DifferenceKind] = Counter()
        compared = mended = 0
        cursor = b"0"
        suspects: dict[Entry, Finding] = {}
        while True:
            cursor, entries = self._patiently(self._scan, sweep, cursor)
            found = self._patiently(sweep.look, entries)
            suspects.update((finding.entry, finding) for finding in found if finding.difference is not None)
            compared += len(entries)
            on_progress(min(compared, total), total)
            if cursor == b"0" or len(suspects) >= SUSPECTS_AT_ONCE:
                confirmed = self._confirm(sweep, list(suspects.values()), patience_s)
                for finding in confirmed:
                    difference = finding.public()
                    different[difference.kind] += 1
                    on_difference(difference)
                if mend:
                    mended += len(self._patiently(sweep.mend, confirmed))
                suspects.clear()
            if cursor == b"0":
                return CacheComparison(compared=compared, different=dict(different), mended=mended)

    @staticmethod
    def _scan(sweep: Sweep, cursor: bytes) -> tuple[bytes, list[Entry]]:
        step = sweep.scan(cursor)
        assert step is not None  # it takes no turns
        return step

    def _confirm(self, sweep: Sweep, suspects: Sequence[Finding], patience_s: float) -> list[Finding]:
        """Those that stay what they are for so long. One that goes on changing is followed, and so is none."""
        confirmed: list[Finding] = []
        since = {finding.entry: time.monotonic() for finding in suspects}
        until = time.monotonic() + 10 * patience_s
        while suspects:
            time.sleep(patience_s / 4)
            again = self._patiently(sweep.look, [finding.entry for finding in suspects])
            now = time.monotonic()
            before = {finding.entry: finding.seen for finding in suspects}
            for finding in again:
                if finding.seen != before[finding.entry]:
                    since[finding.entry] = now
            ripe = {finding.entry for finding in again if now - since[finding.entry] >= patience_s}
            confirmed += [finding for finding in again if finding.entry in ripe and finding.difference is not None]
            suspects = [finding for finding in again if finding.entry not in ripe] if now < until else []
        return confirmed
