"""Session settings changed from outside: by a role, a database, a service file, libpq's environment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

CHANGED: Final = {
    "DateStyle": "German",
    "IntervalStyle": "sql_standard",
    "TimeZone": "Asia/Tokyo",
    "timezone_abbreviations": "Australia",
    "standard_conforming_strings": "off",
    "transform_null_equals": "on",
    "array_nulls": "off",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "quote_all_identifiers": "on",
    "xmloption": "document",
    "xmlbinary": "hex",
    "default_transaction_isolation": "serializable",
    "session_replication_role": "replica",
    "row_security": "off",
    "check_function_bodies": "off",
}
"""Settings on which the meaning of SQL, or the form of an answer, depends, each with another value than by default."""

WAYS: Final = ("role", "database", "PGOPTIONS", "PGTZ", "url", "service", "PGSERVICE")


@contextmanager
def changed_by(
    way: str, url: str, monkeypatch: pytest.MonkeyPatch, folder: Path, settings: dict[str, str] | None = None
) -> Iterator[str]:
    """A connection string of the same database for sessions in which ``way`` has changed these settings."""
    settings = CHANGED if settings is None else settings
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    if way == "role":
        with _role(url, settings) as role:
            yield make_conninfo(url, user=role)
    elif way == "database":
        _change_database(url, settings)
        yield url
    elif way == "url":
        yield make_conninfo(url, options=options)
    elif way == "PGOPTIONS":
        monkeypatch.setenv("PGOPTIONS", options)
        yield url
    elif way == "PGTZ":
        for name, value in {"PGTZ": "Asia/Tokyo", "PGDATESTYLE": "German", "PGCLIENTENCODING": "LATIN1"}.items():
            monkeypatch.setenv(name, value)
        yield url
    else:
        file = folder / "services.conf"
        file.write_text(f"[changed]\noptions={options}\nclient_encoding=LATIN1\n")
        monkeypatch.setenv("PGSERVICEFILE", str(file))
        if way == "PGSERVICE":
            monkeypatch.setenv("PGSERVICE", "changed")
        yield url if way == "PGSERVICE" else make_conninfo(url, service="changed")


@contextmanager
def _role(url: str, settings: dict[str, str]) -> Iterator[str]:
    name = f"changed_{os.getpid()}"
    role = sql.Identifier(name)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} SUPERUSER LOGIN").format(role))
        try:
            for setting, value in settings.items():
                connection.execute(
                    sql.SQL("ALTER ROLE {} SET {} = {}").format(role, sql.Identifier(setting), sql.Literal(value))
                )
            yield name
        finally:
            connection.execute(sql.SQL("REASSIGN OWNED BY {} TO CURRENT_USER").format(role))
            connection.execute(sql.SQL("DROP ROLE {}").format(role))


def _change_database(url: str, settings: dict[str, str]) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        database = sql.Identifier(connection.info.dbname)
        for setting, value in settings.items():
            connection.execute(
                sql.SQL("ALTER DATABASE {} SET {} = {}").format(database, sql.Identifier(setting), sql.Literal(value))
            )
