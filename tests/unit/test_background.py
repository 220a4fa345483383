"""What runs beside: in a thread and as a task, at once or after a pause, and ended without waiting for one."""

from __future__ import annotations

import asyncio
import threading

from nexgent_db._background import AsyncBackground, Background

AN_HOUR = 3600.0


class Steps:
    """A step that says when it was made, and never that it is done."""

    def __init__(self) -> None:
        self.made = threading.Event()

    def __call__(self) -> bool:
        self.made.set()
        return False


def test_a_thread_begins_at_once_and_ends_in_its_pause() -> None:
    background, step = Background(), Steps()
    background.start(step, AN_HOUR, at_once=True)
    assert step.made.wait(10)
    background.close()


def test_a_thread_that_begins_after_a_pause_ends_in_it() -> None:
    background, step = Background(), Steps()
    background.start(step, AN_HOUR, at_once=False)
    background.close()
    background.start(step, AN_HOUR, at_once=True)  # closed: not any more
    background.close()
    assert not step.made.is_set()


def test_a_thread_goes_on_until_it_is_done() -> None:
    background, left, done = Background(), [1, 2, 3], threading.Event()

    def step() -> bool:
        left.pop()
        if not left:
            done.set()
        return not left

    background.start(step, 0.001, at_once=False)
    assert done.wait(10)
    background.close()
    assert left == []


async def test_a_task_begins_at_once_or_after_a_pause_and_ends_in_it() -> None:
    for at_once in (True, False):
        background, steps = AsyncBackground(), list[bool]()

        async def step(steps: list[bool] = steps) -> bool:
            steps.append(True)
            return False

        background.start(step, AN_HOUR, at_once=at_once)
        await asyncio.sleep(0.01)
        await background.close()
        assert bool(steps) is at_once
