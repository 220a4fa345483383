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

    __slots__ = ("_calls", "_descriptor", "_gen", "_max_bytes", "_memory", "_offered", "_read", "_steps")

    def __init__(self, gen: PQGen[T], descriptor: int, max_bytes: int) -> None:
        self._gen = gen
        self._descriptor = descriptor
        self._max_bytes = max_bytes
        self._calls = self._read = self._offered = self._steps = 0
        self._memory: int | None = None

    def send(self, ready: Any) -> Any:
        self._calls += 1
        # An answer that comes in one piece costs nothing; a wait that begins anew sends None.
        if self._calls <= _UNCOUNTED or not (ready and ready & READY_R and (waited := _unread(self._descriptor))):
            return self._gen.send(ready)
        wanted = self._gen.send(ready)
        self._count(waited)
        return wanted

    def _count(self, waited: int) -> None:
        self._offered += waited
        self._read += max(waited - _unread(self._descriptor), min(waited, _LEAST))
        self._steps += 1
        if self._read > self._max_bytes:
            raise AnswerTooLong(self._max_bytes)
        if self._offered > self._max_bytes and self._steps % _STEPS == 0:
            now = _memory()
            self._memory = now if self._memory is None else self._memory
            if now - self._memory > 2 * self._max_bytes:
                raise AnswerTooLong(self._max_bytes)

    def throw(self, *error: Any) -> Any:
        return self._gen.throw(*error)

    def close(self) -> None:
        self._gen.close()


def limited(gen: PQGen[T], descriptor: int, max_bytes: int) -> PQGen[T]:
    """The driver's wait for an answer. Raises AnswerTooLong when about ``max_bytes`` were read before it was complete.

    The driver reads the socket between two of its steps. How much is not known: at least the difference of what waited
    there before and after, or a small piece; bytes that arrive meanwhile hide the rest. So a server that sends as fast
    as it is read is stopped by the memory of this process: it may grow by twice the limit.
    """
    return _Limited(gen, descriptor, max_bytes)
