"""Runs callables concurrently: tasks in asynchronous tests, threads in synchronous ones.

``make sync`` replaces the one by the other, so both promise the same: results are in the order of the functions, and
all functions have ended, with or without an error, when the first error in that order is raised.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, TypeVar, overload

T = TypeVar("T")


@overload
async def concurrently_async(
    functions: Iterable[Callable[..., Awaitable[T]]], *, return_exceptions: Literal[False] = False
) -> list[T]: ...


@overload
async def concurrently_async(
    functions: Iterable[Callable[..., Awaitable[T]]], *, return_exceptions: bool
) -> list[T | BaseException]: ...


async def concurrently_async(
    functions: Iterable[Callable[..., Awaitable[Any]]], *, return_exceptions: bool = False
) -> Any:
    """Call all of them without arguments and await them at once; errors are raised, or stand among the results."""
    results = await asyncio.gather(*(function() for function in functions), return_exceptions=True)
    return _raised_or_returned(results, return_exceptions)


@overload
def concurrently(functions: Iterable[Callable[..., T]], *, return_exceptions: Literal[False] = False) -> list[T]: ...


@overload
def concurrently(functions: Iterable[Callable[..., T]], *, return_exceptions: bool) -> list[T | BaseException]: ...


def concurrently(functions: Iterable[Callable[..., Any]], *, return_exceptions: bool = False) -> Any:
    """Call all of them without arguments, each in a thread of its own, none before every thread is there."""
    todo = list(functions)
    start = threading.Barrier(max(1, len(todo)))

    def run(function: Callable[..., Any]) -> Any:
        start.wait()
        try:
            return function()
        except Exception as error:
            return error

    with ThreadPoolExecutor(start.parties) as pool:
        results = list(pool.map(run, todo))
    return _raised_or_returned(results, return_exceptions)


def _raised_or_returned(results: Sequence[Any], return_exceptions: bool) -> Sequence[Any]:
    if not return_exceptions:
        for result in results:
            if isinstance(result, BaseException):
                raise result
    return results
