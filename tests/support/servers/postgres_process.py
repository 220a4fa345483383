"""A PostgreSQL server as a child of this process: over TCP as well, in a network namespace, as a standby, frozen.

Every one begins as a copy of a :class:`Cluster`, which is initialised and migrated once.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import psycopg
from psycopg import pq

from nexgent_db.embedded import postgres
from nexgent_db.embedded._binaries import reachable_postgres
from nexgent_db.embedded._lifetime import Home, ServerAccount, server_environment, temporary_parent
from nexgent_db.migrations import Migrator

_PATIENCE_S: Final = 60.0
_PORTS: Final = range(20_000, 32_000)
"""Below those that the kernel gives to clients: while a server is down, no other socket takes its port."""
_TAKEN: Final[set[int]] = set()


def why_no_process() -> str | None:
    """The reason why this system can run none; None when it can."""
    if sys.platform != "linux" or shutil.which("setpriv") is None:
        return "servers that freeze and end with their starter need Linux and setpriv (util-linux)"
    return None


@dataclass(frozen=True)
class Cluster:
    """The files of a migrated server that does not run, and the programs to run copies of it."""

    root: Path
    data: Path
    programs: Path


@contextmanager
def migrated_cluster() -> Iterator[Cluster]:
    """A cluster until the ``with`` ends; copies are in its ``root``."""
    root = Path(tempfile.mkdtemp(prefix="nexgent-cluster-", dir=temporary_parent()))
    try:
        if os.geteuid() == 0:
            root.chmod(0o711)  # the servers run as nobody
        with postgres(root, durable=False) as url:
            Migrator(url).migrate()
        home = Home(root / "postgres", "unused")
        yield Cluster(root, home.data, reachable_postgres(home))
    finally:
        shutil.rmtree(root, ignore_errors=True)


class PostgresProcess:
    """A server with its own copy of the cluster's files. Its URLs stay the same when it is started again."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        options: Mapping[str, str] | None = None,
        address: str = "127.0.0.1",
        run_by: Sequence[str] = (),
    ) -> None:
        self._cluster = cluster
        self._account = ServerAccount.needed()
        self.directory = Path(tempfile.mkdtemp(prefix="server-", dir=cluster.root))
        self.data = self.directory / "data"
        subprocess.run(["cp", "-a", cluster.data, self.data], check=True)  # owners too
        if self._account is not None:
            os.chown(self.directory, self._account.uid, self._account.gid)
        self.address = address
        self.port = _free_port()
        self._options = {
            "listen_addresses": address,
            "port": str(self.port),
            "unix_socket_directories": str(self.directory),
            "fsync": "off",
            **(options or {}),
        }
        self._run_by = run_by
        self._process: subprocess.Popen[bytes] | None = None
        self._frozen: list[int] = []
        with (self.data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all all trust\nhost replication all all trust\n")

    # --- Where it is --------------------------------------------------------------------------------

    @property
    def unix_url(self) -> str:
        return f"postgresql://postgres@/postgres?host={quote(str(self.directory), safe='')}&port={self.port}"

    @property
    def tcp_url(self) -> str:
        return f"postgresql://postgres@{self.address}:{self.port}/postgres"

    def connect(self) -> psycopg.Connection[Any]:
        """A superuser's direct connection: no fault of a test disturbs it, except those of the server itself."""
        return psycopg.connect(self.unix_url, autocommit=True, connect_timeout=10)

    def set_options(self, **options: str) -> None:
        """ALTER SYSTEM, and have the server read it."""
        with self.connect() as connection:
            for name, value in options.items():
                connection.execute(f"ALTER SYSTEM SET {name} = {value}")
            connection.execute("SELECT pg_reload_conf()")

    # --- Its life -----------------------------------------------------------------------------------

    def follow(self, primary: PostgresProcess, name: str) -> None:
        """Be a standby of ``primary`` from the first start on."""
        (self.data / "standby.signal").touch()
        conninfo = f"host={primary.address} port={primary.port} user=postgres application_name={name}"
        self._options["primary_conninfo"] = conninfo

    def start(self, *, wait: bool = True) -> None:
        """Start it; with ``wait`` until it answers. The server ends with the thread that starts it."""
        (self.data / "postmaster.pid").unlink(missing_ok=True)  # of a server that was killed
        settings = [part for name, value in self._options.items() for part in ("-c", f"{name}={value}")]
        command = [str(self._cluster.programs / "postgres"), "-D", str(self.data), *settings]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._run_by, *self._as_account(), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=server_environment(),
            )
        if wait:
            self.wait_until_it_answers()

    def _as_account(self) -> list[str]:
        """``setpriv`` of util-linux: the server gets no rights of ours, and ends when this process is killed."""
        prefix = ["setpriv", "--pdeathsig", "KILL"]
        if self._account is not None:
            uid, gid = str(self._account.uid), str(self._account.gid)
            prefix += ["--reuid", uid, "--regid", gid, "--clear-groups"]
        return prefix

    def wait_until_it_answers(self) -> None:
        until = time.monotonic() + _PATIENCE_S
        while pq.PGconn.ping(f"{self.unix_url}&connect_timeout=5".encode()) != pq.Ping.OK:
            ended = self._process is None or self._process.poll() is not None
            if ended or time.monotonic() > until:
                log = (self.directory / "log").read_text(errors="replace")[-2000:]
                raise AssertionError(f"the server in {self.directory} does not answer:\n{log}")
            time.sleep(0.005)

    def end(self, how: signal.Signals) -> None:
        """SIGINT: fast shutdown. SIGQUIT: immediate shutdown, which needs crash recovery. Returns after the end."""
        process, self._process = self._process, None
        if process is None:
            return
        children = self._children(process.pid)
        process.send_signal(how)
        try:
            process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            for pid in (process.pid, *children):
                _signal(pid, signal.SIGKILL)
            process.wait(_PATIENCE_S)
            raise AssertionError(f"the server in {self.directory} did not end by {how.name}") from None

    def promote(self) -> None:
        """Make a standby a primary, as pg_ctl does. Does not wait."""
        assert self._process is not None
        (self.data / "promote").touch()
        self._process.send_signal(signal.SIGUSR1)

    def freeze(self) -> None:
        """SIGSTOP for the postmaster first, then for every other process of the server."""
        assert self._process is not None
        self._frozen = [self._process.pid]
        _signal(self._process.pid, signal.SIGSTOP)
        self._frozen += self._children(self._process.pid)
        for pid in self._frozen:
            _signal(pid, signal.SIGSTOP)

    def freeze_only(self, pids: Sequence[int]) -> None:
        """SIGSTOP for some of its backends."""
        assert self._process is not None
        strange = set(pids) - set(self._children(self._process.pid))
        assert not strange, f"not of this server: {strange}"
        self._frozen = list(pids)
        for pid in self._frozen:
            _signal(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT for all that are frozen."""
        frozen, self._frozen = self._frozen, []
        for pid in reversed(frozen):
            _signal(pid, signal.SIGCONT)

    @staticmethod
    def _children(postmaster: int) -> list[int]:
        return [int(pid) for pid in Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()]

    def remove(self) -> None:
        """End it in any state that it is in, and delete its files."""
        self.thaw()
        self.end(signal.SIGQUIT)
        shutil.rmtree(self.directory, ignore_errors=True)


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _free_port() -> int:
    for _ in range(100):
        port = random.choice(_PORTS)
        if port in _TAKEN:
            continue
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _TAKEN.add(port)
            return port
    raise AssertionError("no free port")
