# Generated from nexgent_db/aio/repositories/base.py by `make sync`: do not edit.
"""The base of every repository: binds its ``@query`` methods when the class is created."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, ClassVar

from nexgent_db.queries.binding import BoundQuery, bind_repository
from nexgent_db.sync.session import Session


class Repository:
    """Typed methods over one file of named queries: ``class UserRepository(Repository, sql="users")``."""

    queries: ClassVar[dict[str, BoundQuery]] = {}

    def __init__(self, session: Session) -> None:
        self._session = session

    def __init_subclass__(cls, *, sql: str) -> None:
        cls.queries = bind_repository(cls, sql)
        for name, bound in cls.queries.items():
            setattr(cls, name, _bound_method(bound))


def _bound_method(bound: BoundQuery) -> Callable[..., Any]:
    if bound.streams:

        @wraps(bound.method)
        def stream(self: Repository, *args: Any, **kwargs: Any) -> Iterator[Any]:
            return self._session.stream(bound, bound.call(args, kwargs))

        return stream

    @wraps(bound.method)
    def method(self: Repository, *args: Any, **kwargs: Any) -> Any:
        call = bound.call(args, kwargs)
        result = self._session.run(bound, call)
        if call.whole:
            bound.ensure_whole(result)
        return result

    return method
