"""Runs an action at the n-th time that a coroutine waits, so that a cancellation is repeatable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Suspensions(Generic[T]):
    """A coroutine whose suspensions are counted, each time that it hands something to the loop to wait for."""

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self._work = work
        self._number = 0
        self._action: Callable[[], object] | None = None
        self._as_it_ends = False
        self.count = 0

    def at(self, number: int, action: Callable[[], object], *, as_it_ends: bool) -> None:
        """Call ``action`` in the loop's next turn after the suspension of this number, counted from 1, began.

        With ``as_it_ends`` in the turn in which it ends: what was waited for has come, the coroutine has not seen it.
        """
        self._number, self._action, self._as_it_ends = number, action, as_it_ends

    async def run(self) -> T:
        """Run it to its end."""
        return await self

    def close(self) -> None:
        """For a task that was cancelled before it began: the coroutine is not complained of."""
        self._work.close()

    def place(self) -> str:
        """Where it is: its own code's innermost places, the outermost of them first."""
        places = []
        at: Any = self._work
        while at is not None:
            frame = _first(at, "cr_frame", "gi_frame", "ag_frame")
            inner = _first(at, "cr_await", "gi_yieldfrom", "ag_await")
            if frame is not None:
                places.append(f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno} {frame.f_code.co_name}")
                if frame.f_code.co_name in ("__aenter__", "__aexit__"):  # of an asynchronous generator
                    inner = getattr(frame.f_locals.get("self"), "gen", inner)
            at = inner
        return " > ".join(places[-4:])

    def __await__(self) -> Generator[Any, Any, T]:
        steps = self._work.__await__()
        advance: Callable[[], Any] = partial(next, steps)
        while True:
            try:
                waited_for = advance()
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            self.count += 1
            if self.count == self._number:
                self._arrange(waited_for)
            try:
                yield waited_for
            except BaseException as error:
                advance = partial(steps.throw, error)
            else:
                advance = partial(next, steps)

    def _arrange(self, waited_for: Any) -> None:
        action = self._action
        assert action is not None
        if self._as_it_ends and asyncio.isfuture(waited_for):
            waited_for.add_done_callback(lambda _: action())
        else:
            asyncio.get_running_loop().call_soon(action)


def _first(holder: object, *names: str) -> Any:
    return next((value for name in names if (value := getattr(holder, name, None)) is not None), None)
