"""Queries and methods for one test, proven against a real database."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg

from nexgent_db.contract import Problem, Report, check, sources_of, without_method
from nexgent_db.contract._source import Source
from nexgent_db.queries.binding import bind_repository, query
from nexgent_db.queries.sqlfile import load_file

_KEYWORD = inspect.Parameter.POSITIONAL_OR_KEYWORD


def method_of(name: str, parameters: Mapping[str, Any], returns: Any) -> Any:
    """A ``@query`` method with this signature; a parameter that ends in ``=`` defaults to None."""

    async def method(self: object) -> None: ...

    names = {each.rstrip("="): each.endswith("=") for each in parameters}
    method.__name__ = name
    method.__annotations__ = {each.rstrip("="): kind for each, kind in parameters.items()} | {"return": returns}
    method.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter("self", _KEYWORD),
            *(
                inspect.Parameter(each, _KEYWORD, default=None if optional else inspect.Parameter.empty)
                for each, optional in names.items()
            ),
        ]
    )
    return query(method)


def made_up(folder: Path, sql: str, parameters: Mapping[str, Any] | None, returns: Any) -> Source:
    """A query of a file of its own, ``things.sql``, with its method; without one when ``parameters`` is None."""
    path = folder / "things.sql"
    path.write_text(sql)
    (found,) = load_file(path).queries.values()
    if parameters is None:
        return without_method(found)
    repository = type("Things", (), {found.name: method_of(found.name, parameters, returns)})
    (source,) = sources_of(bind_repository(repository, str(path.with_suffix(""))).values())
    return source


def prove(url: str, *sources: Source) -> Report:
    """The check of these queries."""
    with psycopg.connect(url, autocommit=True) as connection:
        return check(connection, sources)


def prove_one(url: str, folder: Path, sql: str, parameters: Mapping[str, Any] | None, returns: Any) -> list[Problem]:
    """The problems of one query."""
    return list(prove(url, made_up(folder, sql, parameters, returns)).problems)
