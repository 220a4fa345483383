"""Databases for tests: empty ones, migrated ones, copies; and a corner of Redis for each test."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, LiteralString
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from redis import Redis

from nexgent_db._redis_url import check_redis_url, sentinel_place
from nexgent_db.errors import ConfigurationError, translate
from nexgent_db.migrations import Migrator
from nexgent_db.project import Project
from nexgent_db.settings import Settings, parse_database_url

__all__ = ["Databases", "cached", "migrate"]

_CONNECT_TIMEOUT_S: Final = 30


class Databases:
    """Makes databases on one server; each exists until its ``with`` block ends, however many sessions it has then.

    ``server_url`` is a URL or libpq keywords; its role may create databases. ``embedded`` says that the server is a
    temporary one, whose files may be copied without its write-ahead log. The names begin with ``nexgent_test_``: a
    killed test run leaves those on a server that outlives it.

    Raises ConfigurationError for a malformed ``server_url``; nothing is connected yet. The methods raise what queries
    raise, such as AuthenticationFailed, DatabaseUnavailable and PermissionDenied.
    """

    def __init__(self, server_url: str, *, embedded: bool = False) -> None:
        self._conninfo = parse_database_url(server_url)
        self._strategy: LiteralString = "file_copy" if embedded else "wal_log"

    @contextmanager
    def empty(self) -> Iterator[str]:
        """The URL of a database with nothing in it."""
        with self._made(sql.Composed([])) as url:
            yield url

    @contextmanager
    def copy(self, url: str) -> Iterator[str]:
        """The URL of a copy of ``url``, a database of the same server to which no session is connected."""
        name = conninfo_to_dict(parse_database_url(url)).get("dbname")
        if not name:
            raise ConfigurationError("the database to copy has no name")
        options = sql.SQL(" TEMPLATE {} STRATEGY {}").format(sql.Identifier(str(name)), sql.SQL(self._strategy))
        with self._made(options) as made:
            yield made

    @contextmanager
    def _made(self, options: sql.Composed) -> Iterator[str]:
        name = f"nexgent_test_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_{secrets.token_hex(6)}"
        self._execute(sql.SQL("CREATE DATABASE {}{}").format(sql.Identifier(name), options))
        try:
            yield _url({**conninfo_to_dict(self._conninfo), "dbname": name})
        finally:
            self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _execute(self, statement: sql.Composed) -> None:
        conninfo = make_conninfo(self._conninfo, connect_timeout=_CONNECT_TIMEOUT_S)
        try:
            with psycopg.connect(conninfo, autocommit=True) as connection:
                connection.execute(statement)
        except psycopg.Error as error:
            raise translate(error) from error


def migrate(url: str, folder: Path) -> None:
    """Apply this package's migrations and those of the project of ``folder``. Raises as Project and Migrator do."""
    Migrator(url, migrations=Project.find(folder).migrations).migrate()


@contextmanager
def cached(settings: Settings, redis_url: str) -> Iterator[Settings]:
    """The settings with Redis, under a new prefix; its keys are deleted when the ``with`` block ends.

    (Behind a Sentinel they stay.) Raises ConfigurationError for a malformed ``redis_url``.
    """
    prefix = f"{{nexgent_test_{secrets.token_hex(6)}}}:"  # braces: one slot of a cluster
    try:
        yield replace(settings, redis_url=check_redis_url(redis_url), cache_prefix=prefix)
    finally:
        if sentinel_place(redis_url) is None:
            with Redis.from_url(redis_url) as client:
                for key in client.scan_iter(f"{prefix}*", count=1000):
                    client.unlink(key)


def _url(parts: Mapping[str, str | int | None]) -> str:
    """A URL, as services take it; everything but role, password and database stands behind the question mark."""
    said = {name: str(value) for name, value in parts.items() if value is not None}
    user, password, name = (quote(said.pop(key, ""), safe="") for key in ("user", "password", "dbname"))
    role = f"{user}:{password}@" if password else f"{user}@" if user else ""
    options = urlencode(said, quote_via=quote)
    return f"postgresql://{role}/{name}" + (f"?{options}" if options else "")
