"""PgBouncer before a test's server, in transaction mode: each transaction may get another session of the server."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from nexgent_db.aio import handshake as aio_handshake
from nexgent_db.embedded._lifetime import ServerAccount, temporary_parent
from nexgent_db.sync import handshake as sync_handshake

_PATIENCE_S: Final = 30.0
_SESSIONS_OF_ALL_TESTS: Final = 20
"""Some tests hold a dozen transactions open at once; others let each of them wait for another."""


def pgbouncer_program() -> str | None:
    """Where it is installed, or TESTS_PGBOUNCER; None when there is none."""
    return shutil.which(os.environ.get("TESTS_PGBOUNCER", "pgbouncer"), path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def keeps_statements() -> bool:
    """Does the program keep its clients' prepared statements (from 1.22 on, with the driver's DEALLOCATE ALL)?"""
    program = pgbouncer_program()
    if program is None:
        return False
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"(\d+)\.(\d+)", said)
    return found is not None and (int(found[1]), int(found[2])) >= (1, 22)


@contextmanager
def pgbouncer(
    urls: list[str],
    *,
    server_sessions: int,
    mode: str = "transaction",
    ignores_options: bool = False,
    kept_statements: int = 0,
) -> Iterator[list[str]]:
    """A pooler before one server: ``urls``, one for each role, as they lead through it.

    The clients of a role share ``server_sessions`` in each database. Start-up options are refused, as by default, or
    ignored.
    """
    program = pgbouncer_program()
    assert program is not None
    logins = [conninfo_to_dict(url) for url in urls]
    parts = logins[0]
    directory = Path(tempfile.mkdtemp(prefix="pgbouncer-", dir=temporary_parent()))
    account = ServerAccount.needed()
    try:
        target = " ".join(f"{name}={parts[name]}" for name in ("host", "port") if parts.get(name))
        (directory / "users.txt").write_text(
            "".join(f'"{login["user"]}" "{login.get("password", "")}"\n' for login in logins)
        )
        (directory / "pgbouncer.ini").write_text(
            f"""[databases]
* = {target} auth_user={parts["user"]}
[pgbouncer]
unix_socket_dir = {directory}
listen_port = 6432
auth_type = trust
auth_file = {directory}/users.txt
auth_query = SELECT rolname, '' FROM pg_roles WHERE rolname = $1
admin_users = {parts["user"]}
pool_mode = {mode}
default_pool_size = {server_sessions}
max_client_conn = 500
server_idle_timeout = 10
{f"max_prepared_statements = {kept_statements}" if keeps_statements() else ""}
{"ignore_startup_parameters = options" if ignores_options else ""}
"""
        )
        if account is not None:
            for path in (directory, *directory.iterdir()):
                os.chown(path, account.uid, account.gid)
        pooled = [make_conninfo(url, host=str(directory), port=6432) for url in urls]
        options = {} if account is None else account.popen_options
        with (
            (directory / "log").open("wb") as log,
            subprocess.Popen([program, str(directory / "pgbouncer.ini")], stdout=log, stderr=log, **options) as process,
        ):
            try:
                _wait_until_it_serves(pooled[0], process, directory / "log")
                yield pooled
            finally:
                process.terminate()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def pools_go_through(server_url: str) -> Iterator[None]:
    """Every pool of this process that connects to this server goes through a pooler in transaction mode; all other
    connections (of commands, migrations, oracles) go straight there. For several servers, one inside of the other."""
    server = conninfo_to_dict(server_url)
    place = (server.get("host"), str(server.get("port")))
    with (
        pgbouncer([server_url], server_sessions=_SESSIONS_OF_ALL_TESTS) as (pooled,),
        pytest.MonkeyPatch.context() as patch,
    ):
        pooler = {name: conninfo_to_dict(pooled)[name] for name in ("host", "port")}
        before = vars(aio_handshake)["session_conninfo"]

        def through(*arguments: Any, **options: Any) -> str:
            conninfo: str = before(*arguments, **options)
            parts = conninfo_to_dict(conninfo)
            there = (parts.get("host"), str(parts.get("port"))) == place
            return make_conninfo(conninfo, **pooler) if there else conninfo

        for module in (aio_handshake, sync_handshake):
            patch.setattr(module, "session_conninfo", through)
        yield


def _wait_until_it_serves(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _PATIENCE_S
    while True:
        with suppress(psycopg.OperationalError), psycopg.connect(url):
            return
        if process.poll() is not None or time.monotonic() > until:
            raise AssertionError(f"pgbouncer does not serve: {log.read_text()}")
        time.sleep(0.02)
