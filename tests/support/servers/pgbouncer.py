"""PgBouncer before a test's server, in transaction mode: each transaction may get another session of the server."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from nexgent_db.embedded._lifetime import ServerAccount, temporary_parent

_PATIENCE_S: Final = 30.0


def pgbouncer_program() -> str | None:
    """Where it is installed; None when it is not."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextmanager
def pgbouncer(urls: list[str], *, server_sessions: int) -> Iterator[list[str]]:
    """A pooler before one database: ``urls``, one for each role, as they lead through it.

    The clients of a role share ``server_sessions``. Start-up options are ignored, as by most poolers.
    """
    program = pgbouncer_program()
    assert program is not None
    logins = [conninfo_to_dict(url) for url in urls]
    parts = logins[0]
    directory = Path(tempfile.mkdtemp(prefix="pgbouncer-", dir=temporary_parent()))
    account = ServerAccount.needed()
    try:
        target = " ".join(f"{name}={parts[name]}" for name in ("host", "port", "dbname") if parts.get(name))
        (directory / "users.txt").write_text(
            "".join(f'"{login["user"]}" "{login.get("password", "")}"\n' for login in logins)
        )
        (directory / "pgbouncer.ini").write_text(
            f"""[databases]
{parts["dbname"]} = {target}
[pgbouncer]
unix_socket_dir = {directory}
listen_port = 6432
auth_type = trust
auth_file = {directory}/users.txt
pool_mode = transaction
default_pool_size = {server_sessions}
max_client_conn = 200
ignore_startup_parameters = options
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


def _wait_until_it_serves(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _PATIENCE_S
    while True:
        with suppress(psycopg.OperationalError), psycopg.connect(url):
            return
        if process.poll() is not None or time.monotonic() > until:
            raise AssertionError(f"pgbouncer does not serve: {log.read_text()}")
        time.sleep(0.02)
