# Generated from nexgent_db/aio/_schema.py by `make sync`: do not edit.
"""Asks whether the database has the schema that this release was written for."""

from __future__ import annotations

from typing import Final

from nexgent_db._schema_state import refuse_other_schema
from nexgent_db.binding import query
from nexgent_db.models.migrations import AppliedMigration
from nexgent_db.sync._repository import Repository
from nexgent_db.sync._session import Session

__all__ = ["assert_schema"]

_MOST: Final = 10_000


class _Migrations(Repository, sql="migrations"):
    @query
    def list_applied(self, limit: int) -> list[AppliedMigration]:
        """Every migration that the database has."""
        ...


def assert_schema(session: Session) -> None:
    """In one round trip. Raises SchemaNotReady."""
    refuse_other_schema(_Migrations(session).list_applied(_MOST))
