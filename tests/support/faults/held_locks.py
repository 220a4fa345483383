"""Lets another thread hold all locks that an object reaches: the worst state in which a process can fork."""

from __future__ import annotations

import gc
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from types import BuiltinMethodType, CellType, FunctionType, MethodType
from typing import Any, Final

_LOCKS: Final = (type(threading.Lock()), type(threading.RLock()))
_THROUGH: Final = (dict, list, tuple, set, deque, MethodType, BuiltinMethodType, FunctionType, CellType)
_PATIENCE_S: Final = 0.5
"""The wait for a lock in use. A lock that a thread sleeps on is never free and is left out."""


def locks_of(*roots: object) -> list[Any]:
    """The locks reached through this package's objects, the standard library's threading, and containers."""
    seen: set[int] = set()
    found: list[Any] = []
    todo = deque(roots)
    while todo:
        one = todo.popleft()
        if id(one) in seen:
            continue
        seen.add(id(one))
        module = type(one).__module__ or ""
        if isinstance(one, _LOCKS):
            found.append(one)
        elif isinstance(one, threading.Thread | type):
            continue
        elif isinstance(one, _THROUGH) or module == "threading" or module.startswith("nexgent_db"):
            todo.extend(_parts(one))
    return found


def _parts(one: object) -> list[object]:
    if isinstance(one, FunctionType):  # not its globals, which reach everything
        return list(one.__closure__ or ())
    return gc.get_referents(one)


@contextmanager
def held(locks: list[Any]) -> Iterator[int]:
    """Another thread holds every lock that it can acquire until the ``with`` ends; yields their number."""
    taken: list[Any] = []
    ready, over = threading.Event(), threading.Event()

    def hold() -> None:
        taken.extend(lock for lock in locks if lock.acquire(timeout=_PATIENCE_S))
        ready.set()
        over.wait()
        for lock in taken:
            lock.release()

    thread = threading.Thread(target=hold)
    thread.start()
    ready.wait()
    try:
        yield len(taken)
    finally:
        over.set()
        thread.join()
