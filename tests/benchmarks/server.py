"""One durable embedded server, and migrated databases on it."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from nexgent_db.embedded import postgres
from nexgent_db.migrations import Migrator

_TEMPLATE = "bench_template"


class Server:
    """A server with a migrated database to copy."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._numbers = itertools.count(1)
        self._execute(f"CREATE DATABASE {_TEMPLATE}")
        Migrator(make_conninfo(url, dbname=_TEMPLATE)).migrate()

    @contextmanager
    def new_database(self) -> Iterator[str]:
        """A migrated database of its own for each measurement, so that none is slowed by what another left."""
        name = f"bench_{next(self._numbers)}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
        try:
            yield make_conninfo(self.url, dbname=name)
        finally:
            self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement.encode())


@contextmanager
def durable_server() -> Iterator[Server]:
    """A server of its own with fsync on, in a temporary directory."""
    root = Path(tempfile.mkdtemp(prefix="nexgent-bench-", dir="/tmp"))
    try:
        if os.geteuid() == 0:
            root.chmod(0o711)  # the server runs as "nobody"
        with postgres(root, durable=True) as url:
            yield Server(url)
    finally:
        shutil.rmtree(root, ignore_errors=True)
