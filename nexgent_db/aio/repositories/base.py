"""The base of every repository: binds its ``@query`` methods when the class is created."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import wraps
from importlib.resources.abc import Traversable
from typing import Any, ClassVar

from nexgent_db.aio.session import Session
from nexgent_db.aio.turns import take_turns
from nexgent_db.queries.binding import BoundQuery, bind_repository, ensure_whole


class Repository:
    """Typed methods over one file of named queries, which are bound when the class is created.

    A service's own: ``class PriceAlerts(Repository, sql=Path(__file__).with_name("price_alerts.sql"))``, used by
    :meth:`AsyncDatabase.use`. ``sql`` is the file's path, or a resource of a package; each ``@query`` method has the
    name of its query. A service's file has a name of its own: it qualifies the queries' names.

    Creating the class raises SqlFileError for a mistake in the file; QueryBindingError with both places for a method
    that differs from its query.
    """

    queries: ClassVar[dict[str, BoundQuery]] = {}

    def __init__(self, session: Session) -> None:
        self._session = session

    def __init_subclass__(cls, *, sql: str | Traversable) -> None:
        cls.queries = bind_repository(cls, sql)
        for name, bound in cls.queries.items():
            setattr(cls, name, _bound_method(bound))


def _bound_method(bound: BoundQuery) -> Callable[..., Any]:
    if bound.streams:

        @wraps(bound.method)
        def stream(self: Repository, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            return self._session.stream(bound, bound.call(args, kwargs))

        return stream

    @wraps(bound.method)
    async def method(self: Repository, *args: Any, **kwargs: Any) -> Any:
        call = await take_turns(bound.steps(args, kwargs)) if bound.takes_lists else bound.call(args, kwargs)
        result = await self._session.run(bound, call)
        if call.whole:
            ensure_whole(result, bound.name)
        return result

    return method
