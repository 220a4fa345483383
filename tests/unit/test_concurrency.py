"""Background threads and tasks: started at once or after a pause, stopped in a pause; deadlines of threads."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from nexgent_db._concurrency import AsyncBackground, Background, TimedLock, deadline, remaining_s

AN_HOUR = 3600.0


class Steps:
    """A step that says when it was made, and never that it is done."""

    def __init__(self) -> None:
        self.made = threading.Event()

    def __call__(self) -> bool:
        self.made.set()
        return False


def test_thread_starts_at_once_and_stops_in_pause() -> None:
    background, step = Background(), Steps()
    background.start(step, AN_HOUR, at_once=True)
    assert step.made.wait(10)
    background.close()


def test_thread_starting_after_pause_stops_in_it() -> None:
    background, step = Background(), Steps()
    background.start(step, AN_HOUR, at_once=False)
    background.close()
    background.start(step, AN_HOUR, at_once=True)  # closed: not any more
    background.close()
    assert not step.made.is_set()


def test_thread_runs_until_done() -> None:
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


async def test_task_starts_at_once_or_after_pause_and_stops_in_it() -> None:
    for at_once in (True, False):
        background, steps = AsyncBackground(), list[bool]()

        async def step(steps: list[bool] = steps) -> bool:
            steps.append(True)
            return False

        background.start(step, AN_HOUR, at_once=at_once)
        await asyncio.sleep(0.01)
        await background.close()
        assert bool(steps) is at_once


@pytest.mark.parametrize("closed", [False, True])
def test_thread_restarts_in_child_unless_closed(closed: bool) -> None:
    background, step = Background(), Steps()
    background._thread = threading.current_thread()  # the parent's: it is alive there
    if closed:
        background._stop.set()
    with background._lock:
        background.reset_after_fork()
        background.start(step, AN_HOUR, at_once=True)
        assert step.made.wait(0 if closed else 10) is not closed
        background.close()


async def test_task_restarts_in_child() -> None:
    background, steps = AsyncBackground(), list[bool]()

    async def step() -> bool:
        steps.append(True)
        return True

    background._task = parents = asyncio.get_running_loop().create_task(asyncio.sleep(AN_HOUR))
    background.reset_after_fork()
    background.start(step, AN_HOUR, at_once=True)
    await asyncio.sleep(0.01)
    assert (steps, parents.done()) == ([True], False)
    parents.cancel()
    await background.close()


# --- Deadlines --------------------------------------------------------------------------------------


def test_earlier_nested_deadline_applies() -> None:
    assert remaining_s(5) == 5
    with deadline(100):
        assert remaining_s(5) == 5
        with deadline(1):
            assert 0 < remaining_s(5) <= 1
            with deadline(3):
                assert 0 < remaining_s(5) <= 1
        assert remaining_s(5) == 5
    with deadline(0), pytest.raises(TimeoutError):
        remaining_s(5)
    assert remaining_s(5) == 5


def test_deadline_belongs_to_one_thread() -> None:
    found: list[float] = []
    with deadline(1):
        thread = threading.Thread(target=lambda: found.append(remaining_s(5)))
        thread.start()
        thread.join()
    assert found == [5]


def test_lock_wait_ends_at_deadline() -> None:
    lock = TimedLock()
    with lock:
        assert lock.locked()
        began = time.monotonic()
        with deadline(0.05), pytest.raises(TimeoutError), lock:
            pass
        assert time.monotonic() - began < 5
        with deadline(0), pytest.raises(TimeoutError), lock:
            pass
    assert not lock.locked()
    with deadline(0), lock:  # that nobody holds
        pass


def test_lock_released_before_deadline_is_acquired() -> None:
    lock, taken = TimedLock(), threading.Event()

    def hold() -> None:
        with lock:
            taken.set()
            time.sleep(0.05)

    thread = threading.Thread(target=hold)
    thread.start()
    assert taken.wait(10)
    with deadline(10), lock:
        pass
    thread.join()
