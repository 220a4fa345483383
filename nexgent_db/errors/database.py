"""Reaching the database: errors of PostgreSQL and of the connection to it."""

from __future__ import annotations

from nexgent_db.errors.base import NexgentError

__all__ = [
    "AuthenticationFailed",
    "ConnectionLost",
    "DatabaseError",
    "DatabaseUnavailable",
    "DiskFull",
    "LockTimeout",
    "PermissionDenied",
    "PoolExhausted",
    "ReadOnlyBlock",
    "SchemaChanged",
    "SchemaNotReady",
    "ServerDamaged",
    "ServerNotReady",
    "ServerOutOfResources",
    "ServerReadOnly",
    "StatementCanceled",
    "StatementTimeout",
    "TooManyConnections",
    "TransactionAborted",
    "TransactionConflict",
]


class DatabaseError(NexgentError):
    """Anything that PostgreSQL or the way to it reported; ``sqlstate`` when there is one.

    Nothing was changed. Never retry: the statement, or what it was given, is at fault.
    """

    sqlstate: str | None = None


class DatabaseUnavailable(DatabaseError):
    """No connection can be made: the server does not answer, refuses for now, or has no such database.

    Nothing was changed. Retry later; alarm when it lasts longer than a restart or a failover takes.
    """

    http_status = 503


class AuthenticationFailed(DatabaseUnavailable):
    """The server was reached and refused the role or its password.

    Nothing was changed. Repair the role, its password or the server's ``pg_hba.conf``.
    """


class PoolExhausted(DatabaseUnavailable):
    """No connection became free in time, or too many callers are already waiting for one.

    Nothing was changed. Retry later, and shed load: every connection of this pool is in use.
    """


class TooManyConnections(DatabaseUnavailable):
    """The server was reached and has no connection left: for this role, for this database, or at all.

    The message names the limit that is reached.

    Nothing was changed. Retry later; alarm when it lasts: the pools of all processes exceed the limit.
    """


class ServerNotReady(DatabaseUnavailable):
    """The server was reached and is starting, recovering or stopping, or is not what ``target_session_attrs`` wants.

    Nothing was changed. Retry later: a restart or a failover is under way; alarm when it lasts longer.
    """


class ConnectionLost(DatabaseUnavailable):
    """The connection ended, the server crashed or did not answer in time, during a statement or a COMMIT.

    It may have taken effect. Retry at once what is repeatable, trades under the same id; read before anything else.
    """


class ServerReadOnly(DatabaseError):
    """The server accepts no writes: it is a standby, or an operator made it read-only.

    The connection is closed when it is released, so that the next one may reach the new primary of a multi-host URL.

    Nothing was changed. Retry later: a failover may be under way; alarm when it lasts. Reads succeed.
    """

    http_status = 503


class ReadOnlyBlock(DatabaseError):
    """A write in a transaction that was opened with ``read_only=True``, or through ``db.replica`` or ``db.reads()``.

    Nothing was changed. Never retry: write through the database, in a transaction without ``read_only``.
    """


class ServerOutOfResources(DatabaseError):
    """The server lacks memory, room in a table of its own, or temporary files, or a configured limit is reached.

    Nothing was changed. Retry later, once or twice; alarm: the statement is too large, or the server too small.
    """

    http_status = 503


class DiskFull(ServerOutOfResources):
    """A disk of the server is full.

    Nothing was changed. Repair: alarm, and free or add space. Reads may still succeed.
    """


class ServerDamaged(DatabaseError):
    """The server cannot read or write its own files, or found them damaged.

    Nothing was changed. Repair: alarm at once and fail over; further statements may meet the same damage.
    """


class SchemaNotReady(DatabaseError):
    """The database lacks a table, column or function that this release needs.

    Nothing was changed. Repair: migrate the database (``nexgent-db migrate``).
    """

    http_status = 503


class PermissionDenied(DatabaseError):
    """The role may not do this: a right was not granted, or the row is another user's.

    Nothing was changed. Repair the rights (``nexgent-db roles apply``), or refuse the request.
    """

    http_status = 403


class StatementCanceled(DatabaseError):
    """Another session canceled the statement (``pg_cancel_backend``).

    A statement that has run until its limit is StatementTimeout, in whatever language the server says so.

    Nothing was changed. Retry later, unless an operator wanted it to end.
    """

    http_status = 503


class StatementTimeout(StatementCanceled):
    """The statement ran longer than ``statement_timeout`` allows.

    Nothing was changed. Retry later, with less to do or more time; alarm when it is frequent.
    """


class LockTimeout(DatabaseError):
    """A lock was not granted within ``lock_timeout``, or not at once where the statement says ``NOWAIT``.

    Nothing was changed. Retry later: another transaction holds the row or the table.
    """

    http_status = 503


class TransactionConflict(DatabaseError):
    """A serialization failure, a deadlock, or a snapshot that is too old: the transaction was rolled back.

    Nothing was changed. Retry at once, the whole transaction: ``run_transaction`` does.
    """

    http_status = 503


class SchemaChanged(TransactionConflict):
    """A migration changed what a prepared statement returns, or the row type that a running function uses.

    Nothing was changed. Retry at once, the whole transaction.
    """


class TransactionAborted(DatabaseError):
    """An earlier error aborted this transaction.

    Nothing was changed. Never retry in this transaction: leave it, or nest the risky part in a transaction of its own.
    """
