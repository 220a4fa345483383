"""Long computations, in turns with other tasks: none holds up the event loop for long, whatever its input's size."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Iterable
from typing import Final, TypeVar

A = TypeVar("A")
B = TypeVar("B")

TURN_S: Final = 0.01
_STEPS: Final = 50
"""How many items one step of ``in_turns`` works on."""


async def in_turns(work: Callable[[A], B], items: Iterable[A]) -> list[B]:
    """What ``work`` makes of each item. Other tasks run after every TURN_S."""
    return await take_turns(_in_steps(work, items))


async def take_turns(steps: Generator[None, None, B]) -> B:
    """What the computation returns. Other tasks run after the step with which TURN_S is over."""
    until = time.monotonic() + TURN_S
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            result: B = ended.value
            return result
        if time.monotonic() > until:
            await asyncio.sleep(0)
            until = time.monotonic() + TURN_S


def _in_steps(work: Callable[[A], B], items: Iterable[A]) -> Generator[None, None, list[B]]:
    made: list[B] = []
    for place, item in enumerate(items, 1):
        made.append(work(item))
        if place % _STEPS == 0:
            yield
    return made
