"""Translates PostgreSQL's errors: by SQLSTATE, by constraint, and by libpq's message while it connects."""

from __future__ import annotations

import re
from typing import Final

import psycopg

from nexgent_db.errors.constraints import (
    CheckViolation,
    ConstraintViolation,
    EmailTaken,
    ForeignKeyViolation,
    LedgerProtected,
    NotNullViolation,
    NumericOverflow,
    UniqueViolation,
    WalletTaken,
    WalletTypeTaken,
)
from nexgent_db.errors.database import (
    AuthenticationFailed,
    ConnectionLost,
    DatabaseError,
    DatabaseUnavailable,
    DiskFull,
    LockTimeout,
    PermissionDenied,
    ReadOnlyBlock,
    SchemaChanged,
    SchemaNotReady,
    ServerDamaged,
    ServerNotReady,
    ServerOutOfResources,
    ServerReadOnly,
    StatementCanceled,
    StatementTimeout,
    TooManyConnections,
    TransactionAborted,
    TransactionConflict,
)
from nexgent_db.errors.usage import InvalidInput

__all__ = ["BAD_VALUES", "BY_CLASS", "BY_CONSTRAINT", "BY_STATE", "LIMIT_REACHED", "VIOLATIONS", "translate"]

LIMIT_REACHED: Final = "the statement ran until its limit"
"""A note that a connection adds to the driver's error: a server of another language does not say so in English."""


def translate(
    error: psycopg.Error, query: str | None = None, *, read_only: bool = False
) -> DatabaseError | InvalidInput:
    """Our error for one of the driver's; ``query`` is the name of the query that failed.

    To be raised ``from`` the original. ``read_only`` says that the caller opened the transaction as read-only: a write
    is then ReadOnlyBlock, whatever the server is. PostgreSQL's primary message, detail and hint are kept, on one line,
    but for details that show a whole row or a key's hash: those stay in the original.
    """
    state = error.sqlstate
    about = f"{query}: " if query else ""
    if state is None:
        return _without_sqlstate(error, about)
    diag = error.diag
    message = about + _said(diag)
    made: DatabaseError | InvalidInput
    if state == "57014" and LIMIT_REACHED in getattr(error, "__notes__", ()):
        made = StatementTimeout(message)
    elif (violation := VIOLATIONS.get(state)) is not None:
        constraint, table = _names(diag)
        made = BY_CONSTRAINT.get(constraint or "", violation)(message, constraint=constraint, table=table)
        if isinstance(made, EmailTaken) and (key := _KEY.search(diag.message_detail or "")):
            made.email = key[1]
    elif state in BAD_VALUES:
        hint = f". {diag.message_hint}" if diag.message_hint else ""
        return InvalidInput(query or "value", _one_line(f"{diag.message_primary}{hint}"))
    else:
        made = _advised(_kind(state, diag, read_only), message + _STRUCK.get(state, ""))
    made.sqlstate = state
    return made


def _kind(state: str, diag: psycopg.errors.Diagnostic, read_only: bool) -> type[DatabaseError]:
    severity = diag.severity_nonlocalized or diag.severity  # poolers send the second only
    if severity == "PANIC":  # the server crashes; its WAL may still have a COMMIT whose flush failed
        return ConnectionLost
    kind = BY_STATE.get(state) or BY_CLASS.get(state[:2], DatabaseError)
    if state == "25006" and read_only:
        kind = ReadOnlyBlock
    elif (state, diag.source_function) in _CHANGED_WHILE_PLANNED:
        kind = SchemaChanged
    elif state == "57014" and "statement timeout" in (diag.message_primary or ""):
        kind = StatementTimeout
    elif state == "42501" and diag.source_file in _STORAGE_SOURCES:  # the server's own rights, not the role's
        kind = ServerDamaged
    elif state[:2] == "08" and diag.severity_nonlocalized == "ERROR":  # a message it refused, or a foreign server
        kind = DatabaseError
    return ConnectionLost if kind is DatabaseError and severity == "FATAL" else kind


