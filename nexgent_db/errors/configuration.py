"""Configuration and SQL files: raised at import or at start-up."""

from __future__ import annotations

from pathlib import Path

from nexgent_db.errors.base import NexgentError

__all__ = [
    "ConfigurationError",
    "MigrationError",
    "MigrationLocked",
    "QueryBindingError",
    "SqlFileError",
    "TenantNotIsolated",
]


class ConfigurationError(NexgentError):
    """A setting is missing or malformed; the message says which one and what it should look like.

    Nothing was changed. Repair the setting.
    """


class TenantNotIsolated(ConfigurationError):
    """A database was opened for one user, but its role sees the rows of others; the message names role and tables.

    Nothing was changed. Repair the role: ``nexgent-db roles apply``.
    """


class SqlFileError(NexgentError):
    """A named-query file cannot be read; points at file, line and column (both from 1).

    Nothing was changed. Repair the file.
    """

    def __init__(self, path: Path | str, line: int, column: int, problem: str) -> None:
        super().__init__(f"{path}:{line}:{column}: {problem}")
        self.path = path
        self.line = line
        self.column = column
        self.problem = problem


class QueryBindingError(NexgentError):
    """A method and its named query disagree; the message names both places. Raised at import.

    Nothing was changed. Repair the method or the query.
    """


class MigrationError(NexgentError):
    """Migrations cannot be read, applied or rolled back; the message names the file, and the line if there is one.

    ``sqlstate`` is PostgreSQL's code when a statement failed. ``explanation`` has lines for a person to read, such as
    the difference between an edited file and what was applied, or the rows that a migration refuses. Migrations before
    the one that failed stay applied.

    Nothing was changed by the migration that failed, unless the message says otherwise. Repair what the message names.
    """

    sqlstate: str | None = None
    explanation: str = ""


class MigrationLocked(MigrationError):
    """Another session held what the migration needs for too long: the migration lock (it says whose), or a table.

    Nothing was changed by this migration. Retry later, when the other session has finished.
    """

    http_status = 503
