"""Waits for a condition that another task or thread makes true: no polling, and a limit of half a minute."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Final

_TIMEOUT_S: Final = 30.0
"""Much longer than any condition takes; a wait in vain fails the test after this time."""


class AsyncNotifier:
    """``notify`` makes ``wait_for`` check its condition again. For tasks of one event loop."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def notify(self) -> None:
        """Make the waiting task check its condition again."""
        self._event.set()

    async def wait_for(self, condition: Callable[[], bool], description: str) -> None:
        """Return when the condition is true; raise AssertionError with the description after 30 s."""
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                while not condition():
                    self._event.clear()
                    await self._event.wait()
        except TimeoutError:
            raise AssertionError(f"waited in vain for: {description}") from None


class Notifier:
    """The same for threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()

    def notify(self) -> None:
        """Make the waiting thread check its condition again."""
        with self._changed:
            self._changed.notify_all()

    def wait_for(self, condition: Callable[[], bool], description: str) -> None:
        """Return when the condition is true; raise AssertionError with the description after 30 s."""
        with self._changed:
            assert self._changed.wait_for(condition, _TIMEOUT_S), f"waited in vain for: {description}"
