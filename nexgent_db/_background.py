"""Work that goes on beside its callers, and limits of time: for tasks, and the same for threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext, suppress


class AsyncBackground:
    """One function at a time, run beside the caller until it says that it is done."""

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

    def open(self) -> None:
        """Let it be started."""
        self._closed = False

    async def close(self) -> None:
        """Stop, and wait for that."""
        self._closed = True
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def _repeat(step: Callable[[], Awaitable[bool]], pause_s: float, *, at_once: bool) -> None:
    if not at_once:
        await asyncio.sleep(pause_s)
    while not await step():  # noqa: ASYNC110  # nothing tells when the time has come
        await asyncio.sleep(pause_s)


class Background:
    """The same in a thread."""

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

    def open(self) -> None:
        """Let it be started."""
        self._stop.clear()

    def close(self) -> None:
        """Stop, and wait for that."""
        with self._lock:
            self._stop.set()
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()


def async_deadline(seconds: float) -> asyncio.Timeout:
    """Raises TimeoutError when the block takes longer."""
    return asyncio.timeout(seconds)


def deadline(seconds: float) -> AbstractContextManager[None]:
    """The sockets' own timeouts must do."""
    return nullcontext()


def async_socket_timeout_s(seconds: float) -> float | None:
    """None: the deadline holds for all that a socket does, and another at each step of it costs."""
    return None


def socket_timeout_s(seconds: float) -> float | None:
    """For each step that a socket takes."""
    return seconds
