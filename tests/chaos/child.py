"""A process that answers questions, is killed, and is started again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

STUCK_S: Final = 120.0
CHECKOUT: Final = Path(__file__).resolve().parents[2]


class Found(AssertionError):
    """A trade was lost or doubled, or an answer was wrong."""


class Killed(Exception):
    """The process is gone: it may or may not have executed the request."""


class Child:
    """``python -m command``, started when it is needed."""

    def __init__(self, environment: dict[str, str], *command: str) -> None:
        self._environment = environment
        self._command = command
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self._ended = False

    def start(self) -> subprocess.Popen[str] | None:
        """The running process; None once it is to run no more."""
        with self._lock:
            if self._process is not None and self._process.poll() is not None:
                self._close(self._process)
            if self._process is None and not self._ended:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", *self._command],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                    cwd=CHECKOUT,
                    env=self._environment,
                )
            return self._process

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Send one request and return the answer. Raises Killed."""
        process = self.start()
        if process is None:
            raise Killed
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            print(json.dumps(question, default=str), file=process.stdin, flush=True)
            line = process.stdout.readline()
        except (OSError, ValueError):
            raise Killed from None
        if not line.endswith("\n"):
            if process.wait(STUCK_S) != -signal.SIGKILL:
                raise Found(f"{self._command} ended by itself, with {process.returncode}: {question}")
            raise Killed
        answer: dict[str, Any] = json.loads(line)
        return answer

    def kill(self) -> bool:
        """SIGKILL; False when it does not run."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                return False
            self._process.kill()
            return True

    def end(self) -> None:
        """Kill it for good."""
        with self._lock:
            self._ended = True
            if self._process is not None:
                self._process.kill()
                self._process.wait(STUCK_S)
                self._close(self._process)

    def _close(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.close()
        with suppress(BrokenPipeError):
            process.stdin.close()
        self._process = None
