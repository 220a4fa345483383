"""Every error this package raises, under one root; and how PostgreSQL's errors become ours.

A message carries the figures and the id it is about, never a password or a connection URL. The
driver's own error stays reachable as ``__cause__``.

Families, from the outside in: configuration and SQL files (raised at import or start-up), reaching the
database, misuse of a block, locks of the cache, bad input, what a query found, what the database refused,
refused trades.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg_pool import PoolTimeout, TooManyRequests


class NexgentError(Exception):
    """The root of every error of this package. Its message is one line; it can be copied and pickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.args, self.__dict__)


def _again(kind: type[NexgentError], args: tuple[object, ...], state: dict[str, object]) -> NexgentError:
    """An error that was pickled, without its constructor: that takes the figures, not the message."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


# --- Configuration and SQL files ----------------------------------------------------------------


class ConfigurationError(NexgentError):
    """A setting is missing or malformed; the message says which one and what it should look like."""


class TenantNotIsolated(ConfigurationError):
    """A database was opened for one user, but its role sees the rows of others; the message names role and tables."""


class SqlFileError(NexgentError):
    """A named-query file cannot be read; points at file, line and column (both from 1)."""

    def __init__(self, path: Path | str, line: int, column: int, problem: str) -> None:
        super().__init__(f"{path}:{line}:{column}: {problem}")
        self.path = path
        self.line = line
        self.column = column
        self.problem = problem


class QueryBindingError(NexgentError):
    """A method and its named query disagree; the message names both places. Raised at import."""


class MigrationError(NexgentError):
    """Migrations cannot be read, applied or rolled back; the message names the file, and the line if there is one.

    ``sqlstate`` is PostgreSQL's code when a statement failed. ``details`` are lines for a person to read, such as the
    difference between an edited file and what was applied, or the rows that a migration refuses. Unless the message
    says otherwise, the migration that failed left nothing behind, and those before it stay applied.
    """

    sqlstate: str | None = None
    details: str = ""


class MigrationLocked(MigrationError):
    """Somebody held what the migration needs for too long: the migration lock (then it says who), or a table.

    Nothing of this migration was done; run again when the other one is finished.
    """


# --- Reaching the database ----------------------------------------------------------------------


class DatabaseError(NexgentError):
    """Anything that PostgreSQL or the way to it reported; ``sqlstate`` when there is one."""

    sqlstate: str | None = None


class DatabaseUnavailable(DatabaseError):
    """The server cannot be reached, or is starting up or shutting down."""


class AuthenticationFailed(DatabaseUnavailable):
    """The server was reached and refused the role or its password."""


class PoolExhausted(DatabaseUnavailable):
    """No connection became free in time, or too many callers are already waiting for one."""


class ConnectionLost(DatabaseUnavailable):
    """The connection ended during a statement: it may or may not have taken effect."""


class SchemaNotReady(DatabaseError):
    """The database lacks a table, column or function that this release needs: migrate it first."""


class PermissionDenied(DatabaseError):
    """The role may not do this: a right was not granted, or the row is another user's; nothing was changed."""


class StatementCanceled(DatabaseError):
    """Somebody canceled the statement (``pg_cancel_backend``); nothing of it remains.

    Or it timed out on a server whose messages are not in English: only they tell the two apart.
    """


class StatementTimeout(StatementCanceled):
    """The statement ran longer than ``statement_timeout`` allows; nothing of it remains."""


class LockTimeout(DatabaseError):
    """A lock was not to be had within ``lock_timeout``; nothing of the statement remains."""


class TransactionConflict(DatabaseError):
    """Serialisation failure or deadlock: the transaction was rolled back and may be run again."""


class SchemaChanged(TransactionConflict):
    """A migration changed what a prepared statement returns; the transaction may be run again."""


class TransactionAborted(DatabaseError):
    """An earlier error aborted this transaction: leave the block, or nest the risky part in one of its own."""


class CacheUnreachable(NexgentError):
    """Redis or Valkey cannot be used, and what was asked for is about it. Reads and trades never raise this."""


# --- Misuse -------------------------------------------------------------------------------------


class BlockMisuse(NexgentError, RuntimeError):
    """The database object was used inside its own open block, or a block's object after the block."""


# --- Locks of the cache -------------------------------------------------------------------------


