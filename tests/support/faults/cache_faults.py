"""The faults that the state machine of cache_state_machine.py causes, and how long they last."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import rule

from nexgent_db.cache.breaker import CacheUnavailable
from tests.support.faults.pause_points import PausedThread
from tests.support.oracles.cache_model import PREFIX, CacheModel, Changed, Process

ATTEMPTS: Final = 10
"""How often what needs Redis is begun again when that did not answer in time, as on a busy machine."""
FAULT: Final = st.sampled_from(
    [
        *("flush", "scripts", "evict", "evict", "evict all", "five minutes", "five minutes", "full", "full", "alone"),
        *("hung", "killed", "restored", "restart"),
    ]
)
PROCESS: Final = st.sampled_from([0, 1])
"""Which of the two."""
PICK: Final = st.integers(0, 7)
"""One of what there is at the moment: modulo its number."""


@dataclass
class Flight:
    """A paused thread: its process, and the rows that it changed before the pause or the check of its read."""

    process: Process
    held: PausedThread
    kind: str
    changed: Changed
    judge: Callable[[Any], None] | None = None


class Faults(CacheModel):
    """Faults of Redis and of processes, and paused threads."""

    def __init__(self) -> None:
        super().__init__()
        self.flights: list[Flight] = []
        self.sent: list[tuple[Any, int, Changed]] = []
        """What was sent, by which cache_client, and how often that had failed by then."""
        self.broken: str | None = None
        self.repaired_in = 0

    @rule(what=FAULT, pick=PICK, process=PROCESS)
    def break_redis(self, what: str, pick: int, process: int) -> None:
        """Causes one fault of Redis or of a process; some faults last for a few steps."""
        if self.broken is not None:
            self._repair()
        client = self.world.client
        match what:
            case "flush":
                client.flushall()
            case "five minutes":
                self._five_minutes_pass()
            case "scripts":
                client.script_flush()
            case "evict":
                if keys := self._evictable():
                    client.unlink(keys[pick * 7 % len(keys)])
            case "evict all":
                if keys := [key for key in self._evictable() if key != f"{PREFIX}epoch"]:  # without one, all is flushed
                    client.unlink(*keys)
            case "full":
                client.config_set("maxmemory", "1")
                self.broken, self.repaired_in = "full", pick
            case "alone":
                client.config_set("min-replicas-to-write", "1")
                self.broken, self.repaired_in = "alone", pick
            case "hung" if pick == 0:
                self.world.valkey.hang()
                self.broken, self.repaired_in = "hung", 2
            case "killed" if pick == 1:
                self.world.valkey.kill()
                self.broken, self.repaired_in = "killed", 2
            case "restored" if pick == 2:
                self.world.valkey.save()
                self.broken, self.repaired_in = "restored", 4
            case "restart" if pick == 3 and not any(
                flight.process is self.world.processes[process] for flight in self.flights
            ):
                self.world.processes[process].start_again()

    def _evictable(self) -> list[str]:
        """The cached keys in a repeatable order: the ids differ from run to run, their order does not."""
        parts = dict.fromkeys(part for key in self.states for part in key[1:])
        numbers = {part: f"{number:06}" for number, part in enumerate(parts)}
        keys = [key for key in self.world.client.scan_iter(f"{PREFIX}*", count=1000) if not key.endswith(":fence")]
        return sorted(keys, key=lambda key: [numbers.get(part, part) for part in key.split(":")])

    def _tick(self, flush: bool = False) -> None:
        """Ends a step: every process now relies on the earlier writes that Redis has answered."""
        sent, self.sent = self.sent, []
        for cache_client, openings, changed in sent:
            if flush:
                with suppress(CacheUnavailable):
                    cache_client._queue.flush()
            if cache_client.breaker.openings == openings and cache_client.breaker.may_read:
                connection = cache_client._queue._connection
                if connection is None or not connection.unanswered:
                    self._everybody_is_sure(changed)
                else:
                    self.sent.append((cache_client, openings, changed))
        if self.broken is not None:
            self.repaired_in -= 1
            if self.repaired_in < 0:
                self._repair()

    def _repair(self) -> None:
        broken, self.broken = self.broken, None
        valkey = self.world.valkey
        match broken:
            case "full":
                self.world.client.config_set("maxmemory", "0")
            case "alone":
                self.world.client.config_set("min-replicas-to-write", "0")
            case "hung":
                valkey.wake()
            case "killed":
                valkey.start()
            case "restored":
                valkey.kill()
                valkey.start()
                valkey.forget_saved()

    @rule(process=PROCESS)
    def probe(self, process: int) -> None:
        """The half second until the next probe for Redis is over."""
        if not any(flight.kind == "relay" for flight in self.flights):
            self.world.processes[process].cache._recovery.recover()

    def _five_minutes_pass(self) -> None:
        """All fences and leases expire, and paused threads are five minutes late."""
        for flight in self.flights:
            flight.held.delay_ms += 300_000
        gone = [
            key
            for end in ("fence", "load_lease", "resetter")
            for key in self.world.client.scan_iter(f"{PREFIX}*:{end}")
        ]
        if gone:
            self.world.client.unlink(*gone)

    def _everybody_finds_redis(self) -> None:
        """Every process finds Redis at once, if it answers in time."""
        for process in self.world.processes:
            for _ in range(ATTEMPTS):
                if process.cache_client.breaker.may_read or process.cache._recovery.recover():
                    break
                self._emptying_is_given_up()
            else:
                raise AssertionError(f"Redis is not found: {process.cache.metrics()}")

    def _emptying_is_given_up(self) -> None:
        """Five seconds pass: the lease of a process that gave up a reset expires."""
        self.world.client.unlink(f"{PREFIX}epoch:resetter")

    def _openings(self) -> int:
        return sum(process.cache_client.breaker.openings for process in self.world.processes)
