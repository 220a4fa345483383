"""The event that each query sends to the hooks."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from nexgent_db._text import visible


@dataclass(frozen=True, slots=True)
class QueryEvent:
    """One query that has succeeded or failed. It has no parameters: they may be secrets.

    A transaction gives an event for each of its queries and, when it is committed, one named ``transaction.commit``.
    A query that is refused before it is sent (InvalidInput) gives none.
    """

    name: str
    """File and query, as in ``sql/``: ``positions.find_by_id``."""
    duration_s: float
    """The time from the call to the answer, with the wait for a connection; a stream's lasts to its end, with the
    caller's time."""
    rows: int | None
    """The rows returned, affected or streamed; None when the query failed or counts no rows."""
    error: BaseException | None
    """The caller's exception: an error of this package, or the cancellation of its task. Its message may hold values
    (such as a duplicate e-mail address), so the ready hooks report only its class and SQLSTATE."""
    in_transaction: bool
    """Whether the query is part of a transaction, and so takes effect only if that is committed."""
    outcome: str | None = None
    """The answer to a trade's statement: ``made``, ``duplicate``, or the reason why the trade was refused,
    such as ``insufficient_balance``. None for every other query."""

    @property
    def sqlstate(self) -> str | None:
        """PostgreSQL's code for the error; None without one."""
        return getattr(self.error, "sqlstate", None)


QueryHook = Callable[[QueryEvent], None]
"""A hook, called after each query, in the task that made it. It must be quick and must not block the event loop."""

_LOG: Final = logging.getLogger("nexgent_db.observe")


class Hooks:
    """Calls every hook with every event. A failing hook neither loses a query's result nor hides its error.

    The first exception of a hook is logged with its traceback; later ones are not logged. The hook is still called.
    """

    def __init__(self, hooks: QueryHook | Sequence[QueryHook]) -> None:
        self._hooks: tuple[QueryHook, ...] = (hooks,) if callable(hooks) else tuple(hooks)
        self._failed: set[int] = set()
        for hook in self._hooks:
            if not callable(hook):
                raise TypeError(f"on_query takes functions of a QueryEvent, not {type(hook).__name__}")
            if inspect.iscoroutinefunction(hook) or inspect.iscoroutinefunction(type(hook).__call__):
                raise TypeError(f"on_query takes plain functions: {hook!r} is a coroutine function")

    def __bool__(self) -> bool:
        return bool(self._hooks)

    def __call__(self, event: QueryEvent) -> None:
        """Call every hook with this event."""
        for place, hook in enumerate(self._hooks):
            try:
                hook(event)
            except Exception:
                if place not in self._failed:
                    self._failed.add(place)
                    # With its traceback: the hook is the service's own code, and so is the text of its error.
                    with suppress(Exception):  # a filter or handler of the log may fail, and so may a hook's repr
                        _LOG.exception(
                            "the hook %s failed at %s; it is still called, its later failures are not logged",
                            visible(repr(hook)),
                            event.name,
                        )
