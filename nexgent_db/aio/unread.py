"""The bytes that the server has sent and nobody has read: are there any, and is an answer too long?

libpq keeps every answer in memory, whatever its size.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

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


def _memory() -> int:
    """The resident memory of this process, in bytes; 0 where the system does not tell."""
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


def limited(gen: PQGen[T], descriptor: int, max_bytes: int) -> PQGen[T]:
    """The driver's wait for an answer. Raises AnswerTooLong when about ``max_bytes`` were read before it was complete.

    The driver reads the socket between two of its steps. How much is not known: at least the difference of what waited
    there before and after, or a small piece; bytes that arrive meanwhile hide the rest. So a server that sends as fast
    as it is read is stopped by the memory of this process: it may grow by twice the limit. An answer that comes in one
    piece costs nothing.
    """
    read = steps = offered = 0
    memory: int | None = None
    try:
        ready = yield next(gen)
        wanted = gen.send(ready)
        while True:
            ready = yield wanted
            waited = _unread(descriptor) if ready and ready & READY_R else 0  # none when a wait begins anew
            wanted = gen.send(ready)
            if waited:
                offered += waited
                read += max(waited - _unread(descriptor), min(waited, _LEAST))
                if read > max_bytes:
                    raise AnswerTooLong(max_bytes)
                steps += 1
                if offered > max_bytes and steps % _STEPS == 0:
                    now = _memory()
                    memory = now if memory is None else memory
                    if now - memory > 2 * max_bytes:
                        raise AnswerTooLong(max_bytes)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        gen.close()