def _advised(kind: type[DatabaseError], message: str) -> DatabaseError:
    if kind is TooManyConnections:
        limit = next((limit for words, limit in _LIMITS.items() if words in message), "a limit")
        return kind(f"{message}; {limit} is reached: lower NEXGENT_DB_POOL_MAX_SIZE or raise it")
    return kind(f"{message}; {_ADVICE[kind]}" if kind in _ADVICE else message)


def _said(diag: psycopg.errors.Diagnostic) -> str:
    detail = diag.message_detail or ""
    personal = BY_CONSTRAINT.get(_names(diag)[0] or "") is EmailTaken
    if diag.sqlstate in _SHOWS_THE_ROW or "_hash)=" in detail or personal:
        detail = ""
    said = (_one_line(part).rstrip(".") for part in (diag.message_primary, detail, diag.message_hint) if part)
    return ". ".join(said)


def _names(diag: psycopg.errors.Diagnostic) -> tuple[str | None, str | None]:
    """The names of the constraint and its table, without the number of a shard, which Citus appends to both."""
    constraint, table = diag.constraint_name, diag.table_name
    shard = _SHARD.search(table or "")
    if constraint is None or table is None or shard is None or not constraint.endswith(shard[0]):
        return constraint, table
    return constraint.removesuffix(shard[0]), table.removesuffix(shard[0])


def _without_sqlstate(error: psycopg.Error, about: str) -> DatabaseError | InvalidInput:
    text = _one_line(str(error))
    if isinstance(error, psycopg.DataError):  # refused by the driver before it was sent, such as text with NUL
        return InvalidInput(about.rstrip(": ") or "value", text)
    if isinstance(error, psycopg.errors.PipelineAborted):
        return TransactionAborted(about + text)
    if isinstance(error, psycopg.OperationalError):
        if error.pgconn is not None or _NOT_CONNECTED.search(text):
            return _not_connected(str(error), password_missing=getattr(error.pgconn, "needs_password", False))
        return ConnectionLost(about + text)
    return DatabaseError(about + text)


def _not_connected(said: str, *, password_missing: bool) -> DatabaseUnavailable:
    """libpq gives no SQLSTATE while it connects: only the server's message, in the server's language, and whether the
    server asked for a password that the client does not have. In a language that is not English most errors are
    therefore DatabaseUnavailable, which all kinds are.

    With several hosts, one that is expected to recover decides: trying again may help.
    """
    text = _one_line(said)
    if password_missing:
        return AuthenticationFailed(f"{text}; {_ADVICE[AuthenticationFailed]}")
    for kind, words in _WHILE_CONNECTING.items():
        if words.search(text):
            made = _advised(kind, text)
            assert isinstance(made, DatabaseUnavailable)
            return made
    return DatabaseUnavailable(text if _REACHED.search(said) else f"{text}; is the server of DATABASE_URL running?")


def _one_line(text: str) -> str:
    return " ".join(text.split())


VIOLATIONS: Final[dict[str, type[ConstraintViolation]]] = {
    "23505": UniqueViolation,
    "23001": ForeignKeyViolation,
    "23503": ForeignKeyViolation,
    "23514": CheckViolation,
    "23502": NotNullViolation,
}

# Constraints with an error of their own: each can be broken in one way only.
BY_CONSTRAINT: Final[dict[str, type[ConstraintViolation]]] = {
    "agent_historical_swaps_append_only": LedgerProtected,
    "agent_transactions_append_only": LedgerProtected,
    "users_email_key": EmailTaken,
    "users_lower_email_key": EmailTaken,
    "agent_wallets_pkey": WalletTaken,
    "agent_wallets_agent_id_wallet_type_key": WalletTypeTaken,
}

_KEY: Final = re.compile(r"\)=\((.*)\)", re.DOTALL)
"""The value of a key, in the detail of a violation: ``Key (lower(email))=(a@example.org) already exists.``"""

_SHARD: Final = re.compile(r"_[0-9]{6,}$")
_SHOWS_THE_ROW: Final = {"23502", "23514"}

_NOT_CONNECTED: Final = re.compile(
    r"connection failed|connection is bad|connection timeout|resolve host|connection to server (at|on) "
)

_REACHED: Final = re.compile(r"failed: \w+:  ")  # a severity, in whatever language, as libpq sets it off

