"""Run callables at the same time: tasks for the asynchronous tests, threads for the synchronous ones."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any


async def concurrently_async(
    functions: Sequence[Callable[[], Awaitable[Any]]], *, return_exceptions: bool = False
) -> list[Any]:
    """Await all of them at once; their results in order. The first error is raised unless errors are wanted."""
    return await asyncio.gather(*(function() for function in functions), return_exceptions=return_exceptions)


def concurrently(functions: Sequence[Callable[[], Any]], *, return_exceptions: bool = False) -> list[Any]:
    """Call all of them at once, each in a thread of its own."""
    with ThreadPoolExecutor(len(functions)) as pool:
        futures = [pool.submit(function) for function in functions]
    if return_exceptions:
        return [future.exception() or future.result() for future in futures]
    return [future.result() for future in futures]
