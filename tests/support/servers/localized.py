"""PostgreSQL servers whose databases may have a locale and an encoding of their own."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from nexgent_db.embedded import _binaries, _lifetime
from tests.support.servers.postgres_server import PostgresServer, server_directory

DEBIAN: Final = Path("/usr/lib/postgresql/15/bin")
"""Debian's PostgreSQL 15: with ICU, and with messages in many languages."""
_SOURCES: Final = Path("/usr/share/i18n/locales")
_NUMBERS: Final = itertools.count(1)


def why_no_locales() -> str | None:
    """The reason why no locale can be compiled; None when one can."""
    return None if _SOURCES.is_dir() else "no sources of locales: apt-get install locales"


def why_no_debian_server() -> str | None:
    """The reason why there is no Debian server; None when there is one."""
    return None if (DEBIAN / "postgres").exists() else "no PostgreSQL with ICU: apt-get install postgresql-15"


class LocalizedServer:
    """A running server, and new databases on it."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server

    @contextmanager
    def database(self, options: str) -> Iterator[str]:
        """A database that is created with these options, gone afterwards."""
        name = f"localized_{next(_NUMBERS)}"
        quoted = sql.Identifier(name)
        with psycopg.connect(self.server.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 {options}".encode())
            try:
                yield make_conninfo(self.server.url, dbname=name)
            finally:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(quoted))


@contextmanager
def localized_server(*locales: str, programs: Path | None = None) -> Iterator[LocalizedServer]:
    """A server that knows these locales, such as ``tr_TR.UTF-8``; of ``programs``, or the embedded one."""
    with server_directory() as directory, pytest.MonkeyPatch.context() as patch:
        compiled = directory / "locales"
        compiled.mkdir()
        for locale in locales:
            name, _, charset = locale.partition(".")
            command = ["localedef", "-c", "-i", name, "-f", charset, str(compiled / locale)]
            subprocess.run(command, check=False, capture_output=True)  # it warns, and ends with 1
            assert (compiled / locale).is_dir(), f"{locale} was not compiled"
        environment = {**_lifetime.server_environment(), "LOCPATH": str(compiled)}
        patch.setattr(_lifetime, "server_environment", lambda: environment)
        if programs is not None:
            patch.setattr(_binaries, "_postgres_candidates", lambda: iter([programs]))
        server = PostgresServer(directory)
        server.start()
        try:
            yield LocalizedServer(server)
        finally:
            server.stop()
