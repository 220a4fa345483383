"""Background work, deadlines, locks, and resetting after a fork: each once for tasks and once for threads."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Final, Protocol
from weakref import WeakSet

_LOG: Final = logging.getLogger("nexgent_db")


class AsyncBackground:
    """Repeats one function in a task of its own until the function returns True."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def start(self, step: Callable[[], Awaitable[bool]], pause_s: float, *, at_once: bool) -> None:
        """Run ``step`` every ``pause_s`` until it returns True, the first time now or after such a pause.

        Nothing when one is running already.
        """
        if self._closed or (self._task is not None and not self._task.done()):
            return
        self._task = asyncio.get_running_loop().create_task(_repeat(step, pause_s, at_once=at_once))

    def reset_after_fork(self) -> None:
        """In a child process: forget the task, which belongs to the parent."""
        keep_for_ever(self._task)
        self._task = None

    def open(self) -> None:
        """Allow :meth:`start`."""
        self._closed = False

    async def close(self) -> None:
        """Stop the function and wait for its end."""
        self._closed = True
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def _repeat(step: Callable[[], Awaitable[bool]], pause_s: float, *, at_once: bool) -> None:
    if not at_once:
        await asyncio.sleep(pause_s)
    while not await step():  # noqa: ASYNC110  # no event announces the next step
        await asyncio.sleep(pause_s)


class Background:
    """Repeats one function in a thread of its own until the function returns True."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._lock = threading.Lock()

    def start(self, step: Callable[[], bool], pause_s: float, *, at_once: bool) -> None:
        """Run ``step`` every ``pause_s`` until it returns True, the first time now or after such a pause.

        Nothing when one is running already.
        """
        with self._lock:
            if self._stop.is_set() or (self._thread is not None and self._thread.is_alive()):
                return

            def repeat() -> None:
                if not at_once:
                    self._stop.wait(pause_s)
                while not self._stop.is_set() and not step():
                    self._stop.wait(pause_s)

            self._thread = threading.Thread(target=repeat, name="nexgent-db cache", daemon=True)
            self._thread.start()

    def reset_after_fork(self) -> None:
        """In a child process: the thread does not exist, and its locks stay locked, so new ones replace them."""
        closed = self._stop.is_set()
        self._thread, self._stop, self._lock = None, threading.Event(), threading.Lock()
        if closed:
            self._stop.set()

    def open(self) -> None:
        """Allow :meth:`start`."""
        self._stop.clear()

    def close(self) -> None:
        """Stop the function and wait for its end."""
        with self._lock:
            self._stop.set()
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()


def async_deadline(seconds: float) -> asyncio.Timeout:
    """Raises TimeoutError when the body of the ``with`` takes longer."""
    return asyncio.timeout(seconds)


class _Limit(threading.local):
    """When the calling thread's earliest deadline ends, by the monotonic clock."""

    ends = math.inf


_LIMIT: Final = _Limit()


class deadline:  # noqa: N801  # called as async_deadline() is
    """Limits the body of the ``with``: its waits, by :func:`remaining_s`, raise TimeoutError when it takes longer.

    Of two nested deadlines the earlier one counts.
    """

    __slots__ = ("_before", "_seconds")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._before = math.inf

    def __enter__(self) -> None:
        self._before = _LIMIT.ends
        _LIMIT.ends = min(self._before, time.monotonic() + self._seconds)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _LIMIT.ends = self._before


def remaining_s(most: float) -> float:
    """How long the calling thread may wait now: until its deadline, but ``most`` seconds at most.

    Raises TimeoutError when no time is left.
    """
    left = _LIMIT.ends - time.monotonic()
    if left <= 0:
        raise TimeoutError("the deadline is over")
    return min(left, most)


class AsyncTimedLock(asyncio.Lock):
    """A lock; a caller waits for it until its :func:`async_deadline`."""


class TimedLock:
    """A lock; a thread waits for it until its :func:`deadline`. Entering raises TimeoutError then."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False) and not self._lock.acquire(
            timeout=remaining_s(threading.TIMEOUT_MAX)
        ):
            raise TimeoutError("another thread held the lock for too long")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def locked(self) -> bool:
        """Does a thread hold it?"""
        return self._lock.locked()


def async_socket_timeout_s(seconds: float) -> float | None:
    """None: the deadline covers all socket calls, and a timeout for each of them would cost time."""
    return None


def socket_timeout_s(seconds: float) -> float | None:
    """The timeout of each socket call."""
    return seconds


def async_caller() -> object:
    """The running task; None outside of one. Compared by identity."""
    return asyncio.current_task()


_THREAD: Final = threading.local()


def caller() -> object:
    """An object that only the running thread has. (A later thread may reuse the ident of one that has ended.)"""
    try:
        token: object = _THREAD.token
    except AttributeError:
        token = _THREAD.token = object()
    return token


class AsyncWaiter:
    """One task's place in a queue. Waking it never waits."""

    def __init__(self) -> None:
        self._woken = asyncio.get_running_loop().create_future()

    def wake(self) -> None:
        """End the present wait, or the next one."""
        if not self._woken.done():
            self._woken.set_result(None)

    async def wait(self, seconds: float) -> None:
        """Until it is woken, for ``seconds`` at most."""
        await asyncio.wait([self._woken], timeout=seconds)


class Waiter:
    """One thread's place in a queue. Waking it never waits."""

    def __init__(self) -> None:
        # A bare lock, which one C function acquires: a signal inside threading.Event can leave its lock half released.
        self._asleep = threading.Lock()
        self._asleep.acquire()

    def wake(self) -> None:
        """End the present wait, or the next one."""
        with suppress(RuntimeError):  # it is awake already
            self._asleep.release()

    def wait(self, seconds: float) -> None:
        """Until it is woken, for ``seconds`` at most."""
        self._asleep.acquire(timeout=max(0.0, seconds))


class Resettable(Protocol):
    """An object with sockets, locks or threads that belong to the process that made them."""

    def reset_after_fork(self) -> None:
        """Drop the parent's sockets without sending a byte, and start afresh. Called in the child's only thread."""
        ...


_RESETTABLE: Final[WeakSet[Resettable]] = WeakSet()


def reset_after_fork(owner: Resettable) -> None:
    """Reset ``owner`` in every child process that is forked from now on, for as long as it lives."""
    _RESETTABLE.add(owner)


def _reset_all() -> None:
    for owner in list(_RESETTABLE):
        try:
            owner.reset_after_fork()
        except Exception:  # the others must still be reset
            _LOG.exception("%r was not reset after a fork", owner)


_KEPT: Final[list[object]] = []


def keep_for_ever(inherited: object) -> None:
    """Keep an object of the parent alive, so that Python never finalizes it here: a connection's finalizer would change
    the selector that the child shares with the parent's loop, and a task's would complain that it is not done."""
    _KEPT.append(inherited)


def replace_inherited_socket(descriptor: int) -> None:
    """Replace an inherited socket by /dev/null, so that later writes do not reach the parent's server."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.dup2(null, descriptor, inheritable=False)
    finally:
        os.close(null)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_all)