class LockNotAcquired(NexgentError):
    """A lock of ``db.cache.lock`` was not to be had; ``reason`` says whether somebody holds it or Redis is away."""

    def __init__(self, resource: str, reason: str) -> None:
        super().__init__(f"lock {resource!r} was not acquired: {reason}")
        self.resource = resource
        self.reason = reason


class LockLost(NexgentError):
    """A lock of ``db.cache.lock`` is not held any more, or will not be for as long as was wanted; ``reason`` says why.

    Somebody else may have held it meanwhile.
    """

    def __init__(self, resource: str, reason: str) -> None:
        super().__init__(f"lock {resource!r} was lost: {reason}")
        self.resource = resource
        self.reason = reason


# --- Bad input ----------------------------------------------------------------------------------


class InvalidInput(NexgentError):
    """A value cannot be stored exactly as given; nothing was sent. ``field`` names it."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class InvalidTradingConfig(InvalidInput):
    """A trading configuration breaks its rules. ``faults`` has every path at fault, as in the JSON, and the problem."""

    def __init__(self, faults: Sequence[tuple[str, str]], agent_id: UUID | None = None) -> None:
        shown = [f"{path}: {problem}" if path else problem for path, problem in faults[:_FAULTS_SHOWN]]
        if len(faults) > _FAULTS_SHOWN:
            shown.append(f"and {len(faults) - _FAULTS_SHOWN} faults more")
        owner = "" if agent_id is None else f" of agent {agent_id}"
        super().__init__(f"trading configuration{owner}", "; ".join(shown))
        self.field = "trading_config"
        self.faults = tuple(faults)
        self.agent_id = agent_id


_FAULTS_SHOWN: Final = 20


class WalletKeyMissing(NexgentError):
    """The keyring has no key of this wallet."""

    def __init__(self, wallet_address: str, loaded: int) -> None:
        # What does not look like an address may be a key that was put in its place.
        named = wallet_address if _ADDRESS.fullmatch(wallet_address) else "the given text"
        super().__init__(f"none of the {loaded} keys of WALLET_1, WALLET_2, … is that of {named}")
        self.loaded = loaded


_ADDRESS: Final = re.compile(r"[1-9A-HJ-NP-Za-km-z]{32,44}")


# --- What a query found -------------------------------------------------------------------------


class RowCountError(NexgentError):
    """A query that promises a number of rows returned another one."""

    def __init__(self, query: str, promised: str, found: str) -> None:
        super().__init__(f"{query} promises {promised}, but returned {found}")
        self.query = query


class NoRow(RowCountError):
    """A ``:one`` query returned nothing."""


class TooManyRows(RowCountError):
    """A ``:one`` or ``:optional`` query returned two rows or more."""


# --- What the database refused ------------------------------------------------------------------


class ConstraintViolation(DatabaseError):
    """A constraint refused the row; ``constraint`` and ``table`` are its names in the catalog."""

    def __init__(self, message: str, *, constraint: str | None, table: str | None) -> None:
        super().__init__(message)
        self.constraint = constraint
        self.table = table


class UniqueViolation(ConstraintViolation):
    """A row with this key exists."""


class EmailTaken(UniqueViolation):
    """Another user has this e-mail address, in whatever case."""


class WalletTaken(UniqueViolation):
    """The address is a wallet of an agent already, this one's or another's."""


class WalletTypeTaken(UniqueViolation):
    """The agent has a wallet of this type already."""


class ForeignKeyViolation(ConstraintViolation):
    """The row that this one refers to does not exist, or is still referred to."""


class CheckViolation(ConstraintViolation):
    """The row would break a rule of its table."""


class NotNullViolation(ConstraintViolation):
    """A column that needs a value got none."""


class NumericOverflow(DatabaseError):
    """A computed figure does not fit its column; nothing was stored."""


# --- Refused trades -----------------------------------------------------------------------------


def _plain(number: Decimal) -> str:
    """Without an exponent and without the zeros that the column's scale appends."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


class TradeRefused(NexgentError):
    """A trade was not made and nothing was changed; the subclass says why, its fields give the figures."""


class WalletNotFound(TradeRefused):
    """The agent owns no wallet of this address."""

    def __init__(self, wallet_address: str, agent_id: UUID) -> None:
        super().__init__(f"agent {agent_id} has no wallet {wallet_address}")
        self.wallet_address = wallet_address
        self.agent_id = agent_id


