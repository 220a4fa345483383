"""Runs one server and ends it with its last user. Started as a file: ``python -I -S -W ignore _watchdog.py <spec>``.

The server is the watchdog's child, so there is no pid file to trust and no dead pid to signal. Users hold
``users.lock`` shared; the watchdog waits for it exclusively, and gets it when the last user has left
or was killed. The watchdog inherits ``server.lock`` as an open, locked descriptor and passes it on to the server: it
stays locked exactly until the last process of this server ends.

This file uses only the standard library: it must run without the package, and before ``site`` is set up.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

STOP_TIMEOUT_S = 60


class LaunchSpec(TypedDict):
    """The starting process's instructions; JSON in ``argv[1]``."""

    root: str
    lock_fd: int
    account: tuple[int, int] | None  # uid and gid to run as
    setup: list[str]  # run first, to its end, in <root>/data.new; empty: nothing to set up
    server: list[str]
    environment: dict[str, str]
    stop: int  # the signal for an orderly shutdown
    force: int  # the signal if the shutdown takes longer than STOP_TIMEOUT_S
    sockets: str  # the directory to remove with the server
    throw_away: bool  # also remove the root once it is unused


class _Keeper:
    """Runs one child at a time. ``stop`` may come from a thread or a signal handler at any moment.

    ``stop`` sets the flag before it looks for a child; ``run`` notes the child before it looks at the flag. So one of
    the two sees the other, without a lock on which a signal handler could deadlock.
    """

    def __init__(self, spec: LaunchSpec) -> None:
        self.spec = spec
        self.stopping = False
        self.unused = threading.Event()
        self.child: subprocess.Popen[bytes] | None = None

    def run(self, argv: list[str]) -> int | None:
        if self.stopping:
            return None
        options: dict[str, Any] = {}
        if self.spec["account"] is not None:
            options["user"], options["group"] = self.spec["account"]
            options["extra_groups"] = []
        self.child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            env=self.spec["environment"],
            pass_fds=[self.spec["lock_fd"]],
            umask=0o077,
            preexec_fn=_end_with_parent(self.spec["stop"]),
            **options,
        )
        if self.stopping:
            self.child.send_signal(self.spec["stop"])
        return self.child.wait()

    def stop(self) -> None:
        self.stopping = True
        if self.child is not None:
            self.child.send_signal(self.spec["stop"])

    def stop_when_unused(self, users: int) -> None:
        fcntl.flock(users, fcntl.LOCK_EX)
        self.unused.set()
        self.stop()
        time.sleep(STOP_TIMEOUT_S)
        if self.child is not None:
            self.child.send_signal(self.spec["force"])


def _end_with_parent(stop: int) -> Callable[[], None] | None:
    """On Linux the kernel stops the child when the watchdog itself is killed."""
    if sys.platform != "linux":
        return None
    try:
        import ctypes

        prctl = ctypes.CDLL(None).prctl
    except (ImportError, OSError, AttributeError):
        return None
    pr_set_pdeathsig = 1
    return lambda: prctl(pr_set_pdeathsig, stop)


def _set_up(keeper: _Keeper, root: Path) -> bool:
    """Set the data directory up. It gets its name when it is complete, and the name survives a power cut."""
    if keeper.run(keeper.spec["setup"]) != 0:
        return False
    (root / "data.new").rename(root / "data")
    directory = os.open(root, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)
    return True


def main(spec: LaunchSpec) -> None:
    """Run the server until it ends or is unused, then remove its temporary files."""
    root = Path(spec["root"])
    keeper = _Keeper(spec)
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: keeper.stop())
    users = os.open(root / "users.lock", os.O_RDWR)
    threading.Thread(target=keeper.stop_when_unused, args=(users,), daemon=True).start()
    try:
        if not spec["setup"] or _set_up(keeper, root):
            keeper.run(spec["server"])
    except OSError as e:
        sys.stderr.write(f"{e}\n")  # to the log, which the starter shows
    if spec["throw_away"] and not keeper.stopping:  # it ended by itself: report that, then wait for its users
        os.close(spec["lock_fd"])
        keeper.unused.wait()
    if spec["throw_away"] or keeper.stopping:
        shutil.rmtree(spec["sockets"], ignore_errors=True)
    if spec["throw_away"]:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    if os.fork() == 0:  # the starter waits only for the parent, so it has no child to reap
        main(json.loads(sys.argv[1]))
    os._exit(0)  # the waiting thread may still be in flock
