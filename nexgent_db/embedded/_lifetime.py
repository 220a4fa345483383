"""One server for one directory, shared by every process that uses it, ended with the last of them.

The directory has two locks, both flock, so the kernel releases them however a process ends:

- ``users.lock``: held shared by every user, exclusively by the watchdog while it stops the server.
- ``server.lock``: held by the watchdog and, inherited, by the server and its children. When it is free, no process
  of an earlier server or initdb is alive, and its remaining files may be deleted. Of several users that find it free,
  one gets it and starts the server; the others wait until the server answers.

They are taken in this order. Servers differ only in their ``Plan`` and in the check whether one answers.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nexgent_db.errors import NexgentError

if TYPE_CHECKING:
    from nexgent_db.embedded._watchdog import LaunchSpec

START_TIMEOUT_S = 120  # crash recovery may have much to read
LEAVE_TIMEOUT_S = 90  # longer than the watchdog waits before it forces the end
POLL_S = 0.01
MAX_SOCKET_PATH_BYTES = 100  # sun_path holds 104 on macOS, 108 on Linux
_ELSEWHERE_PREFIX = "nexgent-sockets-"


class EmbeddedServerError(NexgentError):
    """An embedded server cannot run; the message says what to install, change or set instead."""


@dataclass(frozen=True)
class ServerAccount:
    """The account that servers run as when this process is root: PostgreSQL refuses to run as uid 0."""

    uid: int
    gid: int

    @staticmethod
    def needed() -> ServerAccount | None:
        """``nobody`` for root; None for other users, who run servers as themselves."""
        if os.geteuid() != 0:
            return None
        try:
            nobody = pwd.getpwnam("nobody")
        except KeyError:
            raise EmbeddedServerError("root needs a 'nobody' account to run servers as: create one") from None
        return ServerAccount(nobody.pw_uid, nobody.pw_gid)

    def can_reach(self, path: Path) -> bool:
        """Whether the account may enter every directory on the way and enter or execute ``path`` itself."""
        path = path.resolve()
        return all(self._may_execute(each.stat()) for each in (path, *path.parents))

    def _may_execute(self, status: os.stat_result) -> bool:
        shift = 6 if status.st_uid == self.uid else 3 if status.st_gid == self.gid else 0
        return bool(status.st_mode >> shift & 1)

    @property
    def popen_options(self) -> dict[str, Any]:
        """The options with which ``subprocess`` runs a program as this account, without other groups."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


@dataclass(frozen=True)
class Plan:
    """How to run one kind of server. ``setup`` makes ``data.new``, which then becomes ``data``."""

    server: list[str]
    stop: signal.Signals
    force: signal.Signals
    setup: list[str] = field(default_factory=list)


class Home:
    """The directory of one server: locks, log, ``data``, and the directory of its socket."""

    def __init__(self, root: Path, socket_name: str) -> None:
        self.root = root
        self.socket_name = socket_name
        self.account = ServerAccount.needed()
        self.data = root / "data"
        self.log = root / "server.log"
        self._elsewhere = root / "sockets.path"

    def create(self) -> None:
        """Make the directory where there is none; one that exists keeps its mode.

        Root trusts only directories that no other account can write or replace.
        """
        self._ensure_trusted()
        for path in reversed((self.root, *self.root.parents)):
            if not path.exists():
                self._make(path)
        self._ensure_trusted()
        if self.account and not self.account.can_reach(self.root):
            raise EmbeddedServerError(
                f"as root, servers run as 'nobody', who cannot reach {self.root}:"
                " choose a directory that others may enter (NEXGENT_DB_HOME)"
            )

    def _ensure_trusted(self) -> None:
        if self.account and (reason := _distrusted(self.root)):
            raise EmbeddedServerError(f"root keeps no server in {self.root}: {reason}")

    def _make(self, path: Path) -> None:
        """Create it under another name first: other processes see it with its final mode, or not at all."""
        fresh = Path(tempfile.mkdtemp(prefix=f".{path.name[:50]}-", dir=path.parent))
        if self.account:
            fresh.chmod(0o711)  # "nobody" passes through to the directories that it owns
        try:
            fresh.rename(path)
        except OSError:
            fresh.rmdir()
            if not path.is_dir():
                raise

    def own(self, path: Path) -> None:
        """Make ``path`` a directory that only the server's account and this process can enter."""
        path.mkdir(mode=0o700, exist_ok=True)
        if self.account is None:
            path.chmod(0o700)
        else:  # by group: root may lack the right to override modes
            path.chmod(0o770)
            os.chown(path, self.account.uid, os.getegid())

    @property
    def sockets(self) -> Path:
        """The socket's directory: ``run``, or another one when that path does not fit a socket."""
        with contextlib.suppress(FileNotFoundError):
            return Path(self._elsewhere.read_text())
        return self.root / "run"

    @property
    def socket(self) -> Path:
        """The socket file of a running server."""
        return self.sockets / self.socket_name

    def make_sockets(self) -> None:
        """Replace the socket directory by an empty one. The caller holds ``server.lock``."""
        stale = self.sockets
        if stale.parent == self.root or stale.name.startswith(_ELSEWHERE_PREFIX):
            shutil.rmtree(stale, ignore_errors=True)
        self._elsewhere.unlink(missing_ok=True)
        if not _fits_socket(self.root / "run" / self.socket_name):
            self._elsewhere.write_text(tempfile.mkdtemp(prefix=_ELSEWHERE_PREFIX, dir=temporary_parent()))
        self.own(self.sockets)

    def log_tail(self) -> str:
        """The end of the log, for an error message: its lines beside each other."""
        with contextlib.suppress(OSError):
            return " | ".join(self.log.read_text(errors="replace")[-2000:].strip().splitlines())
        return "(no log)"


