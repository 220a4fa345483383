"""Fork and talk to the child: lines of JSON both ways, every wait bounded, every process ended.

pytest never forks with pools of its own: scenarios (fork_scenarios.py) run in a process of their own,
which :func:`run_scenario` starts and ends, its children too.
"""

from __future__ import annotations

import faulthandler
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import psycopg
from psycopg.conninfo import make_conninfo

STUCK_S: Final = 20.0
"""Much longer than a query takes on a busy machine: a process that has not answered by then waits for ever."""
_SCENARIO_S: Final = 120.0
_CHECKOUT: Final = Path(__file__).resolve().parents[3]
_LONGEST_LINE: Final = 1 << 26


class Stuck(AssertionError):
    """A process did not answer in time."""


class Channel:
    """One end of a socket pair: a value a line."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._read = b""

    def send(self, value: Any) -> None:
        """Send a value that JSON can hold; UUIDs and numbers become text."""
        self._end.sendall(json.dumps(value, default=str).encode() + b"\n")

    def receive(self, timeout_s: float = STUCK_S) -> Any:
        """The next value. Raises Stuck, and EOFError when the other process has ended."""
        until = time.monotonic() + timeout_s
        while b"\n" not in self._read:
            if not select.select([self._end], [], [], max(0.0, until - time.monotonic()))[0]:
                raise Stuck(f"no answer within {timeout_s} s")
            piece = self._end.recv(_LONGEST_LINE)
            if not piece:
                raise EOFError("the other process has ended")
            self._read += piece
        line, _, self._read = self._read.partition(b"\n")
        return json.loads(line)

    def close(self) -> None:
        """Let the other end see the end."""
        self._end.close()


class Child:
    """A forked process and the channel to it."""

    def __init__(self, pid: int, channel: Channel) -> None:
        self.pid = pid
        self.channel = channel
        self._status: int | None = None

    def result(self, timeout_s: float = STUCK_S) -> Any:
        """What the child sends next. A child that does not is killed, after its stacks were printed; raises Stuck."""
        try:
            return self.channel.receive(timeout_s)
        except Stuck:
            os.kill(self.pid, signal.SIGABRT)  # faulthandler prints the stack of every thread
            self.exit_code()
            raise

    def kill(self) -> int:
        """SIGKILL; the exit code."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        return self.exit_code()

    def exit_code(self, timeout_s: float = STUCK_S) -> int:
        """Wait for the end: as subprocess has it, negative for a signal. Raises Stuck, the child killed."""
        until = time.monotonic() + timeout_s
        while self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > until:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise Stuck(f"the child did not end within {timeout_s} s")
            else:
                time.sleep(0.005)
        return self._status


def fork(function: Callable[[Channel], object], *, then: Callable[[], object] | None = None) -> Child:
    """Run ``function`` in a forked child, which ends by os._exit unless ``then`` ends it in another way.

    ``then`` is called in the child with nothing caught: what it raises ends the interpreter in its own way.
    """
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid:
        theirs.close()
        return Child(pid, Channel(ours))
    ours.close()
    faulthandler.enable()
    try:
        function(Channel(theirs))
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(70)
    if then is None:
        os._exit(0)
    then()
    sys.exit(0)


def server_sockets(ignored: frozenset[str] = frozenset()) -> frozenset[str]:
    """The kernel's names of all sockets that this process holds, but for those ``ignored``."""
    names = set()
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            names.add(str(entry.readlink()))
    return frozenset(name for name in names if name.startswith("socket:")) - ignored


class Sessions:
    """The server's sessions of one application name, as another connection sees them."""

    def __init__(self, conninfo: str, application_name: str) -> None:
        self._conninfo = conninfo
        self._name = application_name

    def pids(self) -> list[int]:
        """Their backends, sorted."""
        with psycopg.connect(self._conninfo, application_name="observer") as connection:
            rows = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE application_name = %s ORDER BY pid", [self._name]
            )
            return [pid for (pid,) in rows]

    def pids_when(self, condition: Callable[[list[int]], bool], timeout_s: float = STUCK_S) -> list[int]:
        """The same once it is so; what there is when it does not become so in time."""
        until = time.monotonic() + timeout_s
        while not condition(pids := self.pids()) and time.monotonic() < until:
            time.sleep(0.02)
        return pids


def run_scenario(module: str, name: str, database_url: str, environment: Mapping[str, str], *arguments: str) -> Any:
    """Start ``python -m module name arguments``; what it reports, the last line that it prints as JSON.

    ``DATABASE_URL`` gets an application name of the scenario's own. Raises AssertionError with all that it printed when
    it fails or takes too long; nothing of it is left running.
    """
    url = make_conninfo(database_url, application_name=f"fork-{uuid4().hex}")
    process = subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-W", "ignore::DeprecationWarning", "-m", module, name, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=_CHECKOUT,
        env={**os.environ, "DATABASE_URL": url, **environment},
        start_new_session=True,
    )
    late = False
    try:
        try:
            out, errors = process.communicate(timeout=_SCENARIO_S)
        except subprocess.TimeoutExpired:
            late = True
            os.killpg(process.pid, signal.SIGKILL)
            out, errors = process.communicate()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert not late, f"{name} did not end:\n{out}\n{errors}"
    assert process.returncode == 0, f"{name} ended with {process.returncode}:\n{out}\n{errors}"
    return json.loads(out.splitlines()[-1])