class WalletNotSimulated(TradeRefused):
    """Only a simulation wallet can be reset; a live wallet's holdings are on the chain."""

    def __init__(self, wallet_address: str, wallet_type: str) -> None:
        super().__init__(f"wallet {wallet_address} is a {wallet_type} wallet: only a simulation wallet can be reset")
        self.wallet_address = wallet_address
        self.wallet_type = wallet_type


class IdempotencyConflict(TradeRefused):
    """The id, or the on-chain transaction of this wallet, is already taken by an order of other content."""

    def __init__(self, request_id: UUID, taken_by: str) -> None:
        super().__init__(f"order {request_id} conflicts with {taken_by}")
        self.request_id = request_id
        self.taken_by = taken_by


class InsufficientBalance(TradeRefused):
    """The wallet holds less of the token than the trade takes, fees included."""

    def __init__(self, wallet_address: str, token_address: str, balance: Decimal, required: Decimal) -> None:
        super().__init__(
            f"wallet {wallet_address} holds {_plain(balance)} of {token_address}, {_plain(required)} required"
        )
        self.wallet_address = wallet_address
        self.token_address = token_address
        self.balance = balance
        self.required = required


class PositionExists(TradeRefused):
    """The wallet has an open position in this token: add to it with a DCA buy."""

    def __init__(self, wallet_address: str, token_address: str, remaining: Decimal) -> None:
        super().__init__(
            f"wallet {wallet_address} already has an open position of {_plain(remaining)} in {token_address}:"
            " use dca_buy"
        )
        self.wallet_address = wallet_address
        self.token_address = token_address
        self.remaining = remaining


class PositionNotFound(TradeRefused):
    """The wallet has no open position in this token."""

    def __init__(self, wallet_address: str, token_address: str) -> None:
        super().__init__(f"wallet {wallet_address} has no open position in {token_address}")
        self.wallet_address = wallet_address
        self.token_address = token_address


class _AmountRefused(TradeRefused):
    _complaint: str

    def __init__(self, wallet_address: str, token_address: str, remaining: Decimal, requested: Decimal) -> None:
        super().__init__(
            f"{self._complaint}: wallet {wallet_address}, token {token_address},"
            f" remaining {_plain(remaining)}, requested {_plain(requested)}"
        )
        self.wallet_address = wallet_address
        self.token_address = token_address
        self.remaining = remaining
        self.requested = requested


class Oversell(_AmountRefused):
    """The sale is larger than what remains of the position."""

    _complaint = "more than the position holds"


class NotAFullSale(_AmountRefused):
    """A full sale names less than what remains (a buy may have come between): sell that, or take profit."""

    _complaint = "a full sale must name all that remains"


class MoonBagTooLarge(_AmountRefused):
    """The moon bag to set aside is larger than what would remain after the sale."""

    _complaint = "the moon bag does not fit into what remains"


class SaleBeforePurchase(TradeRefused):
    """The sale's time lies before the purchase's."""

    def __init__(self, wallet_address: str, token_address: str, purchase_time: str, sale_time: str) -> None:
        super().__init__(
            f"position of wallet {wallet_address} in {token_address} was bought at {purchase_time},"
            f" after the sale's time, {sale_time}"
        )
        self.wallet_address = wallet_address
        self.token_address = token_address
        self.purchase_time = purchase_time
        self.sale_time = sale_time


class StalePosition(TradeRefused):
    """The position is not as the order expected: another trade came between."""

    def __init__(self, wallet_address: str, token_address: str, counter: str, expected: int, actual: int) -> None:
        super().__init__(
            f"position of wallet {wallet_address} in {token_address}: {counter} is {actual},"
            f" the order expected {expected}"
        )
        self.wallet_address = wallet_address
        self.token_address = token_address
        self.counter = counter
        self.expected = expected
        self.actual = actual


# --- From PostgreSQL's errors to ours -----------------------------------------------------------


def translate(error: psycopg.Error, query: str | None = None) -> DatabaseError | InvalidInput:
    """Our error for one of the driver's; ``query`` names the named query that met it.

    To be raised ``from`` the original. PostgreSQL's primary message, detail and hint are kept, on one line, but for
    details that show a whole row or a key's hash: those stay in the original.
    """
    state = error.sqlstate
    about = f"{query}: " if query else ""
    if state is None:
        return _without_sqlstate(error, about)
    diag = error.diag
    message = about + _said(diag)
    made: DatabaseError | InvalidInput
    if (violation := _VIOLATIONS.get(state)) is not None:
        violation = _BY_CONSTRAINT.get(diag.constraint_name or "", violation)
        made = violation(message, constraint=diag.constraint_name, table=diag.table_name)
    elif state in _BAD_VALUES:
        return InvalidInput(query or "value", _one_line(str(diag.message_primary)))
    else:
        kind = _kind(state, diag)
        advice = f"; {_ADVICE[kind]}" if kind in _ADVICE else ""
        made = kind(message + advice)
    made.sqlstate = state
    return made


