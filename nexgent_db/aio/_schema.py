"""Asks whether the database has the schema that this release was written for."""

from __future__ import annotations

from typing import Final

from nexgent_db._schema_state import refuse_other_schema
from nexgent_db.aio._repository import Repository
from nexgent_db.aio._session import Session
from nexgent_db.binding import query
from nexgent_db.models.migrations import AppliedMigration

__all__ = ["assert_schema"]

_MOST: Final = 10_000


class _Migrations(Repository, sql="migrations"):
    @query
    async def list_applied(self, limit: int) -> list[AppliedMigration]:
        """Every migration that the database has."""
        ...


async def assert_schema(session: Session) -> None:
    """In one round trip. Raises SchemaNotReady."""
    refuse_other_schema(await _Migrations(session).list_applied(_MOST))
