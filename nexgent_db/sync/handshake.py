# Generated from nexgent_db/aio/handshake.py by `make sync`: do not edit.
"""Makes a connection for the pool, and gives its session, or each of its transactions, the settings it must have.

Straight to PostgreSQL, and through a pooler in session mode, the session keeps what is set once. Through a pooler in
transaction mode each transaction may get another session, which other clients use too: see :mod:`nexgent_db.poolers`.
The mode of a pooler that the settings do not name is taken to be transaction, which works in both.
"""

from __future__ import annotations

import errno
import logging
import os
import time
import traceback
from typing import Any, Final
from uuid import uuid4
from weakref import WeakValueDictionary

import psycopg
from psycopg import capabilities, generators, sql
from psycopg.abc import PQGen

from nexgent_db.errors import ConfigurationError, translate
from nexgent_db.poolers import ISOLATION, Pooler, TransactionSettings, refuses_options, settings_hold
from nexgent_db.queries.dumping import Context
from nexgent_db.sessions import PINNED, PINNED_VALUES, ensure_supported
from nexgent_db.settings import Settings, session_conninfo, session_settings
from nexgent_db.sync.connection import ANSWER_MARGIN_S, PooledConnection

_LOG: Final = logging.getLogger("nexgent_db")

QUEUE_PAUSE_S: Final = 0.02
_QUEUE_IS_FULL: Final = os.strerror(errno.EAGAIN)

_SECONDS: Final = "extract(epoch FROM current_setting('statement_timeout')::interval)::float8"
_TRACKED: Final = ("standard_conforming_strings", "DateStyle", "IntervalStyle", "TimeZone")
"""PgBouncer gives each session that it lends to a client the client's own values of these (of IntervalStyle from 1.20
on). The driver reads answers by them, as they were last reported to it."""

_CURRENT: Final = sql.SQL("current_setting({})")
_OWNERS: Final = WeakValueDictionary[str, PooledConnection]()
"""Behind poolers in session mode: this process's connections, by the mark that each leaves in its session."""
_MARK: Final = sql.SQL(
    "SELECT {}, owner, set_config('nexgent.owner', {}, false)"
    " FROM (SELECT current_setting('nexgent.owner', true) AS owner OFFSET 0) AS before"
)
_FOR_SESSION: Final = sql.SQL("SELECT set_config({}, {}, false)")
_OF_ROLE: Final = """
SELECT
    (SELECT reset_val FROM pg_settings WHERE name = 'search_path'),
    coalesce(
        (
            SELECT substring(setting FROM 6)
            FROM pg_db_role_setting AS s, unnest(s.setconfig) AS setting
            WHERE s.setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = session_user))
                AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
                AND setting LIKE 'role=%'
            ORDER BY s.setrole = 0, s.setdatabase = 0
            LIMIT 1
        ),
        'none'
    )
"""
"""The search path and the role with which the server begins a session of this login, whatever a session has by now."""


class Route:
    """How the connections of one pool reach PostgreSQL."""

    def __init__(self, settings: Settings) -> None:
        self.settings: Final = settings
        self.pooler: Pooler | None = settings.pooler
        """The mode of the pooler, as the settings say or as it was found out; None: none was found."""
        self.keeps_statements = True
        """May statements be prepared behind a pooler that keeps them for its clients?"""

    def note_pooler(self, sign: str) -> None:
        """Take the server for a pooler in transaction mode from now on."""
        self.pooler = "transaction"
        _LOG.info("%s: treated as a pooler in transaction mode (NEXGENT_DB_POOLER says it otherwise)", sign)


def connect(route: Route, connect_timeout_s: float | None = None) -> PooledConnection:
    """Make a connection for the pool.

    Raises ConfigurationError for options that a pooler cannot be given; AuthenticationFailed, DatabaseUnavailable and
    its other kinds.
    """
    connection: PooledConnection | None = None
    try:
        connection = _connect(route, connect_timeout_s)
        connection.limit_s = float(route.settings.connect_timeout_s)
        connection.max_answer_bytes = route.settings.max_answer_mib * 1024 * 1024
        _initialise(connection, route)
    except BaseException as error:
        if connection is not None:
            connection.finish()
        traceback.clear_frames(error.__traceback__)  # its frames would keep the socket of an unfinished attempt open
        if isinstance(error, psycopg.Error):
            raise translate(error) from error
        raise
    return connection


# --- The session's settings -----------------------------------------------------------------------


def _initialise(connection: PooledConnection, route: Route) -> None:
    """Set what the session needs. Raises DatabaseUnavailable, ConfigurationError, psycopg.Error."""
    ensure_supported(connection)
    seconds: float | None = None
    if route.pooler is None:
        seconds = _initialise_direct(connection, route)
        if seconds is None:
            route.note_pooler("the server's process has another number, or other settings, than it was asked for")
    if route.pooler == "session":
        seconds = _initialise_session(connection, route)
    elif seconds is None:
        seconds = _initialise_transactions(connection, route)
    connection.begin_life(seconds + ANSWER_MARGIN_S if seconds else None)


