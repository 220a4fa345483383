"""Pauses a thread before it writes to the cache: where its process could be overtaken, or be killed.

One thread runs at a time and the others wait for its pause or end, so a test has the same order of events each time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

_WAIT_S = 30.0


class Died(BaseException):
    """Ends a paused thread as if its process had been killed there."""


class Gate:
    """Wraps ``write`` and ``send`` of one process's client. Only threads that :class:`PausedThread` started pause."""

    def __init__(self, client: Any) -> None:
        client.write, client.send = self._before(client.write), self._before(client.send)
        self.waiting: dict[threading.Thread, PausedThread] = {}

    def _before(self, send: Callable[..., Any]) -> Callable[..., Any]:
        def passing(batch: Any, started_at: Any, **options: Any) -> Any:
            paused = self.waiting.get(threading.current_thread())
            if paused is not None:
                paused._pause()
                started_at = paused.delayed(started_at)
            return send(batch, started_at, **options)

        return passing


class PausedThread:
    """Runs ``work`` in a thread until it ends or is about to write to the cache (``stopped`` is then true)."""

    def __init__(self, gate: Gate, work: Callable[[], Any], delayed: Callable[[Any, int], Any]) -> None:
        self._gate = gate
        self._work = work
        self._delayed = delayed
        self._turn = threading.Condition()
        self._running = True
        self._dies = False
        self.stopped = False
        self.delay_ms = 0
        """By how much the work resumes later than it started, beyond the time that really passed."""
        self.result: Any = None
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        gate.waiting[self._thread] = self
        self._thread.start()
        self._await()

    def go_on(self) -> None:
        """Let the thread write to the cache, and end."""
        while self.stopped:
            with self._turn:
                self.stopped = False
                self._running = True
                self._turn.notify_all()
            self._await()
        self._end()

    def die(self) -> None:
        """End the thread at its pause point, as if its process had been killed."""
        self._dies = True
        self.go_on()

    def delayed(self, started_at: Any) -> Any:
        """The start time of the work, moved into the past by ``delay_ms``."""
        return self._delayed(started_at, self.delay_ms)

    def _run(self) -> None:
        try:
            self.result = self._work()
        except Died:
            pass
        except Exception as error:  # the test reads it
            self.error = error
        with self._turn:
            self._running = False
            self._turn.notify_all()

    def _pause(self) -> None:
        with self._turn:
            self.stopped = True
            self._running = False
            self._turn.notify_all()
            assert self._turn.wait_for(lambda: self._running, _WAIT_S), "the test did not resume the paused thread"
        if self._dies:
            raise Died

    def _await(self) -> None:
        with self._turn:
            assert self._turn.wait_for(lambda: not self._running, _WAIT_S), "the thread neither pauses nor ends"
        if not self.stopped:
            self._end()

    def _end(self) -> None:
        self._thread.join()
        self._gate.waiting.pop(self._thread, None)
