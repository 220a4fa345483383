"""A small disk of a test's own, which it can fill: a tmpfs. Mounting one needs root."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from nexgent_db.embedded._lifetime import ServerAccount, temporary_parent


class MountRefused(Exception):
    """This process may not mount a file system; the message is mount's own."""


class SmallDisk:
    """A mounted file system of fixed size at ``path``, which the servers' account owns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    @property
    def free_bytes(self) -> int:
        """What can still be written."""
        status = os.statvfs(self.path)
        return status.f_bavail * status.f_frsize

    def fill(self, leave_bytes: int = 0) -> None:
        """Take what is free, but for ``leave_bytes``."""
        with self._ballast.open("ab") as file:
            while (room := self.free_bytes - leave_bytes) > 0:
                with contextlib.suppress(OSError):
                    file.write(b"\0" * min(room, 1 << 20))
                    file.flush()

    def empty(self) -> None:
        """Give back what :meth:`fill` took."""
        self._ballast.unlink(missing_ok=True)


@contextmanager
def small_disk(size_bytes: int) -> Iterator[SmallDisk]:
    """Mount one, and unmount it afterwards. Raises MountRefused."""
    path = Path(tempfile.mkdtemp(prefix="nexgent-disk-", dir=temporary_parent()))
    refused = _mount(path, f"size={size_bytes},mode=0711")
    try:
        if refused is not None:
            raise MountRefused(refused)
        try:
            yield SmallDisk(path)
        finally:
            subprocess.run(["umount", "--lazy", path], check=True)  # lazy: a server may still be ending
    finally:
        path.rmdir()


def _mount(path: Path, options: str) -> str | None:
    """Mount a tmpfs there; why not, when it cannot be."""
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except OSError as error:
        return str(error)
    except subprocess.CalledProcessError as error:
        return " ".join(str(error.stderr).split())
    return None


@contextmanager
def tablespace(url: str, disk: SmallDisk, tables: Sequence[str]) -> Iterator[None]:
    """Move ``tables`` and their indexes to ``disk``, and back afterwards.

    Only these tables meet the full disk: WAL and catalog have room, so the server itself keeps running.
    """
    location = disk.path / "tablespace"
    location.mkdir(mode=0o700)
    if (account := ServerAccount.needed()) is not None:
        os.chown(location, account.uid, account.gid)
    with psycopg.connect(url, autocommit=True) as connection:
        place = sql.Literal(str(location))
        connection.execute(sql.SQL("CREATE TABLESPACE small LOCATION {}").format(place))
        _move(connection, tables, "small")
    try:
        yield
    finally:
        disk.empty()
        with psycopg.connect(url, autocommit=True) as connection:
            _move(connection, tables, "pg_default")
            connection.execute("DROP TABLESPACE small")


def _move(connection: psycopg.Connection[tuple[object, ...]], tables: Sequence[str], place: str) -> None:
    for table in tables:
        named = (sql.Identifier(table), sql.Identifier(place))
        connection.execute(sql.SQL("ALTER TABLE {} SET TABLESPACE {}").format(*named))
        query = "SELECT relname FROM pg_index JOIN pg_class ON oid = indexrelid WHERE indrelid = %s::regclass"
        for (index,) in connection.execute(query, [table]).fetchall():
            named = (sql.Identifier(str(index)), sql.Identifier(place))
            connection.execute(sql.SQL("ALTER INDEX {} SET TABLESPACE {}").format(*named))
