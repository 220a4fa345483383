"""How every session of this package begins: those of services, of the migrator and of the command line.

A role, a database, a service file, PGOPTIONS, PGDATESTYLE or PGTZ may change settings on which the meaning of SQL, or
the form of an answer, depends. Those settings are pinned after the connection is made, so nothing that libpq sends
overrides them. Every other setting stays as its owner wants it: ``search_path``, ``role``, timeouts, durability.
"""

from __future__ import annotations

from typing import Any, Final

import psycopg
from psycopg.conninfo import make_conninfo

from nexgent_db.errors import DatabaseUnavailable

__all__ = ["PINNED", "PINNED_VALUES", "connect", "ensure_supported", "reset"]

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


def connect(conninfo: str, *, autocommit: bool = True) -> psycopg.Connection[Any]:
    """A connection with the pinned settings, for one process and no pool.

    Raises psycopg.Error, and DatabaseUnavailable for a server or database that is not supported.
    """
    connection = psycopg.connect(
        make_conninfo(conninfo, client_encoding="UTF8"), autocommit=True, prepare_threshold=None
    )  # ``reset`` forgets prepared statements
    try:
        ensure_supported(connection)
        connection.execute(_PIN)
        connection.autocommit = autocommit
    except BaseException:
        connection.close()
        raise
    return connection


def reset(connection: psycopg.Connection[Any]) -> None:
    """Gives the session the state that ``connect`` gave it. Raises psycopg.Error."""
    connection.execute("DISCARD ALL")
    connection.execute(_PIN)


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