def _distrusted(root: Path) -> str | None:
    """Why root must not keep files in the directory: another account could put its own, or links, in their place.

    None when it may. In a directory with the sticky bit, such as /tmp, everybody renames and removes only their own.
    """
    for path in (root, *root.parents):
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        shared = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if stat.S_ISLNK(status.st_mode):
            return f"{path} is a link: name {path.resolve()}"
        if status.st_uid != 0:
            return f"account {status.st_uid} owns {path}"
        if shared and (path == root or not status.st_mode & stat.S_ISVTX):
            return f"others may write in {path}"
    return None


def _fits_socket(path: Path) -> bool:
    """Whether kernel and libpq accept the path: it is short, and has no comma, which libpq reads as two hosts."""
    return len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES and "," not in str(path)


def temporary_parent() -> Path:
    """A directory for temporary files that the server's account can reach and sockets fit into."""
    account = ServerAccount.needed()
    for path in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):  # noqa: S108
        fits = _fits_socket(path / ("x" * 50))  # a name, "run", a socket
        usable = fits and path.is_dir() and os.access(path, os.W_OK | os.X_OK)
        if usable and (not account or (account.can_reach(path) and not _distrusted(path / "new"))):
            return path
    raise EmbeddedServerError("no directory for temporary files that 'nobody' can reach: set TMPDIR to one")


def server_environment() -> dict[str, str]:
    """The environment of every server, independent of the starting process."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _watchdog_environment() -> dict[str, str]:
    """None of the caller's variables, which may hold passwords and keys, but those that Python may need to start."""
    places = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if name in os.environ}
    return {**server_environment(), **places}


@contextlib.contextmanager
def shared_server(
    home: Home, plan: Callable[[Home], Plan], answers: Callable[[Home], bool], *, throw_away: bool = False
) -> Iterator[None]:
    """Use the server of ``home``: start it if it does not run, and stop it at the end unless others use it.

    ``plan`` is called only to start a server, after every process of an earlier one has ended. A child forked meanwhile
    is not a user: it leaves the server to its parent. Raises EmbeddedServerError if the directory cannot be used, or
    if the server does not come up.
    """
    user = os.getpid()
    with contextlib.ExitStack() as stack:
        with _as_server_error(home):
            home.create()
            users = stack.enter_context(_lock_file(home.root / "users.lock"))
            fcntl.flock(users, fcntl.LOCK_SH)  # waits while the watchdog stops a server
        try:
            with _as_server_error(home):
                _ensure_running(home, plan, answers, throw_away)
            yield
        finally:
            if os.getpid() == user:  # a forked child shares its parent's lock
                fcntl.flock(users, fcntl.LOCK_UN)
                _wait_for_its_end(home, users)


@contextlib.contextmanager
def _as_server_error(home: Home) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        raise EmbeddedServerError(f"cannot keep a server in {home.root}: {e}") from e


@contextlib.contextmanager
def _lock_file(path: Path, *, create: bool = True) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0), 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _ensure_running(
    home: Home, plan: Callable[[Home], Plan], answers: Callable[[Home], bool], throw_away: bool
) -> None:
    """Start the server if it does not run. The caller holds ``users.lock`` shared."""
    started = False
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        with _lock_file(home.root / "server.lock") as server:
            if _try_lock(server, fcntl.LOCK_EX):
                if started:
                    raise EmbeddedServerError(f"the server in {home.root} did not start: {home.log_tail()}")
                _start(home, plan, server, throw_away)
                started = True
        if answers(home):
            return
        if time.monotonic() > deadline:
            raise EmbeddedServerError(
                f"the server in {home.root} does not answer after {START_TIMEOUT_S} s: {home.log_tail()}"
            )
        time.sleep(POLL_S)


def _start(home: Home, plan: Callable[[Home], Plan], server: int, throw_away: bool) -> None:
    home.make_sockets()
    todo = plan(home)
    spec: LaunchSpec = {
        "root": str(home.root),
        "lock_fd": server,
        "account": (home.account.uid, home.account.gid) if home.account else None,
        "setup": todo.setup,
        "server": todo.server,
        "environment": server_environment(),
        "stop": todo.stop,
        "force": todo.force,
        "sockets": str(home.sockets),
        "throw_away": throw_away,
    }
    with contextlib.suppress(FileNotFoundError):
        home.log.rename(home.log.with_suffix(".log.1"))  # may show why an earlier server ended
    home.log.touch(mode=0o600, exist_ok=False)
    with home.log.open("ab") as log:
        subprocess.run(  # returns at once: the watchdog forks
            [
                sys.executable,
                "-I",
                "-S",
                "-W",
                "ignore",
                str(Path(__file__).with_name("_watchdog.py")),
                json.dumps(spec),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=_watchdog_environment(),
            pass_fds=[server],
            start_new_session=True,
            check=False,
        )


def _wait_for_its_end(home: Home, users: int) -> None:
    """Wait until the server is gone, or return at once if others use it. The caller has released its lock."""
    deadline = time.monotonic() + LEAVE_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            with _lock_file(home.root / "server.lock", create=False) as server:
                if _try_lock(server, fcntl.LOCK_SH):
                    return
        except OSError:  # already removed, or never started
            return
        unused = _try_lock(users, fcntl.LOCK_EX)  # then the watchdog has not woken up yet
        others = not unused and _try_lock(users, fcntl.LOCK_SH)  # if not, the watchdog is stopping it
        if others:
            return
        fcntl.flock(users, fcntl.LOCK_UN)
        time.sleep(POLL_S)
