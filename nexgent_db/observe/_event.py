"""What a hook is told of one query, and how hooks are called."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class QueryEvent:
    """One query that has ended, well or not. It has no parameters: those may be secrets.

    Of a block there is an event for each of its queries and, when it is committed, one called ``transaction.commit``.
    A trade that had to wait for another one of its wallet is sent again: that is an event each. What was refused
    before it was sent (InvalidInput) is no query.
    """

    name: str
    """File and query, as in ``sql/``: ``positions.find_by_id``."""
    duration_s: float
    """From the call to the answer, with the wait for a connection. Of a stream: to its end, with the caller's time."""
    rows: int | None
    """Rows returned, affected or, of a stream, handed out; None when it failed or the query counts none."""
    error: BaseException | None
    """What the caller was given: an error of this package, or the cancellation of its task. Its message may hold values
    (the e-mail address that is taken), so the ready hooks tell its class and SQLSTATE only."""
    in_block: bool
    """Whether it was part of a transaction block: then it lasts only if that is committed."""
    outcome: str | None = None
    """What the statement of a trade answered: ``made``, ``replayed``, ``stale`` (it is sent again), or why the trade
    was refused, such as ``insufficient_balance``. None for every other query."""

    @property
    def sqlstate(self) -> str | None:
        """PostgreSQL's code for the error; None without one."""
        return getattr(self.error, "sqlstate", None)


QueryHook = Callable[[QueryEvent], None]
"""Called after each query, in the task that made it. It must be quick, and never wait: an event loop waits with it."""

_LOG: Final = logging.getLogger("nexgent_db.observe")


class Hooks:
    """Calls every hook with every event. None of them can lose a query's result, or hide its error.

    The first exception of a hook is logged with its traceback, later ones of the same hook are not; it is called
    again all the same.
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
        """Tell everybody."""
        for place, hook in enumerate(self._hooks):
            try:
                hook(event)
            except Exception:
                if place not in self._failed:
                    self._failed.add(place)
                    _LOG.exception(
                        "the hook %r failed at %s; it is called on, its later failures are not logged", hook, event.name
                    )
