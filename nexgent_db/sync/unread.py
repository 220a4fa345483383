# Generated from nexgent_db/aio/unread.py by `make sync`: do not edit.
"""The bytes that the server has sent and nobody has read: are there any, and is an answer too long?

libpq keeps every answer in memory, whatever its size.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Generator, Sequence
from functools import partial
from pathlib import Path
from time import thread_time
from typing import Any, Final, TypeVar

from psycopg.abc import PQGen
from psycopg.waiting import READY_R

from nexgent_db.errors import AnswerTooLong

try:
    from array import array
    from fcntl import ioctl
    from termios import FIONREAD
except ImportError:  # Windows: there is no limit

    def _unread(descriptor: int) -> int:
        return 0

else:

    def _unread(descriptor: int) -> int:
        """How many received bytes wait in the socket."""
        count = array("i", [0])
        ioctl(descriptor, FIONREAD, count)
        return count[0]


T = TypeVar("T")

_LEAST: Final = 8192
"""libpq reads this much at once, where it is there."""
_STEPS: Final = 16
_SLOW_SECONDS: Final = 0.001
_MOST_BYTES_A_SECOND: Final = 10_000_000_000
"""No processor copies faster out of a socket."""
_UNCOUNTED: Final = 2
"""The first call asks what to wait for, the second brings the first piece."""


def _memory() -> int:
    """The resident memory of this process, in bytes; 0 where the system does not report it."""
    try:
        return int(_STATM.read_bytes().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0


_STATM: Final = Path("/proc/self/statm")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def poll(descriptor: int) -> Callable[[], Sequence[object]]:
    """A function that returns something when there are bytes to read."""
    if hasattr(select, "poll"):
        made = select.poll()
        made.register(descriptor, select.POLLIN)
        return partial(made.poll, 0)
    return lambda: select.select([descriptor], [], [], 0)[0]


class _Limited(Generator[Any, Any, T]):
    """No generator function: a signal's exception inside it would end it, and the driver's with it."""

    __slots__ = ("_at_most", "_calls", "_descriptor", "_gen", "_max_bytes", "_memory", "_read", "_steps")

    def __init__(self, gen: PQGen[T], descriptor: int, max_bytes: int) -> None:
        self._gen = gen
        self._descriptor = descriptor
        self._max_bytes = max_bytes
        self._calls = self._read = self._at_most = self._steps = 0
        self._memory = 0

    def send(self, ready: Any) -> Any:
        self._calls += 1
        # An answer that comes in one piece costs nothing; a wait that begins anew sends None.
        if self._calls <= _UNCOUNTED or not (ready and ready & READY_R and (waited := _unread(self._descriptor))):
            return self._gen.send(ready)
        self._memory = self._memory or _memory()
        before = thread_time()
        try:
            wanted = self._gen.send(ready)
        except StopIteration:
            self._count(waited, thread_time() - before, complete=True)
            raise
        self._count(waited, thread_time() - before)
        return wanted

    def _count(self, waited: int, seconds: float, complete: bool = False) -> None:
        self._read += max(waited - _unread(self._descriptor), min(waited, _LEAST))
        self._at_most += max(waited, int(seconds * _MOST_BYTES_A_SECOND))
        self._steps += 1
        if self._read > self._max_bytes:
            raise AnswerTooLong(self._max_bytes)
        look = complete or seconds > _SLOW_SECONDS or self._steps % _STEPS == 0
        if look and self._at_most > self._max_bytes and _memory() - self._memory > 2 * self._max_bytes:
            raise AnswerTooLong(self._max_bytes)

    def throw(self, *error: Any) -> Any:
        return self._gen.throw(*error)

    def close(self) -> None:
        self._gen.close()


def limited(gen: PQGen[T], descriptor: int, max_bytes: int) -> PQGen[T]:
    """The driver's wait for an answer. Raises AnswerTooLong when it is about longer than ``max_bytes``.

    The driver reads the socket between two of its steps. How much is not known: at least the difference of what waited
    there before and after, or a small piece; bytes that arrive meanwhile hide the rest. So a server that sends as fast
    as it is read is stopped by the memory of this process: it may grow by twice the limit, while this thread's
    processor time says that the answer may have brought that much. One value (PostgreSQL: 1 GiB at most) may be read
    whole in one step; it is refused after that.
    """
    return _Limited(gen, descriptor, max_bytes)
