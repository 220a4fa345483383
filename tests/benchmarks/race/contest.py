"""What a workload and a contender are, and the rounds in which contenders take turns.

In each round every contender connects anew, warms up and takes its turn, in an order that is drawn for the round:
which processor a connection's backend shares with its client weighs more than most differences between contenders.
"""

from __future__ import annotations

import asyncio
import gc
import random
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final, Protocol

_ATTEMPTS: Final = 5

Client = Callable[[str], AbstractContextManager[Callable[[Any], object]]]
"""Connects to a URL and yields the operation, which takes an item: an order, or None for a read."""

AsyncClient = Callable[[str], AbstractAsyncContextManager[Callable[[Any], Awaitable[object]]]]


@dataclass(frozen=True, slots=True)
class Items:
    """What the operation is called with, one call for each: first untimed, then timed; and where.

    ``owner`` is the wallet's, of workloads that trade.
    """

    url: str
    warm: Sequence[Any]
    timed: Sequence[Any]
    owner: Any = None


@dataclass(frozen=True, slots=True)
class Turn:
    """The seconds of all timed calls together, and what the last one returned."""

    seconds: float
    result: object = None


Contender = Callable[[Items], Turn]


class Check(Protocol):
    """Raises AssertionError when a turn has not done its work."""

    def __call__(self, items: Items, turn: Turn) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Workload:
    """An operation, those who do it, and how to see that they did. ``per`` is how many units one call does."""

    name: str
    contenders: Mapping[str, Contender]
    items: Callable[[], Items]
    check: Check
    per: int = 1
    note: str = ""


@dataclass(frozen=True)
class Measured:
    """A contender's seconds of one unit of a workload, a figure for each round."""

    workload: str
    contender: str
    rounds: list[float] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """The median of the rounds."""
        return median(self.rounds)


def contest(workloads: Sequence[Workload], rounds: int, on_turn: Callable[[int, Workload], None]) -> list[Measured]:
    """The seconds of one unit, of every contender of every workload in each round.

    All workloads are done in each round, so what slows the machine for a minute slows one round of each. Interrupted
    (Ctrl-C), it returns the rounds that were completed, if there is one.
    """
    luck = random.Random()
    measured = {
        workload.name: [Measured(workload.name, name) for name in workload.contenders] for workload in workloads
    }
    everyone = [one for of_workload in measured.values() for one in of_workload]
    done = 0
    try:
        for number in range(rounds):
            for workload in workloads:
                on_turn(number, workload)
                for one in luck.sample(measured[workload.name], len(measured[workload.name])):
                    one.rounds.append(_turn(workload, one.contender))
            done = number + 1
    except KeyboardInterrupt:
        if not done:
            raise
        for one in everyone:
            del one.rounds[done:]
    return everyone


class Disturbed(Exception):
    """Something else on the machine got in the way, such as a cache that answered too late: the turn does not count."""


def _turn(workload: Workload, contender: str) -> float:
    """The seconds of one unit. A disturbed turn is repeated, a few times at most."""
    for attempt in range(_ATTEMPTS):
        items = workload.items()
        gc.collect()
        try:
            turn = workload.contenders[contender](items)
            break
        except Disturbed:
            if attempt == _ATTEMPTS - 1:
                raise
    workload.check(items, turn)
    return turn.seconds / (len(items.timed) * workload.per)


# --- How contenders take a turn -------------------------------------------------------------------


def one_by_one(client: Client) -> Contender:
    """One call after another, in this thread."""

    def turn(items: Items) -> Turn:
        with client(items.url) as call:
            return _timed(call, items)

    return turn


def on_a_loop(client: AsyncClient) -> Contender:
    """One call after another, in one task."""

    async def turn(items: Items) -> Turn:
        async with client(items.url) as call:
            result: object = None
            for item in items.warm:
                await call(item)
            started = time.perf_counter()
            for item in items.timed:
                result = await call(item)
            return Turn(time.perf_counter() - started, result)

    return lambda items: asyncio.run(turn(items))


def in_threads(client: Client, writers: int) -> Contender:
    """A thread and a connection for each writer, which all begin at once; each takes its share of the items."""

    def turn(items: Items) -> Turn:
        failures: list[BaseException] = []
        spans: list[tuple[float, float]] = []
        barrier = threading.Barrier(writers)

        def work(number: int) -> None:
            try:
                with client(items.url) as call:
                    for item in items.warm[number::writers]:
                        call(item)
                    barrier.wait()
                    started = time.perf_counter()
                    for item in items.timed[number::writers]:
                        call(item)
                    spans.append((started, time.perf_counter()))
            except BaseException as failure:
                failures.append(failure)
                barrier.abort()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(writers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        return _from_first_to_last(spans)

    return turn


def in_tasks(client: AsyncClient, writers: int) -> Contender:
    """A task and a connection for each writer, on one loop; each takes its share of the items."""

    async def turn(items: Items) -> Turn:
        barrier = asyncio.Barrier(writers)
        spans: list[tuple[float, float]] = []

        async def work(number: int) -> None:
            async with client(items.url) as call:
                for item in items.warm[number::writers]:
                    await call(item)
                await barrier.wait()
                started = time.perf_counter()
                for item in items.timed[number::writers]:
                    await call(item)
                spans.append((started, time.perf_counter()))

        async with asyncio.TaskGroup() as group:
            for number in range(writers):
                group.create_task(work(number))
        return _from_first_to_last(spans)

    return lambda items: asyncio.run(turn(items))


def _from_first_to_last(spans: Sequence[tuple[float, float]]) -> Turn:
    return Turn(max(ended for _, ended in spans) - min(started for started, _ in spans))


def _timed(call: Callable[[Any], object], items: Items) -> Turn:
    result: object = None
    for item in items.warm:
        call(item)
    started = time.perf_counter()
    for item in items.timed:
        result = call(item)
    return Turn(time.perf_counter() - started, result)
