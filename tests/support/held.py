"""Work of another thread that stops where its process could be overtaken, or die: before it writes to the cache.

Only one of all threads runs at a time, the others wait to be told, so that what happens is the same every time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

_WAIT_S = 30.0


class Died(BaseException):
    """The process ended here: nothing after it happens."""


class Gate:
    """Before ``write`` and ``post`` of one process's link. Threads that were not started by :class:`Held` pass."""

    def __init__(self, link: Any) -> None:
        link.write, link.post = self._before(link.write), self._before(link.post)
        self.waiting: dict[threading.Thread, Held] = {}

    def _before(self, send: Callable[..., Any]) -> Callable[..., Any]:
        def passing(batch: Any, began: Any, **options: Any) -> Any:
            held = self.waiting.get(threading.current_thread())
            if held is not None:
                held._stop_here()
                began = held.delayed(began)
            return send(batch, began, **options)

        return passing


class Held:
    """``work`` until it has ended or is about to write to the cache: ``stopped`` tells which."""

    def __init__(self, gate: Gate, work: Callable[[], Any], delayed: Callable[[Any, int], Any]) -> None:
        self._gate = gate
        self._work = work
        self._delayed = delayed
        self._turn = threading.Condition()
        self._running = True
        self._dies = False
        self.stopped = False
        self.delay_ms = 0
        """How much later than it began the work goes on, beside the time that really passed."""
        self.result: Any = None
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        gate.waiting[self._thread] = self
        self._thread.start()
        self._await()

    def go_on(self) -> None:
        """Let it write to the cache, and end."""
        while self.stopped:
            with self._turn:
                self.stopped = False
                self._running = True
                self._turn.notify_all()
            self._await()
        self._end()

    def die(self) -> None:
        """Let it end here, as if its process had been killed."""
        self._dies = True
        self.go_on()

    def delayed(self, began: Any) -> Any:
        """When the work began, as if it had been as much earlier as it is late."""
        return self._delayed(began, self.delay_ms)

    def _run(self) -> None:
        try:
            self.result = self._work()
        except Died:
            pass
        except Exception as error:  # told to whoever looks
            self.error = error
        with self._turn:
            self._running = False
            self._turn.notify_all()

    def _stop_here(self) -> None:
        with self._turn:
            self.stopped = True
            self._running = False
            self._turn.notify_all()
            assert self._turn.wait_for(lambda: self._running, _WAIT_S), "nobody let the held thread go on"
        if self._dies:
            raise Died

    def _await(self) -> None:
        with self._turn:
            assert self._turn.wait_for(lambda: not self._running, _WAIT_S), "the held thread neither stops nor ends"
        if not self.stopped:
            self._end()

    def _end(self) -> None:
        self._thread.join()
        self._gate.waiting.pop(self._thread, None)
