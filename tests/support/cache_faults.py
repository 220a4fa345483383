"""What the machine of cache_machine.py does to Redis, and how long it lasts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import rule

from nexgent_db._breaker import CacheUnavailable
from tests.support.cache_witness import PREFIX, Changed, Process, Witness
from tests.support.held import Held

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
    """A held thread: whose it is, what it changed before it was held or how to judge what it read."""

    process: Process
    held: Held
    kind: str
    changed: Changed
    judge: Callable[[Any], None] | None = None


class Faults(Witness):
    """Redis, or a process, is not what it was; threads are held meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.flights: list[Flight] = []
        self.posted: list[tuple[Any, int, Changed]] = []
        """What was sent, by which link, and how often that had failed by then."""
        self.broken: str | None = None
        self.mended_in = 0

    @rule(what=FAULT, pick=PICK, process=PROCESS)
    def break_redis(self, what: str, pick: int, process: int) -> None:
        """Something happens to Redis, or to a process; some of it lasts for a few steps."""
        if self.broken is not None:
            self._mend()
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
                self.broken, self.mended_in = "full", pick
            case "alone":
                client.config_set("min-replicas-to-write", "1")
                self.broken, self.mended_in = "alone", pick
            case "hung" if pick == 0:
                self.world.valkey.hang()
                self.broken, self.mended_in = "hung", 2
            case "killed" if pick == 1:
                self.world.valkey.kill()
                self.broken, self.mended_in = "killed", 2
            case "restored" if pick == 2:
                self.world.valkey.save()
                self.broken, self.mended_in = "restored", 4
            case "restart" if pick == 3 and not any(
                flight.process is self.world.processes[process] for flight in self.flights
            ):
                self.world.processes[process].start_again()

    def _evictable(self) -> list[str]:
        """What is cached, the same in the same place every time: ids are others, their order is not."""
        parts = dict.fromkeys(part for key in self.states for part in key[1:])
        numbers = {part: f"{number:06}" for number, part in enumerate(parts)}
        keys = [key for key in self.world.client.scan_iter(f"{PREFIX}*", count=1000) if not key.endswith(":floor")]
        return sorted(keys, key=lambda key: [numbers.get(part, part) for part in key.split(":")])

    def _tick(self, settle: bool = False) -> None:
        """A step is over. Everybody knows of what was sent before when it was answered, at the latest now or later."""
        posted, self.posted = self.posted, []
        for link, openings, changed in posted:
            if settle:
                with suppress(CacheUnavailable):
                    link._posts.settle()
            if link.breaker.openings == openings and link.breaker.may_read:
                wire = link._posts._wire
                if wire is None or not wire.unanswered:
                    self._everybody_is_sure(changed)
                else:
                    self.posted.append((link, openings, changed))
        if self.broken is not None:
            self.mended_in -= 1
            if self.mended_in < 0:
                self._mend()

    def _mend(self) -> None:
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
        """The half second until the next look for Redis is over."""
        if not any(flight.kind == "drain" for flight in self.flights):
            self.world.processes[process].cache._recover()

    def _five_minutes_pass(self) -> None:
        """What is remembered of deletions is forgotten; whoever is held has been so for as long."""
        for flight in self.flights:
            flight.held.delay_ms += 300_000
        gone = [
            key for end in ("floor", "filling", "resetter") for key in self.world.client.scan_iter(f"{PREFIX}*:{end}")
        ]
        if gone:
            self.world.client.unlink(*gone)

    def _everybody_finds_redis(self) -> None:
        """At once, where it answers in time."""
        for process in self.world.processes:
            for _ in range(ATTEMPTS):
                if process.link.breaker.may_read or process.cache._recover():
                    break
                self._emptying_is_given_up()
            else:
                raise AssertionError(f"Redis is not found: {process.cache.metrics()}")

    def _emptying_is_given_up(self) -> None:
        """Five seconds pass: whoever emptied the cache, and was not answered in time, is waited for no more."""
        self.world.client.unlink(f"{PREFIX}epoch:resetter")

    def _openings(self) -> int:
        return sum(process.link.breaker.openings for process in self.world.processes)
