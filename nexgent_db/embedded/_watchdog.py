"""Runs one server and ends it with its last user. Started as a file: ``python -I -S -W ignore _watchdog.py <order>``.

The server is the watchdog's child, so there is no pid file to trust and no dead pid to signal. Users hold
``users.lock`` shared; the watchdog waits for it exclusively, and gets it when the last one left or was
killed. ``server.lock`` arrives as an open, locked descriptor and is handed on to the server: it stays held
for exactly as long as anything of this server lives.

Only the standard library: this file must run without the package, and before ``site`` is set up.
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


class Order(TypedDict):
    """What the starting process wants run; JSON in ``argv[1]``."""

    root: str
    lock_fd: int
    account: tuple[int, int] | None  # uid and gid to run as
    setup: list[str]  # run to completion first, working in <root>/data.new; empty: nothing to set up
    server: list[str]
    environment: dict[str, str]
    stop: int  # the signal for an orderly end
    force: int  # the signal when that took longer than STOP_TIMEOUT_S
    sockets: str  # directory to remove with the server
    throw_away: bool  # remove the root as well, once nobody uses it


class _Keeper:
    """The one child at a time. ``stop`` may come from a thread or a signal handler at any moment.

    It sets the flag before it looks for a child; ``run`` notes the child before it looks at the flag: so one
    of the two sees the other, without a lock that a signal handler could wait for in vain.
    """

    def __init__(self, order: Order) -> None:
        self.order = order
        self.stopping = False
        self.unused = threading.Event()
        self.child: subprocess.Popen[bytes] | None = None

    def run(self, argv: list[str]) -> int | None:
        if self.stopping:
            return None
        options: dict[str, Any] = {}
        if self.order["account"] is not None:
            options["user"], options["group"] = self.order["account"]
            options["extra_groups"] = []
        self.child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            env=self.order["environment"],
            pass_fds=[self.order["lock_fd"]],
            umask=0o077,
            preexec_fn=_end_with_parent(self.order["stop"]),
            **options,
        )
        if self.stopping:
            self.child.send_signal(self.order["stop"])
        return self.child.wait()

    def stop(self) -> None:
        self.stopping = True
        if self.child is not None:
            self.child.send_signal(self.order["stop"])

    def stop_when_unused(self, users: int) -> None:
        fcntl.flock(users, fcntl.LOCK_EX)
        self.unused.set()
        self.stop()
        time.sleep(STOP_TIMEOUT_S)
        if self.child is not None:
            self.child.send_signal(self.order["force"])


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
    """The data directory gets its name when it is complete, and that survives a power cut."""
    if keeper.run(keeper.order["setup"]) != 0:
        return False
    (root / "data.new").rename(root / "data")
    directory = os.open(root, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)
    return True


def main(order: Order) -> None:
    """Run the server until it ends or nobody uses it, then clear away what is not to stay."""
    root = Path(order["root"])
    keeper = _Keeper(order)
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: keeper.stop())
    users = os.open(root / "users.lock", os.O_RDWR)
    threading.Thread(target=keeper.stop_when_unused, args=(users,), daemon=True).start()
    try:
        if not order["setup"] or _set_up(keeper, root):
            keeper.run(order["server"])
    except OSError as e:
        sys.stderr.write(f"{e}\n")  # the log, which the starter shows
    if order["throw_away"] and not keeper.stopping:  # it ended by itself: show that, then wait for its users
        os.close(order["lock_fd"])
        keeper.unused.wait()
    if order["throw_away"] or keeper.stopping:
        shutil.rmtree(order["sockets"], ignore_errors=True)
    if order["throw_away"]:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    if os.fork() == 0:  # the starter waits for the parent only: neither a zombie nor a child to look after
        main(json.loads(sys.argv[1]))
    os._exit(0)  # the waiting thread may still be in flock
