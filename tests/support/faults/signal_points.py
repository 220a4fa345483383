"""Raises a signal at the n-th place at which Python checks for signals, so that an interruption is repeatable.

Python runs handlers between two instructions: at the start of a function, at the next round of a loop, and after the
return of a function written in C. This module counts these instructions in the code of some files; before the n-th it
marks the signal as received, in a way that does not check at once. So the handler runs at the same place as for a
signal that another process sends at this moment.
"""

from __future__ import annotations

import _thread
import dis
import gc
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any, Final

_LOOKING: Final = ("CALL", "JUMP_BACKWARD", "POP_JUMP_BACKWARD")
_NEVER: Final = sys.maxsize


class Interrupted(Exception):
    """The exception of a handler that limits the time of a call."""


class Stopped(BaseException):
    """The exception of a handler that ends the program, like KeyboardInterrupt."""


class _Received(int):
    """``.now`` marks the signal of this number as received. No function is called for that: none looks for it yet."""

    now: Any = property(_thread.interrupt_main)


class SignalPoints:
    """Counts such places in files whose names contain one of ``parts``; ``reached`` is how many there were."""

    def __init__(
        self, *parts: str, number: signal.Signals = signal.SIGUSR1, raises: type[BaseException] = Interrupted
    ) -> None:
        self._parts = parts
        self.raises = raises
        self._signal = _Received(number)
        self._watched: dict[CodeType, frozenset[int] | None] = {}
        self._wanted = _NEVER
        self.reached = 0
        self.place = ""
        """Where the handler ran."""

    @contextmanager
    def at(self, wanted: int) -> Iterator[None]:
        """Within the block, in this thread, ``raises`` is raised once: at the place of this number, counted from 1.

        Python drops what is raised in a callback of the garbage collector, so none is begun meanwhile.
        """
        previous = signal.signal(self._signal, self._handle)
        gc.disable()
        self.start(wanted)
        try:
            yield
        finally:
            self.stop()
            gc.enable()
            signal.signal(self._signal, previous)

    def start(self, wanted: int) -> None:
        """Receive the signal once, at the place of this number. Its handler is the caller's."""
        self.reached, self._wanted, self.place = 0, wanted, ""
        sys._getframe().f_trace_opcodes = True  # since Python 3.12 this is looked at when tracing begins
        sys.settrace(self._enter)

    def stop(self) -> None:
        """Count no more."""
        sys.settrace(None)
        self._wanted = _NEVER

    def _handle(self, _: int, frame: FrameType | None) -> None:
        if self._wanted is _NEVER:
            return
        self._wanted = _NEVER
        assert frame is not None
        self.place = f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno} {frame.f_code.co_qualname}"
        raise self.raises

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        looking = self._looking(frame.f_code)
        if looking is None or self.reached >= self._wanted:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False

        def step(frame: FrameType, event: str, argument: Any) -> Any:
            if event == "call" or (event == "opcode" and frame.f_lasti in looking):
                self.reached += 1
                if self.reached == self._wanted:
                    return self._signal.now
            return step

        return step(frame, event, argument)

    def _looking(self, code: CodeType) -> frozenset[int] | None:
        """The places in it; None for code of another file."""
        if code not in self._watched:
            watched = any(part in code.co_filename for part in self._parts)
            places = (each.offset for each in dis.get_instructions(code) if each.opname.startswith(_LOOKING))
            self._watched[code] = frozenset(places) if watched else None
        return self._watched[code]
