# Generated from nexgent_db/aio/schema.py by `make sync`: do not edit.
"""Asks whether the database has the schema that this release was written for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from nexgent_db.models.migrations import AppliedMigration
from nexgent_db.queries.binding import query
from nexgent_db.schema.version import ensure_release_schema
from nexgent_db.sync.repositories.base import Repository
from nexgent_db.sync.session import Session

__all__ = ["assert_schema"]

_MOST: Final = 10_000


class _Migrations(Repository, sql="migrations"):
    @query
    def list_applied(self, limit: int) -> list[AppliedMigration]:
        """Every migration that the database has."""
        ...


def assert_schema(session: Session, migrations: Mapping[str, Path], *, may_be_newer: bool = False) -> None:
    """In one round trip, those of a service's folders too; see ensure_release_schema(). Raises SchemaNotReady."""
    applied = _Migrations(session).list_applied(_MOST)
    ensure_release_schema(applied, migrations, may_be_newer=may_be_newer)
