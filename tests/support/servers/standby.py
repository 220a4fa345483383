"""A streaming standby of a test's server, and its promotion."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict

from nexgent_db.embedded import postgres_bin_dir
from nexgent_db.embedded._lifetime import ServerAccount, server_environment
from tests.support.servers.postgres_server import PostgresServer, postgres_server, server_directory

_WAIT_S = 60


@contextmanager
def standby_of(primary: PostgresServer, *, start: bool = True, slot: str | None = None) -> Iterator[PostgresServer]:
    """A standby that follows ``primary``, gone afterwards; it outlives the primary's stops and kills.

    With ``start=False`` it is only made: configure it (``hot_standby="off"``), then start it. With ``slot`` the primary
    keeps the log for it, in a new replication slot of this name.
    """
    with server_directory() as directory, ExitStack() as stack:
        standby = PostgresServer(directory)
        stack.callback(standby.stop)
        standby.data.parent.mkdir()
        standby.data.parent.chmod(0o711)
        _copy(primary, standby.data, slot)
        if start:
            standby.start()
        yield standby


def _copy(primary: PostgresServer, data: Path, slot: str | None = None) -> None:
    """A base backup that follows its origin: standby.signal and primary_conninfo are written."""
    program = str(postgres_bin_dir() / "pg_basebackup")
    options = ["--write-recovery-conf", "--checkpoint=fast", "--no-sync"]
    if slot is not None:
        options += ["--create-slot", f"--slot={slot}"]
    subprocess.run(
        [program, *options, f"--dbname={primary.url}", f"--pgdata={data}"],
        env=server_environment(),
        check=True,
        capture_output=True,
        timeout=_WAIT_S,
    )
    if (account := ServerAccount.needed()) is not None:
        for path in (data, *data.rglob("*")):
            os.chown(path, account.uid, os.getegid(), follow_symlinks=False)


def wait_until_replayed(primary: PostgresServer, standby: PostgresServer) -> None:
    """Wait until ``standby`` shows everything that ``primary`` has committed by now. Raises TimeoutError."""
    with psycopg.connect(primary.url) as connection:
        written = connection.execute("SELECT pg_current_wal_lsn()").fetchone()
    deadline = time.monotonic() + _WAIT_S
    query = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
    with psycopg.connect(standby.url, autocommit=True) as connection:
        while connection.execute(query, written).fetchone() != (True,):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the standby has not replayed {written} after {_WAIT_S} s")
            time.sleep(0.01)


def promote(standby: PostgresServer) -> None:
    """Promote it to a primary; returns when it accepts writes. Its open sessions go on."""
    with psycopg.connect(standby.url, autocommit=True) as connection:
        row = connection.execute("SELECT pg_promote(true, %s)", [_WAIT_S]).fetchone()
    if row != (True,):
        raise TimeoutError(f"the standby was not promoted within {_WAIT_S} s")


@contextmanager
def replicated() -> Iterator[tuple[PostgresServer, PostgresServer, PostgresServer]]:
    """A migrated primary and two standbys, each with a replication slot."""
    with (
        postgres_server() as primary,
        standby_of(primary, slot="first") as first,
        standby_of(primary, slot="second") as second,
    ):
        yield primary, first, second


@contextmanager
def frozen(server: PostgresServer) -> Iterator[None]:
    """Every process of the server stops in its tracks (SIGSTOP) until the ``with`` ends; the kernel still accepts."""
    stopped = [server.pid]
    os.kill(server.pid, signal.SIGSTOP)
    try:
        for pid in server.children():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                stopped.append(pid)
        yield
    finally:
        for pid in reversed(stopped):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@contextmanager
def applying_late(standby: PostgresServer, seconds: float) -> Iterator[None]:
    """The standby receives the log and applies each commit that much later."""
    standby.configure(recovery_min_apply_delay=str(round(seconds * 1000)))
    try:
        yield
    finally:
        standby.configure(recovery_min_apply_delay="0")


@contextmanager
def applying_nothing(standby: PostgresServer) -> Iterator[None]:
    """The standby receives the log and applies none of it."""
    with psycopg.connect(standby.url, autocommit=True) as connection:
        connection.execute("SELECT pg_wal_replay_pause()")
        while connection.execute("SELECT pg_get_wal_replay_pause_state()").fetchone() != ("paused",):
            time.sleep(0.01)
    try:
        yield
    finally:
        with psycopg.connect(standby.url, autocommit=True) as connection:
            connection.execute("SELECT pg_wal_replay_resume()")


def demote(old: PostgresServer, primary: PostgresServer) -> None:
    """Make a stopped server a standby of ``primary``, under its own URL, as after a failover. Start it afterwards."""
    shutil.rmtree(old.data)
    _copy(primary, old.data)


def either_of(*servers: PostgresServer, target: str = "any") -> str:
    """The URL of several servers, as libpq tries them: in this order, and only those of kind ``target``."""
    hosts = [quote(str(conninfo_to_dict(server.url)["host"]), safe="") for server in servers]
    ports = ",".join("5432" for _ in servers)
    return f"postgresql://postgres@/postgres?host={','.join(hosts)}&port={ports}&target_session_attrs={target}"
