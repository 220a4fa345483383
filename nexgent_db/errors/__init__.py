"""Every error of this package, under one root, NexgentError.

A message carries the figures and the id that it is about, never a password or a connection URL. The driver's error
stays reachable as ``__cause__``.

Each docstring ends with two sentences that a service acts on: whether anything was changed, and what to do. A class
without them inherits those of its base. ``docs/pages/reference/errors.md`` is the table of all classes, written by
``make errors``.
"""

from nexgent_db.errors.answers import (
    AnswerTooLong,
    CommittedButUnread,
    ListTooLong,
    NoRow,
    RowCountError,
    TooManyRows,
    UnreadableValue,
)
from nexgent_db.errors.base import NexgentError
from nexgent_db.errors.cache import CacheUnreachable, LockLost, LockNotAcquired
from nexgent_db.errors.configuration import (
    ConfigurationError,
    MigrationError,
    MigrationLocked,
    QueryBindingError,
    SqlFileError,
    TenantNotIsolated,
)
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
    PoolExhausted,
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
from nexgent_db.errors.trades import (
    IdempotencyConflict,
    InsufficientBalance,
    MoonBagTooLarge,
    NotAFullSale,
    OrderExpired,
    Oversell,
    PositionExists,
    PositionNotFound,
    SaleBeforePurchase,
    StalePosition,
    TradeRefused,
    WalletNotFound,
    WalletNotSimulated,
)
from nexgent_db.errors.translation import translate
from nexgent_db.errors.usage import BlockMisuse, Fault, InvalidInput, InvalidTradingConfig, WalletKeyMissing

__all__ = [
    "AnswerTooLong",
    "AuthenticationFailed",
    "BlockMisuse",
    "CacheUnreachable",
    "CheckViolation",
    "CommittedButUnread",
    "ConfigurationError",
    "ConnectionLost",
    "ConstraintViolation",
    "DatabaseError",
    "DatabaseUnavailable",
    "DiskFull",
    "EmailTaken",
    "Fault",
    "ForeignKeyViolation",
    "IdempotencyConflict",
    "InsufficientBalance",
    "InvalidInput",
    "InvalidTradingConfig",
    "LedgerProtected",
    "ListTooLong",
    "LockLost",
    "LockNotAcquired",
    "LockTimeout",
    "MigrationError",
    "MigrationLocked",
    "MoonBagTooLarge",
    "NexgentError",
    "NoRow",
    "NotAFullSale",
    "NotNullViolation",
    "NumericOverflow",
    "OrderExpired",
    "Oversell",
    "PermissionDenied",
    "PoolExhausted",
    "PositionExists",
    "PositionNotFound",
    "QueryBindingError",
    "ReadOnlyBlock",
    "RowCountError",
    "SaleBeforePurchase",
    "SchemaChanged",
    "SchemaNotReady",
    "ServerDamaged",
    "ServerNotReady",
    "ServerOutOfResources",
    "ServerReadOnly",
    "SqlFileError",
    "StalePosition",
    "StatementCanceled",
    "StatementTimeout",
    "TenantNotIsolated",
    "TooManyConnections",
    "TooManyRows",
    "TradeRefused",
    "TransactionAborted",
    "TransactionConflict",
    "UniqueViolation",
    "UnreadableValue",
    "WalletKeyMissing",
    "WalletNotFound",
    "WalletNotSimulated",
    "WalletTaken",
    "WalletTypeTaken",
    "translate",
]

# Tracebacks, traces and pickles carry the path that a service imports.
for _name in __all__:
    globals()[_name].__module__ = __name__
