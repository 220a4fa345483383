"""How every session of this package begins: those of services, of the migrator and of the command line.

A role, a database, a service file, PGOPTIONS, PGDATESTYLE or PGTZ may change settings on which the meaning of SQL, or
the form of an answer, depends. Those settings are pinned after the connection is made, so nothing that libpq sends
overrides them. Every other setting stays as its owner wants it: ``search_path``, ``role``, timeouts, durability.
"""

from __future__ import annotations

import os
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from nexgent_db.errors import DatabaseUnavailable
from nexgent_db.poolers import needs_session, refuses_options, startup_settings
from nexgent_db.settings import describe, libpq_parameters

__all__ = ["PINNED", "PINNED_VALUES", "SessionConnection", "connect", "ensure_supported"]

MIN_SERVER_VERSION: Final = 150000

PINNED: Final = {
    # How text becomes values.
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    "transform_null_equals": "off",
    "timezone_abbreviations": "Default",
    "xmloption": "content",
    "xmlbinary": "base64",
    # How values become text: psycopg reads times under DateStyle ISO only.
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "lc_monetary": "C",
    "lc_numeric": "C",
    "lc_time": "C",
    "quote_all_identifiers": "off",
    # What a statement does.
    "default_transaction_isolation": "read committed",
    "session_replication_role": "origin",
    "row_security": "on",
    "check_function_bodies": "on",
}
"""The pinned settings by name. Only a superuser may change ``session_replication_role``: without the right, a session
where a role's or a database's setting has changed it cannot be opened."""

PINNED_VALUES: Final = "(VALUES {}) AS pinned (name, value) WHERE current_setting(name, true) <> value".format(
    ", ".join(f"('{name}', '{value}')" for name, value in PINNED.items())
)
"""For a FROM: the pinned settings that this session has otherwise. None, almost always: behind a pooler, a session that
is shared with other programs then stays untouched."""

_PIN: Final = f"SELECT set_config(name, value, false) FROM {PINNED_VALUES}".encode()  # noqa: S608


class SessionConnection(psycopg.Connection[Any]):
    """A connection that knows the settings with which its session starts."""

    server_pid = 0
    """The number of the server's process. A pooler gives its clients another one, to cancel with."""
    _startup: dict[str, str] = {}  # noqa: RUF012  # replaced, never changed

    def begin_session(self, startup: dict[str, str]) -> None:
        """Pin the settings, after those that a pooler has not passed on. Raises psycopg.Error."""
        self._startup = startup
        for name, value in startup.items():
            self.execute(sql.SQL("SELECT set_config({}, {}, false)").format(name, value))
        self.execute(_PIN)

    def reset_session(self) -> None:
        """Give the session its first state. Raises psycopg.Error."""
        self.execute("DISCARD ALL")
        self.begin_session(self._startup)


def connect(conninfo: str, *, autocommit: bool = True) -> SessionConnection:
    """A connection with the pinned settings and a session of its own, for one process and no pool.

    Raises psycopg.Error; ConfigurationError when a pooler answers, unless NEXGENT_DB_POOLER says that its clients keep
    their sessions (``session``); DatabaseUnavailable for a server or database that is not supported.
    """
    pooled = os.environ.get("NEXGENT_DB_POOLER", "").strip().lower() == "session"
    # In session mode a pooler refuses options, or drops them, so they are set afterwards.
    startup = startup_settings(libpq_parameters(conninfo).get("options", "")) if pooled else {}
    options = {"options": ""} if pooled else {}
    try:
        connection = SessionConnection.connect(
            make_conninfo(conninfo, client_encoding="UTF8", **options), autocommit=True, prepare_threshold=None
        )  # ``reset_session`` forgets prepared statements
    except psycopg.OperationalError as error:
        if refuses_options(str(error)):
            raise needs_session(describe(conninfo)) from error
        raise
    try:
        ensure_supported(connection)
        (connection.server_pid,) = connection.execute("SELECT pg_backend_pid()").fetchall()[0]
        if not pooled and connection.server_pid != connection.info.backend_pid:
            raise needs_session(describe(conninfo))
        connection.begin_session(startup)
        connection.autocommit = autocommit
    except BaseException:
        connection.close()
        raise
    return connection


def ensure_supported(connection: psycopg.BaseConnection[Any]) -> None:
    """Raises DatabaseUnavailable for a server before PostgreSQL 15, and for a database whose encoding is not UTF8.

    Costs no round trip. In another encoding, a token's symbol could not be stored, or come back as other characters.
    """
    version = connection.info.server_version
    if version < MIN_SERVER_VERSION:
        raise DatabaseUnavailable(f"the server is PostgreSQL {version // 10000}: 15 or newer is needed")
    encoding = (connection.pgconn.parameter_status(b"server_encoding") or b"UTF8").decode()
    if encoding != "UTF8":
        raise DatabaseUnavailable(
            f"the database {connection.info.dbname} has the encoding {encoding}: UTF8 is needed. Dump it, and restore"
            " it into a database made with ENCODING 'UTF8'"
        )
