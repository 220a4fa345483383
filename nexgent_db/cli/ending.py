"""How SIGTERM ends a command: as an error does, so that every ``with`` of it is left in order."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Terminated", "calling", "raise_at_sigterm"]


class Terminated(BaseException):
    """SIGTERM has arrived. Transactions roll back, pools and embedded servers are closed on its way out."""


def raise_at_sigterm() -> None:
    """From now on SIGTERM raises Terminated in the main thread. Does nothing in another thread."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _raise)


def _raise(signum: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not interrupt the end
    raise Terminated


@contextmanager
def calling(stop: Callable[[], None]) -> Iterator[None]:
    """The first SIGTERM or Ctrl-C in the ``with`` block calls ``stop``, which returns at once; a second one ends the
    command as usual."""
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}

    def ask(signum: int, frame: FrameType | None) -> None:
        for each, handler in before.items():
            signal.signal(each, handler)
        stop()

    for each in before:
        signal.signal(each, ask)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
