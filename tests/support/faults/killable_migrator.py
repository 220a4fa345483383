"""A process that migrates and kills itself: ``python -m tests.support.faults.killable_migrator``.

Arguments: a connection string, a directory and the operation.

For each line ``N`` on its standard input it forks a child that migrates (or rolls everything back) and sends itself
SIGKILL right after its N-th exchange with the server. It answers with the child's exit status as subprocess has it:
-9 killed, 0 done without ever reaching N.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

from nexgent_db.migrations import Migrator
from nexgent_db.migrations.runner import Runner


def _dying_at(n: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    exchanges = count(1)

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            if next(exchanges) == n:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return wrapped

    return wrap


def _child(conninfo: str, directory: Path, operation: str, n: int) -> None:
    dying = _dying_at(n)
    psycopg.Cursor.execute = dying(psycopg.Cursor.execute)  # type: ignore[method-assign]
    Runner._send = dying(Runner._send)  # type: ignore[method-assign]
    migrator = Migrator(conninfo, directory)
    if operation == "migrate":
        migrator.migrate()
    else:
        migrator.rollback(len(migrator.status()) - len(migrator.pending()))


def main() -> None:
    conninfo, directory, operation = sys.argv[1:]
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _child(conninfo, Path(directory), operation, int(line))
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
