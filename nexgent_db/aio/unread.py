"""The bytes that the server has sent and nobody has read: are there any, and is an answer too long?

libpq keeps every answer in memory, whatever its size.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

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


def poll(descriptor: int) -> Callable[[], Sequence[object]]:
    """A function that returns something when there are bytes to read."""
    if hasattr(select, "poll"):
        made = select.poll()
        made.register(descriptor, select.POLLIN)
        return partial(made.poll, 0)
    return lambda: select.select([descriptor], [], [], 0)[0]


def limited(gen: PQGen[T], descriptor: int, max_bytes: int) -> PQGen[T]:
    """The driver's wait for an answer. Raises AnswerTooLong when about ``max_bytes`` were read before it was complete.

    The driver reads the socket between two of its steps. What it read is the difference of what waited there; bytes
    that arrive meanwhile hide some of it, so the limit is not exact. An answer that comes in one piece costs nothing.
    """
    read = 0
    try:
        ready = yield next(gen)
        wanted = gen.send(ready)
        while True:
            ready = yield wanted
            waited = _unread(descriptor) if ready & READY_R else 0
            wanted = gen.send(ready)
            if waited:
                read += max(0, waited - _unread(descriptor))
                if read > max_bytes:
                    raise AnswerTooLong(max_bytes)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        gen.close()
