"""Rows that the database refuses."""

from __future__ import annotations

from nexgent_db.errors.database import DatabaseError

__all__ = [
    "CheckViolation",
    "ConstraintViolation",
    "EmailTaken",
    "ForeignKeyViolation",
    "LedgerProtected",
    "NotNullViolation",
    "NumericOverflow",
    "UniqueViolation",
    "WalletTaken",
    "WalletTypeTaken",
]


class ConstraintViolation(DatabaseError):
    """A constraint refused the row; ``constraint`` and ``table`` are its names in the catalog.

    Nothing was changed. Never retry: refuse the request.
    """

    http_status = 409

    def __init__(self, message: str, *, constraint: str | None, table: str | None) -> None:
        super().__init__(message)
        self.constraint = constraint
        self.table = table


class UniqueViolation(ConstraintViolation):
    """A row with this key exists."""


class EmailTaken(UniqueViolation):
    """Another user has this e-mail address, in whatever case.

    ``email`` is the address as the index has it, which may be in lower case; None when the server did not show it. The
    message leaves it out: messages are logged.
    """

    def __init__(self, message: str, *, constraint: str | None, table: str | None, email: str | None = None) -> None:
        super().__init__(message, constraint=constraint, table=table)
        self.email = email


class WalletTaken(UniqueViolation):
    """The address is a wallet of an agent already, this one's or another's."""


class WalletTypeTaken(UniqueViolation):
    """The agent has a wallet of this type already."""


class ForeignKeyViolation(ConstraintViolation):
    """The row that this one refers to does not exist, or is still referred to."""


class LedgerProtected(ConstraintViolation):
    """The ledger is append-only: its rows are not changed or deleted, nor is an agent, wallet or user that has some.

    Nothing was changed. Never retry: an agent and its ledger are deleted by ``purge_agent_v1``, which records it.
    """


class CheckViolation(ConstraintViolation):
    """The row would break a rule of its table."""

    http_status = 422


class NotNullViolation(ConstraintViolation):
    """A column that needs a value got none."""

    http_status = 422


class NumericOverflow(DatabaseError):
    """A computed figure does not fit its column."""

    http_status = 422
