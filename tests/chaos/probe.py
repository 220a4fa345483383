"""Measures the waits of a bare psycopg connection: the pool does not cause the delays of a busy machine."""

from __future__ import annotations

import threading
import time
from typing import Final, Self

import psycopg

_PAUSE_S: Final = 0.01
_LATE_S: Final = 0.05


class Probe:
    """A thread that makes one round trip after another over a connection of its own, and notes those that were late."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._over = threading.Event()
        self._late: list[tuple[float, float]] = []
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def late_s(self, since: float, until: float) -> float:
        """For how much of this time, of ``time.monotonic()``, it waited for what takes a millisecond."""
        waits = [*self._late, (self._began, time.monotonic())]
        return sum(max(0.0, min(end, until) - max(start, since)) for start, end in waits if end - start > _LATE_S)

    def longest_s(self) -> float:
        """The longest such wait."""
        return max((end - start for start, end in self._late), default=0.0)

    def _run(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._over.is_set():
                self._began = time.monotonic()
                time.sleep(_PAUSE_S)
                connection.execute("SELECT 1")
                ended = time.monotonic()
                if ended - self._began > _LATE_S:
                    self._late.append((self._began, ended))