_LIMITS: Final = {
    "sorry, too many clients already": "max_connections",
    "remaining connection slots are reserved": "max_connections, less the reserved slots,",
    "too many connections for role": "the role's CONNECTION LIMIT",
    "too many connections for database": "the database's CONNECTION LIMIT",
    "no more connections allowed": "the pooler's max_client_conn",
}

# The first that matches. Anchored to the severity where a name of the caller's could look alike.
_WHILE_CONNECTING: Final[dict[type[DatabaseUnavailable], re.Pattern[str]]] = {
    TooManyConnections: re.compile(rf"(FATAL|ERROR): ({'|'.join(_LIMITS)})"),
    ServerNotReady: re.compile(
        r"FATAL: the database system is (starting up|shutting down|in recovery mode|not (yet )?accepting connections)"
        r"|failed: (session is (not )?read-only|server is (not )?in hot standby mode)"
    ),
    AuthenticationFailed: re.compile(
        r"authentication failed|no password supplied|pg_hba\.conf"
        r'|role ".*" does not exist|role ".*" is not permitted to log in'
    ),
}

BAD_VALUES: Final = {
    "22001",  # text longer than its column
    "22021",  # not a character of the encoding
    "22P02",  # not a value of the type
    "22P05",  # \u0000 in JSON
    "22007",  # not a date
    "22008",  # a date out of range
}

BY_STATE: Final[dict[str, type[DatabaseError]]] = {
    "22003": NumericOverflow,
    "25006": ServerReadOnly,
    "25P02": TransactionAborted,
    "25P03": ConnectionLost,  # idle_in_transaction_session_timeout
    "25P04": ConnectionLost,  # transaction_timeout
    "28000": AuthenticationFailed,
    "28P01": AuthenticationFailed,
    "3D000": DatabaseUnavailable,
    "3F000": SchemaNotReady,
    "42501": PermissionDenied,
    "40001": TransactionConflict,
    "40P01": TransactionConflict,
    "42703": SchemaNotReady,
    "42883": SchemaNotReady,
    "42P01": SchemaNotReady,
    "42704": SchemaNotReady,
    "53100": DiskFull,
    "53300": TooManyConnections,
    "55P03": LockTimeout,
    "57014": StatementCanceled,
    "57P01": ConnectionLost,
    "57P02": ConnectionLost,
    "57P03": ServerNotReady,
    "57P04": ConnectionLost,  # the database was dropped
    "57P05": ConnectionLost,  # idle_session_timeout
    "72000": TransactionConflict,  # snapshot too old, up to PostgreSQL 16
    "XX001": ServerDamaged,
    "XX002": ServerDamaged,
}

# A prepared statement's result; a variable of a row type, in a function that ran while its table was replaced.
_CHANGED_WHILE_PLANNED: Final = {
    ("0A000", "RevalidateCachedQuery"),
    ("42804", "ExecEvalParamExtern"),
    ("42804", "plpgsql_param_eval_generic"),
    ("42804", "plpgsql_param_eval_generic_ro"),
    ("42804", "plpgsql_param_eval_recfield"),
    ("42804", "build_attrmap_by_position"),
}

_STRUCK: Final = {
    "25P03": "; idle_in_transaction_session_timeout is reached",
    "25P04": "; transaction_timeout is reached",
    "57P05": "; idle_session_timeout is reached",
}
"""The limits that end a session: the server's own words may be in any language."""

BY_CLASS: Final[dict[str, type[DatabaseError]]] = {
    "08": ConnectionLost,
    "53": ServerOutOfResources,
    "58": ServerDamaged,
}

# Where the server's own files are opened, read and written; their failures by EACCES, EPERM and EROFS are 42501.
_STORAGE_SOURCES: Final = {"md.c", "fd.c", "slru.c", "buffile.c", "relmapper.c"}

_ADVICE: Final[dict[type[DatabaseError], str]] = {
    SchemaNotReady: "migrate the database first (nexgent-db migrate)",
    AuthenticationFailed: "check the role and password of DATABASE_URL",
    ServerReadOnly: "the server is a standby, or default_transaction_read_only is on",
    ReadOnlyBlock: "the transaction was opened with read_only=True, or through db.replica",
    ServerDamaged: "look at the server's log and disk",
}