def _initialise_direct(connection: PooledConnection, route: Route) -> float | None:
    """Pin the settings and read the limit in one round trip; None, and nothing is set, when a pooler answers."""
    try:
        asked = session_settings(route.settings)
    except ConfigurationError:  # an option that PostgreSQL knows, and no pooler takes
        asked = {}
    direct = sql.SQL("pg_backend_pid() = {} AND {}").format(connection.info.backend_pid, settings_hold(asked))
    query = sql.SQL("SELECT {}, {}, count(set_config(name, value, NOT ({}))) FROM {}").format(
        direct, sql.SQL(_SECONDS), direct, sql.SQL(PINNED_VALUES)
    )
    is_direct, seconds, _ = _one(connection, query.as_bytes())
    return float(seconds) if is_direct else None


def _initialise_session(connection: PooledConnection, route: Route) -> float:
    """Set the settings for good. Raises ConfigurationError when the session has the mark of another connection, which
    is open: a pooler in transaction mode lends it to both."""
    for name, value in session_settings(route.settings).items():
        connection.execute(_FOR_SESSION.format(name, value))
    connection.execute(f"SELECT set_config(name, value, false) FROM {PINNED_VALUES}".encode())  # noqa: S608
    mark = uuid4().hex
    seconds, owner, _ = _one(connection, _MARK.format(sql.SQL(_SECONDS), mark).as_bytes())
    lender = _OWNERS.get(owner or "")
    if lender is not None and not lender.closed:
        raise ConfigurationError(
            "NEXGENT_DB_POOLER=session, but the pooler lends one session to two connections, which then lose their"
            " limits and other settings: it is in transaction mode. Set NEXGENT_DB_POOLER=transaction"
        )
    _OWNERS[mark] = connection
    return float(seconds)


def _initialise_transactions(connection: PooledConnection, route: Route) -> float:
    """Choose the settings of each transaction, try them in one, and find out whether statements may be prepared."""
    for name in _TRACKED:
        if connection.info.parameter_status(name) != PINNED[name]:
            connection.execute(_FOR_SESSION.format(name, PINNED[name]))
    search_path, role = _one(connection, _OF_ROLE.encode())
    asked = {"search_path": search_path, "role": role, **session_settings(route.settings)}
    # The path and the role come last: another role may not be allowed to set the others.
    last = {name: asked.pop(name) for name in ("search_path", "role")}
    connection.transaction_settings = TransactionSettings({ISOLATION: "read committed", **PINNED, **asked, **last})
    connection.set_transaction_options()
    with connection.transaction():
        (seconds,) = _one(connection, f"SELECT {_SECONDS}".encode())
        # As the server writes them: then what a session has already is not set again.
        values = connection.transaction_settings.values
        written = sql.SQL("SELECT {}").format(sql.SQL(", ").join(map(_CURRENT.format, values)))
        row = _one(connection, written.as_bytes())
        connection.transaction_settings = TransactionSettings(dict(zip(values, row, strict=True)))
        if connection.prepare_threshold is not None and not (
            route.keeps_statements
            and capabilities.has_send_close_prepared()
            and connection.wait(_renames_statements(connection))
        ):
            connection.prepare_threshold = None
    return float(seconds)


def _renames_statements(connection: PooledConnection) -> PQGen[bool]:
    """Does the pooler keep each client's prepared statements, under other names on the server?

    Another one would mix up the statements of its clients. In a transaction, so all is one session's.
    """
    name = f"nexgent_{uuid4().hex}".encode()
    connection.pgconn.send_prepare(name, b"SELECT FROM pg_prepared_statements WHERE name = '%s'" % name)
    yield from generators.execute(connection.pgconn)
    connection.pgconn.send_query_prepared(name, None)
    (result,) = yield from generators.execute(connection.pgconn)
    connection.pgconn.send_close_prepared(name)
    yield from generators.execute(connection.pgconn)
    return bool(result.status == psycopg.pq.ExecStatus.TUPLES_OK and result.ntuples == 0)


def _one(connection: PooledConnection, query: bytes) -> tuple[Any, ...]:
    row: tuple[Any, ...] | None = connection.execute(query).fetchone()
    assert row is not None
    return row


# --- The connection -------------------------------------------------------------------------------


def _connect(route: Route, connect_timeout_s: float | None) -> PooledConnection:
    """The driver's connection. When a unix socket's queue is full, which is no outage, it retries as TCP would."""
    settings = route.settings
    give_up_at = time.monotonic() + (connect_timeout_s or settings.connect_timeout_s)
    while True:
        try:
            return PooledConnection.connect(
                session_conninfo(settings, connect_timeout_s, options=route.pooler is None),
                autocommit=True,
                context=Context(),
                prepare_threshold=settings.prepare_threshold,
            )
        except psycopg.OperationalError as error:
            if route.pooler is None and refuses_options(str(error)):
                traceback.clear_frames(error.__traceback__)
                route.note_pooler("the server does not take the start-up parameter options")
                continue
            if _QUEUE_IS_FULL not in str(error) or time.monotonic() >= give_up_at:
                raise
            traceback.clear_frames(error.__traceback__)
        time.sleep(QUEUE_PAUSE_S)
