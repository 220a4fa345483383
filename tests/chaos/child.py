"""A process that answers questions, is killed, and is started again.

Its processes are forks of one server process, which has imported everything: the import takes a second of a processor,
and hundreds of them are killed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

STUCK_S: Final = 120.0
CHECKOUT: Final = Path(__file__).resolve().parents[2]
_CONTEXT: Final = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.chaos.worker", "nexgent_db.cli.cache", "nexgent_db.sync.cache.maintenance"])

_LOCK: Final = threading.Lock()
"""For all processes: a start asks for the status of the others, and of two threads that ask at once one gets 255."""

Target = Callable[[Connection], None]
"""What a process does: it reads questions and sends answers, until it is killed."""


class Found(AssertionError):
    """A trade was lost or doubled, or an answer was wrong."""


class Killed(Exception):
    """The process is gone: it may or may not have executed the request."""


class Child:
    """A process with these variables in its environment, started when it is needed."""

    def __init__(self, environment: Mapping[str, str], target: Target) -> None:
        self._environment = dict(environment)
        self._target = target
        self._process: multiprocessing.process.BaseProcess | None = None
        self._connection: Connection | None = None
        self._ended = False

    def start(self) -> Connection | None:
        """The connection to the running process; None once it is to run no more."""
        with _LOCK:
            if self._process is not None and not self._process.is_alive():
                self._close()
            if self._process is None and not self._ended:
                self._connection, others = _CONTEXT.Pipe()
                process = _CONTEXT.Process(target=_run, args=(self._environment, self._target, others), daemon=True)
                process.start()
                others.close()
                self._process = process
            return self._connection

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Send one request and return the answer. Raises Killed."""
        connection, process = self.start(), self._process
        if connection is None or process is None:
            raise Killed
        try:
            connection.send(question)
            answer: dict[str, Any] = connection.recv()
        except (EOFError, OSError):
            with _LOCK:
                process.join(STUCK_S)
            if process.exitcode != -signal.SIGKILL:
                raise Found(f"a process ended by itself, with {process.exitcode}: {question}") from None
            raise Killed from None
        return answer

    def wait(self) -> int | None:
        """Its exit status, None after a while without one."""
        until = time.monotonic() + STUCK_S
        while True:
            with _LOCK:
                if self._process is None:
                    return None
                self._process.join(0.05)  # the others must go on meanwhile
                if (code := self._process.exitcode) is not None or time.monotonic() > until:
                    return code

    def kill(self) -> bool:
        """SIGKILL; False when it does not run."""
        with _LOCK:
            if self._process is None or not self._process.is_alive():
                return False
            self._process.kill()
            return True

    def end(self) -> None:
        """Kill it for good."""
        with _LOCK:
            self._ended = True
            if self._process is not None:
                self._process.kill()
                self._process.join(STUCK_S)
                self._close()

    def _close(self) -> None:
        assert self._connection is not None
        self._connection.close()
        self._process = self._connection = None


def _run(environment: Mapping[str, str], target: Target, connection: Connection) -> None:
    os.environ.update(environment)
    with Path(os.devnull).open("w") as nowhere:  # what is lost is logged, thousands of times
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    target(connection)
