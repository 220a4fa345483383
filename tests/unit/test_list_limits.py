"""One rule for all lists: without a limit a list is whole, or raises ListTooLong; only the caller cuts it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any, Final, get_args, get_origin, get_type_hints

import pytest

from nexgent_db.aio.repositories.base import Repository
from nexgent_db.models import Page
from nexgent_db.models.base import MANY
from nexgent_db.models.pages import MAX_PAGE
from tests.unit.test_public_names import REPOSITORIES

METHODS: Final = [
    (cls, name, inspect.unwrap(method))
    for cls in REPOSITORIES
    for name, method in vars(cls).items()
    if inspect.isfunction(method) and not name.startswith("_")
]
_FIXED_LIMIT: Final = re.compile(r"^LIMIT [0-9]+", re.MULTILINE)


def returned(method: Any) -> Any:
    return get_type_hints(method, include_extras=True)["return"]


def faults(cls: type, name: str, method: Any) -> Iterator[str]:
    """What lets a caller take a part of a list for all of it."""
    limit = inspect.signature(method).parameters.get("limit")
    if get_origin(returned(method)) is not list:
        return
    if limit is not None:
        if limit.default not in (None, inspect.Parameter.empty):
            yield f"{cls.__name__}.{name} cuts the list at {limit.default}: give limit the default None"
        elif limit.default is None and "ListTooLong" not in (method.__doc__ or ""):
            yield f"{cls.__name__}.{name} does not say that it raises ListTooLong"
        return
    bound = cls.queries.get(name) if issubclass(cls, Repository) else None
    if bound is not None and not _FIXED_LIMIT.search(bound.query.statement(bound.query.parameters).text):
        yield f"{cls.__name__}.{name} has no limit"
    if bound is None and not any(get_origin(hint) is not None for hint in get_type_hints(method).values()):
        yield f"{cls.__name__}.{name} has no limit"


@pytest.mark.parametrize(("cls", "name", "method"), METHODS, ids=lambda each: getattr(each, "__name__", each))
def test_no_list_is_cut_without_the_caller_saying_so(cls: type, name: str, method: Any) -> None:
    assert list(faults(cls, name, method)) == []


def test_every_page_says_whether_there_is_more() -> None:
    paged = {
        f"{cls.__module__}.{cls.__name__}.{name}": (inspect.signature(method).parameters, returned(method))
        for cls, name, method in METHODS
        if name.startswith("page")
    }
    assert len(paged) >= 2 * 8
    for name, (parameters, result) in paged.items():
        assert issubclass(get_origin(result) or result, Page) or Page in result.__mro__, name
        assert {"limit", "cursor"} <= parameters.keys(), name
        assert 1 <= parameters["limit"].default <= MAX_PAGE, name


def test_cut_list_is_found() -> None:
    class Cut:
        async def list_things(self, limit: int = 100) -> list[int]:  # type: ignore[empty-body]
            """Things."""

        async def list_more(self, limit: int | None = None) -> list[int]:  # type: ignore[empty-body]
            """Things."""

        async def list_of_caller(self, limit: int) -> list[int]:  # type: ignore[empty-body]
            """Things."""

    found = [
        fault for name in ("list_things", "list_more", "list_of_caller") for fault in faults(Cut, name, vars(Cut)[name])
    ]
    assert found == [
        "Cut.list_things cuts the list at 100: give limit the default None",
        "Cut.list_more does not say that it raises ListTooLong",
    ]


def test_lists_of_given_ids_have_the_bound_of_their_argument() -> None:
    lists = {
        f"{cls.__module__}.{cls.__name__}.{name}": method
        for cls, name, method in METHODS
        if get_origin(returned(method)) is list and name.endswith("_by_ids")
    }
    assert len(lists) >= 2 * 2
    for name, method in lists.items():
        hints = [hint for key, hint in get_type_hints(method, include_extras=True).items() if key.endswith("_ids")]
        assert [f"max_length={MANY}" in str(get_args(hint)) for hint in hints] == [True], name