def _kind(state: str, diag: psycopg.errors.Diagnostic) -> type[DatabaseError]:
    if state == "0A000" and diag.source_function == "RevalidateCachedQuery":
        return SchemaChanged
    if state == "57014" and "statement timeout" in (diag.message_primary or ""):
        return StatementTimeout
    return _BY_STATE.get(state) or _BY_CLASS.get(state[:2], DatabaseError)


def _said(diag: psycopg.errors.Diagnostic) -> str:
    detail = diag.message_detail or ""
    if diag.sqlstate in _SHOWS_THE_ROW or "_hash)=" in detail:
        detail = ""
    said = (_one_line(part).rstrip(".") for part in (diag.message_primary, detail, diag.message_hint) if part)
    return ". ".join(said)


def _without_sqlstate(error: psycopg.Error, about: str) -> DatabaseError | InvalidInput:
    text = _one_line(str(error))
    if isinstance(error, PoolTimeout | TooManyRequests):
        return PoolExhausted(about + text)
    if isinstance(error, psycopg.DataError):  # refused by the driver before it was sent, such as text with NUL
        return InvalidInput(about.rstrip(": ") or "value", text)
    if isinstance(error, psycopg.OperationalError):
        if _REFUSED_ROLE.search(text):
            return AuthenticationFailed(f"{text}; {_ADVICE[AuthenticationFailed]}")
        if _NOT_CONNECTED.search(text):
            reached = "FATAL: " in text
            return DatabaseUnavailable(text if reached else f"{text}; is the server of DATABASE_URL running?")
        return ConnectionLost(about + text)
    return DatabaseError(about + text)


def _one_line(text: str) -> str:
    return " ".join(text.split())


_VIOLATIONS: Final[dict[str, type[ConstraintViolation]]] = {
    "23505": UniqueViolation,
    "23001": ForeignKeyViolation,
    "23503": ForeignKeyViolation,
    "23514": CheckViolation,
    "23502": NotNullViolation,
}

# Where a service says something of its own. Each of these constraints can be broken in one way only.
_BY_CONSTRAINT: Final[dict[str, type[ConstraintViolation]]] = {
    "users_email_key": EmailTaken,
    "users_lower_email_key": EmailTaken,
    "agent_wallets_pkey": WalletTaken,
    "agent_wallets_agent_id_wallet_type_key": WalletTypeTaken,
}

_SHOWS_THE_ROW: Final = {"23502", "23514"}

# A role refused while connecting: libpq gives no SQLSTATE then, the server's words are all there is.
_REFUSED_ROLE: Final = re.compile(
    r"authentication failed|no password supplied|pg_hba\.conf"
    r'|role ".*" does not exist|role ".*" is not permitted to log in'
)

_NOT_CONNECTED: Final = re.compile(r"connection failed|connection timeout|resolve host|connection to server (at|on) ")

_BAD_VALUES: Final = {
    "22001",  # text longer than its column
    "22021",  # not a character of the encoding
    "22P02",  # not a value of the type
    "22P05",  # \u0000 in JSON
    "22007",  # not a date
    "22008",  # a date out of range
}

_BY_STATE: Final[dict[str, type[DatabaseError]]] = {
    "22003": NumericOverflow,
    "25P02": TransactionAborted,
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
    "53300": DatabaseUnavailable,
    "55P03": LockTimeout,
    "57014": StatementCanceled,
    "57P01": ConnectionLost,
    "57P02": ConnectionLost,
    "57P03": DatabaseUnavailable,
    "57P04": ConnectionLost,
    "57P05": ConnectionLost,
    "25P03": ConnectionLost,
    "25P04": ConnectionLost,
}

_BY_CLASS: Final[dict[str, type[DatabaseError]]] = {"08": ConnectionLost}

_ADVICE: Final[dict[type[DatabaseError], str]] = {
    SchemaNotReady: "migrate the database first (nexgent-db migrate)",
    AuthenticationFailed: "check the role and password of DATABASE_URL",
}
