"""Wait for what something else makes so, without asking again and again, and never for ever."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Final

_WAIT_S: Final = 30.0
"""Much longer than anything takes: a test that waits in vain fails then."""


class AsyncBell:
    """Rung by whoever may have made it so; ``until`` looks again then. For tasks of one loop."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Look again."""
        self._rung.set()

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Until it is so; fails with ``what`` when it does not become so within half a minute."""
        try:
            async with asyncio.timeout(_WAIT_S):
                while not condition():
                    self._rung.clear()
                    await self._rung.wait()
        except TimeoutError:
            raise AssertionError(f"in vain: {what}") from None


class Bell:
    """The same for threads."""

    def __init__(self) -> None:
        self._rung = threading.Condition()

    def ring(self) -> None:
        """Look again."""
        with self._rung:
            self._rung.notify_all()

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Until it is so; fails with ``what`` when it does not become so within half a minute."""
        with self._rung:
            assert self._rung.wait_for(condition, _WAIT_S), f"in vain: {what}"
